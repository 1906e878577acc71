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
from floatingip.core.writes import Token, Write, Written


@dataclass(frozen=True, slots=True)
class View:
    """What an observer knows at one moment."""

    now: float
    """The time in seconds, by a clock that never jumps, as are all times that do not say otherwise."""

    wall: float
    """The same moment in Unix seconds."""

    target: Target
    """What the user reserved, and this observer keeps on a live node."""

    me: str
    """This node's instance."""

    name: str
    """The deployment's name, by which our ENIs are tagged; empty while it is unknown."""

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
    """On which nodes which NodePorts answered this node's last checks."""

    groups: tuple[str, ...] = ()
    """The security groups that the address' ENI should have; empty if it keeps those that it has."""

    burden: int = 0
    """How many other floating addresses this node has, or is about to have."""

    written: Written = field(default_factory=Written)
    """What this node has written for the address, but for upkeep."""

    tended: Written = field(default_factory=Written)
    """The upkeep that it has written (`is_upkeep`)."""

    retry_at: Mapping[type[Write], float] = field(default_factory=dict)
    """By kind of write, upkeep included: the time before which none is made, since the last of that kind failed."""

    taken_at: float = float("-inf")
    """When EC2 last refused a claim because something has the address."""

    taken: str = ""
    """What EC2 said when it refused that claim."""

    mixed: str = ""
    """Interfaces of ours that belong to the other way to carry, empty where there are none."""

    witness_at: float | None = None
    """When the Kubernetes API server was asked the last question that it answered, None if it never answered."""

    ready_at: float | None = None
    """When the API server was asked the question of its last answer, if that calls this observer's pod Ready; None if
    it does not."""

    told_at: float = float("-inf")
    """Kubernetes and AWS both tell whether this node is to end: when the older one of their last answers was asked
    for."""

    unshown: str = ""
    """The attachment by which EC2 last showed the address here, if EC2 now shows neither that ENI nor anybody who has
    the address; otherwise empty."""

    informed_at: float = float("-inf")
    """When EC2 answered this observer for the first time."""

    # With `carry: address` only.

    neighbours: frozenset[str] = frozenset()
    """The other instances to which EC2 last showed standing ENIs attached: they may have observers."""

    reached_by_tags: float = float("-inf")
    """When an observer last wrote to any of the standing ENIs that the address answered there, in Unix seconds."""

    mine: Eni | None = None
    """This node's standing ENI, once it is attached."""

    records: Mapping[str, str] = field(default_factory=dict)
    """The values of the ration's tag for the target on the standing ENIs, by ENI id."""

    carried_since: float | None = None
    """Since when the address has been on this node's link, None while it is not."""

    shown_by_imds: bool | None = None
    """Whether IMDS shows the address on this node, None while IMDS has not said."""

    lost_until_asked_at: float | None = None
    """IMDS says for sure that the address is no longer here, which counts more than EC2's answers to what was asked
    before this time; None while IMDS does not say that."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next; None and infinities stand for what has not happened.

    A time is when this observer noticed something; or, if the field says so, when EC2 was asked the question whose
    answer showed it, since an answer says nothing of what happened after its question.
    """

    # EC2's answers.

    asked_at: float = float("-inf")
    """When the last question was asked that EC2 has answered."""

    answered_at: float = float("-inf")
    """When that answer came."""

    situation: tuple[object, ...] = ()
    """All of the last view except its times (remember.py)."""

    changed_at: float = float("-inf")
    """Since when ``situation`` has been the same: the longer, the less often EC2 is asked (pace.py)."""

    # The attachment that is judged.

    attachment_id: str = ""
    """The attachment that is judged; empty while nobody has the address."""

    attachment_since: float = float("inf")
    """Since when EC2 has shown this attachment to this observer."""

    attached_at: float | None = None
    """When the question was asked whose answer first showed this attachment as `attached`."""

    moved_at: float = float("-inf")
    """When this observer last saw the address change its holder; the holder that it found at its start is no change."""

    moves_since_up: int | None = None
    """How many such changes this observer has seen since it last saw the address UP, but for those from holders that
    fell silent before the address could answer there; None if it never saw it UP."""

    moves_since_seen: int | None = None
    """The same since another observer last told that it sees the address UP, which counts also while this node is the
    holder."""

    moves_shown: str = ""
    """The moves that EC2 last showed recorded (ration.py)."""

    moves_grew_at: float = float("-inf")
    """When this observer last saw a move recorded that was not recorded before."""

    last_holder: str = ""
    """The instance that EC2 showed last as the holder, kept while nobody has the address."""

    came_from: str = ""
    """The instance that had the address before the present holder, as far as this observer saw; empty otherwise."""

    dead_answers: int = 0
    """How many answers in a row say that the holder's instance has ended, or is about to (R2)."""

    detaching_since: float | None = None
    """Since when EC2 has shown the attachment being detached (R13)."""

    unvouched_since: float | None = None
    """Since when the address has been down without the holder vouching for it, though the holder is heard or its node
    is known to have no observer (R4).
    """

    vouched_at: float | None = None
    """When the holder last vouched for the address while that was down; kept until the address is UP again."""

    due_since: float | None = None
    """Since when a takeover has been due, and only those who come first keep this node from it."""

    ahead: tuple[str, ...] = ()
    """The observers that came before this one at some moment since ``due_since``.  One of them that was restarted since
    does not know of its own claim, so nobody would tell of it."""

    rival_since: float | None = None
    """Since when another observer has said that the address is its own, though EC2 shows it elsewhere (A1)."""

    # Evidence since the first lost probe: when the first answer came to a question asked since then.  None again for a
    # witness that has fallen silent meanwhile.

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
    """When this observer last did not know whether the API server calls its pod Ready (R5)."""

    passing_since: Mapping[int, float] = field(default_factory=dict)
    """By port: since when this node's own check of a NodePort on itself has passed."""

    refuted: frozenset[int] = frozenset()
    """NodePorts that do not answer on this node, as other observers found, though its own check passes (R7)."""

    # Nobody has the address.

    free_since: float | None = None
    """Since when this node could have claimed the address: from then on it waits for those that come first (R1)."""

    nobody_since: float | None = None
    """When EC2 was asked for the first of the answers in a row that show no ENI with the address."""

    eni_id: str = ""
    """The ENI that EC2 showed with the address last."""

    untagged_since: float | None = None
    """When EC2 was asked for the first of the answers in a row that show the address on an ENI without any tag.  Only
    for an ENI that may be new: the answer before showed nobody or another ENI, or there was none."""

    taken_since: float | None = None
    """Since when EC2 has refused all claims although it shows no ENI with the address."""

    token: Token = field(default_factory=Token)
    """The client token with which the address' ENI is created."""

    # Whether the address is here, or elsewhere, by questions to EC2 (R10).

    away_since: float | None = None
    """When EC2 was asked for the first of the answers in a row that show the address on another node."""

    here_since: float | None = None
    """The same for answers that show the address here."""

    foreign_since: float | None = None
    """The same for answers by which the ENI is not ours."""

    claimed_at: float | None = None
    """When EC2 last accepted this node's own claim of the address; None if it has not since the address was dropped."""

    dropped_at: float | None = None
    """When this node last decided to take the address off its link."""

    # This node's link.

    link_seen: bool = False
    """The ENI's link was on this node when it was last looked at."""

    link_lost_at: float | None = None
    """When the link was first seen to be gone, None while it is there or never was."""

    unsound_here: str = ""
    """Why this node did not carry the address when it last held it; empty if it did, or if that was long ago."""

    unsound_at: float = float("-inf")
    """When this node last held the address without carrying it."""

    gave_up: bool = False
    """This node has just detached the ENI from itself, since its device did not come (R14)."""

    # What this node has written.

    last_write: Write | None = None
    last_write_at: float = float("-inf")
    """When the last write was decided on."""

    fenced: str = ""
    """The attachment that this node has fenced, so that it claims the address next; empty if it has fenced none."""

    fenced_rule: Rule = Rule.R1
    """The rule by which it did."""

    unrecorded: str = ""
    """The attachment that this node moved the address away from, while that move is not in the ration's tag yet; empty
    if there is no such move."""

    unrecorded_since: float = float("-inf")
    """A record of that attachment from this time on (Unix seconds) is of this move."""

    unrecorded_at: float = float("-inf")
    """The same time by the clock that never jumps."""


def unrecorded_since(memory: Memory, view: View) -> float:
    """A record of ``memory.unrecorded`` from this time on (Unix seconds) is of this node's move, also if the wall clock
    has jumped since.
    """
    return min(memory.unrecorded_since, view.wall - (view.now - memory.unrecorded_at))


def is_lost(view: View) -> bool:
    """R10: IMDS says for sure that this node has lost the address, and EC2, asked since, has not shown it anywhere."""
    until, owner = view.lost_until_asked_at, view.owner
    return until is not None and (owner is None or owner.eni is None or owner.asked_at < until)


def attachment_of(owner: Owner) -> Attachment | None:
    """The attachment by which the address is held; None where no ENI has it, or its ENI is attached to nobody."""
    if owner.eni is None or owner.eni.attachment is None:
        return None
    attachment = owner.eni.attachment
    return None if attachment.status is AttachmentStatus.DETACHED else attachment


def has_just_begun(informed_at: float, now: float) -> bool:
    """Whether EC2 first told this observer of others so recently that it means nothing not to have heard them yet."""
    return now - informed_at < timing.PEER_EXISTS


def unmet(view: View, judged: str) -> frozenset[str]:
    """The neighbours, except the judged holder, that this observer has not heard yet since it has just begun."""
    if not has_just_begun(view.informed_at, view.now):
        return frozenset()
    return view.neighbours - {judged} - {peer.instance_id for peer in view.peers}


def is_down(health: Health) -> bool:
    """The address fell, or has never answered under this attachment, and the last probe was lost too."""
    return health.state is HealthState.DOWN and health.in_doubt


def doubted_since(memory: Memory, view: View) -> float | None:
    """Since when the holder is in doubt: since the first lost probe; None while none is lost.

    If the holder has vouched for the address since, the doubt begins with its last word: the probes were blocked, and
    only its silence is new.
    """
    lost_at, vouched_at = view.health.first_lost_at, memory.vouched_at
    return lost_at if lost_at is None or vouched_at is None else max(lost_at, vouched_at)
