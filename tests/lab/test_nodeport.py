"""
A NodePort answers over the floating address, with the product's own plumbing on the lab's fabric and workers.

Whoever doubts that the marks are needed takes them away below, and sees every reply fail the VPC's source check.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from floatingip.agent.effects import Announce, Keep, Wanted
from floatingip.core.model import Address, Target
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome
from floatingip.core.settings import Settings, mark_values
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.mark_table import table_name
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.runtime.keeping import HostKeeper
from lab.network.fabric import GATEWAY, IPV6_GATEWAY, Fabric
from lab.network.kube_proxy import TrafficPolicy
from lab.network.worker import BACKEND_PORT, Worker
from tests.lab.matrix import (
    ENI,
    FLOATING,
    MAC,
    NODE_PORT,
    POLICIES,
    Backends,
    Fetch,
    Workers,
    ask_all,
    every_one_answered,
)
from tests.lab.probing import all_of
from tests.lab.test_ipv6 import FLOATING as FLOATING_IPV6
from tests.lab.test_ipv6 import Ipv6Backends
from tests.waiting import until


@dataclass(frozen=True)
class Over:
    """A floating address, what its ENI has, and the VPC router's address for it."""

    floating: str
    of_the_eni: tuple[str, ...]
    gateway: str

    @property
    def settings(self) -> Settings:
        """Those of a deployment with this address alone."""
        return Settings((ip_address(self.floating),))

    @property
    def marks(self) -> str:
        return f"inet {table_name(ip_address(self.floating))}"

    def primary(self, worker: Worker) -> str:
        return worker.ipv6_address if ":" in self.floating else worker.address


OVER = {
    "IPv4": Over(FLOATING, (FLOATING,), GATEWAY),
    # EC2 gives every ENI an IPv4 address too, which nobody uses here.
    "IPv6": Over(FLOATING_IPV6, ("10.0.0.99", FLOATING_IPV6), IPV6_GATEWAY),
}


class Keeper:
    """The part of an observer that keeps the kernel as it should be, in the namespace of one worker."""

    def __init__(self, worker: Worker, mac: str, addresses: Sequence[str]) -> None:
        """For a link with this MAC that carries these addresses, in the order of FLOATING_IP."""
        self._worker = worker
        self._reports: dict[Target, PlumbingReport] = {}
        self._keeper = HostKeeper(KernelHost(), self._reports.__setitem__)
        settings = Settings(tuple(map(ip_address, addresses)))
        self._plumbings = {
            text: Plumbing(
                address=ip_address(text),
                mac=mac,
                gateway=ip_address(IPV6_GATEWAY if ":" in text else GATEWAY),
                primary_mac=worker.mac,
                table=settings.table + index,
                priority=settings.priority + 2 * index,
                mark=mark_values(settings.mark)[index],
                mark_mask=settings.mark,
            )
            for index, text in enumerate(addresses)
        }

    def start(self, extent: Extent = Extent.ALL) -> None:
        """Carry the addresses, or be ready to, and return once everything was read back as it should be."""
        for text in self._plumbings:
            self._want(text, extent)
        self._worker.namespace.call(self._keeper.start)
        self._wait(extent, *self._plumbings)

    def turn(self, address: str, extent: Extent) -> None:
        """From now on so much of this address; returns once it was read back."""
        self._want(address, extent)
        self._wait(extent, address)

    def announce(self, address: str) -> None:
        """Tell the neighbours, as whoever takes an address over does."""
        self._keeper.take_up(Announce(ip_address(address)))

    def _want(self, address: str, extent: Extent) -> None:
        self._keeper.take_up(Keep(ip_address(address), Wanted(self._plumbings[address], extent)))

    def _wait(self, extent: Extent, *addresses: str) -> None:
        until(lambda: all(self._is_sound(ip_address(address), extent) for address in addresses), 10)

    def _is_sound(self, address: Address, extent: Extent) -> bool:
        report = self._reports.get(address)
        return report is not None and report.state is PlumbingState.SOUND and report.extent is extent

    def stop(self) -> None:
        """End as an observer does: what it has plumbed stays, and nobody repairs it any more."""
        self._keeper.end(within=5)


@pytest.fixture(params=OVER)
def over(request: pytest.FixtureRequest) -> Over:
    return OVER[request.param]


@pytest.fixture
def backends(workers: Workers, over: Over) -> Backends:
    return (Ipv6Backends if ":" in over.floating else Backends)(*workers)


@pytest.fixture
def keeper(workers: Workers, over: Over) -> Iterator[Keeper]:
    """Of worker-a, which has just got the ENI with the floating address; its link will be renamed in a moment."""
    a = workers[0]
    keeper = Keeper(a, MAC, [over.floating])
    a.hot_plug(ENI, MAC, over.of_the_eni, 1)
    keeper.start()
    yield keeper
    keeper.stop()


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_answers_over_the_floating_address_as_over_the_primary_one_and_only_by_the_marks(
    fabric: Fabric,
    workers: Workers,
    backends: Backends,
    fetch: Fetch,
    over: Over,
    keeper: Keeper,
    policy: TrafficPolicy,
) -> None:
    """
    To clients inside and outside, by local, remote and hostNetwork backends; nothing fails the source check.

    Nor does any pod elsewhere see the floating address as its client: only replies may leave by the ENI that has it.
    When the observer has ended all answer on; with only the nft table taken away, replies leave by the primary ENI, and
    the source check drops them all.
    """
    a = workers[0]
    asked = [each for each in backends.all() if policy == "Cluster" or each[1].startswith("worker-a")]
    assert len(asked) == (4 if policy == "Cluster" else 2)
    for endpoint, name in asked:
        a.expose(NODE_PORT, [endpoint], policy)
        for client in (fabric.client_in, fabric.client_out):
            over_the_floating, over_the_primary = (
                fetch(client, to, NODE_PORT).text for to in (over.floating, over.primary(a))
            )
            assert over_the_floating == over_the_primary
            assert over_the_floating.startswith(name)
    keeper.stop()
    answers = ask_all(fabric, fetch, a, backends, policy, over.floating)
    assert every_one_answered(answers), f"an ended observer must leave the plumbing: {answers}"
    assert fabric.source_check_drops() == {}
    a.flush_rules(nft_tables=[over.marks])
    answers = ask_all(fabric, fetch, a, backends, policy, over.floating, timeout=0.3)
    assert set(answers.values()) == {"TimeoutError"}, answers
    drops = fabric.source_check_drops()
    assert set(drops) == {(a.eni_id, over.floating)}
    assert drops[a.eni_id, over.floating] >= len(answers)


def test_flushed_plumbing_answers_again_within_a_second(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, over: Over, keeper: Keeper
) -> None:
    """As long as somebody keeps it: rules, routes and marks are taken away together, and nobody is told."""
    a, settings = workers[0], over.settings
    a.expose(NODE_PORT, [backends.local[0]])
    a.flush_rules(priorities=(settings.priority, settings.priority + 1), nft_tables=[over.marks])
    flush = a.namespace.ip6 if ":" in over.floating else a.namespace.ip
    flush(f"route flush table {settings.table}")
    until(lambda: not fetch(fabric.client_out, over.floating, NODE_PORT, timeout=0.1).error, 1)
    answers = ask_all(fabric, fetch, a, backends, "Cluster", over.floating)
    assert every_one_answered(answers), answers


SECOND = "10.0.0.101"
TOGETHER = (FLOATING, SECOND, FLOATING_IPV6)
STANDING_ENI, STANDING_MAC, STANDING_ADDRESS = "eni-standing", "02:00:00:00:00:65", "10.0.0.98"
"""What another worker has ahead of the addresses."""


@pytest.fixture
def holder(workers: Workers) -> Iterator[Keeper]:
    """Of worker-a, whose standing ENI has two IPv4 addresses and one IPv6 address."""
    a = workers[0]
    keeper = Keeper(a, MAC, TOGETHER)
    a.hot_plug(ENI, MAC, ("10.0.0.99", *TOGETHER), 1)
    keeper.start()
    yield keeper
    keeper.stop()


@pytest.fixture
def standby(workers: Workers) -> Iterator[Keeper]:
    """Of worker-b, whose standing ENI has none of them, and is plumbed ahead."""
    b = workers[1]
    keeper = Keeper(b, STANDING_MAC, TOGETHER)
    b.hot_plug(STANDING_ENI, STANDING_MAC, (STANDING_ADDRESS,), 1)
    keeper.start(Extent.AHEAD)
    yield keeper
    keeper.stop()


def ask_at_once(fabric: Fabric, fetch: Fetch, addresses: Sequence[str]) -> dict[tuple[str, str], str]:
    """One connection to the NodePort on each address from each client, all at the same time: who answered, or not."""
    every = [(address, client) for address in addresses for client in (fabric.client_in, fabric.client_out)]
    with ThreadPoolExecutor(len(every)) as pool:
        answers = pool.map(lambda one: fetch(one[1], one[0], NODE_PORT), every)
        return {
            (address, client.name): answer.error or answer.text.split()[0]
            for (address, client), answer in zip(every, answers, strict=True)
        }


def test_all_addresses_of_one_standing_eni_answer_at_once_and_one_that_leaves_hurts_no_other(
    fabric: Fabric, workers: Workers, fetch: Fetch, holder: Keeper
) -> None:
    """
    Two IPv4 addresses and an IPv6 one on one link: each connection comes back by its own mark, table and rule.

    The others go on answering while one is taken down, and after; and all of them when it is back.
    """
    a, b = workers
    backends = Backends(a, b)
    of_ipv6 = {backends.local: a.pod_ipv6_addresses[0], backends.host: a.ipv6_address}
    of_ipv6[backends.remote] = b.pod_ipv6_addresses[0]  # the last: it is the backend from here on
    for (endpoint, answering), ipv6_address in of_ipv6.items():
        a.expose(NODE_PORT, [endpoint, (ipv6_address, BACKEND_PORT)])
        answers = ask_at_once(fabric, fetch, TOGETHER)
        assert len(answers) == 6
        assert set(answers.values()) == {answering}, answers
    assert fabric.source_check_drops() == {}
    for leaving in TOGETHER:
        others = [address for address in TOGETHER if address != leaving]
        fabric.unassign(ENI, leaving)
        with ThreadPoolExecutor(1) as pool:
            turned = pool.submit(holder.turn, leaving, Extent.AHEAD)
            rounds = [ask_at_once(fabric, fetch, others)]
            while not turned.done():
                rounds.append(ask_at_once(fabric, fetch, others))
            turned.result()
        rounds.append(ask_at_once(fabric, fetch, others))
        for answers in rounds:
            assert set(answers.values()) == {answering}, answers
        asked = (fetch(client, leaving, NODE_PORT, timeout=0.3) for client in (fabric.client_in, fabric.client_out))
        assert {answer.error for answer in asked} == {"TimeoutError"}
        fabric.assign(ENI, leaving)
        holder.turn(leaving, Extent.ALL)
        answers = ask_at_once(fabric, fetch, TOGETHER)
        assert set(answers.values()) == {answering}, answers
    # A neighbour solicitation, say, between EC2's and the kernel's end.
    assert set(fabric.source_check_drops()) <= {(ENI, address) for address in TOGETHER}


def test_a_standby_that_is_ready_does_not_hear_itself(
    fabric: Fabric, workers: Workers, holder: Keeper, standby: Keeper
) -> None:
    """Its probes leave by the primary link: answered by the holder, and lost with it."""
    b = workers[1]
    assert {address: probe(b, address) for address in TOGETHER} == dict.fromkeys(TOGETHER, ProbeOutcome.ANSWERED)
    fabric.silence([ENI])
    assert {address: probe(b, address) for address in TOGETHER} == dict.fromkeys(TOGETHER, ProbeOutcome.LOST)
    assert fabric.source_check_drops() == {}, "the standing ENI has not got the primary address"


def probe(worker: Worker, address: str) -> ProbeOutcome:
    """What comes of one probe by the product's own prober."""

    def ask() -> ProbeOutcome:
        prober = IcmpProber(ip_address(address))
        prober.send()
        return all_of(prober, 1)[0].outcome

    return worker.namespace.call(ask)


def test_a_standby_answers_as_soon_as_an_address_is_its_own(
    fabric: Fabric, workers: Workers, fetch: Fetch, holder: Keeper, standby: Keeper
) -> None:
    """The holder's kernel hangs; one call of EC2 later the other one serves an address, and hurts no other."""
    b = workers[1]
    (endpoint, name), ipv6_address = Backends(*workers).remote, b.pod_ipv6_addresses[0]
    for worker in workers:
        worker.expose(NODE_PORT, [endpoint, (ipv6_address, BACKEND_PORT)])
    assert set(ask_at_once(fabric, fetch, TOGETHER).values()) == {name}
    fabric.silence([ENI])
    for count, address in enumerate(TOGETHER, 1):
        fabric.assign(STANDING_ENI, address)
        standby.turn(address, Extent.ALL)
        standby.announce(address)
        until(lambda: set(ask_at_once(fabric, fetch, TOGETHER[:count]).values()) == {name}, 5)  # noqa: B023 - asked at once
    assert fabric.source_check_drops() == {}
