"""A script with Windows' line ends gives the last argument of a command a carriage return."""

import argparse
from collections.abc import Callable

import pytest

from floatingip.commands import arguments, handover, history, pause, status
from floatingip.commands.doctor import command as doctor


@pytest.mark.parametrize(
    ("command", "argument", "value"),
    [
        (arguments.add_place, "--region", "us-west-2"),
        (arguments.add_place, "--vpc-id", "vpc-0123456789abcdef0"),
        (pause.add_arguments, "--minutes", 5),
        (handover.add_arguments, "--to", "i-0123456789abcdef0"),
        (status.add_arguments, "--watch", 5.0),
        (doctor.add_arguments, "--within", 5.0),
        (history.add_arguments, "--address", "10.0.0.100"),
        (history.add_arguments, "--since", 1_764_288_000.0),
    ],
    ids=lambda value: value if str(value).startswith("--") else "",
)
def test_it_is_no_part_of_the_argument(
    command: Callable[[argparse.ArgumentParser], None], argument: str, value: object
) -> None:
    """It cannot be seen in a terminal."""
    given = "2025-11-28" if argument == "--since" else value
    parser = argparse.ArgumentParser()
    command(parser)
    assert value in vars(parser.parse_args([argument, f"{given}\r"])).values()


def test_an_address_is_the_same_however_it_is_written() -> None:
    """That of a move is in the one form that Python gives it."""
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)
    assert parser.parse_args(["--address", "2001:DB8:0:1:0::100"]).address == "2001:db8:0:1::100"
    assert parser.parse_args(["--address", "eipalloc-0123456789abcdef0"]).address == "eipalloc-0123456789abcdef0"
