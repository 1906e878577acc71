"""IMDS and the API server are asked again and again; an error is no answer."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from floatingip.agent.events import AddressesShown, Event, MetadataTroubled, Noticed
from floatingip.core import timing
from floatingip.core.errors import MetadataError
from floatingip.core.model import Address
from floatingip.core.node import Identity, Interface, Notice, OwnPod
from floatingip.edges import clock
from floatingip.runtime.questions import MetadataLoop, PodLoop

ONE = IPv4Address("10.0.0.100")
MAC, OTHER_MAC = "02:00:00:00:00:64", "02:00:00:00:00:65"
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


@dataclass
class Imds:
    """`ports.Metadata`: an IMDS that says what the test says."""

    addresses: dict[str, frozenset[Address]] = field(default_factory=dict)
    told: Notice | None = None
    failing: dict[str, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    asked: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue)

    def identity(self) -> Identity:
        raise NotImplementedError

    def interface_with(self, address: Address) -> Interface | None:
        raise NotImplementedError

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        self._ask(mac)
        if mac in self.failing:
            raise MetadataError(self.failing[mac])
        return self.addresses.get(mac)

    def notice(self) -> Notice | None:
        self._ask("notice")
        return self.told

    def _ask(self, what: str) -> None:
        self.asked.put(what)
        if self.over.is_set():
            threading.Event().wait()  # the loop has no end, and is a daemon


@dataclass
class Asked:
    """What a loop of questions to an IMDS found."""

    imds: Imds = field(default_factory=lambda: Imds({MAC: frozenset({ONE})}))
    macs: frozenset[str] = frozenset({MAC})
    found: "queue.SimpleQueue[tuple[str, frozenset[Address] | None, float]]" = field(default_factory=queue.SimpleQueue)
    noticed: "queue.SimpleQueue[Notice | None]" = field(default_factory=queue.SimpleQueue)
    failed: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue)

    def start(self) -> MetadataLoop:
        """Begin."""
        loop = MetadataLoop(self.imds, lambda: self.macs, self._post)
        loop.start()
        return loop

    def _post(self, event: Event) -> None:
        match event:
            case AddressesShown(mac, addresses, asked_at):
                self.found.put((mac, addresses, asked_at))
            case Noticed(notice, _):
                self.noticed.put(notice)
            case MetadataTroubled(problem):
                self.failed.put(problem)


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    monkeypatch.setattr(timing, "METADATA_EVERY", 0.001)
    monkeypatch.setattr(timing, "NOTICE_EVERY", 0.005)
    asked = Asked()
    yield asked
    asked.imds.over.set()


def test_notices_are_asked_for_at_once_where_that_is_wanted(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though neither they nor anything else is due for long."""
    monkeypatch.setattr(timing, "METADATA_EVERY", 1000.0)
    monkeypatch.setattr(timing, "NOTICE_EVERY", 1000.0)
    loop = asked.start()
    for _ in range(2):
        assert asked.noticed.get(timeout=PATIENCE) is asked.imds.told
        loop.hurry()
    asked.noticed.get(timeout=PATIENCE)


def test_a_notice_that_is_wanted_while_imds_is_asked_is_asked_for_by_a_later_question() -> None:
    """Its time is that at which all questions began: an answer to one from before says nothing of what is wanted."""

    class Hurried(Imds):
        def addresses_of(self, mac: str) -> frozenset[Address] | None:
            loop.hurry()
            return super().addresses_of(mac)

    macs, posted = {MAC}, list[Event]()
    loop = MetadataLoop(Hurried({}), lambda: frozenset(macs), posted.append)
    loop.ask(1.0)
    loop.ask(2.0)
    macs.clear()
    loop.ask(3.0)
    loop.ask(4.0)
    assert [each.asked_at for each in posted if isinstance(each, Noticed)] == [1.0, 2.0, 3.0]


def test_the_addresses_of_an_interface_at_risk_are_asked_for_again_and_again(asked: Asked) -> None:
    """With the time of the question: an answer speaks of no later one."""
    before = clock.now()
    asked.start()
    first, second = (asked.found.get(timeout=PATIENCE) for _ in range(2))
    assert first[:2] == second[:2] == (MAC, frozenset({ONE}))
    assert before <= first[2] < second[2] <= clock.now()


def test_an_interface_that_imds_does_not_show_is_an_answer(asked: Asked) -> None:
    """Not an error: it has no addresses."""
    asked.macs = frozenset({"02:00:00:00:00:99"})
    asked.start()
    assert asked.found.get(timeout=PATIENCE)[1] is None


def test_a_notice_is_told_and_so_is_its_end(asked: Asked) -> None:
    """A rebalance recommendation may be withdrawn."""
    asked.imds.told = Notice("spot", "terminate at 12:00")
    asked.start()
    assert asked.noticed.get(timeout=PATIENCE) == asked.imds.told
    asked.imds.told = None
    while asked.noticed.get(timeout=PATIENCE) is not None:
        pass


def test_without_anything_at_risk_imds_is_only_asked_for_notices(asked: Asked) -> None:
    """With an ENI that moves, its link tells."""
    asked.macs = frozenset()
    asked.start()
    assert {asked.imds.asked.get(timeout=PATIENCE) for _ in range(3)} == {"notice"}


def test_an_imds_that_does_not_answer_is_no_answer(asked: Asked) -> None:
    """It is told each time, and asked on."""
    asked.imds.failing[MAC] = "no answer"
    asked.start()
    assert [asked.failed.get(timeout=PATIENCE) for _ in range(3)] == ["no answer"] * 3
    assert asked.found.empty()
    asked.imds.failing.clear()
    assert asked.found.get(timeout=PATIENCE)[1] == frozenset({ONE})


def test_a_question_that_fails_keeps_no_other_one_from_being_asked(asked: Asked) -> None:
    """An interface that cannot be read hides no notice, and no other interface."""
    asked.macs = frozenset({MAC, OTHER_MAC})
    asked.imds.addresses[OTHER_MAC] = frozenset({ONE})
    asked.imds.failing[MAC] = "no answer"
    asked.start()
    assert asked.found.get(timeout=PATIENCE)[0] == OTHER_MAC
    asked.noticed.get(timeout=PATIENCE)
    assert asked.failed.get(timeout=PATIENCE) == "no answer"


class Pod:
    """`ports.Orders`: counts the questions."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def own_pod(self) -> OwnPod:
        self.at.append(clock.now())
        return OwnPod(self.at[-1], answered=True)


def test_the_own_pod_is_asked_about_at_once_when_that_is_to_be_more_often() -> None:
    """Whatever was waited for until then; and to be asked less often begins nothing."""
    orders, found = Pod(), queue.SimpleQueue[Event]()
    loop = PodLoop(orders, found.put)
    loop.ask(every=1000.0)
    found.get(timeout=PATIENCE)
    loop.ask(every=2000.0)
    with pytest.raises(queue.Empty):
        found.get(timeout=0.2)
    loop.ask(every=500.0)
    found.get(timeout=PATIENCE)
    assert len(orders.at) == 2
