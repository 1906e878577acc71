"""
``floatingip handover``: move addresses on request.  It orders a handover by a tag, waits until it is done, and says how
long no observer held the address.

The order is written to the ENI that has the address (order.py): the standby that it names takes over while the holder
goes on serving, as when a node announces its end.  Observers see the tag when they ask EC2, after a minute at most;
those that can be reached are asked to look at once.  At the end the order is removed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from floatingip.commands import arguments, deployment
from floatingip.commands.deployment import Deployment
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.commands.insisting import insist
from floatingip.commands.observers import Observers
from floatingip.commands.orders import Handover, Orders
from floatingip.commands.place import stranger
from floatingip.commands.progress import Progress
from floatingip.commands.successor import Successor
from floatingip.core.decision import order, pause
from floatingip.core.decision.carry import carried_otherwise, way_to
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from floatingip.core.errors import CloudError, CloudUnavailable, ConfigurationError, FloatingIPError
from floatingip.core.model import Carry, Target
from floatingip.core.ports import Cloud
from floatingip.core.word import RESERVED, Status, is_instance_id
from floatingip.edges import configmap
from floatingip.edges.utc import utc
from floatingip.runtime.look import cannot_be_read, read_in_full

VALID_FOR = 180.0
"""Seconds for which an order is obeyed: observers in peace look once a minute, and EC2 takes up to one for a move."""

LOOK_EVERY = 0.5
"""Seconds between two questions to EC2 whether the address has moved."""

LISTEN_EVERY = 0.1
"""Seconds between two rounds of questions to the observers."""

GAP_TOLD_WITHIN = 5.0
"""Seconds to wait, after EC2 shows a move, until the observers have told of it."""

CARRIED_WITHIN = 30.0
"""The same while the new holder's observer tells that it does not carry the address yet: a slow device takes 20."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose addresses, where to, and whether in earnest."""
    arguments.add_settings(parser)
    parser.add_argument(
        "--to",
        type=arguments.like(r"[0-9A-Za-z][0-9A-Za-z.-]*", "an instance id, a primary address or a private DNS name"),
        metavar="NODE",
        help="instance id, primary address or private DNS name (default: any standby)",
    )
    parser.add_argument("--check", action="store_true", help="say whether that would work now, change nothing, and end")
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Hand over, or check whether that would work; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    ours = deployment.find(settings, options)
    to = insist(lambda: instance_named(ours.cloud, options.to)) if options.to else order.ANYBODY
    moves = insist(lambda: plan(ours, settings.floating_ips, to))
    if not moves:
        print(f"nothing to hand over: {to} has it all")
        return 0
    if options.check:
        unknown = check(ours, moves, say=print)
        print(f"not known whether a handover would work now: {unknown}" if unknown else "a handover would work now")
        return 0
    if unknown := check(ours, moves):
        print(unknown)
    with as_by_ctrl_c(), closing(Progress()) as progress:
        carry_out(ours, moves, progress.say, wait=progress.wait, wall=ours.wall)
    return 0


class HandoverRefused(FloatingIPError):
    """Nobody would take the addresses over now: nothing was ordered."""

    exit_code = 8


def plan(ours: Deployment, targets: Iterable[Target], to: str = order.ANYBODY) -> tuple[Handover, ...]:
    """The handovers of those addresses that another instance than ``to`` holds.

    Raises ``ConfigurationError`` when nobody holds one: then there is nothing to hand over; and ``CloudUnavailable``
    when the interface that has one cannot be read.
    """
    enis = ours.cloud.describe_enis(ours.name)
    read = [eni for eni in enis if not eni.unread]
    having = {target: next(_carriers(read, target, ours.carry), None) for target in targets}
    moves = {target: Handover(target, eni, to) for target, eni in having.items() if eni is not None and _is_held(eni)}
    for target in (each for each in having if each not in moves):
        if having[target] is None:
            read_in_full(enis)  # one that cannot be read may have it
        otherwise = carried_otherwise(enis, target, ours.carry) or (
            stranger(ours.cloud, ours.name, target) if having[target] is None else ""
        )
        said = f"{target}: {otherwise or _not_held(having[target])}"
        raise ConfigurationError(said, arguments.without_it("handover", moves))
    return tuple(move for move in moves.values() if move.source != to)


def _not_held(eni: Eni | None) -> str:
    """Why nothing can be handed over of what no node holds."""
    if eni is None or eni.attachment is None:
        return "no node holds it now; nothing to hand over"
    return f"EC2 shows it {eni.attachment.where}; run it again once that has ended"


def _is_held(eni: Eni) -> bool:
    return eni.attachment is not None and eni.attachment.status is AttachmentStatus.ATTACHED


def instance_named(cloud: Cloud, node: str) -> str:
    """The id of the instance that ``node`` names by its id, its primary address or its private DNS name.

    That name may begin with the id, and by such a one EC2 does not find it ("EC2 instance hostname types", EC2 User
    Guide).  Raises ``ConfigurationError`` when there is no such instance that lives.
    """
    named = node.partition(".")[0]
    found = cloud.describe_instances(frozenset((named,))).get(named) if is_instance_id(named) else None
    if found is not None and found.state.announces_death:
        raise ConfigurationError(f"--to {node}: EC2 says that this instance is {found.state}")
    if found is None and not is_instance_id(named):
        found = cloud.find_instance(node)
    if found is None:
        raise ConfigurationError(f"--to {node}: no instance of this VPC has that id, address or private DNS name")
    return found.id


def check(
    ours: Deployment,
    moves: tuple[Handover, ...],
    *,
    say: Callable[[str], None] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Find out whether somebody would take the addresses over; return why that is not known, empty where it is.

    Raises ``HandoverRefused`` when nobody would.  Where no observer can be reached at all, as from outside of the VPC,
    the silence of one says nothing.  ``say`` is told who holds what, and whether each other node would take it.
    """
    observers = Observers(ours, now, sleep)
    observers.find(frozenset(move.source for move in moves), frozenset(move.to for move in moves) - {order.ANYBODY})
    statuses = [answer.status for answer in observers.answers.values() if answer.status is not None]
    if say is not None:
        for line in _found(observers, moves):
            say(line)
    for move in moves:
        if move.to != order.ANYBODY:
            if not statuses and observers.is_silent(move.to):
                return f"no observer can be reached from here, so whether one on {move.to} would obey is not known"
            if problem := observers.problem(move.to):
                raise HandoverRefused(f"--to {move.to}: {problem}", "nothing was ordered")
            if (free := observers.room(move.to)) is not None and free < len(moves):
                said = f"--to {move.to}: it has room for {free} of {len(moves)} addresses"
                raise HandoverRefused(said, "name fewer by FLOATING_IP; nothing was ordered")
            continue
        if all(status == RESERVED for status in statuses):
            return "no observer tells who else is there, so whether one would obey is not known"
        problems = {i: observers.problem(i) for i in sorted(observers.answers.keys() - {move.source})}
        if all(problems.values()):
            reasons = "; ".join(f"{instance_id}: {problem}" for instance_id, problem in problems.items())
            raise HandoverRefused(
                f"no standby would take {move.target} from {move.source}: {reasons or 'no other observer answers'}",
                "nothing was ordered",
            )
    return ""


def _found(observers: Observers, moves: tuple[Handover, ...]) -> Iterator[str]:
    """A line for each address, saying who holds it, and for each other node, saying whether it would take one."""
    for move in moves:
        yield f"{move.target}: {observers.nodes.get(move.source, move.source)} holds it"
    holders = {move.source for move in moves}
    for instance_id in sorted({*observers.answers, *(move.to for move in moves)} - {order.ANYBODY}):
        if instance_id not in holders or len(holders) > 1:
            told = observers.problem(instance_id) or "would take it"
            yield f"{observers.nodes.get(instance_id, instance_id)}: {told}"


class Gap:
    """The seconds between the old holder's last word that it holds a target and the new holder's first."""

    def __init__(self) -> None:
        self._left_at: float | None = None
        self._taken_at: float | None = None

    def hear(self, now: float, *, source_holds: bool, successor_holds: bool) -> None:
        """Which of the two observers said at ``now`` that its node holds the address."""
        if source_holds:
            self._left_at = now
        if successor_holds and self._taken_at is None:
            self._taken_at = now

    def seconds(self) -> float | None:
        """The gap; None while one of the two has not been heard."""
        if self._left_at is None or self._taken_at is None:
            return None
        return max(0.0, self._taken_at - self._left_at)


def carry_out(
    ours: Deployment,
    moves: tuple[Handover, ...],
    say: Callable[[str], None],
    *,
    wait: Callable[[str], None] = lambda _: None,
    now: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Order the handovers, wait until they are done, and remove the orders.

    Observers tell only peers who holds what; where this runs on no instance they look at EC2 by themselves, up to a
    minute later.  ``say`` is called with what happens, and ``wait``, again and again, with what is waited for.  Raises
    ``CloudError`` when an address has not moved in time, or not to whom it was asked for, or can do so no more, or
    where its new holder's observer tells that it does not carry it.
    """
    began, deadline = now(), wall() + VALID_FOR
    left = {move.target: move for move in moves}
    gaps = {move.target: Gap() for move in moves}
    moved_at: dict[Target, float] = {}
    shown = {move.target: _before(move) for move in moves}
    observers = Observers(ours, now, sleep)
    named = frozenset(move.to for move in moves) - {order.ANYBODY}
    observers.find(frozenset(move.source for move in moves), named)
    successors = [Successor(ours, observers, each, say, now) for each in named]
    orders = Orders(ours, deadline, say, sleep, wall)
    dropped: list[str] = []  # which somebody else asked for meanwhile, and then no longer
    astray: list[str] = []  # which somebody else took meanwhile, as where the holder died
    uncarried: list[str] = []
    try:
        for move in moves:
            orders.give(move)
        observers.look()
        look_at = answered_at = now()
        unknown = ""
        while left:
            _listen(observers, left, gaps, now)
            if now() < look_at:
                sleep(LISTEN_EVERY)
                continue
            look_at, is_over = now() + LOOK_EVERY, wall() > deadline  # then EC2 is asked all the same: who slept since?
            if not is_over:
                wait(_waited_for(left, shown, now() - began, deadline - wall()) + unknown)
            enis, why = _shown(ours)
            answered_at = now() if enis is not None and not why else answered_at
            unknown = f"; EC2 has not told for {now() - answered_at:.0f} s: {why}" if why else ""
            orders.compare(enis or ())
            for target in tuple(left) if enis is not None else ():
                attachment, holder = _attachment(enis or (), target, ours.carry), ""
                if attachment is not None and attachment.status is AttachmentStatus.ATTACHED:
                    holder = attachment.instance_id
                if attachment is None and why:
                    continue  # an interface that cannot be read may have it
                if holder == left[target].source and orders.stands_none(target):
                    del left[target]
                    dropped.append(str(target))
                    say(f"{target}: whoever asked for it after this has taken that back: no order stands any more")
                    continue
                if holder in ("", left[target].source):
                    moved_at.pop(target, None)
                    if shown[target] != (where := _where(attachment)):
                        shown[target] = where
                        say(f"{target}: {where}")
                    continue
                gap, since = gaps[target].seconds(), moved_at.setdefault(target, now())
                shown[target] = _where(attachment)
                lacks = _lacks(observers.heard.get(holder), target) if gap is None else ""
                within = CARRIED_WITHIN if lacks else GAP_TOLD_WITHIN
                if gap is None and observers.addresses and now() - since < within and not is_over:
                    continue
                told = f"a gap of at most {gap:.1f} s" if gap is not None else "no observer to ask for the gap"
                told = f"but does not carry it: {lacks}" if lacks else told
                say(f"{target}: {holder} has it, {now() - began:.1f} s after it was asked for; {told}")
                if lacks:
                    uncarried.append(f"{target} on {holder}")
                _keep_paused(ours, enis or (), left[target], wall(), say, sleep)
                if left.pop(target).to not in (order.ANYBODY, holder):
                    astray.append(f"{target} on {holder}")
            gone = next(filter(None, [each.gone() for each in successors]), "") if left else ""
            waits = enis is not None and all(orders.lasting(target) for target in left)
            if gone and waits and all(shown[target] == _before(move) for target, move in left.items()):
                names = ", ".join(str(target) for target in left)
                raise CloudError(f"{names}: not handed over to {moves[0].to}: {gone}", "hand over to another node")
            if left and is_over:
                names = ", ".join(str(target) for target in left)
                where = "; ".join(shown[target] for target in left) + unknown
                raise CloudError(f"{names}: not handed over within {VALID_FOR:g} s: {where}", "see the observers' logs")
        if dropped:
            raise CloudError(f"{', '.join(dropped)}: not handed over: no order stands any more", "run handover again")
        if astray:
            raise CloudError(f"{', '.join(astray)}: not handed over to {moves[0].to}", "run handover again")
        if uncarried:
            raise CloudError(f"{', '.join(uncarried)}: handed over, but not carried there", "see that observer's log")
    finally:
        stays = orders.take_back()
        for target, why in stays.items():
            say(f"{target}: what was asked for could not be taken back, and may be obeyed until {utc(deadline)}: {why}")
        if unasked := [str(target) for target in left if orders.lasting(target) and target not in stays]:
            say(f"{', '.join(unasked)}: no longer asked for")
        for target, move in left.items():  # nobody sees to it any more (`_keep_paused`)
            if orders.lasting(target) and move.eni.standing_for and pause.ends_at(move.eni.tags, wall()) > wall():
                say(f"{target}: does it move all the same, its pause may end; run `floatingip pause` again")


def _keep_paused(
    ours: Deployment,
    enis: Sequence[Eni],
    move: Handover,
    wall: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Have a pause go along with the address: a standing ENI that was made since it began does not have its tag.

    Whoever ends or changes it meanwhile writes to all ENIs, and may come before this write: what the one that the
    address has left says after it counts.
    """
    source = next((eni for eni in enis if eni.id == move.eni.id), None)
    carrier = next(_carriers(enis, move.target, ours.carry), None)
    if source is None or carrier is None or pause.ends_at(source.tags, wall) <= pause.ends_at(carrier.tags, wall):
        return
    value, problem = source.tags[pause.TAG], "its pause ends with this move"
    try:
        insist(partial(ours.cloud.tag_eni, carrier.id, {pause.TAG: value}), say, sleep)
        problem = "its pause was perhaps ended or changed meanwhile, and stays as it was"
        since = next((eni for eni in _shown(ours)[0] or () if eni.id == source.id), source).tags.get(pause.TAG, "")
        if since != value:
            insist(partial(ours.cloud.tag_eni, carrier.id, {pause.TAG: since}), say, sleep)
    except CloudError as error:
        say(f"{move.target}: {problem}: {error}; run `floatingip pause` or `resume`")


def _listen(
    observers: Observers,
    left: Mapping[Target, Handover],
    gaps: Mapping[Target, Gap],
    now: Callable[[], float],
) -> None:
    """Ask all observers who holds the addresses that are still to move."""
    holding: dict[str, set[str]] = {}
    for instance_id in observers.addresses:
        status = observers.ask(instance_id)
        if status is not None:
            for text, held in status.holds.items():
                if not held.problem:
                    holding.setdefault(text, set()).add(instance_id)
    for target, move in left.items():
        holders = holding.get(str(target), set())
        gaps[target].hear(now(), source_holds=move.source in holders, successor_holds=bool(holders - {move.source}))


def _shown(ours: Deployment) -> tuple[tuple[Eni, ...] | None, str]:
    """Our ENIs as far as they can be read, None where EC2 does not answer; and why these are not all."""
    try:
        enis = ours.cloud.describe_enis(ours.name)
    except CloudUnavailable as error:
        return None, str(error)
    return tuple(eni for eni in enis if not eni.unread), "; ".join(cannot_be_read(eni) for eni in enis if eni.unread)


def _attachment(enis: Iterable[Eni], target: Target, carry: Carry) -> Attachment | None:
    """Where the target is now; None where it is nowhere."""
    return next((eni.attachment for eni in _carriers(enis, target, carry) if eni.attachment is not None), None)


def _carriers(enis: Iterable[Eni], target: Target, carry: Carry) -> Iterator[Eni]:
    """The ENIs that have the target, and are of the kind by which this deployment carries it."""
    return (eni for eni in way_to(carry).usable(enis) if eni.carries(target))


def _lacks(status: Status | None, target: Target) -> str:
    """Why the observer that said this does not carry the target; empty where it does, or is not heard."""
    if status is None:
        return ""
    held = status.holds.get(str(target))
    return "its observer does not say yet that it holds it" if held is None else held.problem


def _before(move: Handover) -> str:
    """Where EC2 shows an address that has not moved, in words."""
    return f"{AttachmentStatus.ATTACHED} to {move.source}"


def _where(attachment: Attachment | None) -> str:
    """Where EC2 shows an address, in words."""
    return attachment.where if attachment is not None else "on no instance"


def _waited_for(left: Iterable[Target], shown: Mapping[Target, str], waited: float, at_most: float) -> str:
    """The sentence that says what is not handed over yet."""
    where = ", ".join(f"{target} ({shown[target]})" for target in left)
    return f"waiting for {where}: {waited:.0f} s so far, up to {at_most:.0f} s more"
