"""The result of a decision: this node's state, the rule that applied, the reason, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from floatingip.core.plumbing import Extent
from floatingip.core.writes import Write


class State(StrEnum):
    """The role that this node has for the address."""

    START = "start"
    REFUSED = "refused"
    CLAIMING = "claiming"
    HOLDER = "holder"
    STANDBY = "standby"
    DOUBT = "doubt"
    TAKEOVER = "takeover"


class Rule(StrEnum):
    """The rules of docs/how-it-works.md, of which exactly one is named in each decision."""

    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    R4 = "R4"
    R5 = "R5"
    R6 = "R6"
    R7 = "R7"
    R8 = "R8"
    R9 = "R9"
    R10 = "R10"
    R11 = "R11"
    R12 = "R12"
    R13 = "R13"
    R14 = "R14"
    A1 = "A1"
    A2 = "A2"
    A3 = "A3"
    A4 = "A4"
    A5 = "A5"


class Reason(Enum):
    """Why it was decided so, as a sentence; the fields in braces are those of :class:`Decision`."""

    EC2_SILENT = "EC2 has not answered yet"
    NAME_UNKNOWN = "this instance has no tag kubernetes.io/cluster/NAME; set `name` in the ConfigMap"
    MIXED = "{detail}: of the other way to carry; scale to 0, `floatingip release`, then apply again"
    NOT_OURS = "{detail} has the address and is not ours: nothing is touched; free it there or choose another address"
    UNTAGGED = "{detail}, which may be new, has the address, and no tag yet: asking EC2 again whose it is"
    NO_SUBNET = "{detail}"
    TAKEN = (
        "EC2 refuses the address as taken, and shows nobody who has it (a shared subnet, a delegated prefix?):"
        " {detail}; free it there or choose another address"
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
    UNSHOWN_HERE = (
        "this node carries the address; EC2 shows neither the ENI by which it does, nor anybody who has the address"
    )
    UNSOUND_HERE = "this node holds the address, but does not carry it: {detail}"
    DETACHING_HERE = "the ENI is being detached from this node"
    NO_DEVICE = "EC2 shows {detail} to this node, but its device does not come: detaching it, to try again"
    LINK_GONE = "EC2 shows the ENI attached to this node, but the link is not there"
    LOST = "IMDS does not show the address on this node any more"
    SETTLING = "the address has not answered yet since it was attached to {detail}"
    ANSWERS = "{detail} holds the address, and it answers"
    PING_BLOCKED = (
        "probe blocked: {detail} holds the address, which answers TCP but no ping; let its security group admit {ping}"
    )
    PROBE_LOST = "a probe was lost; {detail}"
    PROBE_BLOCKED = (
        "probe blocked: the address does not answer this node, but {detail} serves it and reaches this node from it;"
        " let its security group admit {ping} and the observers' TCP port"
    )
    NOT_VOUCHED = "the address does not answer, and {detail} does not vouch for it: waiting"
    NO_EVIDENCE = "the address does not answer, but this node may be the one that is cut off: {detail}"
    HOLDER_UNSOUND = "the holder calls itself unsound: {detail}"
    ALSO_UNSOUND = "the holder is unsound, but so was this node when it held the address last"
    HOLDER_LEAVING = "the holder is leaving: {detail}"
    WRITTEN_OFF = "the holder asks to be relieved: {detail}"
    HANDOVER_ASKED = "a handover from {detail} was asked for"
    SERVICE_DOWN = "the service does not answer at the address, though {detail} holds it"
    NOT_SERVED_HERE = "the service does not answer at the address, but nor does it on this node"
    LATER = "a takeover is due, but {detail} may do it first"
    STALE = "this node is about to take the address: asking EC2 once more whose it is"
    UNREACHED = "nobody was reached: {detail}"
    PAUSED = "a move is due, but nothing is to move before {detail}: `floatingip resume` ends the pause"
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

    ``detail`` completes the reason's sentence.  ``ping`` is the protocol by which the address is pinged, as security
    groups call it.  ``look_at`` is when to ask EC2 next.  ``write`` is the EC2 write to make now, ``awaiting`` the one
    to make once EC2 has answered again (STALE); None for none.  ``extent`` is how much of the plumbing there should be,
    if the link is there.  ``attachment_id`` is the judged attachment, empty if none was judged.  ``due``: a takeover is
    due, and this node waits only for observers whose turn comes first.  ``ahead`` are those observers (A1), None to
    keep the remembered ones.  ``leaving`` is why this node, as the holder, asks to be relieved; empty if it does not.
    ``obliged``: this node has fenced or claimed the address and does not carry it yet, so that ending now would leave
    the address with nobody.
    """

    state: State
    reason: Reason
    rule: Rule
    look_at: float
    detail: str = ""
    ping: str = "ICMP"
    write: Write | None = None
    awaiting: Write | None = None
    extent: Extent = Extent.ALL
    attachment_id: str = ""
    due: bool = False
    ahead: tuple[str, ...] | None = None
    leaving: str = ""
    obliged: bool = False

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.reason.value.format(detail=self.detail, ping=self.ping)
