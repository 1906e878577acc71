"""A person's credentials, for which the profile asks a program: waited for before anything has a time limit."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from floatingip.commands import deployment, status
from floatingip.core.errors import NoCredentials
from floatingip.edges import configmap
from floatingip.edges.ec2 import credentials, sdk
from tests.edges.ec2_server import FOUND, SHORT, Become, Server, subnets

pytest_plugins = ["tests.edges.ec2_fixtures"]

KEYS = '{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "secret"}'
PLACE = ["--region", "us-west-2", "--vpc-id", "vpc-0123456789abcdef0"]


def _found(options: argparse.Namespace) -> None:
    settings = configmap.load({"FLOATING_IP": "10.0.0.100"}, options.settings)
    assert deployment.find(settings, options).cloud.describe_enis("lab") == ()


def _shown(options: argparse.Namespace) -> None:
    assert status.run(options) == 11


@pytest.fixture(name="asks")
def _asks(
    server: Server, environment: Become, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[argparse.Namespace, Path]]:
    """Makes a profile that runs a program which ends so; gives the options of a command, and how often it was run."""

    def made(ends: str) -> tuple[argparse.Namespace, Path]:
        runs, program = tmp_path / "runs", tmp_path / "program"
        program.write_text(f"#!/bin/sh\necho run >> {runs}\n{ends}\n")
        program.chmod(0o755)
        (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
        (tmp_path / "settings.yaml").write_text("name: lab")
        known = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
        environment(AWS_ENDPOINT_URL_EC2=server.url, FLOATING_IP="10.0.0.100", HOME="/nonexistent", **known)
        parser = argparse.ArgumentParser()
        status.add_arguments(parser)
        return parser.parse_args([*PLACE, "--settings", str(tmp_path / "settings.yaml")]), runs

    server.replies |= {"DescribeSubnets": subnets(), "": FOUND}
    monkeypatch.setattr(sdk, "_obtained", [])
    monkeypatch.setattr(credentials, "WAITED_FOR", SHORT)
    monkeypatch.setattr(credentials, "BESIDE_AFTER", SHORT)
    return made


@pytest.mark.parametrize("command", [_found, _shown])
def test_a_program_that_takes_its_time_is_waited_for_and_run_once(
    asks: Callable[[str], tuple[argparse.Namespace, Path]], command: Callable[[argparse.Namespace], None]
) -> None:
    """Somebody types a code for it, or agrees on a telephone: two of them at a time would ask for two."""
    options, runs = asks(f"sleep {4 * SHORT}; echo '{KEYS}'")
    command(options)
    assert runs.read_text().count("run") == 1


def test_a_program_that_fails_is_told_and_not_run_again(
    asks: Callable[[str], tuple[argparse.Namespace, Path]],
) -> None:
    """Not even by a client that is made all the same, as the doctor's is."""
    options, runs = asks("echo 'no such code' >&2; exit 1")
    with pytest.raises(NoCredentials, match="no such code"):
        _found(options)
    with pytest.raises(NoCredentials, match="no such code"):
        sdk.client("us-west-2").describe_network_interfaces()
    assert runs.read_text().count("run") == 1


def test_whoever_watches_after_the_credentials_have_ended_is_told_so_by_an_error_of_that_moment(
    asks: Callable[[str], tuple[argparse.Namespace, Path]], monkeypatch: pytest.MonkeyPatch
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
