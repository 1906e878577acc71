"""An IMDSv2 on loopback, which each test makes answer badly in its way."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from floatingip.edges import imds
from floatingip.edges.imds import TOKEN_SECONDS, Imds
from tests.edges.strangers import Stranger, stranger

HERE = IPv4Address("127.0.0.1")
PRIMARY, SECOND = "02:00:00:00:00:0a", "02:00:00:00:00:64"
INTERFACES = "network/interfaces/macs"
MINE = f"{INTERFACES}/{PRIMARY}"
ADDRESSES, BLOCK = f"{INTERFACES}/{SECOND}/local-ipv4s", f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block"
SECRET = b"AQAEsecret"
SPOT, LIFECYCLE = "spot/instance-action", "autoscaling/target-lifecycle-state"
MAINTENANCE, REBALANCE = "events/maintenance/scheduled", "events/recommendations/rebalance"

PUT = "PUT"
"""In place of a path: the request for a token."""

ALL = "all"
"""In place of a path: each of them."""

VALUES = {
    "instance-id": b"i-0a",
    "mac": PRIMARY.encode(),
    "placement/availability-zone": b"us-west-2-lax-1a",
    "placement/region": b"us-west-2",
    f"{INTERFACES}/": f"{PRIMARY}/\n{SECOND}/".encode(),
    f"{MINE}/": b"interface-id\nlocal-ipv4s\nmac\nsubnet-id\nvpc-id",
    f"{MINE}/vpc-id": b"vpc-1",
    f"{MINE}/subnet-id": b"subnet-1",
    f"{MINE}/security-group-ids": b"sg-1\nsg-2",
    f"{MINE}/local-ipv4s": b"10.0.0.10\n10.0.0.20",
    f"{MINE}/subnet-ipv4-cidr-block": b"10.0.0.0/24",
    f"{INTERFACES}/{SECOND}/": b"interface-id\nipv6s\nlocal-ipv4s\nmac\nsubnet-id\nvpc-id",
    ADDRESSES: b"10.0.0.61\n10.0.0.100",
    f"{INTERFACES}/{SECOND}/ipv6s": b"2001:db8:0:1:0:0:0:64\n2001:db8:0:2::64",
    BLOCK: b"10.0.0.0/24",
    f"{INTERFACES}/{SECOND}/subnet-ipv6-cidr-blocks": b"2001:db8:0:1::/64\n2001:db8:0:2::/64",
}


def answer(body: bytes, status: int = 200) -> bytes:
    """A proper HTTP answer; one that leads elsewhere leads to a good one."""
    where = b"Location: /latest/meta-data/instance-id\r\n" if status == 302 else b""
    return b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, where, len(body)) + body


def hangs_up(connection: socket.socket) -> None:
    """Without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def hangs(connection: socket.socket) -> None:
    """Take the question, and say nothing."""
    connection.recv(1)


def drips(connection: socket.socket) -> None:
    """One byte after the other, each in time."""
    for byte in answer(1000 * b"x"):
        connection.sendall(bytes((byte,)))
        time.sleep(0.02)


def unreadable(path: str) -> str:
    """What is told of a value that is none."""
    return f"IMDS shows a {path} that cannot be read"


class Service:
    """IMDSv2 that answers well, but for what is in ``bad``, by path, and to as many values as there are ``failures``.

    A failure is a status, or None: it hangs up.  Who has another ``token`` is refused.
    """

    def __init__(self) -> None:
        self.values = dict(VALUES)
        self.bad: dict[str, bytes | Callable[[socket.socket], None]] = {}
        self.failures: list[int | None] = []
        self.token = SECRET
        self.asked: list[str] = []
        self.server: Stranger | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self.server
        return self.server.port

    def speak(self, connection: socket.socket, request: bytes) -> None:
        """Answer one request."""
        method, target = request.split()[:2]
        path = PUT if method == b"PUT" else target.decode().removeprefix("/latest/meta-data/")
        self.asked.append(path)
        said = self.bad.get(path, self.bad.get(ALL, b""))
        if not said and path != PUT and self.failures:
            failure = self.failures.pop(0)
            said = hangs_up if failure is None else answer(b"<html>no</html>", failure)
        if callable(said):
            said(connection)
        else:
            connection.sendall(said or self._good(path, request))

    def _good(self, path: str, request: bytes) -> bytes:
        if path == PUT:
            asked = b"X-aws-ec2-metadata-token-ttl-seconds: %d\r\n" % TOKEN_SECONDS
            return answer(self.token) if asked in request + b"\r\n" else answer(b"", 400)
        if b"X-aws-ec2-metadata-token: " + self.token not in request:
            return answer(b"", 401)
        value = self.values.get(path)
        return answer(SECRET, 404) if value is None else answer(value)


@contextmanager
def serving() -> Iterator[Service]:
    """One that answers until the block ends."""
    service = Service()
    with stranger(service.speak) as service.server:
        yield service


@contextmanager
def patient(service: Service) -> Iterator[Imds]:
    """Its client, which tries once, and has time for a machine that is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imds, "BACKOFF", 1000.0)
        for name in ("TIMEOUT", "POLL_TIMEOUT", "DEADLINE"):
            patch.setattr(imds, name, 20.0)
        client = Imds(HERE, service.port)
        yield client
        client.close()
