"""
Have a connection go to whom it names, whatever NAT this node has for others.

Whoever may make a Service in any namespace can give it the floating address, or another worker's, among its
`externalIPs`: kube-proxy then leads what each node sends to that address and port to a pod of theirs, which could
answer in the name of whoever has died.  The kernel decides about NAT with a connection's first packet, and does nothing
to one that conntrack knows already.  So conntrack is told of the connection before it begins.
"""

from __future__ import annotations

import errno
import math
import socket
import struct
from contextlib import closing, suppress
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

AGAIN_AFTER = 60.0
"""Seconds after which a kernel is asked again that takes no such message, or is silent: it looks for the module each
time, which takes it a while; and at boot, or short of memory, it may not have found it.
"""

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
_NEW_CONNECTION = 1 << 8 | 0
_HEAD = struct.Struct("=BBH")  # family, version, resource
_ORIGINAL, _REPLY, _TIMEOUT = 1, 2, 7
_ADDRESSES, _PROTOCOL = 1, 2
_FROM_AND_TO = {4: (1, 2), 6: (3, 4)}
_PROTOCOL_NUMBER, _FROM_PORT, _TO_PORT = 1, 2, 3
_NESTED = 0x8000

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
    _try(nobody, nobody, None)


def obstacle() -> str:
    """Why conntrack could not be told of a connection, once in the life of this process; otherwise empty."""
    if not _obstacle.said or _obstacle.shown:
        return ""
    _obstacle.shown = True
    return _obstacle.said


def go_straight(at: socket.socket, to: Address, port: int, within: float = TOLD_WITHIN) -> None:
    """Bind the TCP socket, unless it is, and have what it sends to that address and port led by no NAT of this node.

    This node's own addresses are left to NAT: so NodePorts are served there.  Best effort: where conntrack cannot be
    told, or not within so many seconds, or others' rules put the connection into a zone of its own, NAT may lead it
    elsewhere; see `obstacle`.
    """
    if to.is_loopback or clock.now() < _obstacle.again_at:
        return
    with suppress(OSError):
        if at.getsockname()[1] == 0:
            at.bind((str(_source(to, port)), 0))
        name, own_port, *_ = at.getsockname()
        if (source := ip_address(name)) != to:
            _try((source, own_port), (to, port), min(within, TOLD_WITHIN))


def _source(to: Address, port: int) -> Address:
    """The address from which the kernel would send there.  Raises OSError."""
    with socket.socket(socket.AF_INET if to.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        asking.connect((str(to), port))  # which sends nothing
        return ip_address(asking.getsockname()[0])


def _try(source: _End, to: _End, within: float | None) -> None:
    try:
        _tell(source, to, within)
    except FileExistsError:
        pass
    except OSError as error:
        _obstacle.said = _obstacle.said or str(error.strerror or error)
        if error.errno in (errno.EINVAL, errno.ETIMEDOUT):
            _obstacle.again_at = clock.now() + AGAIN_AFTER


def _tell(source: _End, to: _End, within: float | None) -> None:
    """Raises OSError."""
    content = _HEAD.pack(socket.AF_INET if to[0].version == 4 else socket.AF_INET6, 0, 0)
    content += _way(_ORIGINAL, source, to) + _way(_REPLY, to, source)
    content += attribute(_TIMEOUT, struct.pack("!I", KNOWN_FOR))
    with closing(Netlink(NETFILTER, within)) as netlink:
        netlink.change(_NEW_CONNECTION, content, ADD)


def _way(kind: int, source: _End, to: _End) -> bytes:
    """The packets of one direction."""
    addresses = zip(_FROM_AND_TO[to[0].version], (source[0], to[0]), strict=True)
    ports = ((_FROM_PORT, source[1]), (_TO_PORT, to[1]))
    return _nested(
        kind,
        _nested(_ADDRESSES, *(attribute(each, address.packed) for each, address in addresses)),
        _nested(
            _PROTOCOL,
            attribute(_PROTOCOL_NUMBER, bytes([socket.IPPROTO_TCP])),
            *(attribute(each, struct.pack("!H", port)) for each, port in ports),
        ),
    )


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | _NESTED, b"".join(parts))
