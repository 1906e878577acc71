"""The other observers: which of them are asked, and whether they could take over what this node holds."""

from __future__ import annotations

from collections.abc import Collection

from floatingip.agent.address import FloatingAddress
from floatingip.agent.effects import AskPeers
from floatingip.agent.outbox import Outbox
from floatingip.agent.peers import Peers
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import timing
from floatingip.core.decision.decision import State
from floatingip.core.decision.view import has_just_begun
from floatingip.core.model import Address

LONELY = (
    "no other observer answers on TCP {port}: nobody would take over; run two, on two nodes, and let the workers'"
    " security group admit TCP {port} from itself"
)
"""What a node says that hears no other observer, with what to do about it."""


class Company:
    """The other observers, as a node with these ``addresses`` needs them.

    ``peers`` is what they said.  ``is_short``: if this node were lost, they would lack room for an address that it
    holds.
    """

    def __init__(self, addresses: Collection[FloatingAddress], peers: Peers, shared: Shared, out: Outbox) -> None:
        self.is_short = False
        self._lonely_words = LONELY.format(port=shared.settings.port)
        self._addresses = addresses
        self._peers = peers
        self._shared = shared
        self._out = out
        self._doubted: frozenset[str] = frozenset()
        self._lonely, self._short = Trouble(timing.SHORT_FOR), Trouble(timing.SHORT_FOR)

    @property
    def loneliness(self) -> str:
        """A sentence that no other observer has answered for a while, and what to do; empty if one has."""
        return self._lonely_words if self._lonely.is_told else ""

    def follow(self, now: float, *, tick: bool) -> None:
        """Ask the others at each ``tick``, and at once when the set of addresses in doubt has changed."""
        doubted = frozenset(each.text for each in self._addresses if each.answers.health.in_doubt)
        if tick or doubted != self._doubted:
            self._doubted = doubted
            self.ask(now)

    def ask(self, now: float) -> None:
        """Ask the observers of the holders, and all peers."""
        holders: dict[str, Address] = {}
        for address in self._addresses:
            instance = self._shared.instances.get(address.where.holder())
            if instance is not None and instance.address is not None:
                holders[instance.id] = instance.address
        known = self._peers.known(now)
        if has_just_begun(self._shared.informed_at, now):
            known |= self._shared.neighbours
        self._out.add(AskPeers(holders, known, self._doubted))

    def warn_when_short(self, now: float) -> None:
        """Warn when the others could not take over all that this node holds, or when there are none."""
        held = sum(address.decision.state is State.HOLDER for address in self._addresses)
        others = self._peers.others(self._shared.name)
        slots = [peer.free_slots for peer in others if now - peer.heard_at < timing.PEER_EXISTS]
        known = [free for free in slots if free is not None]
        short = ""
        if held and slots and len(known) == len(slots) and sum(known) < held:
            short = f"should this node be lost, the others have {sum(known)} free ENI slots for its {held} addresses"
        if self._short.is_due(short, now):
            self._out.warning("capacity", f"{short}; add nodes, or keep more slots free (the VPC CNI's MAX_ENI)")
        if self._lonely.is_due("" if slots else self._lonely_words, now):
            self._out.warning("alone", self._lonely_words)
        elif self._lonely.is_over:
            self._out.info("alone", "another observer answers again")
        self.is_short = bool(short) or (self._lonely.is_told and bool(held))
