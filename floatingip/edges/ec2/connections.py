"""
The connections on which the SDK asks: each can be ended from outside, and no answer on it fills the memory.

A part of ``ec2``.  The SDK has no setting for that, and its sources of credentials have connections of their own.
"""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from functools import partial
from http.client import HTTPResponse
from typing import Any, cast

import botocore.awsrequest

from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2.asking import interrupt_by
from floatingip.edges.ec2.meaning import PROXY_HINT

MOST_BYTES = 2**22
"""Bytes of one answer, with its headers; what EC2 shows of a thousand interfaces has some two million."""

KEPT_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""What keeps connections known to NAT and firewalls, which forget those that are idle for 350 s, some without a word: a
question that is sent by a forgotten one is lost.  Without these the system sends nothing for two hours."""


def install() -> None:
    """Let the SDK make such, for whatever it asks."""
    botocore.awsrequest.AWSHTTPConnectionPool.ConnectionCls = _HttpConnection
    botocore.awsrequest.AWSHTTPSConnectionPool.ConnectionCls = _HttpsConnection


class _Budget(io.RawIOBase):
    """What comes on a connection, as far as one answer may be long."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._left = MOST_BYTES

    def readable(self) -> bool:
        """See `io.RawIOBase`: the connection can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Raises ``CloudUnavailable`` once it is too much."""
        came = self._source.readinto(buffer)
        self._left -= came or 0
        if self._left < 0:
            raise CloudUnavailable(f"an answer of more than {MOST_BYTES} bytes", PROXY_HINT)
        return came

    def close(self) -> None:
        """Hang up."""
        self._source.close()
        super().close()


class _Bounded(HTTPResponse):
    """An answer that fills no memory, whatever part of it has no end."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fp = io.BufferedReader(_Budget(cast(Any, self.fp).detach()))


class _Endable:
    """A connection that ends when the attempt that uses it is given up."""

    response_class = _Bounded
    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        """urllib3's: a connection on which a proxy may still be asked for EC2, and answer as slowly as it likes."""
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]  # a mixin
        for name, value in KEPT_ALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)
        interrupt_by(partial(_end, connected))
        return connected

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # a mixin
        # Again, since TLS has a socket of its own by now; and in `request` once more, since a connection that is used
        # again was made by another attempt.
        interrupt_by(partial(_end, self.sock))

    def request(self, *arguments: Any, **named: Any) -> None:
        if self.sock is not None:
            interrupt_by(partial(_end, self.sock))
        super().request(*arguments, **named)  # type: ignore[misc]  # a mixin


def _end(connected: socket.socket | None) -> None:
    if connected is not None:
        with suppress(OSError):  # it has ended
            # Not SSLSocket's own shutdown, which would take the TLS state away from the thread that is reading.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _HttpConnection(_Endable, botocore.awsrequest.AWSHTTPConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass


class _HttpsConnection(_Endable, botocore.awsrequest.AWSHTTPSConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass
