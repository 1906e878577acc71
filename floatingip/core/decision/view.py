"""
What one observer knows of a floating address at a moment, and what it remembers from one decision to the next.

Pure.  ``remember`` folds what is new in a :class:`View` into the :class:`Memory`; what follows from both is for
decide.py.  The rules R1 to R14 and A1 to A5 are those of docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from floatingip.core.decision import ration, timing
from floatingip.core.decision.decision import Rule
from floatingip.core.health import Health
from floatingip.core.model import (
    OWNER_TAG,
    Attachment,
    AttachmentStatus,
    Carry,
    Eni,
    Owner,
    Peer,
    PlumbingReport,
    PlumbingState,
    Served,
    Target,
    Word,
)
from floatingip.core.writes import Assign, AssignAny, Associate, Create, Token, Write


@dataclass(frozen=True, slots=True)
class View:
    """What an observer knows at one moment.

    ``target`` is what is kept; ``groups`` are the security groups that its ENI should have; ``burden`` is how many
    other floating addresses this node has or is about to have; ``peers`` are all other observers but for this node's;
    ``obstacle`` says why this node could not carry the address at all (another zone, no subnet, full), or nothing;
    ``leaving`` why this node is about to end, or nothing; ``services`` is the health of the checked NodePorts at the
    address, and ``served`` where else this node asked for them lately;
    ``wrote_at`` is when the last own EC2 write ended and ``writing`` that one is under way; ``accepted`` is the last
    one if EC2 accepted it; before ``retry_at`` no write of that kind is made, since the last such one failed;
    ``taken_at`` is when EC2 last refused a claim since something has the address, and ``taken`` what it said; ``mixed``
    names interfaces of ours that belong to the other way to carry, or nothing; ``witness_at`` is when the last question
    was asked that the Kubernetes API server answered, None when it never answered one; ``ready_at`` is the
    same where the answer, and none since, calls this observer's pod Ready.

    With ``carry: address``: ``mine`` is this node's standing ENI, once it is attached; ``records`` are the ration's
    tags for the target, by ENI; ``carried_since`` is since when the address has been on this node's link, None while
    it is not; ``shown_by_imds`` is whether IMDS shows it there, None while that is not known, and ``lost_by_imds_at``
    of when IMDS says that it was not there any more.
    """

    now: float
    wall: float
    target: Target
    me: str
    name: str
    owner: Owner | None
    health: Health
    word: Word
    peers: tuple[Peer, ...] = ()
    plumbing: PlumbingReport | None = None
    obstacle: str = ""
    leaving: str = ""
    services: Mapping[int, Health] = field(default_factory=dict)
    served: Served = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    burden: int = 0
    writing: bool = False
    wrote_at: float = float("-inf")
    accepted: Write | None = None
    retry_at: Mapping[type[Write], float] = field(default_factory=dict)
    taken_at: float = float("-inf")
    taken: str = ""
    mixed: str = ""
    witness_at: float | None = None
    ready_at: float | None = None
    mine: Eni | None = None
    records: Mapping[str, str] = field(default_factory=dict)
    carried_since: float | None = None
    shown_by_imds: bool | None = None
    lost_by_imds_at: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next; None and infinities stand for what has not happened.

    ``situation`` is all of the last view but its times, and ``changed_at`` is since when it has been the same;
    ``attached_at`` is when EC2 was asked that first showed the present attachment as attached, ``nobody_since`` the
    same of the answers in a row that show nobody, and ``taken_since`` since when EC2 has refused all claims
    nevertheless; ``gave_up``: this node has just detached the ENI from itself, since the device did not come;
    ``unsound_here`` is why this node did not carry the address when it held it last, or nothing.

    ``unready_at`` is when the Kubernetes API server last had not called this observer's pod Ready lately (R5).

    ``here_since`` is when the first of the answers in a row was asked for that show the address here, ``claimed_at``
    when EC2 accepted this node's claim of what it carries, and ``dropped_at`` when it let go of it last (R10).
    """

    situation: tuple[object, ...] = ()
    changed_at: float = float("-inf")
    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    evidence_at: float | None = None
    attachment_id: str = ""
    attachment_since: float = float("inf")
    attached_at: float | None = None
    moved_at: float = float("-inf")
    last_holder: str = ""
    dead_answers: int = 0
    away_since: float | None = None
    here_since: float | None = None
    claimed_at: float | None = None
    dropped_at: float | None = None
    foreign_since: float | None = None
    unvouched_since: float | None = None
    unready_at: float = float("-inf")
    due_since: float | None = None
    rival_since: float | None = None
    detaching_since: float | None = None
    free_since: float | None = None
    nobody_since: float | None = None
    taken_since: float | None = None
    gave_up: bool = False
    link_lost_at: float | None = None
    link_seen: bool = False
    unsound_here: str = ""
    fenced: str = ""
    fenced_rule: Rule = Rule.R1
    unrecorded: str = ""
    token: Token = field(default_factory=Token)
    reached_wall: float | None = None
    last_write: Write | None = None
    last_write_at: float = float("-inf")


def attachment_of(owner: Owner) -> Attachment | None:
    """The attachment that is judged; None when nobody owns the address, or its ENI is free."""
    if owner.eni is None or owner.eni.attachment is None:
        return None
    attachment = owner.eni.attachment
    return None if attachment.status is AttachmentStatus.DETACHED else attachment


def is_down(health: Health) -> bool:
    """The address answered under this attachment, then fell, and the last probe was lost too."""
    return health.fell and health.in_doubt


def sighting(attachment_id: str, target: Target, carry: Carry) -> str:
    """What an observer calls what it sees UP: the attachment, and of those that may have several addresses also
    which.
    """
    return attachment_id if carry is Carry.ENI else f"{attachment_id}/{target}"


def moves(view: View, carry: Carry, eni: Eni) -> str:
    """The ration's tag: on the ENI that moves, or together those on the standing ENIs."""
    return eni.tags.get(ration.TAG, "") if carry is Carry.ENI else ration.merged(view.records.values())


def _with(memory: Memory, **changes: object) -> Memory:
    """The memory with these changes: the same one where nothing changes, as mostly."""
    if all(getattr(memory, name) == value for name, value in changes.items()):
        return memory
    return replace(memory, **changes)  # type: ignore[arg-type]  # the callers name fields of Memory


def remember(memory: Memory, view: View, carry: Carry) -> Memory:
    """Fold in what is new: an answer of EC2 counts once, and the node's own link is followed."""
    memory = _remember_link(memory, view)
    memory = _remember_vouching(memory, view)
    memory = _remember_readiness(memory, view)
    memory = _remember_reaching(memory, view)
    memory = _with(memory, token=memory.token.accepted(view.accepted, view.wrote_at))
    if isinstance(view.accepted, Assign | Associate) and (
        memory.dropped_at is None or view.wrote_at > memory.dropped_at
    ):
        memory = _with(memory, claimed_at=view.wrote_at, dropped_at=None)
    owner = view.owner
    if owner is not None and owner.asked_at > memory.asked_at:
        memory = _remember_answer(memory, view, owner, carry)
    memory = _remember_refusals(memory, view)
    situation = _situation(memory, view)
    if situation != memory.situation:
        memory = replace(memory, situation=situation, changed_at=view.now)
    return _remember_evidence(memory, view)


def _situation(memory: Memory, view: View) -> tuple[object, ...]:
    """What is to be judged, without its times: while this is the same, asking EC2 again and again shows nothing new."""
    eni = view.owner.eni if view.owner is not None else None
    health, report = view.health, view.plumbing
    return (
        view.owner is None,
        eni,
        # Not every answer describes the holder's instance: that it does not is no news.
        memory.dead_answers > 0,
        # While nobody has the address, or it does not answer, that its services do not is no news.
        (health.state, health.in_doubt) if health.attachment_id else None,
        tuple(
            (port, service.state, service.in_doubt)
            for port, service in sorted(view.services.items())
            if not health.in_doubt
        ),
        (view.word.state, view.word.sight, view.word.detail),
        (report.state, report.extent, report.problem) if report is not None else None,
        (view.obstacle, view.leaving, view.mixed, view.name, view.groups),
        (view.mine, tuple(sorted(view.records.items()))),
        (view.shown_by_imds, view.lost_by_imds_at is None),
    )


def _remember_refusals(memory: Memory, view: View) -> Memory:
    """Since when no answer of EC2 has shown an owner, and since when it has refused the address nevertheless."""
    owner = view.owner
    if owner is None:
        return memory
    if owner.eni is not None:
        return _with(memory, nobody_since=None, taken_since=None)
    nobody_since = owner.asked_at if memory.nobody_since is None else memory.nobody_since
    taken_since = memory.taken_since
    if isinstance(view.accepted, Create | Assign | AssignAny | Associate):
        taken_since = None
    elif taken_since is None and view.taken_at >= nobody_since:
        taken_since = view.taken_at
    return _with(memory, nobody_since=nobody_since, taken_since=taken_since)


def _remember_evidence(memory: Memory, view: View) -> Memory:
    """When the first answer came that was asked for after the first lost probe, known or not."""
    lost_at = view.health.first_lost_at
    if lost_at is None:
        return _with(memory, evidence_at=None)
    if memory.evidence_at is None and memory.asked_at >= lost_at:
        return _with(memory, evidence_at=memory.answered_at)
    return memory


def _remember_answer(memory: Memory, view: View, owner: Owner, carry: Carry) -> Memory:
    memory = _with(memory, asked_at=owner.asked_at, answered_at=view.now)
    memory = _remember_tags(memory, view, owner, carry)
    token = memory.token
    memory = _with(memory, token=token.shown(owner.asked_at) if owner.eni is not None else token.lacked(owner.asked_at))
    attachment = attachment_of(owner)
    here = attachment is not None and attachment.instance_id == view.me
    away = attachment is not None if carry is Carry.ENI else True
    if here or not away:
        memory = _with(memory, away_since=None)
    elif memory.away_since is None:
        memory = _with(memory, away_since=owner.asked_at)
    since, dropped_at = memory.here_since, memory.dropped_at
    if not here:
        memory = _with(memory, here_since=None)
    elif since is None or (dropped_at is not None and since <= dropped_at):
        memory = _with(memory, here_since=owner.asked_at)
    if attachment is None:
        is_free = owner.eni is not None or carry is Carry.ADDRESS
        free_since = view.now if memory.free_since is None and is_free else memory.free_since
        return _with(
            memory, attachment_id="", attached_at=None, dead_answers=0, detaching_since=None, free_since=free_since
        )
    memory = _with(memory, free_since=None)
    if attachment.id != memory.attachment_id:
        memory = _with(
            memory,
            attachment_id=attachment.id,
            attachment_since=view.now,
            attached_at=None,
            gave_up=False,
            # Whoever has it when an observer begins to look may have had it for long.
            moved_at=view.now if memory.last_holder else memory.moved_at,
            last_holder=attachment.instance_id,
            dead_answers=0,
            due_since=None,
            detaching_since=None,
            link_lost_at=None,
            fenced=memory.fenced if attachment.id == memory.fenced else "",
            unrecorded=memory.unrecorded if here else "",
            unsound_here="" if here else memory.unsound_here,
        )
    if attachment.status is not AttachmentStatus.ATTACHED:
        memory = _with(memory, attached_at=None)
    elif memory.attached_at is None:
        memory = _with(memory, attached_at=owner.asked_at)
    if attachment.status is AttachmentStatus.DETACHING:
        since = view.now if memory.detaching_since is None else memory.detaching_since
        memory = _with(memory, detaching_since=since)
    else:
        memory = _with(memory, detaching_since=None)
    holder = owner.instances.get(attachment.instance_id)
    if holder is not None:
        memory = _with(memory, dead_answers=memory.dead_answers + 1 if holder.state.announces_death else 0)
    return memory


def _remember_reaching(memory: Memory, view: View) -> Memory:
    """When this node last reached anybody at all: the address, or another observer."""
    answers = view.health.ever_up and not view.health.in_doubt
    heard = any(view.now - peer.heard_at <= timing.PEER_HEARD for peer in view.peers)
    return _with(memory, reached_wall=view.wall) if answers or heard else memory


def _remember_vouching(memory: Memory, view: View) -> Memory:
    """Since when the address has been down without the holder's vouching for it (R4)."""
    if view.word.vouches or not is_down(view.health):
        return _with(memory, unvouched_since=None)
    return memory if memory.unvouched_since is not None else _with(memory, unvouched_since=view.now)


def _remember_readiness(memory: Memory, view: View) -> Memory:
    """Until when Kubernetes was not known to call this observer Ready (R5)."""
    is_ready = view.ready_at is not None and view.now - view.ready_at <= timing.READY_KNOWN
    return memory if is_ready else _with(memory, unready_at=view.now)


def _remember_tags(memory: Memory, view: View, owner: Owner, carry: Carry) -> Memory:
    """Since when the ENI has been somebody else's, and whether the last takeover is in the ration's tag."""
    if owner.eni is None:
        return memory
    foreign_since = memory.foreign_since if memory.foreign_since is not None else owner.asked_at
    recorded = ration.recorded(moves(view, carry, owner.eni), memory.unrecorded)
    return _with(
        memory,
        foreign_since=foreign_since if view.name and owner.eni.tags.get(OWNER_TAG) != view.name else None,
        unrecorded="" if recorded else memory.unrecorded,
    )


def _remember_link(memory: Memory, view: View) -> Memory:
    report = view.plumbing
    if report is None:
        return memory
    if report.state is PlumbingState.NO_LINK:
        lost_at = view.now if memory.link_seen else memory.link_lost_at
        return _with(memory, link_seen=False, link_lost_at=lost_at)
    here = view.owner is not None and (a := attachment_of(view.owner)) is not None and a.instance_id == view.me
    unsound = memory.unsound_here
    if here:
        unsound = (report.problem or "unsound") if report.state is PlumbingState.UNSOUND else ""
    return _with(memory, link_seen=True, link_lost_at=None, unsound_here=unsound)
