"""The observer's server between real sockets on loopback: what it answers, and what nobody can take from it."""

import http.client
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from floatingip.runtime import status_server
from floatingip.runtime.status_server import (
    CONNECTIONS_EACH,
    REQUEST_LONGEST,
    STRANGERS_AT_MOST,
    StatusServer,
    once_free,
)
from tests.edges.observers import ASKER, HOLDER, PATIENCE, STRANGER, THIRD, Start
from tests.waiting import until


def fetch(
    port: int, target: str, *, source: str = HOLDER, method: str = "GET", host: str = HOLDER
) -> tuple[int, str, str]:
    """One request from a chosen local address: status, content type and body."""
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE, source_address=(source, 0))) as connection:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def connect(port: int, source: str = STRANGER) -> socket.socket:
    """A connection from there."""
    connection = socket.create_connection((HOLDER, port), timeout=PATIENCE, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def quiet(address: str, port: int) -> StatusServer:
    """One that answers everybody with a word."""
    return StatusServer(IPv4Address(address), port, lambda *_: (HTTPStatus.OK, "ok"), lambda _: True)


def said(connection: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    found = b""
    with suppress(ConnectionError):
        while came := connection.recv(65536):
            found += came
    return found


def exchange(port: int, request: bytes, source: str = STRANGER) -> bytes:
    """What is answered to these bytes, which may be cut off on their way, or refused before `connect` returns."""
    try:
        connection = connect(port, source)
    except ConnectionResetError:
        return b""
    with connection:
        with suppress(ConnectionError):
            connection.sendall(request)
        return said(connection)


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it, without waiting."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@contextmanager
def many(port: int, number: int, source: str = STRANGER) -> Iterator[list[socket.socket]]:
    """So many tries to connect and say nothing: those connections that came about."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            with suppress(ConnectionResetError):  # refused even before `connect` returned
                made.append(stack.enter_context(connect(port, source)))
        yield made


def files() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


# What is answered.


def test_each_path_is_answered_in_its_own_kind(port: int, start: Start) -> None:
    """JSON for peers, text for the kubelet and for Prometheus."""
    observer = start()
    assert fetch(port, "/v1/word")[:2] == (200, "application/json")
    assert fetch(port, "/livez") == (200, "text/plain", "ok")
    assert fetch(port, "/metrics") == (200, "text/plain", "floatingip_holder 1.0\n")
    assert fetch(port, "/v1/status")[:2] == (200, "application/json")
    assert fetch(port, "/")[:2] == (200, "text/html; charset=utf-8")
    assert fetch(port, "/", source=STRANGER) == (403, "text/plain", "ok")
    assert fetch(port, "/nothing")[0] == 404
    observer.stalled_for = 12.0
    assert fetch(port, "/livez") == (503, "text/plain", "the deciding thread was last seen 12 s ago")


def test_the_page_may_load_nothing_and_run_nothing(port: int, start: Start) -> None:
    """Should anything ever get into it that was not escaped."""
    start()
    answer = exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", HOLDER)
    [policy] = [line for line in answer.split(b"\r\n") if line.startswith(b"Content-Security-Policy: ")]
    assert b"default-src 'none'" in policy
    assert b"script-src" not in policy


def test_it_answers_at_a_second_address_where_it_can(port: int, start: Start) -> None:
    """`kubectl port-forward` reaches loopback only; where somebody else has the port there, that is told, no more."""
    desk = start().desk
    server = StatusServer(IPv4Address(THIRD), port, desk.answer, desk.knows, also=ASKER)
    server.start()
    try:
        assert fetch(port, "/livez", host=THIRD)[0] == fetch(port, "/livez", host=ASKER)[0] == 200
        taken = StatusServer(IPv4Address(STRANGER), port, desk.answer, desk.knows, also=ASKER)
        assert taken.unheard == f"cannot listen on {ASKER}:{port}: Address already in use"
        taken.start()
        taken.stop()
    finally:
        server.stop()


def test_a_port_that_is_in_use_is_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by an observer that is about to end; or by a connection of this node that has it as its own."""
    monkeypatch.setattr(status_server, "IN_USE_AGAIN", 0.01)
    said, tries = list[str](), list[int]()
    taken = socket.create_server((HOLDER, port))

    def make() -> StatusServer:
        tries.append(port)
        if len(tries) == 3:
            taken.close()
        return quiet(HOLDER, port)

    server = once_free(make, lambda error: said.append(str(error.strerror)), lambda: False)
    assert server is not None
    server.start()
    assert fetch(port, "/livez")[0] == 200
    server.stop()
    assert (said, len(tries)) == (["Address already in use"], 3)


@pytest.mark.parametrize("why", ["it takes too long", "another reason"])
def test_a_port_is_waited_for_only_where_that_may_help(port: int, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Otherwise what is wrong is told, and the container ends."""
    monkeypatch.setattr(status_server, "IN_USE_AT_MOST", 0.0 if why == "it takes too long" else PATIENCE)
    host = "192.0.2.7" if why == "another reason" else HOLDER
    with socket.create_server((HOLDER, port)), pytest.raises(OSError, match=r"in use|requested address"):
        once_free(lambda: quiet(host, port), lambda error: pytest.fail(f"waits, because of {error}"), lambda: False)


def test_a_port_is_not_waited_for_by_an_observer_that_is_to_end(port: int) -> None:
    """That is no failure: the log would say so, and the exit code."""
    with socket.create_server((HOLDER, port)):
        assert once_free(lambda: quiet(HOLDER, port), lambda _: None, lambda: True) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "get"])
def test_nothing_can_be_commanded(port: int, start: Start, method: str) -> None:
    """Whoever may move the address is who IAM says; here everything but GET is refused."""
    start()
    assert fetch(port, "/v1/word", method=method)[0] == 405


def test_one_who_is_known_asks_again_on_the_same_connection(port: int, start: Start) -> None:
    """Twice a second, all day."""
    start()
    with closing(http.client.HTTPConnection(HOLDER, port, timeout=PATIENCE, source_address=(HOLDER, 0))) as connection:
        for _ in range(3):
            connection.request("GET", "/v1/word")
            kept = connection.sock
            assert connection.getresponse().read()
            assert connection.sock is kept is not None


def test_a_stranger_gets_one_answer_a_connection(port: int, start: Start) -> None:
    """Its place is somebody else's then."""
    start()
    answer = exchange(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nok")


def test_a_server_starts_without_asking_dns(port: int, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """That can take ten seconds, just when the network is broken."""

    def asked(*_: object) -> str:
        raise AssertionError("DNS was asked")

    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, name, asked)
    start()
    assert fetch(port, "/livez")[0] == 200


def test_a_taken_port_is_an_error_of_the_one_who_starts(port: int, start: Start) -> None:
    start()
    with pytest.raises(OSError, match="Address already in use"):
        start()


def test_a_stopped_server_is_silent_on_open_connections_too(port: int, start: Start) -> None:
    """An asker keeps its connection: the word of one who stopped must not go on vouching."""
    observer = start()
    with connect(port, HOLDER) as connection:
        connection.sendall(b"GET /v1/word HTTP/1.1\r\n\r\n")
        assert connection.recv(65536)
        observer.server.stop()
        with suppress(ConnectionError):
            connection.sendall(b"GET /v1/word HTTP/1.1\r\n\r\n")
        assert said(connection) == b""
    with pytest.raises(ConnectionError):
        connect(port, HOLDER)


# What nobody can do.


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1 HTTP/1.1\r\n\r\n",
        b"\xff\x00\x16\x03\x01" * 100 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\nGET /livez HTTP/1.1\r\n\r\n" * 50,
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"y" * REQUEST_LONGEST + b"\r\n\r\n",
        b"GET /v1/word?asker=i-" + b"0" * 60_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + (b"X: " + b"y" * 65_000 + b"\r\n") * 99 + b"\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_no_more_of_it_is_read(port: int, start: Start, request_: bytes) -> None:
    """Garbage, several at once, too many lines, too many bytes; the next one is answered."""
    start()
    # What is not read any more resets the connection, maybe before the answer is.
    assert exchange(port, request_)[:12] in (b"HTTP/1.1 400", b"")
    assert fetch(port, "/livez")[0] == 200


@pytest.mark.parametrize("source", [STRANGER, ASKER])
def test_a_request_has_its_time_in_all(port: int, start: Start, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Not for each byte; who says nothing at all is closed as well."""
    monkeypatch.setattr(status_server, "EXCHANGE_WITHIN", 0.3)
    start().meet(b=ASKER)
    with connect(port, source) as slow, connect(port, STRANGER) as silent:
        began = time.monotonic()
        with suppress(ConnectionError):
            while not ended(slow):
                slow.send(b"G")
                time.sleep(0.02)
        assert time.monotonic() - began < PATIENCE
        silent.settimeout(PATIENCE)
        assert said(silent) == b""


def test_an_answer_that_is_not_taken_is_given_up(port: int, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free again."""
    monkeypatch.setattr(status_server, "EXCHANGE_WITHIN", 0.3)
    observer = start()
    monkeypatch.setattr(observer.desk, "_metrics", lambda _: "x" * 30_000_000)
    with connect(port) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(lambda: observer.server._open[STRANGER] == 1)
        until(lambda: not observer.server._open[STRANGER])


def test_one_address_has_few_connections(port: int, start: Start) -> None:
    """What is more is closed at once, and others do not notice."""
    start()
    with many(port, 50) as connections:
        time.sleep(0.2)
        assert sum(not ended(connection) for connection in connections) == CONNECTIONS_EACH
        assert fetch(port, "/livez", source="127.0.0.67")[0] == 200


def test_a_place_is_free_again_a_moment_after_its_end(port: int, start: Start) -> None:
    """So nobody gets answers faster than that."""
    observer = start()
    with many(port, CONNECTIONS_EACH):
        until(lambda: observer.server._open[STRANGER] == CONNECTIONS_EACH)
    assert exchange(port, b"GET /livez HTTP/1.1\r\n\r\n") == b""
    until(lambda: not observer.server._open)
    assert exchange(port, b"GET /livez HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_however_many_come_the_kubelet_and_the_peers_are_answered(port: int, start: Start) -> None:
    """All strangers' places are taken; the known ones have their own."""
    observer = start()
    observer.meet(b=ASKER)
    with ExitStack() as stack:
        addresses = [f"127.0.2.{number + 1}" for number in range(STRANGERS_AT_MOST // CONNECTIONS_EACH)]
        for address in addresses:
            stack.enter_context(many(port, CONNECTIONS_EACH, address))
        time.sleep(0.2)
        assert exchange(port, b"GET /livez HTTP/1.1\r\n\r\n", THIRD) == b""
        assert fetch(port, "/livez", source=HOLDER)[0] == 200
        assert fetch(port, "/v1/word?asker=i-b", source=ASKER)[0] == 200


def test_a_burst_of_connections_costs_nothing_that_stays(port: int, start: Start) -> None:
    """Neither threads nor files nor memory; the kubelet is answered meanwhile."""
    observer = start()
    before, threads, memory = files(), threading.active_count(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(3000):
        with suppress(ConnectionError):
            connect(port).close()
        if number % 500 == 0:
            assert fetch(port, "/livez", source=HOLDER)[0] == 200
    assert threading.active_count() == threads
    until(lambda: files() <= before)
    until(lambda: not observer.server._open)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 8192


def test_without_a_file_for_a_connection_the_server_waits_and_goes_on(port: int, start: Start) -> None:
    """What is accepted then has its turn."""
    start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connect(port, HOLDER) as before:
        time.sleep(0.05)
        waiting = socket.socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (files() - 1, hard))
        try:
            waiting.connect((HOLDER, port))
            time.sleep(0.2)
            before.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            assert before.recv(12) == b"HTTP/1.1 200"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with waiting:
            waiting.settimeout(PATIENCE)
            waiting.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            assert waiting.recv(12) == b"HTTP/1.1 200"


def test_a_defect_in_an_answer_ends_nothing_but_its_connection(
    port: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = start()
    gather = observer.desk._metrics

    def defect(_: object) -> str:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(observer.desk, "_metrics", defect)
    assert exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    monkeypatch.setattr(observer.desk, "_metrics", gather)
    assert fetch(port, "/metrics")[0] == 200
