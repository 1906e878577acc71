"""What a node needs in its kernel to carry an address, and what is found there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from floatingip.core.model import Address


class Extent(StrEnum):
    """How much of its plumbing a node should have: nothing, all that can be there ahead of the address, all, or what
    can be ahead and the rest as it is found.
    """

    NOTHING = "nothing"
    AHEAD = "ahead"
    ALL = "all"
    AS_FOUND = "as-found"


@dataclass(frozen=True, slots=True)
class Plumbing:
    """Everything a node needs so that connections to ``address`` arrive and their replies leave by the same ENI.

    ``gateway`` is the VPC router in the ENI's subnet; ``table`` the routing table for the way back; ``priority`` that
    of the rule ``from address``, the mark's rule comes right behind it; ``mark`` the value, within
    the bits of ``mark_mask``, that carries the decision from the arriving packet to its reply; ``primary_mac`` the
    interface whose MTU is copied.
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

    ``UNCERTAIN``: nothing is known to be missing, but nft has not said yet, for less than a minute, whether the marks
    are there, or the kernel whether all that was there still is.
    """

    NO_LINK = "no-link"
    SOUND = "sound"
    UNCERTAIN = "uncertain"
    UNSOUND = "unsound"


@dataclass(frozen=True, slots=True)
class PlumbingReport:
    """What was found after plumbing and reading back.

    ``repaired`` names what had been missing, ``removed`` what had been too much, ``problem`` what the user should know
    to be wrong, even if it is sound; ``extent`` is what was asked for; ``kept_off`` is why no NodePort can answer at
    the address, whatever is plumbed, empty where one can; ``blind`` is why the address cannot be probed from here,
    where it is not carried.
    """

    state: PlumbingState
    repaired: tuple[str, ...] = ()
    problem: str = ""
    removed: tuple[str, ...] = ()
    extent: Extent = Extent.ALL
    kept_off: str = ""
    blind: str = ""

    @property
    def carries(self) -> bool:
        """The link is there, with the address."""
        return self.state is not PlumbingState.NO_LINK and self.extent is Extent.ALL
