"""
Decide who should hold a floating address, and what to do about it.

Pure: no I/O, no clock.  The agent passes in what it remembers, what it observed and the time, and gets back the next
memory and a :class:`Decision`: the state, the one EC2 write to make now if any, how much of its plumbing the node
should have, when to ask EC2 again, and the reason.  The same input always gives the same output.

It is level-triggered: nothing here waits for an answer to what was decided before.  Each call looks at the whole view
again, so a crash, a lost answer or a lost race between any two steps leaves a view from which any observer goes on.

There are three cases: nobody has the address (free.py), this node has it (here.py), or another node has it
(elsewhere.py) and is judged by the ladder of rules.py.  The two ways to carry the address (carry.py) differ mainly in
how it is claimed, how it is taken from the judged holder, and how much of its plumbing a node has ahead of time.

The rules R1 to R14 and A1 to A5 are those of docs/how-it-works.md; each is named where it is decided.  Terms: see
model.py.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from floatingip.core import pace, timing
from floatingip.core.decision.carry import Way, way_to
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.elsewhere import elsewhere
from floatingip.core.decision.free import free
from floatingip.core.decision.gate import may_write, write_at
from floatingip.core.decision.here import here, unshown_here
from floatingip.core.decision.remember import remember
from floatingip.core.decision.situation import Situation, move_since
from floatingip.core.decision.turns import remember_rivals
from floatingip.core.decision.view import Memory, View, attachment_of
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.plumbing import Extent
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign, AssignAny, Associate, Attach, Create, Detach, Tag, Unassign, Write, is_upkeep


def decide(memory: Memory, view: View, settings: Settings) -> tuple[Memory, Decision]:
    """The memory for the next call, and the decision for this view."""
    way = way_to(settings.carry)
    memory = remember_rivals(remember(memory, view, way, settings), view, settings)
    decision = _judge(memory, view, settings)
    if decision.due != (memory.due_since is not None):
        memory = replace(memory, due_since=view.now if decision.due else None)
    known = memory.ahead if decision.ahead is None else decision.ahead
    ahead = known if decision.due else ()
    if ahead != memory.ahead:
        memory = replace(memory, ahead=ahead)
    extent = way.extent(memory, view, decision.extent)
    if extent is Extent.AHEAD and view.plumbing is not None and view.plumbing.is_here:
        memory = replace(memory, dropped_at=view.now, claimed_at=None)
    look_at = _look_at(memory, view, decision)
    write, obliged = decision.write, decision.obliged or _is_asked_for(memory, view)
    if write is not None:
        # R8 for upkeep: it also waits until EC2 has answered a question asked after the upkeep before it.
        is_put_off = is_upkeep(write) and view.tended.is_unseen(memory.asked_at)
        repeat_after = _repeat_after(memory, view, write)
        if not is_put_off and may_write(write, memory, view, asked_at=memory.asked_at, repeat_after=repeat_after):
            is_move = _fences(decision) or isinstance(write, Attach | Assign)
            memory, obliged = _wrote(memory, view, way, decision), obliged or is_move
        else:
            write = None
    return memory, replace(decision, extent=extent, look_at=look_at, write=write, obliged=obliged)


def _look_at(memory: Memory, view: View, decision: Decision) -> float:
    """When EC2 is to be asked: at once after a write, otherwise no sooner than the pace allows.

    If a decision awaits an answer before its write (``awaiting``), EC2 is asked only once that write may be made.  A
    write that EC2 refused is repeated first, and EC2 asked after that.
    """
    written, tended = view.written, view.tended
    if view.owner is None or (memory.asked_at <= max(written.ended_at, tended.ended_at) and not written.under_way):
        return view.now
    pause, write, awaiting = _pause(memory, view), decision.write, decision.awaiting
    if written.under_way:
        # The answer to a question asked now will be too old to write by: EC2 is asked anew once the write has ended.
        pause = max(pause, timing.LOOK_WHILE_WRITING)
    if awaiting is not None:
        retry_at = view.retry_at.get(type(awaiting), -inf)
        return max(decision.look_at, retry_at, memory.last_write_at + pause)
    is_busy = written.under_way or tended.under_way
    if write is not None and not is_busy and view.retry_at.get(type(write), -inf) > -inf:
        made_at = write_at(write, memory, view, repeat_after=_repeat_after(memory, view, write))
        return max(decision.look_at, made_at + timing.REPEAT_AFTER)
    return max(decision.look_at, view.owner.asked_at + pause)


def _pause(memory: Memory, view: View) -> float:
    """Seconds that the pace leaves between two questions."""
    return pace.pause(view.now - memory.changed_at, view.owner.calls if view.owner is not None else 1)


def _repeat_after(memory: Memory, view: View, write: Write) -> float:
    """Seconds before the same write is made again: longer if EC2 accepted it, since EC2 may show its result late."""
    is_on_its_way = write in (view.written.accepted, view.tended.accepted) and isinstance(
        write, Assign | AssignAny | Associate | Tag
    )
    return max(timing.CLAIM_SHOWN if is_on_its_way else timing.REPEAT_AFTER, _pause(memory, view))


def _is_asked_for(memory: Memory, view: View) -> bool:
    """Whether this node has claimed the address, and EC2 has not shown the result yet."""
    is_claim = isinstance(memory.last_write, Attach | Assign)
    return is_claim and view.written.is_unseen(memory.asked_at)


def _fences(decision: Decision) -> bool:
    """Whether this decision's write takes the address from somebody, so that nobody has it until this node claims it.

    A forced detach does not count: it may finish a detach that another node began.  Nor does that of R14, after which
    other nodes claim first.
    """
    if decision.rule is Rule.R14:
        return False
    return isinstance(decision.write, Unassign) or (isinstance(decision.write, Detach) and not decision.write.force)


def _wrote(memory: Memory, view: View, way: Way, decision: Decision) -> Memory:
    memory = replace(memory, last_write=decision.write, last_write_at=view.now)
    if isinstance(decision.write, Create):
        return replace(memory, token=memory.token.used(decision.write))
    if decision.rule is Rule.R14 and isinstance(decision.write, Detach):
        return replace(memory, gave_up=True)
    if _fences(decision) or isinstance(decision.write, Assign):
        if not decision.attachment_id:
            return replace(memory, fenced_rule=memory.fenced_rule if memory.fenced else decision.rule)
        counts, since = decision.due and decision.rule is not Rule.R2, move_since(memory, view, way)
        return replace(
            memory,
            fenced=decision.attachment_id,
            fenced_rule=decision.rule,
            unrecorded=decision.attachment_id if counts else "",
            unrecorded_since=since,
            unrecorded_at=view.now - (view.wall - since),
        )
    return memory


def _judge(memory: Memory, view: View, settings: Settings) -> Decision:
    owner, way = view.owner, way_to(settings.carry)
    if owner is None:
        return Decision(State.START, Reason.EC2_SILENT, Rule.R9, look_at=view.now)
    if not view.name:
        return Decision(State.START, Reason.NAME_UNKNOWN, Rule.R9, look_at=owner.asked_at + timing.LOOK_IN_DOUBT)
    if view.mixed:
        return Decision(
            State.REFUSED, Reason.MIXED, Rule.R1, look_at=owner.asked_at + timing.LOOK_WHILE_BARRED, detail=view.mixed
        )
    if owner.eni is None:
        if (unshown := unshown_here(view, owner)) is not None:
            return unshown
        if view.obstacle:
            barred = owner.asked_at + way.barred_pause
            return Decision(State.STANDBY, Reason.NO_SUBNET, Rule.R1, look_at=barred, detail=view.obstacle)
        later = owner.asked_at + timing.LOOK_IN_DOUBT
        write = way.claim(memory, view, settings, owner)
        if memory.taken_since is not None and view.now - memory.taken_since >= timing.TAKEN_AFTER:
            return Decision(State.REFUSED, Reason.TAKEN, Rule.R1, later, detail=view.taken, write=write)
        if not way.is_free(owner):
            return Decision(State.CLAIMING, Reason.CREATE, Rule.R1, later, write=write)
        return free(memory, view, settings, owner)
    is_ours = owner.eni.tags.get(OWNER_TAG) == view.name
    if is_ours and view.obstacle and owner.eni.withholds(view.target):
        soon = owner.asked_at + timing.LOOK_IN_DOUBT
        return Decision(State.STANDBY, Reason.CANNOT_CLAIM, Rule.R1, look_at=soon, detail=view.obstacle)
    if memory.untagged_since is not None and owner.asked_at - memory.untagged_since < timing.TAGGED_WITHIN:
        # Most likely one of our observers has just created it: EC2 may show a new ENI before its tags.
        soon = owner.asked_at + timing.LOOK_IN_DOUBT
        return Decision(State.CLAIMING, Reason.UNTAGGED, Rule.R1, soon, detail=owner.eni.id, extent=Extent.AS_FOUND)
    if not is_ours or not owner.eni.has(view.target):
        detail = f"{owner.eni.id} (tag {OWNER_TAG}={owner.eni.tags.get(OWNER_TAG, '')})"
        since = owner.asked_at if memory.foreign_since is None else memory.foreign_since
        if memory.link_seen and owner.asked_at - since < timing.CONFIRM_AFTER:
            return Decision(
                State.REFUSED, Reason.NOT_OURS, Rule.R10, look_at=since + timing.CONFIRM_AFTER, detail=detail
            )
        barred = owner.asked_at + timing.LOOK_WHILE_BARRED
        return Decision(State.REFUSED, Reason.NOT_OURS, Rule.R1, look_at=barred, detail=detail, extent=Extent.NOTHING)
    attachment = attachment_of(owner)
    if attachment is None:
        return free(memory, view, settings, owner)
    if attachment.instance_id == view.me:
        return here(Situation(memory, view, settings, owner, owner.eni, attachment))
    return elsewhere(Situation(memory, view, settings, owner, owner.eni, attachment))
