"""find-available-ips.py and odd answers: pages without end, a proxy's page, words that command the terminal."""

import importlib.util
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.ec2_server import Server, answer, becoming, error, http

SCRIPT = Path(__file__).parents[2] / "find-available-ips.py"
SUBNET = (
    "<item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-west-2a</availabilityZone>"
    "<cidrBlock>10.0.0.0/28</cidrBlock></item>"
)
NONE = "<subnetIpv4CidrReservationSet/><subnetIpv6CidrReservationSet/>"
EMPTY = {"DescribeSubnets": "<subnetSet/>", "DescribeNetworkInterfaces": "<networkInterfaceSet/>"}
Ask = Callable[..., int]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """EC2 with one subnet that has nothing in it."""
    server = Server()
    threading.Thread(target=server.run, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-west-2"}
    becoming(monkeypatch)(AWS_ENDPOINT_URL_EC2=server.url, HOME="/nonexistent", AWS_MAX_ATTEMPTS="1", **keys)
    server.replies["DescribeSubnets"] = answer("DescribeSubnets", f"<subnetSet>{SUBNET}</subnetSet>")
    server.replies["DescribeNetworkInterfaces"] = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    server.replies["GetSubnetCidrReservations"] = answer("GetSubnetCidrReservations", NONE)
    yield server
    server.listener.close()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The script's `main`, that asks for 20 pages at most."""
    spec = importlib.util.spec_from_file_location("find_available_ips_pages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "MOST_PAGES", 20)
    found: Ask = module.main
    return found


@pytest.mark.parametrize("action", EMPTY)
def test_pages_without_end_are_not_read_for_ever(
    server: Server, ask: Ask, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """Each with another token, which the SDK follows as long as there is one."""
    numbers = itertools.count()

    def reply(connection: socket.socket) -> None:
        number = next(numbers)
        # It would be waited for in vain: so a script that asks on fails here, instead of hanging.
        more = f"<nextToken>{number}</nextToken>" if number < 50 else ""
        connection.sendall(answer(action, EMPTY[action] + more))

    server.replies[action] = reply
    assert ask(["IPV4", "10.0.0.0/28"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "has no end" in said.err


def test_a_subnet_that_two_pages_show_is_one(server: Server, ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    """EC2's lists change while they are read; it is not ambiguous which subnet is meant."""
    first, numbers = f"<subnetSet>{SUBNET}</subnetSet><nextToken>more</nextToken>", itertools.count()

    def reply(connection: socket.socket) -> None:
        connection.sendall(
            answer("DescribeSubnets", first if next(numbers) == 0 else f"<subnetSet>{SUBNET}</subnetSet>")
        )

    server.replies["DescribeSubnets"] = reply
    assert ask(["IPV4", "10.0.0.0/28", "--limit", "2"]) == 0
    assert capsys.readouterr().out.split() == ["10.0.0.4", "10.0.0.5"]


@pytest.mark.parametrize("status", [401, 403, 407, 502, 503])
@pytest.mark.parametrize("page", ["<html>Who are you?</html>", "<Response/>", "<Response><Errors/></Response>"])
def test_a_proxys_page_that_is_well_formed_is_told_in_a_line(
    server: Server, ask: Ask, capsys: pytest.CaptureFixture[str], status: int, page: str
) -> None:
    """The SDK takes it for an error of EC2's, but one without a code."""
    server.replies["DescribeSubnets"] = http(status, page)
    assert ask(["IPV4", "10.0.0.0/28"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "is there a proxy" in said.err


def test_what_is_quoted_does_not_command_the_terminal(
    server: Server, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    """XML can have the character that begins a terminal's commands, and the one that reverses a line."""
    server.replies["DescribeSubnets"] = error(400, "Odd", "&#x9b;2J &#x202e;dekcah")
    assert ask(["IPV4", "10.0.0.0/28"]) == 1
    assert capsys.readouterr().err.removesuffix("\n").isprintable()


def test_credentials_that_ended_are_told_by_their_end(
    server: Server, ask: Ask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `aws configure export-credentials` left them in a shell."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    assert ask(["IPV4", "10.0.0.0/28"]) == 2
    assert "AWS_CREDENTIAL_EXPIRATION=2020-01-01T00:00:00Z" in capsys.readouterr().err
    assert not server.asked


def test_an_interface_that_shows_only_its_primary_address_has_it(
    server: Server, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether or not the list of its addresses repeats it."""
    eni = "<item><privateIpAddress>10.0.0.4</privateIpAddress></item>"
    answered = answer("DescribeNetworkInterfaces", f"<networkInterfaceSet>{eni}</networkInterfaceSet>")
    server.replies["DescribeNetworkInterfaces"] = answered
    assert ask(["IPV4", "10.0.0.0/28", "--limit", "1"]) == 0
    assert capsys.readouterr().out.split() == ["10.0.0.5"]
