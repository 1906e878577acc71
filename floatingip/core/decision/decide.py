"""
Decide who should hold a floating address, and what to do about it.

Pure: no I/O, no clock.  The runner passes in what it remembers, what it observed and the time, and gets back the next
memory and a :class:`Decision`: the state, the one EC2 write to make now if any, how much of its plumbing the node
should have, when to ask EC2 again, and the reason.  The same input always gives the same output.

It is level-triggered: nothing here waits for an answer to what it decided before.  Each call looks at the whole view
again, so a crash, a lost answer or a lost race between any two steps leaves a view from which any observer goes on.

The two ways to carry the address differ in three places: how it is claimed (``_claim``), how it is taken from the
judged holder (``_taking``), and what the node has of its plumbing (``_extent``).

The rules R1 to R14 and A1 to A5 are those of docs/how-it-works.md; each is named where it is decided.  Terms: see
model.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from ipaddress import IPv4Address, IPv6Address
from math import inf

from floatingip.core import pace
from floatingip.core.decision import order as orders
from floatingip.core.decision import ration, served
from floatingip.core.decision.gate import may_write, write_at
from floatingip.core.decision.view import PEER_HEARD, Memory, View, attachment_of, is_down, moves, remember, sighting
from floatingip.core.health import HealthState
from floatingip.core.model import (
    OWNER_TAG,
    Allocation,
    Attachment,
    AttachmentStatus,
    Carry,
    Eni,
    Extent,
    Instance,
    Owner,
    PlumbingState,
    Target,
    WordState,
)
from floatingip.core.settings import Settings
from floatingip.core.writes import (
    Assign,
    AssignAny,
    Associate,
    Attach,
    Create,
    Detach,
    Tag,
    Unassign,
    Write,
    mended,
)

SPREAD_STEP = 2.0
"""Seconds that a node waits with a free ENI for each address it has already, so that the others get some (at most
three)."""

MOST_SPREAD = 3
"""Addresses here for which that is waited."""

RANK_STEP = 2.0
"""Seconds that each living observer before this one in rank gets to claim a free ENI (R1)."""

TAKING_STEP = 4.0
"""The same for taking an address from the judged standing ENI, where EC2 cannot tell the first of two: longer than an
observer pauses whose call EC2 has just failed.
"""

LEFT_TO_SUCCESSOR = 10.0
"""Seconds for which a free ENI is left to the node that an order names."""

PEER_EXISTS = 10.0
"""Seconds after which a peer that was not heard of is taken for gone, and not waited for."""

WITNESS_EXISTS = 30.0
"""The same for the Kubernetes API server."""

ALONE_FOR = 4.0
"""Seconds of lost probes that convict where nobody within the VPC can be asked, or only the API server answers, but
none of the other observers: longer than most trouble of a network, and short enough to be worth a takeover."""

CUT_OFF_FOR = 10.0
"""Seconds of lost probes that convict where all fell silent at once who answered before: most likely it is this node
that is cut off."""

UNREACHED_TOLD = 10.0
"""Seconds after which it is told that neither the address nor its holder's observer ever answered this node."""

REACHED_TAG = "floatingip/reached"
"""The tag in which observers remember together, for those that have just begun, when one of them saw the address UP
last, as Unix seconds: that workers reach each other at all, and that the address did answer where it is.  It is written
anew only when there was a move since."""

LONGEST_TIME = 11
"""Digits of a time in a tag, at most."""

REACHED_FOR = 5.0
"""Seconds of UP after which that is written."""

LOOK_IN_PEACE = 60.0
LOOK_IN_DOUBT = 1.0
LOOK_WHILE_BARRED = 10.0
LOOK_WHILE_MOVING = pace.QUICKEST
"""Seconds between two questions to EC2, as far as the pace (pace.py) allows them; one follows each write at once."""

CONFIRM_AFTER = 2.0
"""Seconds between the two answers that must name another owner before the address is dropped here (R10)."""

UNSOUND_FOR = 3.0
"""Seconds for which a holder must call itself unsound before it is relieved (R5): a flushed rule is back within one."""

DEVICE_FOR = 22.0
"""Seconds for which EC2 may show the ENI attached while its device is not there; a slow one takes 20 s (R14)."""

LEFT_TO_OTHERS = 5.0
"""Seconds for which a node leaves the ENI to others that is about to end, or has just detached it from itself for want
of its device (R14)."""

TAKEN_AFTER = 20.0
"""Seconds for which EC2 must refuse the address while it shows nobody who has it, until that is believed: a lost race
is shown sooner.
"""

ATTACHING_FOR = 60.0
"""Seconds in ``attaching`` with a silent word after which an attachment is judged as a dead holder's (R11)."""

PATIENT_FORCE = 4
"""While the holder's word is heard, a detach is given this many times ``force_after`` (R13)."""

ANSWER_KEPT = 5.0
"""Seconds for which an answer of EC2 shows that this node's own network is sound, where no probe was lost since."""

REPEAT_AFTER = 1.0
"""Seconds until the same EC2 write is made again: Describes lag, so the last one's effect may not be visible yet."""

CLAIM_SHOWN = 8.0
"""Seconds within which Describes show an address on the ENI that EC2 accepted it for; after them it is claimed anew."""

NEW_OWNER = 5.0
"""Seconds for which a standing ENI that has just got the address is not judged (A3)."""

FRESH_ANSWER = 1.0
"""Seconds for which an answer of EC2 allows to take an address from the standing ENI that it shows (A1): since it was
asked for or, where EC2 is slow, since it came."""

LOOK_BEFORE_TAKING = 0.5
"""Seconds between two questions in doubt: so the answer is fresh when it is needed."""

SAME_MOVE = 10.0
"""Seconds for which a record in the ration is of the move that is being made: a standing ENI's attachment stays."""

QUIET_FOR = 2.0
"""Seconds of a silent word after which EC2 is asked what became of the holder, though its address answers: a node that
shuts down ends its pods first."""

QUIET_PAUSE = 1.0
"""Seconds between two such questions, at least: half as long as the silence lasts, up to the slowest pace."""

READY_KNOWN = 10.0
"""Seconds for which it counts that the Kubernetes API server called this observer's pod Ready (R5)."""


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
    MIXED = "{detail}: of the other way to carry; scale to 0, `floatingip release`, then apply again"
    NOT_OURS = "{detail} has the address and is not ours: nothing is touched"
    NO_SUBNET = "{detail}"
    TAKEN = (
        "EC2 refuses the address as taken, and shows nobody who has it (a shared subnet, a delegated prefix?): {detail}"
    )
    CREATE = "no ENI has the address: creating it"
    FREE = "the ENI is attached to nobody: claiming it"
    FREE_AFTER_FENCING = "the judged attachment is gone: claiming the ENI"
    FREE_BUT_LATER = "the ENI is attached to nobody; {detail} may claim it first"
    FREE_FOR_OTHERS = "the ENI is attached to nobody; this node has others already, and lets other nodes claim it first"
    CANNOT_CLAIM = "this node cannot take the address: {detail}"
    ATTACHING_HERE = "the ENI is being attached to this node"
    ASSIGNING = "EC2 accepted the address for this node, and is about to move it"
    PLUMBING = "the address is this node's: plumbing it"
    CONFIRMING = "the address is on this node's link, and EC2 is asked whether that is so still"
    HELD_HERE = "this node holds the address"
    UNSOUND_HERE = "this node holds the address, but does not carry it: {detail}"
    DETACHING_HERE = "the ENI is being detached from this node"
    NO_DEVICE = "EC2 shows {detail} attached to this node, but its device does not come: detaching it, to try again"
    LINK_GONE = "EC2 shows the ENI attached to this node, but the link is not there"
    LOST = "IMDS does not show the address on this node any more"
    SETTLING = "the address has not answered yet since it was attached to {detail}"
    ANSWERS = "{detail} holds the address, and it answers"
    PING_BLOCKED = (
        "probe blocked: {detail} holds the address, which answers TCP but no ping; let its security group admit ICMP"
    )
    PROBE_LOST = "a probe was lost; {detail}"
    PROBE_BLOCKED = (
        "probe blocked: the address does not answer this node, but {detail} serves it and reaches this node from it"
    )
    NOT_VOUCHED = "the address does not answer, though {detail} answers: waiting"
    NO_EVIDENCE = "the address does not answer, but this node may be the one that is cut off: {detail}"
    HOLDER_UNSOUND = "the holder calls itself unsound: {detail}"
    ALSO_UNSOUND = "the holder is unsound, but so was this node when it held the address last"
    HOLDER_LEAVING = "the holder is leaving: {detail}"
    WRITTEN_OFF = "the holder asks to be relieved: {detail}"
    HANDOVER_ASKED = "a handover from {detail} was asked for"
    SERVICE_DOWN = "the service does not answer at the address, though {detail} holds it"
    NOT_SERVED_HERE = "the service does not answer at the address, but nor does it on this node"
    LATER = "a takeover is due, but {detail} may do it first"
    STALE = "a takeover is due: asking EC2 once more whose the address is"
    UNREACHED = "nobody was reached: {detail}"
    RATIONED = "a move is due but rationed, after {detail}"
    DETACHING = "the ENI is being detached from {detail}"
    DETACHING_TOO_LONG = "still detaching from {detail}: forcing it"
    INSTANCE_ENDED = "EC2 says that the holder's instance is {detail}"
    SILENT_HOLDER = "the address stopped answering, and {detail} is silent"
    NEVER_ANSWERED = "the address never answered since it was attached, and {detail} is silent"
    ATTACHING_TOO_LONG = "attaching for too long to {detail}, which is silent"
    HOLDER_WRONG = "the address does not answer, though {detail} calls itself sound"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why.

    ``look_at`` is when EC2 should be asked next.  ``extent`` is how much of the plumbing there should be, with ``ALL``
    wherever the link is.  ``due``: nothing but those who come first keeps this node from taking over.  ``leaving`` is
    why the holder asks to be relieved.  ``obliged``: this node is between fencing and claiming, so ending now would
    strand the address.
    """

    state: State
    reason: Reason
    rule: str
    look_at: float
    detail: str = ""
    write: Write | None = None
    extent: Extent = Extent.ALL
    attachment_id: str = ""
    due: bool = False
    leaving: str = ""
    obliged: bool = False

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.reason.value.format(detail=self.detail)


@dataclass(frozen=True, slots=True)
class _Charge:
    """What speaks for a move away from the judged attachment; ``rationed``: R12 counts it."""

    rule: str
    reason: Reason
    detail: str
    rationed: bool = True


def decide(memory: Memory, view: View, settings: Settings) -> tuple[Memory, Decision]:
    """The next memory, and what to do about the view."""
    memory = _remember_rivals(remember(memory, view, settings.carry), view, settings)
    decision = _judge(memory, view, settings)
    if decision.due != (memory.due_since is not None):
        memory = replace(memory, due_since=view.now if decision.due else None)
    if settings.carry is Carry.ADDRESS:
        decision = replace(decision, extent=_extent(memory, view))
        if decision.extent is Extent.AHEAD and view.plumbing is not None and view.plumbing.carries:
            memory = replace(memory, dropped_at=view.now, claimed_at=None)
    look_at = _look_at(memory, view, decision)
    if decision.write is not None:
        repeat_after = _repeat_after(memory, view, decision.write)
        if may_write(decision.write, memory, view, asked_at=memory.asked_at, repeat_after=repeat_after):
            memory = _wrote(memory, view, decision)
            decision = replace(decision, obliged=decision.obliged or _fences(decision))
        else:
            decision = replace(decision, write=None)
    return memory, replace(decision, look_at=look_at)


def _look_at(memory: Memory, view: View, decision: Decision) -> float:
    """When EC2 is to be asked: at once after a write, else no sooner than the pace allows, whatever a rule would like.

    An answer that is wanted for a write is of no use before that may be made again, and once there is one, what EC2
    refused is made without another.
    """
    if view.owner is None or (memory.asked_at <= view.wrote_at and not view.writing):
        return view.now
    pause, write = _pause(memory, view), decision.write
    if decision.reason is Reason.STALE:
        retry_at = max(view.retry_at.get(kind, -inf) for kind in (Assign, Detach, Unassign))
        return max(decision.look_at, retry_at, memory.last_write_at + pause)
    if write is not None and not view.writing and view.retry_at.get(type(write), -inf) > -inf:
        made_at = write_at(write, memory, view, repeat_after=_repeat_after(memory, view, write))
        return max(decision.look_at, made_at + REPEAT_AFTER)
    return max(decision.look_at, view.owner.asked_at + pause)


def _pause(memory: Memory, view: View) -> float:
    """Seconds that the pace leaves between two questions."""
    return pace.pause(view.now - memory.changed_at, view.owner.calls if view.owner is not None else 1)


def _repeat_after(memory: Memory, view: View, write: Write) -> float:
    """Seconds until the same write is made again: what EC2 accepted of an address it shows later than all else; what it
    refused may be made again sooner.
    """
    is_on_its_way = write == view.accepted and isinstance(write, Assign | AssignAny | Associate)
    return max(CLAIM_SHOWN if is_on_its_way else REPEAT_AFTER, _pause(memory, view))


def _fences(decision: Decision) -> bool:
    """Nobody has the address until this node claims it; a forced detach may finish anybody's, and what this node gives
    up is for others to claim first.
    """
    if decision.rule == "R14":
        return False
    return isinstance(decision.write, Unassign) or (isinstance(decision.write, Detach) and not decision.write.force)


def _wrote(memory: Memory, view: View, decision: Decision) -> Memory:
    memory = replace(memory, last_write=decision.write, last_write_at=view.now)
    if isinstance(decision.write, Create):
        return replace(memory, token=memory.token.used(decision.write))
    if decision.rule == "R14" and isinstance(decision.write, Detach):
        return replace(memory, gave_up=True)
    if _fences(decision) or isinstance(decision.write, Assign):
        if not decision.attachment_id:
            return replace(memory, fenced_rule=memory.fenced_rule if memory.fenced else decision.rule)
        counts = decision.due and decision.rule != "R2"
        unrecorded = decision.attachment_id if counts else ""
        return replace(memory, fenced=decision.attachment_id, fenced_rule=decision.rule, unrecorded=unrecorded)
    return memory


def _extent(memory: Memory, view: View) -> Extent:
    """A3 and R10: all where the address is, or is about to be; ahead of it elsewhere, once that is sure."""
    owner, lost_at = view.owner, view.lost_by_imds_at
    if owner is None:
        return Extent.ALL if view.shown_by_imds else Extent.AHEAD if lost_at is not None else Extent.AS_FOUND
    if lost_at is not None and lost_at > owner.asked_at:
        return Extent.AHEAD
    attachment, eni = attachment_of(owner), owner.eni
    ours = eni is not None and eni.tags.get(OWNER_TAG) == view.name and bool(eni.standing_for)
    here = ours and attachment is not None and attachment.instance_id == view.me
    if _is_claiming(memory, view, owner):
        return Extent.ALL
    if here:
        return Extent.ALL if _may_carry(memory, owner) else Extent.AHEAD
    since = memory.away_since
    sure = since is not None and owner.asked_at - since >= CONFIRM_AFTER
    return Extent.AHEAD if sure else Extent.AS_FOUND


def _may_carry(memory: Memory, owner: Owner) -> bool:
    """R10: what this node let go of it takes up again by its own claim, or when EC2 says twice, asked since then, that
    it is here: one answer alone may be a late one.
    """
    dropped_at, since = memory.dropped_at, memory.here_since
    if dropped_at is None:
        return True
    return since is not None and since > dropped_at and owner.asked_at - since >= CONFIRM_AFTER


def _is_confirmed(memory: Memory, view: View, owner: Owner) -> bool:
    """R10: EC2 says that what is configured here is ours, asked since then, or since it accepted this node's claim."""
    if view.carried_since is None or owner.asked_at >= view.carried_since:
        return True
    return memory.claimed_at is not None and owner.asked_at >= memory.claimed_at


def _is_claiming(memory: Memory, view: View, owner: Owner) -> bool:
    """EC2 accepted the address for this node's ENI, and may be about to show it: unless it shows a rival."""
    attachment, claim = attachment_of(owner), view.accepted
    if not isinstance(claim, Assign | Associate) or view.mine is None or claim.eni_id != view.mine.id:
        return False
    rival = attachment is not None and attachment.id != memory.fenced
    return not rival and view.now - view.wrote_at < CLAIM_SHOWN


def _judge(memory: Memory, view: View, settings: Settings) -> Decision:
    owner = view.owner
    if owner is None:
        return Decision(State.START, Reason.EC2_SILENT, "R9", look_at=view.now)
    peace = owner.asked_at + LOOK_IN_PEACE
    if not view.name:
        return Decision(State.START, Reason.NAME_UNKNOWN, "R9", look_at=owner.asked_at + LOOK_IN_DOUBT)
    if view.mixed:
        return Decision(
            State.REFUSED, Reason.MIXED, "R1", look_at=owner.asked_at + LOOK_WHILE_BARRED, detail=view.mixed
        )
    if owner.eni is None:
        if view.obstacle:
            return Decision(
                State.STANDBY, Reason.NO_SUBNET, "R1", look_at=_barred(owner, settings), detail=view.obstacle
            )
        later = owner.asked_at + LOOK_IN_DOUBT
        claim = _claim(memory, view, settings, owner)
        if memory.taken_since is not None and view.now - memory.taken_since >= TAKEN_AFTER:
            return Decision(State.REFUSED, Reason.TAKEN, "R1", later, detail=view.taken, write=claim)
        if settings.carry is Carry.ENI:
            return Decision(State.CLAIMING, Reason.CREATE, "R1", later, write=claim)
        return _free(memory, view, settings, owner)
    if owner.eni.tags.get(OWNER_TAG) != view.name or not owner.eni.carries(view.target):
        detail = f"{owner.eni.id} (tag {OWNER_TAG}={owner.eni.tags.get(OWNER_TAG, '')})"
        since = owner.asked_at if memory.foreign_since is None else memory.foreign_since
        if memory.link_seen and owner.asked_at - since < CONFIRM_AFTER:
            return Decision(State.REFUSED, Reason.NOT_OURS, "R10", look_at=since + CONFIRM_AFTER, detail=detail)
        return Decision(State.REFUSED, Reason.NOT_OURS, "R1", look_at=peace, detail=detail, extent=Extent.NOTHING)
    attachment = attachment_of(owner)
    if attachment is None:
        return _free(memory, view, settings, owner)
    if attachment.instance_id == view.me:
        return _here(memory, view, settings, owner, owner.eni, attachment)
    return _elsewhere(memory, view, settings, owner, owner.eni, attachment)


def _barred(owner: Owner, settings: Settings) -> float:
    """What bars a claim: a subnet stays as it is, a standing ENI is on its way."""
    return owner.asked_at + (LOOK_IN_PEACE if settings.carry is Carry.ENI else LOOK_IN_DOUBT)


def _free(memory: Memory, view: View, settings: Settings, owner: Owner) -> Decision:
    """R1: claim what nobody holds, the observers one after the other unless this one fenced it."""
    soon = owner.asked_at + LOOK_WHILE_MOVING
    if settings.carry is Carry.ADDRESS and _is_claiming(memory, view, owner):
        return Decision(State.TAKEOVER, Reason.ASSIGNING, memory.fenced_rule, soon)
    if view.obstacle:
        return Decision(State.STANDBY, Reason.CANNOT_CLAIM, "R1", owner.asked_at + LOOK_IN_DOUBT, detail=view.obstacle)
    claim = _claim(memory, view, settings, owner)
    if isinstance(claim, Assign) and claim.reassign and not _is_fresh(memory, view, owner, memory.free_since):
        return Decision(State.CLAIMING, Reason.STALE, "R1", view.now)
    if memory.fenced:
        return Decision(
            State.TAKEOVER,
            Reason.FREE_AFTER_FENCING,
            memory.fenced_rule,
            soon,
            write=claim,
            attachment_id="" if settings.carry is Carry.ADDRESS else memory.fenced,
            obliged=True,
        )
    if _are_believed(memory, view):
        rivals = ", ".join(_rivals(view, attachment_of(owner)))
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, "R1", soon, detail=rivals)
    before = _ranked_before(memory, view, settings)
    free_since = view.now if memory.free_since is None else memory.free_since
    turn_at = free_since + RANK_STEP * len(before)
    if before and (memory.gave_up or view.leaving):
        turn_at = max(turn_at, free_since + LEFT_TO_OTHERS)
    tags = owner.eni.tags if owner.eni is not None else {}
    ordered = orders.successor(tags.get(orders.key(view.target, settings.carry), ""), view.wall)
    if ordered not in ("", view.me) and view.now < free_since + LEFT_TO_SUCCESSOR:
        until = free_since + LEFT_TO_SUCCESSOR
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, "R5", until, detail=ordered)
    spread_at = free_since + SPREAD_STEP * min(view.burden, MOST_SPREAD)
    if view.now < spread_at and not memory.last_holder:
        return Decision(State.CLAIMING, Reason.FREE_FOR_OTHERS, "R1", spread_at)
    if before and owner.asked_at < turn_at:
        return Decision(State.CLAIMING, Reason.FREE_BUT_LATER, "R1", max(turn_at, view.now), detail=", ".join(before))
    return Decision(State.CLAIMING, Reason.FREE, "R1", soon, write=claim)


def _claim(memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
    """How this node takes what nobody holds (A2, A5): EC2 refuses all but the first who assign without reassignment."""
    eni, mine, target = owner.eni, view.mine, view.target
    if settings.carry is Carry.ENI or mine is None:
        return Attach(eni.id) if eni is not None else memory.token.creation(owner.asked_at)
    if eni is not None:
        return _moving(eni, mine, target)
    if not isinstance(target, Allocation):
        return Assign(mine.id, target)
    spare = spares(mine, settings)
    return Associate(target.id, mine.id, spare[0]) if spare else AssignAny(mine.id)


def spares(eni: Eni, settings: Settings) -> list[IPv4Address]:
    """The secondary addresses of a standing ENI that wait for an Elastic IP."""
    return sorted(set(eni.secondary) - set(eni.elastic) - set(settings.floating_ips))


def _remember_rivals(memory: Memory, view: View, settings: Settings) -> Memory:
    """Since when another observer says that the address is its own, though EC2 shows it elsewhere."""
    if settings.carry is Carry.ENI or view.owner is None:
        return memory
    if not _rivals(view, attachment_of(view.owner)):
        return memory if memory.rival_since is None else replace(memory, rival_since=None)
    return memory if memory.rival_since is not None else replace(memory, rival_since=view.now)


def _are_believed(memory: Memory, view: View) -> bool:
    """Rivals: EC2 may be late, but by then it would show them; a former holder that cannot ask it may go on for
    long.
    """
    return memory.rival_since is not None and view.now - memory.rival_since < CLAIM_SHOWN


def _rivals(view: View, judged: Attachment | None) -> list[str]:
    """The observers that have the address by another attachment than the judged one, or that EC2 has promised it to:
    EC2 may not have shown it when this node asked.
    """
    target, judged_id = str(view.target), judged.id if judged is not None else ""
    return [
        peer.instance_id
        for peer in view.peers
        if view.now - peer.heard_at <= PEER_HEARD
        and (target in peer.claiming or peer.holds.get(target, judged_id) != judged_id)
    ]


def _ranked_before(memory: Memory, view: View, settings: Settings, judged: str = "") -> list[str]:
    """The living observers that come first: whose node stays, where a NodePort answers, with fewer addresses, then by
    instance id; whoever had the address last may be about to end.

    Where EC2 cannot tell the first of two claims, whoever was there a moment ago is waited for, too; and by a node that
    is about to end.
    """
    is_told = settings.carry is Carry.ENI or not judged
    heard = PEER_HEARD if is_told and not view.leaving else PEER_EXISTS

    def rank(instance_id: str, burden: int, *, leaving: bool) -> tuple[bool, bool, bool, int, str]:
        is_unserved = not served.ports_on(view, instance_id)
        return leaving, is_unserved, instance_id == memory.last_holder, burden, instance_id

    mine = rank(view.me, view.burden, leaving=bool(view.leaving))
    return sorted(
        peer.instance_id
        for peer in view.peers
        if view.now - peer.heard_at <= heard
        and peer.free_slots != 0
        and peer.instance_id != judged
        and rank(peer.instance_id, len(peer.holds.keys() - {str(view.target)}), leaving=peer.leaving) < mine
    )


def _here(memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment) -> Decision:
    """Carry the address that this node holds, and find out at once when it was taken away (R10)."""
    soon = owner.asked_at + LOOK_WHILE_MOVING
    peace = owner.asked_at + LOOK_IN_PEACE
    if view.lost_by_imds_at is not None and view.lost_by_imds_at > owner.asked_at:
        return Decision(State.STANDBY, Reason.LOST, "R10", view.now)
    if attachment.status is AttachmentStatus.DETACHING:
        forced = _force(memory, view, settings, attachment, silent=False)
        if forced is not None:
            return replace(forced, look_at=soon)
        return Decision(State.HOLDER, Reason.DETACHING_HERE, "R11", soon, attachment_id=attachment.id)
    report = view.plumbing
    if report is None or report.state is PlumbingState.NO_LINK:
        return _without_device(memory, view, settings, owner, eni, attachment)
    if not report.carries:
        later = owner.asked_at + LOOK_IN_DOUBT
        return Decision(State.CLAIMING, Reason.PLUMBING, "A3", later, attachment_id=attachment.id)
    if settings.carry is Carry.ADDRESS and not _is_confirmed(memory, view, owner):
        return Decision(State.CLAIMING, Reason.CONFIRMING, "R10", soon, attachment_id=attachment.id)
    write = _mend(view, settings, eni)
    if write is None and memory.unrecorded:
        value = ration.record(moves(view, settings.carry, eni), memory.fenced_rule, view.wall, memory.unrecorded)
        write = Tag(eni.id, _ration_key(view, settings), value)
    if attachment.status is AttachmentStatus.ATTACHING:
        peace = owner.asked_at + LOOK_IN_DOUBT
    if view.shown_by_imds is False:
        peace = owner.asked_at + LOOK_IN_DOUBT
    unsound = report.state is PlumbingState.UNSOUND
    return Decision(
        State.HOLDER,
        Reason.UNSOUND_HERE if unsound else Reason.HELD_HERE,
        "R5" if unsound else "R10",
        peace,
        detail=report.problem,
        write=write,
        attachment_id=attachment.id,
        leaving=view.leaving,
    )


def _order(view: View, settings: Settings, eni: Eni, attachment: Attachment) -> orders.Order | None:
    return orders.parse(eni.tags.get(orders.key(view.target, settings.carry), ""), attachment.id, view.wall)


def _ration_key(view: View, settings: Settings) -> str:
    return ration.key(view.target, settings.carry)


def _mend(view: View, settings: Settings, eni: Eni) -> Write | None:
    """What this address' own ENI lacks; a standing one is mended by itself (standing.py)."""
    if settings.carry is Carry.ADDRESS:
        return None
    if isinstance(view.target, Allocation) and view.target.id not in eni.elastic.values():
        # In an IPv6-only subnet it has none that could be associated.
        return Associate(view.target.id, eni.id, eni.address) if eni.address is not None else None
    return mended(eni, view.groups)


def _without_device(
    memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment
) -> Decision:
    """The ENI is this node's, but its device is not there: not yet, not any more, or it never comes (R14)."""
    later, lost_at = owner.asked_at + LOOK_IN_DOUBT, memory.link_lost_at
    is_late = memory.attached_at is not None and owner.asked_at - memory.attached_at >= DEVICE_FOR
    if attachment.status is AttachmentStatus.ATTACHING or view.plumbing is None or (lost_at is None and not is_late):
        return Decision(State.CLAIMING, Reason.ATTACHING_HERE, "R1", later, attachment_id=attachment.id)
    if lost_at is not None and owner.asked_at < lost_at:
        return Decision(State.HOLDER, Reason.LINK_GONE, "R10", view.now, attachment_id=attachment.id)
    is_gone_for_good = is_late and (lost_at is None or owner.asked_at - lost_at >= DEVICE_FOR)
    if settings.carry is Carry.ADDRESS or not is_gone_for_good:
        return Decision(State.HOLDER, Reason.LINK_GONE, "R10", later, attachment_id=attachment.id)
    decision = Decision(
        State.HOLDER, Reason.NO_DEVICE, "R14", later, detail=eni.id, attachment_id=attachment.id, leaving=view.leaving
    )
    recorded = moves(view, settings.carry, eni)
    if ration.wait(recorded, view.wall, attachment.id) > 0:
        return replace(decision, look_at=owner.asked_at + LOOK_WHILE_BARRED)
    if not ration.recorded(recorded, attachment.id):
        value = ration.record(recorded, "R14", view.wall, attachment.id)
        return replace(decision, write=Tag(eni.id, _ration_key(view, settings), value))
    return replace(decision, write=Detach(attachment.id))


def _elsewhere(
    memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment
) -> Decision:
    """Another node holds the address: judge it, and take over only from the attachment that was judged."""
    decision = _judge_holder(memory, view, settings, owner, eni, attachment)
    since = memory.away_since
    if since is not None and owner.asked_at - since >= CONFIRM_AFTER:
        return replace(decision, extent=Extent.NOTHING, attachment_id=attachment.id)
    confirm_at = (owner.asked_at if since is None else since) + CONFIRM_AFTER
    return replace(decision, look_at=min(decision.look_at, confirm_at), attachment_id=attachment.id)


def _judge_holder(
    memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment
) -> Decision:
    silent = view.word.state is WordState.SILENT
    holder = owner.instances.get(attachment.instance_id)
    if settings.carry is Carry.ADDRESS and _is_claiming(memory, view, owner):
        return Decision(State.TAKEOVER, Reason.ASSIGNING, memory.fenced_rule, owner.asked_at + LOOK_WHILE_MOVING)
    if attachment.status is AttachmentStatus.DETACHING:
        if settings.carry is Carry.ADDRESS:
            return _free(memory, view, settings, owner)
        soon = owner.asked_at + LOOK_WHILE_MOVING
        forced = _force(memory, view, settings, attachment, silent=silent)
        if forced is not None:
            return replace(forced, look_at=soon, obliged=bool(memory.fenced))
        state = State.TAKEOVER if memory.fenced else State.STANDBY
        return Decision(
            state, Reason.DETACHING, "R11", soon, detail=attachment.instance_id, obliged=bool(memory.fenced)
        )
    charge = _charge(memory, view, settings, eni, attachment, holder)
    if charge is None:
        return _watch(memory, view, settings, owner, eni, attachment)
    return _sentence(memory, view, settings, owner, eni, attachment, charge)


def _charge(
    memory: Memory, view: View, settings: Settings, eni: Eni, attachment: Attachment, holder: Instance | None
) -> _Charge | None:
    """What speaks for a move away from this attachment, or None."""
    who, word, health = attachment.instance_id, view.word, view.health
    silent = word.state is WordState.SILENT
    if memory.dead_answers >= 2 or (memory.dead_answers and health.in_doubt):
        return _Charge("R2", Reason.INSTANCE_ENDED, holder.state if holder else "gone", rationed=False)
    if attachment.status is AttachmentStatus.ATTACHING:
        waited = view.now - max(memory.attachment_since, word.since) > ATTACHING_FOR
        return _Charge("R3", Reason.ATTACHING_TOO_LONG, who) if silent and waited else None
    order = _order(view, settings, eni, attachment)
    may_relieve = not view.leaving and (order is None or order.names(view.me))
    if order is not None and may_relieve:
        return _Charge("R5", Reason.HANDOVER_ASKED, who, rationed=False)
    if word.state is WordState.LEAVING and may_relieve and not word.written_off:
        return _Charge("R5", Reason.HOLDER_LEAVING, word.detail, rationed=False)
    if word.state is WordState.LEAVING and may_relieve and _is_ready(view):
        return _Charge("R5", Reason.WRITTEN_OFF, word.detail)
    if settings.carry is Carry.ADDRESS and view.now - memory.moved_at < NEW_OWNER:
        return None
    if is_down(health) and silent:
        return _Charge("R3", Reason.SILENT_HOLDER, who)
    if word.state is WordState.UNSOUND and view.now - word.since >= UNSOUND_FOR:
        return _Charge("R5", Reason.HOLDER_UNSOUND, word.detail)
    if memory.unvouched_since is not None and view.now - memory.unvouched_since >= settings.patience:
        return _Charge("R4", Reason.HOLDER_WRONG, who)
    is_lost = health.state is HealthState.DOWN and health.in_doubt and not health.ever_up
    if silent and is_lost and _has_settled(memory, view, settings, eni, attachment):
        return _Charge("R6", Reason.NEVER_ANSWERED, who)
    if served.are_missing(view, settings, attachment):
        return _Charge("R7", Reason.SERVICE_DOWN, who)
    return None


def _is_ready(view: View) -> bool:
    """Kubernetes itself calls this node's observer Ready: where it serves nobody better, moving would not help (R5)."""
    return view.ready_at is not None and view.now - view.ready_at <= READY_KNOWN


def _has_settled(memory: Memory, view: View, settings: Settings, eni: Eni, attachment: Attachment) -> bool:
    """R6: the address had time to answer, or its node fell silent before it did.

    An attachment that is older than this observer had that time before.  But where nobody was reached since the last
    move, another one would not help either; and where nobody ever was, one is tried.
    """
    unseen_for = view.now - max(memory.attachment_since, view.word.since)
    last_move, reached = _last_move(memory, view, settings, eni, attachment), _reached_wall(memory, eni)
    if reached <= last_move:
        return last_move == -inf and unseen_for >= settings.settle
    if _reached_wall(Memory(), eni) > max(last_move, _came_at(settings, attachment)):
        return True
    heard_at = max((p.heard_at for p in view.peers if p.instance_id == attachment.instance_id), default=-inf)
    if heard_at >= memory.attachment_since and not view.word.refused:
        return True
    if view.now - memory.moved_at < settings.settle:
        return False
    age = -inf if attachment.since_wall is None else view.wall - attachment.since_wall
    return age >= settings.settle or unseen_for >= settings.settle


def _reached_wall(memory: Memory, eni: Eni) -> float:
    """When anybody was reached last, by this observer's memory or the tag; minus infinity for never."""
    told = eni.tags.get(REACHED_TAG, "")
    tagged = float(told) if told.isascii() and told.isdigit() and len(told) <= LONGEST_TIME else -inf
    return max(tagged, -inf if memory.reached_wall is None else memory.reached_wall)


def _came_at(settings: Settings, attachment: Attachment) -> float:
    """From when on, in Unix seconds, what the ENI's tag says is of this attachment; a standing one's outlasts moves."""
    if settings.carry is Carry.ADDRESS:
        return -inf
    return inf if attachment.since_wall is None else attachment.since_wall


def _in_doubt(owner: Owner) -> float:
    """When to ask EC2 again while something may be wrong with the holder."""
    return owner.asked_at + LOOK_BEFORE_TAKING


def _in_peace(memory: Memory, view: View, owner: Owner) -> float:
    """When to ask EC2 again while the address answers, or the holder vouches for it: sooner where no observer tells how
    the node is, and at once to confirm that it ends (R2).
    """
    peace, word = owner.asked_at + LOOK_IN_PEACE, view.word
    if memory.dead_answers:
        return owner.asked_at + LOOK_BEFORE_TAKING
    if not word.is_quiet:
        return peace
    pause = min(pace.SLOWEST, max(QUIET_PAUSE, (owner.asked_at - word.since) / 2))
    return min(peace, max(owner.asked_at + pause, word.since + (0.0 if word.ending else QUIET_FOR)))


def _watch(memory: Memory, view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment) -> Decision:
    """Nothing speaks for a move yet: say what is seen, and ask EC2 as soon as there is doubt."""
    who, word, health = attachment.instance_id, view.word, view.health
    if not health.in_doubt:
        peace = _in_peace(memory, view, owner)
        if health.recovered_at is not None and owner.asked_at < health.recovered_at:
            # Somebody else may have taken it over: the next failure would be the new holder's, and is judged by that.
            peace = health.recovered_at
        if attachment.status is AttachmentStatus.ATTACHING:
            peace = min(peace, owner.asked_at + LOOK_IN_DOUBT)
        if health.state is not HealthState.UP:
            return Decision(State.STANDBY, Reason.SETTLING, "R6", peace, detail=who)
        since = memory.attachment_since
        healthy_for = view.now - (since if health.changed_at is None else max(health.changed_at, since))
        clear = _clearance(view, settings, eni) if healthy_for >= ration.CLEARED_BY_UP else None
        if clear is None and healthy_for >= REACHED_FOR:
            clear = _reaching(memory, view, settings, eni, attachment)
        reason, rule = (Reason.PING_BLOCKED, "R4") if health.by_tcp else (Reason.ANSWERS, "R10")
        return Decision(State.STANDBY, reason, rule, peace, detail=who, write=clear)
    asked_since_loss = health.first_lost_at is not None and owner.asked_at >= health.first_lost_at
    look_at = _in_doubt(owner) if asked_since_loss else view.now
    if health.fell and word.vouches:
        return Decision(State.STANDBY, Reason.PROBE_BLOCKED, "R4", _in_peace(memory, view, owner), detail=who)
    if health.fell:
        return Decision(State.DOUBT, Reason.NOT_VOUCHED, "R4", look_at, detail=who)
    if health.state is HealthState.UP:
        return Decision(State.DOUBT, Reason.PROBE_LOST, "R3", look_at, detail=f"asking EC2 and {who}")
    unheard_for = view.now - max(memory.attachment_since, word.since)
    unreached = _reached_wall(memory, eni) <= _last_move(memory, view, settings, eni, attachment)
    if word.state is WordState.SILENT and unheard_for >= UNREACHED_TOLD and unreached:
        detail = _unreached(view, settings, owner, eni, attachment)
        return Decision(State.DOUBT, Reason.UNREACHED, "R6", look_at, detail=detail)
    return Decision(State.STANDBY, Reason.SETTLING, "R6", look_at, detail=who)


def _unreached(view: View, settings: Settings, owner: Owner, eni: Eni, attachment: Attachment) -> str:
    """What was never reached, and what most likely stands in the way."""
    address, holder = eni.address_of(view.target), owner.instances.get(attachment.instance_id)
    at = f" ({holder.address}:{settings.port})" if holder is not None and holder.address is not None else ""
    lives = f", though EC2 says it is {holder.state}" if holder is not None else ""
    ping = "ICMPv6" if isinstance(address, IPv6Address) else "ICMP"
    return (
        f"neither {address} nor {attachment.instance_id}{at} ever answered{lives}: does the security group admit"
        f" {ping} and TCP {settings.port} among the workers?"
    )


def _reaching(memory: Memory, view: View, settings: Settings, eni: Eni, attachment: Attachment) -> Tag | None:
    """What tells observers that have just begun that workers do reach each other, unless the tag tells it already."""
    came_at = -inf if attachment.since_wall is None else _came_at(settings, attachment)
    before = max(_last_move(memory, view, settings, eni, attachment), came_at)
    if _reached_wall(Memory(), eni) > before:
        return None
    # This node's clock may be behind those that the others' times are from.
    return Tag(eni.id, REACHED_TAG, str(int(max(view.wall, before + 1.0))))


def _clearance(view: View, settings: Settings, eni: Eni) -> Tag | None:
    """Five minutes of UP clear the ration, one tag after the other."""
    key = _ration_key(view, settings)
    records = view.records if settings.carry is Carry.ADDRESS else {eni.id: eni.tags.get(ration.TAG, "")}
    recorded = sorted(eni_id for eni_id, value in records.items() if value)
    return Tag(recorded[0], key, "") if recorded else None


def _sentence(
    memory: Memory,
    view: View,
    settings: Settings,
    owner: Owner,
    eni: Eni,
    attachment: Attachment,
    charge: _Charge,
) -> Decision:
    """Turn a charge into a takeover, unless this node cannot, has no evidence, is not the first, or must wait under the
    ration (R12).
    """
    doubtful = Decision(State.DOUBT, charge.reason, charge.rule, _in_doubt(owner), detail=charge.detail)
    if view.obstacle:
        barred = owner.asked_at + LOOK_WHILE_BARRED
        return replace(doubtful, reason=Reason.CANNOT_CLAIM, detail=view.obstacle, look_at=barred)
    if charge.reason is Reason.HOLDER_UNSOUND and memory.unsound_here:
        return replace(
            doubtful, state=State.STANDBY, reason=Reason.ALSO_UNSOUND, look_at=owner.asked_at + LOOK_IN_PEACE
        )
    if charge.rule == "R7" and not served.missed_here(view, attachment.instance_id):
        return replace(
            doubtful, state=State.STANDBY, reason=Reason.NOT_SERVED_HERE, look_at=owner.asked_at + LOOK_IN_PEACE
        )
    if charge.rule in ("R3", "R4", "R6"):
        gap = _gap_in_evidence(memory, view, settings, owner, attachment)
        if gap:
            look_at = view.now if _needs_answer(view, owner) else doubtful.look_at
            return replace(doubtful, reason=Reason.NO_EVIDENCE, detail=gap, look_at=look_at)
    recorded, since = moves(view, settings.carry, eni), _move_since(view, settings)
    counts = charge.rationed and ration.is_rationed(recorded, charge.rule, view.wall, attachment.id, since)
    if counts and ration.wait(recorded, view.wall, attachment.id, since) > 0:
        barred = owner.asked_at + LOOK_WHILE_BARRED
        return replace(doubtful, reason=Reason.RATIONED, detail=recorded, look_at=barred)
    if settings.carry is Carry.ENI and charge.reason is not Reason.HANDOVER_ASKED:
        # Whoever detaches the ENI claims it, so those on whose nodes a NodePort answers go first.
        before = _served_before(view, attachment.instance_id)
        turn_at = (view.now if memory.due_since is None else memory.due_since) + RANK_STEP * len(before)
        if view.now < turn_at:
            return replace(doubtful, reason=Reason.LATER, detail=", ".join(before), look_at=turn_at, due=True)
    # To wait, an older answer is enough; neither a verdict nor the ration's leave is read from one.
    if not _is_fresh(memory, view, owner, memory.due_since):
        return replace(doubtful, reason=Reason.STALE, look_at=view.now, due=True)
    if counts and not ration.recorded(recorded, attachment.id, since):
        value = ration.record(recorded, charge.rule, view.wall, attachment.id)
        keeper = eni if view.mine is None else view.mine
        return replace(doubtful, due=True, write=Tag(keeper.id, _ration_key(view, settings), value))
    if settings.carry is Carry.ADDRESS:
        if _are_believed(memory, view):
            soon = owner.asked_at + LOOK_WHILE_MOVING
            rivals = ", ".join(_rivals(view, attachment))
            return replace(doubtful, reason=Reason.LATER, detail=rivals, look_at=soon)
        before = _ranked_before(memory, view, settings, judged=attachment.instance_id)
        due_since = view.now if memory.due_since is None else memory.due_since
        turn_at = due_since + TAKING_STEP * len(before)
        if before and view.now < turn_at:
            return replace(doubtful, reason=Reason.LATER, detail=", ".join(before), look_at=turn_at, due=True)
        if before and owner.asked_at < turn_at:
            return replace(doubtful, reason=Reason.STALE, look_at=view.now, due=True)
    return replace(
        doubtful,
        due=True,
        state=State.TAKEOVER,
        write=_taking(view, settings, eni, attachment),
        look_at=owner.asked_at + LOOK_WHILE_MOVING,
        obliged=memory.fenced == attachment.id and _may_have_fenced(memory, view),
    )


def _is_fresh(memory: Memory, view: View, owner: Owner, since: float | None) -> bool:
    """A1: the answer speaks of a moment ago; or, where EC2 takes longer than that, it has just come and was asked for
    ``since`` a move was due.
    """
    if view.now - owner.asked_at <= FRESH_ANSWER:
        return True
    return since is not None and owner.asked_at >= since and view.now - memory.answered_at <= FRESH_ANSWER


def _taking(view: View, settings: Settings, eni: Eni, attachment: Attachment) -> Write:
    """How the address is taken from the judged holder: R8's detach of this attachment, or A1's move from its ENI."""
    if settings.carry is Carry.ENI or view.mine is None:
        return Detach(attachment.id)
    return _moving(eni, view.mine, view.target)


def _moving(source: Eni, mine: Eni, target: Target) -> Write:
    """One call for IPv4; EC2 has no reassignment for IPv6, so there the fence comes first, and then the claim (A5)."""
    address = source.address_of(target)
    assert address is not None, "it carries the target"
    if isinstance(target, IPv6Address):
        return Unassign(source.id, address)
    return Assign(mine.id, address, reassign=True)


def _move_since(view: View, settings: Settings) -> float:
    """From when on what is recorded of the judged attachment is this move."""
    return -inf if settings.carry is Carry.ENI else view.wall - SAME_MOVE


def _last_move(memory: Memory, view: View, settings: Settings, eni: Eni, attachment: Attachment) -> float:
    """When the last move before this one was recorded, in Unix seconds, minus infinity for never: as long as the judged
    attachment has the address, none away from it has succeeded.
    """
    tried_since = min(_move_since(view, settings), view.wall - (view.now - memory.attachment_since))
    return ration.last_at(moves(view, settings.carry, eni), attachment.id, tried_since)


def _may_have_fenced(memory: Memory, view: View) -> bool:
    """The fencing is under way, or no answer of EC2 is newer, or it went well and Describes lag."""
    if view.writing or memory.asked_at <= view.wrote_at:
        return True
    retry_at = view.retry_at.get(type(memory.last_write), -inf) if memory.last_write is not None else -inf
    return view.now >= retry_at and view.now - memory.last_write_at < CONFIRM_AFTER


def _served_before(view: View, judged: str) -> list[str]:
    """The living observers that could take over, and on whose nodes a NodePort answers, where none does on this one."""
    if served.ports_on(view, view.me):
        return []
    able = (peer for peer in view.peers if view.now - peer.heard_at <= PEER_HEARD and peer.free_slots != 0)
    return sorted(
        peer.instance_id
        for peer in able
        if peer.instance_id != judged and not peer.leaving and served.ports_on(view, peer.instance_id)
    )


def _gap_in_evidence(memory: Memory, view: View, settings: Settings, owner: Owner, attachment: Attachment) -> str:
    """Why this node's own network may be at fault, or nothing: the View's `me` conditions."""
    if _needs_answer(view, owner):
        return "EC2 has not answered since the first lost probe"
    last_lost_at = view.health.last_lost_at
    if last_lost_at is not None and memory.evidence_at is not None and last_lost_at < memory.evidence_at:
        # Asked while this node was cut off, an answer may come with the end of that, and before the next probe's.
        return "no probe was lost since EC2 answered"
    doubted_at = view.now - ANSWER_KEPT if view.health.first_lost_at is None else view.health.first_lost_at
    others = [
        peer
        for peer in view.peers
        if peer.instance_id != attachment.instance_id and doubted_at - peer.heard_at <= PEER_EXISTS
    ]
    up = sighting(attachment.id, view.target, settings.carry)
    answering = [peer for peer in others if peer.asked_at >= doubted_at]
    seeing = [p.instance_id for p in answering if up in p.sees_up and view.now - p.heard_at <= PEER_HEARD]
    if seeing:
        return f"{seeing[0]} sees the address UP"
    return "" if answering else _gap_in_witnesses(view, doubted_at, are_others=bool(others))


def _gap_in_witnesses(view: View, doubted_at: float, *, are_others: bool) -> str:
    """The same where no other observer has answered since the doubt began: does the API server, from within the VPC?"""
    witnessed = view.witness_at is not None and view.witness_at >= doubted_at
    if witnessed and not are_others:
        return ""
    expected = view.witness_at is not None and doubted_at - view.witness_at <= WITNESS_EXISTS
    alone = witnessed or not (are_others or expected)
    if view.now - doubted_at >= (ALONE_FOR if alone else CUT_OFF_FOR):
        return ""
    if are_others:
        return "no other observer has answered since the first lost probe"
    if expected:
        return "the API server has not answered since the first lost probe"
    return "there is nobody else in the VPC that could be asked"


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
