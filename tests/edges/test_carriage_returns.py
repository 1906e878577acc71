"""A script with Windows' line ends gives the last argument of a command a carriage return."""

import argparse

import pytest

from floatingip.commands.arguments import add_place


@pytest.mark.parametrize(("argument", "value"), [("--region", "us-west-2"), ("--vpc-id", "vpc-0123456789abcdef0")])
def test_it_is_no_part_of_the_argument(argument: str, value: str) -> None:
    """It cannot be seen in a terminal."""
    parser = argparse.ArgumentParser()
    add_place(parser)
    assert value in vars(parser.parse_args([argument, f"{value}\r"])).values()
