"""The sandbox is transparent to the command, from its exit code to its signals, and leaves nothing of it behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SANDBOX = (sys.executable, "-m", "lab.sandbox")


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell cannot trap what was ignored when it began, as SIGINT is in whatever a script runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def sandboxed(script: str) -> Iterator[subprocess.Popen[str]]:
    """A shell script that runs in a sandbox of its own, and has printed "ready"."""
    with subprocess.Popen([*SANDBOX, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)])
def test_exit_code_is_the_commands(script: str, code: int) -> None:
    """A command that a signal ended is reported as a shell does it."""
    assert subprocess.run([*SANDBOX, "sh", "-c", script], check=False).returncode == code


@pytest.mark.parametrize("uptime", [5, 300_000_000])
def test_the_machine_can_seem_to_have_booted_at_any_time(uptime: int) -> None:
    """All that counts from the boot does so in the sandbox: the clock of timers, and that of the uptime."""
    script = "import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))"
    command = [*SANDBOX, "--uptime", str(uptime), sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(uptime - 1 < float(clock) < uptime + 60 for clock in done.stdout.split())


LACKING = "import lab.sandbox as sandbox; sandbox.PACKAGES['no-such-tool'] = 'some-package'; sandbox.enter(['true'])"
FORBIDDING = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        pytest.param([*SANDBOX, "--uptime", "true"], 1, "usage: .*", id="a number that was forgotten"),
        pytest.param(
            [*SANDBOX, "no-such-command"], 1, "no-such-command: No such file or directory", id="a mistyped command"
        ),
        pytest.param(
            [sys.executable, "-c", LACKING],
            1,
            ".*no-such-tool.*apt-get install some-package.*",
            id="a missing tool and its package",
        ),
        pytest.param(
            [*SANDBOX, "sh", "-c", FORBIDDING, "sh", *SANDBOX, "true"],
            1,
            ".*needs user namespaces, which this system forbids.*",
            id="a system that forbids user namespaces",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(command: list[str], code: int, said: str) -> None:
    """No traceback, and before anything has begun."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert re.fullmatch(f"{said}\n", done.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    """Whoever ends the sandbox ends the command in its own way, and reads its exit code."""
    handler = f"trap 'exit 42' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.05; done"
    with sandboxed(handler) as process:
        process.send_signal(number)
        assert process.wait(5) == 42


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2])
def test_no_signal_is_lost_during_the_start(delay: float) -> None:
    """Whenever SIGTERM comes, the sandbox ends, and does not run the command to its end."""
    with subprocess.Popen([*SANDBOX, "sleep", "30"]) as process:
        time.sleep(delay)
        process.terminate()
        assert process.wait(5) != 0


def test_nothing_survives_a_killed_sandbox() -> None:
    """Even SIGKILL, which cannot be passed on, takes everything inside along: the pipe's last writer is gone."""
    with sandboxed("echo ready; sleep 60 & wait") as process:
        process.kill()
        assert process.stdout is not None
        started = time.monotonic()
        assert process.stdout.read() == ""
        assert time.monotonic() - started < 2


def test_network_is_the_sandboxs_own() -> None:
    """One interface, up; no way out."""
    done = subprocess.run([*SANDBOX, "ip", "-brief", "link"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["lo"]
