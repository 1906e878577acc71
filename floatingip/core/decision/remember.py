"""
Fold what is new in a :class:`View` into the :class:`Memory`.

Pure.  decide.py decides by both.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from floatingip.core import timing
from floatingip.core.decision import ration, served
from floatingip.core.decision.carry import Way
from floatingip.core.decision.evidence import is_witness, witnesses
from floatingip.core.decision.turns import rivals
from floatingip.core.decision.view import Memory, View, attachment_of, doubted_since, is_down, unrecorded_since
from floatingip.core.ec2 import OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import HealthState
from floatingip.core.peer import Peer, WordState
from floatingip.core.plumbing import PlumbingState
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign, AssignAny, Associate, Create


def _with(memory: Memory, **changes: object) -> Memory:
    """The memory with these changes; the same object if nothing changes, as is the case most of the time."""
    for name, value in changes.items():
        if getattr(memory, name) != value:
            return replace(memory, **changes)  # type: ignore[arg-type]  # the callers name fields of Memory
    return memory


def remember(memory: Memory, view: View, way: Way, settings: Settings) -> Memory:
    """The memory after this view; each answer of EC2 is folded in only once."""
    memory = _remember_link(memory, view)
    memory = _remember_readiness(memory, view)
    memory = _remember_reaching(memory, view)
    memory = _with(memory, token=memory.token.accepted(view.written.accepted, view.written.ended_at))
    if isinstance(view.written.accepted, Assign | Associate) and (
        memory.dropped_at is None or view.written.ended_at > memory.dropped_at
    ):
        memory = _with(memory, claimed_at=view.written.ended_at, dropped_at=None)
    owner = view.owner
    if owner is not None and owner.asked_at > memory.asked_at:
        memory = _remember_answer(memory, view, owner, way)
    memory = _remember_vouching(memory, view, way)
    memory = _remember_refusals(memory, view)
    memory = _with(memory, passing_since=served.passing_since(memory.passing_since, view))
    memory = _with(memory, refuted=served.refuted(memory, view, settings))
    situation = _situation(memory, view)
    if situation != memory.situation:
        memory = replace(memory, situation=situation, changed_at=view.now)
    return _remember_evidence(memory, view, way)


def _situation(memory: Memory, view: View) -> tuple[object, ...]:
    """What is judged, without its times: while this stays the same, EC2 is asked less and less often."""
    eni = view.owner.eni if view.owner is not None else None
    health, report = view.health, view.plumbing
    return (
        view.owner is None,
        eni,
        # Not every answer describes the holder's instance: a missing description is no news.
        memory.dead_answers > 0,
        # While nobody has the address, or it does not answer, its services do not answer either: that is no news.
        (health.state, health.in_doubt) if health.attachment_id else None,
        tuple(
            (port, service.state, service.in_doubt)
            for port, service in sorted(view.services.items())
            if not health.in_doubt
        ),
        (view.word.state, view.word.sight, view.word.detail),
        tuple(rivals(view, attachment_of(view.owner) if view.owner is not None else None)),
        (report.state, report.extent, report.problem) if report is not None else None,
        (view.obstacle, view.leaving, view.mixed, view.name, view.groups),
        (view.mine, tuple(sorted(view.records.items()))),
        (view.shown_by_imds, view.lost_until_asked_at is None),
    )


def _remember_refusals(memory: Memory, view: View) -> Memory:
    """Since when EC2's answers have shown no owner, and since when EC2 has refused claims nevertheless."""
    owner = view.owner
    if owner is None:
        return memory
    if owner.eni is not None:
        return _with(memory, nobody_since=None, taken_since=None)
    nobody_since = owner.asked_at if memory.nobody_since is None else memory.nobody_since
    taken_since = memory.taken_since
    if isinstance(view.written.accepted, Create | Assign | AssignAny | Associate):
        taken_since = None
    elif taken_since is None and view.taken_at >= nobody_since:
        taken_since = view.taken_at
    return _with(memory, nobody_since=nobody_since, taken_since=taken_since)


def _remember_evidence(memory: Memory, view: View, way: Way) -> Memory:
    """When the first answers came to questions that were asked since the holder is in doubt: from EC2, from another
    observer, from the API server.
    """
    memory = _with(memory, accompanied_at=max((memory.accompanied_at, *(peer.heard_at for peer in _others(view)))))
    since = doubted_since(memory, view)
    if since is None or (is_down(view.health) and view.word.vouches):
        return _with(memory, evidence_at=None, heard_at=None, witnessed_at=None)
    if memory.evidence_at is None and memory.asked_at >= since:
        memory = _with(memory, evidence_at=memory.answered_at)
    # A witness that has fallen silent begins anew when it answers again.
    about = {way.of_one(memory.attachment_id, view.target), str(view.target)}
    is_heard = bool(witnesses(_others(view), since, about, view.now))
    memory = _with(memory, heard_at=_since(memory.heard_at, view.now, so=is_heard))
    return _with(memory, witnessed_at=_since(memory.witnessed_at, view.now, so=is_witness(view, since)))


def _since(before: float | None, now: float, *, so: bool) -> float | None:
    """Since when something has been ``so``: since ``before``, or since now if it was not; None if it is not so now."""
    return (now if before is None else before) if so else None


def _others(view: View) -> list[Peer]:
    """The peers without the holder's observer."""
    attachment = attachment_of(view.owner) if view.owner is not None else None
    holder = attachment.instance_id if attachment is not None else ""
    return [peer for peer in view.peers if peer.instance_id != holder]


def _remember_answer(memory: Memory, view: View, owner: Owner, way: Way) -> Memory:
    """Remember what EC2's answer says of the ENI and its tags, of where the address is, and of the attachment."""
    memory = _with(memory, asked_at=owner.asked_at, answered_at=view.now)
    memory = _remember_tags(memory, view, owner, way)
    token = memory.token
    memory = _with(memory, token=token.shown(owner.asked_at) if owner.eni is not None else token.lacked(owner.asked_at))
    attachment = attachment_of(owner)
    memory = _remember_place(memory, view, owner, attachment)
    if attachment is None:
        return _remember_nobody(memory, view, owner, way)
    memory = _with(memory, free_since=None)
    if attachment.id != memory.attachment_id:
        memory = _begin_attachment(memory, view, attachment)
    memory = _remember_status(memory, view, owner, attachment)
    holder = owner.instances.get(attachment.instance_id)
    if holder is not None:
        memory = _with(memory, dead_answers=memory.dead_answers + 1 if holder.state.announces_death else 0)
    return memory


def _remember_place(memory: Memory, view: View, owner: Owner, attachment: Attachment | None) -> Memory:
    """Since when EC2 has shown the address on this node, and since when on another one."""
    here = attachment is not None and attachment.instance_id == view.me
    # While EC2 shows nobody with the address, the device or IMDS tells whether it is here (R10).
    if attachment is None or here:
        memory = _with(memory, away_since=None)
    elif memory.away_since is None:
        memory = _with(memory, away_since=owner.asked_at)
    since, dropped_at = memory.here_since, memory.dropped_at
    if not here:
        return _with(memory, here_since=None)
    if since is None or (dropped_at is not None and since <= dropped_at):
        return _with(memory, here_since=owner.asked_at)
    return memory


def _remember_nobody(memory: Memory, view: View, owner: Owner, way: Way) -> Memory:
    """EC2 shows the address attached to nobody: since when it is free for this node."""
    # A node begins to wait for those that come first only once it could claim itself: until then the others may lack
    # the same thing.
    can_claim = way.is_free(owner) and not view.obstacle
    free_since = (view.now if memory.free_since is None else memory.free_since) if can_claim else None
    return _with(
        memory, attachment_id="", attached_at=None, dead_answers=0, detaching_since=None, free_since=free_since
    )


def _begin_attachment(memory: Memory, view: View, attachment: Attachment) -> Memory:
    """EC2 shows another attachment than before: forget what was seen of the last one."""
    here = attachment.instance_id == view.me
    heard = _was_heard(memory.last_holder, view)
    return _with(
        memory,
        attachment_id=attachment.id,
        attachment_since=view.now,
        attached_at=None,
        gave_up=False,
        # The holder that an observer finds at its start may have had the address for long: that is no move.
        moved_at=view.now if memory.last_holder else memory.moved_at,
        moves_since_up=_one_more(memory.moves_since_up, heard=heard),
        moves_since_seen=_one_more(memory.moves_since_seen, heard=heard),
        last_holder=attachment.instance_id,
        came_from=memory.last_holder,
        dead_answers=0,
        due_since=None,
        ahead=(),
        unvouched_since=None,
        vouched_at=None,
        seen_at=-inf,
        detaching_since=None,
        link_lost_at=None,
        fenced=memory.fenced if attachment.id == memory.fenced else "",
        unrecorded=memory.unrecorded if here else "",
        unsound_here="" if here else memory.unsound_here,
    )


def _was_heard(holder: str, view: View) -> bool:
    """The holder that has just lost the address lives: it is this node, or its observer answers."""
    heard = (peer.instance_id for peer in view.peers if view.now - peer.heard_at <= timing.PEER_HEARD)
    return holder == view.me or holder in heard


def _one_more(moves: int | None, *, heard: bool) -> int | None:
    """So many changes of holder since the address answered, with one more; None while it never did.

    Where it did not answer, and its holder is silent, that one has died, most likely: so nobody knows whether it would
    have answered there, and that move was not in vain.
    """
    return moves + 1 if moves is not None and (heard or moves == 0) else moves


def _remember_status(memory: Memory, view: View, owner: Owner, attachment: Attachment) -> Memory:
    """Since when the attachment has been `attached` (only if the ENI is ours), or `detaching`."""
    status, attached_at, since = attachment.status, memory.attached_at, memory.detaching_since
    if status is not AttachmentStatus.ATTACHED or memory.foreign_since is not None:
        attached_at = None
    elif attached_at is None:
        attached_at = owner.asked_at
    is_detaching = status is AttachmentStatus.DETACHING
    return _with(memory, attached_at=attached_at, detaching_since=_since(since, view.now, so=is_detaching))


def _remember_reaching(memory: Memory, view: View) -> Memory:
    """When this node last reached anybody at all: the address, or another observer."""
    answers = view.health.ever_up and not view.health.in_doubt
    heard_at = max((peer.heard_at for peer in view.peers), default=-inf)
    reached_for = 0.0 if answers else view.now - heard_at
    return _with(memory, reached_wall=view.wall - reached_for) if reached_for <= timing.PEER_HEARD else memory


def _remember_vouching(memory: Memory, view: View, way: Way) -> Memory:
    """Since when the address has been down without its holder vouching for it, and when that last did (R3, R4, R6)."""
    if view.health.state is HealthState.UP:
        memory = _with(memory, moves_since_up=0)
    seen_at = _seen_by_others_at(view, way)
    if view.now - seen_at <= timing.PEER_HEARD:
        memory = _with(memory, moves_since_seen=0)
        if view.health.in_doubt:
            memory = _with(memory, seen_at=max(memory.seen_at, seen_at))
    if view.health.state is not HealthState.DOWN:
        return _with(memory, unvouched_since=None, vouched_at=None)
    if not view.health.in_doubt:
        # One answer is not enough to call it UP: the next loss is no new fall.
        return _with(memory, unvouched_since=None)
    if view.word.vouches:
        return _with(memory, unvouched_since=None, vouched_at=view.now)
    if view.word.state is WordState.SILENT and not view.word.refused:
        # This node may be the one that is cut off, and the holder may have vouched meanwhile.  But a question or two
        # may be lost, so a short silence changes nothing.
        is_quiet = view.now - view.word.since >= timing.QUIET_FOR
        return _with(memory, unvouched_since=None) if is_quiet else memory
    return memory if memory.unvouched_since is not None else _with(memory, unvouched_since=view.now)


def _seen_by_others_at(view: View, way: Way) -> float:
    """When another observer last told that it sees the address UP under its present attachment; minus infinity for
    never.  This counts also while this node is the holder, which does not probe.
    """
    attachment = attachment_of(view.owner) if view.owner is not None else None
    if attachment is None:
        return -inf
    up = way.of_one(attachment.id, view.target)
    return max((peer.heard_at for peer in view.peers if up in peer.sees_up), default=-inf)


def _remember_readiness(memory: Memory, view: View) -> Memory:
    """When this observer last did not know whether Kubernetes calls it Ready (R5)."""
    is_ready = view.ready_at is not None and view.now - view.ready_at <= timing.READY_KNOWN
    return memory if is_ready else _with(memory, unready_at=view.now)


def _remember_tags(memory: Memory, view: View, owner: Owner, way: Way) -> Memory:
    """What the ENI's tags tell: since when it has been somebody else's, since when it has had no tag though it may be
    new, which moves are recorded, and whether this node's last one is.
    """
    if owner.eni is None:
        return _with(memory, untagged_since=None)
    if owner.eni.tags:
        memory = _with(memory, untagged_since=None)
    elif memory.untagged_since is None and (
        memory.nobody_since is not None or (owner.eni.id != memory.eni_id and _may_be_new(owner.eni, view.wall))
    ):
        memory = _with(memory, untagged_since=owner.asked_at)
    foreign_since = memory.foreign_since if memory.foreign_since is not None else owner.asked_at
    recorded = way.recorded(view, owner.eni)
    is_recorded = ration.recorded(recorded, memory.unrecorded, unrecorded_since(memory, view))
    return _with(
        memory,
        eni_id=owner.eni.id,
        foreign_since=foreign_since if view.name and owner.eni.tags.get(OWNER_TAG) != view.name else None,
        moves_shown=recorded,
        moves_grew_at=view.now if ration.has_grown(memory.moves_shown, recorded) else memory.moves_grew_at,
        unrecorded="" if is_recorded else memory.unrecorded,
    )


def _may_be_new(eni: Eni, wall: float) -> bool:
    """Whether the ENI may be new: not if it has been attached for longer than EC2 takes to show tags."""
    since = eni.attachment.since_wall if eni.attachment is not None else None
    return since is None or wall - since < timing.TAGGED_WITHIN


def _remember_link(memory: Memory, view: View) -> Memory:
    report = view.plumbing
    if memory.unsound_here and view.now - memory.unsound_at >= timing.UNSOUND_KEPT:
        memory = _with(memory, unsound_here="")
    if report is None:
        return memory
    if report.state is PlumbingState.NO_LINK:
        lost_at = view.now if memory.link_seen else memory.link_lost_at
        return _with(memory, link_seen=False, link_lost_at=lost_at)
    here = view.owner is not None and (a := attachment_of(view.owner)) is not None and a.instance_id == view.me
    if here:
        is_unsound = report.state is PlumbingState.UNSOUND
        problem = (report.problem or "unsound") if is_unsound else ""
        memory = _with(memory, unsound_here=problem, unsound_at=view.now if is_unsound else memory.unsound_at)
    return _with(memory, link_seen=True, link_lost_at=None)
