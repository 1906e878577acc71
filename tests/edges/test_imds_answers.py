"""The ways in which IMDS answers badly, and what each means: an error in one line, soon, and never an answer."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.errors import MetadataError
from floatingip.edges import imds
from floatingip.edges.imds import REMEDY, Imds
from tests.edges.imds_service import (
    ADDRESSES,
    ALL,
    BLOCK,
    INTERFACES,
    MINE,
    PRIMARY,
    PUT,
    SECOND,
    SECRET,
    VALUES,
    Service,
    answer,
    drips,
    hangs,
    hangs_up,
    unreadable,
)

pytest_plugins = ["tests.edges.imds_fixtures"]

FLOATING = IPv4Address("10.0.0.100")


Ask = Callable[[Imds], object]


def identity(asker: Imds) -> object:
    """Who this node is."""
    return asker.identity()


def interface(asker: Imds) -> object:
    """Where the floating address is."""
    return asker.interface_with(FLOATING)


def addresses(asker: Imds) -> object:
    """What R10 asks again and again."""
    return asker.addresses_of(SECOND)


def notice(asker: Imds) -> object:
    """Whether the node's end is near."""
    return asker.notice()


@contextmanager
def hurry(*, really: bool = True) -> Iterator[None]:
    """The client's patience is short: for what is never answered, since even good answers may come too late then."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TIMEOUT", "POLL_TIMEOUT", "DEADLINE") if really else ():
            patch.setattr(imds, name, 0.1)
        yield


HTML = answer(b"<html><body>Welcome " + SECRET + b"</body></html>")
DOWN = f"IMDS does not answer: {{}}; {REMEDY}"
LATE = DOWN.format("no answer in time")
ODD = DOWN.format("what came is no HTTP")
LONG = DOWN.format("the answer is too long")
CUT = DOWN.format("the answer was cut off")
NO_TOKEN = "IMDS gives a token that is none"


NO_TOKENS = [
    *(b"", b"AQAE\nsecret", b"AQAE\r\nX-Evil: secret", b"AQAE secret", b"AQAE\x00\x1bsecret", b"AQAE\xff\xfesecret"),
    *("AQAEsecr\xe8t".encode(), 3000 * b"secret", b'{"token": "secret"}'),
]
EVERYTHING = [
    (ALL, hangs, LATE),
    (ALL, drips, LATE),
    (ALL, hangs_up, DOWN.format("the connection was closed without an answer")),
    *((ALL, answer(SECRET, status), f"IMDS answers {status}") for status in (429, 500, 503, 999)),
    (ALL, answer(SECRET, 403), "IMDS answers 403; enable the instance's metadata endpoint"),
    *(
        (ALL, answer(SECRET, status), f"IMDS answers {status} to PUT api/token; is this IMDSv2?")
        for status in (204, 301, 400, 401, 404)
    ),
    (ALL, HTML, NO_TOKEN),
    (ALL, b"\x16\x03\x01\x00\x05garbage\r\n", ODD),
    (ALL, b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, LONG),
    (ALL, b"HTTP/1.1 200 OK\r\n" + 5000 * b"X: y\r\n", DOWN.format("more than 64 header lines")),
    (ALL, b"HTTP/1.1 200 OK\r\nX: " + 60000 * b"x" + b"\r\n\r\n", LONG),
    *((PUT, answer(token), NO_TOKEN) for token in NO_TOKENS),
    (PUT, answer(100_000 * b"s"), LONG),
    (PUT, answer(b"AQAEanothersecret"), "IMDS refuses the token that it gave"),
    (PUT, hangs, LATE),
    (PUT, drips, LATE),
]
"""What holds for every question: path, answer, and what is told."""

NO_ADDRESSES = [
    *(HTML, answer(b""), answer(b"\n \n"), answer(b"i-0a"), answer(b"\xff\xfe")),
    *map(answer, (b"10.0.0.61\n10.0.0.1000", b"10.0.0.61,10.0.0.100", b"10.0.0.61\n10.0.0", b"10.0.0.0/28")),
    *map(answer, (b"2001:db8::1", b"0.0.0.0", b"127.0.0.1", b"10.0.0.61\x00", "10.0.0.6\u0661".encode())),
]
IN_ADDRESSES = [
    *((said, unreadable(ADDRESSES)) for said in NO_ADDRESSES),
    (answer(b"10.0.0.61\n" * 10_000), LONG),
    (answer(SECRET, 302), f"IMDS answers 302 to GET {ADDRESSES}"),
    (answer(SECRET, 206), f"IMDS answers 206 to GET {ADDRESSES}"),
    (answer(SECRET, 401), "IMDS refuses the token that it gave"),
    (answer(SECRET, 502), "IMDS answers 502"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n10.0.0.61\n10.0.0", LATE),
    (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n10.0.0.61", ODD),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip\r\n\r\nx", None),
    (drips, LATE),
]
"""Never "no such address": the floating one is there all the time."""


@pytest.mark.parametrize("ask", [identity, interface, addresses, notice])
@pytest.mark.parametrize(("path", "said", "told"), EVERYTHING)
def test_what_is_wrong_with_everything_is_no_answer_to_any_question(
    service: Service, asker: Imds, ask: Ask, path: str, said: bytes, told: str
) -> None:
    """One line, the same each time, without a word of what came; and the next good answer is one."""
    service.bad = {path: said}
    for _ in range(1 if callable(said) else 2):
        with hurry(really=told == LATE), pytest.raises(MetadataError) as caught:
            ask(asker)
        assert str(caught.value) == told
    service.bad = {}
    ask(asker)


@pytest.mark.parametrize("ask", [interface, addresses])
@pytest.mark.parametrize(("said", "told"), IN_ADDRESSES)
def test_addresses_that_cannot_be_read_are_not_taken_for_lost_ones(
    service: Service, asker: Imds, ask: Ask, said: bytes, told: str | None
) -> None:
    """Neither by what asks once nor by what R10 counts."""
    service.bad = {ADDRESSES: said}
    with hurry(really=told == LATE), pytest.raises(MetadataError) as caught:
        ask(asker)
    assert told is None or str(caught.value) == told
    assert "secret" not in str(caught.value)
    service.bad = {}
    assert ask(asker)


NO_IDENTITY = {
    "mac": (b"eth0", b"02:00:00:00:00:0a/../../x", f"{PRIMARY}\n{SECOND}".encode(), b""),
    "instance-id": (b"us-west-2", b"i-0a\ni-0b", b"i-<b>0a</b>"),
    "placement/region": (b"evil.example.com/", b"i-0a"),
    "placement/availability-zone": (b"{}",),
    f"{MINE}/vpc-id": (b"subnet-1",),
    f"{MINE}/subnet-id": (b"vpc-1",),
    f"{MINE}/security-group-ids": (b"sg-1\ndefault",),
    f"{MINE}/local-ipv4s": (b"0.0.0.0",),
}


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        *((path, answer(value), unreadable(path)) for path, values in NO_IDENTITY.items() for value in values),
        ("mac", answer(b"", 404), "IMDS has no mac"),
        (
            "placement/availability-zone",
            answer(b"eu-west-1a"),
            "IMDS names the zone eu-west-1a and the region us-west-2: one of them is wrong",
        ),
        (
            f"{MINE}/local-ipv4s",
            answer(b"", 404),
            f"IMDS has no {MINE}/local-ipv4s; the node's primary interface needs an IPv4 address",
        ),
        (f"{MINE}/local-ipv4s", drips, LATE),
    ],
)
def test_what_is_no_identity_is_none(service: Service, asker: Imds, path: str, said: bytes, told: str) -> None:
    service.bad = {path: said}
    with hurry(really=told == LATE), pytest.raises(MetadataError, match=f"^{re.escape(told)}$"):
        asker.identity()


NO_BLOCKS = (b"10.0.0.100/32", b"10.0.0.0/99", b"10.0.0.7/24", b"<html>", b"2001:db8::/64", b"10.0.0.0/24/24")
LACKS_IT = f"IMDS shows {FLOATING} on an interface whose subnet-ipv4-cidr-block lacks it"


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        (f"{INTERFACES}/", answer(b""), unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", HTML, unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", answer(b"eth0/"), unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", answer(b"", 404), f"IMDS has no {INTERFACES}/"),
        *((BLOCK, answer(block), unreadable(BLOCK)) for block in NO_BLOCKS),
        *((BLOCK, answer(block), LACKS_IT) for block in (b"10.1.0.0/24", b"")),
    ],
)
def test_an_interface_that_cannot_be_read_is_not_plumbed(
    service: Service, asker: Imds, path: str, said: bytes, told: str
) -> None:
    """A wrong block would be a wrong gateway."""
    service.bad = {path: said}
    with pytest.raises(MetadataError, match=f"^{re.escape(told)}$"):
        asker.interface_with(FLOATING)


def test_an_interface_that_cannot_be_read_hides_no_other_one(service: Service, asker: Imds) -> None:
    """The address is on the second one, whatever the first one shows."""
    service.bad = {f"{MINE}/local-ipv4s": HTML}
    found = asker.interface_with(FLOATING)
    assert found
    assert found.mac == SECOND
    with pytest.raises(MetadataError):
        asker.interface_with(IPv4Address("10.0.0.20"))


def test_the_block_is_the_one_that_has_the_address(asker: Imds) -> None:
    """A subnet may have several of IPv6, in any order."""
    found = asker.interface_with(IPv6Address("2001:db8:0:2::64"))
    assert found
    assert str(found.network) == "2001:db8:0:2::/64"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {f"{INTERFACES}/": answer(b"", 404)},
        {f"{INTERFACES}/": answer(b"")},
        {f"{INTERFACES}/": HTML},
        {f"{INTERFACES}/": answer(SECRET, 503)},
    ],
)
def test_not_found_alone_does_not_mean_that_an_interface_is_gone(
    service: Service, asker: Imds, bad: dict[str, bytes | Callable[[socket.socket], None]]
) -> None:
    """A service that has lost everything says 404 to everything: only a list without the interface says it."""
    missing = {f"{INTERFACES}/{SECOND}/{kind}": answer(b"", 404) for kind in ("", "local-ipv4s", "ipv6s")}
    service.bad = {**missing, **bad}
    with pytest.raises(MetadataError):
        asker.addresses_of(SECOND)
    service.bad = {**missing, f"{INTERFACES}/": answer(f"{PRIMARY}/".encode())}
    assert asker.addresses_of(SECOND) is None


@pytest.mark.parametrize("kind", ["local-ipv4s", "ipv6s"])
def test_a_list_that_is_named_and_not_found_takes_no_address_away(service: Service, asker: Imds, kind: str) -> None:
    """While the other family's is there, as where IMDS learns of an interface piece by piece.  Only where it is not
    named any more has the interface no address of that kind.
    """
    service.bad = {f"{INTERFACES}/{SECOND}/{kind}": answer(b"", 404)}
    with pytest.raises(MetadataError, match=f"IMDS names {INTERFACES}/{SECOND}/{kind}, and has none"):
        asker.addresses_of(SECOND)
    names = VALUES[f"{INTERFACES}/{SECOND}/"].replace(f"{kind}\n".encode(), b"")
    service.bad[f"{INTERFACES}/{SECOND}/"] = answer(names)
    assert {address.version for address in asker.addresses_of(SECOND) or ()} == {6 if kind == "local-ipv4s" else 4}


@pytest.mark.parametrize("names", [b"<html>no</html>", b"interface-id\nipv6s"], ids=["a page", "cut off"])
def test_what_is_no_list_of_names_takes_no_address_away(service: Service, asker: Imds, names: bytes) -> None:
    """It would lack the name of one list, or of both."""
    service.bad = {f"{INTERFACES}/{SECOND}/": answer(names)}
    with pytest.raises(MetadataError, match="cannot be read"):
        asker.addresses_of(SECOND)


def test_a_question_that_hangs_holds_up_no_other_one(
    service: Service, asker: Imds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for the time that it has itself."""
    monkeypatch.setattr(imds, "TIMEOUT", 60.0)
    monkeypatch.setattr(imds, "DEADLINE", 60.0)
    asker.addresses_of(SECOND)
    reached = threading.Event()

    def never(connection: socket.socket) -> None:
        reached.set()
        assert service.server
        service.server.ended.wait()

    def identify() -> None:
        with suppress(MetadataError):  # the answer never comes
            asker.identity()

    service.bad = {"mac": never}
    threading.Thread(target=identify, daemon=True).start()
    assert reached.wait(5)
    assert asker.addresses_of(SECOND)
    assert asker.interface_with(FLOATING)
    assert asker.notice() is None


def test_a_bad_token_is_not_kept(service: Service, asker: Imds) -> None:
    """It is asked for anew with the next question, and a good one then serves for all."""
    service.bad = {PUT: answer(b"AQAEanother")}
    with pytest.raises(MetadataError):
        asker.addresses_of(SECOND)
    service.bad = {}
    service.asked.clear()
    asker.addresses_of(SECOND)
    asker.addresses_of(SECOND)
    assert service.asked.count(PUT) == 1


def test_many_interfaces_that_drip_do_not_add_up(service: Service, asker: Imds) -> None:
    """The seconds are for the question: who this node is, and where the address is."""

    def late(connection: socket.socket) -> None:
        time.sleep(0.03)
        connection.sendall(answer(b"10.0.0.10"))

    macs = [f"02:00:00:00:01:{number:02x}" for number in range(100)]
    service.bad = {f"{INTERFACES}/{mac}/local-ipv4s": late for mac in macs}
    service.bad[f"{INTERFACES}/"] = answer("\n".join(f"{mac}/" for mac in macs).encode())
    with hurry(), pytest.raises(MetadataError, match=f"^{re.escape(LATE)}$"):
        asker.interface_with(FLOATING)
    assert len(service.asked) < 20
