"""
``floatingip pause``: keep the addresses where they are during maintenance, by a tag on our interfaces
(core/decision/pause.py).

Observers ask EC2 at the moment when they judge a holder, so a pause takes effect at once.  It ends by itself.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterable, Iterator
from functools import partial

from floatingip.commands import arguments, deployment
from floatingip.commands.console import ALOUD, Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.commands.place import stranger
from floatingip.core.decision import pause
from floatingip.core.decision.carry import carried_otherwise, way_to
from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.errors import ConfigurationError, LookAgain
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.ports import Cloud
from floatingip.core.settings import shown
from floatingip.edges import configmap
from floatingip.edges.utc import utc
from floatingip.runtime.look import cannot_be_read, read_in_full

MINUTES = 30
"""Minutes that a pause lasts, unless the user says otherwise."""

LONGEST = 24 * 60
"""The longest pause, in minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say for how long, and for which addresses."""
    arguments.add_settings(parser)
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=MINUTES,
        metavar="N",
        help="how long, a day at most (default: %(default)s); then it is over by itself",
    )
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Begin a pause; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    ours = deployment.find(settings, options)
    with as_by_ctrl_c():
        ends_at = begin(ours, settings.floating_ips, options.minutes * 60.0)
    addresses = ", ".join(map(str, settings.floating_ips))
    print(f"{addresses}: stays on its node until {utc(ends_at)}, but for a handover that is asked for")
    return 0


def _minutes(text: str) -> int:
    text = text.strip()  # as in arguments.like
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LONGEST):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of minutes from 1 to {LONGEST}")
    return int(text)


def begin(ours: Deployment, targets: Iterable[Target], seconds: float, console: Console = ALOUD) -> float:
    """Pause for so many seconds from now; return when that ends, in Unix seconds.

    A pause that is there already is replaced, whether it is longer or shorter.  Raises ConfigurationError if an address
    has no interface, and CloudError.  What is said is what is waited for, and a longer pause that is replaced.
    """
    return console.insist(partial(_begin, ours, tuple(targets), seconds, console), after=LookAgain)


def _begin(ours: Deployment, targets: tuple[Target, ...], seconds: float, console: Console) -> float:
    """As `begin`.  Raises ``LookAgain`` if an interface that EC2 showed is gone, as when a node was just replaced."""
    wall, carry = ours.wall, ours.carry
    ends_at = int(wall() + seconds)
    shown = console.insist(partial(ours.cloud.describe_enis, ours.name))
    enis = _interfaces(shown, targets, carry)
    for target in targets:
        if not any(eni.has(target) for eni in enis):
            read_in_full(shown)  # an interface that cannot be read may have it
            otherwise = carried_otherwise(shown, target, carry) or stranger(ours.cloud, ours.name, target)
            why = otherwise or f"no interface of {ours.name} has it; nothing to pause"
            there = [each for each in targets if any(eni.has(each) for eni in enis)]
            raise ConfigurationError(f"{target}: {why}", arguments.without_it("pause", there))
    before = max(pause.ends_at(eni.tags, wall()) for eni in enis)
    _tag(ours.cloud, enis, str(ends_at), console)
    for target in targets:
        if where := _on_its_way(target, enis):
            console.say(f"{target}: EC2 shows it {where}; a pause keeps no node from claiming what no node holds")
    for remark in _remarks(shown, enis, targets, carry):
        console.say(remark)
    if before > ends_at:
        sooner = f"now it is over before that, at {utc(ends_at)}"
        console.say(f"somebody has asked for a pause until {utc(before)}; {sooner}")
    return ends_at


def end(ours: Deployment, targets: Iterable[Target], console: Console = ALOUD) -> bool:
    """End the pause; return whether there was one.  An address without an interface does not hinder that.

    Raises ConfigurationError if there is no interface at all, and CloudError.
    """
    return console.insist(partial(_end, ours, tuple(targets), console), after=LookAgain)


def _end(ours: Deployment, targets: tuple[Target, ...], console: Console) -> bool:
    """As `end`.  Raises ``LookAgain`` as `_begin` does."""
    carry, name = ours.carry, ours.name
    shown = console.insist(partial(ours.cloud.describe_enis, name))
    enis = _interfaces(shown, targets, carry)
    if not enis:
        read_in_full(shown)
        why = next(filter(None, (carried_otherwise(shown, target, carry) for target in targets)), "")
        why = why or next((f"{each}: {said}" for each in targets if (said := stranger(ours.cloud, name, each))), "")
        raise ConfigurationError(why or f"{name} has no interface of {', '.join(map(str, targets))}; nothing to resume")
    paused = [eni for eni in enis if eni.tags.get(pause.TAG) or eni.unread]
    _tag(ours.cloud, paused, "", console)
    for remark in _remarks(shown, enis, targets, carry):
        console.say(remark)
    return any(pause.ends_at(eni.tags, ours.wall()) > 0 for eni in paused)


def _on_its_way(target: Target, enis: Iterable[Eni]) -> str:
    """Where EC2 shows an address that is on no node now, in words; empty if it is on a node, or that is not known."""
    having = [eni for eni in enis if eni.has(target)]
    bound = [eni.attachment for eni in having if eni.attachment is not None]
    if any(eni.unread for eni in having) or any(each.status is AttachmentStatus.ATTACHED for each in bound):
        return ""
    return next((each.where for each in bound), "on no node")


def _interfaces(enis: Iterable[Eni], targets: Collection[Target], carry: Carry) -> list[Eni]:
    """All interfaces of this deployment that get the tag: all standing ones, as the address may move to any of them.

    Also those that cannot be read in full: to tag an interface, its id and owner are enough.
    """
    enis = way_to(carry).usable(eni for eni in enis if eni.id)
    return [eni for eni in enis if eni.standing_for or any(eni.has(target) for target in targets)]


def _remarks(shown: Iterable[Eni], enis: Collection[Eni], targets: Collection[Target], carry: Carry) -> Iterator[str]:
    """What the user should know beside what was asked for: other addresses that are paused now, too, or may not be."""
    elastic = {str(address): id_ for eni in enis for address, id_ in eni.elastic.items()}
    there = {str(address) for eni in enis if eni.standing_for for address in (*eni.secondary, *eni.ipv6s)}
    if any(isinstance(target, Allocation) for target in targets):  # one without an Elastic IP waits for one of these
        there &= elastic.keys()
    if also := sorted({elastic.get(each, each) for each in there} - {*map(str, targets)}):
        yield f"with `carry: address` that holds for all addresses: for {', '.join(also)}, too"
    if way_to(carry).has_standing_enis:
        for eni in (each for each in shown if each.unread and each not in enis):
            yield f"{cannot_be_read(eni)}, so it is as it was; run it again"


def _tag(cloud: Cloud, enis: Iterable[Eni], value: str, console: Console) -> None:
    """Write the tag to all of them by one call, so that no pause is begun or ended on a part of them."""
    ids = tuple(eni.id for eni in enis)
    if ids:
        console.insist(partial(cloud.tag_enis, ids, {pause.TAG: value}))
