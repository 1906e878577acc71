"""A person's credentials, for which the profile asks a program: waited for before anything has a time limit."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from floatingip.commands import deployment, status
from floatingip.core.errors import NoCredentials
from floatingip.edges import configmap
from floatingip.edges.ec2 import credentials, sdk
from tests.edges.command_line import ROOT
from tests.edges.ec2_server import A_SUBNET, ADDRESS, FOUND, SHORT, Become, Server
from tests.waiting import until

pytest_plugins = ["tests.edges.ec2_fixtures"]

KEYS = '{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret"}'
LASTING = """cat <<END
{"Version": 1, "AccessKeyId": "key$(wc -l <RUNS)", "SecretAccessKey": "secret", "SessionToken": "token",
 "Expiration": "$(date -u -d '1 hour' +%FT%TZ)"}
END"""
"""A program that gives other keys each time."""
Asks = Callable[[str], tuple[argparse.Namespace, Path]]
PLACE = ["--region", "us-west-2", "--vpc-id", "vpc-0123456789abcdef0"]


def _found(options: argparse.Namespace) -> None:
    settings = configmap.load({"FLOATING_IP": "10.0.0.100"}, options.settings)
    assert deployment.find(settings, options).cloud.describe_enis("lab") == ()


def _shown(options: argparse.Namespace) -> None:
    assert status.run(options) == 11


@pytest.fixture(name="asks")
def _asks(server: Server, environment: Become, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asks:
    """Makes a profile that runs a program which ends so; gives the options of a command, and how often it was run."""

    def made(ends: str) -> tuple[argparse.Namespace, Path]:
        runs, program = tmp_path / "runs", tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho run >> {runs}\n{ends}\n".replace("RUNS", str(runs)))
        program.chmod(0o755)
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
        (tmp_path / "settings.yaml").write_text("name: lab")
        known = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
        environment(AWS_ENDPOINT_URL_EC2=server.url, FLOATING_IP="10.0.0.100", HOME="/nonexistent", **known)
        parser = argparse.ArgumentParser()
        status.add_arguments(parser)
        return parser.parse_args([*PLACE, "--settings", str(tmp_path / "settings.yaml")]), runs

    server.replies |= {"DescribeSubnets": A_SUBNET, "": FOUND}
    monkeypatch.setattr(sdk, "_obtained", [])
    monkeypatch.setattr(credentials, "WAITED_FOR", SHORT)
    monkeypatch.setattr(credentials, "BESIDE_AFTER", SHORT)
    return made


@pytest.mark.parametrize("command", [_found, _shown])
def test_a_program_that_takes_its_time_is_waited_for_and_run_once(
    asks: Asks, command: Callable[[argparse.Namespace], None]
) -> None:
    """Somebody types a code for it, or agrees on a telephone: two of them at a time would ask for two."""
    options, runs = asks(f"sleep {4 * SHORT}; echo '{KEYS}'")
    command(options)
    assert runs.read_text().count("run") == 1


def test_a_program_that_fails_is_told_and_not_run_again(asks: Asks) -> None:
    """Not even by a client that is made all the same, as the doctor's is."""
    options, runs = asks("echo 'no such code' >&2; exit 1")
    with pytest.raises(NoCredentials, match="no such code"):
        _found(options)
    with pytest.raises(NoCredentials, match="no such code"):
        sdk.client("us-west-2").describe_network_interfaces()
    assert runs.read_text().count("run") == 1


def test_whoever_watches_after_the_credentials_have_ended_is_told_so_by_an_error_of_that_moment(
    asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each raise of the same one its traceback grows, and keeps alive whatever its frames had."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    asks("exit 1")
    with pytest.raises(NoCredentials):
        sdk.obtain("us-west-2")
    keeper, told = sdk._keeper("us-west-2"), list[NoCredentials]()
    for _ in range(2):
        with pytest.raises(NoCredentials) as raised:
            keeper.keys()
        told.append(raised.value)
    assert str(told[0]) == str(told[1])
    assert told[0] is not told[1]


def test_credentials_are_asked_for_again_before_they_end_as_long_as_somebody_watches(
    asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the program, in the thread that Ctrl-C ends, before a look has to do without."""
    options, runs = asks(LASTING)
    options.watch, sleep, asked = 1234.5, time.sleep, list[int]()

    def until_they_are_about_to_end(seconds: float) -> None:
        if seconds != options.watch:
            sleep(seconds)
            return
        asked.append(runs.read_text().count("run"))
        if len(asked) == 3:
            raise KeyboardInterrupt
        if len(asked) == 2:
            monkeypatch.setattr(sdk, "LASTS", 2 * 3600.0)

    monkeypatch.setattr(time, "sleep", until_they_are_about_to_end)
    assert status.run(options) == 11
    assert asked == [1, 1, 2]


def test_what_was_obtained_last_is_used(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a client that was made before; and nothing is used twice that AWS refuses."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(sdk, "LASTS", 2 * 3600.0)
    asks(LASTING)
    sdk.obtain("us-west-2")
    keeper = sdk._keeper("us-west-2")
    assert keeper.keys().access_key == "key1"
    sdk.obtain("us-west-2")
    keeper.refused()
    until(lambda: keeper.keys().access_key == "key2")
    keeper.refused()
    assert keeper.keys().access_key == "key2"
    assert "run the command again" in str(keeper._failure)


def test_a_person_on_an_instance_is_asked_before_anything_has_a_time_limit(asks: Asks) -> None:
    """Where IMDS tells the Region and the VPC; what does not work there is told with what the observers say."""
    here = status.Here("i-a", ADDRESS, "us-west-2")
    _, runs = asks(f"echo '{KEYS}'")
    status.obtain(here, None)
    assert runs.read_text().count("run") == 1
    status.obtain(here, None)
    assert runs.read_text().count("run") == 1, "they last"
    sdk._obtained.clear()
    asks("exit 1")
    status.obtain(here, None)
    with pytest.raises(NoCredentials):
        status.obtain(None, "us-west-2")


def test_in_a_pod_no_sdk_is_loaded_before_the_observers_are_asked(tmp_path: Path) -> None:
    """That takes as long as all of their answers; there are no files in which a person could have profiles."""
    given = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    code = (
        "import sys; from ipaddress import ip_address; from floatingip.commands import status; "
        "status.obtain(status.Here('i-a', ip_address('10.0.0.1'), 'us-west-2'), None); "
        "sys.exit('boto3' in sys.modules)"
    )
    for is_configured in (False, True):
        if is_configured:
            (tmp_path / ".aws").mkdir()
            (tmp_path / ".aws" / "config").write_text("")
        done = subprocess.run([sys.executable, "-c", code], env=given, cwd=ROOT, check=False)
        assert done.returncode == is_configured
