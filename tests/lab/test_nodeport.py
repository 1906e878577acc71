"""
A NodePort answers over the floating address, with the product's own plumbing on the lab's fabric and workers.

Whoever doubts that the marks are needed takes them away below, and sees every reply fail the VPC's source check.
"""

import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from floatingip.host import KernelHost, table_name
from floatingip.model import Plumbing, PlumbingReport, PlumbingState
from floatingip.settings import Settings
from floatingip.threads import HostKeeper, Wanted
from lab.fabric import GATEWAY, Fabric
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

SETTINGS = Settings(ip_address(FLOATING))
MARKS = f"inet {table_name(SETTINGS.floating_ip)}"


class Keeper:
    """The part of an observer that keeps the kernel as it should be, in the namespace of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._reports: list[PlumbingReport] = []
        self._keeper = HostKeeper(KernelHost(), self._reports.append)
        self._plumbing = Plumbing(
            address=SETTINGS.floating_ip,
            mac=MAC,
            gateway=ip_address(GATEWAY),
            primary_mac=worker.mac,
            table=SETTINGS.table,
            priority=SETTINGS.priority,
            mark=SETTINGS.mark,
        )

    def start(self) -> None:
        """Carry the address, and return once everything was read back as it should be."""
        self._keeper.want(Wanted(self._plumbing, carried=True))
        self._worker.namespace.call(self._keeper.start)
        deadline = time.monotonic() + 5
        while not any(report.state is PlumbingState.SOUND for report in self._reports):
            assert time.monotonic() < deadline, self._reports
            time.sleep(0.01)

    def stop(self) -> None:
        """End as an observer does: what it has plumbed stays, and nobody repairs it any more."""
        self._keeper.end(within=5)


@pytest.fixture
def backends(workers: Workers) -> Backends:
    return Backends(*workers)


@pytest.fixture
def keeper(workers: Workers) -> Iterator[Keeper]:
    """Of worker-a, which has just got the ENI with the floating address; its link will be renamed in a moment."""
    a = workers[0]
    keeper = Keeper(a)
    a.hot_plug(ENI, MAC, [FLOATING], 1)
    keeper.start()
    yield keeper
    keeper.stop()


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_answers_over_the_floating_address(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, keeper: Keeper, policy: TrafficPolicy
) -> None:
    """Inside and outside clients, local, remote and hostNetwork backends; nothing fails the source check."""
    a = workers[0]
    answers = ask_all(fabric, fetch, a, backends, policy, FLOATING)
    assert every_one_answered(answers), answers
    assert len(answers) == (8 if policy == "Cluster" else 4)
    assert every_one_answered(ask_all(fabric, fetch, a, backends, policy, a.address)), "the primary address suffers"
    assert fabric.source_check_drops() == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_backends_see_the_same_clients_as_over_the_primary_address(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, keeper: Keeper, policy: TrafficPolicy
) -> None:
    """No pod elsewhere sees the floating address as its client: only replies may leave by the ENI that has it."""
    a = workers[0]
    for endpoint, name in backends.all():
        if policy == "Local" and name.startswith("worker-b"):
            continue
        a.expose(NODE_PORT, [endpoint], policy)
        for client in (fabric.client_in, fabric.client_out):
            over_the_floating, over_the_primary = (fetch(client, to, NODE_PORT).text for to in (FLOATING, a.address))
            assert over_the_floating == over_the_primary
            assert over_the_floating.startswith(name)


@pytest.mark.parametrize("policy", POLICIES)
def test_node_port_fails_without_the_marks(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, keeper: Keeper, policy: TrafficPolicy
) -> None:
    """With only the nft table taken away, replies leave by the primary ENI, and the source check drops them all."""
    a = workers[0]
    keeper.stop()
    answers = ask_all(fabric, fetch, a, backends, policy, FLOATING)
    assert every_one_answered(answers), f"an ended observer must leave the plumbing: {answers}"
    a.flush_rules(nft_tables=[MARKS])
    answers = ask_all(fabric, fetch, a, backends, policy, FLOATING, timeout=0.3)
    assert set(answers.values()) == {"TimeoutError"}, answers
    drops = fabric.source_check_drops()
    assert set(drops) == {(a.eni_id, FLOATING)}
    assert drops[a.eni_id, FLOATING] >= len(answers)


def test_flushed_plumbing_answers_again_within_a_second(
    fabric: Fabric, workers: Workers, backends: Backends, fetch: Fetch, keeper: Keeper
) -> None:
    """As long as somebody keeps it: rules, routes and marks are taken away together, and nobody is told."""
    a = workers[0]
    a.expose(NODE_PORT, [backends.local[0]])
    a.flush_rules(priorities=(SETTINGS.priority, SETTINGS.priority + 1), nft_tables=[MARKS])
    a.namespace.ip(f"route flush table {SETTINGS.table}")
    deadline = time.monotonic() + 1
    while fetch(fabric.client_out, FLOATING, NODE_PORT, timeout=0.1).error:
        assert time.monotonic() < deadline
    answers = ask_all(fabric, fetch, a, backends, "Cluster", FLOATING)
    assert every_one_answered(answers), answers
