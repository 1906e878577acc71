"""
A NodePort answers over the floating address, with the product's own plumbing on the lab's fabric and workers.

Whoever doubts that the marks are needed takes them away below, and sees every reply fail the VPC's source check.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from floatingip.host import KernelHost, table_name
from floatingip.model import Plumbing, PlumbingReport, PlumbingState
from floatingip.settings import Settings, mark_values
from floatingip.threads import HostKeeper, Wanted
from lab.fabric import GATEWAY, IPV6_GATEWAY, Fabric
from lab.worker import TrafficPolicy, Worker
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
from tests.lab.test_ipv6 import FLOATING as FLOATING_IPV6
from tests.lab.test_ipv6 import Ipv6Backends


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
        """The nft table."""
        return f"inet {table_name(ip_address(self.floating))}"

    def primary(self, worker: Worker) -> str:
        """The worker's own address of this family."""
        return worker.ipv6_address if ":" in self.floating else worker.address


OVER = {
    "IPv4": Over(FLOATING, (FLOATING,), GATEWAY),
    # EC2 gives every ENI an IPv4 address too, which nobody uses here.
    "IPv6": Over(FLOATING_IPV6, ("10.0.0.99", FLOATING_IPV6), IPV6_GATEWAY),
}


class Keeper:
    """The part of an observer that keeps the kernel as it should be, in the namespace of one worker."""

    def __init__(self, worker: Worker, over: Over) -> None:
        self._worker = worker
        self._reports: list[PlumbingReport] = []
        self._keeper = HostKeeper(KernelHost(), lambda _, report: self._reports.append(report))
        settings = over.settings
        self._plumbing = Plumbing(
            address=ip_address(over.floating),
            mac=MAC,
            gateway=ip_address(over.gateway),
            primary_mac=worker.mac,
            table=settings.table,
            priority=settings.priority,
            mark=mark_values(settings.mark)[0],
            mark_mask=settings.mark,
        )

    def start(self) -> None:
        """Carry the address, and return once everything was read back as it should be."""
        self._keeper.want(self._plumbing.address, Wanted(self._plumbing, carried=True))
        self._worker.namespace.call(self._keeper.start)
        deadline = time.monotonic() + 5
        while not any(report.state is PlumbingState.SOUND for report in self._reports):
            assert time.monotonic() < deadline, self._reports
            time.sleep(0.01)

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
    keeper = Keeper(a, over)
    a.hot_plug(ENI, MAC, over.of_the_eni, 1)
    keeper.start()
    yield keeper
    keeper.stop()


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_answers_over_the_floating_address(
    fabric: Fabric,
    workers: Workers,
    backends: Backends,
    fetch: Fetch,
    over: Over,
    keeper: Keeper,
    policy: TrafficPolicy,
) -> None:
    """Inside and outside clients, local, remote and hostNetwork backends; nothing fails the source check."""
    a = workers[0]
    answers = ask_all(fabric, fetch, a, backends, policy, over.floating)
    assert every_one_answered(answers), answers
    assert len(answers) == (8 if policy == "Cluster" else 4)
    assert every_one_answered(ask_all(fabric, fetch, a, backends, policy, over.primary(a))), (
        "the primary address suffers"
    )
    assert fabric.source_check_drops() == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_backends_see_the_same_clients_as_over_the_primary_address(
    fabric: Fabric,
    workers: Workers,
    backends: Backends,
    fetch: Fetch,
    over: Over,
    keeper: Keeper,
    policy: TrafficPolicy,
) -> None:
    """No pod elsewhere sees the floating address as its client: only replies may leave by the ENI that has it."""
    a = workers[0]
    for endpoint, name in backends.all():
        if policy == "Local" and name.startswith("worker-b"):
            continue
        a.expose(NODE_PORT, [endpoint], policy)
        for client in (fabric.client_in, fabric.client_out):
            over_the_floating, over_the_primary = (
                fetch(client, to, NODE_PORT).text for to in (over.floating, over.primary(a))
            )
            assert over_the_floating == over_the_primary
            assert over_the_floating.startswith(name)


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_fails_without_the_marks(
    fabric: Fabric,
    workers: Workers,
    backends: Backends,
    fetch: Fetch,
    over: Over,
    keeper: Keeper,
    policy: TrafficPolicy,
) -> None:
    """With only the nft table taken away, replies leave by the primary ENI, and the source check drops them all."""
    a = workers[0]
    keeper.stop()
    answers = ask_all(fabric, fetch, a, backends, policy, over.floating)
    assert every_one_answered(answers), f"an ended observer must leave the plumbing: {answers}"
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
    deadline = time.monotonic() + 1
    while fetch(fabric.client_out, over.floating, NODE_PORT, timeout=0.1).error:
        assert time.monotonic() < deadline
    answers = ask_all(fabric, fetch, a, backends, "Cluster", over.floating)
    assert every_one_answered(answers), answers
