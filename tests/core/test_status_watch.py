"""`floatingip status --watch`: what it shows again and again, while AWS answers and while it does not."""

import argparse
import socket
import time
from pathlib import Path

import pytest

from floatingip.commands import status
from tests.core.ec2_server import FOUND, Become, Server, error

pytest_plugins = ["tests.core.ec2_fixtures"]

EVERY = 1234.5
"""Seconds between two looks, which nobody else sleeps for."""


def test_an_outage_of_ec2_does_not_end_it(
    server: Server,
    environment: Become,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """It is watched because something is wrong; the outage is told in a line, and the status afterwards."""
    (tmp_path / "settings.yaml").write_text("name: lab")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    environment(AWS_ENDPOINT_URL_EC2=server.url, FLOATING_IP="10.0.0.100", HOME="/nonexistent", **keys)
    answers = [FOUND, error(503, "RequestLimitExceeded"), FOUND]
    left = iter(answers)

    def answer(connection: socket.socket) -> None:
        connection.sendall(next(left))

    rounds, sleep = list[float](), time.sleep

    def end_in_the_end(seconds: float) -> None:
        if seconds != EVERY:
            sleep(seconds)
            return
        rounds.append(seconds)
        if len(rounds) == len(answers):
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", end_in_the_end)
    server.replies[""] = answer
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    place = ["--region", "us-west-2", "--vpc-id", "vpc-0123456789abcdef0"]
    given = ["--settings", str(tmp_path / "settings.yaml"), "--watch", str(EVERY)]
    assert status.run(parser.parse_args([*place, *given])) == 11
    told = capsys.readouterr()
    assert told.out.count("lab: DOWN, ") == 2
    (line,) = told.err.splitlines()
    assert line.startswith("floatingip status: DescribeNetworkInterfaces: RequestLimitExceeded")
