"""The kernel is kept as the agent wants it, by a thread of its own, and the neighbours are told."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Announce, Clear, Keep, Wanted
from floatingip.core import timing
from floatingip.core.errors import HostError
from floatingip.core.model import Address, Target
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.token_bucket import TokenBucket
from floatingip.runtime.keeping import HostKeeper, Keeper, rest

ONE, TWO, THREE = (IPv4Address(f"10.0.0.{last}") for last in (100, 101, 102))
MAC, OTHER_MAC = "02:00:00:00:00:64", "02:00:00:00:00:65"
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


def plumbing(address: Address = ONE) -> Plumbing:
    """What a node needs for the address."""
    return Plumbing(address, MAC, IPv4Address("10.0.0.1"), "02:00:00:00:00:0b", 840, 900, 0x40, 0x70)


@dataclass
class Kernel:
    """`ports.Host`, a node's kernel: what it has of each address, and what was done, oldest first."""

    has_link: bool = True
    error: str = ""
    stuck: str = ""
    unseen: str = ""
    silent: str = ""
    carried: set[Address] = field(default_factory=set)
    done: "queue.SimpleQueue[tuple[str, Address]]" = field(default_factory=queue.SimpleQueue)
    extents: list[Extent] = field(default_factory=list)
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        self.done.put(("plumb", plumbing.address))
        self.extents.append(extent)
        if self.error:
            raise HostError(self.error)
        if extent is Extent.AS_LEFT or not self.has_link:
            nothing = extent is Extent.AS_LEFT
            return PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING if nothing else extent)
        if extent is not Extent.ALL:
            return PlumbingReport(PlumbingState.SOUND, extent=Extent.AHEAD)
        repaired = () if plumbing.address in self.carried else ("address",)
        self.carried.add(plumbing.address)
        return PlumbingReport(PlumbingState.SOUND, repaired)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        self.done.put(("unplumb", plumbing.address))
        if self.stuck:
            raise HostError(self.stuck)
        return ()

    def announce(self, plumbing: Plumbing) -> None:
        self.done.put(("announce", plumbing.address))

    def route_probes(self, plumbing: Plumbing) -> None:
        self.done.put(("route", plumbing.address))

    def blind(self, plumbing: Plumbing) -> str:
        if self.silent:
            raise HostError(self.silent)
        return self.unseen

    def unroute_probes(self, plumbing: Plumbing) -> None:
        self.done.put(("unroute", plumbing.address))

    def watch(self, wake: Callable[[], None]) -> None:
        self.wakes.append(wake)

    def until(self, verb: str, address: Address = ONE) -> list[tuple[str, Address]]:
        """What was done until this; it is a failure if it is not done."""
        seen: list[tuple[str, Address]] = []
        while not seen or seen[-1] != (verb, address):
            seen.append(self.done.get(timeout=PATIENCE))
        return seen


@pytest.fixture(name="quick")
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pauses are short, but for the checks that no event asks for."""
    monkeypatch.setattr(timing, "HOST_SETTLE", 0.001)
    monkeypatch.setattr(timing, "ANNOUNCE_EVERY", 0.005)
    monkeypatch.setattr(timing, "ANNOUNCED_FOR", 0.05)


@pytest.fixture(name="kernel")
def _kernel() -> Kernel:
    return Kernel()


Reports = queue.SimpleQueue[tuple[Target, PlumbingReport]]


@pytest.fixture(name="reports")
def _reports() -> Reports:
    """What the keeper told."""
    return queue.SimpleQueue()


@pytest.fixture(name="keeper")
def _keeper(kernel: Kernel, reports: Reports, quick: None) -> Iterator[HostKeeper]:
    keeper = HostKeeper(kernel, lambda target, report: reports.put((target, report)))
    keeper.start()
    yield keeper
    keeper.end(PATIENCE)


# The kernel.


def test_what_is_wanted_is_plumbed_at_once_and_told(keeper: HostKeeper, kernel: Kernel, reports: Reports) -> None:
    """To the extent that is wanted."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    assert reports.get(timeout=PATIENCE) == (ONE, PlumbingReport(PlumbingState.SOUND, ("address",)))
    assert kernel.extents[0] is Extent.ALL


def test_another_extent_is_brought_about_at_once(keeper: HostKeeper, kernel: Kernel, reports: Reports) -> None:
    """A claim that EC2 accepted does not wait for the next check."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    assert not reports.get(timeout=PATIENCE)[1].is_here
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    assert reports.get(timeout=PATIENCE)[1].is_here


def test_a_node_that_is_ready_ahead_of_the_address_probes_by_the_gateway(keeper: HostKeeper, kernel: Kernel) -> None:
    """And one that carries it does not; what is there ahead is not removed again."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    assert kernel.until("route") == [("plumb", ONE), ("route", ONE)]
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    assert ("unplumb", ONE) not in kernel.until("unroute")


def test_a_node_that_cannot_probe_says_so_whatever_else_is_wrong(
    keeper: HostKeeper, kernel: Kernel, reports: Reports
) -> None:
    """Ahead of the address and without a link; what it carries itself it need not probe."""
    kernel.unseen = "10.0.0.100 is on kube-ipvs0"
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    assert reports.get(timeout=PATIENCE)[1].blind == kernel.unseen
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    report = reports.get(timeout=PATIENCE)[1]
    assert (report.is_here, report.blind) == (True, "")
    kernel.has_link, kernel.stuck = False, "marks: nft has not answered yet"
    kernel.wakes[0]()
    report = reports.get(timeout=PATIENCE)[1]
    assert (report.problem, report.blind) == (kernel.stuck, "10.0.0.100 is on kube-ipvs0")


def test_a_node_stays_blind_while_its_kernel_does_not_tell(
    keeper: HostKeeper, kernel: Kernel, reports: Reports
) -> None:
    """Or it would take itself for the holder as long as the kernel is busy."""
    kernel.unseen = "10.0.0.100 is on kube-ipvs0"
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    assert reports.get(timeout=PATIENCE)[1].blind == kernel.unseen
    kernel.silent = "netlink: no answer within 2 s"
    kernel.wakes[0]()
    report = reports.get(timeout=PATIENCE)[1]
    assert (report.problem, report.blind) == (kernel.silent, kernel.unseen)


def test_without_the_link_what_is_left_of_it_is_removed_and_that_is_looked_at_with_each_event(
    keeper: HostKeeper, kernel: Kernel
) -> None:
    """Rules and routes outlive their link; and should somebody flush the probes' route it is back at once."""
    kernel.has_link = False
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    for _ in range(4):
        assert kernel.until("route") == [("plumb", ONE), ("unplumb", ONE), ("route", ONE)]
        kernel.wakes[0]()


def test_what_cannot_be_removed_is_told_and_the_probes_are_routed_all_the_same(
    keeper: HostKeeper, kernel: Kernel, reports: Reports
) -> None:
    """A standby that waits for nft must not be blind meanwhile."""
    kernel.has_link, kernel.stuck = False, "marks: nft has not answered yet"
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.NOTHING)))
    assert kernel.until("route") == [("unplumb", ONE), ("route", ONE)]
    assert reports.get(timeout=PATIENCE)[1].problem == kernel.stuck


def test_where_nothing_should_be_nothing_is_plumbed(keeper: HostKeeper, kernel: Kernel) -> None:
    """Whether or not the link is there."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.NOTHING)))
    assert kernel.until("route") == [("unplumb", ONE), ("route", ONE)]


def test_a_netlink_event_has_everything_looked_at(keeper: HostKeeper, kernel: Kernel, reports: Reports) -> None:
    """Somebody removed something: it is back at once."""

    def wait_for_repair() -> None:
        missing = {ONE, TWO}
        while missing:
            target, report = reports.get(timeout=PATIENCE)
            missing -= {target} if report.repaired else set()

    for address in (ONE, TWO):
        keeper.take_up(Keep(address, Wanted(plumbing(address), Extent.ALL)))
    wait_for_repair()
    kernel.carried.clear()
    kernel.wakes[0]()
    wait_for_repair()
    assert kernel.carried == {ONE, TWO}


def test_an_event_just_after_a_wait_was_over_is_not_forgotten(
    kernel: Kernel, reports: Reports, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that was due looks at one address; the event is about the other."""

    class Late(threading.Event):
        """Set once when a wait for it has just timed out."""

        def wait(self, timeout: float | None = None) -> bool:
            """Whether it was set in time."""
            in_time = super().wait(timeout)
            if not in_time and kernel.carried == {ONE, TWO} and timing.HOST_CHECK < PATIENCE:
                monkeypatch.setattr(timing, "HOST_CHECK", 100 * PATIENCE)
                kernel.carried.clear()
                self.set()
            return in_time

    monkeypatch.setattr(timing, "HOST_CHECK", 0.01)
    keeper = HostKeeper(kernel, lambda target, report: reports.put((target, report)))
    keeper._wake = Late()
    for address in (ONE, TWO):
        keeper.take_up(Keep(address, Wanted(plumbing(address), Extent.ALL)))
    keeper.start()
    repaired = [reports.get(timeout=PATIENCE)[0] for _ in range(4)]
    keeper.end(PATIENCE)
    assert sorted(repaired, key=str) == [ONE, ONE, TWO, TWO]


def test_what_a_link_leaves_behind_is_removed_as_soon_as_it_is_gone(keeper: HostKeeper, kernel: Kernel) -> None:
    """However short ago it was there without the address."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    kernel.until("route")
    kernel.has_link = False
    kernel.wakes[0]()
    assert ("route", ONE) not in kernel.until("unplumb")


def test_what_the_kernel_refuses_is_told_as_the_problem(keeper: HostKeeper, kernel: Kernel, reports: Reports) -> None:
    """Once, until it changes."""
    kernel.error = "nft is missing"
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    assert "nft is missing" in reports.get(timeout=PATIENCE)[1].problem
    kernel.wakes[0]()
    kernel.until("plumb")
    kernel.error = ""
    kernel.wakes[0]()
    assert reports.get(timeout=PATIENCE)[1].problem == ""


def test_another_plumbing_for_the_same_address_ends_the_former(keeper: HostKeeper, kernel: Kernel) -> None:
    """Of an Elastic IP that has another private address now."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(ONE), Extent.ALL)))
    kernel.until("plumb", ONE)
    keeper.take_up(Keep(ONE, Wanted(plumbing(TWO), Extent.ALL)))
    assert ("unplumb", ONE) in kernel.until("plumb", TWO)


def test_what_was_given_back_is_removed_unless_it_is_kept(keeper: HostKeeper, kernel: Kernel) -> None:
    """An address that came back meanwhile is served on."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    kernel.until("plumb")
    keeper.take_up(Clear(plumbing(ONE)))
    keeper.take_up(Clear(plumbing(TWO)))
    assert [address for what, address in kernel.until("unplumb", TWO) if what == "unplumb"] == [TWO]
    keeper.end(PATIENCE)
    assert ("unplumb", ONE) not in [kernel.done.get() for _ in range(kernel.done.qsize())]


def test_what_was_given_back_is_removed_again_and_again_until_it_is_gone(
    keeper: HostKeeper, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 may give it to a pod of this node, to which it would never get."""
    monkeypatch.setattr(timing, "HOST_RETRY", 0.01)
    kernel.stuck = "marks: nft has not answered yet"
    keeper.take_up(Clear(plumbing()))
    for _ in range(2):
        kernel.until("unplumb")
    kernel.stuck = ""
    kernel.until("unroute")
    kernel.wakes[0]()
    keeper.end(PATIENCE)
    assert ("unplumb", ONE) not in [kernel.done.get() for _ in range(kernel.done.qsize())]


def test_a_link_that_nobody_has_plumbed_is_left_alone(keeper: HostKeeper, kernel: Kernel, reports: Reports) -> None:
    """Before EC2 has told whose it is: what is there may be somebody else's, the address above all."""
    kernel.unseen = "the address is on this node"
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AS_LEFT)))
    told = PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING, blind=kernel.unseen)
    assert reports.get(timeout=PATIENCE) == (ONE, told)
    keeper.end(PATIENCE)
    assert {kernel.done.get()[0] for _ in range(kernel.done.qsize())} == {"plumb", "unroute"}


def test_at_the_end_no_probe_route_is_left(kernel: Kernel, quick: None) -> None:
    """The plumbing of a holder stays, and goes on serving."""
    keeper = HostKeeper(kernel, lambda target, report: None)
    keeper.start()
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    kernel.until("route")
    keeper.end(PATIENCE)
    assert ("unplumb", ONE) not in kernel.until("unroute")


def test_work_in_a_storm_is_followed_by_rest_and_after_a_calm_it_is_not() -> None:
    """A burst of it, as a move is, is not delayed; nor is anything for more than a second."""
    bucket = TokenBucket(timing.STORM_BURST, timing.STORM_SHARE).take(timing.STORM_BURST / 2, now=7)
    assert rest(bucket) == timing.HOST_SETTLE
    bucket = bucket.take(timing.STORM_BURST / 2 + 0.01, now=7)
    assert rest(bucket) == pytest.approx(0.01 / timing.STORM_SHARE)
    bucket = bucket.take(timing.STORM_BURST, now=7)
    assert rest(bucket) == timing.HOST_RETRY
    assert rest(bucket.take(timing.STORM_BURST / 2, now=1007)) == timing.HOST_SETTLE


def due(keeper: Keeper, *, everything: bool) -> list[Target]:
    """The addresses that are looked at now."""
    return [target for target, _ in keeper._due(everything=everything)]


def waiting(*addresses: Address) -> Keeper:
    """A keeper that was never started, with some wanted addresses that it has looked at."""
    keeper = Keeper(Kernel(), lambda target, report: None)
    for address in addresses:
        keeper.take_up(Keep(address, Wanted(plumbing(address), Extent.ALL)))
        keeper._keep(address, keeper._wanted[address])
    return keeper


def test_without_events_one_address_is_looked_at_after_the_other() -> None:
    """Each in its turn: fifty must not cost fifty looks a second; one with a problem each time, as it may be over."""
    keeper = waiting(ONE, TWO, THREE)
    assert [due(keeper, everything=False) for _ in range(6)] == [[ONE], [TWO], [THREE]] * 2
    keeper = waiting(ONE, TWO, THREE)
    keeper._kept[TWO].report = PlumbingReport(PlumbingState.UNSOUND, problem="carrier")
    assert [due(keeper, everything=False) for _ in range(3)] == [[ONE, TWO], [TWO], [TWO, THREE]]


def test_after_an_event_what_is_wanted_anew_comes_first() -> None:
    """A takeover does not wait for forty-nine other addresses."""
    keeper = waiting(ONE, TWO, THREE)
    keeper.take_up(Keep(THREE, Wanted(plumbing(THREE), Extent.AHEAD)))
    assert due(keeper, everything=True) == [THREE, ONE, TWO]


# The neighbours.


def test_an_address_that_came_is_announced_again_and_again_for_a_while(keeper: HostKeeper, kernel: Kernel) -> None:
    """EC2 drops what is announced before it has moved the address; then it ends."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    for _ in range(3):
        kernel.until("announce")
    keeper.take_up(Keep(TWO, Wanted(plumbing(TWO), Extent.ALL)))
    kernel.until("announce", TWO)
    keeper.end(PATIENCE)
    while not kernel.done.empty():
        last = kernel.done.get()
    assert last[0] == "unroute", "nothing is announced for ever"


def test_an_address_is_announced_again_on_request(keeper: HostKeeper, kernel: Kernel) -> None:
    """When EC2 shows that it has moved."""
    kernel.carried.add(ONE)
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.ALL)))
    assert kernel.done.get(timeout=PATIENCE) == ("plumb", ONE)
    keeper.take_up(Announce(ONE))
    kernel.until("announce")


def test_an_address_that_is_not_here_is_never_announced(keeper: HostKeeper, kernel: Kernel) -> None:
    """Neither where it is only expected, nor one that nobody knows."""
    keeper.take_up(Keep(ONE, Wanted(plumbing(), Extent.AHEAD)))
    kernel.until("route")
    keeper.take_up(Announce(ONE))
    keeper.take_up(Announce(TWO))
    keeper.take_up(Keep(THREE, Wanted(plumbing(THREE), Extent.ALL)))
    assert ("announce", ONE) not in kernel.until("announce", THREE)
    assert ("announce", ONE) not in kernel.until("announce", THREE)
