"""The fakes of the tests of whole agents keep the contract that the real kernel and prober keep: same cases, both."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingState
from floatingip.core.ports import Host, Prober
from floatingip.core.probe import ProbeOutcome
from floatingip.edges.kernel import marks
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.probes.icmp import IcmpProber
from lab.network.netns import Namespace
from tests.agents.world import FLOATING_IP, FakeHost, FakeProber, Life, Link, World, wait
from tests.waiting import collect

MAC = "02:00:00:00:00:64"
TIMEOUT = 0.2


@dataclass(frozen=True)
class Case:
    """A worker, real or not: its host and prober, and the hands that plug the ENI and make the address answer."""

    namespace: Namespace
    host: Host
    prober: Prober
    primary_mac: str
    plug: Callable[[], None]
    unplug: Callable[[], None]
    serve: Callable[[], None]

    @property
    def plumbing(self) -> Plumbing:
        """What is wanted of it."""
        return Plumbing(FLOATING_IP, MAC, ip_address("10.0.0.1"), self.primary_mac, 840, 900, 0x40, 0x70)


@pytest.fixture
def fake() -> Iterator[Case]:
    """Two machines; the second one serves where something must answer."""
    with World() as world:
        one, two = world.machines

        def serve() -> None:
            two.plug(Link(MAC, frozenset({FLOATING_IP})))
            two.plumbed[FLOATING_IP] = MAC

        life = Life()
        host, prober = FakeHost(one, life), FakeProber(one, life, FLOATING_IP, TIMEOUT)
        mac = one.instance.mac
        yield Case(one.namespace, host, prober, mac, lambda: one.plug(Link(MAC)), lambda: one.unplug(MAC), serve)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """The first worker's namespace with a veth pair for the ENI; the second one has the address on its link."""
    monkeypatch.setattr(marks, "PATIENCE", 5.0)  # on a busy machine nft may take a while
    namespace, other = Namespace("worker-a"), Namespace("worker-b")
    mac = str(namespace.show("link show dev eth0")[0]["address"])
    namespace.sysctl({"ipv4/ip_forward": 1})

    def plug() -> None:
        namespace.ip(f"link add ens6 address {MAC} type veth peer name far", "link set far up")

    def unplug() -> None:
        namespace.ip("link del ens6")

    def serve() -> None:
        other.ip(f"address add {FLOATING_IP}/32 dev eth0")

    host, prober = KernelHost(), IcmpProber(FLOATING_IP, TIMEOUT)
    case = Case(namespace, host, prober, mac, plug, unplug, serve)
    yield case
    namespace.call(lambda: host.unplumb(case.plumbing))
    namespace.call(lambda: host.unroute_probes(case.plumbing))
    prober.close()
    if any(link["ifname"] == "ens6" for link in namespace.show("link show")):
        unplug()
    if any(info["local"] == str(FLOATING_IP) for info in other.show("address show dev eth0")[0]["addr_info"]):
        other.ip(f"address del {FLOATING_IP}/32 dev eth0")


@pytest.fixture(params=["fake", "real"])
def case(request: pytest.FixtureRequest) -> Case:
    """Each of the two."""
    found: Case = request.getfixturevalue(request.param)
    return found


def test_without_the_link_nothing_can_be_plumbed(case: Case) -> None:
    """And nothing is there to be removed."""
    assert case.namespace.call(lambda: case.host.plumb(case.plumbing, Extent.ALL)).state is PlumbingState.NO_LINK
    assert case.namespace.call(lambda: case.host.unplumb(case.plumbing)) == ()


def test_a_link_is_plumbed_once_and_unplumbed_once(case: Case) -> None:
    """The first time something is reported as repaired or removed, the second time nothing is."""
    case.plug()
    first, second = (case.namespace.call(lambda: case.host.plumb(case.plumbing, Extent.ALL)) for _ in range(2))
    assert first.state is second.state is PlumbingState.SOUND
    assert first.repaired
    assert second.repaired == ()
    assert case.namespace.call(lambda: case.host.unplumb(case.plumbing))
    assert case.namespace.call(lambda: case.host.unplumb(case.plumbing)) == ()


@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.AS_FOUND])
def test_what_can_be_there_ahead_of_the_address_is_no_more_than_that(case: Case, extent: Extent) -> None:
    """A bare link has no address after it, and the report says how much there is."""
    case.plug()
    report = case.namespace.call(lambda: case.host.plumb(case.plumbing, extent))
    assert (report.state, report.extent, report.carries) == (PlumbingState.SOUND, Extent.AHEAD, False)


def test_an_address_that_is_found_stays_until_it_should_not_be_there(case: Case) -> None:
    """As it is found: all of it; ahead: the address is removed, once."""
    case.plug()
    extents = (Extent.ALL, Extent.AS_FOUND, Extent.AHEAD, Extent.AHEAD)
    reports = case.namespace.call(lambda: [case.host.plumb(case.plumbing, extent) for extent in extents])
    assert [report.carries for report in reports] == [True, True, False, False]
    assert ["address" in report.removed for report in reports] == [False, False, True, False]


def test_a_link_that_went_is_no_link(case: Case) -> None:
    """Also for a host that had plumbed it; one that comes back is bare."""
    for _ in range(2):
        case.plug()
        report = case.namespace.call(lambda: case.host.plumb(case.plumbing, Extent.ALL))
        assert report.state is PlumbingState.SOUND
        assert report.repaired
        case.unplug()
        assert case.namespace.call(lambda: case.host.plumb(case.plumbing, Extent.ALL)).state is PlumbingState.NO_LINK


def test_a_link_that_appears_or_goes_wakes_the_watcher(case: Case) -> None:
    """At once, not after the next look."""
    woken: list[float] = []
    case.namespace.call(lambda: case.host.watch(lambda: woken.append(time.monotonic())))
    for change in (case.plug, case.unplug):
        woken.clear()
        change()
        wait(lambda: bool(woken), 1, "the watcher is woken")


def test_an_address_that_answers_is_answered_soon(case: Case) -> None:
    """Well before the probe's timeout."""
    case.serve()
    case.namespace.call(case.prober.send)  # ARP takes the first one's time
    collect(case.prober, time.monotonic() + 1)
    case.namespace.call(case.prober.send)
    (result,) = collect(case.prober, time.monotonic() + 1)
    assert result.outcome is ProbeOutcome.ANSWERED
    assert result.known_at - result.sent_at < TIMEOUT / 2


def test_an_address_that_is_silent_costs_the_timeout(case: Case) -> None:
    """Each probe gets one result, in the order of sending."""
    for _ in range(2):
        case.namespace.call(case.prober.send)
        time.sleep(TIMEOUT / 4)
    results = [collect(case.prober, time.monotonic() + 1)[0] for _ in range(2)]
    assert [result.outcome for result in results] == [ProbeOutcome.LOST] * 2
    assert results[0].sent_at < results[1].sent_at
    assert all(TIMEOUT <= result.known_at - result.sent_at < TIMEOUT + 0.2 for result in results)


def test_only_a_probe_under_way_is_waited_for(case: Case) -> None:
    """Until it is over at the latest, so that a loop around it does not spin."""
    assert case.prober.due_at() == math.inf
    case.namespace.call(case.prober.send)
    assert 0 < case.prober.due_at() - time.monotonic() <= TIMEOUT
    assert case.prober.collect() == []
    assert len(collect(case.prober, time.monotonic() + 1)) == 1
    assert case.prober.due_at() == math.inf
