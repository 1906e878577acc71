"""The measuring client: an outage of 300 ms is one of 300 ms, and its schedule does not depend on answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median

import pytest

from lab.history import Event
from lab.network.netns import Namespace
from lab.run.checker import check
from lab.run.verdict import Expectation

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nworker-a\n"
HOST, HOST_IPV6, PORT = "10.9.0.1", "2001:db8:9::1", 30007


@pytest.fixture
def server_and_client() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces, one link between them."""
    server, client = Namespace("m-server"), Namespace("m-client")
    server.create()
    client.create()
    for namespace in (server, client):
        namespace.sysctl({"ipv6/conf/default/accept_dad": 0})
    server.ip("link add m0 type veth peer name m0 netns m-client", f"address add {HOST}/24 dev m0", "link set m0 up")
    client.ip("address add 10.9.0.2/24 dev m0", "link set m0 up")
    server.ip(f"address add {HOST_IPV6}/64 dev m0")
    client.ip("address add 2001:db8:9::2/64 dev m0")
    yield server, client
    server.delete()
    client.delete()


@contextmanager
def serving(listener: socket.socket, delay: float = 0.0, answer: bytes = ANSWER) -> Iterator[None]:
    """Answer every request on the listener after `delay` seconds."""

    def one(connection: socket.socket) -> None:
        with connection:
            connection.recv(1000)
            time.sleep(delay)
            connection.sendall(answer)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def measuring(namespace: Namespace, *more: str, host: str = HOST) -> Iterator[list[Event]]:
    """Run the client during the block; its attempts are in the list afterwards."""
    command = [sys.executable, "-m", "lab.run.client", "--url", f"http://{host}:{PORT}/", "--name", "in", *more]
    client = namespace.popen(command, stdout=subprocess.PIPE)
    assert client.stdout
    first = client.stdout.readline()
    events: list[Event] = [json.loads(first)]
    yield events
    client.send_signal(signal.SIGTERM)
    rest, _ = client.communicate(timeout=5)
    assert client.returncode == 0
    events += [json.loads(line) for line in rest.splitlines()]
    events.sort(key=lambda event: float(event["started"]))


def cut(server: Namespace, *, down: bool) -> None:
    """Drop everything silently, or no more."""
    server.nft(
        "table ip cut { chain in { type filter hook prerouting priority -400; drop; }; }"
        if down
        else "delete table ip cut"
    )


def test_an_outage_of_300_ms_is_seen_as_300_ms(server_and_client: tuple[Namespace, Namespace]) -> None:
    """Silence for 300 ms: each attempt in it fails a second later, although its second SYN could get through."""
    server, client = server_and_client
    with serving(server.listen(HOST, PORT)), measuring(client) as events:
        time.sleep(0.5)
        cut(server, down=True)
        began = time.monotonic()
        time.sleep(0.3)
        cut(server, down=False)
        lasted = time.monotonic() - began
        time.sleep(0.5)
    verdict = check(events, Expectation("x", "none", HOST))
    assert verdict.outage_s == pytest.approx(lasted, abs=0.045)
    assert len(verdict.outages) == 1
    assert {event["error"] for event in events if not event["ok"]} == {"timeout"}
    assert {event["answer"] for event in events if event["ok"]} == {"worker-a"}


def test_attempts_start_every_20_ms_while_none_is_answered(server_and_client: tuple[Namespace, Namespace]) -> None:
    """Concurrent, without drift; each ends after its second, and the last ones are waited for."""
    server, client = server_and_client
    cut(server, down=True)
    with measuring(client) as events:
        time.sleep(1.0)
    starts = [event["started"] for event in events]
    # By the middle of many: one attempt may be late on a busy machine, and a whole slot may be missed.
    offsets = [(start - starts[0] + 0.01) % 0.02 - 0.01 for start in starts]
    on_time = [offset for offset in offsets if abs(offset - median(offsets)) < 0.003]
    assert len(on_time) > 0.7 * len(offsets), "a drifting schedule spreads its starts over the whole 20 ms"
    assert median(b - a for a, b in pairwise(starts)) == pytest.approx(0.02, abs=0.002)
    assert median(event["t"] - event["started"] for event in events) == pytest.approx(1.0, abs=0.02)
    assert all(event["t"] - event["started"] >= 1.0 for event in events)


def test_a_slow_answer_is_a_success_only_within_the_timeout(server_and_client: tuple[Namespace, Namespace]) -> None:
    """The deadline is one over connection and answer."""
    server, client = server_and_client
    with serving(server.listen(HOST, PORT), delay=0.3):
        with measuring(client, "--timeout", "0.5") as patient:
            time.sleep(0.1)
        with measuring(client, "--timeout", "0.2") as hasty:
            time.sleep(0.1)
    assert all(event["ok"] for event in patient)
    assert {event["error"] for event in hasty} == {"timeout"}


def test_errors_have_a_name(server_and_client: tuple[Namespace, Namespace]) -> None:
    """Nobody listens; the server is there but not well."""
    server, client = server_and_client
    with measuring(client) as refused:
        time.sleep(0.1)
    assert {event["error"] for event in refused} == {"refused"}
    with serving(server.listen(HOST, PORT), answer=b"HTTP/1.1 503 No\r\n\r\n"), measuring(client) as unwell:
        time.sleep(0.1)
    assert {event["error"] for event in unwell} == {"http 503"}


def test_an_ipv6_address_is_asked_over_ipv6(server_and_client: tuple[Namespace, Namespace]) -> None:
    """In brackets, as a URL has it, in the request too; and errors have the same names."""
    server, client = server_and_client
    seen: list[tuple[str, str]] = []

    def serve() -> None:
        connection, (source, *_) = listener.accept()
        with connection:
            seen.append((source, connection.recv(1000).decode().splitlines()[1]))
            connection.sendall(ANSWER)

    with server.listen(HOST_IPV6, PORT) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with measuring(client, host=f"[{HOST_IPV6}]") as events:
            thread.join()
    assert seen == [("2001:db8:9::2", f"Host: [{HOST_IPV6}]:{PORT}")]
    assert [event["answer"] for event in events if event["ok"]] == ["worker-a"]
    with measuring(client, host=f"[{HOST_IPV6}]") as refused:
        time.sleep(0.1)
    assert {event["error"] for event in refused} == {"refused"}


def test_measuring_is_cheap(server_and_client: tuple[Namespace, Namespace]) -> None:
    """Less than a tenth of a core, beside its start."""
    server, client = server_and_client
    before = os.times()
    with serving(server.listen(HOST, PORT)), measuring(client):
        time.sleep(0.1)
    started = os.times()
    with serving(server.listen(HOST, PORT)), measuring(client):
        time.sleep(3.1)
    after = os.times()

    def children(a: os.times_result, b: os.times_result) -> float:
        return b.children_user + b.children_system - a.children_user - a.children_system

    assert children(started, after) - children(before, started) < 3.0 * 0.1


SECOND_SYN = ("--url", "http://10.0.0.1/", "--timeout", "1.5")
"""After a second the kernel would send another one."""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(SECOND_SYN, "second SYN", id="a timeout that outlives the first SYN"),
        *(
            pytest.param(("--url", url), "", id=url)
            for url in ("https://10.0.0.1/", "http://name/", "10.0.0.1", "http://[2001:db8::x]/")
        ),
    ],
)
def test_what_would_measure_something_else_is_refused(options: tuple[str, ...], said: str) -> None:
    """As resolving a name would: an URL has a numeric address."""
    command = [sys.executable, "-m", "lab.run.client", "--name", "x", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert said in done.stderr
