"""What can befall a fleet: each misfortune lasts for a while and is over then, but for a machine that is terminated."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

from floatingip.commands import pause
from floatingip.core import pace
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.pause import TAG as PAUSED
from floatingip.core.ec2 import OWNER_TAG, Eni
from floatingip.core.errors import CloudError, ConfigurationError
from floatingip.core.model import Address, Allocation
from floatingip.core.node import Notice
from floatingip.core.timing import LOOK_IN_PEACE, NOTICE_EVERY, PEACE_JITTER, REHEARSE_AGAIN
from tests.sim.fleet import Fleet
from tests.sim.line import Call, Happening, Killed, fails, hangs, nothing
from tests.sim.worker import LIVING, PROBES, QUESTIONS, Worker

End = Callable[[], object]
"""Ends a misfortune."""

MOVING = ("create_eni", "attach_eni", "detach_eni", "assign", "unassign", "tag_eni")
"""The calls to EC2 that a move is made of."""


ACTIONS = (
    "DescribeNetworkInterfaces", "DescribeInstances", "CreateNetworkInterface", "AttachNetworkInterface",
    "DetachNetworkInterface", "AssignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses",
    "AssociateAddress", "CreateTags", "DeleteNetworkInterface",
)  # fmt: skip
"""What IAM may deny."""


@dataclass(frozen=True)
class Misfortune:
    """``begin`` lets it begin; it lasts for so many seconds at least and at most, and is told as ``what``; ``noticed``
    is how many seconds later its end is noticed, at most; ``leaves_one``: for a while after it an interface may be too
    many.
    """

    what: str
    begin: Callable[[Fleet, random.Random], End]
    shortest: float = 0.5
    longest: float = 30.0
    noticed: float = 0.0
    leaves_one: bool = False


def _some(fleet: Fleet, draw: random.Random) -> Worker:
    return draw.choice([worker for worker in fleet.workers if not worker.is_ended])


def _some_or_all(fleet: Fleet, draw: random.Random) -> list[Worker]:
    return draw.choice(([_some(fleet, draw)], fleet.workers))


def _over(*ends: End) -> End:
    def end() -> None:
        for each in ends:
            each()

    return end


# The network.


def _partition(fleet: Fleet, draw: random.Random) -> End:
    pair = frozenset(worker.name for worker in draw.sample(fleet.workers, 2))
    fleet.tell("", f"nothing passes between {' and '.join(sorted(pair))}")
    fleet.cut |= {pair}
    return lambda: fleet.cut.discard(pair)


def _part_of_it_lost(fleet: Fleet, draw: random.Random) -> End:
    """Probes, questions or all, in one direction or both."""
    a, b = (worker.name for worker in draw.sample(fleet.workers, 2))
    kinds, is_mutual = draw.choice(((PROBES,), (QUESTIONS,), (PROBES, QUESTIONS))), draw.random() < 0.5
    lost = {(what, *ends) for what in kinds for ends in ([(a, b), (b, a)] if is_mutual else [(a, b)])}
    for what, asker, asked in sorted(lost):
        fleet.tell("", f"{what} of {asker} to {asked} are lost")
    fleet.lost |= lost

    def end() -> None:
        fleet.lost -= lost

    return end


def _closed_group(fleet: Fleet, draw: random.Random) -> End:
    lost = {
        (what, a.name, b.name) for a, b in permutations(fleet.workers, 2) for what in (PROBES, QUESTIONS)
    }  # fmt: skip
    fleet.lost |= lost

    def end() -> None:
        fleet.lost -= lost

    return end


def _cut_off(fleet: Fleet, draw: random.Random) -> End:
    """From the other workers, and mostly from EC2 too."""
    worker = _some(fleet, draw)
    worker.cut_off()
    worker.cloud.reachable = draw.random() < 0.4
    pairs = {frozenset({worker.name, other.name}) for other in fleet.workers if other is not worker}
    if draw.random() < 0.5:
        worker.pod = None

    def end() -> None:
        worker.cloud.reachable = True
        worker.pod = LIVING if worker.pod is None else worker.pod
        fleet.cut -= pairs

    return end


def _loss(fleet: Fleet, draw: random.Random) -> End:
    fleet.loss = draw.choice((0.05, 0.2))

    def end() -> None:
        fleet.loss = 0.0

    return end


def _delay(fleet: Fleet, draw: random.Random) -> End:
    fleet.delay = draw.choice((0.05, 0.2, 0.45))

    def end() -> None:
        fleet.delay = 0.0

    return end


# EC2.


def _without_ec2(fleet: Fleet, draw: random.Random) -> End:
    workers = _some_or_all(fleet, draw)
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


def _throttled(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(before=_sometimes(fleet, draw.choice((0.2, 0.5)), fails)).end


def _lost_answers(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(*MOVING, after=_sometimes(fleet, draw.choice((0.3, 1.0)), fails)).end


def _hanging_calls(fleet: Fleet, draw: random.Random) -> End:
    return fleet.at_calls(before=_sometimes(fleet, draw.choice((0.1, 0.3)), hangs)).end


def _denied(fleet: Fleet, draw: random.Random) -> End:
    """One action, to one observer or to all."""
    action, workers = draw.choice(ACTIONS), _some_or_all(fleet, draw)
    fleet.tell("", f"IAM denies {action} to {', '.join(worker.name for worker in workers)}")
    for worker in workers:
        worker.cloud.denied.add(action)

    def end() -> None:
        for worker in workers:
            worker.cloud.denied.discard(action)

    return end


def _late_describes(fleet: Fleet, draw: random.Random) -> End:
    lag = draw.uniform(0.5, 5.0)
    for worker in fleet.workers:
        worker.cloud.lag = lag

    def end() -> None:
        for worker in fleet.workers:
            worker.cloud.lag = 0.0

    return end


def _slow_answers(fleet: Fleet, draw: random.Random) -> End:
    before = fleet.profile
    fleet.profile = replace(before, answer=draw.choice(((0.3, 1.0), (0.5, 4.0))))

    def end() -> None:
        fleet.profile = replace(fleet.profile, answer=before.answer)

    return end


def _stuck_detaches(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    fleet.tell(worker.name, "lets go of no device")
    fleet.ec2.hang(worker.id)
    return lambda: fleet.ec2.thaw(worker.id) if not worker.is_hung else None


# Observers and machines.


def _revive(worker: Worker) -> None:
    if worker.is_on and worker.observer is None:
        worker.start()
        if worker.is_hung:
            worker.pause()


def _killed(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.kill()
    return lambda: _revive(worker)


def _killed_again_and_again(fleet: Fleet, draw: random.Random) -> End:
    """By chance, every few seconds, some of them, and they start at once."""
    ended: list[bool] = []

    def kill() -> None:
        if not ended:
            worker = fleet.chance.choice(fleet.workers)
            worker.kill()
            fleet.after(fleet.chance.uniform(0.0, 1.0), lambda: _revive(worker))
            fleet.after(fleet.chance.expovariate(1 / 3), kill)

    kill()
    return lambda: ended.append(True)


def _kill(fleet: Fleet, call: Call) -> None:
    """Whoever makes the call; it starts anew a second later."""
    worker = next(worker for worker in fleet.workers if worker.name == call.by)
    worker.kill()
    fleet.after(1.0, lambda: _revive(worker))
    raise Killed


def _killed_at_a_write(fleet: Fleet, draw: random.Random) -> End:
    """As EC2 takes a call that moves something; the answer is for nobody."""
    return fleet.at_calls(*MOVING, after=partial(_kill, fleet), most=draw.choice((1, 3))).end


def _killed_during_a_move(fleet: Fleet, draw: random.Random) -> End:
    """Between any two of its calls to EC2, of whatever kind: before one is made, or as its answer comes."""
    when, kill = draw.choice(("before", "after")), partial(_kill, fleet)
    before, after = (kill, nothing) if when == "before" else (nothing, kill)
    ends: list[End] = []

    def lie_in_wait() -> None:
        if any(fleet.serving(target) is None for target in fleet.settings.floating_ips):
            ends.append(fleet.at_calls(before=before, after=after, spared=draw.randint(0, 9), most=2).end)
        if not ends:
            fleet.after(0.1, lie_in_wait)

    def end() -> None:
        ends.append(lambda: None)
        _over(*ends)()

    lie_in_wait()
    return end


def _paused(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.pause()
    return worker.resume


def _stalls(fleet: Fleet, draw: random.Random) -> End:
    """Pauses of less than a second, one after the other."""
    worker, ended = _some(fleet, draw), list[bool]()

    def stall() -> None:
        if not ended:
            worker.pause()
            fleet.after(fleet.chance.uniform(0.1, 0.9), worker.resume)
            fleet.after(fleet.chance.uniform(1.2, 3.0), stall)

    stall()
    return _over(lambda: ended.append(True), worker.resume)


def _hung(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.hang()
    return worker.thaw


def _boot(worker: Worker) -> None:
    """It has power again, if it lacks it; unless EC2 has ended it."""
    if not worker.is_on and not worker.is_ended:
        worker.boot()
        worker.start()


def _powerless(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.cut_power()
    return partial(_boot, worker)


def _terminated(fleet: Fleet, draw: random.Random) -> End:
    """For good, unless it is the last but one; its node's end is graceful, or is not."""
    living = [worker for worker in fleet.workers if not worker.is_ended]
    grace = draw.choice((0.0, draw.uniform(0.0, 20.0)))
    if len(living) > 2:
        draw.choice(living).terminate(min(grace, fleet.profile.delays.release))
    return lambda: None


def _stopped(fleet: Fleet, draw: random.Random) -> End:
    """By EC2, unless it is the last; it is started again, with the interfaces that it has then."""
    living = [worker for worker in fleet.workers if not worker.is_ended]
    if len(living) < 2:
        return lambda: None
    worker = draw.choice(living)
    worker.stop(draw.choice((0.0, draw.uniform(0.0, 15.0))))

    def start() -> None:
        fleet.ec2.start(worker.id)
        worker.boot()
        _revive(worker)

    return start


def _rebooted(fleet: Fleet, draw: random.Random) -> End:
    """Gracefully: the observer gets SIGTERM some time before all ends; it comes back with its interfaces."""
    worker = _some(fleet, draw)
    fleet.tell(worker.name, "is rebooted")
    if worker.observer is not None:
        worker.observer.stop()
    fleet.after(draw.uniform(0.0, 15.0), lambda: worker.cut_power() if not worker.is_ended else None)
    return partial(_boot, worker)


def _all_powerless(fleet: Fleet, draw: random.Random) -> End:
    """All at once; they come back one after the other, and find what they had."""
    for worker in fleet.workers:
        if worker.is_on:
            worker.cut_power()
    order = draw.sample(fleet.workers, len(fleet.workers))
    delays = sorted(draw.uniform(0.0, 8.0) for _ in order)

    def end() -> None:
        for worker, delay in zip(order, delays, strict=True):
            fleet.after(delay, partial(_boot, worker))

    return end


def _two_in_a_row(fleet: Fleet, draw: random.Random) -> End:
    """The holder of an address loses power; and whoever gets it next, within two seconds."""
    target, left = draw.choice(fleet.settings.floating_ips), [2]

    def strike() -> None:
        holder = fleet.at(target)
        if left[0] and holder is not None and holder.is_on and not holder.is_ended:
            left[0] -= 1
            holder.cut_power()
        if left[0]:
            fleet.after(draw.uniform(0.1, 2.0), strike)

    def end() -> None:
        left[0] = 0
        for worker in fleet.workers:
            _boot(worker)

    strike()
    return end


def _deleted_pod(fleet: Fleet, draw: random.Random) -> End:
    """Somebody deletes an observer's pod, or its node is drained; the next one comes when that has ended."""
    worker, disruption = _some(fleet, draw), draw.choice(("", "EvictionByEvictionAPI"))
    worker.delete(disruption)
    return _over(worker.kill, lambda: _revive(worker))


def _announced(fleet: Fleet, draw: random.Random) -> End:
    """By IMDS; but nothing comes of it."""
    worker = _some(fleet, draw)
    worker.notice = Notice("spot", "terminate")

    def end() -> None:
        worker.notice = None

    return end


def _without_pings(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.drops_pings = True

    def end() -> None:
        worker.drops_pings = False

    return end


def _without_node_ports(fleet: Fleet, draw: random.Random) -> End:
    workers = _some_or_all(fleet, draw)
    for worker in workers:
        worker.serves = False

    def end() -> None:
        for worker in workers:
            worker.serves = True

    return end


def _without_devices(fleet: Fleet, draw: random.Random) -> End:
    workers = _some_or_all(fleet, draw)
    for worker in workers:
        worker.hides_devices = True
    return _over(*(worker.show_devices for worker in workers))


def _mute(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    fleet.tell(worker.name, "its floating addresses reach nobody")
    worker.is_mute = True

    def end() -> None:
        worker.is_mute = False

    return end


def _broken_kernel(fleet: Fleet, draw: random.Random) -> End:
    workers = _some_or_all(fleet, draw)
    for worker in workers:
        worker.break_kernel("nft: not found", answers=draw.random() < 0.5)
    return _over(*(worker.mend_kernel for worker in workers))


def _wall_clock_jumps(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.wall_ahead = draw.choice((-86_400.0, -60.0, 60.0, 86_400.0))
    fleet.tell(worker.name, f"its wall clock jumps by {worker.wall_ahead:g} s")

    def end() -> None:
        worker.wall_ahead = 0.0

    return end


# IMDS and Kubernetes.


def _silent_imds(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.is_imds_silent = True

    def end() -> None:
        worker.is_imds_silent = False

    return end


def _late_imds(fleet: Fleet, draw: random.Random) -> End:
    lag = draw.uniform(1.0, 20.0)
    for worker in fleet.workers:
        worker.imds_lag = lag

    def end() -> None:
        for worker in fleet.workers:
            worker.imds_lag = 0.0

    return end


def _silent_api_server(fleet: Fleet, draw: random.Random) -> End:
    for worker in fleet.workers:
        worker.pod = None

    def end() -> None:
        for worker in fleet.workers:
            worker.pod = LIVING

    return end


def _written_off(fleet: Fleet, draw: random.Random) -> End:
    workers = _some_or_all(fleet, draw)
    fleet.tell("", f"Kubernetes writes off {', '.join(worker.name for worker in workers)}")
    for worker in workers:
        worker.pod = replace(LIVING, ready=False)

    def end() -> None:
        for worker in workers:
            worker.pod = LIVING

    return end


def _holder_written_off(fleet: Fleet, draw: random.Random) -> End:
    """Whoever holds an address is, while the others are not: so moving helps nobody."""
    ended: list[bool] = []

    def write_off() -> None:
        if not ended:
            for worker in fleet.workers:
                holds = any(map(worker.carries, worker.plumbed))
                worker.pod = replace(LIVING, ready=False) if holds else LIVING
            fleet.after(0.5, write_off)

    def end() -> None:
        ended.append(True)
        for worker in fleet.workers:
            worker.pod = LIVING

    fleet.after(0.0, write_off)
    return end


# Operators.


def _operated(fleet: Fleet, draw: random.Random, act: Callable[[Eni], object]) -> End:
    """Somebody does this to an interface of ours, as far as EC2 lets them."""
    ours = [eni for eni in fleet.ec2.state.enis.values() if eni.tags.get(OWNER_TAG) == fleet.settings.name]
    if ours:
        eni = draw.choice(ours)
        with suppress(CloudError):
            act(eni)
    return lambda: None


def _detached_by_hand(fleet: Fleet, draw: random.Random) -> End:
    force = draw.random() < 0.5

    def detach(eni: Eni) -> None:
        if eni.attachment is not None:
            fleet.ec2.detach(eni.attachment.id, force=force)

    return _operated(fleet, draw, detach)


def _moved_by_hand(fleet: Fleet, draw: random.Random) -> End:
    there = _some(fleet, draw)

    def move(eni: Eni) -> None:
        if not eni.standing_for:
            if eni.attachment is not None:
                fleet.ec2.detach(eni.attachment.id, force=True)
            fleet.after(fleet.profile.delays.force_detach + 0.1, lambda: attach(eni))
            return
        standing = fleet.standing(there)
        if standing and standing[0].id != eni.id:
            for address in eni.secondary:
                fleet.ec2.assign(standing[0].id, address, reassign=True)
            for ipv6 in eni.ipv6s:
                fleet.ec2.unassign(eni.id, ipv6)

    def attach(eni: Eni) -> None:
        with suppress(CloudError):
            fleet.cloud.attach_eni(eni.id, there.id, frozenset())

    return _operated(fleet, draw, move)


def _handed_over(fleet: Fleet, draw: random.Random) -> End:
    """Somebody orders it, to one node or to any, and takes the order back."""
    key, there = (
        way_to(fleet.settings.carry).of_one(order.TAG, draw.choice(fleet.settings.floating_ips)),
        _some(fleet, draw),
    )
    to = draw.choice((order.ANYBODY, there.id))
    ordered: list[str] = []

    def ask(eni: Eni) -> None:
        if eni.attachment is not None:
            ordered.append(eni.id)
            fleet.cloud.tag_eni(eni.id, {key: order.render(eni.attachment.id, to, fleet.wall + 30.0)})

    def end() -> None:
        for eni_id in ordered:
            with suppress(CloudError):
                fleet.cloud.tag_eni(eni_id, {key: ""})

    _operated(fleet, draw, ask)
    return end


def _moves_paused(fleet: Fleet, draw: random.Random) -> End:
    """For longer than this lasts, when somebody resumes them, or for a few seconds; where an address has no interface
    then, nothing is paused.
    """
    settings, seconds = fleet.settings, draw.choice((600.0, draw.uniform(5.0, 20.0)))
    with suppress(ConfigurationError):
        pause.begin(fleet.cloud, settings.name, settings.floating_ips, settings.carry, seconds, wall=lambda: fleet.wall)

    def end() -> None:
        for eni in fleet.ec2.state.enis.values():
            if eni.tags.get(PAUSED):
                fleet.cloud.tag_eni(eni.id, {PAUSED: ""})

    return end


def _disassociated_by_hand(fleet: Fleet, draw: random.Random) -> End:
    for target in fleet.settings.floating_ips:
        if isinstance(target, Allocation) and fleet.address_of(target) is not None:
            fleet.ec2.disassociate(target.id)
    return lambda: None


def _unassigned_by_hand(fleet: Fleet, draw: random.Random) -> End:
    """Addresses are taken off a standing interface, and given to nobody."""

    def unassign(eni: Eni) -> None:
        addresses: tuple[Address, ...] = (*eni.secondary, *eni.ipv6s)
        for address in addresses if eni.standing_for else ():
            fleet.ec2.unassign(eni.id, address)

    return _operated(fleet, draw, unassign)


def _deleted_by_hand(fleet: Fleet, draw: random.Random) -> End:
    def delete(eni: Eni) -> None:
        if eni.attachment is not None:
            fleet.ec2.detach(eni.attachment.id, force=True)
        fleet.after(fleet.profile.delays.force_detach + 0.1, lambda: go_on(eni))

    def go_on(eni: Eni) -> None:
        with suppress(CloudError):
            fleet.ec2.delete(eni.id)

    return _operated(fleet, draw, delete)


def _retagged(fleet: Fleet, draw: random.Random) -> End:
    retagged: list[str] = []

    def retag(eni: Eni) -> None:
        retagged.append(eni.id)
        fleet.cloud.tag_eni(eni.id, {OWNER_TAG: "somebody-else"})

    def end() -> None:
        for eni_id in retagged:
            with suppress(CloudError):
                fleet.cloud.tag_eni(eni_id, {OWNER_TAG: fleet.settings.name})

    _operated(fleet, draw, retag)
    return end


MISFORTUNES = (
    Misfortune("two workers are parted", _partition),
    Misfortune("something is lost between two workers", _part_of_it_lost),
    Misfortune("the security group is closed", _closed_group, longest=15.0),
    Misfortune("a worker is cut off", _cut_off),
    Misfortune("packets are lost", _loss),
    Misfortune("packets are late", _delay),
    Misfortune("EC2 is not reached", _without_ec2),
    Misfortune("EC2 throttles", _throttled),
    Misfortune("answers to writes are lost", _lost_answers, longest=10.0),
    Misfortune("calls to EC2 hang", _hanging_calls),
    Misfortune("Describes are late", _late_describes),
    Misfortune("EC2 is slow", _slow_answers),
    Misfortune("detaches are stuck", _stuck_detaches),
    Misfortune("an observer is killed", _killed, longest=10.0),
    Misfortune("observers are killed again and again", _killed_again_and_again),
    Misfortune("an observer is killed at its next write", _killed_at_a_write),
    Misfortune("an observer is killed during a move", _killed_during_a_move),
    Misfortune("an observer stands still", _paused, longest=10.0),
    Misfortune("an observer stalls", _stalls),
    Misfortune("a machine hangs", _hung),
    Misfortune("a machine is without power", _powerless, shortest=5.0),
    Misfortune("a machine is rebooted", _rebooted, shortest=20.0, longest=40.0),
    Misfortune("all machines are without power", _all_powerless, shortest=5.0, noticed=8.0),
    Misfortune("two machines lose power in a row", _two_in_a_row, shortest=5.0, longest=90.0),
    Misfortune("a machine is terminated", _terminated, shortest=20.0),
    Misfortune("a worker is mute", _mute, longest=60.0),
    Misfortune("the kernel does not do as it is told", _broken_kernel),
    Misfortune("a wall clock jumps", _wall_clock_jumps),
    Misfortune("IMDS is silent", _silent_imds),
    Misfortune("IMDS is late", _late_imds),
    Misfortune("the API server is silent", _silent_api_server),
    Misfortune("nodes are written off", _written_off),
    Misfortune("whoever holds it is written off", _holder_written_off, shortest=40.0, longest=90.0),
    Misfortune("somebody detaches an interface", _detached_by_hand),
    Misfortune("somebody moves an address", _moved_by_hand),
    Misfortune("somebody unassigns addresses", _unassigned_by_hand),
    Misfortune("somebody deletes an observer's pod", _deleted_pod, shortest=12.0),
    Misfortune("somebody deletes an interface", _deleted_by_hand),
    Misfortune("IAM denies something", _denied, shortest=5.0, longest=90.0, noticed=REHEARSE_AGAIN),
    Misfortune("a machine is stopped and started", _stopped, shortest=20.0, longest=60.0),
    Misfortune("the end of a machine is announced", _announced, noticed=NOTICE_EVERY),
    Misfortune("pings are dropped", _without_pings),
    Misfortune("NodePorts do not answer", _without_node_ports, shortest=10.0),
    Misfortune("devices do not come", _without_devices, longest=60.0),
    Misfortune("somebody orders a handover", _handed_over),
    Misfortune("somebody pauses all moves", _moves_paused, shortest=10.0, longest=60.0, noticed=pace.SLOWEST),
    Misfortune("somebody disassociates an Elastic IP", _disassociated_by_hand, noticed=LOOK_IN_PEACE + PEACE_JITTER),
    Misfortune("somebody retags an interface", _retagged, noticed=LOOK_IN_PEACE + PEACE_JITTER, leaves_one=True),
)
