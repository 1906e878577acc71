"""Whoever answers a question over HTTP: IMDS, a peer, the API server, a service, or somebody in their place."""

import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatingip.core.probe import ProbeOutcome
from floatingip.edges.http_client import MOST_HEADER_BYTES, Connection, NoAnswer, Response
from floatingip.edges.probes.tcp import HttpProber
from tests.hostile.cheap import cheap
from tests.hostile.other import Other, somebody
from tests.hostile.strategies import mutations, several

HOST, MOST = IPv4Address("127.0.0.1"), 1000
OK = b"HTTP/1.1 200 OK\r\n"
PROVISIONAL = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n"
PLAIN = PROVISIONAL + OK + b"X: y\r\nContent-Length: 6\r\n\r\nhello!"
REDIRECT = b"HTTP/1.0 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"

answers = st.one_of(*map(mutations, (CHUNKED, PLAIN, REDIRECT)), st.binary(max_size=100))


@pytest.fixture(name="other", scope="module")
def _other() -> Iterator[Other]:
    with somebody() as other:
        yield other


def asked(other: Other, answer: bytes) -> Response | NoAnswer:
    """What comes of one question that is answered so."""
    other.says = answer
    with closing(Connection(HOST, other.port, seconds=5.0, most_bytes=MOST)) as connection:
        try:
            return connection.get("/")
        except NoAnswer as error:
            return error


@several(2)
@given(answers)
def test_whatever_is_said_is_an_answer_or_none(other: Other, answer: bytes) -> None:
    """Nothing else is raised, nobody waits, and no more is kept than was asked for; nothing that came is quoted."""
    found = asked(other, answer)
    if isinstance(found, Response):
        assert 200 <= found.status <= 999
        assert len(found.body) <= MOST
    else:
        assert len(str(found)) < 100
        assert "\n" not in str(found)


@given(st.binary(max_size=MOST // 2), st.lists(st.integers(1, 50), max_size=20))
def test_a_body_comes_as_it_was_sent_in_whatever_chunks(other: Other, body: bytes, sizes: list[int]) -> None:
    """The chunks' borders are no part of it."""
    said, left = OK + b"Transfer-Encoding: chunked\r\n\r\n", body
    for size in [*sizes, MOST]:
        if piece := left[:size]:
            said += b"%x\r\n%b\r\n" % (len(piece), piece)
        left = left[size:]
    assert asked(other, said + b"0\r\n\r\n") == Response(200, body)


def test_blanks_inside_of_a_header_do_not_make_the_process_stand_still(other: Other) -> None:
    """As many of them as fit into the budget."""
    blanks = (MOST_HEADER_BYTES - 100) * b" "
    with cheap():
        assert asked(other, OK + b"A: x" + blanks + b"x\r\nContent-Length: 2\r\n\r\nhi") == Response(200, b"hi")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(2000 * PROVISIONAL, ProbeOutcome.LOST), (2000 * PROVISIONAL + OK + b"\r\n", ProbeOutcome.ANSWERED)],
)
def test_provisional_answers_without_end_do_not_make_the_process_stand_still(
    other: Other, answer: bytes, outcome: ProbeOutcome
) -> None:
    """What a checked service says is its own affair, and a pod's."""
    other.says = answer
    with closing(HttpProber(HOST, other.port, "/", 5.0)) as prober, cheap():
        prober.send()
        while not (found := prober.collect()):
            time.sleep(0.001)
    assert found[0].outcome is outcome
