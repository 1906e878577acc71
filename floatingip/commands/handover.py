"""
``floatingip handover``: move addresses on request.  It orders a handover by a tag, waits until it is done, and says how
long no observer held the address.

The order is written to the ENI that has the address (order.py): the standby that it names takes over while the holder
goes on serving, as when a node announces its end.  Observers see the tag when they ask EC2, at least once a minute;
those that can be reached are told to ask at once.  At the end the order is removed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

from floatingip.commands import arguments, deployment
from floatingip.commands.console import ALOUD, Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.commands.handing_over import carriers, carry_out
from floatingip.commands.insisting import insist
from floatingip.commands.observers import Observers
from floatingip.commands.orders import Handover
from floatingip.commands.place import stranger
from floatingip.commands.progress import Progress
from floatingip.core.decision import order
from floatingip.core.decision.carry import carried_otherwise
from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.errors import ConfigurationError, FloatingIPError
from floatingip.core.model import Target
from floatingip.core.ports import Cloud
from floatingip.core.word import RESERVED, is_instance_id
from floatingip.edges import configmap
from floatingip.runtime.look import read_in_full


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which addresses move, where from and to, and whether this is only a check."""
    arguments.add_settings(parser)
    node = arguments.like(r"[0-9A-Za-z][0-9A-Za-z.-]*", "an instance id, a primary address or a private DNS name")
    parser.add_argument(
        "--from", dest="source", type=node, metavar="NODE", help="the addresses of this node alone (default: all)"
    )
    parser.add_argument(
        "--to",
        type=node,
        metavar="NODE",
        help="instance id, primary address or private DNS name (default: any standby)",
    )
    parser.add_argument("--check", action="store_true", help="say whether that would work now, change nothing, and end")
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Hand over, or check whether that would work; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    ours = deployment.find(settings, options)
    source = insist(lambda: instance_named(ours.cloud, "--from", options.source)) if options.source else ""
    to = insist(lambda: instance_named(ours.cloud, "--to", options.to)) if options.to else order.ANYBODY
    moves = insist(lambda: plan(ours, settings.floating_ips, to, source))
    if not moves:
        print(f"nothing to hand over: {f'{source} has none of it' if source else f'{to} has it all'}")
        return 0
    if options.check:
        unknown = check(ours, moves, say=print)
        print(f"not known whether a handover would work now: {unknown}" if unknown else "a handover would work now")
        return 0
    if unknown := check(ours, moves):
        print(unknown)
    with as_by_ctrl_c(), closing(Progress()) as progress:
        carry_out(ours, moves, Console(progress.say, progress.wait))
    return 0


class HandoverRefused(FloatingIPError):
    """No node would take the addresses over now: nothing was ordered."""

    exit_code = 8


def plan(
    ours: Deployment, targets: Iterable[Target], to: str = order.ANYBODY, source: str = ""
) -> tuple[Handover, ...]:
    """The handovers of those addresses that another instance than ``to`` holds: ``source``, or any if that is empty.

    Raises ``ConfigurationError`` if nobody holds one of the addresses, since then there is nothing to hand over, and
    ``CloudUnavailable`` if the interface that has one cannot be read.
    """
    enis = ours.cloud.describe_enis(ours.name)
    read = [eni for eni in enis if not eni.unread]
    having = {target: next(carriers(read, target, ours.carry), None) for target in targets}
    moves = {target: Handover(target, eni, to) for target, eni in having.items() if eni is not None and _is_held(eni)}
    for target in (each for each in having if each not in moves):
        if having[target] is None:
            read_in_full(enis)  # an interface that cannot be read may have it
        otherwise = carried_otherwise(enis, target, ours.carry) or (
            stranger(ours.cloud, ours.name, target) if having[target] is None else ""
        )
        said = f"{target}: {otherwise or _not_held(having[target])}"
        raise ConfigurationError(said, arguments.without_it("handover", moves))
    return tuple(move for move in moves.values() if move.source != to and source in ("", move.source))


def _not_held(eni: Eni | None) -> str:
    """Why an address that no node holds cannot be handed over."""
    if eni is None or eni.attachment is None:
        return "no node holds it now; nothing to hand over"
    return f"EC2 shows it {eni.attachment.where}; run it again once that has ended"


def _is_held(eni: Eni) -> bool:
    return eni.attachment is not None and eni.attachment.status is AttachmentStatus.ATTACHED


def instance_named(cloud: Cloud, option: str, node: str) -> str:
    """The id of the instance that an option's value ``node`` names by its id, its primary address or its private DNS
    name.

    The DNS name may begin with the instance id; EC2 finds no instance by such a name ("EC2 instance hostname types",
    EC2 User Guide).  Raises ``ConfigurationError`` if no living instance has that name.
    """
    named = node.partition(".")[0]
    found = cloud.describe_instances(frozenset((named,))).get(named) if is_instance_id(named) else None
    if found is not None and found.state.announces_death:
        raise ConfigurationError(f"{option} {node}: EC2 says that this instance is {found.state}")
    if found is None and not is_instance_id(named):
        found = cloud.find_instance(node)
    if found is None:
        raise ConfigurationError(f"{option} {node}: no instance of this VPC has that id, address or private DNS name")
    return found.id


def check(
    ours: Deployment,
    moves: tuple[Handover, ...],
    console: Console = ALOUD,
    *,
    say: Callable[[str], None] | None = None,
) -> str:
    """Find out whether some node would take the addresses over; return why that is not known, empty if it is known.

    Raises ``HandoverRefused`` if none would.  If no observer at all can be reached, as from outside the VPC, the
    silence of one says nothing.  ``say`` is called with who holds what, and whether each other node would take it.
    """
    observers = Observers(ours, console)
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
    for source in sorted({move.source for move in moves}):
        if said := _lacks_room(observers, moves, source):
            raise HandoverRefused(said, "name fewer by FLOATING_IP; nothing was ordered")
    return ""


def _lacks_room(observers: Observers, moves: tuple[Handover, ...], source: str) -> str:
    """Why the nodes that could take what ``source`` has are too small for all of it; empty if they are not, or if one
    does not tell.  What they hand over themselves makes room.
    """
    to = moves[0].to  # all have the same
    leaving = {(each.source, each.eni.id) for each in moves}  # addresses that share an ENI move together
    could = {to} if to != order.ANYBODY else {i for i in observers.answers if i != source and not observers.problem(i)}
    rooms = [observers.room(each) for each in could]
    known = [room for room in rooms if room is not None]
    free = sum(known) + sum(giver in could for giver, _ in leaving)
    needed = sum(to != order.ANYBODY or giver == source for giver, _ in leaving)
    if len(known) < len(rooms) or free >= needed:
        return ""
    who = f"--to {to}: it has" if to != order.ANYBODY else f"from {source}: the others have"
    return f"{who} room for {free} of the {needed} interfaces that have the addresses"


def _found(observers: Observers, moves: tuple[Handover, ...]) -> Iterator[str]:
    """A line for each address, with who holds it, and one for each other node, with whether it would take it."""
    for move in moves:
        yield f"{move.target}: {observers.nodes.get(move.source, move.source)} holds it"
    holders = {move.source for move in moves}
    for instance_id in sorted({*observers.answers, *(move.to for move in moves)} - {order.ANYBODY}):
        if instance_id not in holders or len(holders) > 1:
            told = observers.problem(instance_id) or "would take it"
            yield f"{observers.nodes.get(instance_id, instance_id)}: {told}"
