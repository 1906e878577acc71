"""The observers' port between real sockets: whatever is sent there, one answer or none, and nothing that stays."""

import gc
import itertools
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edges.observers import HOLDER, PATIENCE, Observer, free_port
from tests.hostile.strategies import mutations

WORD = b"GET /v1/word?asker=i-b&doubt=10.0.0.100&look=soon HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
ANSWERS = tuple(b"HTTP/1.1 %d " % status for status in (200, 400, 404, 405, 503))
RESET = b"\1\0\0\0\0\0\0\0"

ODD = (
    WORD,
    WORD * 3,
    WORD[:-2],
    b"GET /" + b"a" * 9000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    b"GET /v1/word?" + b"doubt=10.0.0.100&" * 400 + b" HTTP/1.1\r\n\r\n",
    b"GET http://[:::/ HTTP/1.1\r\n\r\n",
    b"GET /v1/word?asker=%00%ff%0d%0aX:%20y HTTP/1.1\r\n\r\n",
    b"POST /v1/word HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{" + b"[" * 1000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\r\n\r\n",
    b"\n" * 100,
    b"\x00" * 8192,
    b"",
)
"""What scanners, browsers, attackers and broken proxies send."""

MOST_KEPT = 64_000
"""Bytes that may be kept of some hundred requests, most of it by Python's own caches; each leaves less than 100, or a
connection, a task or a request that stays would show as ten times as much.
"""


@pytest.fixture(name="observer", scope="module")
def _observer() -> Iterator[Observer]:
    observer = Observer(HOLDER, free_port())
    yield observer
    observer.server.stop()


STRANGERS = itertools.cycle(f"127.0.{third}.{last}" for third in (1, 2) for last in range(1, 200))
"""Each has a few connections, and a place that rests a while after each."""


def sent(observer: Observer, request: bytes, *, source: str, ends: str = "half") -> bytes:
    """All that is answered; the connection is closed in one way or the other."""
    with (
        suppress(OSError),
        socket.create_connection((HOLDER, observer.port), PATIENCE, source_address=(source, 0)) as made,
    ):
        made.sendall(request)
        if ends == "reset":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return b""
        made.shutdown(socket.SHUT_WR)
        found = b""
        with suppress(ConnectionError):
            while came := made.recv(65536):
                found += came
        return found
    return b""


def is_well(observer: Observer) -> bool:
    """As the kubelet finds out."""
    return sent(observer, b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", source=HOLDER).endswith(b"\r\n\r\nok")


@given(
    st.one_of(mutations(WORD), st.sampled_from(ODD), st.binary(max_size=100)),
    st.sampled_from(["half", "half", "reset"]),
)
def test_whatever_is_sent_one_thing_is_answered_or_nothing(observer: Observer, request_: bytes, ends: str) -> None:
    """And a stranger reads neither names nor addresses of instances; whoever comes next is served."""
    found = sent(observer, request_, source=next(STRANGERS), ends=ends)
    assert found == b"" or found.startswith(ANSWERS)
    assert found.count(b"HTTP/1.1 ") <= 1
    assert b"i-a" not in found
    assert is_well(observer)


def test_nothing_of_what_was_sent_stays(observer: Observer) -> None:
    """Not of what is answered, refused, half closed or reset, from strangers and from this node itself."""

    def everything(times: int) -> int:
        for _ in range(times):
            for request, ends in itertools.product(ODD, ("half", "reset")):
                sent(observer, request, source=next(STRANGERS), ends=ends)
            sent(observer, WORD, source=HOLDER)
        assert is_well(observer)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = everything(5)
        kept = everything(20) - before
    finally:
        tracemalloc.stop()
    assert kept < MOST_KEPT
