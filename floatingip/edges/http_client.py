"""
A small HTTP client: one question, one answer, and for both together a budget that the other side cannot exceed.

The other side may be a stranger, broken, or slow on purpose.  So the time limit is for everything from the connection
to the last byte, not for each read: an answer of one byte a second delays nobody.  Bytes and header lines are limited,
too.  Everything that goes wrong is a :class:`NoAnswer`, which never quotes what was sent or received: that may be a
secret.

It does not use `http.client`, which believes a Content-Length (and allocates it), waits for ever while 1xx answers
come, may take a body that was cut off for a whole one, and needs five times as much CPU: peers are asked twice a
second.  There are no redirects, no proxies and no host names: only the given address is asked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from floatingip.core.model import Address
from floatingip.edges import clock, refusals
from floatingip.edges.socket_filter import hear_others
from floatingip.edges.straight import bind_address, go_straight

MOST_BYTES = 65536
"""Bytes that the body of an answer may have, unless the caller says otherwise."""

MOST_HEADER_BYTES = 16384
"""Bytes, at most, of status lines and headers, including those of preceding 1xx answers."""

MOST_HEADER_LINES = 64
"""Header lines, at most, including those of preceding 1xx answers."""

_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: .*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_LENGTH = re.compile(rb"\d{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
_SENDABLE = re.compile(r"[!-~]+(?: [!-~]+)*")
"""What a request line or header may be: printable ASCII, with blanks only inside."""


class NoAnswer(OSError):
    """There was no answer, or none that can be used; the message says why, in our own words.

    ``proved``: since it was asked the other side has proved who it is, as TLS begins with that; so it is there.
    """

    proved = False

    @property
    def refused(self) -> bool:
        """Whether the other side itself refused the connection: it is there, but nobody listens."""
        return isinstance(self.__cause__, ConnectionRefusedError)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, with any status."""

    status: int
    body: bytes


class Connection:
    """A connection to one server, made when it is needed and kept open.  For one thread at a time."""

    def __init__(
        self,
        host: Address | str,
        port: int,
        *,
        seconds: float,
        source: Address | None = None,
        only_others: bool = False,
        tls: ssl.SSLContext | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Connect to nothing yet, and raise nothing: if ``host`` is no address, `get` raises `NoAnswer`.

        ``seconds`` is the limit for each question with its whole answer.  ``most_bytes`` is the limit for a body as it
        is sent, with its chunk sizes.  ``source`` is the address of this node to ask from, None for any.
        ``only_others``: an answer that this node itself gives in the host's name, as when NAT leads the question to it,
        does not count.
        """
        self._host = str(host)
        self._port = port
        self._seconds = seconds
        self._source = source
        self._only_others = only_others
        self._tls = tls
        self._most_bytes = most_bytes
        self._socket: socket.socket | None = None
        self._proved = False

    def close(self) -> None:
        """Hang up; the next question connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def get(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes = b"",
        seconds: float | None = None,
    ) -> Response:
        """Ask once; ``seconds`` is another limit for this question.  Raises NoAnswer, and nothing else.

        The question must be one that may be asked twice: that happens if a kept connection ends just as it is used.
        """
        deadline = clock.now() + (self._seconds if seconds is None else seconds)
        self._proved = False
        try:
            request = self._request(method, target, headers or {}, body)
            if self._is_alive():
                # A server that was restarted, or did not want to wait longer, has hung up: then ask it anew.
                with contextlib.suppress(_HungUp):
                    return self._ask(request, deadline)
            self._connect(deadline)
            return self._ask(request, deadline)
        except NoAnswer as error:
            self.close()
            error.proved = self._proved
            raise
        except (OSError, ValueError) as error:
            self.close()
            no_answer = NoAnswer(_cause(error))
            no_answer.proved = self._proved
            raise no_answer from error
        except BaseException:
            self.close()
            raise

    def _request(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        host = f"[{self._host}]" if ":" in self._host else self._host
        words = {"Host": f"{host}:{self._port}", "Accept-Encoding": "identity", **headers}
        if body:
            words["Content-Length"] = str(len(body))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in words.items())]
        if " " in target or not all(map(_SENDABLE.fullmatch, lines)):
            raise NoAnswer("the question has characters that cannot be sent")
        return "\r\n".join([*lines, "\r\n"]).encode("ascii") + body

    def _is_alive(self) -> bool:
        """Whether there is a connection that is idle: nothing has come on it unasked, such as its end."""
        if self._socket is None:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if poll.poll(0):
            self.close()
        return self._socket is not None

    def _connect(self, deadline: float) -> None:
        self.close()
        if "%" in self._host or not 0 < self._port < 65536:  # A scope would be looked up like a name.
            raise NoAnswer("there is no such address or port")
        address = ip_address(self._host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        plain = self._socket = socket.socket(family, socket.SOCK_STREAM)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._source is not None:
            self._leave_from(plain, self._source)
        if self._only_others:
            hear_others(plain, address)
            go_straight(plain, address, self._port, _left(deadline) / 2)
        plain.settimeout(_left(deadline))
        refusals.connect(plain, address, self._port)
        if self._tls is not None:
            plain.settimeout(_left(deadline))  # This is for the handshake as a whole.
            self._socket = self._tls.wrap_socket(plain, server_hostname=self._host)
            self._proved = True

    @staticmethod
    def _leave_from(plain: socket.socket, source: Address) -> None:
        try:
            bind_address(plain, source)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise NoAnswer(f"{source} is not here, to ask from; does this pod lack `hostNetwork: true`?") from error

    def _ask(self, request: bytes, deadline: float) -> Response:
        assert self._socket is not None
        incoming = _Incoming(self._socket, deadline)
        try:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(request)
            status, headers = incoming.head()
        except (ConnectionError, ssl.SSLEOFError) as error:
            self.close()
            if incoming.began:
                raise
            raise _HungUp("the connection was closed without an answer") from error
        body, keeps = incoming.body(status, headers, self._most_bytes)
        if not keeps:
            self.close()
        return Response(status, body)


class _HungUp(NoAnswer):
    """The other side has closed the connection before the first byte of an answer."""


class _Incoming:
    """Reads an answer from a connection, within the budget."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = bytearray()
        self._budget = MOST_HEADER_BYTES
        self.began = False

    def head(self) -> tuple[int, dict[bytes, bytes]]:
        """The status and the headers, by lower-case names, of the first answer that is not 1xx."""
        status, headers, lines = 0, dict[bytes, bytes](), 0
        while status < 200:
            if not (found := _STATUS.fullmatch(self._line())):
                raise NoAnswer("what came is no HTTP")
            status = int(found[2])
            headers = {b"connection": b"close"} if found[1] == b"0" else {}
            while line := self._line():
                lines += 1
                if lines > MOST_HEADER_LINES:
                    raise NoAnswer(f"more than {MOST_HEADER_LINES} header lines")
                if not (field := _HEADER.fullmatch(line)):
                    raise NoAnswer("what came is no HTTP")
                name, value = field[1].lower(), field[2].strip(b" \t")
                if headers.setdefault(name, value) != value and name in (b"content-length", b"transfer-encoding"):
                    raise NoAnswer("what came is no HTTP")
        return status, headers

    def body(self, status: int, headers: Mapping[bytes, bytes], most_bytes: int) -> tuple[bytes, bool]:
        """The body, and whether the connection can be kept after it."""
        self._budget = most_bytes
        coding, length = headers.get(b"transfer-encoding"), headers.get(b"content-length")
        if coding is not None and coding.lower() != b"chunked":
            raise NoAnswer("what came is coded in a way that nobody asked for")
        if status in (204, 304):
            body = b""
        elif coding is not None:
            body = self._chunks()
        elif length is None:
            return self._rest(), False
        elif _LENGTH.fullmatch(length):
            body = self._exactly(int(length))
        else:
            raise NoAnswer("what came is no HTTP")
        return body, not self._buffer and headers.get(b"connection", b"").lower() != b"close"

    def _chunks(self) -> bytes:
        chunks = []
        while True:
            if not (found := _CHUNK.fullmatch(self._line())):
                raise NoAnswer("what came is no HTTP")
            if (size := int(found[1], 16)) == 0:
                break
            chunks.append(self._exactly(size))
            if self._line():
                raise NoAnswer("what came is no HTTP")
        while self._line():
            pass  # Trailers are not needed.
        return b"".join(chunks)

    def _line(self) -> bytes:
        begin = 0
        while (end := self._buffer.find(b"\n", begin)) < 0:
            if len(self._buffer) > self._budget:
                raise NoAnswer("the answer is too long")
            begin = len(self._buffer)
            self._receive()
        return self._take(end + 1).removesuffix(b"\n").removesuffix(b"\r")

    def _exactly(self, size: int) -> bytes:
        if size > self._budget:
            raise NoAnswer("the answer is too long")
        while len(self._buffer) < size:
            self._receive()
        return self._take(size)

    def _rest(self) -> bytes:
        while self._more():
            if len(self._buffer) > self._budget:
                break
        return self._take(len(self._buffer))

    def _take(self, size: int) -> bytes:
        if size > self._budget:
            raise NoAnswer("the answer is too long")
        self._budget -= size
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _receive(self) -> None:
        if not self._more():
            # Before the first byte, a kept connection was closed meanwhile: see `Connection.get`.
            raise NoAnswer("the answer was cut off") if self.began else ConnectionResetError

    def _more(self) -> bool:
        self._connection.settimeout(_left(self._deadline))
        came = self._connection.recv(16384)
        self._buffer += came
        self.began = self.began or bool(came)
        return bool(came)


def _cause(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"the certificate does not hold: {message}"
        case TimeoutError():
            return "no answer in time"
        case refusals.SaidByOthers():
            return f"no connection ({error})"
        case ssl.SSLError(reason=reason):
            return f"no TLS ({reason})"
        case OSError(errno=int(number)):
            return f"no connection ({os.strerror(number)})"
        case _:
            return "there is no such address or port"


def _left(deadline: float) -> float:
    """Seconds until the deadline.  Raises TimeoutError after it."""
    if (left := deadline - clock.now()) <= 0:
        raise TimeoutError
    return left
