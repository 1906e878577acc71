"""
Filter what a socket receives, in the kernel: above all, drop answers that this node itself gives.

If NAT, a transparent proxy or a firewall that resets leads a packet to this node, the answer comes by the loopback with
the asked address as its source, and would keep that address UP for ever, even if its holder is dead.  Nothing else
tells such an answer from a real one: what the kernel says of a packet (IP_PKTINFO) names the link that has the address
instead.
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
"""The index of the loopback link, the same in every network namespace."""

LINK_INDEX = 0xFFFFF008
"""Where a filter finds the index of the link by which a packet came (SKF_AD_OFF + SKF_AD_IFINDEX)."""

Step = tuple[int, int, int, int]
"""One instruction of a socket filter (linux/filter.h): the operation, how many instructions to skip if it holds and if
it does not, and a number.
"""

_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55
_MEMINFO = struct.Struct("=9I")
_DROPS = 8
"""The place, among SO_MEMINFO's numbers (linux/sock_diag.h), of the count of dropped packets."""

_NETWORK = 0xFFF00000
"""Where a filter finds the IP header (SKF_NET_OFF)."""

_ADDRESSES = {4: [(12, 16)], 6: [(8 + word, 24 + word) for word in (0, 4, 8, 12)]}
"""By IP version: the offsets in the IP header of each word of the source and of the destination."""


def let_in_only(at: socket.socket, steps: Sequence[Step]) -> None:
    """Attach the filter; the kernel copies it."""
    program = b"".join(struct.pack("=HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(program, len(program))
    at.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(steps), ctypes.addressof(code)))


def hear_others(at: socket.socket, asked: Address) -> None:
    """Drop answers of this node itself to questions to the address ``asked``, unless that is its own.

    If the kernel has no memory for filters, as when others have used up the limit for programs
    (net.core.bpf_jit_limit), all answers are let in: that is better than to hear nobody.
    """
    if not asked.is_loopback:
        with contextlib.suppress(OSError):
            let_in_only(at, _from_others(asked.version))


def _from_others(version: int) -> list[Step]:
    """A filter that drops packets which came by the loopback, unless source and destination are the same address: that
    is what this node sends to an address of its own.
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
    """Whether the socket's filter has dropped a packet (or TCP one that belongs to no connection)."""
    told = at.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    return len(told) == _MEMINFO.size and _MEMINFO.unpack(told)[_DROPS] > 0
