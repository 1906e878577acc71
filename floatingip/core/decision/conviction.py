"""
A holder is charged: does this node take the address from it?

It does if nothing stands in the way.  Each function here checks for one thing that may, in the order of the code.  It
returns what is decided if that thing stands in the way, and None if it does not.  The last one takes the address.
"""

from __future__ import annotations

from dataclasses import replace

from floatingip.core import timing
from floatingip.core.decision import ration, served
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.evidence import gap_in_evidence, needs_answer, witnesses
from floatingip.core.decision.free import is_fresh
from floatingip.core.decision.rules import Charge
from floatingip.core.decision.situation import Situation
from floatingip.core.decision.turns import are_believed, ranked_before, rivals, served_before, taking_step, unmet_before
from floatingip.core.ec2 import Owner
from floatingip.core.wording import clock


def convict(situation: Situation, charge: Charge) -> Decision:
    """Turn a charge into a takeover, unless this node cannot take over, moves are paused, it would be no better off, it
    lacks evidence, it must wait under the ration (R12), or it is not the first.
    """
    doubt = Decision(State.DOUBT, charge.reason, charge.rule, in_doubt(situation.owner), detail=charge.detail)
    return (
        _barred(situation, doubt)
        or _paused(situation, doubt)
        or _no_better_here(situation, doubt)
        or _unproven(situation, doubt)
        or _rationed(situation, charge, doubt)
        or _after_those_it_answers_at(situation, doubt)
        # Up to here an older answer of EC2 is enough: it only makes this node wait.  What follows needs a fresh one.
        or _outdated(situation, doubt)
        or _unrecorded(situation, charge, doubt)
        or _in_turn(situation, doubt)
    )


def in_doubt(owner: Owner) -> float:
    """When to ask EC2 again while something may be wrong with the holder."""
    return owner.asked_at + timing.LOOK_BEFORE_TAKING


def _barred(situation: Situation, doubt: Decision) -> Decision | None:
    """There is an obstacle: this node could not take the address."""
    obstacle = situation.view.obstacle
    if not obstacle:
        return None
    return replace(doubt, reason=Reason.CANNOT_CLAIM, detail=obstacle, look_at=_while_barred(situation))


def _paused(situation: Situation, doubt: Decision) -> Decision | None:
    """An operator has paused all moves; an ordered handover is made nevertheless."""
    view = situation.view
    if not (situation.paused_for > 0 and doubt.reason is not Reason.HANDOVER_ASKED):
        return None
    over_at = min(_while_barred(situation), view.now + situation.paused_for)
    return replace(doubt, reason=Reason.PAUSED, detail=clock(round(view.wall + situation.paused_for)), look_at=over_at)


def _no_better_here(situation: Situation, doubt: Decision) -> Decision | None:
    """What is wrong with the holder is wrong with this node, too."""
    memory, view = situation.memory, situation.view
    if doubt.reason is Reason.HOLDER_UNSOUND and memory.unsound_here:
        reason = Reason.ALSO_UNSOUND
    elif doubt.rule is Rule.R7 and not served.missed_here(memory, view, situation.who):
        reason = Reason.NOT_SERVED_HERE
    else:
        return None
    return replace(doubt, state=State.STANDBY, reason=reason, look_at=situation.owner.asked_at + timing.LOOK_IN_PEACE)


def _unproven(situation: Situation, doubt: Decision) -> Decision | None:
    """Evidence is missing: this node may be the one that is cut off, or others may see the address answer."""
    memory, view, owner = situation.memory, situation.view, situation.owner
    gap = gap_in_evidence(situation) if doubt.rule in (Rule.R3, Rule.R4, Rule.R6) else ""
    if not gap:
        return None
    look_at = view.now if needs_answer(memory, view, owner) else doubt.look_at
    return replace(doubt, reason=Reason.NO_EVIDENCE, detail=gap, look_at=look_at)


def _rationed(situation: Situation, charge: Charge, doubt: Decision) -> Decision | None:
    """The ration counts this move, and it is too early for one more (R12)."""
    recorded, attachment, since = situation.recorded, situation.attachment, situation.move_since
    if not _counts(situation, charge) or ration.wait(recorded, situation.view.wall, attachment.id, since) <= 0:
        return None
    return replace(doubt, reason=Reason.RATIONED, detail=recorded, look_at=_while_barred(situation))


def _after_those_it_answers_at(situation: Situation, doubt: Decision) -> Decision | None:
    """With `carry: eni` the node that detaches the ENI claims it, so nodes on which a NodePort answers go first."""
    if not situation.way.first_wins or doubt.reason is Reason.HANDOVER_ASKED:
        return None
    before = served_before(situation.view, situation.who)
    turn_at = _due_since(situation) + timing.RANK_STEP * len(before)
    if situation.view.now >= turn_at:
        return None
    return replace(doubt, reason=Reason.LATER, detail=", ".join(before), look_at=turn_at, due=True)


def _outdated(situation: Situation, doubt: Decision) -> Decision | None:
    """EC2 has to be asked once more: its answer is from before the move became due."""
    memory, view, owner = situation.memory, situation.view, situation.owner
    return None if is_fresh(memory, view, owner, memory.due_since) else _ask(situation, doubt)


def _unrecorded(situation: Situation, charge: Charge, doubt: Decision) -> Decision | None:
    """The ration counts this move, so it is recorded before it is made."""
    attachment, since, mine = situation.attachment, situation.move_since, situation.view.mine
    if not _counts(situation, charge) or ration.recorded(situation.recorded, attachment.id, since):
        return None
    keeper = situation.eni if mine is None else mine
    return replace(doubt, due=True, write=situation.record(keeper.id, charge.rule, attachment.id, since))


def _in_turn(situation: Situation, doubt: Decision) -> Decision:
    """Take the address: at once if EC2 refuses all takers but the first; otherwise after the observers that come before
    this one.
    """
    memory, view, settings, owner = situation.memory, situation.view, situation.settings, situation.owner
    attachment, way = situation.attachment, situation.way
    soon = owner.asked_at + timing.LOOK_WHILE_MOVING
    take = replace(doubt, due=True, state=State.TAKEOVER, write=way.take(view, situation.eni, attachment), look_at=soon)
    if way.first_wins:
        return take
    if are_believed(memory, view):
        return replace(doubt, reason=Reason.LATER, detail=", ".join(rivals(view, attachment)), look_at=soon)
    due_since = _due_since(situation)
    about = {way.of_one(attachment.id, view.target), str(view.target)}
    # An observer that has said since then that it comes later, as it has got another address, waits for this node.
    told = {peer.instance_id for peer in witnesses(view.peers, due_since, about, view.now)}
    ranked = ranked_before(memory, view, settings, judged=attachment.instance_id)
    ahead = {*ranked, *(each for each in memory.ahead if each not in told)}
    before = sorted(ahead | unmet_before(memory, view, judged=attachment.instance_id))
    turn_at = due_since + taking_step(memory) * len(before)
    decision = take
    if before and view.now < turn_at:
        decision = replace(doubt, reason=Reason.LATER, detail=", ".join(before), look_at=turn_at, due=True)
    elif before and owner.asked_at < turn_at:
        decision = _ask(situation, doubt)
    return replace(decision, ahead=tuple(sorted(ahead)))


def _ask(situation: Situation, doubt: Decision) -> Decision:
    """Ask EC2 at once: the takeover waits for that answer."""
    take = situation.way.take(situation.view, situation.eni, situation.attachment)
    return replace(doubt, reason=Reason.STALE, look_at=situation.view.now, due=True, awaiting=take)


def _counts(situation: Situation, charge: Charge) -> bool:
    """Whether the move is one of those that the ration counts."""
    recorded, wall = situation.recorded, situation.view.wall
    return charge.rationed and ration.is_rationed(
        recorded, charge.rule, wall, situation.attachment.id, situation.move_since
    )


def _due_since(situation: Situation) -> float:
    """Since when the move has been due: since now, if it was not before."""
    since = situation.memory.due_since
    return situation.view.now if since is None else since


def _while_barred(situation: Situation) -> float:
    """When to ask EC2 again while something keeps this node from the move."""
    return situation.owner.asked_at + timing.LOOK_WHILE_BARRED
