"""An echo and a knock as one probe: what either of them shows, and when the knock is made at all."""

import math

import pytest

from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges.probes.reach import CALM, ReachProber
from floatingip.edges.socket_filter import OWN_ANSWER

ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE


class Script:
    """A `ports.Prober` that knows the outcome of a probe when the test tells it."""

    def __init__(self) -> None:
        self.sent = 0
        self._told: list[ProbeResult] = []

    def tell(self, *outcomes: ProbeOutcome, detail: str = "") -> None:
        """What came of the next ones."""
        self._told += [ProbeResult(1.0, 2.0, outcome, detail) for outcome in outcomes]

    def send(self) -> None:
        self.sent += 1

    def collect(self) -> list[ProbeResult]:
        told, self._told = self._told, []
        return told

    def due_at(self) -> float:
        return math.inf

    def files(self) -> list[tuple[int, int]]:
        return []


class Address:
    """What is probed by both ways."""

    def __init__(self) -> None:
        self.echo, self.knock = Script(), Script()
        self.prober = ReachProber(self.echo, self.knock)

    def probe(
        self, *, echo: ProbeOutcome, knock: ProbeOutcome | None = None, detail: str = ""
    ) -> tuple[ProbeOutcome, bool]:
        """One probe: what came of it, and whether that was by TCP; ``detail`` is the knock's."""
        self.prober.send()
        self.echo.tell(echo)
        if knock is not None:
            self.knock.tell(knock, detail=detail)
        (result,) = self.prober.collect()
        return result.outcome, result.by_tcp


def test_an_address_that_answers_pings_is_not_knocked_at() -> None:
    """In peace a probe is one packet; a connection is made only when there is doubt."""
    address = Address()
    assert [address.probe(echo=ANSWERED) for _ in range(3)] == [(ANSWERED, False)] * 3
    assert address.knock.sent == 0


def test_from_a_lost_ping_on_a_refusal_shows_that_the_address_is_alive() -> None:
    """Whoever has the address refuses by itself, whatever its observer does; until pings are answered again."""
    address = Address()
    assert address.probe(echo=LOST) == (LOST, False)
    assert [address.probe(echo=LOST, knock=ANSWERED) for _ in range(3)] == [(ANSWERED, True)] * 3
    assert [address.probe(echo=ANSWERED, knock=ANSWERED) for _ in range(CALM - 1)] == [(ANSWERED, True)] * (CALM - 1)
    assert address.probe(echo=ANSWERED, knock=ANSWERED) == (ANSWERED, False)
    assert address.probe(echo=ANSWERED) == (ANSWERED, False)
    assert address.knock.sent == 3 + CALM


def test_pings_of_which_some_pass_put_nothing_in_doubt_again_and_again() -> None:
    """As where a firewall lets one a second pass: EC2 was asked more than once a second, for ever."""
    address = Address()
    assert address.probe(echo=LOST) == (LOST, False)
    limited = [echo for _ in range(25) for echo in (LOST, LOST, LOST, ANSWERED)]
    assert {address.probe(echo=echo, knock=ANSWERED) for echo in limited} == {(ANSWERED, True)}


def test_a_stray_loss_does_not_count_as_blocked_pings() -> None:
    """Though the knock after it is answered sooner than the ping that was sent with it."""
    address = Address()
    address.probe(echo=LOST)
    address.prober.send()
    address.knock.tell(ANSWERED)
    assert address.prober.collect() == []
    address.echo.tell(ANSWERED)
    assert [(result.outcome, result.by_tcp) for result in address.prober.collect()] == [(ANSWERED, False)]


@pytest.mark.parametrize(
    ("echo", "knock", "outcome"),
    [
        (LOST, LOST, LOST),
        (LOST, FAILED_HERE, FAILED_HERE),
        (FAILED_HERE, LOST, FAILED_HERE),
        (FAILED_HERE, FAILED_HERE, FAILED_HERE),
        (FAILED_HERE, ANSWERED, ANSWERED),
    ],
)
def test_what_this_node_cannot_send_by_one_way_convicts_nobody(
    echo: ProbeOutcome, knock: ProbeOutcome, outcome: ProbeOutcome
) -> None:
    """Only silence by both ways is a loss."""
    address = Address()
    address.probe(echo=LOST)
    assert address.probe(echo=echo, knock=knock)[0] is outcome


REJECTED = f"{OWN_ANSWER}: Connection refused"


@pytest.mark.parametrize(
    ("echo", "detail", "is_lost"),
    [(LOST, REJECTED, True), (FAILED_HERE, REJECTED, False), (LOST, "Too many open files", False)],
)
def test_a_lost_ping_is_told_where_this_node_answers_the_connection_itself(
    echo: ProbeOutcome, detail: str, *, is_lost: bool
) -> None:
    """Whether it shows anything depends on whether pings were answered before, by whoever has the address now.  A node
    that is short of files or memory may lose what comes as well.
    """
    address = Address()
    address.probe(echo=LOST)
    address.prober.send()
    address.echo.tell(echo)
    address.knock.tell(FAILED_HERE, detail=detail)
    [result] = address.prober.collect()
    assert (result.outcome, result.detail, result.ping_lost) == (FAILED_HERE, detail, is_lost)


def test_results_keep_their_order_however_late_a_knock_is_answered() -> None:
    """An echo that comes back does not wait for its knock, whose late answer is none for the next probe."""
    address = Address()
    address.probe(echo=LOST)
    for _ in range(3):
        address.prober.send()
    address.echo.tell(ANSWERED, LOST, LOST)
    assert [result.outcome for result in address.prober.collect()] == [ANSWERED]
    address.knock.tell(LOST, LOST)
    assert [result.outcome for result in address.prober.collect()] == [LOST]
    address.knock.tell(ANSWERED)
    assert [(result.outcome, result.by_tcp) for result in address.prober.collect()] == [(ANSWERED, True)]
