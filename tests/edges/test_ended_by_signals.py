"""A command that has begun something and is ended, by a script's time limit or with its terminal: as by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from floatingip.cli import main
from floatingip.commands import pause
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.core.decision import order
from lab.ec2.server import REGION
from tests.edges.command_line import ADDRESS, ROOT, Vpc

pytest_plugins = ["tests.edges.cli_fixtures"]

PATIENCE = 20.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does_but_by_its_own_exit_code(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only as long as there is something to take back."""
    before = signal.getsignal(number)
    taken_back = []

    def find(*_: object) -> None:
        with as_by_ctrl_c():
            try:
                os.kill(os.getpid(), number)
                time.sleep(PATIENCE)
            finally:
                taken_back.append(number)

    monkeypatch.setattr(pause, "run", find)
    assert main(["pause"]) == 128 + number
    assert taken_back == [number]
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_ignored() -> None:
    """As by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_handover_that_is_ended_takes_its_order_back(vpc: Vpc, tmp_path: Path, number: signal.Signals) -> None:
    """Nothing is to move that nobody waits for."""
    instance = vpc.ec2.run_instance("worker-a", "10.0.0.11")
    client = vpc.ec2.client()
    client.attach_network_interface(NetworkInterfaceId=vpc.eni, InstanceId=instance.instance_id, DeviceIndex=1)

    def ordered() -> str:
        tags = client.describe_tags(Filters=[{"Name": "resource-id", "Values": [vpc.eni]}])["Tags"]
        return next((tag["Value"] for tag in tags if tag["Key"] == order.TAG), "")

    settings = tmp_path / "settings.yaml"
    settings.write_text("name: cluster\n", encoding="utf-8")
    where = ["--settings", str(settings), "--region", REGION, "--vpc-id", vpc.ec2.vpc_id]
    environment = {
        "PATH": os.environ["PATH"],
        "FLOATING_IP": ADDRESS,
        "AWS_ENDPOINT_URL_EC2": vpc.ec2.endpoint_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    command = [sys.executable, "-m", "floatingip", "handover", *where]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        _wait_until(lambda: bool(ordered()))
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert ordered() == ""
    assert said.splitlines()[-1] == f"{ADDRESS}: no longer asked for"


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
