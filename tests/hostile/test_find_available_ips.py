"""find-available-ips.py between its user and EC2: odd arguments, odd answers or such without end, a proxy's page."""

import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edges.ec2_server import Server, answer, error, http
from tests.hostile.find_available_ips import EMPTY, NO_RESERVATIONS, SUBNET, Main
from tests.hostile.strategies import several, texts

pytest_plugins = ["tests.hostile.find_available_ips_fixtures"]

ASKED = ("IPV4", "10.0.0.0/28")


def refusal(main: Main, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """The one line that is told instead of addresses."""
    assert main(list(arguments)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


words = st.one_of(
    texts.map(lambda text: text.lstrip("-")),
    st.sampled_from(
        ["IPV4", "ipv6", "10.0.0.0/99", "::/0", "--limit=0", "--limit=-1", "--vpc-id=vpc-*", "--region", "--x\ny"]
    ),
)


@several(2)
@given(st.lists(words, max_size=4).filter(lambda argv: not (len(argv) > 1 and argv[0].upper().startswith("IPV"))))
def test_odd_arguments_are_refused_in_a_line(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    """Before anybody is asked."""
    odd.asked.clear()
    refusal(main, capsys, *argv, code=2)
    assert not odd.asked


@pytest.mark.parametrize(
    ("reservations", "cause"),
    [
        (answer("GetSubnetCidrReservations", f"{NO_RESERVATIONS}<nextToken>again</nextToken>"), "has no end"),
        (answer("GetSubnetCidrReservations", ""), "cannot be read"),
        (http(200, "<html>Welcome to the hotel</html>"), "cannot be read"),
    ],
    ids=["no end", "nothing", "a page"],
)
def test_reservations_that_are_not_told_are_not_none(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], reservations: bytes, cause: str
) -> None:
    """An address would be called free that is reserved; nor is anybody asked for ever."""
    odd.replies["GetSubnetCidrReservations"] = reservations
    assert cause in refusal(main, capsys, *ASKED)


@pytest.mark.parametrize("action", EMPTY)
def test_pages_without_end_are_not_read_for_ever(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """Each with another token, which the SDK follows as long as there is one."""
    numbers = itertools.count()

    def reply(connection: socket.socket) -> None:
        number = next(numbers)
        # It would be waited for in vain: so a script that asks on fails here, instead of hanging.
        more = f"<nextToken>{number}</nextToken>" if number < 50 else ""
        connection.sendall(answer(action, EMPTY[action] + more))

    odd.replies[action] = reply
    assert "has no end" in refusal(main, capsys, *ASKED)


def test_a_subnet_that_two_pages_show_is_one(odd: Server, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    """EC2's lists change while they are read; it is not ambiguous which subnet is meant."""
    first, numbers = f"{SUBNET}<nextToken>more</nextToken>", itertools.count()

    def reply(connection: socket.socket) -> None:
        connection.sendall(answer("DescribeSubnets", first if next(numbers) == 0 else SUBNET))

    odd.replies["DescribeSubnets"] = reply
    assert main([*ASKED, "--limit", "2"]) == 0
    assert capsys.readouterr().out.split() == ["10.0.0.4", "10.0.0.5"]


WELCOME = "<html>Who are you?</html>"


@pytest.mark.parametrize(
    ("status", "page"),
    [
        *((status, WELCOME) for status in (401, 403, 407, 502, 503)),
        (403, "<Response/>"),
        (403, "<Response><Errors/></Response>"),
    ],
)
def test_a_proxys_page_that_is_well_formed_is_told_in_a_line(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], status: int, page: str
) -> None:
    """The SDK takes it for an error of EC2's, but one without a code."""
    odd.replies["DescribeSubnets"] = http(status, page)
    assert "is there a proxy" in refusal(main, capsys, *ASKED)


def test_what_is_quoted_does_not_command_the_terminal(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """XML can have the character that begins a terminal's commands, and the one that reverses a line."""
    odd.replies["DescribeSubnets"] = error(400, "Odd", "&#x9b;2J &#x202e;dekcah")
    assert main(list(ASKED)) == 1
    assert capsys.readouterr().err.removesuffix("\n").isprintable()


def test_credentials_that_ended_are_told_by_their_end(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `aws configure export-credentials` left them in a shell."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    assert main(list(ASKED)) == 2
    assert "AWS_CREDENTIAL_EXPIRATION=2020-01-01T00:00:00Z" in capsys.readouterr().err
    assert not odd.asked


def test_an_interface_that_shows_only_its_primary_address_has_it(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether or not the list of its addresses repeats it."""
    eni = "<item><privateIpAddress>10.0.0.4</privateIpAddress></item>"
    answered = answer("DescribeNetworkInterfaces", f"<networkInterfaceSet>{eni}</networkInterfaceSet>")
    odd.replies["DescribeNetworkInterfaces"] = answered
    assert main([*ASKED, "--limit", "1"]) == 0
    assert capsys.readouterr().out.split() == ["10.0.0.5"]
