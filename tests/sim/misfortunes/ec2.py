"""What goes wrong with calls to EC2, and with its answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.errors import CloudError
from tests.sim.fleet import Fleet
from tests.sim.line import Call, Happening, fails, hangs, nothing
from tests.sim.misfortunes.misfortune import End, some, some_or_all
from tests.sim.worker import Worker

MOVING = ("create_eni", "attach_eni", "detach_eni", "assign", "unassign", "tag_eni")
"""The calls to EC2 that a move is made of."""

ACTIONS = (
    "DescribeNetworkInterfaces", "DescribeInstances", "CreateNetworkInterface", "AttachNetworkInterface",
    "DetachNetworkInterface", "AssignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses",
    "AssociateAddress", "CreateTags", "DeleteNetworkInterface",
)  # fmt: skip
"""The actions that IAM may deny."""


def without_ec2(fleet: Fleet, draw: random.Random) -> End:
    workers = some_or_all(fleet, draw)
    for worker in workers:
        worker.cloud.reachable = False

    def end() -> None:
        for worker in workers:
            worker.cloud.reachable = True

    return end


def _sometimes(fleet: Fleet, share: float, what: Happening) -> Happening:
    def maybe(call: Call) -> None:
        if fleet.chance.random() < share:
            what(call)

    return maybe


def throttled(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(before=_sometimes(fleet, draw.choice((0.2, 0.5)), fails)).end


def lost_answers(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(*MOVING, after=_sometimes(fleet, draw.choice((0.3, 1.0)), fails)).end


def late_writes(fleet: Fleet, draw: random.Random) -> End:
    """EC2 accepts calls that move something, but gives no answer, and carries them out seconds later, in any order."""
    share, latest = draw.choice((0.3, 1.0)), draw.choice((5.0, 20.0))
    waiting: dict[int, Call] = {}

    def act(call: Call) -> None:
        if waiting.pop(id(call), None) is not None:
            fleet.tell("EC2", f"does at last: {call.name} of {call.by}, {fleet.now - call.at:.1f} s ago")
            with suppress(CloudError):
                getattr(fleet.cloud, call.name)(*call.args, **call.options)

    def put_off(call: Call) -> None:
        waiting[id(call)] = call
        fleet.after(fleet.chance.uniform(3.0, latest), partial(act, call))
        fleet.chance.choice((fails, hangs))(call)

    trouble = fleet.at_calls(*MOVING, before=_sometimes(fleet, share, put_off))

    def end() -> None:
        trouble.end()
        for call in tuple(waiting.values()):
            act(call)

    return end


def hanging_calls(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(before=_sometimes(fleet, draw.choice((0.1, 0.3)), hangs)).end


def denied(fleet: Fleet, draw: random.Random) -> End:
    """IAM denies one action, to one observer or to all."""
    action, workers = draw.choice(ACTIONS), some_or_all(fleet, draw)
    fleet.tell("", f"IAM denies {action} to {', '.join(worker.name for worker in workers)}")
    for worker in workers:
        worker.cloud.denied.add(action)

    def end() -> None:
        for worker in workers:
            worker.cloud.denied.discard(action)

    return end


def late_describes(fleet: Fleet, draw: random.Random) -> End:
    lag = draw.uniform(0.5, 5.0)
    for worker in fleet.workers:
        worker.cloud.lag = lag

    def end() -> None:
        for worker in fleet.workers:
            worker.cloud.lag = 0.0

    return end


def omitted_interface(fleet: Fleet, draw: random.Random) -> End:
    """For one observer or all, EC2's lists of interfaces lack one of ours."""
    ours = sorted(eni.id for eni in fleet.ec2.state.enis.values() if eni.tags.get(OWNER_TAG) == fleet.settings.name)
    omitted, workers = draw.choice(ours) if ours else "", some_or_all(fleet, draw)
    fleet.tell("", f"Describes omit {omitted} for {', '.join(worker.name for worker in workers)}")
    for worker in workers:
        worker.cloud.omitted.add(omitted)

    def end() -> None:
        for worker in workers:
            worker.cloud.omitted.discard(omitted)

    return end


def slow_answers(fleet: Fleet, draw: random.Random) -> End:
    """For one observer or all, EC2 is slow to answer questions, writes, or everything."""
    spans, names = ((0.3, 1.0), (0.5, 4.0)), (("look",), ("write",), ("look", "write", "rehearsal", "peers"))
    return _slow(fleet, draw, spans, names, lambda worker: worker.ec2_takes, "s")


def very_slow_answers(fleet: Fleet, draw: random.Random) -> End:
    """For one observer or all, each single call (questions, writes or both) takes longer than its first attempt is
    waited for.
    """
    spans, names = ((4.0, 8.0), (8.0, 12.0), (1.0, 25.0)), (("look",), ("write",), ("look", "write"))
    return _slow(fleet, draw, spans, names, lambda worker: worker.ec2_takes_for_each_call, "s a call")


def _slow(
    fleet: Fleet,
    draw: random.Random,
    spans: Sequence[tuple[float, float]],
    names: Sequence[tuple[str, ...]],
    takes_of: Callable[[Worker], dict[str, tuple[float, float]]],
    unit: str,
) -> End:
    """For one observer or all, the calls in one of the lists ``names`` take a time from one of the ``spans``."""
    workers, takes, slow = some_or_all(fleet, draw), draw.choice(spans), draw.choice(names)
    fleet.tell(
        "", f"for {', '.join(each.name for each in workers)}: {', '.join(slow)}, {takes[0]} to {takes[1]} {unit}"
    )

    def end() -> None:
        for worker in workers:
            takes_of(worker).clear()

    end()
    for worker in workers:
        takes_of(worker).update(dict.fromkeys(slow, takes))
    return end


def lost_at_a_write(fleet: Fleet, draw: random.Random) -> End:
    """At the next call that moves something, EC2 stops answering: its caller, or everybody.  That call may still take
    effect.  This is an outage, or credentials that are no longer accepted.
    """
    is_taken, is_for_all = draw.random() < 0.5, draw.random() < 0.5
    lost: list[Worker] = []

    def begin(call: Call) -> None:
        lost.extend(worker for worker in fleet.workers if is_for_all or worker.name == call.by)
        for worker in lost:
            worker.cloud.reachable = False
        fleet.tell("", f"EC2 answers {', '.join(worker.name for worker in lost)} no more")
        fails(call)

    before, after = (nothing, begin) if is_taken else (begin, nothing)
    trouble = fleet.at_calls(*MOVING, before=before, after=after, most=1)

    def end() -> None:
        trouble.end()
        for worker in lost:
            worker.cloud.reachable = True

    return end


def stuck_detaches(fleet: Fleet, draw: random.Random) -> End:
    worker = some(fleet, draw)
    fleet.tell(worker.name, "lets go of no device")
    fleet.ec2.hang(worker.id)
    return lambda: fleet.ec2.thaw(worker.id) if not worker.is_hung else None
