"""
Who refuses a connection, or says that it cannot be made.

The kernel calls an ICMP message a refusal, too, whoever has sent it.  Mostly that is this node itself, in the name of
nobody: a firewall of its own that rejects, or kube-proxy, which in its nftables mode rejects what goes to a Service
without endpoints, be it by an address that somebody has put into its `externalIPs`.
"""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address

from floatingip.core.model import Address

_RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
"""By IP version: IP_RECVERR (linux/in.h) and IPV6_RECVERR (linux/in6.h)."""

_SENDER = {4: slice(20, 24), 6: slice(24, 40)}
"""By IP version: where an ICMP message's sender is in what RECVERR tells: in a sockaddr, behind the 16 bytes of
`struct sock_extended_err` (linux/errqueue.h).
"""


class SaidByOthers(OSError):
    """There is no connection, says another one than who was asked."""


def heed(at: socket.socket, version: int) -> None:
    """Keep ICMP messages about the connection that is to be made.  Raises OSError."""
    at.setsockopt(*_RECVERR[version], 1)


def ignore(at: socket.socket, version: int) -> None:
    """Drop those that were kept, and heed none any more, as TCP itself does once the connection stands.  Raises
    OSError.
    """
    at.setsockopt(*_RECVERR[version], 0)


def message(at: socket.socket, version: int) -> tuple[int, Address] | None:
    """The error that an ICMP message stands for, and who sent it; None when none came.  The socket must not wait."""
    try:
        _, notes, _, _ = at.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    for level, kind, note in notes:
        if (level, kind) == _RECVERR[version]:
            return int.from_bytes(note[:4], sys.byteorder), ip_address(note[_SENDER[version]])
    return None


def connect(at: socket.socket, to: Address, port: int) -> None:
    """Connect a socket that waits.

    Raises OSError: ConnectionRefusedError only where the other side has refused, ``SaidByOthers`` for what another one
    says in its place.
    """
    heed(at, to.version)
    try:
        at.connect((str(to), port))
        at.getpeername()  # a message ends the wait, too, and then nobody is there
    except OSError as error:
        at.setblocking(False)  # else Python waits for a message, which is there or does not come
        if (said := message(at, to.version)) is None:
            raise
        number, sender = said
        if sender == to:
            raise OSError(number, os.strerror(number)) from error
        raise SaidByOthers(f"{os.strerror(number)}, says {sender}") from None
    ignore(at, to.version)
