"""
What one observer knows of a floating address at a moment, and what it remembers from one decision to the next.

Pure.  What is new is folded in by remember.py, and what follows from both is for decide.py.  The rules R1 to R14 and
A1 to A5 are those of docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core.decision.decision import Rule
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import Health
from floatingip.core.model import Target
from floatingip.core.peer import Peer, Word
from floatingip.core.plumbing import PlumbingReport
from floatingip.core.probe import Served
from floatingip.core.writes import Token, Write


@dataclass(frozen=True, slots=True)
class View:
    """What an observer knows at one moment.

    ``target`` is what is kept; ``groups`` are the security groups that its ENI should have; ``burden`` is how many
    other floating addresses this node has or is about to have; ``peers`` are all other observers but for this node's;
    ``obstacle`` says why this node could not carry the address at all (another zone, no subnet, full), and ``leaving``
    why this node is about to end: empty where it could, and is not; ``services`` is the health of the checked NodePorts
    at the address, and ``served`` where else this node asked for them lately; ``wrote_at`` is when the last own EC2
    write ended and ``writing`` that one is under way; ``accepted`` is the last one if EC2 accepted it; before
    ``retry_at`` no write of that kind is made, since the last such one failed; ``taken_at`` is when EC2 last refused a
    claim since something has the address, and ``taken`` what it said; ``mixed`` names interfaces of ours that belong to
    the other way to carry, empty for none; ``witness_at`` is when the last question was asked that the Kubernetes API
    server answered, None when it never answered one; ``ready_at`` is the same where the answer, and none since, calls
    this observer's pod Ready.

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

    ``evidence_at``, ``heard_at`` and ``witnessed_at`` are when EC2, another observer and the API server first answered
    a question that was asked since the first lost probe.

    ``situation`` is all of the last view but its times, and ``changed_at`` is since when it has been the same;
    ``attached_at`` is when EC2 was asked that first showed the present attachment as attached, ``nobody_since`` the
    same of the answers in a row that show nobody, and ``taken_since`` since when EC2 has refused all claims
    nevertheless; ``gave_up``: this node has just detached the ENI from itself, since the device did not come;
    ``unsound_here`` is why this node did not carry the address when it held it last, empty where it did.

    ``unready_at`` is when the Kubernetes API server last had not called this observer's pod Ready lately (R5).

    ``here_since`` is when the first of the answers in a row was asked for that show the address here, ``claimed_at``
    when EC2 accepted this node's claim of what it carries, and ``dropped_at`` when it let go of it last (R10).
    """

    situation: tuple[object, ...] = ()
    changed_at: float = float("-inf")
    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    evidence_at: float | None = None
    heard_at: float | None = None
    witnessed_at: float | None = None
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
