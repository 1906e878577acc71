"""
What the deciding thread publishes: all that anybody else may know of this observer, of one moment and never changed.

The word, readiness, liveness and metrics are views of it, so that no reader sees a decision half made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core import timing
from floatingip.core.figures import AddressFigures, Figures
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.word import Status


@dataclass(frozen=True, slots=True)
class AddressSnapshot:
    """One floating address on this node.

    ``target`` is the settings' text, ``source`` the address on this node by which it would be carried, None while that
    is unknown; ``not_ready`` is why this node could neither serve it nor take it over, empty where it could;
    ``mac_at_risk`` is of the interface on which it is here but could be taken away silently, empty where there is none;
    ``figures`` are for the metrics.
    """

    target: str
    is_holder: bool
    health: HealthState
    source: Address | None = None
    not_ready: str = ""
    mac_at_risk: str = ""
    figures: AddressFigures = field(default_factory=AddressFigures)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it; ``alive_at`` is when the deciding thread came by last.

    ``status`` is the word without peers and sights; ``starting`` before the first decision; ``note`` is what else
    somebody should know, though this observer is ready; ``are_others_short``: should this node be lost, an address that
    it holds would have no place; ``figures`` are for the metrics.
    """

    alive_at: float
    status: Status
    addresses: tuple[AddressSnapshot, ...] = ()
    starting: bool = False
    note: str = ""
    are_others_short: bool = False
    figures: Figures = field(default_factory=Figures)

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
