"""
Find out who refuses a connection, or says that it cannot be made.

The kernel reports an ICMP message as a refusal, too, whoever has sent it.  Mostly this node itself has: by a firewall
of its own that rejects, or by kube-proxy, which in nftables mode rejects connections to a Service without endpoints,
also to an address that somebody has put into the Service's `externalIPs`.
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
"""By IP version: where the sender of an ICMP message is in what RECVERR gives: in a sockaddr, behind the 16 bytes of
`struct sock_extended_err` (linux/errqueue.h).
"""


class SaidByOthers(OSError):
    """Somebody else than the address that was asked says that there is no connection."""


def heed(at: socket.socket, version: int) -> None:
    """Keep ICMP messages about the connection that is to be made.  Raises OSError."""
    at.setsockopt(*_RECVERR[version], 1)


def ignore(at: socket.socket, version: int) -> None:
    """Drop the ICMP messages that were kept, and keep no more, as TCP itself does once a connection is established.
    Raises OSError.
    """
    at.setsockopt(*_RECVERR[version], 0)


def message(at: socket.socket, version: int) -> tuple[int, Address] | None:
    """The error number of an ICMP message that came, and its sender; None if none came.  The socket must not block."""
    try:
        _, notes, _, _ = at.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return None
    for level, kind, note in notes:
        if (level, kind) == _RECVERR[version]:
            return int.from_bytes(note[:4], sys.byteorder), ip_address(note[_SENDER[version]])
    return None


def connect(at: socket.socket, to: Address, port: int) -> None:
    """Connect a blocking socket.

    Raises OSError: ConnectionRefusedError only if the other side itself has refused, ``SaidByOthers`` if somebody else
    has answered in its place.
    """
    heed(at, to.version)
    try:
        at.connect((str(to), port))
        at.getpeername()  # Fails if an ICMP message ended the wait: then there is no connection.
    except OSError as error:
        at.setblocking(False)  # Python must not wait for a message: it is there already, or does not come.
        if (said := message(at, to.version)) is None:
            raise
        number, sender = said
        if sender == to:
            raise OSError(number, os.strerror(number)) from error
        raise SaidByOthers(f"{os.strerror(number)}, says {sender}") from None
    ignore(at, to.version)
