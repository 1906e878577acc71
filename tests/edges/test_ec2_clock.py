"""What EC2's answer tells of this machine's clock, and that it is an answer where it tells nothing."""

import argparse
import time
from email.utils import formatdate
from typing import Any

import pytest

from floatingip.commands import deployment
from floatingip.core.settings import Settings
from floatingip.edges.ec2.inspection import Inspection
from tests.edges.ec2_server import ADDRESS, Become, Server, error, http, subnets

pytest_plugins = ["tests.edges.ec2_fixtures"]

SHOWN = subnets().partition(b"\r\n\r\n")[2]


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


@pytest.mark.parametrize(
    ("behind", "counts"), [(240.0, 240.0), (None, 0.0)], ids=["by minutes", "as far as this person is told"]
)
def test_what_a_person_orders_is_timed_by_ec2s_clock(
    server: Server, environment: Become, behind: float | None, counts: float
) -> None:
    """By a clock that is behind, an order would be over before any observer has seen it."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret")
    denied = error(403, "UnauthorizedOperation")
    date = formatdate(time.time() + (behind or 0.0), usegmt=True)
    server.replies["DescribeSubnets"] = denied if behind is None else http(200, SHOWN, f"Date: {date}")
    options = argparse.Namespace(region="us-west-2", vpc_id="vpc-1")
    ours = deployment.find(Settings((ADDRESS,), name="lab"), options)
    assert ours.wall() - time.time() == pytest.approx(counts, abs=5.0)
