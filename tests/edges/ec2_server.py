"""A server in the place of EC2, STS and the Pod Identity Agent that sends bytes, and what EC2 would send."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from floatingip.core.ec2 import Eni, Subnet
from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2.cloud import Ec2Cloud

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:6::100")
OTHER = IPv4Address("10.0.0.101")
SUBNET = Subnet("subnet-1", (ip_network("10.0.0.0/24"),), "us-west-2a")
NAMESPACE = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'

Reply = bytes | Callable[[socket.socket], None]
"""What the server sends, or does, after it has read a request; then it closes the connection."""


def http(status: int, body: str | bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer; ``length`` is a Content-Length that may be a lie."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def answer(action: str, body: str) -> bytes:
    """What EC2 answers to an action."""
    return http(200, f"<{action}Response {NAMESPACE}><requestId>r</requestId>{body}</{action}Response>")


def error(status: int, code: str, message: str = "It cannot be.") -> bytes:
    """An error of EC2's."""
    told = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return http(status, f"<Response><Errors>{told}</Errors><RequestID>r</RequestID></Response>")


@dataclass
class Server:
    """Answers each request by its action, else by what is the same for all; ``asked`` are the requests' bodies."""

    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            stream = connection.makefile("rb")
            lines = list(iter(stream.readline, b"\r\n"))[:100] if stream.peek() else []
            fields = dict(line.decode().lower().strip().split(": ", 1) for line in lines[1:])
            head, body = b"".join(lines).decode(), stream.read(int(fields.get("content-length", 0)))
            if not head:
                return
            said = f"{head.splitlines()[0]} {body.decode()}"
            self.asked.append(said)
            found = (reply for name, reply in self.replies.items() if f"Action={name}&" in said or name in head)
            reply = next(found, self.replies.get("", b""))
            connection.sendall(reply) if isinstance(reply, bytes) else reply(connection)


Become = Callable[..., None]
"""Sets the environment, as far as the SDK reads it, to exactly this."""


def becoming(monkeypatch: pytest.MonkeyPatch) -> Become:
    """Until the monkeypatch is undone."""

    def become(**variables: str) -> None:
        for key in [key for key in os.environ if key.startswith("AWS_") or "PROXY" in key.upper()]:
            monkeypatch.delenv(key)
        monkeypatch.setenv("no_proxy", "")  # so that what is set in its place is undone as well
        monkeypatch.delenv("no_proxy")
        for key, value in variables.items():
            monkeypatch.setenv(key, value)

    return become


FOUND = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
SHORT = 0.2
"""Seconds for which these wait for an answer."""
PATIENCE = 10.0
"""Seconds until something that should happen at once counts as not happening."""


def without(fields: Mapping[str, str], left_out: tuple[str, ...]) -> str:
    """Them as XML, but for those that are left out."""
    return "".join(f"<{key}>{value}</{key}>" for key, value in fields.items() if key not in left_out)


def interface(*left_out: str, **changes: str) -> str:
    """An ENI of ours that i-0a has, with the address, as XML: each field by its name, or without it."""
    fields = {
        "networkInterfaceId": "eni-1",
        "subnetId": "subnet-1",
        "availabilityZone": "us-west-2a",
        "macAddress": "02:00:00:00:00:64",
        "privateIpAddress": f"{ADDRESS}",
        "sourceDestCheck": "true",
        "groupSet": "<item><groupId>sg-1</groupId></item>",
        "attachment": attachment(),
        "privateIpAddressesSet": f"<item><privateIpAddress>{ADDRESS}</privateIpAddress><primary>true</primary></item>",
        "ipv6AddressesSet": "",
        "tagSet": "<item><key>floatingip</key><value>lab</value></item>",
    }
    return without(fields | changes, left_out)


def attachment(*left_out: str, **changes: str) -> str:
    """How i-0a has it."""
    fields = {
        "attachmentId": "eni-attach-1",
        "instanceId": "i-0a",
        "deviceIndex": "1",
        "status": "attached",
        "attachTime": "2026-11-23T00:00:00.000Z",
        "deleteOnTermination": "false",
    }
    return without(fields | changes, left_out)


def listed(items: Iterable[str]) -> str:
    """A set of them."""
    return "".join(f"<item>{item}</item>" for item in items)


def interfaces(*items: str, more: str = "") -> bytes:
    """The answer that shows them; ``more`` follows the set."""
    shown = f"<networkInterfaceSet>{listed(items)}</networkInterfaceSet>"
    return answer("DescribeNetworkInterfaces", shown + more)


def instances(*items: str) -> bytes:
    """The answer that shows them, each in a reservation of its own."""
    reservations = listed(f"<instancesSet>{listed([item])}</instancesSet>" for item in items)
    return answer("DescribeInstances", f"<reservationSet>{reservations}</reservationSet>")


def subnets(*items: str) -> bytes:
    """The answer that shows them."""
    return answer("DescribeSubnets", f"<subnetSet>{listed(items)}</subnetSet>")


A_SUBNET = subnets("<subnetId>subnet-12345678</subnetId>")
"""Of whatever VPC was asked about."""


def dripping(reply: bytes, at_once: int, ended: threading.Event) -> Callable[[socket.socket], None]:
    """The first bytes at once, then one now and then, until the connection breaks."""

    def drip(connection: socket.socket) -> None:
        try:
            connection.sendall(reply[:at_once])
            for byte in reply[at_once:] * 100:
                connection.sendall(bytes([byte]))
                if threading.Event().wait(0.02):
                    return
        finally:
            ended.set()

    return drip


def silent_until(over: threading.Event) -> Callable[[socket.socket], None]:
    """No answer until then, nor after it."""

    def wait(_connection: socket.socket) -> None:
        over.wait(PATIENCE)

    return wait


def in_the_end(cloud: Ec2Cloud) -> tuple[Eni, ...]:
    """What a question is answered; a busy machine may take longer for a good answer, too, than these deadlines are."""
    over_at = time.monotonic() + PATIENCE
    while True:
        try:
            return cloud.describe_enis("lab")
        except CloudUnavailable:
            if time.monotonic() > over_at:
                raise
