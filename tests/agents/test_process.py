"""The product as PID 1 of a container: SIGTERM ends it within a second, wherever it is; and what it says meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.ec2.imds import Imds
from lab.network.netns import Namespace
from tests.agents.world import FLOATING_IP, World, wait

ROOT = Path(__file__).resolve().parents[2]
IMDS = ("169.254.169.254", 80)
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


class Container:
    """`floatingip COMMAND` in a PID namespace of its own, on the first worker."""

    def __init__(self, command: str, settings: Path) -> None:
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        argv += [sys.executable, "-m", "floatingip", command, "--settings", str(settings)]
        self._output = settings.with_suffix(".log").open("w+", encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            "FLOATING_IP": str(FLOATING_IP),
            "AWS_ENDPOINT_URL_EC2": "http://10.0.0.1:4566",
        }
        self._unshare = Namespace("worker-a").popen(
            argv, cwd=ROOT, env=environment, stdout=self._output, stderr=subprocess.STDOUT
        )

    def close(self) -> None:
        """Kill it."""
        self._unshare.kill()
        self._unshare.wait()
        self._output.close()

    @property
    def output(self) -> str:
        """All that it has said."""
        return Path(self._output.name).read_text(encoding="utf-8")

    def says(self, text: str, within: float = 10) -> None:
        """Wait until it has said this."""
        wait(lambda: text in self.output, within, lambda: f"{text!r} in {self.output}")

    def catches_sigterm(self) -> None:
        """Wait until PID 1 has its first handler, at the beginning of its imports."""

        def caught() -> bool:
            pid = self._pid()
            if pid is None:
                return False
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
            return bool(int(mask, 16) & 1 << signal.SIGTERM - 1)

        wait(caught, 10, "a handler of SIGTERM")

    def ends_by_sigterm(self) -> int:
        """Send SIGTERM; the exit code, which must come within a second, or a little more on a busy machine."""
        pid = self._pid()
        assert pid is not None, self.output
        os.kill(pid, signal.SIGTERM)
        return self._unshare.wait(timeout=2)

    def exit_code(self, within: float) -> int:
        """Wait until it ends by itself."""
        return self._unshare.wait(timeout=within)

    def _pid(self) -> int | None:
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text(encoding="utf-8")
        return int(children) if children.strip() else None


Run = Callable[[str], Container]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """`run("attach")` starts a container; all are gone at the end."""
    with ExitStack() as resources:

        def run(command: str) -> Container:
            settings = tmp_path / f"{command}.yaml"
            settings.write_text("port: 20998\n")
            container = Container(command, settings)
            resources.callback(container.close)
            return container

        yield run


@pytest.fixture
def hanging_imds() -> Iterator[None]:
    """Something listens at the address of IMDS, and never answers."""
    namespace = Namespace("worker-a")
    namespace.ip(f"address add {IMDS[0]}/32 dev lo")
    listener = namespace.listen(*IMDS)
    yield
    listener.close()
    namespace.ip(f"address del {IMDS[0]}/32 dev lo")


@pytest.fixture
def world() -> Iterator[World]:
    """An endpoint, and the first worker's IMDS."""
    namespace = Namespace("worker-a")
    namespace.ip(f"address add {IMDS[0]}/32 dev lo")
    try:
        with World(workers=1) as world, namespace.listen(*IMDS) as listener:
            world.ec2._callers[world.ec2.credentials(world.machines[0].id)["AccessKeyId"]] = world.machines[0].id
            imds = Imds(listener, world.machines[0].instance, world.ec2)
            yield world
            world.ec2.faults.clear()
            imds.stop()
    finally:
        namespace.ip(f"address del {IMDS[0]}/32 dev lo")


BOTH = pytest.mark.parametrize("command", ["attach", "observe"])


@BOTH
def test_sigterm_while_importing_ends_pid_1(command: str, run: Run) -> None:
    """As soon as a handler can be there, long before boto3 is loaded."""
    container = run(command)
    container.catches_sigterm()
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM
    assert "Traceback" not in container.output
    assert "event=node" not in container.output


def test_sigterm_between_two_questions_to_a_missing_imds_ends_pid_1(run: Run) -> None:
    """There is no route to IMDS, which it says, and then sleeps."""
    container = run("observe")
    container.says("event=imds")
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM
    assert "Traceback" not in container.output


@BOTH
def test_sigterm_during_a_question_to_a_hanging_imds_ends_pid_1(command: str, run: Run, hanging_imds: None) -> None:
    """It waits for an answer that never comes."""
    container = run(command)
    container.says("event=settings")
    time.sleep(1)  # the imports' last part, after which nothing is said before IMDS has answered
    assert container.ends_by_sigterm() == ENDED_BY_SIGTERM
    assert "Traceback" not in container.output


@pytest.mark.parametrize(("command", "code"), [("attach", ENDED_BY_SIGTERM), ("observe", 0)])
def test_sigterm_while_ec2_hangs_ends_pid_1(command: str, code: int, run: Run, world: World) -> None:
    """In the loop: the hanging call does not hold up the end."""
    fault = world.ec2.faults.hang()
    container = run(command)
    container.says("event=node")
    wait(lambda: fault.hits > 0, 5, "a question that hangs")
    assert container.ends_by_sigterm() == code
    assert "Traceback" not in container.output


def test_a_denied_attach_exits_with_4_and_names_the_action(run: Run, world: World) -> None:
    """Through the real command line, to the container's log."""
    world.ec2.faults.deny({"CreateNetworkInterface"})
    container = run("attach")
    assert container.exit_code(within=15) == 4
    told = [line for line in container.output.splitlines() if line.startswith("floatingip attach: ")]
    # What the doctor finds comes behind it.
    assert told[0].startswith("floatingip attach: IAM denies ec2:CreateNetworkInterface; allow ")
    assert all(line.startswith("floatingip attach: doctor: fail") for line in told[1:])
    assert "Traceback" not in container.output


def test_attach_to_a_foreign_eni_exits_with_5_and_names_it(run: Run, world: World) -> None:
    """Nothing was touched, and what to do is said."""
    eni = world.lab.create_network_interface(SubnetId=world.ec2.subnet_id, PrivateIpAddress=str(FLOATING_IP))
    container = run("attach")
    assert container.exit_code(within=15) == 5
    told = next(line for line in container.output.splitlines() if line.startswith("floatingip attach: "))
    assert eni["NetworkInterface"]["NetworkInterfaceId"] in told
    assert world.writes() == []
