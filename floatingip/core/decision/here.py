"""EC2 shows the address on this node: whether this node carries it, and whether it still has it (R10, R14)."""

from __future__ import annotations

from dataclasses import replace

from floatingip.core import timing
from floatingip.core.decision import ration
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.rules import r13_force
from floatingip.core.decision.situation import Situation
from floatingip.core.decision.turns import rivals
from floatingip.core.decision.view import View, is_lost, unrecorded_since
from floatingip.core.ec2 import AttachmentStatus, Owner
from floatingip.core.plumbing import PlumbingState
from floatingip.core.writes import Detach


def here(situation: Situation) -> Decision:
    """Carry the address that this node holds, and notice at once when it was taken away (R10)."""
    memory, view = situation.memory, situation.view
    owner, eni, attachment = situation.owner, situation.eni, situation.attachment
    soon = owner.asked_at + timing.LOOK_WHILE_MOVING
    peace = owner.asked_at + timing.LOOK_IN_PEACE
    if is_lost(view):
        later = max(view.now, owner.asked_at + timing.LOOK_IN_DOUBT)
        return Decision(State.STANDBY, Reason.LOST, Rule.R10, later)
    if attachment.status is AttachmentStatus.DETACHING:
        forced = r13_force(situation, is_silent=False)
        if forced is not None:
            return replace(forced, look_at=soon)
        return Decision(State.HOLDER, Reason.DETACHING_HERE, Rule.R11, soon, attachment_id=attachment.id)
    report = view.plumbing
    if report is None or report.state is PlumbingState.NO_LINK:
        return _without_device(situation)
    if not report.is_here:
        later = owner.asked_at + timing.LOOK_IN_DOUBT
        return Decision(State.CLAIMING, Reason.PLUMBING, Rule.A3, later, attachment_id=attachment.id, obliged=True)
    if not situation.way.is_confirmed(memory, view, owner):
        return Decision(State.CLAIMING, Reason.CONFIRMING, Rule.R10, soon, attachment_id=attachment.id)
    write = situation.way.mend(view, eni)
    if write is None and memory.unrecorded:
        # A rationed move by R5 was recorded before it was made: one that is not recorded yet was planned.
        rule = ration.PLANNED if memory.fenced_rule is Rule.R5 else memory.fenced_rule
        write = situation.record(eni.id, rule, memory.unrecorded, unrecorded_since(memory, view))
    if attachment.status is AttachmentStatus.ATTACHING:
        peace = owner.asked_at + timing.LOOK_IN_DOUBT
    if view.shown_by_imds is False or rivals(view, attachment):
        # Another observer's word is no reason to let go, but EC2 knows, and IMDS may be late.
        peace = owner.asked_at + timing.LOOK_IN_DOUBT
    unsound = report.state is PlumbingState.UNSOUND
    return Decision(
        State.HOLDER,
        Reason.UNSOUND_HERE if unsound else Reason.HELD_HERE,
        Rule.R5 if unsound else Rule.R10,
        peace,
        detail=report.problem,
        write=write,
        attachment_id=attachment.id,
        leaving=view.leaving,
    )


def unshown_here(view: View, owner: Owner) -> Decision | None:
    """The decision if EC2 shows neither anybody with the address nor the ENI by which this node carries it: the device
    is here, so as far as anybody can tell this node has the address.  None if that is not so.
    """
    report = view.plumbing
    if not view.unshown or report is None or not report.is_here or view.lost_until_asked_at is not None:
        return None
    unsound = report.state is PlumbingState.UNSOUND
    return Decision(
        State.HOLDER,
        Reason.UNSOUND_HERE if unsound else Reason.UNSHOWN_HERE,
        Rule.R5 if unsound else Rule.R10,
        owner.asked_at + timing.LOOK_IN_DOUBT,
        detail=report.problem,
        attachment_id=view.unshown,
        leaving=view.leaving,
    )


def _without_device(situation: Situation) -> Decision:
    """The ENI is attached to this node, but its device is not there: not yet, no longer, or it never comes (R14)."""
    memory, view = situation.memory, situation.view
    owner, eni, attachment = situation.owner, situation.eni, situation.attachment
    later, lost_at = owner.asked_at + timing.LOOK_IN_DOUBT, memory.link_lost_at
    is_attaching, is_late = attachment.status is AttachmentStatus.ATTACHING, _is_late(situation)
    if view.plumbing is None or (not is_late and (is_attaching or lost_at is None)):
        # Obliged: no other node can put the address on this node's link, or knows that the link is missing.
        return Decision(
            State.CLAIMING, Reason.ATTACHING_HERE, Rule.R1, later, attachment_id=attachment.id, obliged=True
        )
    if lost_at is not None and owner.asked_at < lost_at:
        return Decision(State.HOLDER, Reason.LINK_GONE, Rule.R10, view.now, attachment_id=attachment.id)
    is_gone_for_good = is_late and (lost_at is None or owner.asked_at - lost_at >= timing.DEVICE_FOR)
    if not (situation.way.detaches_without_device and is_gone_for_good):
        return Decision(State.HOLDER, Reason.LINK_GONE, Rule.R10, later, attachment_id=attachment.id)
    decision = Decision(
        State.HOLDER,
        Reason.NO_DEVICE,
        Rule.R14,
        later,
        detail=f"{eni.id} {attachment.status}",
        attachment_id=attachment.id,
        leaving=view.leaving,
    )
    recorded = situation.recorded
    if ration.wait(recorded, view.wall, attachment.id) > 0:
        return replace(decision, look_at=owner.asked_at + timing.LOOK_WHILE_BARRED)
    if not ration.recorded(recorded, attachment.id):
        return replace(decision, write=situation.record(eni.id, Rule.R14, attachment.id))
    return replace(decision, write=Detach(attachment.id))


def _is_late(situation: Situation) -> bool:
    """EC2 has shown the ENI as attached for longer than a slow device takes to come, or as attaching for a minute."""
    memory, asked_at = situation.memory, situation.owner.asked_at
    if situation.attachment.status is AttachmentStatus.ATTACHING:
        return asked_at - memory.attachment_since >= timing.ATTACHING_FOR
    return memory.attached_at is not None and asked_at - memory.attached_at >= timing.DEVICE_FOR
