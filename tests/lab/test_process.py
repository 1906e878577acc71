"""The product as PID 1 of a container: SIGTERM ends it within a second, wherever it is; and what it says meanwhile."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

from lab.ec2.imds import Trouble
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.endpoint import soon

pytest_plugins = ["tests.lab.one_worker"]

ROOT = Path(__file__).resolve().parents[2]
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


@pytest.fixture(name="machine")
def _machine(region: Region) -> Iterator[Machine]:
    """The worker; whatever befell its IMDS is over at the end."""
    [machine] = region.machines.values()
    yield machine
    machine.imds.trouble = None


class Container:
    """`floatingip COMMAND` in a PID namespace of its own, on the worker."""

    def __init__(
        self,
        region: Region,
        machine: Machine,
        command: str,
        settings: Path,
        program: tuple[str, str] = ("-m", "floatingip"),
        stdout: int | None = None,
    ) -> None:
        """``stdout``: where it writes to instead of a file that `output` reads."""
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        argv += [sys.executable, *program, command, "--settings", str(settings)]
        self._output = settings.with_suffix(".log").open("w+", encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "FLOATING_IP": FLOATING_IP,
            "AWS_ENDPOINT_URL_EC2": region.ec2.endpoint_url,
        }
        self._unshare = machine.worker.namespace.popen(
            argv, cwd=ROOT, env=environment, stdout=stdout or self._output, stderr=self._output
        )

    def close(self) -> None:
        self._unshare.kill()
        self._unshare.wait()
        self._output.close()

    @property
    def output(self) -> str:
        return Path(self._output.name).read_text(encoding="utf-8")

    def says(self, text: str) -> None:
        soon(lambda: text in self.output, 10)

    def catches_sigterm(self) -> None:
        """Wait until PID 1 has its first handler, at the beginning of its imports."""

        def caught() -> bool:
            pid = self._pid()
            if pid is None:
                return False
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
            return bool(int(mask, 16) & 1 << signal.SIGTERM - 1)

        soon(caught, 10)

    def ends_by_sigterm(self) -> int:
        """Send SIGTERM; the exit code, which must come within a second, or a little more on a busy machine."""
        pid = self._pid()
        assert pid is not None, self.output
        os.kill(pid, signal.SIGTERM)
        code = self._unshare.wait(timeout=2)
        assert "Traceback" not in self.output
        return code

    def ends(self, code: int) -> list[str]:
        """Wait until it ends by itself, with this code; what it says of its end."""
        assert self._unshare.wait(timeout=15) == code, self.output
        assert "Traceback" not in self.output
        return [line for line in self.output.splitlines() if line.startswith("floatingip attach: ")]

    def _pid(self) -> int | None:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text(encoding="utf-8")
        return int(children) if children.strip() else None


Run = Callable[[str], Container]


@pytest.fixture
def run(region: Region, machine: Machine, tmp_path: Path) -> Iterator[Run]:
    """`run("attach")` starts a container; all are gone at the end."""
    with ExitStack() as resources:

        def run(command: str) -> Container:
            settings = tmp_path / f"{command}.yaml"
            settings.write_text("port: 20998\n")
            container = Container(region, machine, command, settings)
            resources.callback(container.close)
            return container

        yield run


BOTH = pytest.mark.parametrize("command", ["attach", "observe"])


@BOTH
def test_sigterm_while_importing_ends_pid_1(command: str, run: Run) -> None:
    """As soon as a handler can be there, long before boto3 is loaded."""
    container = run(command)
    container.catches_sigterm()
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM
    assert "event=node" not in container.output


def test_sigterm_between_two_questions_to_a_missing_imds_ends_pid_1(run: Run, machine: Machine) -> None:
    """IMDS refuses it, which it says, and then sleeps."""
    machine.imds.trouble = Trouble.DOWN
    container = run("observe")
    container.says("event=imds")
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM


@BOTH
def test_sigterm_during_a_question_to_a_hanging_imds_ends_pid_1(command: str, run: Run, machine: Machine) -> None:
    """It waits for an answer that never comes."""
    machine.imds.trouble = Trouble.HANGS
    container = run(command)
    container.says("event=settings")
    time.sleep(1)  # the imports' last part, after which nothing is said before IMDS has answered
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM


@pytest.mark.parametrize(("command", "code"), [("attach", ENDED_BY_SIGTERM), ("observe", 0)])
def test_sigterm_while_ec2_hangs_ends_pid_1(command: str, code: int, run: Run, region: Region) -> None:
    """In the loop: the hanging call does not hold up the end."""
    with region.ec2.faults.hang() as fault:
        container = run(command)
        container.says("event=node")
        soon(lambda: fault.hits > 0)
        assert container.ends_by_sigterm() == code


def test_a_denied_attach_exits_with_4_and_names_the_action(run: Run, region: Region) -> None:
    """Through the real command line, to the container's log; what the doctor finds comes behind it."""
    with region.ec2.faults.deny({"CreateNetworkInterface"}):
        [error, *others] = run("attach").ends(4)
    assert error.startswith("floatingip attach: IAM denies ec2:CreateNetworkInterface; allow ")
    assert all(line.startswith("floatingip attach: doctor: fail") for line in others)


def test_attach_to_a_foreign_eni_exits_with_5_and_names_it(run: Run, region: Region) -> None:
    """Nothing was touched, and what to do is said."""
    wanted = {"SubnetId": region.ec2.subnet_id, "PrivateIpAddress": FLOATING_IP}
    eni = region.administrator.create_network_interface(**wanted)["NetworkInterface"]["NetworkInterfaceId"]  # type: ignore[arg-type]  # a TypedDict, spelled out
    # One without any tag may be new, and is asked about for ten seconds more.
    region.administrator.create_tags(Resources=[eni], Tags=[{"Key": "Name", "Value": "somebody's"}])
    seen = len(region.history.events("ec2"))
    assert eni in run("attach").ends(5)[0]
    calls = [event for event in region.history.events("ec2")[seen:] if event["event"] == "call"]
    assert calls
    assert all(call["action"].startswith("Describe") or call["params"].get("DryRun") == "true" for call in calls)
    region.administrator.delete_network_interface(NetworkInterfaceId=eni)


WITHOUT_THE_MODULE = """
import sys
from floatingip.cli import main
from floatingip.edges import straight
straight._NEW_CONNECTION = 15 << 8  # of a subsystem that no kernel has
sys.exit(main())
"""


@pytest.mark.parametrize("loads", [True, False], ids=["loads", "fails"])
def test_an_observer_that_cannot_tell_conntrack_warns_of_it(
    region: Region, machine: Machine, tmp_path: Path, loads: bool
) -> None:
    """Before it has asked anybody; and it goes on."""
    settings = tmp_path / "observe.yaml"
    settings.write_text("port: 20998\n")
    program = ("-m", "floatingip") if loads else ("-c", WITHOUT_THE_MODULE)
    with closing(Container(region, machine, "observe", settings, program)) as container:
        container.says("event=services")
        assert ("conntrack cannot be told (Invalid argument)" in container.output) != loads
        assert container.ends_by_sigterm() == 0
        assert "event=nat" not in container.output.partition("event=services")[2]


def test_an_observer_whose_log_nobody_reads_serves_says_so_and_ends(region: Region, tmp_path: Path) -> None:
    """As on a node whose container runtime has died; its standard output was full before it began."""
    [machine] = region.machines.values()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    settings = tmp_path / "unread.yaml"
    settings.write_text("port: 20998\n")
    ready = f"http://{machine.worker.address}:20998/readyz"

    def says() -> str:
        with suppress(OSError), machine.worker.namespace.call(partial(urlopen, ready, timeout=2)) as answer:
            return str(answer.read().decode())
        return ""

    with closing(Container(region, machine, "observe", settings, stdout=writer)) as container:
        soon(lambda: says().startswith("ok; ") and "log is not kept: nobody reads it" in says(), 30)
        assert container.ends_by_sigterm() == 0
    for end in (reader, writer):
        os.close(end)
