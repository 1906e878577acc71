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
from tests.core.strangers import Stranger, stranger

PRIMARY, SECOND = "02:00:00:00:00:0a", "02:00:00:00:00:64"
INTERFACES = "network/interfaces/macs"
FLOATING = IPv4Address("10.0.0.100")
SECRET = b"AQAEsecret"

PUT = "PUT"
"""In place of a path: the request for a token."""

SPOT, LIFECYCLE = "spot/instance-action", "autoscaling/target-lifecycle-state"
MAINTENANCE, REBALANCE = "events/maintenance/scheduled", "events/recommendations/rebalance"

VALUES = {
    PUT: SECRET,
    "instance-id": b"i-0a",
    "mac": PRIMARY.encode(),
    "placement/availability-zone": b"us-west-2-lax-1a",
    "placement/region": b"us-west-2",
    f"{INTERFACES}/": f"{PRIMARY}/\n{SECOND}/".encode(),
    f"{INTERFACES}/{PRIMARY}/vpc-id": b"vpc-1",
    f"{INTERFACES}/{PRIMARY}/subnet-id": b"subnet-1",
    f"{INTERFACES}/{PRIMARY}/security-group-ids": b"sg-1\nsg-2",
    f"{INTERFACES}/{PRIMARY}/local-ipv4s": b"10.0.0.10\n10.0.0.20",
    f"{INTERFACES}/{SECOND}/local-ipv4s": b"10.0.0.61\n10.0.0.100",
    f"{INTERFACES}/{SECOND}/ipv6s": b"2001:db8:0:1::64\n2001:db8:0:2::64",
    f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block": b"10.0.0.0/24",
    f"{INTERFACES}/{SECOND}/subnet-ipv6-cidr-blocks": b"2001:db8:0:1::/64\n2001:db8:0:2::/64",
}


def answer(body: bytes, status: int = 200) -> bytes:
    """A proper HTTP answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


class Service:
    """IMDSv2 that answers well, but for what is in ``bad``, by path; `ALL` stands for each of them."""

    def __init__(self) -> None:
        self.bad: dict[str, bytes | Callable[[socket.socket], None]] = {}
        self.asked: list[str] = []
        self.server: Stranger | None = None

    def speak(self, connection: socket.socket, request: bytes) -> None:
        """Answer one request."""
        method, target = request.split()[:2]
        path = PUT if method == b"PUT" else target.decode().removeprefix("/latest/meta-data/")
        self.asked.append(path)
        said = self.bad.get(path, self.bad.get(ALL, b""))
        if callable(said):
            said(connection)
        elif said:
            connection.sendall(said)
        elif method == b"GET" and b"X-aws-ec2-metadata-token: " + SECRET not in request:
            connection.sendall(answer(b"", 401))
        else:
            value = VALUES.get(path)
            connection.sendall(answer(SECRET, 404) if value is None else answer(value))


ALL = "all"
Ask = Callable[[Imds], object]


def identity(client: Imds) -> object:
    """Who this node is."""
    return client.identity()


def interface(client: Imds) -> object:
    """Where the floating address is."""
    return client.interface_with(FLOATING)


def addresses(client: Imds) -> object:
    """What R10 asks again and again."""
    return client.addresses_of(SECOND)


def notice(client: Imds) -> object:
    """Whether the node's end is near."""
    return client.notice()


@contextmanager
def hurry(*, really: bool = True) -> Iterator[None]:
    """The client's patience is short: for what is never answered, since even good answers may come too late then."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TIMEOUT", "POLL_TIMEOUT", "DEADLINE") if really else ():
            patch.setattr(imds, name, 0.1)
        yield


@pytest.fixture(name="service")
def _service(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Imds]]:
    """One with its client, which tries once, and has time for a machine that is busy; see `hurry`."""
    monkeypatch.setattr(imds, "BACKOFF", 1000.0)
    for name in ("TIMEOUT", "POLL_TIMEOUT", "DEADLINE"):
        monkeypatch.setattr(imds, name, 20.0)
    service = Service()
    with stranger(service.speak) as service.server:
        client = Imds(IPv4Address("127.0.0.1"), service.server.port)
        yield service, client
        client.close()


def hangs(connection: socket.socket) -> None:
    """Take the question, and say nothing."""
    connection.recv(1)


def drips(connection: socket.socket) -> None:
    """One byte after the other, each in time."""
    for byte in answer(1000 * b"x"):
        connection.sendall(bytes((byte,)))
        time.sleep(0.02)


def hangs_up(connection: socket.socket) -> None:
    """Without a word."""
    connection.shutdown(socket.SHUT_RDWR)


HTML = answer(b"<html><body>Welcome " + SECRET + b"</body></html>")
DOWN = f"IMDS does not answer: {{}}; {REMEDY}"
LATE = DOWN.format("no answer in time")
ODD = DOWN.format("what came is no HTTP")
LONG = DOWN.format("the answer is too long")
CUT = DOWN.format("the answer was cut off")
NO_TOKEN = "IMDS gives a token that is none"
ADDRESSES = f"{INTERFACES}/{SECOND}/local-ipv4s"


def unreadable(path: str) -> str:
    """What is told of a value that is none."""
    return f"IMDS shows a {path} that cannot be read"


EVERYTHING = [
    (ALL, hangs, LATE),
    (ALL, drips, LATE),
    (ALL, hangs_up, DOWN.format("the connection was closed without an answer")),
    (ALL, answer(SECRET, 500), "IMDS answers 500"),
    (ALL, answer(SECRET, 503), "IMDS answers 503"),
    (ALL, answer(SECRET, 429), "IMDS answers 429"),
    (ALL, answer(SECRET, 403), "IMDS answers 403; enable the instance's metadata endpoint"),
    (ALL, answer(SECRET, 404), "IMDS answers 404 to PUT api/token; is this IMDSv2?"),
    (ALL, answer(SECRET, 400), "IMDS answers 400 to PUT api/token; is this IMDSv2?"),
    (ALL, answer(SECRET, 204), "IMDS answers 204 to PUT api/token; is this IMDSv2?"),
    (ALL, answer(SECRET, 301), "IMDS answers 301 to PUT api/token; is this IMDSv2?"),
    (ALL, answer(SECRET, 999), "IMDS answers 999"),
    (ALL, answer(SECRET, 401), "IMDS answers 401 to PUT api/token; is this IMDSv2?"),
    (ALL, HTML, NO_TOKEN),
    (ALL, b"\x16\x03\x01\x00\x05garbage\r\n", ODD),
    (ALL, b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, LONG),
    (ALL, b"HTTP/1.1 200 OK\r\n" + 5000 * b"X: y\r\n", DOWN.format("more than 64 header lines")),
    (ALL, b"HTTP/1.1 200 OK\r\nX: " + 60000 * b"x" + b"\r\n\r\n", LONG),
    (PUT, answer(b""), NO_TOKEN),
    (PUT, answer(b"AQAE\nsecret"), NO_TOKEN),
    (PUT, answer(b"AQAE\r\nX-Evil: secret"), NO_TOKEN),
    (PUT, answer(b"AQAE secret"), NO_TOKEN),
    (PUT, answer(b"AQAE\x00\x1bsecret"), NO_TOKEN),
    (PUT, answer("AQAEsecr\xe8t".encode()), NO_TOKEN),
    (PUT, answer(b"AQAE\xff\xfesecret"), NO_TOKEN),
    (PUT, answer(3000 * b"secret"), NO_TOKEN),
    (PUT, answer(100_000 * b"s"), LONG),
    (PUT, answer(b'{"token": "secret"}'), NO_TOKEN),
    (PUT, answer(b"AQAEanothersecret"), "IMDS refuses the token that it gave"),
    (PUT, hangs, LATE),
    (PUT, drips, LATE),
]
"""What holds for every question: path, answer, and what is told."""

IN_ADDRESSES = [
    (ADDRESSES, HTML, unreadable(ADDRESSES)),
    (ADDRESSES, answer(b""), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"\n \n"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.61\n10.0.0.1000"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.61,10.0.0.100"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.61\n10.0.0"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.0/28"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"2001:db8::1"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"0.0.0.0"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"127.0.0.1"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"i-0a"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.61\x00"), unreadable(ADDRESSES)),
    (ADDRESSES, answer("10.0.0.6\u0661".encode()), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"\xff\xfe"), unreadable(ADDRESSES)),
    (ADDRESSES, answer(b"10.0.0.61\n" * 10_000), LONG),
    (ADDRESSES, answer(SECRET, 302), f"IMDS answers 302 to GET {ADDRESSES}"),
    (ADDRESSES, answer(SECRET, 206), f"IMDS answers 206 to GET {ADDRESSES}"),
    (ADDRESSES, answer(SECRET, 401), "IMDS refuses the token that it gave"),
    (ADDRESSES, answer(SECRET, 502), "IMDS answers 502"),
    (ADDRESSES, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n10.0.0.61\n10.0.0", LATE),
    (ADDRESSES, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n10.0.0.61", ODD),
    (ADDRESSES, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip\r\n\r\nx", None),
    (ADDRESSES, drips, LATE),
]
"""Never "no such address": the floating one is there all the time."""


@pytest.mark.parametrize("ask", [identity, interface, addresses, notice])
@pytest.mark.parametrize(("path", "said", "told"), EVERYTHING)
def test_what_is_wrong_with_everything_is_no_answer_to_any_question(
    service: tuple[Service, Imds], ask: Ask, path: str, said: bytes, told: str
) -> None:
    """One line, the same each time, without a word of what came; and the next good answer is one."""
    imds_, client = service
    imds_.bad = {path: said}
    for _ in range(1 if callable(said) else 2):
        with hurry(really=told == LATE), pytest.raises(MetadataError) as caught:
            ask(client)
        assert str(caught.value) == told
    imds_.bad = {}
    ask(client)


@pytest.mark.parametrize("ask", [interface, addresses])
@pytest.mark.parametrize(("path", "said", "told"), IN_ADDRESSES)
def test_addresses_that_cannot_be_read_are_not_taken_for_lost_ones(
    service: tuple[Service, Imds], ask: Ask, path: str, said: bytes, told: str | None
) -> None:
    """Neither by what asks once nor by what R10 counts."""
    imds_, client = service
    imds_.bad = {path: said}
    with hurry(really=told == LATE), pytest.raises(MetadataError) as caught:
        ask(client)
    assert told is None or str(caught.value) == told
    assert "secret" not in str(caught.value)
    imds_.bad = {}
    assert ask(client)


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        ("mac", answer(b"eth0"), unreadable("mac")),
        ("mac", answer(b"02:00:00:00:00:0a/../../x"), unreadable("mac")),
        ("mac", answer(f"{PRIMARY}\n{SECOND}".encode()), unreadable("mac")),
        ("mac", answer(b""), unreadable("mac")),
        ("mac", answer(b"", 404), "IMDS has no mac"),
        ("instance-id", answer(b"us-west-2"), unreadable("instance-id")),
        ("instance-id", answer(b"i-0a\ni-0b"), unreadable("instance-id")),
        ("instance-id", answer(b"i-<b>0a</b>"), unreadable("instance-id")),
        ("placement/region", answer(b"evil.example.com/"), unreadable("placement/region")),
        ("placement/region", answer(b"i-0a"), unreadable("placement/region")),
        ("placement/availability-zone", answer(b"{}"), unreadable("placement/availability-zone")),
        (
            "placement/availability-zone",
            answer(b"eu-west-1a"),
            "IMDS names the zone eu-west-1a and the region us-west-2: one of them is wrong",
        ),
        (f"{INTERFACES}/{PRIMARY}/vpc-id", answer(b"subnet-1"), unreadable(f"{INTERFACES}/{PRIMARY}/vpc-id")),
        (f"{INTERFACES}/{PRIMARY}/subnet-id", answer(b"vpc-1"), unreadable(f"{INTERFACES}/{PRIMARY}/subnet-id")),
        (
            f"{INTERFACES}/{PRIMARY}/security-group-ids",
            answer(b"sg-1\ndefault"),
            unreadable(f"{INTERFACES}/{PRIMARY}/security-group-ids"),
        ),
        (
            f"{INTERFACES}/{PRIMARY}/local-ipv4s",
            answer(b"", 404),
            f"IMDS has no {INTERFACES}/{PRIMARY}/local-ipv4s; the node's primary interface needs an IPv4 address",
        ),
        (f"{INTERFACES}/{PRIMARY}/local-ipv4s", answer(b"0.0.0.0"), unreadable(f"{INTERFACES}/{PRIMARY}/local-ipv4s")),
        (f"{INTERFACES}/{PRIMARY}/local-ipv4s", drips, LATE),
    ],
)
def test_what_is_no_identity_is_none(service: tuple[Service, Imds], path: str, said: bytes, told: str) -> None:
    """Nobody goes on as somebody else."""
    imds_, client = service
    imds_.bad = {path: said}
    with hurry(really=told == LATE), pytest.raises(MetadataError, match=f"^{re.escape(told)}$"):
        client.identity()


@pytest.mark.parametrize(
    ("path", "said", "told"),
    [
        (f"{INTERFACES}/", answer(b""), unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", HTML, unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", answer(b"eth0/"), unreadable(f"{INTERFACES}/")),
        (f"{INTERFACES}/", answer(b"", 404), f"IMDS has no {INTERFACES}/"),
        *(
            (
                f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block",
                answer(block),
                unreadable(f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block"),
            )
            for block in (
                b"10.0.0.100/32",
                b"10.0.0.0/99",
                b"10.0.0.7/24",
                b"<html>",
                b"2001:db8::/64",
                b"10.0.0.0/24/24",
            )
        ),
        *(
            (
                f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block",
                answer(block),
                "IMDS shows 10.0.0.100 on an interface whose subnet-ipv4-cidr-block lacks it",
            )
            for block in (b"10.1.0.0/24", b"")
        ),
    ],
)
def test_an_interface_that_cannot_be_read_is_not_plumbed(
    service: tuple[Service, Imds], path: str, said: bytes, told: str
) -> None:
    """A wrong block would be a wrong gateway."""
    imds_, client = service
    imds_.bad = {path: said}
    with pytest.raises(MetadataError, match=f"^{re.escape(told)}$"):
        client.interface_with(FLOATING)


def test_an_interface_that_cannot_be_read_hides_no_other_one(service: tuple[Service, Imds]) -> None:
    """The address is on the second one, whatever the first one shows."""
    imds_, client = service
    imds_.bad = {f"{INTERFACES}/{PRIMARY}/local-ipv4s": HTML}
    found = client.interface_with(FLOATING)
    assert found
    assert found.mac == SECOND
    with pytest.raises(MetadataError):
        client.interface_with(IPv4Address("10.0.0.20"))


def test_the_block_is_the_one_that_has_the_address(service: tuple[Service, Imds]) -> None:
    """A subnet may have several of IPv6, in any order."""
    found = service[1].interface_with(IPv6Address("2001:db8:0:2::64"))
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
    service: tuple[Service, Imds], bad: dict[str, bytes | Callable[[socket.socket], None]]
) -> None:
    """A service that has lost everything says 404 to everything: only a list without the interface says it."""
    imds_, client = service
    missing = {f"{INTERFACES}/{SECOND}/{kind}": answer(b"", 404) for kind in ("local-ipv4s", "ipv6s")}
    imds_.bad = {**missing, **bad}
    with pytest.raises(MetadataError):
        client.addresses_of(SECOND)
    imds_.bad = {**missing, f"{INTERFACES}/": answer(f"{PRIMARY}/".encode())}
    assert client.addresses_of(SECOND) is None


SPOKEN = answer(b'{"action": "terminate", "time": "2026-11-27T08:22:00Z"}')


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (SPOT, HTML),
        (SPOT, answer(b"")),
        (SPOT, answer(60_000 * b"[")),
        (SPOT, answer(b'{"action": ' + 30_000 * b"[" + 30_000 * b"]" + b"}")),
        (SPOT, answer(b"null")),
        (SPOT, answer(b'{"action": "", "time": ""}')),
        (SPOT, answer(b'{"action": "stop\\nevent=takeover", "time": "2026"}')),
        (SPOT, answer(b'{"action": "\\ud800", "time": "2026"}')),
        (SPOT, answer(b'{"action": "' + 500 * b"x" + b'", "time": "2026"}')),
        (SPOT, answer(b'{"action": NaN, "time": 1e999}')),
        (SPOT, answer(b'{"SecretAccessKey": "secret"}')),
        (SPOT, answer(b'{"action": false, "time": "2017-09-18T08:22:00Z"}')),
        (SPOT, answer(b'["terminate"]')),
        (LIFECYCLE, HTML),
        (LIFECYCLE, answer(b"")),
        (LIFECYCLE, answer(b"Terminated\nInService")),
        (LIFECYCLE, answer(b'"Terminated"')),
        (MAINTENANCE, answer(b'{"State": "active"}')),
        (MAINTENANCE, answer(b'[{"State": "active", "NotBefore": "99 Foo 99999 GMT", "Code": "x"}]')),
        (MAINTENANCE, answer(b'[{"State": "active", "NotBefore": "1 Jan 99999999999 0:0:0 GMT", "Code": "x"}]')),
        (MAINTENANCE, answer(b"[[[[[[[[]]]]]]]]")),
        (MAINTENANCE, answer(b"7")),
        (MAINTENANCE, answer(b"[7]")),
        (MAINTENANCE, answer(b'[{"State": "active", "NotBefore": "soon", "Code": "x"}]')),
        (MAINTENANCE, answer(b'[{"State": "active", "NotBefore": 1548061243, "Code": "x"}]')),
        (REBALANCE, answer(b"{}")),
        (REBALANCE, answer(b'{"noticeTime": 5}')),
        (REBALANCE, answer(5000 * b"9")),
    ],
)
def test_a_notice_that_is_none_is_no_notice_and_hides_none(
    service: tuple[Service, Imds], path: str, said: bytes
) -> None:
    """Neither that the end is near, nor that it is not."""
    imds_, client = service
    imds_.bad = {path: said}
    with pytest.raises(MetadataError, match=f"^{re.escape(unreadable(path))}$"):
        client.notice()
    imds_.bad[REBALANCE if path != REBALANCE else SPOT] = (
        answer(b'{"noticeTime": "2026-11-27T08:20:00Z"}') if path != REBALANCE else SPOKEN
    )
    found = client.notice()
    assert found
    assert found.kind == ("rebalance" if path != REBALANCE else "spot")


@pytest.mark.parametrize("said", [hangs, drips, hangs_up, answer(b"", 503), answer(b"", 302)])
def test_a_notice_that_cannot_be_had_hides_none(
    service: tuple[Service, Imds], said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind is asked for by itself."""
    monkeypatch.setattr(imds, "POLL_TIMEOUT", 2.0)
    imds_, client = service
    imds_.bad = {SPOT: said, LIFECYCLE: answer(b"Terminated")}
    found = client.notice()
    assert found
    assert found.kind == "asg"


@pytest.mark.parametrize(
    "state", [b"InService", b"Standby", b"Warmed:Stopped", b"Detached", b"Hibernating", b"NewWord"]
)
def test_an_unknown_state_is_no_end(service: tuple[Service, Imds], state: bytes) -> None:
    """Nor an error: Auto Scaling may learn new words."""
    imds_, client = service
    imds_.bad = {LIFECYCLE: answer(state)}
    assert client.notice() is None


def test_a_maintenance_that_cannot_be_read_hides_no_other_one(service: tuple[Service, Imds]) -> None:
    """The first one of the list is nonsense, the second one is due."""
    imds_, client = service
    due = b'{"State": "active", "NotBefore": "21 Jan 2019 09:00:43 GMT", "Code": "system-reboot"}'
    imds_.bad = {MAINTENANCE: answer(b'[{"State": 7}, ' + due + b"]")}
    found = client.notice()
    assert found
    assert found.detail == "system-reboot at 21 Jan 2019 09:00:43 GMT"


def test_a_question_that_hangs_holds_up_no_other_one(
    service: tuple[Service, Imds], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for the time that it has itself."""
    imds_, client = service
    monkeypatch.setattr(imds, "TIMEOUT", 60.0)
    monkeypatch.setattr(imds, "DEADLINE", 60.0)
    client.addresses_of(SECOND)
    reached = threading.Event()

    def never(connection: socket.socket) -> None:
        reached.set()
        assert imds_.server
        imds_.server.ended.wait()

    def identify() -> None:
        with suppress(MetadataError):  # the answer never comes
            client.identity()

    imds_.bad = {"mac": never}
    threading.Thread(target=identify, daemon=True).start()
    assert reached.wait(5)
    assert client.addresses_of(SECOND)
    assert client.interface_with(FLOATING)
    assert client.notice() is None


def test_a_bad_token_is_not_kept(service: tuple[Service, Imds]) -> None:
    """It is asked for anew with the next question, and a good one then serves for all."""
    imds_, client = service
    imds_.bad = {PUT: answer(b"AQAEanother")}
    with pytest.raises(MetadataError):
        client.addresses_of(SECOND)
    imds_.bad = {}
    imds_.asked.clear()
    client.addresses_of(SECOND)
    client.addresses_of(SECOND)
    assert imds_.asked.count(PUT) == 1


def test_many_interfaces_that_drip_do_not_add_up(service: tuple[Service, Imds]) -> None:
    """The seconds are for the question: who this node is, and where the address is."""
    imds_, client = service

    def late(connection: socket.socket) -> None:
        time.sleep(0.03)
        connection.sendall(answer(b"10.0.0.10"))

    macs = [f"02:00:00:00:01:{number:02x}" for number in range(100)]
    imds_.bad = {f"{INTERFACES}/{mac}/local-ipv4s": late for mac in macs}
    imds_.bad[f"{INTERFACES}/"] = answer("\n".join(f"{mac}/" for mac in macs).encode())
    with hurry(), pytest.raises(MetadataError, match=f"^{re.escape(LATE)}$"):
        client.interface_with(FLOATING)
    assert len(imds_.asked) < 20
