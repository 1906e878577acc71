"""
What one observer knows of a floating address at a moment, and what it remembers from one decision to the next.

Pure.  remember.py folds each new view into the memory, decide.py decides by both.  The rules R1 to R14 and A1 to A5 are
those of docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core import timing
from floatingip.core.decision.decision import Rule
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Target
from floatingip.core.peer import Peer, Word
from floatingip.core.plumbing import PlumbingReport
from floatingip.core.probe import Served
from floatingip.core.writes import Token, Write


@dataclass(frozen=True, slots=True)
class View:
    """What an observer knows at one moment."""

    now: float
    wall: float
    """The same moment in Unix seconds."""

    target: Target
    """What the user reserved, and this observer keeps on a live node."""

    me: str
    """This node's instance."""

    name: str
    """Whose ENIs are ours, empty while that is unknown."""

    owner: Owner | None
    """What EC2 said last of who has the address, None before its first answer."""

    health: Health
    """Whether the address answers this node's probes."""

    word: Word
    """What the holder's observer says of itself."""

    peers: tuple[Peer, ...] = ()
    """All other observers: this node's own is not among them, the holder's may be."""

    plumbing: PlumbingReport | None = None
    """What this node's kernel has of the address, None before anybody looked."""

    obstacle: str = ""
    """Why this node could not carry the address: another zone, no subnet, no room; empty where it could."""

    leaving: str = ""
    """Why this node is about to end, empty while it is not."""

    services: Mapping[int, Health] = field(default_factory=dict)
    """Whether the checked NodePorts answer at the address, by port."""

    served: Served = field(default_factory=dict)
    """On which nodes NodePorts answered lately, asked from here."""

    groups: tuple[str, ...] = ()
    """The security groups that the address' ENI should have; none where it keeps those that it has."""

    burden: int = 0
    """How many other floating addresses this node has, or is about to have."""

    writing: bool = False
    """A write to EC2 is under way; upkeep (`is_upkeep`) does not count here, nor in what follows of writes."""

    wrote_at: float = float("-inf")
    """When the last write of this node ended."""

    accepted: Write | None = None
    """The last write, if EC2 accepted it."""

    tending: bool = False
    """Upkeep is under way."""

    tended_at: float = float("-inf")
    """When the last upkeep of this node ended."""

    tended: Write | None = None
    """The last upkeep, if EC2 accepted it."""

    retry_at: Mapping[type[Write], float] = field(default_factory=dict)
    """Before this time no write of that kind, also of upkeep, is made, since the last one failed."""

    taken_at: float = float("-inf")
    """When EC2 last refused a claim because something has the address."""

    taken: str = ""
    """What EC2 said then."""

    mixed: str = ""
    """Interfaces of ours that belong to the other way to carry, empty where there are none."""

    witness_at: float | None = None
    """When the Kubernetes API server was asked the last question that it answered, None if it never answered."""

    ready_at: float | None = None
    """The same for the last answer, if that calls this observer's pod Ready; None if it does not."""

    told_at: float = float("-inf")
    """When the last answers were asked for by which this node is to end, or is not: the older one, of Kubernetes' and
    AWS'."""

    unshown: str = ""
    """The attachment by which EC2 showed the address here last, where it now shows neither anybody who has it nor that
    ENI; otherwise empty."""

    informed_at: float = float("-inf")
    """When EC2 answered this observer for the first time."""

    # With `carry: address` only.

    neighbours: frozenset[str] = frozenset()
    """The other instances to which EC2 last showed standing ENIs attached: they may have observers."""

    mine: Eni | None = None
    """This node's standing ENI, once it is attached."""

    records: Mapping[str, str] = field(default_factory=dict)
    """The ration's tags for the target on the standing ENIs, by ENI."""

    carried_since: float | None = None
    """Since when the address has been on this node's link, None while it is not."""

    shown_by_imds: bool | None = None
    """Whether IMDS shows the address on this node, None while IMDS has not said."""

    lost_by_imds_at: float | None = None
    """The time for which IMDS says for sure that the address was no longer here, None while it does not."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next; None and infinities stand for what has not happened.

    A time is either when this observer noticed something, or, where that is said, when EC2 was asked the question whose
    answer showed it: an answer says nothing of what happened after its question.
    """

    # EC2's answers.

    asked_at: float = float("-inf")
    """When the last question was asked that EC2 has answered."""

    answered_at: float = float("-inf")
    """When that answer came."""

    situation: tuple[object, ...] = ()
    """All of the last view but its times (remember.py)."""

    changed_at: float = float("-inf")
    """Since when that has been the same: the longer, the less often EC2 is asked (pace.py)."""

    # The attachment that is judged.

    attachment_id: str = ""
    attachment_since: float = float("inf")
    """Since when EC2 has shown this attachment to this observer."""

    attached_at: float | None = None
    """When the question was asked whose answer first showed it as attached."""

    moved_at: float = float("-inf")
    """When this observer last saw the address change its holder; what it found at its start was no change."""

    moves_since_up: int | None = None
    """How many such changes it has seen since it last saw the address UP; None if it never did."""

    moves_since_seen: int | None = None
    """The same for when another observer last told that it sees it UP, as where this node has it."""

    moves_shown: str = ""
    """The moves that EC2 last showed recorded (ration.py)."""

    moves_grew_at: float = float("-inf")
    """When this observer last saw one recorded that was not before."""

    last_holder: str = ""
    """The instance that EC2 showed last as the holder, kept while nobody has the address."""

    came_from: str = ""
    """The instance that it had been at, as far as this observer saw that, before it came to the present holder."""

    dead_answers: int = 0
    """How many answers in a row say that the holder's instance has ended, or is about to (R2)."""

    detaching_since: float | None = None
    """Since when EC2 has shown the attachment being detached (R13)."""

    unvouched_since: float | None = None
    """Since when the address has been down without the holder vouching for it, though that was heard, or is known to
    have no observer (R4).
    """

    vouched_at: float | None = None
    """When the holder last vouched for the address while that was down; kept until that is UP again."""

    due_since: float | None = None
    """Since when a takeover has been due, and only those who come first keep this node from it."""

    ahead: tuple[str, ...] = ()
    """Those who came first at some moment since then: one that was restarted meanwhile does not know of its claim."""

    rival_since: float | None = None
    """Since when another observer has said that the address is its own, though EC2 shows it elsewhere (A1)."""

    # Evidence after the first lost probe: when the first answers came to questions asked since then.  Of whoever has
    # fallen silent meanwhile there is none.

    evidence_at: float | None = None
    """EC2's."""

    heard_at: float | None = None
    """Another observer's."""

    witnessed_at: float | None = None
    """The Kubernetes API server's."""

    accompanied_at: float = float("-inf")
    """When another observer than the holder's last answered, though its instance may have ended since."""

    seen_at: float = float("-inf")
    """When another observer, heard while the address did not answer this one, last saw it UP under this attachment."""

    reached_wall: float | None = None
    """When this node last reached anybody, the address or another observer, in Unix seconds (R6)."""

    unready_at: float = float("-inf")
    """When it was last not known that the API server calls this observer's pod Ready (R5)."""

    passing_since: Mapping[int, float] = field(default_factory=dict)
    """Since when this node's own check of each NodePort on itself has passed."""

    refuted: frozenset[int] = frozenset()
    """NodePorts that do not answer on this node by what others found, though its own check passes (R7)."""

    # Nobody has the address.

    free_since: float | None = None
    """Since when this node could have claimed it: from then on it waits for those who come first (R1)."""

    nobody_since: float | None = None
    """When the question was asked whose answer was the first of those in a row that show no ENI with the address."""

    eni_id: str = ""
    """The ENI that EC2 showed with the address last."""

    untagged_since: float | None = None
    """When the question was asked whose answer was the first of those in a row that show the address on an ENI without
    any tag, where the answer before them showed nobody or another ENI, or there was none: it may be new."""

    taken_since: float | None = None
    """Since when EC2 has refused all claims although it shows no ENI with the address."""

    token: Token = field(default_factory=Token)
    """By what client token the address' ENI is created."""

    # Whether the address is here, or elsewhere, by questions to EC2 (R10).

    away_since: float | None = None
    """When the first question of those in a row was asked whose answers show another owner."""

    here_since: float | None = None
    """The same for answers that show the address here."""

    foreign_since: float | None = None
    """The same for answers by which the ENI is not ours."""

    claimed_at: float | None = None
    """When EC2 accepted this node's own claim of what it carries."""

    dropped_at: float | None = None
    """When this node last decided to take the address off its link."""

    # This node's link.

    link_seen: bool = False
    """The ENI's link was on this node when it was last looked at."""

    link_lost_at: float | None = None
    """When it was first seen to be gone, None while it is there or never was."""

    unsound_here: str = ""
    """Why this node did not carry the address when it held it last, empty where it did, or that was long ago."""

    unsound_at: float = float("-inf")
    """When that was last so."""

    gave_up: bool = False
    """This node has just detached the ENI from itself, since its device did not come (R14)."""

    # What this node has written.

    last_write: Write | None = None
    last_write_at: float = float("-inf")
    """When it was decided."""

    fenced: str = ""
    """The attachment that this node has fenced, and after which it claims the address; empty for none."""

    fenced_rule: Rule = Rule.R1
    """The rule by which it did."""

    unrecorded: str = ""
    """An attachment that this node moved the address away from, until that is in the ration's tag; empty for none."""

    unrecorded_since: float = float("-inf")
    """From when on (Unix seconds) a record of that attachment is of this move."""

    unrecorded_at: float = float("-inf")
    """The same by the clock that never jumps."""


def unrecorded_since(memory: Memory, view: View) -> float:
    """From when on (Unix seconds) a record of what is not recorded yet is of that move, though the wall clock may have
    jumped since.
    """
    return min(memory.unrecorded_since, view.wall - (view.now - memory.unrecorded_at))


def is_lost(view: View) -> bool:
    """R10: IMDS says for sure that this node has lost the address, and EC2 has not been asked and answered since."""
    lost_at, owner = view.lost_by_imds_at, view.owner
    return lost_at is not None and (owner is None or lost_at > owner.asked_at)


def attachment_of(owner: Owner) -> Attachment | None:
    """The attachment by which the address is held; None where no ENI has it, or its ENI is attached to nobody."""
    if owner.eni is None or owner.eni.attachment is None:
        return None
    attachment = owner.eni.attachment
    return None if attachment.status is AttachmentStatus.DETACHED else attachment


def has_just_begun(informed_at: float, now: float) -> bool:
    """Whether an observer has known of others, by EC2, for so short that it tells nothing not to have heard of them."""
    return now - informed_at < timing.PEER_EXISTS


def unmet(view: View, judged: str) -> frozenset[str]:
    """The neighbours, but for the judged holder, of which this observer has not heard yet."""
    if not has_just_begun(view.informed_at, view.now):
        return frozenset()
    return view.neighbours - {judged} - {peer.instance_id for peer in view.peers}


def is_down(health: Health) -> bool:
    """The address fell, or has never answered under this attachment, and the last probe was lost too."""
    return health.state is HealthState.DOWN and health.in_doubt


def doubted_since(memory: Memory, view: View) -> float | None:
    """Since when the holder is in doubt: from the first lost probe on; None while none is lost.

    Whatever was lost before the holder vouched for the address told nothing: from then on its silence is the doubt.
    """
    lost_at, vouched_at = view.health.first_lost_at, memory.vouched_at
    return lost_at if lost_at is None or vouched_at is None else max(lost_at, vouched_at)
