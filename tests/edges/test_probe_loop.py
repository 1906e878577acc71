"""One thread for the probes of all addresses: who is probed when, and that nobody waits for another."""

import math
import queue
import socket
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Probing
from floatingip.agent.events import Probed
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges import clock
from floatingip.runtime.probing import ProbeLoop, Probes, next_in_peace
from tests.waiting import until

ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE

INTERVAL, FAST_INTERVAL = 400.0, 50.0

PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


class Script:
    """A `ports.Prober` of which comes what the test says: a known outcome at once, None not before `come`."""

    def __init__(self, *outcomes: ProbeOutcome | None, timeout: float = math.inf) -> None:
        self.sent: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._outcomes = list(outcomes)
        self._timeout = timeout
        self._under_way: list[tuple[float, ProbeOutcome | None]] = []
        self._ear, self._bell = socket.socketpair()

    def come(self) -> None:
        """An answer to what is under way comes now."""
        self._bell.send(b"!")

    def send(self) -> None:
        now = clock.now()
        self._under_way.append((now, self._outcomes.pop(0) if self._outcomes else None))
        self.sent.put(now)

    def collect(self) -> list[ProbeResult]:
        now, results = clock.now(), []
        while self._under_way:
            sent_at, outcome = self._under_way[0]
            if outcome is None and self._has_come():
                outcome = ANSWERED
            elif outcome is None and now >= sent_at + self._timeout:
                outcome = LOST
            if outcome is None:
                break
            results.append(ProbeResult(sent_at, now, outcome))
            self._under_way.pop(0)
        return results

    def due_at(self) -> float:
        if not self._under_way:
            return math.inf
        sent_at, outcome = self._under_way[0]
        # Far away, but under way.
        return sent_at + (0.0 if outcome is not None else min(self._timeout, 1000.0))

    def files(self) -> list[tuple[int, int]]:
        return [(self._ear.fileno(), 1)]

    def _has_come(self) -> bool:
        try:
            return bool(self._ear.recv(1, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False


def probing(whose: str = "10.0.0.100", interval: float = INTERVAL, fast_interval: float = FAST_INTERVAL) -> Probing:
    """Probes of the address, at this pace."""
    return Probing(whose, IPv4Address("10.0.0.100"), interval, fast_interval)


class Running:
    """A loop that runs: what it probes by, by whose they are, and what it told."""

    def __init__(self) -> None:
        self.probers: dict[str, Script] = {}
        self.told: queue.SimpleQueue[tuple[str, ProbeOutcome]] = queue.SimpleQueue()
        self.loop = ProbeLoop(lambda probing: self.probers[probing.whose], self._tell)
        self.loop.start()

    def _tell(self, probed: Probed) -> None:
        self.told.put((probed.probing.whose, probed.result.outcome))

    def follow(self, *probings: Probing, **probers: Script) -> None:
        """Probe these, and nothing else."""
        self.probers.update(probers)
        self.loop.follow(frozenset(probings))

    def next(self) -> tuple[str, ProbeOutcome]:
        """What is told next."""
        return self.told.get(timeout=PATIENCE)


@pytest.fixture(name="running")
def _running() -> Iterator[Running]:
    running = Running()
    yield running
    running.follow()


def pace(probes: Probes) -> float:
    """Seconds between the last probe and the next."""
    assert probes._sent_at is not None
    return probes.due_at() - probes._sent_at


def test_what_is_to_be_probed_is_and_nothing_else(running: Running) -> None:
    """Whoever is not followed any more is sent nothing; whoever still is goes on as it was."""
    running.follow(probing("a"), a=Script(ANSWERED))
    assert running.next() == ("a", ANSWERED)
    running.follow(probing("a"), probing("b"), b=Script(ANSWERED))
    assert running.next() == ("b", ANSWERED)
    assert [running.probers[whose].sent.qsize() for whose in "ab"] == [1, 1]


def test_the_first_probe_is_due_at_once_however_young_the_machine_is() -> None:
    """A clock that began a moment ago is nearer to zero than the interval is long: that is not when one was sent."""
    assert Probes(probing(), Script(), lambda probed: None).due_at() < clock.now()


def test_nothing_more_is_sent_once_it_is_not_followed(running: Running) -> None:
    """And another one goes on."""
    running.follow(probing("a", 0.001, 0.001), a=Script(*[ANSWERED] * 9))
    running.next()
    witness = probing("b", 0.001, 0.001)
    running.follow(witness, b=Script(*[ANSWERED] * 20))
    while running.next() != ("b", ANSWERED):
        pass
    sent = running.probers["a"].sent.qsize()
    assert [running.next() for _ in range(8)] == [("b", ANSWERED)] * 8
    assert running.probers["a"].sent.qsize() == sent


@pytest.mark.parametrize(
    ("outcomes", "calm"),
    [
        ([ANSWERED], True),
        ([FAILED_HERE], True),
        ([LOST], False),
        ([LOST, FAILED_HERE], False),
        ([LOST, FAILED_HERE, ANSWERED], True),
    ],
)
def test_probing_speeds_up_from_a_loss_to_an_answer(outcomes: list[ProbeOutcome], calm: bool) -> None:
    """Before anybody has heard of it: the deciding thread may be late; a failure of this node changes no pace."""
    told: list[float] = []
    probes = Probes(probing(), Script(*outcomes), lambda probed: told.append(pace(probes)))
    for _ in outcomes:
        probes.send(clock.now())
        probes.collect()
    assert (told[-1] == pytest.approx(FAST_INTERVAL)) != calm


def test_the_loop_follows_the_pace(running: Running) -> None:
    """The next probe after a loss comes after the short interval, though the long one is hours."""
    running.follow(probing("a", 10000.0, 0.01), a=Script(LOST, LOST, ANSWERED))
    assert [running.next() for _ in range(3)] == [("a", LOST), ("a", LOST), ("a", ANSWERED)]
    assert running.probers["a"].sent.qsize() == 3


def test_an_answer_is_told_when_it_comes_and_silence_when_it_is_over(running: Running) -> None:
    """Nobody waits for another address: neither for its answer nor for its timeout."""
    probers = {"silent": Script(None, timeout=0.05), "slow": Script(None), "quick": Script(ANSWERED)}
    running.follow(*map(probing, probers), **probers)
    assert running.next() == ("quick", ANSWERED)
    assert running.next() == ("silent", LOST)
    probers["slow"].come()
    assert running.next() == ("slow", ANSWERED)


def test_a_loop_with_nothing_to_do_does_not_spin(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for what comes, and is woken by what is new."""
    turns: list[float] = []
    wait_once = running.loop._wait

    def counted(followed: tuple[Probes, ...]) -> None:
        turns.append(clock.now())
        wait_once(followed)

    monkeypatch.setattr(running.loop, "_wait", counted)
    prober = Script(None)
    running.follow(probing("a"), a=prober)
    until(lambda: prober.sent.qsize() == 1)
    prober.come()
    assert running.next() == ("a", ANSWERED)
    time.sleep(0.05)
    assert len(turns) < 10


def test_in_peace_probes_of_many_addresses_come_together() -> None:
    """Four groups at most, whenever they began; none ever waits longer than the interval, and none much shorter."""
    interval, began = 0.25, [1000 + number * 0.0137 for number in range(50)]
    first = [next_in_peace(sent_at, interval) for sent_at in began]
    assert all(0.75 * interval <= due_at - sent_at <= interval for sent_at, due_at in zip(began, first, strict=True))
    assert len({due_at % interval for due_at in first}) == 4
    # Each is sent a moment after it is due, which must not add up.
    second = [next_in_peace(due_at + 0.001, interval) for due_at in first]
    assert [after - before for before, after in zip(first, second, strict=True)] == [interval] * 50
