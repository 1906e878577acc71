"""Addresses on links: all of a family, and the floating one, as a /32 or /128."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

from floatingip.core.model import Address
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.netlink import ADD, Message, Netlink, attribute, tolerated

# linux/rtnetlink.h, if_addr.h
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, link index
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x2, 0x8, 0x40


@dataclass(frozen=True, slots=True)
class Carried:
    """An address on a link, packed; None where the kernel shows none.  ``works`` is False for an IPv6 address that the
    kernel does not use, since duplicate detection is under way, or has found one.
    """

    packed: bytes | None
    prefix: int
    link_index: int
    works: bool = True


def family(address: Address) -> int:
    """The address' family, as the kernel counts them."""
    return int(socket.AF_INET if address.version == 4 else socket.AF_INET6)


def of_family(netlink: Netlink, address: Address, link: Link | None = None) -> list[Carried]:
    """All of the address' family, or those of one link.  Raises OSError, struct.error."""
    index = link.index if link is not None else 0
    messages = netlink.dump(_RTM_GETADDR, _ADDRESS.pack(family(address), 0, 0, 0, index), _ADDRESS.size)
    return [carried for carried in map(_read, messages) if index in (0, carried.link_index)]


def has(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has it, by itself and not as one of a network.  Raises OSError, struct.error."""
    return _on(netlink, address, link) is not None


def works(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has it like that, and the kernel uses it.  Raises OSError, struct.error."""
    found = _on(netlink, address, link)
    return found is not None and found.works


def add(netlink: Netlink, address: Address, link: Link) -> None:
    """In place of one that does not work, too.  Raises OSError, struct.error."""
    if has(netlink, address, link):
        remove(netlink, address, link)
    # Nobody else can have the address, so duplicate detection would only delay it by a second.
    flags = _IFA_F_NODAD if address.version == 6 else 0
    netlink.change(_RTM_NEWADDR, _message(address, link, flags), ADD)


def remove(netlink: Netlink, address: Address, link: Link) -> None:
    """Also when it is gone already.  Raises OSError."""
    with tolerated(errno.EADDRNOTAVAIL):
        netlink.change(_RTM_DELADDR, _message(address, link))


def _message(address: Address, link: Link, flags: int = 0) -> bytes:
    head = _ADDRESS.pack(family(address), address.max_prefixlen, flags, 0, link.index)
    return head + attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)


def _on(netlink: Netlink, address: Address, link: Link) -> Carried | None:
    carried = of_family(netlink, address, link)
    return next((c for c in carried if (c.packed, c.prefix) == (address.packed, address.max_prefixlen)), None)


def _read(message: Message) -> Carried:
    _, prefix, flags, _, link_index = _ADDRESS.unpack_from(message.content)
    # Of a point-to-point link IFA_ADDRESS is the other end's.
    own = message.attributes.get(_IFA_LOCAL, message.attributes.get(_IFA_ADDRESS))
    return Carried(own, prefix, link_index, works=not flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED))
