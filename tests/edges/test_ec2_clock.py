"""What EC2's answer tells of this machine's clock, and that it is an answer where it tells nothing."""

import argparse
import json
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from floatingip.commands import deployment, status
from floatingip.core.errors import CloudUnavailable
from floatingip.core.overview import Verdict
from floatingip.core.settings import Settings
from floatingip.edges import configmap
from floatingip.edges.ec2 import inspection
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.inspection import Inspection
from tests.edges.ec2_server import (
    A_SUBNET,
    ADDRESS,
    SHORT,
    Become,
    Server,
    error,
    http,
    instances,
    interface,
    interfaces,
    silent_until,
)

pytest_plugins = ["tests.edges.ec2_fixtures"]

SHOWN = A_SUBNET.partition(b"\r\n\r\n")[2]


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("headers", [(), ("Date: soon",), ("Date: Sun, 99 Nov 2026 10:00:00 GMT",), ("Date:",)])
def test_an_answer_without_its_time_is_one(server: Server, client: Any, headers: tuple[str, ...]) -> None:
    """Something on the way took it off, or wrote another one: EC2 has answered all the same."""
    server.replies["DescribeSubnets"] = http(200, SHOWN, *headers)
    ahead, took = Inspection(client, "us-west-2", "vpc-1").clock()
    assert ahead is None
    assert took > 0


@pytest.mark.usefixtures("cloud")
def test_a_clock_is_ahead_by_what_ec2s_is_behind(server: Server, client: Any) -> None:
    """Within some seconds, by those of this machine."""
    server.replies["DescribeSubnets"] = http(200, SHOWN, f"Date: {formatdate(0, usegmt=True)}")
    ahead, _ = Inspection(client, "us-west-2", "vpc-1").clock()
    assert ahead is not None
    assert ahead > 1e9


@pytest.fixture(name="behind")
def _behind(server: Server, environment: Become) -> Callable[[], float]:
    """By how many seconds the clock of whoever runs a command, away from the workers, counts as behind EC2's."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")

    def found() -> float:
        options = argparse.Namespace(region="us-west-2", vpc_id="vpc-1")
        return deployment.find(Settings((ADDRESS,), name="lab"), options).wall() - time.time()

    return found


def test_what_a_person_orders_is_timed_by_ec2s_clock(server: Server, behind: Callable[[], float]) -> None:
    """By a clock that is behind, an order would be over before any observer has seen it.

    Who may not ask for EC2's time goes by the own clock: most are right.
    """

    def ahead(connection: socket.socket) -> None:
        connection.sendall(http(200, SHOWN, f"Date: {formatdate(time.time() + 240.0, usegmt=True)}"))

    server.replies["DescribeSubnets"] = ahead
    assert behind() == pytest.approx(240.0, abs=5.0)
    server.replies["DescribeSubnets"] = error(403, "UnauthorizedOperation")
    assert behind() == pytest.approx(0.0, abs=5.0)


def test_what_stands_in_tags_is_shown_by_ec2s_clock(
    server: Server, environment: Become, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a clock that is four minutes ahead a pause would be over, and an order obeyed no more, while observers go by
    them.
    """
    environment(
        AWS_ENDPOINT_URL_EC2=server.url,
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        FLOATING_IP=str(ADDRESS),
    )
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 240.0)
    pause = f"<item><key>floatingip/paused</key><value>{int(now) + 120}</value></item>"
    ours = "<item><key>floatingip</key><value>lab</value></item>"
    dated = http(200, SHOWN, f"Date: {formatdate(now, usegmt=True)}")
    server.replies["DescribeSubnets"] = dated
    server.replies["DescribeNetworkInterfaces"] = interfaces(interface(tagSet=ours + pause))
    server.replies["DescribeInstances"] = instances(
        "<instanceId>i-0a</instanceId><instanceState><name>running</name></instanceState>"
    )
    settings = Settings((ADDRESS,), name="lab")
    monkeypatch.setattr(configmap, "load", lambda *_: settings)
    options = argparse.Namespace(region="us-west-2", vpc_id="vpc-1", settings=None, json=True, watch=None)
    assert status.run(options) == status.EXIT_CODES[Verdict.DEGRADED]
    told = json.loads(capsys.readouterr().out)
    assert told["addresses"][0]["paused_until"] == int(now) + 120
    assert told["time"] == pytest.approx(now, abs=5.0)

    # Whoever watches is told by it once EC2 has answered that, too: it may be throttled just then.
    throttled = error(503, "RequestLimitExceeded")
    replies = iter((dated, throttled, throttled, dated))
    looks: list[float] = []

    def rest(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    server.replies["DescribeSubnets"] = lambda connection: connection.sendall(next(replies, dated))
    monkeypatch.setattr(time, "sleep", rest)
    options.watch = 1.0
    status.run(options)
    times = [json.loads(line)["time"] for line in capsys.readouterr().out.splitlines()]
    assert times == pytest.approx([now + 240.0, now], abs=5.0)


def test_an_ec2_that_does_not_answer_is_waited_for_once(
    server: Server, behind: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command asks next would wait as long again, and be as much in vain."""
    short = Asking(SHORT, given_up_after=SHORT)
    monkeypatch.setattr(inspection, "Asking", lambda _: short)
    over = threading.Event()
    server.replies["DescribeSubnets"] = silent_until(over)
    with pytest.raises(CloudUnavailable, match="DescribeSubnets: "):
        behind()
    over.set()
