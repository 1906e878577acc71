"""
What a socket lets in, decided by the kernel: above all not what this node itself answers.

A packet that leads to this node by NAT, by a transparent proxy or by a firewall that resets comes back by the loopback
in the name of the address that was asked, and would keep that UP for ever, whoever has died.  Nothing else tells it
from a real answer: what the kernel tells with a packet (IP_PKTINFO) names the link that has the address instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Sequence

from floatingip.core.model import Address

OWN_ANSWER = "this node has answered itself"

LOOPBACK = 1
"""The loopback's index, in each network namespace."""

LINK_INDEX = 0xFFFFF008
"""Where a filter finds the index of the link by which a packet came (SKF_AD_OFF + SKF_AD_IFINDEX)."""

Step = tuple[int, int, int, int]
"""One of a filter's (linux/filter.h): what is done, how many steps are left out where it holds and where not, a
number.
"""

_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55
_MEMINFO = struct.Struct("=9I")
_DROPS = 8
"""Which of SO_MEMINFO's numbers (linux/sock_diag.h) counts what was not let in."""

_NETWORK = 0xFFF00000
"""Where a filter finds the IP header (SKF_NET_OFF)."""

_ADDRESSES = {4: [(12, 16)], 6: [(8 + word, 24 + word) for word in (0, 4, 8, 12)]}
"""By IP version: where the words of the source and those of the destination are in the IP header."""


def let_in_only(at: socket.socket, steps: Sequence[Step]) -> None:
    """Attach the filter; the kernel copies it."""
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(program, len(program))
    at.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(steps), ctypes.addressof(code)))


def hear_others(at: socket.socket, asked: Address) -> None:
    """Let no answer of this node itself in when it asks this address, unless that is its own.

    A kernel that has no memory for filters, as where others have used up what it has for their programs
    (net.core.bpf_jit_limit), lets all in: better than to take everybody for silent.
    """
    if not asked.is_loopback:
        with contextlib.suppress(OSError):
            let_in_only(at, _from_others(asked.version))


def _from_others(version: int) -> list[Step]:
    """A filter that lets in all but what came by the loopback in the name of another address than it is for: from and
    for one address is what this node sends to an address of its own.
    """
    compared: list[Step] = []
    for source, destination in _ADDRESSES[version]:
        compared += [
            (0x20, 0, 0, _NETWORK + source),  # A = a word of the source
            (0x07, 0, 0, 0),  # X = A
            (0x20, 0, 0, _NETWORK + destination),  # A = that of the destination
            (0x1D, 1, 0, 0),  # are they the same?
            (0x06, 0, 0, 0),
        ]
    let_in: Step = (0x06, 0, 0, 0xFFFFFFFF)
    return [(0x20, 0, 0, LINK_INDEX), (0x15, 1, 0, LOOPBACK), let_in, *compared, let_in]


def has_shut_out(at: socket.socket) -> bool:
    """Whether something came that was not let in (or, of TCP, that belongs to no connection)."""
    told = at.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    return len(told) == _MEMINFO.size and _MEMINFO.unpack(told)[_DROPS] > 0
