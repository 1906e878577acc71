"""
Ask an address whether it answers, by ICMP echo.

Probes overlap, since they are sent more often than they time out.  A reply that has reached the socket counts, however
late this process looks at it: a stalled observer must not take its own stall for the holder's death.

Each probe has an identifier of its own, so that it is a new flow, as a new client's connection is.  A flow that goes on
for ever would still pass a firewall that lets established flows through, or a full conntrack table.

Only this module knows icmplib, which makes the socket and the requests.  Replies are read here, because icmplib's
`receive` waits for one request at a time, measures by the wall clock, and drops what it reads after its timeout.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import select
import socket
import struct
from collections import deque
from dataclasses import dataclass

from icmplib import ICMPRequest, ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError

from floatingip.core.model import Address
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges import clock
from floatingip.edges.socket_filter import LINK_INDEX, LOOPBACK, OWN_ANSWER, Step, let_in_only
from floatingip.edges.straight import send_straight, to_conntrack

TIMEOUT = 0.5
"""Seconds after which a probe counts as lost."""

SECRET_BYTES = 16
"""Random bytes that each request carries, and its answer must carry: so nobody who has not seen a request can forge an
answer.  A pod may send packets with the floating address as their source, and could otherwise try all identifiers and
keep the address UP for its node.
"""

_LAYOUT = {4: (0, 3), 6: (129, 1)}
"""By IP version: the types of an echo reply and of destination unreachable."""

_MESSAGE = struct.Struct("!BBHHH")
"""The head of an ICMP message: type, code, checksum, identifier, sequence."""

READ_AT_ONCE = 1000
"""Packets that are read before probes are judged, at most: a kernel that has no memory for the filter lets in all that
comes to the node, as fast as others send it.
"""

_FLOODED = "more ICMP comes to this node than it can read"

_PREFIX_BYTES = 4
"""The first bytes of the secret, by which the kernel's filter finds the packets for this socket."""


@dataclass(slots=True)
class _Probe:
    sequence: int
    sent_at: float
    result: ProbeResult | None = None


@dataclass(frozen=True, slots=True)
class _Arrival:
    """What one packet says of the probe with the number `sequence`."""

    sequence: int
    outcome: ProbeOutcome
    detail: str = ""


class IcmpProber:
    """`ports.Prober` by ICMP echo, for which it needs CAP_NET_RAW.

    ANSWERED is an echo reply of the address.  LOST is silence, and an unreachable that somebody else sent.  FAILED_HERE
    has three causes: this node's kernel refuses to send (no route, a firewall of its own (EPERM), full buffers, no
    permission); this node answers itself by the loopback, as when NAT leads the address to it; or it sends itself an
    unreachable because the next hop, on a standby the gateway, does not answer ARP or NDP.  The kernel takes 3 s for
    that, so with shorter timeouts such probes are mostly LOST.
    """

    def __init__(self, address: Address, timeout: float = TIMEOUT) -> None:
        """`timeout`: seconds from the sending of a probe until it counts as lost."""
        self.address = address
        self.timeout = timeout
        self._text = str(address)
        self._socket: ICMPv4Socket | ICMPv6Socket | None = None
        self._conntrack = to_conntrack()
        self._first_id = secrets.randbits(16)
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._sequence = 0
        self._probes: deque[_Probe] = deque()

    def close(self) -> None:
        """Close the socket and forget the probes under way; the next `send` opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._conntrack.close()
        self._probes.clear()

    def send(self) -> None:
        """Send one echo request; see `ports.Prober`."""
        self._sequence = (self._sequence + 1) % 0x10000
        probe = _Probe(self._sequence, clock.now())
        self._probes.append(probe)
        try:
            if self._socket is None:
                self._socket = self._open()
            identifier = self._identifier(probe.sequence)
            send_straight(self._conntrack, self.address, identifier)
            self._socket.send(ICMPRequest(self._text, identifier, probe.sequence, payload=self._secret))
        except (ICMPLibError, OSError) as error:
            probe.result = ProbeResult(probe.sent_at, clock.now(), ProbeOutcome.FAILED_HERE, _why(error))

    def collect(self) -> list[ProbeResult]:
        """What is known of the probes; see `ports.Prober`."""
        now = clock.now()
        # First read, then judge, by the time from before the reading: everything that had arrived by then was read.
        is_all = self._read()
        for probe in self._probes:
            if probe.result is None and probe.sent_at + self.timeout <= now:
                # An answer may wait behind what others flood this node with, or have found no room there.
                outcome, why = (ProbeOutcome.LOST, "no answer") if is_all else (ProbeOutcome.FAILED_HERE, _FLOODED)
                probe.result = ProbeResult(probe.sent_at, clock.now(), outcome, why)
        results = []
        while self._probes and (result := self._probes[0].result):
            results.append(result)
            self._probes.popleft()
        return results

    def due_at(self) -> float:
        """When the oldest probe is over; see `ports.Prober`."""
        if not self._probes:
            return math.inf
        oldest = self._probes[0]
        return oldest.sent_at + (self.timeout if oldest.result is None else 0.0)

    def files(self) -> list[tuple[int, int]]:
        """The one socket; see `ports.Prober`."""
        return [] if self._socket is None else [(self._socket.sock.fileno(), select.POLLIN)]

    def _open(self) -> ICMPv4Socket | ICMPv6Socket:
        made = ICMPv4Socket() if self.address.version == 4 else ICMPv6Socket()
        made.blocking = False
        # Without memory for a filter the kernel lets all in, as in `hear_others`; `_parse` drops what is for others.
        with contextlib.suppress(OSError):
            let_in_only(made.sock, _filter(self.address.version, self._secret[:_PREFIX_BYTES]))
        return made

    def _read(self) -> bool:
        """Read what has arrived, and say whether that was all; drop packets for no probe under way (late, doubled,
        somebody else's).
        """
        if self._socket is None:
            return True
        for _ in range(READ_AT_ONCE):
            try:
                packet, source = self._socket.sock.recvfrom(2048)
            except BlockingIOError:
                return True
            except OSError:
                continue  # A pending error of the socket: reading has cleared it, and it names no probe.
            arrival = self._parse(packet, source[0].partition("%")[0])
            if arrival is None:
                continue
            for probe in self._probes:
                if probe.sequence == arrival.sequence and probe.result is None:
                    probe.result = ProbeResult(probe.sent_at, clock.now(), arrival.outcome, arrival.detail)
        return False

    def _parse(self, packet: bytes, source: str) -> _Arrival | None:
        version = self.address.version
        reply, unreachable = _LAYOUT[version]
        # A raw IPv4 socket gives the IP header, too; an IPv6 one does not.
        message = packet[_header(packet) :] if version == 4 else packet
        try:
            kind, code, _, identifier, sequence = _MESSAGE.unpack_from(message)
            if kind == reply:
                if identifier != self._identifier(sequence) or source != self._text:
                    return None
                if message[_MESSAGE.size :] == self._secret[:_PREFIX_BYTES]:
                    return _Arrival(sequence, ProbeOutcome.FAILED_HERE, OWN_ANSWER)
                return _Arrival(sequence, ProbeOutcome.ANSWERED) if self._is_ours(message) else None
            if kind == unreachable:
                quoted = message[_MESSAGE.size :]
                request = quoted[_header(quoted) if version == 4 else 40 :]
                _, _, _, identifier, sequence = _MESSAGE.unpack_from(request)
                if identifier == self._identifier(sequence) and self._is_ours(request):
                    sender = quoted[12:16] if version == 4 else quoted[8:24]
                    here = socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, source) == sender
                    outcome = ProbeOutcome.FAILED_HERE if here else ProbeOutcome.LOST
                    return _Arrival(sequence, outcome, f"unreachable (code {code}), says {source}")
        except (struct.error, IndexError):
            return None  # The packet is too short to be an answer to a probe.
        return None

    def _identifier(self, sequence: int) -> int:
        return (self._first_id + sequence) % 0x10000

    def _is_ours(self, message: bytes) -> bool:
        return message.startswith(self._secret, _MESSAGE.size)


def _filter(version: int, begins_with: bytes) -> list[Step]:
    """A socket filter that lets in echo replies whose content begins with these bytes, and unreachables about such
    requests.

    A raw socket gets a copy of every ICMP packet of the node: without the filter each prober would wake for the replies
    to all others.  A reply that came by the loopback is cut off after these bytes, and is recognized by that.
    """
    reply, unreachable = _LAYOUT[version]
    prefix = int.from_bytes(begins_with, "big")
    if version == 4:
        start = (0xB1, 0, 0, 0)  # X = the length of the IP header
        quoted = [(0x50, 0, 0, 8), (0x54, 0, 0, 0xF), (0x64, 0, 0, 2), (0x0C, 0, 0, 0), (0x07, 0, 0, 0)]  # X += that
        content_at = 16
    else:
        start = (0x01, 0, 0, 0)  # X = 0: here a packet begins with its ICMP header
        quoted, content_at = [], 56
    about_requests = [
        (0x15, 0, 3 + len(quoted), unreachable),
        *quoted,
        (0x40, 0, 0, content_at),  # A = the first four bytes of the request's content
        (0x15, 0, 1, prefix),
        (0x06, 0, 0, 0xFFFF),  # let it in
        (0x06, 0, 0, 0),
    ]
    replies = [
        (0x40, 0, 0, _MESSAGE.size),  # A = the first four bytes of the content
        (0x15, 1, 0, prefix),
        (0x06, 0, 0, 0),
        (0x20, 0, 0, LINK_INDEX),  # A = the link by which it came
        (0x15, 1, 0, LOOPBACK),
        (0x06, 0, 0, 0xFFFF),
        (0x87, 0, 0, 0),  # let in as much
        (0x04, 0, 0, _MESSAGE.size + len(begins_with)),
        (0x16, 0, 0, 0),
    ]
    return [
        start,
        (0x50, 0, 0, 0),  # A = the type
        (0x15, 0, len(replies), reply),
        *replies,
        *about_requests,
    ]


def _header(packet: bytes) -> int:
    """The length of an IPv4 header, with its options."""
    return (packet[0] & 0x0F) * 4


def _why(error: Exception) -> str:
    """The kernel's reason: icmplib keeps only its text, and calls every EPERM a broadcast."""
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return str(error)
