"""
The connections by which the SDK asks: each can be ended from another thread, and no answer on it can fill the memory.

A part of ``ec2``.  They replace the SDK's connection classes, since the SDK has no setting for that, and since its
sources of credentials make connections of their own.
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
"""Bytes of one answer, with its headers, at most; EC2's description of a thousand interfaces has some two million."""

KEPT_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""TCP keepalive options, in seconds and a count.  NAT and firewalls forget connections that are idle for 350 s, some
silently: then a question on such a connection is lost.  By default the system sends nothing for two hours."""


def install() -> None:
    """Let the SDK make such connections for everything that it asks."""
    botocore.awsrequest.AWSHTTPConnectionPool.ConnectionCls = _HttpConnection
    botocore.awsrequest.AWSHTTPSConnectionPool.ConnectionCls = _HttpsConnection


class _Budget(io.RawIOBase):
    """A stream that can be read up to the length that one answer may have."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._left = MOST_BYTES

    def readable(self) -> bool:
        """See `io.RawIOBase`: the connection can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read on.  Raises ``CloudUnavailable`` once the answer is too long."""
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
    """An answer that cannot fill the memory, whichever part of it does not end."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.fp = io.BufferedReader(_Budget(cast(Any, self.fp).detach()))


class _Endable:
    """A connection that ends when the attempt that uses it is given up."""

    response_class = _Bounded
    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        """Overrides urllib3's method.  A proxy may still be asked on this connection, and be slow, so it is endable."""
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]  # a mixin
        for name, value in KEPT_ALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                connected.setsockopt(socket.IPPROTO_TCP, option, value)
        interrupt_by(partial(_end, connected))
        return connected

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # a mixin
        # Once more, since TLS has made another socket; and again in `request`, since a kept connection was made by
        # another attempt.
        interrupt_by(partial(_end, self.sock))

    def request(self, *arguments: Any, **named: Any) -> None:
        if self.sock is not None:
            interrupt_by(partial(_end, self.sock))
        super().request(*arguments, **named)  # type: ignore[misc]  # a mixin


def _end(connected: socket.socket | None) -> None:
    if connected is not None:
        with suppress(OSError):  # It has ended already.
            # Not SSLSocket's own shutdown, which would take the TLS state away from the thread that is reading.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _HttpConnection(_Endable, botocore.awsrequest.AWSHTTPConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass


class _HttpsConnection(_Endable, botocore.awsrequest.AWSHTTPSConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass
