"""
What the deciding thread publishes: all that anybody else may know of this observer, of one moment and never changed.

The word, readiness, liveness, metrics, status and page are views of it, so that no reader sees a decision half made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from floatingip.core import timing
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.move import Move
from floatingip.core.peer import WordState
from floatingip.core.report import Order, Report
from floatingip.core.word import Status


class Lack(StrEnum):
    """Why a node could neither serve an address nor take it over, where that is no decision's reason."""

    SUBNET_UNKNOWN = "SUBNET_UNKNOWN"
    IMPOSSIBLE = "IMPOSSIBLE"
    DENIED = "DENIED"
    NO_ROOM = "NO_ROOM"
    BLIND = "BLIND"
    UNSOUND = "UNSOUND"
    KEPT_OFF = "KEPT_OFF"


@dataclass(frozen=True, slots=True)
class ProbeSpan:
    """What came of the probes of a few seconds from ``began_at`` on; ``slowest`` is the longest round-trip."""

    began_at: float
    answered: int = 0
    lost: int = 0
    slowest: float = 0.0


@dataclass(frozen=True, slots=True)
class AddressSnapshot:
    """One floating address on this node.

    ``target`` is the settings' text, ``source`` the address on this node by which it would be carried, None while that
    is unknown; ``not_ready`` is why this node could neither serve it nor take it over, in words, and ``lack`` the same
    by the name of a decision's reason or of a `Lack`: both are empty where it could;
    ``mac_at_risk`` is of the interface on which it is here but could be taken away silently, empty where there is none.

    ``state``, ``rule``, ``reason`` and ``sentence`` are the last decision's.  ``holder`` is the instance that EC2
    showed last, in an answer to a question of ``asked_at``; it has had the address since ``since_wall`` (Unix seconds),
    or longer, where that is only when it was seen first (``since_at_least``).  ``blind`` is why this node cannot probe
    it; ``up_as`` what it is called in the word of whoever sees it UP, as ``holder`` has it; ``round_trip`` that of the
    last probe that was answered, in seconds; ``probes`` are those of the last minutes, ``moves`` the last ones, oldest
    first.  A rationed move could be from ``rationed_until_wall`` on.
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
    blind: str = ""
    up_as: str = ""
    round_trip: float | None = None
    probes: tuple[ProbeSpan, ...] = ()
    node_ports: Mapping[int, HealthState] = field(default_factory=dict)
    word: WordState = WordState.UNASKED
    order: Order | None = None
    moves: tuple[Move, ...] = ()
    rationed_until_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class PeerSnapshot:
    """Another observer: where it is asked, when it answered last, None for never, and whether the last question got no
    answer (``is_silent``); ``status`` is its last word, ``report`` what it told last of itself, without its own peers.
    """

    instance_id: str
    address: Address
    heard_at: float | None = None
    is_silent: bool = False
    status: Status | None = None
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it; ``alive_at`` is when the deciding thread came by last.

    ``status`` is the word without peers and sights; ``starting`` before the first decision; ``note`` is what else
    somebody should know, though this observer is ready; ``are_others_short``: should this node be lost, an address that
    it holds would have no place; ``is_imds_well``: nothing has been wrong with IMDS lately; ``denied`` are the IAM
    actions that the last rehearsal, or the last question, showed denied.

    ``began_at`` is when this process began, and ``wall`` is ``alive_at`` in Unix seconds.  ``node`` is this node's
    name, ``address`` its primary one; ``leaving`` why it is about to end, empty while it is not.  ``answered_at`` is
    when the last question was asked that EC2 has answered, ``unanswered`` why it has not answered since, empty where it
    has; ``unknown`` are sentences on what else could not be learned.
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
        """Why this observer does not live; empty when it does."""
        silent_for = now - self.alive_at
        return f"the deciding thread was last seen {silent_for:.0f} s ago" if silent_for > timing.LIVE_WITHIN else ""

    def not_ready(self) -> str:
        """Why it could neither serve some address nor take it over; empty when it could."""
        reasons = (f"{each.target}: {each.not_ready}" for each in self.addresses if each.not_ready)
        return "starting" if self.starting else "; ".join(reasons)

    def sources(self) -> Mapping[str, Address]:
        """By the floating addresses' texts, the addresses on this node by which it would carry them."""
        return {each.target: each.source for each in self.addresses if each.source is not None}

    def macs_at_risk(self) -> frozenset[str]:
        """Of the interfaces that IMDS is asked about."""
        return frozenset(each.mac_at_risk for each in self.addresses if each.mac_at_risk)
