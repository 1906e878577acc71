"""
The observer's HTTP server: it answers few questions, and bounds what each of them costs, whoever asks.

One thread serves all connections.  A request has a limit of bytes and lines, and of seconds in all, not for each read;
its answer gets the same time.  Each address may have a few connections, and all strangers together a bounded number.
Known clients, which are the kubelet and the peers, have places of their own that no stranger can take.  Connections
beyond that are closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address

from floatingip.core.model import Address
from floatingip.edges import background, clock

REQUEST_LONGEST = 8192
"""Bytes of a request with its headers, at most: twice what a peer needs that doubts 127 addresses."""

LINES_AT_MOST = 64
"""Lines of a request, at most."""

EXCHANGE_WITHIN = 3.0
"""Seconds for a request, from the connection or its first byte on, and as many again until its answer is received."""

IDLE_AT_MOST = 30.0
"""Seconds for which a known client may keep a connection without asking anything."""

CONNECTIONS_EACH = 4
"""Connections of one address that is not known, at most."""

CONNECTIONS_OF_KNOWN = 16
"""Connections of one address that is known, at most."""

STRANGERS_AT_MOST = 256
"""Connections of all addresses that are not known, at most."""

PLACE_RESTS = 0.2
"""Seconds for which the place of a stranger's connection stays taken after its end, so that no address gets more than
some twenty answers a second.
"""

BACKLOG = 4096
"""Connections that the kernel keeps until they are accepted; it has no more by default (net.core.somaxconn)."""

ACCEPTED_AT_ONCE = 256
"""Connections that are accepted in one go, before open connections have their turn."""

ACCEPT_AGAIN = 0.1
"""Seconds until the next try when the kernel has no file or memory for a connection."""

IN_USE_AT_MOST = 120.0
"""Seconds to wait for a port that is in use.  An observer that is about to end may have it, or one of this node's own
connections, for 60 s after its end.  If this process ended instead, Kubernetes would start the container again after
longer and longer pauses, in which nobody watches the address from here.
"""

IN_USE_AGAIN = 0.5
"""Seconds between two tries to get a port that is in use."""

OF_A_PAGE = (
    "Content-Type: text/html; charset=utf-8",
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control: no-store",
    "Referrer-Policy: no-referrer",
)
"""Headers of a page for people: they allow its own styles, and no script or anything from elsewhere."""

_FREEBIND = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""IP_FREEBIND and IPV6_FREEBIND of Linux, which Python has no names for, with their levels."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the connection is reset, and leaves nothing behind in this node's kernel."""


class Json(str):
    """An answer that is JSON."""

    __slots__ = ()


class Html(str):
    """An answer that is a page for people.  An answer that is neither Json nor Html is sent as plain text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Request:
    target: str
    is_get: bool
    keeps: bool
    host: str


class StatusServer:
    """Answers GET requests on the node's primary address.  Raises OSError if the port cannot be had.

    ``kubernetes`` is the node's address in Kubernetes if that is another one: it is answered there, too.  That address
    need not be on the node yet, such as an IPv6 address during duplicate address detection.  Then ``absent`` is that
    address, and it is answered there as soon as it comes.

    ``answer`` gives status and text (or ``Json``, or ``Html``) for a target and the address that asks; ``is_known``
    says which addresses have places of their own.  ``refused`` is called for each connection that is closed at once.
    All three are called in the server's thread, and must not block.  ``also`` is a second address to listen on, if that
    is possible; ``unheard`` says why it is not, empty if it is.
    """

    def __init__(
        self,
        address: Address,
        port: int,
        answer: Callable[[str, str], tuple[HTTPStatus, str]],
        is_known: Callable[[str], bool],
        also: str = "",
        refused: Callable[[], None] = lambda: None,
        *,
        kubernetes: Address | None = None,
    ) -> None:
        self._answer = answer
        self._is_known = is_known
        self._refused = refused
        self._open: Counter[str] = Counter()
        self._strangers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners = [_listener(address, port)]
        self.absent: Address | None = None
        if kubernetes is not None:
            try:
                self._listeners.append(_listener(kubernetes, port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    self._listeners[0].close()
                    raise
                self.absent = kubernetes
                self._listeners.append(_listener(kubernetes, port, early=True))
        self.unheard = ""
        if also:
            try:
                self._listeners.append(socket.create_server((also, port), backlog=BACKLOG))
            except OSError as error:
                self.unheard = f"cannot listen on {also}:{port}: {os.strerror(error.errno or 0)}"
        for listener in self._listeners:
            listener.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve from a daemon thread."""
        self._thread = background.start("status", self._run)

    def stop(self) -> None:
        """Stop answering, on open connections too: from here on, this node's word is silent.  Idempotent."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        for listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener)
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Connections.

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, (source, *_) = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                # No file or memory: without a pause this would be called again at once, in vain.
                self._loop.remove_reader(listener)
                self._loop.call_later(ACCEPT_AGAIN, self._loop.add_reader, listener, self._accept, listener)
                return
            known = self._is_known(source)
            if not self._has_room(source, known=known):
                _reset(connection)
                self._refused()
                continue
            self._open[source] += 1
            self._strangers += not known
            task = self._loop.create_task(self._serve(connection, source, known=known))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _has_room(self, source: str, *, known: bool) -> bool:
        if known:
            return self._open[source] < CONNECTIONS_OF_KNOWN
        return self._open[source] < CONNECTIONS_EACH and self._strangers < STRANGERS_AT_MOST

    async def _serve(self, connection: socket.socket, source: str, *, known: bool) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            goes_on = await self._exchange(connection, source, EXCHANGE_WITHIN, known=known)
            while goes_on:
                goes_on = await self._exchange(connection, source, IDLE_AT_MOST, known=known)
        except (OSError, TimeoutError):
            # The client hung up, or was too slow.
            _reset(connection)
        finally:
            connection.close()
            if known:
                self._leave(source, known=True)
            else:
                self._loop.call_later(PLACE_RESTS, self._leave, source)

    def _leave(self, source: str, *, known: bool = False) -> None:
        self._strangers -= not known
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]

    async def _exchange(self, connection: socket.socket, source: str, begins_within: float, *, known: bool) -> bool:
        """Take one request and answer it; return whether another one may follow."""
        async with asyncio.timeout(begins_within):
            received = await self._loop.sock_recv(connection, REQUEST_LONGEST)
        async with asyncio.timeout(EXCHANGE_WITHIN):
            while b"\r\n\r\n" not in received:
                more = b""
                if received and len(received) < REQUEST_LONGEST:
                    more = await self._loop.sock_recv(connection, REQUEST_LONGEST - len(received))
                if not more:
                    break
                received += more
        if not received:
            return False
        request = _parse(received)
        keeps = known and request is not None and request.keeps
        if request is None:
            status, text = HTTPStatus.BAD_REQUEST, "no request, or too long"
        elif not request.is_get:
            status, text = HTTPStatus.METHOD_NOT_ALLOWED, "only GET"
        elif known and _is_by_a_name(source, request.host):
            status, text = HTTPStatus.MISDIRECTED_REQUEST, "ask at localhost or at an address, not by a name"
        else:
            status, text = self._answer(request.target, source)
        async with asyncio.timeout(EXCHANGE_WITHIN):
            await self._loop.sock_sendall(connection, _response(status, text, keeps=keeps))
        return keeps


def once_free(
    make: Callable[[], StatusServer], told: Callable[[OSError], None], is_over: Callable[[], bool]
) -> StatusServer | None:
    """The server, as soon as its port is not in use any more; None if the process is to end first (``is_over``).

    ``told`` is called once, with the error, if the port is in use.  Raises OSError if the port cannot be had for
    another reason, or not in time.
    """
    deadline, is_told = clock.now() + IN_USE_AT_MOST, False
    while True:
        try:
            return make()
        except OSError as error:
            if error.errno == errno.EADDRINUSE and is_over():
                return None
            if error.errno != errno.EADDRINUSE or clock.now() >= deadline:
                raise
            if not is_told:
                told(error)
            is_told = True
        time.sleep(IN_USE_AGAIN)


def _listener(address: Address, port: int, *, early: bool = False) -> socket.socket:
    """A socket that listens; ``early``: the address need not be on this node yet."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if early:
            listener.setsockopt(*_FREEBIND[address.version], 1)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _parse(received: bytes) -> _Request | None:
    """The request that was received; None if it is no request, has too many lines, or something follows it."""
    head, end, rest = received.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if not end or rest or len(words) != len(("method", "target", "version")) or len(fields) >= LINES_AT_MOST:
        return None
    method, target, version = words
    closes = any(name.lower() == "connection" and "close" in value.lower() for name, _, value in map(_field, fields))
    is_get = method == "GET"
    host = next((value.strip() for name, _, value in map(_field, fields) if name.lower() == "host"), "")
    return _Request(target, is_get, keeps=is_get and version == "HTTP/1.1" and not closes, host=host)


def _is_by_a_name(source: str, host: str) -> bool:
    """Whether a client on the loopback asks by a host name, which is refused (DNS rebinding).

    A browser beside `kubectl port-forward` may have a page from elsewhere open, which could point its own name to this
    address, and so read what is told here.
    """
    named = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return bool(ip_address(source).is_loopback) and named.lower() not in ("", "localhost") and not _is_address(named)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _field(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _response(status: HTTPStatus, text: str, *, keeps: bool) -> bytes:
    body = text.encode(errors="replace")
    kind = "application/json" if isinstance(text, Json) else "text/plain"
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(OF_A_PAGE if isinstance(text, Html) else (f"Content-Type: {kind}",)),
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        *(() if keeps else ("Connection: close",)),
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # The connection is gone already.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
