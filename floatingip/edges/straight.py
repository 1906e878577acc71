"""
Make a connection, or a ping, go to the address that it names, whatever NAT rules this node has.

Anybody who may make a Service in any namespace can put the floating address, or another worker's, into its
`externalIPs`.  Then kube-proxy leads what each node sends to that address and port to a pod of theirs, which could
answer in the name of a dead node.  Some CNIs lead everything that is for an address, even pings, to a pod that names
it.  The kernel decides about NAT with a connection's first packet, and leaves alone a connection that conntrack knows
already.  So conntrack is told of the connection before it begins.
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
"""Seconds within which conntrack must have been told of a connection: it usually takes less than a millisecond, and the
calling thread has other connections to look after.
"""

PORTS = 4
"""How many of this node's ports are tried, if conntrack has connections from them already."""

AGAIN_AFTER = 60.0
"""Seconds after which conntrack is told again if the kernel refused such a message, or was silent.  The kernel looks
for the module each time, which takes a while; at boot, or short of memory, it may not have found it.
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
"""By IP version: the protocol's number, the number of its first attribute (identifier, type and code are in sequence),
and the types of request and reply."""
_NESTED = 0x8000

_ANY_PORT = 9
"""A port that is only used to ask the kernel for the source address: nothing is sent there."""

# linux/in.h; the latter is known from Linux 6.3 on.
_ADDRESS_WITHOUT_PORT, _PORT_RANGE = 24, 51

_End = tuple[Address, int]


@dataclass(slots=True)
class _Obstacle:
    """What keeps conntrack from being told, in this process.

    `said` is the first error, empty while there was none; `shown`: the log has it, and it is not logged twice.  Before
    `again_at` conntrack is not told of anything.
    """

    said: str = ""
    shown: bool = False
    again_at: float = -math.inf


_obstacle = _Obstacle()


def prepare() -> None:
    """Tell conntrack of a connection that nobody makes, so that the kernel loads the module at the start, not while
    a probe waits for it.
    """
    nobody = ip_address("127.0.0.1"), 9
    with _noting(), suppress(FileExistsError):  # Another process has just told of the same connection.
        _tell(nobody, nobody, None)


def obstacle() -> str:
    """Why conntrack could not be told of a connection; empty if it could.  A process gets this answer only once."""
    if not _obstacle.said or _obstacle.shown:
        return ""
    _obstacle.shown = True
    return _obstacle.said


def go_straight(at: socket.socket, to: Address, port: int, within: float = TOLD_WITHIN) -> None:
    """Choose a local port for the TCP socket, which has none yet, such that no NAT of this node changes its connection
    to the address ``to`` and the ``port``.

    Connections to this node's own addresses are left to NAT, since NodePorts are served by it.  This is best effort:
    NAT may still lead the connection elsewhere if conntrack cannot be told ``within`` so many seconds, or if others'
    rules put the connection into a conntrack zone of its own; see `obstacle`.
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
    """Make the socket connect from this address; its port is chosen only when it connects.  Raises OSError."""
    at.setsockopt(socket.IPPROTO_IP, _ADDRESS_WITHOUT_PORT, 1)
    at.bind((str(source), 0))


def send_straight(conntrack: Netlink, to: Address, identifier: int) -> None:
    """The same as `go_straight` for an echo request: call it before the request with this identifier is sent to the
    address ``to``.
    """
    if to.is_loopback or clock.now() < _obstacle.again_at:
        return
    with suppress(OSError):
        source = _source(to, _ANY_PORT)
        if source != to:
            # If conntrack knows the flow already (FileExistsError), NAT was decided about it before.
            with _noting(), suppress(FileExistsError):
                _tell_of(conntrack, source, to, *_echo(to, identifier))


def _source(to: Address, port: int) -> Address:
    """The source address that the kernel would use to send there.  Raises OSError."""
    with socket.socket(_FAMILY[to.version], socket.SOCK_DGRAM) as asking:
        asking.connect((str(to), port))  # This sends nothing.
        return ip_address(asking.getsockname()[0])


def _try(at: socket.socket, source: Address, to: _End, within: float) -> None:
    with _noting():
        _take(at, source, _told_port(source, to, within))


def _told_port(source: Address, to: _End, within: float) -> int:
    """A free local port; conntrack has been told of a connection from it.  Raises OSError.

    A port is passed over if conntrack still has a former connection from it, as for 120 s after its end: the kernel
    would begin that anew, and apply NAT to it.
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
    """Make the socket connect from that port.  Raises OSError.

    This is done by a range of one port, which is taken only when the socket connects: then other connections of this
    node, to other places, can use the port as well.  If the socket were bound to the port, no other connection of this
    node could have it until 60 s after its end.
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
    """A socket to tell conntrack of flows, ``within`` so many seconds each time; for one thread at a time."""
    return Netlink(NETFILTER, within)


def _tell_of(conntrack: Netlink, source: Address, to: Address, there: bytes, back: bytes) -> None:
    """Tell conntrack of a flow; ``there`` and ``back`` are the attributes of its protocol for each direction.  Raises
    OSError.
    """
    content = _HEAD.pack(_FAMILY[to.version], 0, 0)
    content += _way(_ORIGINAL, source, to, there) + _way(_REPLY, to, source, back)
    content += attribute(_TIMEOUT, struct.pack("!I", KNOWN_FOR))
    conntrack.change(_NEW_CONNECTION, content, ADD)


def _way(kind: int, source: Address, to: Address, protocol: bytes) -> bytes:
    """The attributes that describe the packets of one direction."""
    addresses = zip(_FROM_AND_TO[to.version], (source, to), strict=True)
    return _nested(
        kind, _nested(_ADDRESSES, *(attribute(each, address.packed) for each, address in addresses)), protocol
    )


def _ports(source: int, to: int) -> bytes:
    """The attributes of TCP from one port to another."""
    ends = ((_FROM_PORT, source), (_TO_PORT, to))
    ports = (attribute(each, struct.pack("!H", port)) for each, port in ends)
    return _nested(_PROTOCOL, attribute(_PROTOCOL_NUMBER, bytes([socket.IPPROTO_TCP])), *ports)


def _echo(to: Address, identifier: int) -> tuple[bytes, bytes]:
    """The attributes of an echo request with that identifier, and of its reply."""
    protocol, first, request, reply = _ECHO[to.version]

    def one(kind: int) -> bytes:
        parts = (struct.pack("!H", identifier), bytes([kind]), b"\0")  # the code is 0
        named = (attribute(first + index, part) for index, part in enumerate(parts))
        return _nested(_PROTOCOL, attribute(_PROTOCOL_NUMBER, bytes([protocol])), *named)

    return one(request), one(reply)


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))
