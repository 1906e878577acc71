"""Addresses on links: list those of a family; add, find and remove the floating address, as a /32 or /128."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

from floatingip.core.model import Address
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.netlink import ADD, REPLACE, Message, Netlink, attribute, family, tolerated

# linux/rtnetlink.h, if_addr.h
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, link index
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO = 1, 2, 6
_IFA_F_NODAD, _IFA_F_DADFAILED, _IFA_F_TENTATIVE, _IFA_F_PERMANENT = 0x2, 0x8, 0x40, 0x80
_FOR_EVER = attribute(_IFA_CACHEINFO, struct.pack("=IIII", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0))


@dataclass(frozen=True, slots=True)
class Carried:
    """An address on a link.

    ``packed`` is the address as bytes, None if the kernel shows none.  ``works`` is False for an IPv6 address that the
    kernel does not use, since duplicate address detection is under way or has failed.  ``stays`` is False for an
    address with a limited lifetime, such as one from DHCP.
    """

    packed: bytes | None
    prefix: int
    link_index: int
    works: bool = True
    stays: bool = True


def of_family(netlink: Netlink, address: Address) -> list[Carried]:
    """All addresses of this address' family, on all links.  Raises OSError, struct.error."""
    return [_read(message) for message in _of_family(netlink, address, 0)]


def has(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has the address.  An IPv4 address must be there as a /32; it may be there in a network as well.
    An IPv6 address may have any prefix, since a link has it only once.  Raises OSError, struct.error.
    """
    return _on(netlink, address, link) is not None


def works(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has the address as a /32 or /128, with no peer address, for ever, and the kernel uses it.

    Raises OSError, struct.error.
    """
    message = _on(netlink, address, link)
    return message is not None and _is_plain(message, address) and _read(message).works and _read(message).stays


def add(netlink: Netlink, address: Address, link: Link, *, anew: bool = False) -> None:
    """Add the address, for ever.  One that is there and works is kept and made permanent; one that does not work, or is
    to be added ``anew``, is replaced.

    Raises OSError, struct.error.
    """
    there, how = _on(netlink, address, link), ADD
    if there is not None and _is_plain(there, address) and _read(there).works and not anew:
        there, how = None, REPLACE
    if there is not None and (address.version == 6 or _is_plain(there, address)):
        _delete(netlink, there)
        there = None
    # Nobody else can have the address, so duplicate address detection would only delay it by a second.
    flags = _IFA_F_NODAD if address.version == 6 else 0
    head = _ADDRESS.pack(family(address.version), address.max_prefixlen, flags, 0, link.index)
    both = attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    netlink.change(_RTM_NEWADDR, head + both + _FOR_EVER, how)
    if there is not None:
        _delete(netlink, there)  # Only now: routes are lost with a link's last IPv4 address.


def remove(netlink: Netlink, address: Address, link: Link) -> bool:
    """Remove the address, in every form in which others may have put it there; return whether it was there.

    Raises OSError, struct.error.
    """
    there = _all_on(netlink, address, link)
    for message in there:
        _delete(netlink, message)
    return bool(there)


def _delete(netlink: Netlink, message: Message) -> None:
    with tolerated(errno.EADDRNOTAVAIL):  # It is gone already.
        netlink.change(_RTM_DELADDR, message.content)


def _on(netlink: Netlink, address: Address, link: Link) -> Message | None:
    """The address on the link.  An IPv4 address may be there twice, with a peer address and without: then without."""
    there = _all_on(netlink, address, link)
    return min(there, key=lambda message: not _is_plain(message, address), default=None)


def _all_on(netlink: Netlink, address: Address, link: Link) -> list[Message]:
    """The address in every form in which it is on the link."""
    prefixes = {address.max_prefixlen} if address.version == 4 else range(address.max_prefixlen + 1)
    there = []
    for message in _of_family(netlink, address, link.index):
        found = _read(message)
        if found.link_index == link.index and found.packed == address.packed and found.prefix in prefixes:
            there.append(message)
    return there


def _is_plain(message: Message, address: Address) -> bool:
    """The address is there as a /32 or /128, and with no peer address."""
    other_end = message.attributes.get(_IFA_ADDRESS, address.packed)
    return _read(message).prefix == address.max_prefixlen and other_end == address.packed


def _of_family(netlink: Netlink, address: Address, link_index: int) -> list[Message]:
    """All addresses of the family; a kernel that can filter shows only those of the link, unless its index is 0."""
    question = _ADDRESS.pack(family(address.version), 0, 0, 0, link_index)
    return netlink.dump(_RTM_GETADDR, question, _ADDRESS.size)


def _read(message: Message) -> Carried:
    _, prefix, flags, _, link_index = _ADDRESS.unpack_from(message.content)
    # With a peer address, IFA_ADDRESS is the peer's, and IFA_LOCAL our own.
    own = message.attributes.get(_IFA_LOCAL, message.attributes.get(_IFA_ADDRESS))
    works, stays = not flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED), bool(flags & _IFA_F_PERMANENT)
    return Carried(own, prefix, link_index, works, stays)
