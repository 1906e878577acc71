"""What the real Kubernetes takes of the machine it gives back, whatever ends it.  As root, outside of a sandbox."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.kubernetes.real import host
from tests.waiting import until

ROOT = Path(__file__).parents[2]
BEGUN_WITHIN = 120.0
GONE_WITHIN = 30.0
MOMENTS = (0.1, 0.5, 1.0, 2.0, 3.5, 5.0, 8.0, 12.0, 20.0, 30.0)
"""Seconds after the start at which it is ended: the sandbox is made, the control plane starts, nodes boot, ..."""


class Lab:
    """`python -m lab run` on the real Kubernetes, as a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "lab", "run", "power-cut", "--kubernetes", "real", "--quiet"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def begun(self) -> list[Path]:
        """Its control groups, as soon as it has written them down."""
        deadline = time.monotonic() + BEGUN_WITHIN
        while time.monotonic() < deadline:
            for file in host.STATE.glob("*.json"):
                with suppress(OSError):  # another lab ends
                    text = file.read_text()
                    if text and json.loads(text)["pid"] == self.process.pid:
                        return [Path(place) for place in json.loads(text)["groups"]]
            assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
            time.sleep(0.02)
        raise AssertionError("it has not begun")

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """One that has just been started."""
    lab = Lab()
    yield lab
    lab.close()
    host.clean_up()


def members(groups: list[Path]) -> set[int]:
    found: set[int] = set()
    for group in groups:
        with suppress(OSError):  # another lab starts, and removes what this one has left
            for procs in group.rglob("cgroup.procs"):
                found |= {int(line) for line in procs.read_text().split()}
    return found


def descendants(process: int) -> set[int]:
    found, new = set[int](), [process]
    while new:
        parent = new.pop()
        for children in Path("/proc").glob(f"{parent}/task/*/children"):
            with suppress(OSError):
                fresh = set(map(int, children.read_text().split())) - found
                found |= fresh
                new += fresh
    return found


def now() -> float:
    """As the kernel counts when a process was started: in ticks since the boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")


def namespaces(processes: set[int]) -> set[str]:
    found = set()
    for process in processes:
        with suppress(OSError):
            found.add(str(Path(f"/proc/{process}/ns/net").readlink()))
    return found


def older(than: float) -> set[int]:
    """
    All processes that ran then.

    The kernel gives a namespace's number to another one when it is gone: what was started later may be of another lab.
    """
    found = {int(place.name) for place in Path("/proc").glob("[0-9]*")}
    return {process for process in found if (host._started(process) or than) < than}


def gone(groups: list[Path]) -> None:
    """Wait until nothing of it is left."""
    until(lambda: not any(group.exists() for group in groups), GONE_WITHIN)


def mounts() -> set[str]:
    """All of this host but those by which podman shows its images, to whatever runs beside these tests."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {line for line in lines if "/containers/storage/" not in line}


def of_lab(lab: Lab) -> set[str]:
    """The namespaces of its own."""
    return namespaces(descendants(lab.process.pid)) - {str(Path("/proc/self/ns/net").readlink())}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing_behind(lab: Lab, moment: float) -> None:
    """No process, mount, namespace or control group, at whatever moment it comes."""
    before = mounts()
    groups = lab.begun()
    time.sleep(moment)
    ours = of_lab(lab)
    struck = now()
    lab.process.send_signal(signal.SIGINT)
    lab.process.wait(GONE_WITHIN)
    gone(groups)
    assert not list(host.STATE.glob(f"{groups[0].name}.json"))
    assert not namespaces(older(struck)) & ours
    assert mounts() <= before


@pytest.mark.parametrize("moment", MOMENTS[::3])
def test_what_a_killed_lab_leaves_the_next_one_removes(lab: Lab, moment: float) -> None:
    """Its processes, mounts and namespaces are gone by then: the kernel sees to that."""
    before = mounts()
    groups = lab.begun()
    time.sleep(moment)
    ours = of_lab(lab)
    struck = now()
    lab.process.kill()
    lab.process.wait()
    until(lambda: not (members(groups) or namespaces(older(struck)) & ours), GONE_WITHIN)
    host.clean_up()
    gone(groups)
    assert not list(host.STATE.glob(f"{groups[0].name}.json"))
    assert mounts() <= before


def test_what_runs_is_not_cleaned_up(lab: Lab) -> None:
    """Another lab at the same time keeps what it has."""
    groups = lab.begun()
    time.sleep(1.0)
    host.clean_up()
    assert all(group.exists() for group in groups)
