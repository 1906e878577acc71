"""A command that has begun something and is ended, by a script's time limit or with its terminal: as by Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from floatingip.cli import main
from floatingip.commands import ending, pause
from floatingip.commands.ending import as_by_ctrl_c
from floatingip.core.decision import order
from lab.ec2.server import REGION
from tests.edges.command_line import ADDRESS, ROOT, Vpc

pytest_plugins = ["tests.edges.cli_fixtures"]

PATIENCE = 20.0


@pytest.fixture(name="_output", autouse=True)
def _output() -> Iterator[None]:
    """What a closed terminal leads elsewhere is the tests' own, where these run on one without capturing."""
    kept = {fd: os.dup(fd) for fd in (1, 2)}
    yield
    for fd, copy in kept.items():
        os.dup2(copy, fd)
        os.close(copy)


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


DROPS_ONE = """
import os, signal, sys, time
from floatingip.commands import ending

class Fleeting:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(1)

ending.lose_no_interrupt()
with ending.as_by_ctrl_c():
    try:
        Fleeting()
        time.sleep(float(sys.argv[2]))
    except KeyboardInterrupt as ended:
        sys.exit(128 + next(iter(ended.args), signal.SIGINT))
"""
"""Gets a signal in a destructor, where Python can only print what is raised."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_comes_in_a_destructor_is_not_lost(number: signal.Signals) -> None:
    """As it comes in the callback by which an import lets go of its lock: the command would go on."""
    command = [sys.executable, "-c", DROPS_ONE, str(int(number)), str(PATIENCE)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (128 + number, "")


IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.100.0.1"}


def test_what_is_forgotten_in_a_pod_ends_though_nobody_reads_it() -> None:
    """As behind a `kubectl exec` whose terminal is gone: the pipe stays open, and is full some time."""
    code = (
        "import os, runpy; from floatingip.commands import ending, pause; ending.FORGOTTEN_AFTER = 1;"
        " pause.run = lambda _: os.write(1, bytes(1 << 22)); runpy.run_module('floatingip', run_name='__main__')"
    )
    command, environment = [sys.executable, "-c", code, "pause"], {"PATH": os.environ["PATH"], **IN_A_POD}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.wait(PATIENCE) == 142
        assert process.stderr is not None
        assert process.stderr.read() == b"floatingip: in a pod a command ends after an hour; run it again\n"


@pytest.fixture(name="_alarm")
def _alarm() -> Iterator[None]:
    """The process' one timer, by which a test that hangs is ended, is not set, and is left as it was."""
    before, left = signal.signal(signal.SIGALRM, signal.SIG_IGN), signal.setitimer(signal.ITIMER_REAL, 0.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, *left)


@pytest.mark.usefixtures("_alarm")
@pytest.mark.parametrize(
    ("command", "environ", "ends"), [("pause", IN_A_POD, True), ("pause", {}, False), ("observe", IN_A_POD, False)]
)
def test_only_a_persons_command_in_a_pod_is_ever_forgotten(
    command: str, environ: dict[str, str], *, ends: bool
) -> None:
    """A container is no command that somebody waits for; a workstation has its own ways to end one."""
    ending.end_in_time(command, environ)
    assert (signal.alarm(0) > 0) == ends


@pytest.mark.usefixtures("_alarm")
def test_a_ctrl_c_that_is_about_to_come_again_is_not_put_off() -> None:
    """It has the process' one timer."""
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    ending.end_in_time("pause", IN_A_POD)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_IGN
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= PATIENCE


def test_what_is_ignored_stays_ignored() -> None:
    """As by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with as_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
    except KeyboardInterrupt:  # which would end all tests
        pytest.fail("it was not ignored any more")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_closed_says_so_more_than_once() -> None:
    """As its shell does, and the kernel when that ends: what is taken back after the first is not broken off."""
    taken_back = []

    def close_twice() -> None:
        with as_by_ctrl_c():
            try:
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(PATIENCE)
            finally:
                os.kill(os.getpid(), signal.SIGHUP)
                taken_back.append(signal.SIGHUP)

    with pytest.raises(KeyboardInterrupt):
        close_twice()
    assert taken_back


@dataclass
class Handover:
    """One that can be ordered from elsewhere: its command, and its environment."""

    vpc: Vpc
    settings: Path

    def __post_init__(self) -> None:
        self.settings.write_text("name: cluster\n", encoding="utf-8")
        self._client = self.vpc.ec2.client()
        instance = self.vpc.ec2.run_instance("worker-a", "10.0.0.11")
        to = instance.instance_id
        self._client.attach_network_interface(NetworkInterfaceId=self.vpc.eni, InstanceId=to, DeviceIndex=1)
        where = ("--settings", str(self.settings), "--region", REGION, "--vpc-id", self.vpc.ec2.vpc_id)
        self.command = [sys.executable, "-m", "floatingip", "handover", *where]
        self.environment = {
            "PATH": os.environ["PATH"],
            "FLOATING_IP": ADDRESS,
            "AWS_ENDPOINT_URL_EC2": self.vpc.ec2.endpoint_url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def ordered(self) -> str:
        """What stands in the tag."""
        tags = self._client.describe_tags(Filters=[{"Name": "resource-id", "Values": [self.vpc.eni]}])["Tags"]
        return next((tag["Value"] for tag in tags if tag["Key"] == order.TAG), "")


@pytest.fixture(name="handover")
def _handover(vpc: Vpc, tmp_path: Path) -> Handover:
    return Handover(vpc, tmp_path / "settings.yaml")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_handover_that_is_ended_takes_its_order_back(handover: Handover, number: signal.Signals) -> None:
    """Nothing is to move that nobody waits for."""
    with subprocess.Popen(
        handover.command, env=handover.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        _wait_until(lambda: bool(handover.ordered()))
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert handover.ordered() == ""
    assert said.splitlines()[-1] == f"{ADDRESS}: no longer asked for"


def test_a_handover_whose_terminal_is_closed_takes_its_order_back(handover: Handover) -> None:
    """And ends as the signal of that says, though it can tell nobody."""
    ours, terminal = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", *handover.command],
        env=handover.environment,
        cwd=ROOT,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        _wait_until(lambda: bool(handover.ordered()))
        os.close(ours)
        assert process.wait(PATIENCE) == 128 + signal.SIGHUP
    assert handover.ordered() == ""


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
