"""What a node needs in its kernel to carry an address, and what is found there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from floatingip.core.model import Address


class Extent(StrEnum):
    """How much of its plumbing a node should have.

    ``AHEAD``: all that can be there before the address comes.  ``AS_FOUND``: ``ALL`` if the address is on the link,
    otherwise ``AHEAD``.  ``AS_LEFT``: the same, but only if an earlier observer has plumbed the link; any other link
    may be somebody else's, and is not touched.
    """

    NOTHING = "nothing"
    AHEAD = "ahead"
    ALL = "all"
    AS_FOUND = "as-found"
    AS_LEFT = "as-left"


@dataclass(frozen=True, slots=True)
class Plumbing:
    """Everything a node needs so that connections to ``address`` arrive, and their replies leave by the same ENI.

    ``mac`` is the ENI's, and ``gateway`` the VPC router in its subnet.  ``primary_mac`` is the MAC of the primary
    interface, whose MTU is copied.  ``table`` is the routing table for replies.  ``priority`` is that of the rule
    ``from address``; the rule for the mark has the next number.  Connections that come in by the ENI, and their
    replies, are marked with ``mark``, within the bits of ``mark_mask``.
    """

    address: Address
    mac: str
    gateway: Address
    primary_mac: str
    table: int
    priority: int
    mark: int
    mark_mask: int


class PlumbingState(StrEnum):
    """How much of a :class:`Plumbing` the kernel has.

    ``NO_LINK``: there is no link with its MAC, or none is wanted.  ``SOUND``: all of it is there.  ``UNSOUND``:
    something is missing or wrong.  ``UNCERTAIN``: nothing is known to be missing, but nft has not said yet whether the
    marks are there, or the kernel whether all that was there still is; after a while that becomes ``UNSOUND``.
    """

    NO_LINK = "no-link"
    SOUND = "sound"
    UNCERTAIN = "uncertain"
    UNSOUND = "unsound"


@dataclass(frozen=True, slots=True)
class PlumbingReport:
    """What was found after plumbing and reading back.

    ``repaired`` names what was missing and is there now, ``removed`` what was too much.  ``problem`` is what the user
    should know to be wrong, even if the plumbing is sound; empty if nothing is.  ``extent`` is how much there should
    be: if there is a link never ``AS_FOUND``, and ``NOTHING`` for a link that is not touched.  ``kept_off`` is why no
    NodePort can answer at the address although it is plumbed, empty if one can.  ``blind`` is why a node that does not
    carry the address cannot probe it, empty if it can.
    """

    state: PlumbingState
    repaired: tuple[str, ...] = ()
    problem: str = ""
    removed: tuple[str, ...] = ()
    extent: Extent = Extent.ALL
    kept_off: str = ""
    blind: str = ""

    @property
    def is_here(self) -> bool:
        """The link is there, and has, or should have, the address."""
        return self.state is not PlumbingState.NO_LINK and self.extent is Extent.ALL
