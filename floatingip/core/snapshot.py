"""
What the agent publishes: all that others may know of this observer, at one moment, as a value that never changes.

The word, readiness, liveness, metrics, status and page are all made from one snapshot, so no reader sees a decision
half made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core import timing
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.move import Move
from floatingip.core.peer import WordState
from floatingip.core.report import OrderReport, Report
from floatingip.core.word import Status


@dataclass(frozen=True, slots=True)
class ProbeSpan:
    """The results of the probes in the few seconds from ``began_at`` on; ``slowest`` is the longest round-trip, in
    seconds.
    """

    began_at: float
    answered: int = 0
    lost: int = 0
    slowest: float = 0.0


@dataclass(frozen=True, slots=True)
class AddressSnapshot:
    """One floating address on this node.

    ``target`` is the settings' text; ``source`` is the address that a node carries for it, None while that is unknown.
    ``not_ready`` is why this node could neither serve the address nor take it over, in words, and ``lack`` the same as
    the name of a decision's reason or of a `Lack`; both are empty if it could.  ``mac_at_risk`` is the MAC of the
    interface on which this node carries the address, if EC2 could take it away silently; otherwise empty.

    ``state``, ``rule``, ``reason`` and ``sentence`` are the last decision's.  ``holder`` is the instance that EC2
    showed last, asked at ``asked_at``.  It has had the address since ``since_wall`` (Unix seconds); or for longer, if
    that is only when this node first saw it (``since_at_least``).

    The address has not answered since ``down_since_wall``, None if it answers or never did.  This node has lacked
    something (``not_ready``) since ``unready_since_wall``, even if it was something else at first.

    ``blind`` is why this node cannot probe the address, empty if it can.  ``up_as`` is the sighting by which observers
    tell that they see it UP with its present holder.  ``round_trip`` is that of the last answered probe, in seconds.
    ``probes`` are those of the last minutes; ``moves`` are the last moves, oldest first.  From ``rationed_until_wall``
    on (Unix seconds) a rationed move may be made; from ``paused_until_wall`` on any move that nobody asked for.
    """

    target: str
    is_holder: bool
    health: HealthState
    source: Address | None = None
    not_ready: str = ""
    mac_at_risk: str = ""
    lack: str = ""
    state: str = ""
    rule: str = ""
    reason: str = ""
    sentence: str = ""
    holder: str = ""
    asked_at: float | None = None
    since_wall: float | None = None
    since_at_least: bool = False
    down_since_wall: float | None = None
    unready_since_wall: float | None = None
    blind: str = ""
    up_as: str = ""
    round_trip: float | None = None
    probes: tuple[ProbeSpan, ...] = ()
    node_ports: Mapping[int, HealthState] = field(default_factory=dict)
    word: WordState = WordState.UNASKED
    order: OrderReport | None = None
    moves: tuple[Move, ...] = ()
    rationed_until_wall: float = 0.0
    paused_until_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class PeerSnapshot:
    """Another observer.

    ``address`` is where it is asked.  ``heard_at`` is when it answered last, None if it never did; ``is_silent``: it
    did not answer the last question.  ``status`` is its last word.  ``report`` is its last report, without its own
    peers, which came at ``reported_at`` (None if not known); the times in it are by its node's clock.  ``node`` is its
    node's name by EC2, empty if that is not known; it is used until the observer has told the name itself.
    """

    instance_id: str
    address: Address
    heard_at: float | None = None
    is_silent: bool = False
    status: Status | None = None
    report: Report | None = None
    node: str = ""
    reported_at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that others may know, at the time ``alive_at``, when the deciding thread made it.

    ``status`` is the word, without peers and sights.  ``starting``: there was no decision yet.  ``note`` is what
    somebody should know although this observer is ready.  ``are_others_short``: if this node were lost, the others
    would lack room for an address that it holds.  ``is_imds_well``: nothing has gone wrong with IMDS lately.
    ``denied`` are the IAM actions that the last rehearsal, or the last question to EC2, showed as denied.

    ``began_at`` is when this process began; ``wall`` is ``alive_at`` in Unix seconds.  ``node`` is this node's name,
    ``address`` its primary address, and ``leaving`` why it is about to end, empty while it is not.  ``answered_at`` is
    when EC2 was asked the last question that it answered, and ``unanswered`` why it has not answered since, empty if it
    has.  ``unknown`` says in sentences what else could not be found out.
    """

    alive_at: float
    status: Status
    addresses: tuple[AddressSnapshot, ...] = ()
    starting: bool = False
    note: str = ""
    are_others_short: bool = False
    is_imds_well: bool = True
    denied: frozenset[str] = frozenset()
    wall: float = 0.0
    began_at: float = 0.0
    carry: str = ""
    node: str = ""
    address: Address | None = None
    leaving: str = ""
    answered_at: float | None = None
    unanswered: str = ""
    unknown: tuple[str, ...] = ()
    peers: tuple[PeerSnapshot, ...] = ()

    def not_live(self, now: float) -> str:
        """Why this observer counts as dead; empty while it is alive."""
        silent_for = now - self.alive_at
        return f"the deciding thread was last seen {silent_for:.0f} s ago" if silent_for > timing.LIVE_WITHIN else ""

    def not_ready(self) -> str:
        """Why this node could neither serve nor take over one address or several; empty if it could for all."""
        reasons = (f"{each.target}: {each.not_ready}" for each in self.addresses if each.not_ready)
        return "starting" if self.starting else "; ".join(reasons)

    def free_slots(self) -> int | None:
        """How many more ENIs this node could take; None if it does not tell, or EC2 has not answered yet.

        Before EC2's first answer the word may tell peers 0, since this node's standing ENI is not known yet: they must
        not wait for this node.
        """
        return None if self.answered_at is None else self.status.free_slots

    def sources(self) -> Mapping[str, Address]:
        """The address that a node carries for each target, by the target's text."""
        return {each.target: each.source for each in self.addresses if each.source is not None}

    def macs_at_risk(self) -> frozenset[str]:
        """The MACs of the interfaces that IMDS is asked about."""
        return frozenset(each.mac_at_risk for each in self.addresses if each.mac_at_risk)
