"""Nobody has the address: who claims it (R1)."""

from __future__ import annotations

from floatingip.core import timing
from floatingip.core.decision import order as orders
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.turns import are_believed, ranked_before, rivals
from floatingip.core.decision.view import Memory, View, attachment_of
from floatingip.core.ec2 import Owner
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign


def free(memory: Memory, view: View, settings: Settings, owner: Owner) -> Decision:
    """R1: claim an address that nobody holds.  Observers do so one after the other, the one that fenced it at once."""
    way, soon = way_to(settings.carry), owner.asked_at + timing.LOOK_WHILE_MOVING
    if way.is_claiming(memory, view, owner):
        return Decision(State.TAKEOVER, Reason.ASSIGNING, memory.fenced_rule, soon)
    if view.obstacle:
        return Decision(
            State.STANDBY, Reason.CANNOT_CLAIM, Rule.R1, owner.asked_at + timing.LOOK_IN_DOUBT, detail=view.obstacle
        )
    write = way.claim(memory, view, settings, owner)
    stale = Decision(State.CLAIMING, Reason.STALE, Rule.R1, view.now, awaiting=write, obliged=bool(memory.fenced))
    is_stale = not is_fresh(memory, view, owner, memory.free_since)
    # EC2 refuses the second of two claims, but not of two that take the address from another ENI.
    if isinstance(write, Assign) and write.reassign and is_stale:
        return stale
    if memory.fenced:
        return Decision(
            State.TAKEOVER,
            Reason.FREE_AFTER_FENCING,
            memory.fenced_rule,
            soon,
            write=write,
            attachment_id=way.fenced(memory),
            obliged=True,
        )
    if are_believed(memory, view):
        known = ", ".join(rivals(view, attachment_of(owner)))
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, Rule.R1, soon, detail=known)
    before = ranked_before(memory, view, settings)
    free_since = view.now if memory.free_since is None else memory.free_since
    turn_at = free_since + timing.RANK_STEP * len(before)
    if before and (memory.gave_up or view.leaving):
        left_for = timing.GIVEN_UP_FOR if memory.gave_up else timing.LEFT_TO_OTHERS
        turn_at = max(turn_at, free_since + left_for)
    tags = owner.eni.tags if owner.eni is not None else {}
    ordered = orders.successor(tags.get(way.of_one(orders.TAG, view.target), ""), view.wall)
    if ordered not in ("", view.me) and view.now < free_since + timing.LEFT_TO_SUCCESSOR:
        until = free_since + timing.LEFT_TO_SUCCESSOR
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, Rule.R5, until, detail=ordered)
    spread_at = free_since + timing.SPREAD_STEP * min(view.burden, timing.MOST_SPREAD)
    if view.now < spread_at and not memory.last_holder:
        return Decision(State.CLAIMING, Reason.FREE_FOR_OTHERS, Rule.R1, spread_at)
    if before and owner.asked_at < turn_at:
        return Decision(
            State.CLAIMING, Reason.FREE_BUT_LATER, Rule.R1, max(turn_at, view.now), detail=", ".join(before)
        )
    if is_stale:
        return stale
    return Decision(State.CLAIMING, Reason.FREE, Rule.R1, soon, write=write)


def is_fresh(memory: Memory, view: View, owner: Owner, since: float | None) -> bool:
    """R1, A1: whether EC2's answer is fresh enough to take an address by it.

    It is if its question was asked a moment ago.  If EC2 takes longer than that to answer: if the answer has just come,
    and its question was asked no earlier than a moment before ``since``, when the move became due.
    """
    if view.now - owner.asked_at <= timing.FRESH_ANSWER:
        return True
    is_of_then = since is not None and owner.asked_at >= since - timing.FRESH_ANSWER
    return is_of_then and view.now - memory.answered_at <= timing.FRESH_ANSWER
