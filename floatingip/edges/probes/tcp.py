"""
Ask a service whether it answers, by a TCP connection or an HTTP GET.

It works like the ICMP prober: probes overlap, none has a thread, and an answer that has reached a socket counts,
however late this process looks at it.  So the GET is made here, on sockets that never block, and not by `requests`,
which would need a thread for each probe under way, and whose exceptions hide what the kernel said.  Of HTTP only the
status of one answer is needed: there are no redirects, no proxies and no names to look up.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from floatingip.core.model import Address
from floatingip.core.ports import Prober
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.edges import clock, refusals
from floatingip.edges.socket_filter import OWN_ANSWER, has_shut_out, hear_others
from floatingip.edges.straight import go_straight

MOST_HEARD = 65536
"""Bytes of a service's answer that are read, at most; a longer one is cut off."""

_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EALREADY})

_STATUS = re.compile(rb"(?>HTTP/1\.\d 1\d\d.*?\r\n\r\n)*+HTTP/1\.\d ([2-9]\d\d)[ \r\n]", re.DOTALL)
"""The status of an answer, after any provisional (1xx) answers.  The expression is atomic and possessive: otherwise it
would backtrack endlessly over many of these."""


@dataclass(slots=True)
class _Probe:
    """A connection, from its beginning until the other side has ended it or the time is over.

    `source` is this side's address; `heard` is what was received.  `result` is often known long before the end.
    """

    sent_at: float
    deadline: float
    socket: socket.socket | None = None
    source: str = ""
    established: bool = False
    heard: bytearray = field(default_factory=bytearray)
    result: ProbeResult | None = None

    def told(self, outcome: ProbeOutcome, detail: str = "") -> None:
        """Set the probe's result, unless it has one already."""
        if self.result is None:
            self.result = ProbeResult(self.sent_at, clock.now(), outcome, detail)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class TcpProber:
    """`ports.Prober` by TCP connections, which this side ends as soon as they are established.

    ANSWERED is an established connection.  LOST is a refusal, a reset, silence, and an unreachable that somebody else
    sent.  FAILED_HERE has three causes.  This node's kernel cannot try: no route, no free port, no file descriptor.
    This node sends itself an unreachable: at once by a firewall of its own that rejects, after 3 s for a next hop that
    does not answer ARP or NDP.  This node answers itself in the address' name, as when NAT leads the port to it: such
    answers are filtered out.  (A firewall of its own that drops looks like silence, since TCP tries again.)

    The kernel repeats a lost SYN after a second (RFC 6298): with a longer `timeout` one lost packet loses no probe.
    """

    _own_answer = ProbeOutcome.FAILED_HERE

    def __init__(self, address: Address, port: int, timeout: float) -> None:
        """`timeout`: seconds from the sending of a probe until it counts as lost."""
        self.address = address
        self.port = port
        self.timeout = timeout
        self._probes: deque[_Probe] = deque()
        self._open: list[_Probe] = []

    def close(self) -> None:
        """Close all connections and forget the probes under way; the next `send` begins anew."""
        for probe in self._open:
            probe.close()
        self._open.clear()
        self._probes.clear()

    def send(self) -> None:
        """Begin one connection; see `ports.Prober`."""
        now = clock.now()
        probe = _Probe(now, now + self.timeout)
        self._probes.append(probe)
        try:
            self._begin(probe)
        except OSError as error:
            probe.told(ProbeOutcome.FAILED_HERE, _text(error.errno))
            probe.close()
        else:
            self._open.append(probe)

    def collect(self) -> list[ProbeResult]:
        """What is known of the probes; see `ports.Prober`."""
        now = clock.now()
        # First read, then judge, by the time from before the reading: everything that had arrived by then was read.
        for probe in self._open:
            self._advance(probe, now)
            if probe.deadline <= now:
                self._silent(probe)
                probe.close()
        self._open = [probe for probe in self._open if probe.socket is not None]
        results = []
        while self._probes and (result := self._probes[0].result):
            results.append(result)
            self._probes.popleft()
        return results

    def due_at(self) -> float:
        """When the time of the first connection is over; see `ports.Prober`."""
        if self._probes and self._probes[0].result is not None:
            return self._probes[0].sent_at
        return min((probe.deadline for probe in self._open), default=math.inf)

    def files(self) -> list[tuple[int, int]]:
        """A socket for each connection; see `ports.Prober`."""
        events = ((probe.socket, select.POLLIN if probe.established else select.POLLOUT) for probe in self._open)
        return [(connection.fileno(), awaited) for connection, awaited in events if connection is not None]

    def _begin(self, probe: _Probe) -> None:
        """Begin the connection.  Raises OSError if this node cannot even try."""
        version = self.address.version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        probe.socket = connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        refusals.heed(connection, version)
        hear_others(connection, self.address)
        go_straight(connection, self.address, self.port)
        with contextlib.suppress(BlockingIOError):
            connection.connect((str(self.address), self.port))
        probe.source = connection.getsockname()[0]

    def _advance(self, probe: _Probe, now: float) -> None:
        """Do what is possible with the connection without waiting."""
        connection = probe.socket
        if connection is None:
            return
        try:
            if not probe.established and self._stands(probe, connection):
                probe.established = True
                if probe.deadline <= now:
                    # It may have been established long ago, while this process was stalled: give the answer time.
                    probe.deadline = now + self.timeout
                self._judge(probe)
                self._greet(connection)
            if probe.established:
                self._listen(probe, connection)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(probe, error)
            probe.close()

    def _silent(self, probe: _Probe) -> None:
        """The time is over."""
        if not probe.established and probe.socket is not None and has_shut_out(probe.socket):
            probe.told(self._own_answer, OWN_ANSWER)
        probe.told(ProbeOutcome.LOST, "no answer" if probe.established else "no connection")

    def _failed(self, probe: _Probe, error: OSError) -> None:
        """The other side has refused or reset the connection, or the kernel has given it up."""
        probe.told(ProbeOutcome.LOST, _text(error.errno))

    def _stands(self, probe: _Probe, connection: socket.socket) -> bool:
        """Whether the connection is established by now.  Raises OSError if it failed."""
        # A second connect tells the result of the first.
        error = connection.connect_ex((str(self.address), self.port))
        # ICMP messages have to be read separately: if one comes while the socket is in use, the kernel goes on trying.
        if (message := refusals.message(connection, self.address.version)) is not None:
            number, sender = message
            if str(sender) == probe.source:
                probe.told(ProbeOutcome.FAILED_HERE, f"{OWN_ANSWER}: {_text(number)}")
            else:
                probe.told(ProbeOutcome.LOST, f"{_text(number)}, says {sender}")
            probe.close()
            return False
        if error and error not in _UNDER_WAY:
            raise OSError(error, _text(error))
        if not error:
            # From now on such messages are ignored, as TCP itself does on an established connection.
            refusals.ignore(connection, self.address.version)
        return not error

    def _greet(self, connection: socket.socket) -> None:
        """Send what is to be sent on the established connection: here only its end.  Raises OSError."""
        connection.shutdown(socket.SHUT_WR)

    def _listen(self, probe: _Probe, connection: socket.socket) -> None:
        """Read to the end, since closing with something unread would reset the connection.  Raises OSError."""
        while len(probe.heard) < MOST_HEARD and (chunk := connection.recv(MOST_HEARD)):
            probe.heard += chunk
            self._judge(probe)
        probe.told(ProbeOutcome.LOST, "ended without an answer")
        probe.close()

    def _judge(self, probe: _Probe) -> None:
        """Set the result if the connection shows it so far: here, that it is established."""
        probe.told(ProbeOutcome.ANSWERED)


class KnockProber(TcpProber):
    """`ports.Prober` by TCP connections to a port on which perhaps nobody listens.

    ANSWERED is an established connection, and a refusal by the address itself, which is a reset.  If this node answers
    itself, that is LOST: a knock only asks whether somebody answers who is silent to pings, and nobody did.  (A pod
    could otherwise make each knock FAILED_HERE, by sending to all ports.)  All else is as with :class:`TcpProber`.
    """

    _own_answer = ProbeOutcome.LOST

    def _failed(self, probe: _Probe, error: OSError) -> None:
        if error.errno == errno.ECONNREFUSED:
            probe.told(ProbeOutcome.ANSWERED, _text(error.errno))
        super()._failed(probe, error)


class HttpProber(TcpProber):
    """`ports.Prober` by a GET of `http://ADDRESS:PORT/PATH`, each on a connection of its own.

    ANSWERED is a status of 2xx or 3xx, as for the kubelet; a redirect is not followed.  LOST is any other status, and
    what it is with :class:`TcpProber`, as is FAILED_HERE.
    """

    def __init__(self, address: Address, port: int, path: str, timeout: float) -> None:
        """`path` is sent as it is, and begins with a slash; ``ValueError`` if it could not be one.

        `timeout`: seconds from the sending of a probe until it counts as lost, for connection and answer together.
        """
        if not re.fullmatch(r"/[!-~]*", path):
            raise ValueError(f"{path!r} is no path of a URL: a slash, then ASCII without spaces")
        super().__init__(address, port, timeout)
        host = f"[{address}]" if address.version == 6 else str(address)
        # HTTP/1.1, since some proxies (Envoy) refuse 1.0.
        lines = (f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "User-Agent: floatingip", "Connection: close")
        self._request = "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    def _greet(self, connection: socket.socket) -> None:
        connection.sendall(self._request)  # which an empty send buffer always has room for

    def _judge(self, probe: _Probe) -> None:
        if probe.result is None and (status := _STATUS.match(probe.heard)):
            good = status[1][0] in b"23"
            probe.told(ProbeOutcome.ANSWERED if good else ProbeOutcome.LOST, f"HTTP status {status[1].decode()}")


def service_prober(settings: Settings) -> Callable[[NodePort, Address], Prober] | None:
    """A function that makes a prober for a NodePort at an address; None if the settings want none checked."""

    def prober(node_port: NodePort, address: Address) -> Prober:
        if node_port.path:
            return HttpProber(address, node_port.port, node_port.path, settings.service_timeout)
        return TcpProber(address, node_port.port, settings.service_timeout)

    return prober if settings.service else None


def _text(number: int | None) -> str:
    return os.strerror(number or 0)
