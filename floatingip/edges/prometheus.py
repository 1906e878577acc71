"""
What Prometheus scrapes: metrics that are made from the agent's snapshot and the tally's counts.

Anybody may read them, so labels tell of nothing but health: no names, instances or interfaces, no addresses except
floating ones, and nothing that others can choose.  docs/metrics.md says what each metric means.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from floatingip.core import timing
from floatingip.core.decision.decision import Reason, Rule, State
from floatingip.core.health import HealthState
from floatingip.core.lack import Lack
from floatingip.core.move import Result
from floatingip.core.probe import ProbeOutcome
from floatingip.core.snapshot import AddressSnapshot, Snapshot
from floatingip.edges import clock
from floatingip.edges.tally import Counts, Spread, Tally

MOVING_RULES = (Rule.R1, Rule.R2, Rule.R3, Rule.R4, Rule.R5, Rule.R6, Rule.R7)
"""The rules by which addresses move.  Their counters begin at 0, since Prometheus sees an increase only from a number
that was there before."""

ACTIONS = frozenset({
    "AssignIpv6Addresses", "AssignPrivateIpAddresses", "AssociateAddress", "AttachNetworkInterface",
    "CreateNetworkInterface", "CreateTags", "DeleteNetworkInterface", "DescribeAddresses", "DescribeInstanceTypes",
    "DescribeInstances", "DescribeNetworkInterfaces", "DescribeSubnets", "DetachNetworkInterface",
    "GetSubnetCidrReservations", "ModifyNetworkInterfaceAttribute", "UnassignIpv6Addresses",
    "UnassignPrivateIpAddresses",
})  # fmt: skip
"""The actions of EC2 that are used.  Any other name is not shown, since something else than EC2 may have made it up."""

Labels = TypeVar("Labels", bound=tuple[str, ...])


def handle(instance_id: str) -> str:
    """The name of an observer in metrics: all observers use the same one, and nobody learns the instance from it."""
    return hashlib.sha256(instance_id.encode()).hexdigest()[:8]


class Metrics:
    """Makes metrics of what ``tally`` has counted and of a snapshot; ``version`` is the product's.

    ``now`` is the clock of the snapshots, ``wall`` gives Unix time.
    """

    def __init__(
        self, tally: Tally, version: str, now: Callable[[], float] = clock.now, wall: Callable[[], float] = time.time
    ) -> None:
        self._tally = tally
        self._version = version
        self._now = now
        self._wall = wall
        self._process = ProcessCollector(registry=None)

    def text(self, snapshot: Snapshot) -> str:
        """All metrics, in Prometheus' text format."""
        now, wall, counts = self._now(), self._wall(), self._tally.read()
        families = [
            *_of_addresses(snapshot, now),
            *_of_times(snapshot, now, wall),
            _of_node_ports(snapshot, now),
            *_of_node(snapshot, now),
            *_of_moves(snapshot.addresses, counts),
            *_of_work(counts),
            _gauge("clock_seconds", "Unix seconds by this node's clock.", (), {(): wall}),
            _gauge("build_info", "1, of this version.", ("version",), {(self._version,): 1}),
            *self._process.collect(),
        ]
        return generate_latest(_Families(families)).decode()


class _Families(Collector):
    """A collector of metrics that were made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_addresses(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    gauge = partial(_per_address, snapshot)
    # What was published by a thread that hangs says nothing of now.
    hangs = bool(snapshot.not_live(now))
    up = {HealthState.UP: 1, HealthState.DOWN: 0, HealthState.INIT: -1}
    yield gauge("holder", "1 where this node holds the address.", lambda each: each.is_holder)
    yield gauge(
        "up",
        "1 where this node's probes of the address are answered, 0 where not, -1 where it does not apply, as on the"
        " holder, or is not known yet.",
        lambda each: -1 if hangs else up[each.health],
    )
    yield gauge(
        "probe_blocked",
        "1 where the address does not answer this node's probes, but its holder serves it and vouches for that.",
        lambda each: not hangs and each.reason == Reason.PROBE_BLOCKED.name,
    )
    ready = "1 where this node serves the address, or could take it over."
    yield gauge("ready", ready, lambda each: not (hangs or each.not_ready))
    yield _gauge(
        "not_ready",
        "1 for the reason for which this node could neither serve the address nor take it over.",
        ("address", "reason"),
        {(each.target, lack): 1 for each in snapshot.addresses if (lack := Lack.STALLED if hangs else each.lack)},
    )
    yield _gauge(
        "state",
        "1 for what this node is to the address, 0 for all else.",
        ("address", "state"),
        {(each.target, state.value): each.state == state for each in snapshot.addresses for state in State},
    )


def _of_times(snapshot: Snapshot, now: float, wall: float) -> Iterator[Metric]:
    gauge = partial(_per_address, snapshot)
    yield gauge(
        "ec2_answer_age_seconds",
        "Seconds since EC2 was asked for the answer that says who has the address; without any, since the start.",
        lambda each: now - (snapshot.began_at if each.asked_at is None else each.asked_at),
    )
    yield gauge(
        "ration_wait_seconds",
        "Seconds until the next rationed move of the address may be made.",
        lambda each: max(0.0, each.rationed_until_wall - wall),
    )
    yield gauge(
        "pause_wait_seconds",
        "Seconds until the end of a pause in which the address stays where it is; 0 without one.",
        lambda each: max(0.0, each.paused_until_wall - wall),
    )


def _of_node_ports(snapshot: Snapshot, now: float) -> Metric:
    known = {
        (each.target, str(port)): state is HealthState.UP
        for each in snapshot.addresses
        for port, state in each.node_ports.items()
        if state is not HealthState.INIT
    }
    return _gauge(
        "node_port_up",
        "1 where the NodePort answers this node at the address, 0 where not; absent while that is not known.",
        ("address", "port"),
        {} if snapshot.not_live(now) else known,
    )


def _of_node(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    status = snapshot.status
    ages = {(handle(each.instance_id),): now - each.heard_at for each in snapshot.peers if each.heard_at is not None}
    slots = {(): free} if (free := snapshot.free_slots()) is not None else {}
    denied = {_action(name) for name in snapshot.denied}

    yield _gauge(
        "survivors_short",
        "1 while the other nodes lack ENI slots for what this node holds.",
        (),
        {(): snapshot.are_others_short},
    )
    yield _gauge("free_slots", "ENIs that this node has room for; absent while that is not known.", (), slots)
    yield _gauge("leaving", "1 while this node is about to end, or is written off.", (), {(): status.leaving})
    living = sum(age < timing.PEER_EXISTS for age in ages.values())
    yield _gauge("peers", "Other observers that have answered this one lately.", (), {(): living})
    yield _gauge("peer_word_age_seconds", "Seconds since another observer answered this one last.", ("peer",), ages)
    yield _gauge("observer_info", "1, of what peers call this observer.", ("peer",), {(handle(status.instance_id),): 1})
    yield _gauge("imds_up", "1 while the instance's metadata service answers well.", (), {(): snapshot.is_imds_well})
    yield _gauge(
        "denied",
        "1 for each EC2 action that IAM denies, as the last rehearsal or question has shown.",
        ("action",),
        {(action,): 1 for action in denied},
    )


def _of_moves(addresses: Iterable[AddressSnapshot], counts: Counts) -> Iterator[Metric]:
    moves = {(each.target, rule.value, Result.MOVED.value): 0 for each in addresses for rule in MOVING_RULES}
    yield _counter(
        "moves",
        "Moves to this node that were begun, by the rule, and by what came of them.",
        ("address", "rule", "result"),
        {**moves, **counts.moves},
    )
    yield _gauge(
        "last_move_timestamp_seconds",
        "Unix time at which the address came to this node last; absent where it has not since the start.",
        ("address",),
        {(address,): at for address, at in counts.moved_at.items()},
    )
    yield _histogram(
        "move_phase_seconds",
        "Seconds of each phase of the moves that brought an address here.",
        ("phase",),
        {(phase,): spread for phase, spread in counts.phases.items()},
    )
    yield _histogram(
        "move_duration_seconds",
        "Seconds of the moves that brought an address here, all phases.",
        (),
        {(): counts.durations},
    )


def _of_work(counts: Counts) -> Iterator[Metric]:
    addresses = {address for address, _ in counts.probes}
    probes = {(address, outcome.value): 0 for address in addresses for outcome in ProbeOutcome}
    yield _counter(
        "probes", "Probes of the address, by what came of them.", ("address", "outcome"), {**probes, **counts.probes}
    )
    yield _histogram(
        "probe_round_trip_seconds",
        "Seconds until a probe of the address was answered.",
        ("address",),
        {(address,): spread for address, spread in counts.round_trips.items()},
    )
    yield _counter("ec2_calls", "Calls of EC2's API, by what it answered.", ("action", "code"), counts.calls)
    yield _histogram(
        "ec2_call_seconds",
        "Seconds that calls of EC2's API took, whatever was answered.",
        ("action",),
        {(action,): spread for action, spread in counts.took.items()},
    )
    yield _counter(
        "refused_connections",
        "Connections to the status port that were closed at once, since their source, or all sources, had too many.",
        (),
        {(): counts.refused},
    )
    yield _counter(
        "repairs",
        "What was missing in the node's kernel and was put there, also when an address came.",
        ("what",),
        {(what,): number for what, number in counts.repairs.items()},
    )


def _action(name: str) -> str:
    action = name.removeprefix("ec2:")
    return action if action in ACTIONS else "other"


def _per_address(snapshot: Snapshot, name: str, text: str, value: Callable[[AddressSnapshot], float]) -> Metric:
    return _gauge(name, text, ("address",), {(each.target,): value(each) for each in snapshot.addresses})


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(f"floatingip_{name}", text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(f"floatingip_{name}", text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _histogram(name: str, text: str, labels: tuple[str, ...], values: Mapping[Labels, Spread]) -> Metric:
    family = HistogramMetricFamily(f"floatingip_{name}", text, labels=labels)
    for of, spread in values.items():
        total, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip([*map(repr, spread.bounds), "+Inf"], spread.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(of, buckets, spread.total)
    return family
