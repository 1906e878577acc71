"""find-available-ips.py has its time in all: whatever drips or hangs, and however often the SDK asks again."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.available_ips import SCRIPT
from tests.edges.ec2_server import Become, Reply, Server, answer, dripping, error, silent_until
from tests.hostile.find_available_ips import AT_HOME, KEYS, SUBNET

pytest_plugins = ["tests.edges.ec2_fixtures"]

Ended = subprocess.CompletedProcess[str]
LATEST = 30.0
"""Seconds within which the script must have ended that has one; it would take minutes."""


@pytest.fixture(name="run")
def _run(server: Server, environment: Become) -> Callable[..., Ended]:
    """Runs the script as a user does, with a second for all of it, unless other arguments are given."""
    server.replies["DescribeSubnets"] = answer("DescribeSubnets", SUBNET)

    def run(*arguments: str, **variables: str) -> Ended:
        environment(**{"AWS_ENDPOINT_URL_EC2": server.url} | AT_HOME | variables)
        command = [sys.executable, str(SCRIPT), "IPV4", "10.0.0.0/28", *(arguments or ("--timeout", "1"))]
        return subprocess.run(command, capture_output=True, text=True, timeout=LATEST, check=False)

    return run


def failing_again(connection: socket.socket) -> None:
    """What the SDK asks anew about, with longer and longer pauses."""
    connection.sendall(error(503, "Unavailable"))


OVER = threading.Event()


@pytest.mark.parametrize(
    "reply",
    [
        silent_until(OVER),
        dripping(answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>"), 9, OVER),
        failing_again,
    ],
    ids=["hangs", "drips", "fails"],
)
def test_what_does_not_end_is_told_in_time(server: Server, run: Callable[..., Ended], reply: Reply) -> None:
    """By a line, and without a part of the list: what is not known to be taken is not free."""
    server.replies["DescribeNetworkInterfaces"] = reply
    ended = run(**KEYS, AWS_MAX_ATTEMPTS="50")
    OVER.set()
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "EC2 has not answered within 1 s" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_an_answer_without_end_fills_no_memory(server: Server, run: Callable[..., Ended]) -> None:
    """However fast it comes; and that is told, not how long it was read."""

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(64 * (b"10000\r\n" + 0x10000 * b"x" + b"\r\n"))

    server.replies["DescribeSubnets"] = pour
    ended = run("--timeout", "20", **KEYS, AWS_MAX_ATTEMPTS="1")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "an answer of more than 1024 MiB" in ended.stderr


@pytest.mark.parametrize("lasts", ["", ", 'Expiration': str(datetime.now(UTC) + timedelta(minutes=5))"])
def test_a_program_that_gives_credentials_has_the_memory_that_it_needs(
    server: Server, run: Callable[..., Ended], tmp_path: Path, lasts: str
) -> None:
    """Java's and .NET's reserve much more than they use, and do not begin where they must not.

    For credentials that end within minutes the SDK runs the program again and again.
    """
    program = tmp_path / "program.py"
    program.write_text(
        "import json, mmap\n"
        "from datetime import UTC, datetime, timedelta\n"
        "mmap.mmap(-1, 4 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n"  # MAP_NORESERVE
        f"keys = {{'AccessKeyId': 'key', 'SecretAccessKey': 'secret', 'SessionToken': 'token'{lasts}}}\n"
        "print(json.dumps({'Version': 1, **keys}))\n"
    )
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    server.replies["DescribeSubnets"] = error(403, "UnauthorizedOperation")
    ended = run("--timeout=20", AWS_CONFIG_FILE=str(config))
    assert "the IAM action ec2:DescribeSubnets is missing" in ended.stderr


def test_credentials_that_are_waited_for_are_told_in_time(run: Callable[..., Ended], tmp_path: Path) -> None:
    """What a program gives out, too, may hang."""
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} -c 'import time; time.sleep(60)'\n")
    ended = run(AWS_CONFIG_FILE=str(config))
    assert ended.returncode == 1
    assert "EC2 has not answered within 1 s" in ended.stderr


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "nan"])
def test_a_time_that_is_none_is_refused(run: Callable[..., Ended], timeout: str) -> None:
    """In a line, before anybody is asked."""
    ended = run(f"--timeout={timeout}")
    assert ended.returncode == 2
    assert "--timeout" in ended.stderr


def test_the_end_of_a_profiles_keys_is_not_blamed_on_the_environment(run: Callable[..., Ended], tmp_path: Path) -> None:
    """A time that another shell's keys left there is nothing to those that the program did not give."""
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {sys.executable} -c 'raise SystemExit({json.dumps('no')})'\n")
    ended = run("--timeout=20", AWS_CONFIG_FILE=str(config), AWS_CREDENTIAL_EXPIRATION="2099-01-01T00:00:00Z")
    assert ended.returncode == 2
    assert "EXPIRATION" not in ended.stderr
