"""
Whether this node may be the one that is cut off, and not the holder.

Before a holder that does not answer is convicted, all of this must have happened since the doubt began: EC2 has
answered, somebody else in the VPC has answered, and none of the other observers sees the address UP.  The doubt begins
with the first lost probe, and anew whenever the holder vouches for the address after that.  A witness that has fallen
silent since no longer counts.  The holder's silence counts only once the holder was asked again after the first answer
of a witness: until then this node may have been the one that was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from math import inf

from floatingip.core import timing
from floatingip.core.decision.carry import Way
from floatingip.core.decision.decision import Rule
from floatingip.core.decision.situation import Situation
from floatingip.core.decision.view import Memory, View, doubted_since, unmet
from floatingip.core.ec2 import Eni, Owner, moment
from floatingip.core.model import Target
from floatingip.core.peer import Peer

REACHED_TAG = "floatingip/reached"
"""The tag in which observers write when one of them saw the address UP, in Unix seconds.  It tells observers that have
just started that workers reach each other at all, and that the address did answer where it is.  It is written again
only when there was a move since."""


def reached_by_tag(eni: Eni, way: Way, target: Target) -> float:
    """When an observer last wrote to this ENI that one of them saw the address UP, in Unix seconds; minus infinity for
    never.
    """
    return moment(eni.tags, way.of_one(REACHED_TAG, target))


def answered_by_tag(situation: Situation) -> bool:
    """The tag tells that the address has answered under this attachment."""
    came_at = situation.came_at
    return came_at is not None and _reached_at(situation) > max(came_at, situation.last_move)


def was_reached(situation: Situation) -> bool:
    """Somebody was reached since the last move, or ever if there was none: by another observer, as the tag tells, or by
    this one.

    The clock by which the move was recorded may be fast: an observer that saw the address move goes by its own clock.
    """
    memory, view, recorded_at = situation.memory, situation.view, situation.last_move
    seen_at = inf if memory.moved_at == -inf else view.wall - (view.now - memory.moved_at)
    reached_at = -inf if memory.reached_wall is None else memory.reached_wall
    # A successor may have been heard only right before it had the address.  Where it was this node that lost it, that
    # tells nothing, unless the successor was heard to take it: it may have done so as the two did not hear each other.
    before = 0.0 if memory.came_from == view.me and not took_it_aloud(situation) else timing.PEER_HEARD
    return _reached_at(situation) > recorded_at or reached_at + before > min(recorded_at, seen_at)


def took_it_aloud(situation: Situation) -> bool:
    """Whether the last that was heard of the holder's observer is that it takes the address, or has it."""
    peer = next((peer for peer in situation.view.peers if peer.instance_id == situation.who), None)
    target = str(situation.view.target)
    return peer is not None and (target in peer.claiming or target in peer.holds)


def is_untried(situation: Situation) -> bool:
    """Though nobody was reached, one more move may help: there was no move yet; or this observer saw none, and none by
    R6 was recorded since somebody was last reached.  The new holder may have died while nobody was there to see that.
    """
    if situation.last_move == -inf:
        return True
    began_since = situation.memory.moved_at == -inf
    return began_since and not situation.was_moved_by(Rule.R6, _reached_at(situation))


def should_answer(situation: Situation) -> bool:
    """Whether the address is expected to answer at its present holder.

    It is if it has answered there; if the holder has vouched for it; or if it answered at the holder before, was moved
    only once since, and has had time enough to answer, while the present holder is heard.  Otherwise it may not be
    there yet, or may be reachable nowhere.

    The tag also tells of answers to another observer, or to this one before it was restarted; together with the
    recorded moves it tells where the address answered.
    """
    memory, view = situation.memory, situation.view
    if view.health.ever_up or memory.vouched_at is not None:
        return True
    held_for, settle = view.now - memory.moved_at, situation.settings.settle
    # An observer that only others told of the answer may be on the node where the address stopped answering: it lets
    # those go first that have seen it answer themselves.
    seen = memory.moves_since_up == 1 and held_for >= settle
    told = memory.moves_since_seen == 1 and held_for >= settle + timing.PEER_EXISTS
    if (seen or told) and not situation.is_silent:
        return True
    seen_at, reached_at = view.wall - (view.now - memory.moved_at), _reached_at(situation)
    if answered_by_tag(situation) and reached_at > seen_at:
        return True
    # The observers that saw it answer elsewhere may have been restarted since; tags remain.  Those of standing ENIs do
    # not move along with the address, so all of them are looked at.
    reached_at = max(reached_at, view.reached_by_tags)
    is_old = view.now - memory.attachment_since >= settle + timing.PEER_EXISTS and not situation.is_silent
    # A move by R4 tells so, too, where the address fell before a tag told that it answered.
    has_answered = reached_at > -inf or situation.was_moved_by(Rule.R4, -inf)
    return is_old and has_answered and situation.moves_since(reached_at) <= 1


def _reached_at(situation: Situation) -> float:
    return reached_by_tag(situation.eni, situation.way, situation.view.target)


def gap_in_evidence(situation: Situation) -> str:
    """Why this node's own network may be at fault, in words; empty if the evidence rules that out."""
    memory, view, owner = situation.memory, situation.view, situation.owner
    if needs_answer(memory, view, owner):
        return "EC2 has not answered since the doubt began"
    if _came_before_the_next_probe(memory.evidence_at, view):
        return "no probe was lost since EC2 answered"
    doubted_at = _doubted_at(memory, view)
    others = [
        peer
        for peer in view.peers
        if peer.instance_id != situation.who and doubted_at - peer.heard_at <= timing.PEER_EXISTS
    ]
    up = situation.way.of_one(situation.attachment.id, view.target)
    answering = witnesses(others, doubted_at, {up, str(view.target)}, view.now)
    seeing = [peer.instance_id for peer in answering if up in peer.sees_up]
    if seeing:
        return f"{seeing[0]} sees the address UP"
    if answering and _came_before_the_next_probe(memory.heard_at, view):
        return "no probe was lost since another observer answered"
    # An observer that has ended since counts too: it is no peer any more that could be seen to be silent like the rest.
    were_others = doubted_at - memory.accompanied_at <= timing.PEER_EXISTS
    are_others = were_others or bool(unmet(view, judged=situation.who))
    if not answering and (gap := _gap_in_witnesses(memory, view, doubted_at, are_others=are_others)):
        return gap
    if situation.is_silent and _is_from_before(view.word.asked_at, witnessed_since(memory)):
        return f"{situation.who} was not asked since others answer"
    return ""


def witnessed_since(memory: Memory) -> float | None:
    """Since when this node is known not to be cut off: since the first answer of another observer, without one of the
    API server, without that of EC2; None while none of them has answered since the doubt began.
    """
    found = (memory.heard_at, memory.witnessed_at, memory.evidence_at)
    return next((at for at in found if at is not None), None)


def _came_before_the_next_probe(first_at: float | None, view: View) -> bool:
    """Whether no probe has been lost since the first answer came."""
    return _is_from_before(view.health.last_lost_at, first_at)


def _is_from_before(lost_at: float | None, first_at: float | None) -> bool:
    """Whether what was lost last, a probe or a question, was sent before the first answer came.

    When a partition ends, a witness may answer before the next probe or the holder does, which would convict a holder
    that is well.
    """
    return lost_at is not None and first_at is not None and lost_at < first_at


def _gap_in_witnesses(memory: Memory, view: View, doubted_at: float, *, are_others: bool) -> str:
    """What is missing where no other observer has answered since the doubt began; the API server may be the witness.

    ``are_others``: other observers are known, or may be there though this one has not heard of them yet.
    """
    witnessed = is_witness(view, doubted_at)
    if witnessed and _came_before_the_next_probe(memory.witnessed_at, view):
        return "no probe was lost since the API server answered"
    if witnessed and not are_others:
        return ""
    expected = view.witness_at is not None and doubted_at - view.witness_at <= timing.WITNESS_EXISTS
    alone = witnessed or not (are_others or expected)
    # Count only up to the last lost probe: since then all may be well again.
    silent_until = view.now if view.health.last_lost_at is None else view.health.last_lost_at
    silent_since = max(doubted_at, memory.seen_at)
    if silent_until - silent_since >= (timing.ALONE_FOR if alone else timing.CUT_OFF_FOR):
        return ""
    if are_others:
        return "no other observer has answered since the doubt began"
    if expected:
        return "the API server has not answered since the doubt began"
    return "there is nobody else in the VPC that could be asked"


def witnesses(others: Iterable[Peer], since: float, about: Set[str], now: float) -> list[Peer]:
    """The observers that have answered a question asked since ``since``, not too long ago, and can tell whether the
    address is UP.  One that was just restarted cannot: it has yet to see again what it saw before, and says so by
    naming what it is unsure of.  ``about`` are the names by which it may do that: the sighting and the target.
    """
    return [
        peer
        for peer in others
        if peer.asked_at >= since and now - peer.heard_at <= timing.PEER_HEARD and about.isdisjoint(peer.unsure)
    ]


def is_witness(view: View, since: float) -> bool:
    """The API server has answered a question asked since ``since``, and not too long ago."""
    asked_at = view.witness_at
    return asked_at is not None and asked_at >= since and view.now - asked_at <= timing.WITNESS_HEARD


def needs_answer(memory: Memory, view: View, owner: Owner) -> bool:
    """EC2's last answer is too old to show that this node's own network is sound."""
    return owner.asked_at < _doubted_at(memory, view)


def _doubted_at(memory: Memory, view: View) -> float:
    """An answer counts as evidence only if its question was asked at this time or later."""
    since = doubted_since(memory, view)
    return view.now - timing.ANSWER_KEPT if since is None else since
