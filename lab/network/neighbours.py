"""
ARP and neighbour discovery (NDP) in the VPC: who asks for an address is told the MAC of the ENI that owns it now.

The kernel's proxy ARP and proxy NDP would answer with the MAC of the port that the question came in by, so that nobody
would ever have a stale entry.  Here a guest can have one, and loses traffic until the entry is refreshed:

- There is no answer for an address that nobody owns, nor to a guest that asks for its own (duplicate detection).
- A guest that confirms an old entry asks the MAC in it: there is an answer only while that MAC is still the right one.
- An announcement (gratuitous ARP, unsolicited neighbour advertisement) goes to whom the fabric lets hear it.

One thread serves all ports.  Layouts: RFC 826 and 5227 (ARP), RFC 4861, section 4 (NDP).
"""

import ctypes
import select
import socket
import struct
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from lab.network.netns import Namespace

MacOf = Callable[[str, str], str | None]
"""(port that asks, address) -> the MAC to answer with, or None for no answer."""

Audience = Callable[[str, str, str], Collection[str]]
"""(port that announces, MAC, address) -> the ports that hear it."""

_BROADCAST = b"\xff" * 6
_ETHERTYPE_ARP, _ETHERTYPE_IPV6 = 0x0806, 0x86DD
_ARP_REQUEST, _ARP_REPLY = 1, 2
_ARP_LENGTH = 42
_SOLICITATION, _ADVERTISEMENT = 135, 136
_ICMPV6 = 58
_NDP_LENGTH = 78
_LINK_ADDRESS_OF_TARGET = b"\x02\x01"
_SOLICITED_OVERRIDE = 0x60000000
_MAX_FRAME = 2048

# Offsets in an Ethernet frame: the next header of IPv6, and the type of an ICMPv6 message right behind it.
_NEXT_HEADER, _ICMPV6_TYPE = 20, 54

_SO_ATTACH_FILTER = 26
# Classic BPF (linux/filter.h): pass only these two types of message; without it this thread would read all IPv6
# traffic.
_LOAD_BYTE, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x15, 0x06
_ONLY_NDP = (
    (_LOAD_BYTE, 0, 0, _NEXT_HEADER),
    (_JUMP_IF_EQUAL, 0, 4, _ICMPV6),
    (_LOAD_BYTE, 0, 0, _ICMPV6_TYPE),
    (_JUMP_IF_EQUAL, 1, 0, _SOLICITATION),
    (_JUMP_IF_EQUAL, 0, 1, _ADVERTISEMENT),
    (_RETURN, 0, 0, 0xFFFFFFFF),
    (_RETURN, 0, 0, 0),
)


@dataclass(frozen=True, slots=True)
class _Question:
    """A question for an address, to all neighbours, or to one MAC.  `answer` makes the frame of the answer."""

    address: str
    asked: str | None
    answer: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class _Announcement:
    """An announcement of which MAC an address has."""

    address: str
    mac: str


class Neighbours:
    """Serves the ports of a namespace from the moment it is made until `close`; both callables must not block."""

    def __init__(self, namespace: Namespace, mac_of: MacOf, audience: Audience) -> None:
        self._mac_of = mac_of
        self._audience = audience
        self._arp = _listen(namespace, _ETHERTYPE_ARP)
        self._ndp = _listen(namespace, _ETHERTYPE_IPV6)
        _attach_filter(self._ndp)
        self._ending, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=f"{namespace.name}-neighbours", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the service."""
        self._end.send(b"\0")
        self._thread.join()
        for used in (self._arp, self._ndp, self._ending, self._end):
            used.close()

    def _serve(self) -> None:
        readers = {self._arp: _read_arp, self._ndp: _read_ndp}
        while True:
            ready, _, _ = select.select([*readers, self._ending], [], [])
            if self._ending in ready:
                return
            for listener in ready:
                frame, (port, *_) = listener.recvfrom(_MAX_FRAME)
                for receiver, sent in self._react(port, frame, readers[listener](frame)):
                    # The port may vanish at any time, and its machine too.
                    with suppress(OSError):
                        listener.sendto(sent, (receiver, 0))

    def _react(self, port: str, frame: bytes, message: _Question | _Announcement | None) -> list[tuple[str, bytes]]:
        """The frames to send, each with its port."""
        match message:
            case _Announcement(address, mac):
                return [(receiver, frame) for receiver in self._audience(port, mac, address)]
            case _Question(address, asked, answer):
                owner = self._mac_of(port, address)
                if owner is not None and asked in {None, owner}:
                    return [(port, answer(owner))]
        return []


def _read_arp(frame: bytes) -> _Question | _Announcement | None:
    if len(frame) < _ARP_LENGTH:
        return None
    (operation,) = struct.unpack_from("!H", frame, 20)
    sender, target = str(IPv4Address(frame[28:32])), str(IPv4Address(frame[38:42]))
    if sender == target:
        return _Announcement(target, _mac(frame[22:28]))
    if operation != _ARP_REQUEST:
        return None

    def answer(mac: str) -> bytes:
        owner, asker = _packed(mac), frame[22:32]
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _ARP_REPLY)
        return frame[6:12] + owner + _ethertype(_ETHERTYPE_ARP) + head + owner + frame[38:42] + asker

    return _Question(target, None if frame[:6] == _BROADCAST else _mac(frame[:6]), answer)


def _read_ndp(frame: bytes) -> _Question | _Announcement | None:
    if len(frame) < _NDP_LENGTH or frame[_NEXT_HEADER] != _ICMPV6:
        return None
    source, target, options = IPv6Address(frame[22:38]), IPv6Address(frame[62:78]), frame[78:]
    if frame[_ICMPV6_TYPE] == _ADVERTISEMENT and frame[38] == 0xFF and options[:2] == _LINK_ADDRESS_OF_TARGET:
        return _Announcement(str(target), _mac(options[2:8]))
    # A solicitation without a source address is duplicate address detection; EC2 gives no address twice.
    if frame[_ICMPV6_TYPE] != _SOLICITATION or source.is_unspecified:
        return None

    def answer(mac: str) -> bytes:
        owner = _packed(mac)
        said = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _SOLICITED_OVERRIDE) + target.packed
        said += _LINK_ADDRESS_OF_TARGET + owner
        ends = target.packed + source.packed
        checksum = _checksum(ends + struct.pack("!II", len(said), _ICMPV6) + said)
        said = said[:2] + struct.pack("!H", checksum) + said[4:]
        head = struct.pack("!IHBB", 6 << 28, len(said), _ICMPV6, 255)
        return frame[6:12] + owner + _ethertype(_ETHERTYPE_IPV6) + head + ends + said

    return _Question(str(target), None if frame[0] & 1 else _mac(frame[:6]), answer)


def _listen(namespace: Namespace, ethertype: int) -> socket.socket:
    """A socket that gets all frames of this type that enter the namespace, except those of silenced ports."""
    kind = socket.htons(ethertype)
    return namespace.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, kind))


def _attach_filter(listener: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _ONLY_NDP))
    program = struct.pack("@HP", len(_ONLY_NDP), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ethertype(number: int) -> bytes:
    return struct.pack("!H", number)


def _mac(packed: bytes) -> str:
    return packed.hex(":")


def _packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
