"""`floatingip status` until Ctrl-C: what it shows again and again, while AWS answers and while it does not."""

import argparse
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from floatingip.commands import status
from tests.edges.ec2_server import A_SUBNET, FOUND, PATIENCE, Become, Server, error, silent_until

pytest_plugins = ["tests.edges.ec2_fixtures"]

ROOT = Path(__file__).parents[2]
EVERY = 1234.5
"""Seconds between two looks, which nobody else sleeps for."""


@pytest.fixture(name="given")
def _given(server: Server, environment: Become, tmp_path: Path) -> list[str]:
    """The arguments of a status for which only EC2 is asked, at the server."""
    (tmp_path / "settings.yaml").write_text("name: lab")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    environment(AWS_ENDPOINT_URL_EC2=server.url, FLOATING_IP="10.0.0.100", HOME="/nonexistent", **keys)
    server.replies["DescribeSubnets"] = A_SUBNET
    place = ["--region", "us-west-2", "--vpc-id", "vpc-0123456789abcdef0"]
    return [*place, "--settings", str(tmp_path / "settings.yaml")]


def looked(arguments: list[str]) -> int:
    """The exit code of a status in this process."""
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    return status.run(parser.parse_args(arguments))


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_ctrl_c_before_anything_is_known_does_not_mean_that_all_is_well(
    server: Server, given: list[str], watch: list[str]
) -> None:
    """As the exit code 0 does."""
    asked, over = threading.Event(), threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        silent_until(over)(connection)

    server.replies[""] = hang
    command = [sys.executable, "-m", "floatingip", "status", *given, *watch]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    over.set()


def test_an_outage_of_ec2_does_not_end_it(
    server: Server, given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is watched because something is wrong; the outage is told in a line, and the status afterwards."""
    outage = error(503, "RequestLimitExceeded")
    # What is throttled once is asked once more; of an address that no interface of ours has, whose it is is asked, too.
    left = iter([FOUND, FOUND, outage, outage, FOUND, FOUND])

    def answer(connection: socket.socket) -> None:
        connection.sendall(next(left))

    rounds, sleep = list[float](), time.sleep

    def end_in_the_end(seconds: float) -> None:
        if seconds != EVERY:
            sleep(seconds)
            return
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", end_in_the_end)
    server.replies[""] = answer
    assert looked([*given, "--watch", str(EVERY)]) == 11
    told = capsys.readouterr()
    assert told.out.count("lab: DOWN, ") == 2
    (line,) = told.err.splitlines()
    assert line.startswith("floatingip status: DescribeNetworkInterfaces: RequestLimitExceeded")


@pytest.mark.parametrize("watch", [[], ["--watch", "1"]])
def test_a_reader_who_has_enough_learns_how_it_is(server: Server, given: list[str], watch: list[str]) -> None:
    """As `head` does, in a script that goes by the exit code."""
    server.replies[""] = lambda connection: connection.sendall(FOUND)
    command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-m", "floatingip", "status", *given, *watch]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.wait(PATIENCE), process.stderr.read()) == (11, b"")


def test_a_single_throttled_question_is_no_outage(
    server: Server, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever looks by a script would be told of one."""
    left = iter([error(503, "RequestLimitExceeded"), FOUND])
    server.replies[""] = lambda connection: connection.sendall(next(left, FOUND))
    assert looked(given) == 11
    assert capsys.readouterr().err == ""


def test_what_a_script_runs_in_the_background_is_not_ended_by_ctrl_c(server: Server, given: list[str]) -> None:
    """It is for what stands in front; a shell has the others ignore it."""
    asked, over = threading.Event(), threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        over.wait(PATIENCE)
        connection.sendall(FOUND)

    server.replies[""] = hang
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "floatingip", "status", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert asked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        over.set()
        assert process.wait(PATIENCE) == 11
