"""Odd things that EC2 says, and what a person at a terminal sees of them."""

import socket
import sys

import pytest

from floatingip.commands.complaint import complain
from floatingip.commands.doctor.finding import SETTINGS
from floatingip.commands.progress import Progress
from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import Become, Server, answer, error
from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]

ESCAPES = "\x9b2J\x1b]0;owned\x07\u202edliw\u2028"


@pytest.mark.parametrize("code", ["InvalidNextToken", "InvalidPaginationToken"])
def test_a_page_that_comes_too_late_says_nothing(server: Server, environment: Become, code: str) -> None:
    """Neither that what is missing is absent, nor that asking again is in vain: the next question begins anew."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "HOME": "/nonexistent"}
    environment(AWS_ENDPOINT_URL_EC2=server.url, **keys)
    cloud = Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ())

    def reply(connection: socket.socket) -> None:
        first = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/><nextToken>more</nextToken>")
        connection.sendall(first if "NextToken" not in server.asked[-1] else error(400, code))

    server.replies[""] = reply
    with pytest.raises(CloudUnavailable, match=code):
        cloud.describe_enis("lab")
    server.replies[""] = lambda connection: connection.sendall(
        answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    )
    assert cloud.describe_enis("lab") == ()
    assert "NextToken" not in server.asked[-1]


def test_a_clock_that_may_be_wrong_is_asked_for(endpoint: Endpoint) -> None:
    """A node that has just booted: EC2 says of its requests the same as of keys that it does not know."""
    endpoint.refuses("DescribeSubnets", "AuthFailure", "AWS was not able to validate the provided access credentials")
    assert "is the node's clock right?" in str(endpoint.error_of("DescribeSubnets"))


def test_what_others_say_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """EC2's words, a tag and a node's name may have characters that erase, rename or reverse what stands there."""
    complain("release", f"EC2 says {ESCAPES} here\nand there")
    progress = Progress(sys.stdout)
    progress.say(f"waits for {ESCAPES}")
    said = capsys.readouterr()
    assert "and there" in said.err
    assert "waits for" in said.out
    for line in (said.err + said.out).split("\n"):
        assert line.isprintable()


def test_a_finding_is_one_printable_line() -> None:
    """The doctor's findings quote what EC2 says and what a peer's word has."""
    assert SETTINGS.fail(ESCAPES).line().isprintable()
