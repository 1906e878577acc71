"""The HTTP client against servers that answer as they please: an answer, or one kind of error, within its budget."""

import json
import socket
import threading
import time
from ipaddress import IPv4Address

import pytest

from floatingip.core.bounded_json import read_json
from floatingip.edges.http_client import MOST_HEADER_BYTES, MOST_HEADER_LINES, Connection, NoAnswer, Response
from tests.edges.strangers import Stranger, saying, stranger

OK = b"HTTP/1.1 200 OK\r\n"


def asked(server: Stranger, seconds: float = 2.0, most_bytes: int = 1000) -> Response:
    """What comes of one question on a new connection."""
    connection = Connection("127.0.0.1", server.port, seconds=seconds, most_bytes=most_bytes)
    try:
        return connection.get("/")
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 503 \r\ncontent-length:2\r\n\r\nhi", 503, b"hi"),
        (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
        (OK + b"Content-Length: 2\r\nX: 1\r\nX: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 200, b"hi"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
            200,
            b"",
        ),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1;a=b\r\ni\r\n0\r\nTrailer: x\r\n\r\n", 200, b"hi"),
        (OK + b"Content-Length: 1000\r\n\r\n" + 1000 * b"x", 200, 1000 * b"x"),
    ],
)
def test_what_is_http_is_an_answer(answer: bytes, status: int, body: bytes) -> None:
    """Of any status, and exactly its body; a redirect is an answer too, and not followed."""
    with stranger(saying(answer)) as server:
        assert asked(server) == Response(status, body)
        assert len(server.heard) == 1


@pytest.mark.parametrize("head", [OK, b"HTTP/1.0 200 OK\r\n"])
def test_without_a_length_the_body_lasts_until_the_end(head: bytes) -> None:
    """As of HTTP 1.0."""
    with stranger(saying(head + b"\r\nhi", hangs_up=True)) as server:
        assert asked(server) == Response(200, b"hi")


MANY_LINES = b"".join(b"X: %d\r\n" % number for number in range(MOST_HEADER_LINES + 1))

NO_HTTP = "what came is no HTTP"
TOO_LONG = "the answer is too long"
CUT = "the answer was cut off"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 2", CUT),
        (OK + b"Content-Len", CUT),
        (OK + b"Content-Length: 3\r\n\r\nhi", CUT),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi", CUT),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", CUT),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NO_HTTP),
        (b"\x16\x03\x01\x02\x00\r\n", NO_HTTP),
        (b"\r\n\r\n", NO_HTTP),
        (b"HTTP/2 200\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 0200 OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 two OK\r\n\r\n", NO_HTTP),
        (b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n\r\n", NO_HTTP),
        (OK + b"no colon\r\n\r\n", NO_HTTP),
        (OK + b"X: 1\r\n folded\r\n\r\n", NO_HTTP),
        (OK + b": nameless\r\n\r\n", NO_HTTP),
        (OK + b"Content-Length: -1\r\n\r\nhi", NO_HTTP),
        (OK + b"Content-Length: 1_0\r\n\r\nhi", NO_HTTP),
        (OK + b"Content-Length: \r\n\r\nhi", NO_HTTP),
        (OK + b"Content-Length: " + 5000 * b"9" + b"\r\n\r\nhi", NO_HTTP),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", NO_HTTP),
        (OK + b"Content-Length: 999999999999999999\r\n\r\nhi", TOO_LONG),
        (OK + b"Content-Length: 1001\r\n\r\nhi", TOO_LONG),
        (OK + b"\r\n" + 1001 * b"x", TOO_LONG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffff\r\nhi", TOO_LONG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + 200 * b"1\r\nx\r\n", TOO_LONG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + 1001 * b"x" + b"\r\n", TOO_LONG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + 200 * b"X: 1\r\n", TOO_LONG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhi", NO_HTTP),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", NO_HTTP),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", NO_HTTP),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nhi", "what came is coded in a way that nobody asked for"),
        (OK + MANY_LINES + b"\r\n", f"more than {MOST_HEADER_LINES} header lines"),
        (OK + b"X: " + MOST_HEADER_BYTES * b"x" + b"\r\n\r\n", TOO_LONG),
        (MOST_HEADER_BYTES * b"H" + b"H", TOO_LONG),
        (MOST_HEADER_BYTES * b"HTTP/1.1 100 Continue\r\n\r\n", TOO_LONG),
    ],
)
def test_what_is_none_is_no_answer_and_says_why(answer: bytes, cause: str) -> None:
    """Never another exception, and never a word of what came."""
    with stranger(saying(answer, hangs_up=True)) as server, pytest.raises(NoAnswer) as caught:
        asked(server)
    assert str(caught.value) == cause


@pytest.mark.parametrize(
    "drop",
    [
        b"H",
        OK,
        OK + b"X: ",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Length: 900\r\n\r\n",
        OK + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"",
    ],
)
def test_the_seconds_are_for_the_whole_answer(drop: bytes) -> None:
    """One byte at a time, none of them late: no answer all the same, wherever it drips."""

    def speak(connection: socket.socket, _request: bytes) -> None:
        if drop:
            server.drip(connection, drop + 1000 * b"x")
        server.ended.wait()

    with stranger(speak) as server:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match=r"^no answer in time$"):
            asked(server, seconds=0.2)
        assert time.monotonic() - began < 5  # a bound that only a hanging client misses


def test_nobody_there_is_no_answer() -> None:
    """A refused connection, in the kernel's words."""
    with pytest.raises(NoAnswer, match=r"^no connection \(Connection refused\)$"):
        Connection("127.0.0.1", 9, seconds=1).get("/")


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("localhost", 80),
        ("", 80),
        ("a b", 80),
        ("127.1", 80),
        ("127.0.0.1", 0),
        ("127.0.0.1", 70000),
        ("fe80::1%lo", 80),
        ("\ud800", 80),
        ("127.0.0.1\x00", 80),
    ],
)
def test_no_name_is_ever_looked_up(host: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS can take ten seconds, and whoever names a host should not choose whom we ask about it."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("somebody was looked up"))
    with pytest.raises(
        NoAnswer, match=r"^(there is no such address or port|the question has characters that cannot be sent)$"
    ):
        Connection(host, port, seconds=1).get("/")


@pytest.mark.parametrize(
    ("target", "value"),
    [("/a b", "x"), ("/a\r\nX: y", "x"), ("/\xe4", "x"), ("/", "x\r\nY: z"), ("/", "\xe4"), ("/", "\n")],
)
def test_what_would_be_another_question_is_not_sent(target: str, value: str) -> None:
    """A secret that is none cannot smuggle a header in, and is not quoted."""
    with stranger(saying(OK + b"Content-Length: 0\r\n\r\n")) as server:
        with pytest.raises(NoAnswer, match=r"^the question has characters that cannot be sent$"):
            Connection("127.0.0.1", server.port, seconds=2).get(target, {"Secret": value})
        assert server.heard == []


def test_the_question_is_as_told() -> None:
    """Method, target, headers, and the address that it comes from."""
    with stranger(saying(OK + b"Content-Length: 0\r\n\r\n")) as server:
        connection = Connection(IPv4Address("127.0.0.1"), server.port, seconds=2, source=IPv4Address("127.0.0.5"))
        connection.get("/path?x=1", {"TTL": "60"}, method="PUT")
        connection.close()
        lines = server.heard[0].split(b"\r\n")
    assert lines[0] == b"PUT /path?x=1 HTTP/1.1"
    assert {b"Host: 127.0.0.1:%d" % server.port, b"TTL: 60"} <= set(lines)


def test_a_place_that_lacks_the_address_to_ask_from_is_named() -> None:
    """As a pod without its node's network does: whoever is asked has nothing to do with that."""
    connection = Connection("127.0.0.1", 9, seconds=2, source=IPv4Address("192.0.2.1"))
    with pytest.raises(NoAnswer, match=r"^192\.0\.2\.1 is not here, to ask from; does this pod lack `hostNetwork"):
        connection.get("/")


def test_what_is_told_follows_the_question() -> None:
    """With its length, so that the next question begins after it."""
    with stranger(saying(OK + b"Content-Length: 0\r\n\r\n")) as server:
        connection = Connection("127.0.0.1", server.port, seconds=2)
        connection.get("/", {"Content-Type": "application/json"}, method="PATCH", body=b'{"a": 1}')
        connection.get("/next")
        connection.close()
        first, second = server.heard
    assert {b"Content-Length: 8", b"Content-Type: application/json"} <= set(first.split(b"\r\n"))
    assert second.startswith(b'{"a": 1}GET /next HTTP/1.1\r\n')
    assert b"Content-Length" not in second


@pytest.mark.parametrize(
    ("header", "connections"), [(b"", 1), (b"Connection: close\r\n", 3), (b"connection:CLOSE\r\n", 3)]
)
def test_a_connection_is_kept_unless_it_is_to_end(header: bytes, connections: int) -> None:
    """One for many questions, until the server says otherwise."""
    with stranger(saying(OK + header + b"Content-Length: 2\r\n\r\nhi")) as server:
        connection = Connection("127.0.0.1", server.port, seconds=2)
        assert [connection.get("/").body for _ in range(3)] == 3 * [b"hi"]
        connection.close()
        assert server.connections == connections


def test_a_kept_connection_that_was_closed_is_made_anew() -> None:
    """Before the question, or by it: that a server was started again is not its answer."""

    def speak(connection: socket.socket, request: bytes) -> None:
        if b"/close" in request:  # without a word
            connection.close()
        connection.sendall(OK + b"Content-Length: 2\r\n\r\nhi")
        if b"/last" in request:
            connection.shutdown(socket.SHUT_RDWR)

    with stranger(speak) as server:
        connection = Connection("127.0.0.1", server.port, seconds=2)
        assert connection.get("/last").body == b"hi"
        assert connection.get("/").body == b"hi"
        assert server.connections == 2
        with pytest.raises(NoAnswer, match=r"^the connection was closed without an answer$"):
            connection.get("/close")
        assert server.connections == 3  # once more, and not for ever
        assert connection.get("/").body == b"hi"
        connection.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_that_nobody_asked_for_answers_nothing(*, at_once: bool) -> None:
    """Two answers to one question: the second says nothing of the next one, which was asked later."""
    new, old = (OK + b"Content-Length: 3\r\n\r\n" + body for body in (b"new", b"old"))
    read, sent = threading.Event(), threading.Event()

    def speak(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(new + old if at_once else new)
        if not at_once:
            read.wait(5)
            connection.sendall(old)
        sent.set()

    with stranger(speak) as server:
        connection = Connection("127.0.0.1", server.port, seconds=2)
        for number in range(1, 4):
            assert connection.get("/").body == b"new"
            assert server.connections == number
            read.set()
            assert sent.wait(5)
            read.clear()
            sent.clear()
        connection.close()


def test_after_an_error_the_next_question_starts_anew() -> None:
    """What was left of the bad answer is not read as the next one."""
    with stranger(
        saying(b"garbage\r\n" + OK + b"Content-Length: 3\r\n\r\nold", OK + b"Content-Length: 3\r\n\r\nnew")
    ) as server:
        connection = Connection("127.0.0.1", server.port, seconds=2)
        with pytest.raises(NoAnswer):
            connection.get("/")
        assert connection.get("/").body == b"new"
        connection.close()


@pytest.mark.parametrize(
    "value", [{}, [], "x", 7, -1.5, None, True, {"a": [{"b": '[[[[\\"{{{{'}]}, "\U0001f600", 2**63]
)
def test_json_is_read(value: object) -> None:
    """Any value, up to the depth; brackets in a text are none."""
    assert read_json(json.dumps(value).encode(), depth=3) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[[[[]]]]",
        b'{"a": {"a": {"a": {}}}}',
        200_000 * b"[",
        200_000 * b'{"a":',
        200_000 * b'"a\\',
        b'"' + 200_000 * b'\\"',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        5000 * b"9",
        25 * b"9",
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\uD800": 1}',
        b"\xef\xbb\xbf{}",
        "[]".encode("utf-16"),
        b"[] []",
        b'"a\nb"',
        b"\x00",
    ],
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    """One kind of error for all, and at once."""
    with pytest.raises(ValueError):  # noqa: PT011 - whose message the asker does not use
        read_json(body, depth=3)
