"""
``floatingip release``: detach and delete our interfaces.  Elastic IPs stay allocated.

It first shows what it would do, and asks.  It touches nothing that is not ours, and refuses while an observer still
answers, since that would attach the interfaces again.  It can be repeated: interfaces that are gone already are no
error.  An observer that it cannot reach is noticed by what it does: when an interface is attached again or created
anew, release stops.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from floatingip.commands import arguments, deployment
from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.insisting import insist
from floatingip.commands.place import stranger
from floatingip.commands.progress import Progress
from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, FloatingIPError, LookAgain
from floatingip.core.model import Target
from floatingip.core.ports import Cloud
from floatingip.core.word import RESERVED, Status
from floatingip.edges import configmap
from floatingip.runtime.look import read_in_full
from floatingip.runtime.peers import Contact

LOOK_EVERY = 1.0
"""Seconds between two questions to EC2 whether a detach has ended."""

FORCE_AFTER = 30.0
"""Seconds after which a detach that has not ended is forced: nothing is served by this interface any more."""

GIVE_UP_AFTER = 300.0
"""Seconds for all detaches together: EC2 was seen to take over 200."""

COMES_BACK_WITHIN = 6.0
"""Seconds after the release: an observer that still runs has created an interface anew by then, since its probes are
lost, so that it asks EC2 every second."""

SCALE = "`kubectl scale deployment floating-ip --replicas 0`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which interfaces to release, and whether to ask first."""
    arguments.add_settings(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and end")
    parser.add_argument(
        "--unused", action="store_true", help="those of our interfaces that nothing uses, while observers run"
    )
    arguments.add_place(parser)


def run(options: argparse.Namespace) -> int:
    """Show, ask, release; return the exit code.  Raises FloatingIPError."""
    settings = configmap.load(os.environ, options.settings)
    ours = deployment.find(settings, options)
    chosen = insist(lambda: plan(ours, settings.floating_ips, unused=options.unused))
    if not chosen.enis:
        print(f"nothing to release: no such interface of {ours.name} in {ours.vpc_id}")
        for target in () if options.unused else settings.floating_ips:
            if said := stranger(ours.cloud, ours.name, target):
                print(f"{target}: {said}")
        return 0
    print("\n".join(chosen.lines()))
    if options.dry_run:
        return 0
    unknown = insist(lambda: refuse_while_observed(ours, chosen))
    if unknown:
        print(
            f"not known whether an observer runs on {', '.join(unknown)}: no answer; one that runs would attach them"
            f" again; {SCALE} first, if that is not done"
        )
    if not options.yes and not _agreed("no observer runs there any more, " if unknown else ""):
        asked = "" if sys.stdin.isatty() else ": there is no terminal to ask at; give --yes"
        print(f"nothing was done{asked}", file=sys.stderr)
        return 1
    with closing(Progress()) as progress:
        console = Console(progress.say, progress.wait)
        carry_out(ours, chosen, console)
        if any(eni.attachment is not None for eni in chosen.enis):
            stay_gone(ours, chosen, console)
    return 0


def _agreed(premise: str) -> bool:
    """Whether the user agrees.  Without a terminal, or at the end of the input, nobody can: that counts as no."""
    try:
        return sys.stdin.isatty() and input(f"{premise}detach and delete these? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


class ReleaseRefused(FloatingIPError):
    """It would be wrong to begin the release, or to go on with it: an observer still runs."""

    exit_code = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """The interfaces that are to be detached and deleted.

    ``targets`` should have no interface at the end; empty if only unused interfaces are released.
    """

    enis: tuple[Eni, ...]
    targets: tuple[Target, ...] = ()

    def lines(self) -> Iterable[str]:
        """One line for each interface: what it is and what happens to it."""
        for eni in self.enis:
            addresses = ", ".join(map(str, filter(None, (eni.address, *eni.secondary, *eni.ipv6s))))
            where = f"detach from {eni.attachment.instance_id}, " if eni.attachment is not None else ""
            kept = "".join(f"; {allocation_id} stays allocated" for allocation_id in sorted(eni.elastic.values()))
            yield f"{eni.id} ({addresses}): {where}delete{kept}"

    def undone(self, shown: Iterable[Eni]) -> str:
        """What somebody has done against this plan meanwhile, as our interfaces in EC2 show; empty if nothing."""
        planned = {eni.id: eni.attachment.id if eni.attachment is not None else "" for eni in self.enis}
        for eni in shown:
            bound = eni.attachment
            if eni.id not in planned:
                if self.targets and (eni.standing_for or any(eni.has(target) for target in self.targets)):
                    return f"{eni.id} was made in the meantime"
            elif bound is not None and bound.id != planned[eni.id]:
                return f"{eni.id} was attached to {bound.instance_id} in the meantime"
        return ""


def plan(ours: Deployment, targets: tuple[Target, ...], *, unused: bool) -> Plan:
    """Which of our interfaces to release: the standing ones, and those of the addresses in the settings.

    With ``unused``, instead, those that nothing uses: free standing ones without a floating address, and those of
    addresses that the settings do not name.
    """
    enis = read_in_full(ours.cloud.describe_enis(ours.name))
    used = {eni.id for eni in enis if any(eni.has(target) for target in targets)}
    if unused:
        return Plan(tuple(e for e in enis if e.id not in used and (e.attachment is None or not e.standing_for)))
    return Plan(tuple(eni for eni in enis if eni.id in used or eni.standing_for), targets)


def refuse_while_observed(ours: Deployment, chosen: Plan) -> tuple[str, ...]:
    """Raise ``ReleaseRefused`` if an observer of ours still runs on a node with one of the interfaces, and needs it.

    An observer needs all interfaces on its node; if only unused interfaces are released, it needs those by which it
    holds an address.  An observer that does not know who asks does not say whose it is: it counts as ours, since our
    interface is there.  Returns the nodes that did not answer at all, or that EC2 does not describe: whether an
    observer runs there is not known.
    """
    held: dict[str, list[Eni]] = {}
    for eni in chosen.enis:
        if eni.attachment is not None:
            held.setdefault(eni.attachment.instance_id, []).append(eni)
    if not held:
        return ()
    unknown, shown = [], ours.cloud.describe_instances(frozenset(held))
    for instance_id in sorted(held):
        instance = shown.get(instance_id)
        if instance is None or (instance.address is None and not instance.state.announces_death):
            unknown.append(f"{instance_id} (EC2 does not tell its address)")
            continue
        if instance.address is None or instance.state.announces_death:
            continue
        answer = Contact(instance.address, ours.port, ours.me).ask()
        status, where = answer.status, f"{instance.id} ({instance.address})"
        if status == RESERVED and not chosen.targets:
            raise ReleaseRefused(
                f"the observer on {where} tells only the others what it holds",
                "run release on a worker with an observer",
            )
        if status == RESERVED or (status is not None and status.name == ours.name):
            needed = [eni for eni in held[instance.id] if chosen.targets or _is_held(eni, status)]
            if needed:
                ids = ", ".join(eni.id for eni in needed)
                raise ReleaseRefused(
                    f"the observer on {where} still answers, and would attach {ids} again", f"first {SCALE}"
                )
        if status is None and not answer.refused:
            unknown.append(f"{instance.id} ({instance.address}:{ours.port})")
    return tuple(sorted(unknown))


def _is_held(eni: Eni, status: Status) -> bool:
    """Whether the observer with this ``status`` holds an address by this interface."""
    return any(str(address) in status.holds for address in (eni.address, *eni.ipv6s, *eni.elastic.values()))


def stay_gone(ours: Deployment, chosen: Plan, console: Console) -> None:
    """Watch for a while after the release, and for as long again while EC2 does not answer.

    Raises ``ReleaseRefused`` if an interface is there again, and ``CloudUnavailable`` if EC2 did not answer last.
    """
    now = console.now
    until, silence = now() + COMES_BACK_WITHIN, ""
    while now() < until or (silence and now() < until + COMES_BACK_WITHIN):
        watching = f"watching for {until - now():.0f} s more" if now() < until else "waiting for EC2 to tell"
        console.wait(f"{watching} whether an observer makes or attaches one again")
        console.sleep(LOOK_EVERY)
        try:
            shown = ours.cloud.describe_enis(ours.name)
        except CloudUnavailable as error:
            # Ask again: the release is done, also if EC2 does not answer now.
            silence = str(error)
            continue
        _refuse_undone(chosen, shown)
        silence = ""
    if silence:
        raise CloudUnavailable(
            f"released; whether an observer makes or attaches one again is not known: {silence}", "run release again"
        )


def _refuse_undone(chosen: Plan, shown: Iterable[Eni]) -> None:
    undone = chosen.undone(shown)
    if undone:
        raise ReleaseRefused(f"{undone}: an observer still runs", f"{SCALE}, then run release again")


def carry_out(ours: Deployment, chosen: Plan, console: Console) -> None:
    """Detach and delete the interfaces.

    Raises ``CloudError``, which names what is still there at the end, and ``ReleaseRefused`` if somebody attaches an
    interface again or creates one anew.
    """
    work = _Work(ours.cloud, console.say, {eni.id for eni in chosen.enis}, began=console.now())
    while work.left:
        try:
            shown = {eni.id: eni for eni in read_in_full(ours.cloud.describe_enis(ours.name))}
        except CloudUnavailable as error:
            if console.now() - work.began > GIVE_UP_AFTER:
                raise
            console.say(f"{error}; trying again")
            console.sleep(LOOK_EVERY)
            continue
        _refuse_undone(chosen, shown.values())
        work.go_on(shown, console.now())
        if work.left:
            console.wait(work.awaited(console.now()))
            console.sleep(LOOK_EVERY)


@dataclass(slots=True)
class _Work:
    """
    A release under way: ``left`` are the ids of the interfaces that are still to go, ``unseen`` those of them that the
    last answer lacked.

    ``detaching_since`` has, by attachment, since when its detach is known to run; ``forced`` are the attachments whose
    detach was forced; ``trouble`` is EC2's last error about an interface that it refused to detach or to delete.
    """

    cloud: Cloud
    say: Callable[[str], None]
    left: set[str]
    began: float
    unseen: set[str] = field(default_factory=set)
    detaching_since: dict[str, float] = field(default_factory=dict)
    forced: set[str] = field(default_factory=set)
    trouble: dict[str, str] = field(default_factory=dict)

    def go_on(self, shown: Mapping[str, Eni], now: float) -> None:
        """Take the next step towards the end of each interface that EC2 has ``shown``.

        Raises ``CloudError`` if IAM denies it, or once it has taken too long.
        """
        self.left -= self.unseen - shown.keys()  # only if two answers lack it: one answer of EC2 may leave it out
        self.unseen = self.left - shown.keys()
        for eni_id in sorted(self.left & shown.keys()):
            self._end(shown[eni_id], now)
        if self.left and now - self.began > GIVE_UP_AFTER:
            reasons = "; ".join(f"{each}: {self.trouble.get(each, 'still detaching')}" for each in sorted(self.left))
            raise CloudError(f"not released after {GIVE_UP_AFTER:g} s: {reasons}", "run release again")

    def awaited(self, now: float) -> str:
        """What is waited for, for how long by now, and until when."""
        until = "" if self.forced else f", forced after {FORCE_AFTER:g} s"
        return f"waiting for {', '.join(sorted(self.left))} to be detached: {now - self.began:.0f} s so far{until}"

    def _end(self, eni: Eni, now: float) -> None:
        try:
            done = self._advance(eni, now)
        except LookAgain:
            # Somebody else has done it, or EC2 is not ready for it yet: the next look tells.
            return
        except Denied:
            raise
        except CloudError as error:
            if self.trouble.get(eni.id) != str(error):
                self.say(f"{eni.id}: {error}; trying again")
            self.trouble[eni.id] = str(error)
            return
        if done:
            self.say(f"{eni.id}: {done}")
        if eni.attachment is None:
            self.left.discard(eni.id)

    def _advance(self, eni: Eni, now: float) -> str:
        """Take the next step towards an interface's end; return which one, empty if it is not time for one."""
        attachment = eni.attachment
        if attachment is None:
            self.cloud.delete_eni(eni.id)
            return "deleted"
        if attachment.id not in self.detaching_since and attachment.status is not AttachmentStatus.DETACHING:
            self.cloud.detach_eni(attachment.id, force=False)
            self.detaching_since[attachment.id] = now
            return f"detaching from {attachment.instance_id}"
        since = self.detaching_since.setdefault(attachment.id, now)
        if now - since > FORCE_AFTER and attachment.id not in self.forced:
            self.cloud.detach_eni(attachment.id, force=True)
            self.forced.add(attachment.id)
            return "still detaching, forced"
        return ""
