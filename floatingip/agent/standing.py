"""
Keep this node's standing ENI in one subnet that has a floating address: created and attached ahead of time.

Pure and level-triggered, as decide.py is: each look at EC2 gives the one write that is missing now.  The ENI is found
again by its tag, which names the instance, so that it survives a restart of the node and is never made twice.  It is
not deleted with its instance (A4): a dead holder's ENI keeps the address from being handed out to a pod, until the node
that took the address over deletes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from floatingip.core import pace, timing
from floatingip.core.decision.gate import may_write
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance, InstanceState
from floatingip.core.writes import Attach, Create, Delete, Detach, Token, Unassign, Write, Written, mended


@dataclass(frozen=True, slots=True)
class StandingView:
    """What is known of the standing ENI at one moment.  Fields without an explanation are as in decision/view.py."""

    now: float
    me: str
    asked_at: float

    standing: tuple[Eni, ...] | None
    """All standing ENIs of ours in the subnet.  None before EC2 answered, or while nothing may be done about them:
    whose they are is not known, or the other way to carry is in use."""

    instances: Mapping[str, Instance] | None
    """The instances that EC2 described, None when it did not."""

    in_use: frozenset[str] = frozenset()
    """The ENIs that have a floating address."""

    withholding: frozenset[str] = frozenset()
    """The ENIs that have no floating address, and keep one from being assigned elsewhere (`Eni.withholds`)."""

    spares: tuple[Unassign, ...] = ()
    """The writes that would remove addresses from this node's ENI which nothing needs."""

    holds: bool = False
    """A floating address is on this node."""

    serves: bool = False
    """A floating address is configured on the ENI's device, and IMDS shows it there."""

    groups: tuple[str, ...] = ()
    """The security groups that the ENI should have; empty if it keeps those that it has."""

    barrier: str = ""
    """Why this node can have no ENI in the subnet (another zone, another Outpost, no slot); empty if it can."""

    device: bool | None = True
    """Whether the ENI's device is on this node, None while nobody has looked."""

    written: Written = field(default_factory=Written)
    retry_at: Mapping[type[Write], float] = field(default_factory=dict)

    calls: int = 1
    """How many calls to EC2 its last answer took."""


@dataclass(frozen=True, slots=True)
class StandingMemory:
    """What one decision leaves to the next."""

    situation: tuple[object, ...] = ()
    """What was judged last, without its times."""

    changed_at: float = float("-inf")
    """Since when ``situation`` has been the same."""

    phase: tuple[AttachmentStatus, bool | None] | None = None
    """How EC2 last showed the ENI's attachment to this node, and whether its device is here; None if it showed none."""

    phase_since: float = float("-inf")
    """Since when that has been so, by the times at which EC2 was asked."""

    vain: int = 0
    """How often in a row the ENI was detached since it did not finish attaching, or its device was missing."""

    bound: Eni | None = None
    """The ENI that was attached here last."""

    token: Token = field(default_factory=Token)
    """The client token with which it is created."""

    unused_since: Mapping[Write, float] | None = None
    """Since when each unused thing has been of no use, by the write that would give it back."""

    last_write: Write | None = None
    last_write_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Standing:
    """A decision about the standing ENI.

    ``eni`` is this node's standing ENI once it is attached, and ``problem`` why it cannot be used yet, empty if it can.
    ``bound`` is the ENI that was attached here last, in whatever state it is now.  ``look_at`` is when EC2 should be
    asked next, and ``write`` the EC2 write to make now, None for none.
    """

    look_at: float
    eni: Eni | None = None
    bound: Eni | None = None
    problem: str = ""
    write: Write | None = None

    @property
    def gives_its_device_up(self) -> bool:
        """The ENI is to be detached in order to try again, since its device does not come."""
        attachment = self.bound.attachment if self.bound is not None else None
        return attachment is not None and self.write == Detach(attachment.id)


def keep(memory: StandingMemory, view: StandingView) -> tuple[StandingMemory, Standing]:
    """The memory for the next call, and the decision for this view."""
    if view.standing is None:
        return memory, Standing(view.asked_at + timing.STANDING_LOOK_IN_PEACE, problem="EC2 has not answered yet")
    mine = _mine(memory, view)
    token = memory.token.accepted(view.written.accepted, view.written.ended_at)
    memory = replace(memory, token=token.lacked(view.asked_at) if mine is None else token.shown(view.asked_at))
    memory = _remember_phase(_remember_unused(memory, view, mine), view, mine)
    situation = (mine, view.barrier, view.device, view.holds)
    if situation != memory.situation:
        memory = replace(memory, situation=situation, changed_at=view.now)
    pause = pace.pause(view.now - memory.changed_at, view.calls)
    standing = _judge(memory, view, mine)
    if mine is not None and _is_here(mine, view.me):
        memory = replace(memory, bound=mine)
    standing = replace(standing, bound=memory.bound, look_at=max(standing.look_at, view.asked_at + pause))
    if standing.write is None:
        return memory, standing
    repeat_after = max(timing.STANDING_REPEAT_AFTER, pause)
    if not may_write(standing.write, memory, view, asked_at=view.asked_at, repeat_after=repeat_after):
        return memory, replace(standing, write=None)
    memory = replace(memory, last_write=standing.write, last_write_at=view.now)
    if isinstance(standing.write, Create):
        memory = replace(memory, token=memory.token.used(standing.write))
    if standing.gives_its_device_up:
        memory = replace(memory, vain=memory.vain + 1)
    return memory, standing


def _mine(memory: StandingMemory, view: StandingView) -> Eni | None:
    """The standing ENI of this node, None where it has none.

    Of several ENIs, one that is attached here comes first, then one that has a floating address, then the one that was
    chosen before.  An ENI that withholds a floating address does not count.  It is kept until there is another one,
    since EC2 could give the new one the same address otherwise.
    """
    before = memory.bound.id if memory.bound is not None else ""

    def rank(eni: Eni) -> tuple[object, ...]:
        return not _is_here(eni, view.me), eni.id not in view.in_use, eni.id != before, eni.id

    ours = (eni for eni in view.standing or () if eni.standing_for == view.me and eni.id not in view.withholding)
    return min(ours, key=rank, default=None)


def _is_here(eni: Eni, me: str) -> bool:
    return eni.attachment is not None and eni.attachment.instance_id == me


def _judge(memory: StandingMemory, view: StandingView, mine: Eni | None) -> Standing:
    if mine is None or mine.attachment is None or mine.attachment.status is AttachmentStatus.DETACHED:
        return _unattached(memory, view, mine)
    soon, attachment = view.asked_at + timing.STANDING_LOOK_SOON, mine.attachment
    if attachment.instance_id != view.me:
        problem = f"its standing ENI {mine.id} is attached to {attachment.instance_id}; detach it there"
        return Standing(view.asked_at + timing.STANDING_LOOK_IN_PEACE, problem=problem)
    if attachment.status is AttachmentStatus.DETACHING:
        is_late = view.asked_at - memory.phase_since >= timing.STANDING_FORCE_AFTER
        forced = Detach(attachment.id, force=True) if is_late else None
        return Standing(soon, problem=f"its standing ENI {mine.id} is being detached", write=forced)
    if attachment.status is AttachmentStatus.ATTACHING:
        return _attaching(memory, view, mine, attachment)
    if view.device is None:
        problem = f"whether the device of its standing ENI {mine.id} is here is not known"
        return Standing(soon, eni=mine, problem=problem)
    if not view.device:
        return _without_device(memory, view, mine, attachment)
    unused = memory.unused_since or {}
    gone = [write for write, since in unused.items() if view.asked_at - since >= timing.STANDING_UNUSED_FOR]
    write = mended(mine, view.groups) or (gone[0] if gone else None)
    return Standing(view.asked_at + timing.STANDING_LOOK_IN_PEACE, eni=mine, write=write)


def _unattached(memory: StandingMemory, view: StandingView, mine: Eni | None) -> Standing:
    """EC2 shows the ENI attached to nobody, or shows none at all: attach it, or create it."""
    soon = view.asked_at + timing.STANDING_LOOK_SOON
    if view.barrier:
        return Standing(view.asked_at + timing.STANDING_LOOK_IN_PEACE, problem=view.barrier)
    if mine is not None:
        return Standing(soon, problem=f"its standing ENI {mine.id} is being attached", write=Attach(mine.id))
    lacked_since = memory.token.lacked_since
    lacked_for = view.asked_at - lacked_since if lacked_since is not None else 0.0
    is_needed = view.serves or lacked_for < timing.STANDING_UNSHOWN_FOR
    if memory.bound is not None and view.device is not False and is_needed:
        # If the ENI had been detached, its device would be gone, too: EC2 only does not show the ENI.  A new ENI would
        # take the place of this one, and of its addresses.
        if view.device is None:
            return Standing(soon, problem=f"EC2 does not show its standing ENI {memory.bound.id}; is its device here?")
        return Standing(soon, problem=f"EC2 does not show its standing ENI {memory.bound.id}, whose device is here")
    creation = memory.token.creation(view.asked_at)
    return Standing(soon, problem="its standing ENI is being created", write=creation)


def _attaching(memory: StandingMemory, view: StandingView, mine: Eni, attachment: Attachment) -> Standing:
    """EC2 is attaching the ENI.  If that does not end, detach it, to try again.

    It is not detached while it has a floating address, as in `_without_device`; nor while this node carries one and the
    ENI's device is here, since then EC2's answer may be out of date.
    """
    limit = pace.doubled(timing.STANDING_ATTACHING_FOR, memory.vain, timing.STANDING_DEVICE_FOR_AT_MOST)
    is_late = view.asked_at - memory.phase_since >= limit
    is_used = mine.id in view.in_use or (view.holds and view.device)
    detach = Detach(attachment.id) if is_late and not is_used else None
    problem = f"its standing ENI {mine.id} is being attached"
    return Standing(view.asked_at + timing.STANDING_LOOK_SOON, problem=problem, write=detach)


def _without_device(memory: StandingMemory, view: StandingView, mine: Eni, attachment: Attachment) -> Standing:
    """EC2 shows the ENI attached, but its device is not on this node: detach it after a while, to try again.

    It is not detached while it has a floating address: another node has to take that over first.
    """
    limit = pace.doubled(timing.STANDING_DEVICE_FOR, memory.vain, timing.STANDING_DEVICE_FOR_AT_MOST)
    is_late = view.asked_at - memory.phase_since >= limit
    detach = Detach(attachment.id) if is_late and mine.id not in view.in_use else None
    problem = f"the device of its standing ENI {mine.id} is not there yet, though EC2 shows it attached"
    return Standing(view.asked_at + timing.STANDING_LOOK_SOON, eni=mine, problem=problem, write=detach)


def _remember_phase(memory: StandingMemory, view: StandingView, mine: Eni | None) -> StandingMemory:
    """How far EC2 and the kernel have brought the attachment to this node, and since when."""
    bound = mine.attachment if mine is not None and _is_here(mine, view.me) else None
    is_attached = bound is not None and bound.status is AttachmentStatus.ATTACHED
    phase = (bound.status, view.device if is_attached else None) if bound is not None else None
    if phase != memory.phase:
        memory = replace(memory, phase=phase, phase_since=view.asked_at)
    return replace(memory, vain=0) if is_attached and view.device else memory


def _remember_unused(memory: StandingMemory, view: StandingView, mine: Eni | None) -> StandingMemory:
    """Since when each unused thing has been of no use in all of EC2's answers."""
    before, now = memory.unused_since or {}, set(_unused(view, mine))
    return replace(memory, unused_since={write: before.get(write, view.asked_at) for write in sorted(now, key=repr)})


def _unused(view: StandingView, mine: Eni | None) -> list[Write]:
    """What is of no use, as the writes that would give it back.

    These are addresses that no Elastic IP needs any more; free ENIs of instances that have ended, if this node holds an
    address or the ENI withholds one; and a second ENI of this node.  A second one that is attached is detached first:
    an operator may have taken our tags off it for a while, and put them back.
    """
    unused: list[Write] = list(view.spares)
    for eni in view.standing or ():
        if eni.id in view.in_use or (mine is not None and eni.id == mine.id):
            continue
        if eni.attachment is not None:
            is_second = eni.standing_for == view.me and _is_here(eni, view.me)
            if is_second and eni.attachment.status is AttachmentStatus.ATTACHED:
                unused.append(Detach(eni.attachment.id))
            continue
        owner = view.instances.get(eni.standing_for) if view.instances is not None else None
        is_unknown = view.instances is None
        ended = not is_unknown and (owner is None or owner.state is InstanceState.TERMINATED)
        if eni.standing_for == view.me or (ended and (view.holds or eni.id in view.withholding)):
            unused.append(Delete(eni.id))
    return unused
