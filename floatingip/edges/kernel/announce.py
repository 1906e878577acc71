"""
Tell the neighbours on a link which MAC an address has: a gratuitous ARP, or an unsolicited neighbour advertisement.

An ENI keeps its MAC when it moves, so the VPC learns nothing from that; but neighbours may have cached that the address
is gone.  This is best effort: a neighbour that misses it asks by ARP or NDP anyway.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from floatingip.core.model import Address

_BROADCAST = b"\xff" * 6
_ETHERTYPE_ARP = 0x0806
_ARP_HEAD = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)  # Ethernet, IPv4, their lengths, a request (RFC 5227, 1.1)
_NEIGHBOUR_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000  # replace what is cached (RFC 4861, 4.4)
_TARGET_LINK_ADDRESS = 2
_ALL_NODES = "ff02::1"
_ONLY_LINK_LOCAL_HOPS = 255  # With any other value it is ignored (RFC 4861, 7.1.2).


class Announcer:
    """Announces addresses on links of the network namespace in which it does so first; to be used from one thread.

    The kernel takes some ten milliseconds to close a packet socket, and an observer may announce fifty addresses ten
    times a second.  So the one for ARP stays open; it is for no protocol, so that it receives nothing.
    """

    def __init__(self) -> None:
        self._arp: socket.socket | None = None

    def close(self) -> None:
        """Close the socket; it opens again by itself."""
        if self._arp is not None:
            self._arp.close()
            self._arp = None

    def announce(self, address: Address, link_index: int, mac: str) -> None:
        """Announce the address, which the link already has, once.  Raises OSError when the kernel refuses."""
        if isinstance(address, IPv4Address):
            self._gratuitous_arp(address, socket.if_indextoname(link_index), bytes.fromhex(mac.replace(":", "")))
        else:
            _unsolicited_advertisement(address, link_index, bytes.fromhex(mac.replace(":", "")))

    def _gratuitous_arp(self, address: IPv4Address, link: str, mac: bytes) -> None:
        """An ARP request of the address for itself."""
        if self._arp is None:
            self._arp = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        about = mac + address.packed + bytes(6) + address.packed
        frame = _BROADCAST + mac + struct.pack("!H", _ETHERTYPE_ARP) + _ARP_HEAD + about
        self._arp.sendto(frame, (link, _ETHERTYPE_ARP))


def _unsolicited_advertisement(address: IPv6Address, link_index: int, mac: bytes) -> None:
    """A neighbour advertisement to all nodes; the kernel adds the checksum."""
    head = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE)
    option = struct.pack("!BB", _TARGET_LINK_ADDRESS, 1) + mac
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _ONLY_LINK_LOCAL_HOPS)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link_index)
        sender.bind((str(address), 0))
        sender.sendto(head + address.packed + option, (_ALL_NODES, 0, 0, link_index))
