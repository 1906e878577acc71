"""What the doctor learns of the clock from EC2's answer, and that EC2 answers where that tells no time."""

from email.utils import formatdate
from typing import Any

import pytest

from floatingip.edges.ec2.inspection import Inspection
from tests.edges.ec2_server import Server, http, subnets

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
