"""
Decide who should hold a floating address, and what to do about it.

Pure: no I/O, no clock.  The runner passes in what it remembers, what it observed and the time, and gets back the next
memory and a :class:`Decision`: the state, the one EC2 write to make now if any, whether the node should carry the
address, when to ask EC2 again, and the reason.  The same input always gives the same output.

It is level-triggered: nothing here waits for an answer to what it decided before.  Each call looks at the whole view
again, so a crash, a lost answer or a lost race between any two steps leaves a view from which any observer goes on.

The rules R1 to R13 are those of docs/how-it-works.md; each is named where it is decided.  Terms: see model.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from floatingip import ration
from floatingip.health import Health, HealthState
from floatingip.model import (
    OWNER_TAG,
    Allocation,
    Attachment,
    AttachmentStatus,
    Eni,
    Instance,
    Owner,
    Peer,
    PlumbingReport,
    PlumbingState,
    Sight,
    Target,
    Word,
    WordState,
)
from floatingip.settings import Settings

SPREAD_STEP = 2.0
"""Seconds that a node waits with a free ENI for each address it has already, so that the others get some (at most
three)."""

MOST_SPREAD = 3
"""Addresses here for which that is waited."""

FORGOTTEN_AFTER = 10.0
"""Seconds after which an ENI that was created but is still not shown must have been deleted: Describes lag less."""

RANK_STEP = 2.0
"""Seconds that each living observer before this one in rank gets to claim a free ENI (R1)."""

PEER_HEARD = 2.0
"""Seconds within which another node must have answered, as evidence that this node's own network is sound."""

PEER_EXISTS = 10.0
"""Seconds after which a peer that was not heard of is taken for gone, and not waited for."""

LOOK_IN_PEACE = 60.0
LOOK_IN_DOUBT = 1.0
LOOK_WHILE_BARRED = 10.0
LOOK_WHILE_MOVING = 0.2
"""Seconds between two questions to EC2: a Describe's token bucket refills at 20 a second for the whole account."""

CONFIRM_AFTER = 2.0
"""Seconds between the two answers that must name another owner before the address is dropped here (R10)."""

UNSOUND_FOR = 3.0
"""Seconds for which a holder must call itself unsound before it is relieved (R5): a flushed rule is back within one."""

ATTACHING_FOR = 60.0
"""Seconds in ``attaching`` with a silent word after which an attachment is judged as a dead holder's (R11)."""

PATIENT_FORCE = 4
"""While the holder's word is heard, a detach is given this many times ``force_after`` (R13)."""

ANSWER_KEPT = 5.0
"""Seconds for which an answer of EC2 shows that this node's own network is sound, where no probe was lost since."""

REPEAT_AFTER = 1.0
"""Seconds until the same EC2 write is made again: Describes lag, so the last one's effect may not be visible yet."""


class State(StrEnum):
    """What this node is to the address."""

    START = "start"
    REFUSED = "refused"
    CLAIMING = "claiming"
    HOLDER = "holder"
    STANDBY = "standby"
    DOUBT = "doubt"
    TAKEOVER = "takeover"


class Reason(Enum):
    """Why, as a sentence; the fields in braces are those of :class:`Decision`."""

    EC2_SILENT = "EC2 has not answered yet"
    NAME_UNKNOWN = "this instance has no tag kubernetes.io/cluster/NAME; set `name` in the ConfigMap"
    NOT_OURS = "{detail} has the address and is not ours: nothing is touched"
    NO_SUBNET = "{detail}"
    CREATE = "no ENI has the address: creating it"
    FREE = "the ENI is attached to nobody: claiming it"
    FREE_AFTER_FENCING = "the judged attachment is gone: claiming the ENI"
    FREE_BUT_LATER = "the ENI is attached to nobody; {detail} may claim it first"
    FREE_FOR_OTHERS = "the ENI is attached to nobody; this node has others already, and lets other nodes claim it first"
    CANNOT_CLAIM = "this node cannot take the ENI: {detail}"
    ATTACHING_HERE = "the ENI is being attached to this node"
    HELD_HERE = "this node holds the address"
    UNSOUND_HERE = "this node holds the address, but does not carry it: {detail}"
    DETACHING_HERE = "the ENI is being detached from this node"
    LINK_GONE = "EC2 shows the ENI attached to this node, but the link is not there"
    SETTLING = "the address has not answered yet since it was attached to {detail}"
    ANSWERS = "{detail} holds the address, and it answers"
    PROBE_LOST = "a probe was lost; {detail}"
    PROBE_BLOCKED = (
        "probe blocked: the address does not answer this node, but {detail} serves it and reaches this node from it"
    )
    NOT_VOUCHED = "the address does not answer, though {detail} answers: waiting"
    NO_EVIDENCE = "the address does not answer, but this node may be the one that is cut off: {detail}"
    HOLDER_UNSOUND = "the holder calls itself unsound: {detail}"
    ALSO_UNSOUND = "the holder is unsound, but so was this node when it held the address last"
    RATIONED = "a move is due but rationed, after {detail}"
    DETACHING = "the ENI is being detached from {detail}"
    DETACHING_TOO_LONG = "still detaching from {detail}: forcing it"
    INSTANCE_ENDED = "EC2 says that the holder's instance is {detail}"
    SILENT_HOLDER = "the address stopped answering, and {detail} is silent"
    NEVER_ANSWERED = "the address never answered since it was attached, and {detail} is silent"
    ATTACHING_TOO_LONG = "attaching for too long to {detail}, which is silent"
    HOLDER_WRONG = "the address does not answer, though {detail} calls itself sound"


@dataclass(frozen=True, slots=True)
class Create:
    """Create the ENI for the target.  EC2 makes one interface for each ``generation``, whoever asks and how often."""

    generation: int = 0


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach the free ENI to this node."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """Detach exactly this attachment."""

    attachment_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    """Write what the ration must remember."""

    eni_id: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Associate:
    """Associate the Elastic IP with our ENI."""

    allocation_id: str
    eni_id: str


@dataclass(frozen=True, slots=True)
class SetGroups:
    """Give the ENI the security groups that it should have."""

    eni_id: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepAfterTermination:
    """Let the ENI outlive the instance it is attached to."""

    eni_id: str
    attachment_id: str


@dataclass(frozen=True, slots=True)
class CheckSource:
    """Switch the ENI's source/destination check on."""

    eni_id: str


Write = Create | Attach | Detach | Tag | Associate | SetGroups | KeepAfterTermination | CheckSource


class Carry(StrEnum):
    """Whether this node should carry the address: wherever the link is, or not even there."""

    WITH_THE_LINK = "with-the-link"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class View:
    """What an observer knows at one moment.

    ``target`` is what is kept; ``groups`` are the security groups that its ENI should have; ``burden`` is how many
    other floating addresses this node has or is about to have; ``peers`` are all other observers but for this node's;
    ``obstacle`` says why this node could not carry the address at all (another zone, no subnet, full), or nothing;
    ``wrote_at`` is when the last own EC2 write ended and ``writing`` that one is under way; before ``retry_at`` no
    write is made, since the last one failed.
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
    groups: tuple[str, ...] = ()
    burden: int = 0
    writing: bool = False
    wrote_at: float = float("-inf")
    retry_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next."""

    asked_at: float = float("-inf")
    answered_at: float = float("-inf")
    evidence_at: float | None = None
    attachment_id: str = ""
    attachment_since: float = 0.0
    last_holder: str = ""
    dead_answers: int = 0
    elsewhere_since: float | None = None
    foreign_since: float | None = None
    unvouched_since: float | None = None
    detaching_since: float | None = None
    free_since: float | None = None
    link_lost_at: float | None = None
    link_seen: bool = False
    unsound_here: bool = False
    fenced: str = ""
    fenced_rule: str = ""
    unrecorded: str = ""
    generation: int = 0
    created_at: float | None = None
    last_write: Write | None = None
    last_write_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why.

    ``look_at`` is when EC2 should be asked next.  ``obliged``: this node is between a detach and its attach, so
    ending now would strand the address.
    """

    state: State
    reason: Reason
    rule: str
    look_at: float
    detail: str = ""
    write: Write | None = None
    carry: Carry = Carry.WITH_THE_LINK
    attachment_id: str = ""
    obliged: bool = False

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.reason.value.format(detail=self.detail)


def decide(memory: Memory, view: View, settings: Settings) -> tuple[Memory, Decision]:
    """The next memory, and what to do about the view."""
    memory = _remember(memory, view)
    decision = _judge(memory, view, settings)
    if decision.write is not None:
        if _may_write(memory, view, decision.write):
            memory = _wrote(memory, view, decision)
            decision = replace(decision, obliged=decision.obliged or _fences(decision))
        else:
            decision = replace(decision, write=None)
    if memory.asked_at <= view.wrote_at and not view.writing:
        decision = replace(decision, look_at=view.now)
    return memory, decision


def _may_write(memory: Memory, view: View, write: Write) -> bool:
    """R8: never on top of another write, nor on an answer that is older than the last one, nor the same again at
    once.
    """
    if view.writing or memory.asked_at <= view.wrote_at or view.now < view.retry_at:
        return False
    return write != memory.last_write or view.now - memory.last_write_at >= REPEAT_AFTER


def _fences(decision: Decision) -> bool:
    """A detach begins a takeover by this node; a forced one may finish anybody's."""
    return isinstance(decision.write, Detach) and not decision.write.force


def _wrote(memory: Memory, view: View, decision: Decision) -> Memory:
    memory = replace(memory, last_write=decision.write, last_write_at=view.now)
    if isinstance(decision.write, Create):
        created_at = view.now if decision.write.generation != memory.generation else memory.created_at
        return replace(
            memory, generation=decision.write.generation, created_at=view.now if created_at is None else created_at
        )
    if isinstance(decision.write, Detach) and _fences(decision):
        fenced = decision.write.attachment_id
        unrecorded = "" if decision.rule == "R2" else fenced
        return replace(memory, fenced=fenced, fenced_rule=decision.rule, unrecorded=unrecorded)
    return memory


def _remember(memory: Memory, view: View) -> Memory:
    """Fold in what is new: an answer of EC2 counts once, and the node's own link is followed."""
    memory = _remember_link(memory, view)
    memory = _remember_vouching(memory, view)
    if view.retry_at > view.wrote_at:
        # The last write failed, so no ENI was made that could have been deleted again.
        memory = replace(memory, created_at=None)
    owner = view.owner
    if owner is not None and owner.asked_at > memory.asked_at:
        memory = _remember_answer(memory, view, owner)
    return _remember_evidence(memory, view)


def _remember_evidence(memory: Memory, view: View) -> Memory:
    """When the first answer came that was asked for after the first lost probe, known or not."""
    lost_at = view.health.first_lost_at
    if lost_at is None:
        return replace(memory, evidence_at=None)
    if memory.evidence_at is None and memory.asked_at >= lost_at:
        return replace(memory, evidence_at=memory.answered_at)
    return memory


def _remember_answer(memory: Memory, view: View, owner: Owner) -> Memory:
    memory = replace(memory, asked_at=owner.asked_at, answered_at=view.now)
    memory = _remember_tags(memory, view, owner)
    if owner.eni is not None:
        memory = replace(memory, created_at=None)
    attachment = _attachment(owner)
    if attachment is None:
        free_since = view.now if memory.free_since is None and owner.eni is not None else memory.free_since
        return replace(
            memory, attachment_id="", dead_answers=0, elsewhere_since=None, detaching_since=None, free_since=free_since
        )
    memory = replace(memory, free_since=None)
    if attachment.id != memory.attachment_id:
        here = attachment.instance_id == view.me
        memory = replace(
            memory,
            attachment_id=attachment.id,
            attachment_since=view.now,
            last_holder=attachment.instance_id,
            dead_answers=0,
            detaching_since=None,
            link_lost_at=None,
            fenced=memory.fenced if attachment.id == memory.fenced else "",
            unrecorded=memory.unrecorded if here else "",
            unsound_here=False if here else memory.unsound_here,
        )
    holder = owner.instances.get(attachment.instance_id)
    if attachment.instance_id == view.me:
        memory = replace(memory, elsewhere_since=None)
    elif memory.elsewhere_since is None:
        memory = replace(memory, elsewhere_since=owner.asked_at)
    if attachment.status is AttachmentStatus.DETACHING:
        since = view.now if memory.detaching_since is None else memory.detaching_since
        memory = replace(memory, detaching_since=since)
    else:
        memory = replace(memory, detaching_since=None)
    if holder is not None:
        memory = replace(memory, dead_answers=memory.dead_answers + 1 if holder.state.announces_death else 0)
    return memory


def _remember_vouching(memory: Memory, view: View) -> Memory:
    """Since when the address has been down without the holder's vouching for it (R4)."""
    vouched = view.word.state is WordState.SOUND and view.word.sight is Sight.SEEN
    if vouched or not _is_down(view.health):
        return replace(memory, unvouched_since=None)
    return memory if memory.unvouched_since is not None else replace(memory, unvouched_since=view.now)


def _remember_tags(memory: Memory, view: View, owner: Owner) -> Memory:
    """Since when the ENI has been somebody else's, and whether the last takeover is in the ration's tag."""
    if owner.eni is None:
        return memory
    foreign_since = memory.foreign_since if memory.foreign_since is not None else owner.asked_at
    recorded = ration.recorded(owner.eni.tags.get(ration.TAG, ""), memory.unrecorded)
    return replace(
        memory,
        foreign_since=foreign_since if view.name and owner.eni.tags.get(OWNER_TAG) != view.name else None,
        unrecorded="" if recorded else memory.unrecorded,
    )


def _is_down(health: Health) -> bool:
    """The address answered under this attachment, then fell, and the last probe was lost too."""
    return health.fell and health.in_doubt


def _remember_link(memory: Memory, view: View) -> Memory:
    report = view.plumbing
    if report is None:
        return memory
    if report.state is PlumbingState.NO_LINK:
        lost_at = view.now if memory.link_seen else memory.link_lost_at
        return replace(memory, link_seen=False, link_lost_at=lost_at)
    here = view.owner is not None and (a := _attachment(view.owner)) is not None and a.instance_id == view.me
    unsound = report.state is PlumbingState.UNSOUND if here else memory.unsound_here
    return replace(memory, link_seen=True, link_lost_at=None, unsound_here=unsound)


def _attachment(owner: Owner) -> Attachment | None:
    if owner.eni is None or owner.eni.attachment is None:
        return None
    attachment = owner.eni.attachment
    return None if attachment.status is AttachmentStatus.DETACHED else attachment


def _judge(memory: Memory, view: View, settings: Settings) -> Decision:
    owner = view.owner
    if owner is None:
        return Decision(State.START, Reason.EC2_SILENT, "R9", look_at=view.now)
    peace = owner.asked_at + LOOK_IN_PEACE
    if not view.name:
        return Decision(State.START, Reason.NAME_UNKNOWN, "R9", look_at=owner.asked_at + LOOK_IN_DOUBT)
    if owner.eni is None:
        if view.obstacle:
            return Decision(State.STANDBY, Reason.NO_SUBNET, "R1", look_at=peace, detail=view.obstacle)
        return Decision(
            State.CLAIMING, Reason.CREATE, "R1", look_at=owner.asked_at + LOOK_IN_DOUBT, write=_creation(memory, view)
        )
    if owner.eni.tags.get(OWNER_TAG) != view.name or not owner.eni.carries(view.target):
        detail = f"{owner.eni.id} (tag {OWNER_TAG}={owner.eni.tags.get(OWNER_TAG, '')})"
        since = owner.asked_at if memory.foreign_since is None else memory.foreign_since
        if memory.link_seen and owner.asked_at - since < CONFIRM_AFTER:
            return Decision(State.REFUSED, Reason.NOT_OURS, "R10", look_at=since + CONFIRM_AFTER, detail=detail)
        return Decision(State.REFUSED, Reason.NOT_OURS, "R1", look_at=peace, detail=detail, carry=Carry.NEVER)
    attachment = _attachment(owner)
    if attachment is None:
        return _free(memory, view, owner, owner.eni)
    if attachment.instance_id == view.me:
        return _here(memory, view, settings, owner, owner.eni, attachment)
    return _elsewhere(memory, view, settings, owner, owner.eni, attachment)


def _free(memory: Memory, view: View, owner: Owner, eni: Eni) -> Decision:
    """R1: claim a free ENI, the observers one after the other unless this one fenced it."""
    soon = owner.asked_at + LOOK_WHILE_MOVING
    if view.obstacle:
        return Decision(State.STANDBY, Reason.CANNOT_CLAIM, "R1", owner.asked_at + LOOK_IN_DOUBT, detail=view.obstacle)
    attach = Attach(eni.id)
    if memory.fenced:
        return Decision(
            State.TAKEOVER,
            Reason.FREE_AFTER_FENCING,
            memory.fenced_rule,
            soon,
            write=attach,
            attachment_id=memory.fenced,
            obliged=True,
        )
    before = _ranked_before(memory, view)
    free_since = view.now if memory.free_since is None else memory.free_since
    turn_at = free_since + RANK_STEP * len(before)
    spread_at = free_since + SPREAD_STEP * min(view.burden, MOST_SPREAD)
    if view.now < spread_at and not memory.last_holder:
        return Decision(State.CLAIMING, Reason.FREE_FOR_OTHERS, "R1", spread_at)
    if before and owner.asked_at < turn_at:
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, "R1", max(turn_at, view.now), detail=", ".join(before))
    return Decision(State.CLAIMING, Reason.FREE, "R1", soon, write=attach)


def _creation(memory: Memory, view: View) -> Create:
    """The next generation once the last one's answer must have been an ENI that was deleted meanwhile."""
    forgotten = memory.created_at is not None and view.now - memory.created_at > FORGOTTEN_AFTER
    return Create(memory.generation + 1 if forgotten else memory.generation)


def _ranked_before(memory: Memory, view: View) -> list[str]:
    """The living observers that come first: with fewer addresses, then by instance id; whoever had the ENI last may be
    about to end.
    """
    mine = (view.me == memory.last_holder, view.burden, view.me)
    return sorted(
        peer.instance_id
        for peer in _candidates(view)
        if (peer.instance_id == memory.last_holder, peer.burden, peer.instance_id) < mine
    )


def _candidates(view: View) -> list[Peer]:
    """The living observers with a free slot, as far as is known."""
    return [peer for peer in view.peers if view.now - peer.heard_at <= PEER_HEARD and peer.free_slots != 0]


def _here(memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment) -> Decision:
    """Carry the address that this node holds, and find out at once when it was taken away (R10)."""
    soon = owner.asked_at + LOOK_WHILE_MOVING
    peace = owner.asked_at + LOOK_IN_PEACE
    if attachment.status is AttachmentStatus.DETACHING:
        forced = _force(memory, view, settings, attachment, silent=False)
        if forced is not None:
            return replace(forced, look_at=soon)
        return Decision(State.HOLDER, Reason.DETACHING_HERE, "R11", soon, attachment_id=attachment.id)
    report = view.plumbing
    if report is None or report.state is PlumbingState.NO_LINK:
        if attachment.status is AttachmentStatus.ATTACHING or not _link_had_time(memory, view):
            later = owner.asked_at + LOOK_IN_DOUBT
            return Decision(State.CLAIMING, Reason.ATTACHING_HERE, "R1", later, attachment_id=attachment.id)
        again = view.now if owner.asked_at < (memory.link_lost_at or 0.0) else owner.asked_at + LOOK_IN_DOUBT
        return Decision(State.HOLDER, Reason.LINK_GONE, "R10", again, attachment_id=attachment.id)
    write = _mend(view, eni, attachment)
    if write is None and memory.unrecorded:
        value = ration.record(eni.tags.get(ration.TAG, ""), memory.fenced_rule, view.wall, memory.unrecorded)
        write = Tag(eni.id, ration.TAG, value)
    if attachment.status is AttachmentStatus.ATTACHING:
        peace = owner.asked_at + LOOK_IN_DOUBT
    if report.state is PlumbingState.UNSOUND:
        return Decision(
            State.HOLDER,
            Reason.UNSOUND_HERE,
            "R5",
            peace,
            detail=report.problem,
            write=write,
            attachment_id=attachment.id,
        )
    return Decision(State.HOLDER, Reason.HELD_HERE, "R10", peace, write=write, attachment_id=attachment.id)


def _mend(view: View, eni: Eni, attachment: Attachment) -> Write | None:
    """What somebody changed of the ENI, or EC2 does not do by itself: the Elastic IP, groups, source check,
    survival.
    """
    if isinstance(view.target, Allocation) and eni.allocation_id != view.target.id:
        return Associate(view.target.id, eni.id)
    if eni.delete_on_termination:
        return KeepAfterTermination(eni.id, attachment.id)
    if view.groups and sorted(eni.security_groups) != sorted(view.groups):
        return SetGroups(eni.id, view.groups)
    return None if eni.source_check else CheckSource(eni.id)


def _link_had_time(memory: Memory, view: View) -> bool:
    """The link was seen under this attachment, or an attached ENI's device has had time to appear."""
    return memory.link_lost_at is not None or view.now - memory.attachment_since > ATTACHING_FOR


def _elsewhere(
    memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment
) -> Decision:
    """Another node holds the address: judge it, and take over only from the attachment that was judged."""
    decision = _judge_holder(memory, view, settings, owner, eni, attachment)
    since = memory.elsewhere_since
    if since is not None and owner.asked_at - since >= CONFIRM_AFTER:
        return replace(decision, carry=Carry.NEVER, attachment_id=attachment.id)
    confirm_at = (owner.asked_at if since is None else since) + CONFIRM_AFTER
    return replace(decision, look_at=min(decision.look_at, confirm_at), attachment_id=attachment.id)


def _judge_holder(
    memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment
) -> Decision:
    silent = view.word.state is WordState.SILENT
    holder = owner.instances.get(attachment.instance_id)
    if attachment.status is AttachmentStatus.DETACHING:
        soon = owner.asked_at + LOOK_WHILE_MOVING
        forced = _force(memory, view, settings, attachment, silent=silent)
        if forced is not None:
            return replace(forced, look_at=soon, obliged=bool(memory.fenced))
        state = State.TAKEOVER if memory.fenced else State.STANDBY
        return Decision(
            state, Reason.DETACHING, "R11", soon, detail=attachment.instance_id, obliged=bool(memory.fenced)
        )
    charge = _charge(memory, view, settings, attachment, holder)
    if charge is None:
        return _watch(view, owner, eni, attachment)
    rule, reason, detail = charge
    doubtful = Decision(State.DOUBT, reason, rule, owner.asked_at + LOOK_IN_DOUBT, detail=detail)
    return _sentence(memory, view, owner, eni, attachment, doubtful)


def _charge(
    memory: Memory, view: View, settings: Settings, attachment: Attachment, holder: Instance | None
) -> tuple[str, Reason, str] | None:
    """What speaks for a move away from this attachment: rule, reason and detail; or None."""
    who, word, health = attachment.instance_id, view.word, view.health
    silent = word.state is WordState.SILENT
    if memory.dead_answers >= 2 or (memory.dead_answers and health.in_doubt):
        return "R2", Reason.INSTANCE_ENDED, holder.state if holder else "gone"
    if attachment.status is AttachmentStatus.ATTACHING:
        waited = view.now - max(memory.attachment_since, word.since) > ATTACHING_FOR
        return ("R3", Reason.ATTACHING_TOO_LONG, who) if silent and waited else None
    if _is_down(health) and silent:
        return "R3", Reason.SILENT_HOLDER, who
    if word.state is WordState.UNSOUND and view.now - word.since >= UNSOUND_FOR:
        return "R5", Reason.HOLDER_UNSOUND, word.detail
    if memory.unvouched_since is not None and view.now - memory.unvouched_since >= settings.patience:
        return "R4", Reason.HOLDER_WRONG, who
    unseen_for = view.now - max(memory.attachment_since, word.since)
    if silent and health.in_doubt and not health.ever_up and unseen_for >= settings.settle:
        return "R6", Reason.NEVER_ANSWERED, who
    return None


def _watch(view: View, owner: Owner, eni: Eni, attachment: Attachment) -> Decision:
    """Nothing speaks for a move yet: say what is seen, and ask EC2 as soon as there is doubt."""
    who, word, health = attachment.instance_id, view.word, view.health
    if not health.in_doubt:
        peace = owner.asked_at + LOOK_IN_PEACE
        if health.state is not HealthState.UP:
            return Decision(State.STANDBY, Reason.SETTLING, "R6", peace, detail=who)
        healthy_for = view.now - health.changed_at
        clear = None
        if eni.tags.get(ration.TAG) and healthy_for >= ration.CLEARED_BY_UP:
            clear = Tag(eni.id, ration.TAG, "")
        return Decision(State.STANDBY, Reason.ANSWERS, "R10", peace, detail=who, write=clear)
    asked_since_loss = owner.asked_at >= (health.first_lost_at or 0.0)
    look_at = owner.asked_at + LOOK_IN_DOUBT if asked_since_loss else view.now
    if health.fell and word.state is WordState.SOUND and word.sight is Sight.SEEN:
        return Decision(State.STANDBY, Reason.PROBE_BLOCKED, "R4", owner.asked_at + LOOK_IN_PEACE, detail=who)
    if health.fell:
        return Decision(State.DOUBT, Reason.NOT_VOUCHED, "R4", look_at, detail=who)
    if health.state is HealthState.UP:
        return Decision(State.DOUBT, Reason.PROBE_LOST, "R3", look_at, detail=f"asking EC2 and {who}")
    later = look_at if not asked_since_loss else owner.asked_at + LOOK_IN_PEACE
    return Decision(State.STANDBY, Reason.SETTLING, "R6", later, detail=who)


def _sentence(memory: Memory, view: View, owner: Owner, eni: Eni, attachment: Attachment, charge: Decision) -> Decision:
    """Turn a charge into a takeover, unless this node cannot, has no evidence, or must wait under the ration (R12)."""
    if view.obstacle:
        barred = owner.asked_at + LOOK_WHILE_BARRED
        return replace(charge, reason=Reason.CANNOT_CLAIM, detail=view.obstacle, look_at=barred)
    if charge.rule == "R5" and memory.unsound_here:
        return replace(charge, state=State.STANDBY, reason=Reason.ALSO_UNSOUND, look_at=owner.asked_at + LOOK_IN_PEACE)
    if charge.rule in ("R3", "R4", "R6"):
        gap = _gap_in_evidence(memory, view, owner, attachment)
        if gap:
            look_at = view.now if _needs_answer(view, owner) else charge.look_at
            return replace(charge, reason=Reason.NO_EVIDENCE, detail=gap, look_at=look_at)
    moves = eni.tags.get(ration.TAG, "")
    if charge.rule != "R2" and ration.is_rationed(moves, charge.rule, view.wall, attachment.id):
        if ration.wait(moves, view.wall, attachment.id) > 0:
            return replace(charge, reason=Reason.RATIONED, detail=moves, look_at=owner.asked_at + LOOK_WHILE_BARRED)
        if not ration.recorded(moves, attachment.id):
            value = ration.record(moves, charge.rule, view.wall, attachment.id)
            return replace(charge, write=Tag(eni.id, ration.TAG, value))
    return replace(
        charge,
        state=State.TAKEOVER,
        write=Detach(attachment.id),
        look_at=owner.asked_at + LOOK_WHILE_MOVING,
        obliged=memory.fenced == attachment.id and _may_have_detached(memory, view),
    )


def _may_have_detached(memory: Memory, view: View) -> bool:
    """The detach is under way, or no answer of EC2 is newer, or it went well and Describes lag."""
    if view.writing or memory.asked_at <= view.wrote_at:
        return True
    return view.now >= view.retry_at and view.now - memory.last_write_at < CONFIRM_AFTER


def _gap_in_evidence(memory: Memory, view: View, owner: Owner, attachment: Attachment) -> str:
    """Why this node's own network may be at fault, or nothing: the View's `me` conditions."""
    if _needs_answer(view, owner):
        return "EC2 has not answered since the first lost probe"
    last_lost_at = view.health.last_lost_at
    if last_lost_at is not None and memory.evidence_at is not None and last_lost_at < memory.evidence_at:
        # Asked while this node was cut off, an answer may come with the end of that, and before the next probe's.
        return "no probe was lost since EC2 answered"
    others = [p for p in view.peers if p.instance_id != attachment.instance_id and view.now - p.heard_at <= PEER_EXISTS]
    if others and not any(view.now - peer.heard_at <= PEER_HEARD for peer in others):
        return "no other observer answers"
    seeing = [p.instance_id for p in others if attachment.id in p.sees_up and view.now - p.heard_at <= PEER_HEARD]
    if seeing:
        return f"{seeing[0]} sees the address UP"
    return ""


def _needs_answer(view: View, owner: Owner) -> bool:
    """What EC2 said last is too old to show that this node's own network is sound."""
    lost_at = view.health.first_lost_at
    return owner.asked_at < (view.now - ANSWER_KEPT if lost_at is None else lost_at)


def _force(memory: Memory, view: View, settings: Settings, attachment: Attachment, *, silent: bool) -> Decision | None:
    """R13: force a detach that takes too long, whoever began it."""
    if memory.detaching_since is None:
        return None
    limit = settings.force_after * (1 if silent else PATIENT_FORCE)
    if view.now - memory.detaching_since < limit:
        return None
    forced = Detach(attachment.id, force=True)
    if memory.last_write == forced and view.now - memory.last_write_at < settings.force_after:
        return None
    return Decision(
        State.TAKEOVER,
        Reason.DETACHING_TOO_LONG,
        "R13",
        view.now,
        detail=attachment.instance_id,
        write=forced,
        attachment_id=attachment.id,
    )
