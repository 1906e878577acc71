"""What this machine must have for the real Kubernetes, and its control groups where they are of version 2."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import sandbox
from lab.kubernetes.real import host
from lab.kubernetes.real.host import Groups
from lab.kubernetes.real.node import BOOT
from tests.waiting import until

WITHIN = 5.0
OF_ROOT = pytest.mark.skipif(not host.is_given(), reason="control groups are root's")


def test_only_root_can_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says so, and why."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"^The real Kubernetes runs as root only: .*$"):
        host.require()


def test_what_is_missing_is_named_with_the_packages_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in one line."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(sandbox, "SBIN", ())
    monkeypatch.setattr(host, "FILES", {"/nonexistent/portmap": "containernetworking-plugins"})
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit) as refused:
        host.require()
    [line] = str(refused.value).splitlines()
    for word in ("runc", "/nonexistent/portmap", "apt-get install", *host.PACKAGES.values()):
        assert word in line


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Groups]:
    """A lab's, in a hierarchy of version 2 with the controllers that version 1's have left."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", tmp_path], check=True)
    group = tmp_path / "floatingip-lab-test"
    try:
        host._hand_on(tmp_path)
        group.mkdir()
        host._hand_on(group)
        yield Groups((str(group),), {"/sys/fs/cgroup": ("cgroup2", "")}, unified=True)
    finally:
        host._remove(group)
        subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def machine(groups: Groups, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A machine `worker-a` on which nothing runs but its PID 1: the id of that, as the lab sees it."""
    spec = {
        "root": str(tmp_path_factory.mktemp("root")),
        "groups": [str(group) for group in groups.of_machine("worker-a")],
        "cgroup": groups.mounts,
        "netns": "/proc/self/ns/net",
        "name": "worker-a",
        "bind": {},
        "files": {},
        "init": ["/usr/bin/sleep", "60"],
    }
    command = [sys.executable, "-I", "-S", str(BOOT), json.dumps(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supply:
        assert supply.stdout
        yield int(supply.stdout.readline())
        supply.kill()


@OF_ROOT
def test_a_group_with_processes_cannot_be_the_lab_s(groups: Groups) -> None:
    """As in a container, of which version 2's top is not the machine's: one line says so."""
    busy = Path(groups.places[0], "busy")
    busy.mkdir()
    with subprocess.Popen(["sleep", "60"]) as process:
        (busy / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(SystemExit, match=rf"^The real Kubernetes needs {busy} to hand on .*$"):
            host._hand_on(busy)
        process.kill()


@OF_ROOT
def test_in_version_2_a_machine_hands_on_its_controllers_and_can_hang(groups: Groups, machine: int) -> None:
    """What runs is in a leaf, since only a group without processes hands anything on; all of it stops, and goes on."""
    [group] = groups.of_machine("worker-a")
    assert str(machine) in (group / "system" / "cgroup.procs").read_text().split()
    assert not (group / "cgroup.procs").read_text()
    assert (group / "cgroup.subtree_control").read_text() == (group / "cgroup.controllers").read_text()
    for frozen in (True, False):
        groups.freeze("worker-a", frozen=frozen)
        said = f"frozen {frozen:d}"
        until(lambda said=said: said in (group / "cgroup.events").read_text().splitlines(), WITHIN)  # type: ignore[misc]
