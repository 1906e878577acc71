"""
The ladder: the reasons to move the address away from its holder, one function for each.

The first function that finds its reason charges the holder with it; elsewhere.py decides what follows.  What each rule
says, and why, is in docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from floatingip.core import timing
from floatingip.core.decision import served
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.evidence import (
    answered_by_tag,
    is_untried,
    should_answer,
    took_it_aloud,
    was_reached,
    witnessed_since,
)
from floatingip.core.decision.situation import Situation
from floatingip.core.decision.turns import taking_step
from floatingip.core.decision.view import is_down
from floatingip.core.ec2 import AttachmentStatus
from floatingip.core.peer import WordState
from floatingip.core.writes import Detach


@dataclass(frozen=True, slots=True)
class Charge:
    """A reason for a move away from the judged attachment; ``rationed``: R12 applies to that move."""

    rule: Rule
    reason: Reason
    detail: str
    rationed: bool = True


def r2_the_instance_ended(situation: Situation) -> Charge | None:
    """EC2 says twice that the holder's instance has ended, or once while the last probe was lost."""
    memory, holder = situation.memory, situation.holder
    if memory.dead_answers >= 2 or (memory.dead_answers and situation.view.health.in_doubt):
        return Charge(Rule.R2, Reason.INSTANCE_ENDED, holder.state if holder else "gone", rationed=False)
    return None


def r3_attaching_for_too_long(situation: Situation) -> Charge | None:
    """EC2 has shown the ENI as attaching for a minute, and the observer of that node is silent."""
    since = max(situation.memory.attachment_since, situation.view.word.since)
    if situation.is_silent and situation.view.now - since > timing.ATTACHING_FOR:
        return Charge(Rule.R3, Reason.ATTACHING_TOO_LONG, situation.who)
    return None


def r5_a_handover_was_ordered(situation: Situation) -> Charge | None:
    """Somebody ordered a handover to this node, or to any."""
    view, order = situation.view, situation.order
    if order is not None and order.names(view.me) and not view.leaving:
        return Charge(Rule.R5, Reason.HANDOVER_ASKED, situation.who, rationed=False)
    return None


def r5_the_holder_is_leaving(situation: Situation) -> Charge | None:
    """The holder's node is about to end, by its observer's word."""
    word = situation.view.word
    if word.state is WordState.LEAVING and not word.written_off and _may_relieve(situation) and _is_told(situation):
        return Charge(Rule.R5, Reason.HOLDER_LEAVING, word.detail, rationed=False)
    return None


def r5_the_holder_is_written_off(situation: Situation) -> Charge | None:
    """Kubernetes has given the holder's node up, but calls the observer on this node Ready."""
    word = situation.view.word
    if word.state is WordState.LEAVING and word.written_off and _may_relieve(situation) and _is_ready(situation):
        return Charge(Rule.R5, Reason.WRITTEN_OFF, word.detail)
    return None


def r3_down_and_silent(situation: Situation) -> Charge | None:
    """The address is down, and the holder's observer is silent; but before, one of the two was well under this
    attachment: the address has answered this observer or another one, or the holder's observer was heard.
    """
    health = situation.view.health
    if not is_down(health) or not _tells_by_silence(situation):
        return None
    if health.ever_up or answered_by_tag(situation):
        return Charge(Rule.R3, Reason.SILENT_HOLDER, situation.who)
    if was_reached(situation) and _fell_silent_here(situation):
        return Charge(Rule.R3, Reason.NEVER_ANSWERED, situation.who)
    return None


def r5_the_holder_is_unsound(situation: Situation) -> Charge | None:
    """The holder has called itself unsound for a while."""
    view = situation.view
    if view.word.state is WordState.UNSOUND and view.now - view.word.since >= timing.UNSOUND_FOR:
        return Charge(Rule.R5, Reason.HOLDER_UNSOUND, view.word.detail)
    return None


def r4_down_though_it_calls_itself_sound(situation: Situation) -> Charge | None:
    """The address is down, and for ``patience`` seconds its holder has not shown that it reaches this node from it."""
    since = situation.memory.unvouched_since
    lasts = since is not None and situation.view.now - since >= situation.settings.patience
    if lasts and should_answer(situation):
        reason = Reason.SILENT_HOLDER if situation.is_silent else Reason.HOLDER_WRONG
        return Charge(Rule.R4, reason, situation.who)
    return None


def r6_never_answered(situation: Situation) -> Charge | None:
    """The address never answered under this attachment, and the holder's observer is silent, and was all the time."""
    health = situation.view.health
    if is_down(health) and not health.ever_up and _tells_by_silence(situation) and _has_settled(situation):
        return Charge(Rule.R6, Reason.NEVER_ANSWERED, situation.who)
    return None


def r7_the_service_is_down(situation: Situation) -> Charge | None:
    """No NodePort answers at the address, though one did, or does on this node."""
    if served.are_missing(situation.memory, situation.view, situation.settings, situation.attachment):
        return Charge(Rule.R7, Reason.SERVICE_DOWN, situation.who)
    return None


ASKED_FOR = (r5_a_handover_was_ordered, r5_the_holder_is_leaving, r5_the_holder_is_written_off)
"""Charges that the holder or a person asks for: they count even while the holder is too new to be judged (A3)."""

FOUND = (
    r3_down_and_silent,
    r5_the_holder_is_unsound,
    r4_down_though_it_calls_itself_sound,
    r6_never_answered,
    r7_the_service_is_down,
)
"""Charges that this node finds out by itself."""


def charge_against(situation: Situation) -> Charge | None:
    """What the holder is charged with; None when nothing speaks for a move."""
    if (ended := r2_the_instance_ended(situation)) is not None:
        return ended
    if situation.attachment.status is AttachmentStatus.ATTACHING:
        # A holder whose attaching does not end calls itself unsound.
        return _first((r3_attaching_for_too_long, r5_the_holder_is_unsound), situation)
    asked_for = _first(ASKED_FOR, situation)
    if asked_for is not None or _a3_is_too_new(situation):
        return asked_for
    return _first(FOUND, situation)


def r13_force(situation: Situation, *, is_silent: bool) -> Decision | None:
    """R13: force a detach that takes too long, whichever node began it; sooner if the holder ``is_silent``."""
    memory, view, settings, attachment = situation.memory, situation.view, situation.settings, situation.attachment
    if memory.detaching_since is None:
        return None
    limit = settings.force_after * (1 if is_silent else timing.PATIENT_FORCE)
    if view.now - memory.detaching_since < limit:
        return None
    forced = Detach(attachment.id, force=True)
    if memory.last_write == forced and view.now - memory.last_write_at < settings.force_after:
        return None
    return Decision(
        State.TAKEOVER,
        Reason.DETACHING_TOO_LONG,
        Rule.R13,
        view.now,
        detail=attachment.instance_id,
        write=forced,
        attachment_id=attachment.id,
    )


def _first(rules: tuple[Callable[[Situation], Charge | None], ...], situation: Situation) -> Charge | None:
    for rule in rules:
        if (found := rule(situation)) is not None:
            return found
    return None


def _tells_by_silence(situation: Situation) -> bool:
    """The holder's observer is silent, and that speaks against its node (R3, R6).

    If the holder vouched for the address while that did not answer, only the silence is new.  Then it has to last, as a
    question or two may be lost; and a node that refuses the connection is alive, only without an observer right now.
    """
    word, witnessed_at = situation.view.word, witnessed_since(situation.memory)
    if situation.memory.vouched_at is None or not situation.is_silent:
        return situation.is_silent
    since = word.since if witnessed_at is None else max(word.since, witnessed_at)
    return not word.refused and situation.view.now - since >= timing.QUIET_FOR


def _a3_is_too_new(situation: Situation) -> bool:
    """A3: a standing ENI has got the address only a moment ago."""
    return situation.way.is_new(situation.view.now - situation.memory.moved_at)


def _may_relieve(situation: Situation) -> bool:
    """Whether this node may relieve a holder that asks for it: it is not about to end itself, and no order names
    another node, or that node has had its turn.  (The named node may have died since, or be about to end as well.)
    """
    view, order = situation.view, situation.order
    if view.leaving:
        return False
    is_ours = order is None or order.names(view.me)
    return is_ours or view.now - view.word.since >= taking_step(situation.memory)


def _is_told(situation: Situation) -> bool:
    """
    Kubernetes and AWS, asked since the holder began to ask for relief, have told whether this node ends too (R5); or
    they have not, and the time to wait for that is over.

    What ends the holder's node may end this one as well: the control plane evicts the pods of all nodes that it did not
    reach for a while, EC2 takes several spot instances at once.  Each node learns of its own end at a time of its own.
    """
    view, since = situation.view, situation.view.word.since
    return view.told_at >= since or view.now - since >= timing.END_TOLD_WITHIN


def _is_ready(situation: Situation) -> bool:
    """
    Kubernetes has called the observer on this node Ready for a while (R5): otherwise a move to here would not help.

    One answer is not enough: after an outage of the API server Kubernetes writes all nodes off, one after the other,
    until it hears their kubelets again, and this node may be the next one.
    """
    return situation.view.now - situation.memory.unready_at > timing.CALLED_READY_FOR


def _fell_silent_here(situation: Situation) -> bool:
    """R3: the holder's observer was heard under this attachment, or right before it, and is not any more.

    Right before it counts, since the holder was alive when it took the address from another node, and not cut off, or
    it would have waited longer.  That does not hold in a fleet of two, where this node is the one that just lost the
    address, unless the holder said that it took it.
    """
    memory, view = situation.memory, situation.view
    heard_at = max((p.heard_at for p in view.peers if p.instance_id == situation.who), default=-inf)
    is_new = memory.came_from not in ("", situation.who)
    before = timing.ALONE_FOR if is_new and (memory.came_from != view.me or took_it_aloud(situation)) else 0.0
    return heard_at >= memory.attachment_since - before and not view.word.refused


def _has_settled(situation: Situation) -> bool:
    """R6: the address has had time enough to answer.

    An attachment that is older than this observer has had that time already.  If nobody was reached since the last
    move, another move would most likely not help either; one is tried.
    """
    memory, view, settings = situation.memory, situation.view, situation.settings
    unseen_for = view.now - max(memory.attachment_since, view.word.since)
    if not was_reached(situation):
        return unseen_for >= settings.settle and is_untried(situation)
    if view.now - memory.moved_at < settings.settle:
        return False
    since_wall = situation.attachment.since_wall
    age = -inf if since_wall is None else view.wall - since_wall
    return age >= settings.settle or unseen_for >= settings.settle
