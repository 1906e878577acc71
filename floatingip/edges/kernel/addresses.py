"""Addresses on links: all of a family, and the floating one, as a /32 or /128."""

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
    """An address on a link, packed; None where the kernel shows none.  ``works`` is False for an IPv6 address that the
    kernel does not use, since duplicate detection is under way, or has found one.  ``stays`` is False for one that the
    kernel takes away after a while, as what DHCP has given.
    """

    packed: bytes | None
    prefix: int
    link_index: int
    works: bool = True
    stays: bool = True


def of_family(netlink: Netlink, address: Address) -> list[Carried]:
    """All of the address' family, on whatever link.  Raises OSError, struct.error."""
    return [_read(message) for message in _of_family(netlink, address, 0)]


def has(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has it: of IPv4 by itself, beside which it may be one of a network; of IPv6, which a link has
    once only, in whatever prefix.  Raises OSError, struct.error.
    """
    return _on(netlink, address, link) is not None


def works(netlink: Netlink, address: Address, link: Link) -> bool:
    """Whether the link has it by itself, without another end, for ever, and the kernel uses it.

    Raises OSError, struct.error.
    """
    message = _on(netlink, address, link)
    return message is not None and _is_plain(message, address) and _read(message).works and _read(message).stays


def add(netlink: Netlink, address: Address, link: Link, *, anew: bool = False) -> None:
    """In place of one that does not work, too; one that does stays, and stays for ever, unless it is to be added
    ``anew``.

    Raises OSError, struct.error.
    """
    there, how = _on(netlink, address, link), ADD
    if there is not None and _is_plain(there, address) and _read(there).works and not anew:
        there, how = None, REPLACE
    if there is not None and (address.version == 6 or _is_plain(there, address)):
        _delete(netlink, there)
        there = None
    # Nobody else can have the address, so duplicate detection would only delay it by a second.
    flags = _IFA_F_NODAD if address.version == 6 else 0
    head = _ADDRESS.pack(family(address.version), address.max_prefixlen, flags, 0, link.index)
    both = attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)
    netlink.change(_RTM_NEWADDR, head + both + _FOR_EVER, how)
    if there is not None:
        _delete(netlink, there)  # afterwards, since routes go with a link's last IPv4 address


def remove(netlink: Netlink, address: Address, link: Link) -> bool:
    """Exactly as it is shown, in each form in which others may have put it there; whether it was.

    Raises OSError, struct.error.
    """
    there = _all_on(netlink, address, link)
    for message in there:
        _delete(netlink, message)
    return bool(there)


def _delete(netlink: Netlink, message: Message) -> None:
    with tolerated(errno.EADDRNOTAVAIL):  # it is gone already
        netlink.change(_RTM_DELADDR, message.content)


def _on(netlink: Netlink, address: Address, link: Link) -> Message | None:
    """The address on the link; of IPv4 it may be there with another end, and without, which is meant then."""
    there = _all_on(netlink, address, link)
    return min(there, key=lambda message: not _is_plain(message, address), default=None)


def _all_on(netlink: Netlink, address: Address, link: Link) -> list[Message]:
    """In each form in which it is on the link."""
    prefixes = {address.max_prefixlen} if address.version == 4 else range(address.max_prefixlen + 1)
    there = []
    for message in _of_family(netlink, address, link.index):
        found = _read(message)
        if found.link_index == link.index and found.packed == address.packed and found.prefix in prefixes:
            there.append(message)
    return there


def _is_plain(message: Message, address: Address) -> bool:
    """The address is there by itself: neither as one of a network, nor with another end."""
    other_end = message.attributes.get(_IFA_ADDRESS, address.packed)
    return _read(message).prefix == address.max_prefixlen and other_end == address.packed


def _of_family(netlink: Netlink, address: Address, link_index: int) -> list[Message]:
    """All of the address' family; a kernel that filters tells those of one link only, where that is not 0."""
    question = _ADDRESS.pack(family(address.version), 0, 0, 0, link_index)
    return netlink.dump(_RTM_GETADDR, question, _ADDRESS.size)


def _read(message: Message) -> Carried:
    _, prefix, flags, _, link_index = _ADDRESS.unpack_from(message.content)
    # Of a point-to-point link IFA_ADDRESS is the other end's.
    own = message.attributes.get(_IFA_LOCAL, message.attributes.get(_IFA_ADDRESS))
    works, stays = not flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED), bool(flags & _IFA_F_PERMANENT)
    return Carried(own, prefix, link_index, works, stays)
