"""
Have a connection, or a ping, go to whom it names, whatever NAT this node has for others.

Whoever may make a Service in any namespace can give it the floating address, or another worker's, among its
`externalIPs`: kube-proxy then leads what each node sends to that address and port to a pod of theirs, which could
answer in the name of whoever has died.  Some CNIs lead all that is for an address to a pod that names it, pings, too.
The kernel decides about NAT with a connection's first packet, and does nothing
to one that conntrack knows already.  So conntrack is told of the connection before it begins.
"""

from __future__ import annotations

import errno
import math
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address

from floatingip.core.model import Address
from floatingip.edges import clock
from floatingip.edges.kernel.netlink import ADD, NETFILTER, Netlink, attribute

KNOWN_FOR = 10
"""Seconds for which conntrack remembers a connection whose first packet is never sent."""

TOLD_WITHIN = 0.1
"""Seconds within which conntrack must have been told of a connection: it usually takes less than a millisecond, and
whoever connects has others to look after.
"""

PORTS = 4
"""How many of this node's ports are tried, where conntrack has connections from them."""

AGAIN_AFTER = 60.0
"""Seconds after which a kernel is asked again that takes no such message, or is silent: it looks for the module each
time, which takes it a while; and at boot, or short of memory, it may not have found it.
"""

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_NEW_CONNECTION = 1 << 8 | 0
_HEAD = struct.Struct("=BBH")  # family, version, resource
_ORIGINAL, _REPLY, _TIMEOUT = 1, 2, 7
_ADDRESSES, _PROTOCOL = 1, 2
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_FROM_AND_TO = {4: (1, 2), 6: (3, 4)}
_PROTOCOL_NUMBER, _FROM_PORT, _TO_PORT = 1, 2, 3
_ECHO = {4: (socket.IPPROTO_ICMP, 4, 8, 0), 6: (socket.IPPROTO_ICMPV6, 7, 128, 129)}
"""By IP version: the protocol, the first of its attributes (identifier, type, code), the types of request and reply."""
_NESTED = 0x8000

_ANY_PORT = 9
"""One to ask for the way by: nothing is sent there."""

# linux/in.h; the latter is known from Linux 6.3 on.
_ADDRESS_WITHOUT_PORT, _PORT_RANGE = 24, 51

_End = tuple[Address, int]


@dataclass(slots=True)
class _Obstacle:
    """`said` is why conntrack could not be told first in this process; nobody need hear of it twice.  Before `again_at`
    it is not tried.
    """

    said: str = ""
    shown: bool = False
    again_at: float = -math.inf


_obstacle = _Obstacle()


def prepare() -> None:
    """Tell conntrack of a connection that nobody makes, so that the kernel loads the module at the start, not while
    somebody waits for a probe.
    """
    nobody = ip_address("127.0.0.1"), 9
    with _noting(), suppress(FileExistsError):  # as another process has told of it just now
        _tell(nobody, nobody, None)


def obstacle() -> str:
    """Why conntrack could not be told of a connection, once in the life of this process; otherwise empty."""
    if not _obstacle.said or _obstacle.shown:
        return ""
    _obstacle.shown = True
    return _obstacle.said


def go_straight(at: socket.socket, to: Address, port: int, within: float = TOLD_WITHIN) -> None:
    """Choose a port for the TCP socket, which has none yet, and have what it sends to that address and port led by no
    NAT of this node.

    This node's own addresses are left to NAT: so NodePorts are served there.  Best effort: where conntrack cannot be
    told, or not within so many seconds, or others' rules put the connection into a zone of its own, NAT may lead it
    elsewhere; see `obstacle`.
    """
    if to.is_loopback or clock.now() < _obstacle.again_at:
        return
    with suppress(OSError):
        source = ip_address(at.getsockname()[0])
        if source.is_unspecified:
            source = _source(to, port)
        if source != to:
            _try(at, source, (to, port), min(within, TOLD_WITHIN))


def bind_address(at: socket.socket, source: Address) -> None:
    """Have the socket connect from this address; its port is chosen only then.  Raises OSError."""
    at.setsockopt(socket.IPPROTO_IP, _ADDRESS_WITHOUT_PORT, 1)
    at.bind((str(source), 0))


def send_straight(conntrack: Netlink, to: Address, identifier: int) -> None:
    """Have the echo request of this identifier, which this node sends to that address next, be led by no NAT: in the
    same way, and where conntrack cannot be told, as little.
    """
    if to.is_loopback or clock.now() < _obstacle.again_at:
        return
    with suppress(OSError):
        source = _source(to, _ANY_PORT)
        if source != to:
            # What conntrack knows already has NAT decided about, as for nobody.
            with _noting(), suppress(FileExistsError):
                _tell_of(conntrack, source, to, *_echo(to, identifier))


def _source(to: Address, port: int) -> Address:
    """The address from which the kernel would send there.  Raises OSError."""
    with socket.socket(_FAMILY[to.version], socket.SOCK_DGRAM) as asking:
        asking.connect((str(to), port))  # which sends nothing
        return ip_address(asking.getsockname()[0])


def _try(at: socket.socket, source: Address, to: _End, within: float) -> None:
    with _noting():
        _take(at, source, _told_port(source, to, within))


def _told_port(source: Address, to: _End, within: float) -> int:
    """A free port, of which conntrack has been told that a connection comes from it.  Raises OSError.

    Where conntrack still has one from it that is over, for 120 s, the kernel would make that anew, and ask NAT again.
    """
    with ExitStack() as tried:
        for _ in range(PORTS):
            held = tried.enter_context(socket.socket(_FAMILY[source.version], socket.SOCK_STREAM))
            held.bind((str(source), 0))
            port: int = held.getsockname()[1]
            with suppress(FileExistsError):
                _tell((source, port), to, within)
                return port
    raise FileExistsError(errno.EEXIST, f"it has connections from each of {PORTS} free ports")


def _take(at: socket.socket, source: Address, port: int) -> None:
    """Have the socket connect from that port.  Raises OSError.

    By a range of one port, which is had only when it connects: one that a socket is bound to before serves no other
    connection of this node until 60 s after its end, one that was taken so serves those to elsewhere.
    """
    try:
        at.setsockopt(socket.IPPROTO_IP, _PORT_RANGE, struct.pack("=I", port << 16 | port))
    except OSError:
        at.bind((str(source), port))


@contextmanager
def _noting() -> Iterator[None]:
    """Note what keeps conntrack from being told."""
    try:
        yield
    except OSError as error:
        _obstacle.said = _obstacle.said or str(error.strerror or error)
        if error.errno in (errno.EINVAL, errno.ETIMEDOUT):
            _obstacle.again_at = clock.now() + AGAIN_AFTER


def _tell(source: _End, to: _End, within: float | None) -> None:
    """Tell conntrack of a TCP connection.  Raises OSError."""
    with closing(to_conntrack(within)) as conntrack:
        _tell_of(conntrack, source[0], to[0], _ports(source[1], to[1]), _ports(to[1], source[1]))


def to_conntrack(within: float | None = TOLD_WITHIN) -> Netlink:
    """A socket by which conntrack is told, within so many seconds each time; for one thread at a time."""
    return Netlink(NETFILTER, within)


def _tell_of(conntrack: Netlink, source: Address, to: Address, there: bytes, back: bytes) -> None:
    """Tell it of one: ``there`` and ``back`` are the protocol and its ends, in each direction.  Raises OSError."""
    content = _HEAD.pack(_FAMILY[to.version], 0, 0)
    content += _way(_ORIGINAL, source, to, there) + _way(_REPLY, to, source, back)
    content += attribute(_TIMEOUT, struct.pack("!I", KNOWN_FOR))
    conntrack.change(_NEW_CONNECTION, content, ADD)


def _way(kind: int, source: Address, to: Address, protocol: bytes) -> bytes:
    """The packets of one direction."""
    addresses = zip(_FROM_AND_TO[to.version], (source, to), strict=True)
    return _nested(
        kind, _nested(_ADDRESSES, *(attribute(each, address.packed) for each, address in addresses)), protocol
    )


def _ports(source: int, to: int) -> bytes:
    """TCP, from port to port."""
    ends = ((_FROM_PORT, source), (_TO_PORT, to))
    ports = (attribute(each, struct.pack("!H", port)) for each, port in ends)
    return _nested(_PROTOCOL, attribute(_PROTOCOL_NUMBER, bytes([socket.IPPROTO_TCP])), *ports)


def _echo(to: Address, identifier: int) -> tuple[bytes, bytes]:
    """An echo request of that identifier, and its reply."""
    protocol, first, request, reply = _ECHO[to.version]

    def one(kind: int) -> bytes:
        parts = (struct.pack("!H", identifier), bytes([kind]), b"\0")  # the code is 0
        named = (attribute(first + index, part) for index, part in enumerate(parts))
        return _nested(_PROTOCOL, attribute(_PROTOCOL_NUMBER, bytes([protocol])), *named)

    return one(request), one(reply)


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))
