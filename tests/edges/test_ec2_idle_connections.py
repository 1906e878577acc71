"""Connections to EC2 that are idle for long: a firewall on the way forgets them, and what is sent by them is lost."""

import socket
import time
from pathlib import Path

from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import FOUND, PATIENCE, Server

pytest_plugins = ["tests.edges.ec2_fixtures"]

KEEPALIVE, TICKS = 2, 100
"""What the kernel calls this timer in /proc/net/tcp, and in how many parts of a second it tells when it ends."""

FORGOTTEN_AFTER = 350
"""Seconds after which NAT gateways, interface endpoints and the Network Firewall of AWS forget a connection."""


def timer(port: int) -> tuple[int, float]:
    """Which timer runs for the connection from this port, and the seconds until it ends."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, _, _, running, *_ = line.split()
        if int(local.partition(":")[2], 16) == port:
            kind, _, left = running.partition(":")
            return int(kind, 16), int(left, 16) / TICKS
    raise LookupError(port)


def test_a_connection_that_waits_is_kept_known_to_whatever_is_on_the_way(server: Server, cloud: Ec2Cloud) -> None:
    """By a sign of life, long before it would be forgotten."""
    found: list[tuple[int, float]] = []

    def reply(connection: socket.socket) -> None:
        over_at, port = time.monotonic() + PATIENCE, connection.getpeername()[1]
        while (running := timer(port))[0] != KEEPALIVE and time.monotonic() < over_at:
            time.sleep(0.01)  # the question has not been acknowledged yet
        found.append(running)
        connection.sendall(FOUND)

    server.replies[""] = reply
    cloud.describe_enis("lab")
    kind, seconds = found[0]
    assert kind == KEEPALIVE
    assert seconds < FORGOTTEN_AFTER / 2
