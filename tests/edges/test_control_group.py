"""What a container finds out of the CPU time and the memory that it is given, by files as control groups of both
versions have them.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from floatingip import cli
from floatingip.core.errors import HostError
from floatingip.edges import control_group
from floatingip.edges.control_group import A_COMMAND_TAKES, cpu_limit, memory_left, take_room

QUOTA, PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"
TWO = ("memory.max", "memory.current", "memory.stat")
ONE = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")
MIB = 2**20


def write(groups: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (groups / name).parent.mkdir(exist_ok=True)
        (groups / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "10000 100000\n"}, 0.1),
        ({"cpu.max": "max 100000\n"}, None),
        ({QUOTA: "50000\n", PERIOD: "100000\n"}, 0.5),
        ({QUOTA: "-1\n", PERIOD: "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "10000\n"}, None),
        ({"cpu.max": "0 0\n"}, None),
        ({QUOTA: "50000\n"}, None),
    ],
)
def test_a_limit_is_told_and_nothing_else(tmp_path: Path, files: Mapping[str, str], limit: float | None) -> None:
    """Where there is no limit the files say so, and outside of a container there are none, or others."""
    write(tmp_path, files)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("microseconds", "limit"), [(100000, None), (99000, 0.99), (400000, None)])
def test_one_cpu_is_all_that_python_uses(tmp_path: Path, microseconds: int, limit: float | None) -> None:
    """One of its threads computes at a time: nobody needs to hear of a limit of one CPU, or more."""
    (tmp_path / "cpu.max").write_text(f"{microseconds} 100000\n")
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize("names", [TWO, ONE])
@pytest.mark.parametrize(
    ("most", "used", "stat", "left"),
    [
        ("400", "300", "anon 250\ninactive_file 30\nactive_file 20\n", (150, 400)),
        ("400", "450", "inactive_file 0\nactive_file 20\n", (0, 400)),
        ("max", "300", "inactive_file 0\nactive_file 0\n", None),
        ("400", "300", "anon 250\n", None),
    ],
    ids=["what it keeps of files can go", "all", "no limit", "another kernel's"],
)
def test_what_is_left_of_its_memory_is_told(
    tmp_path: Path, names: tuple[str, str, str], most: str, used: str, stat: str, left: tuple[int, int] | None
) -> None:
    write(tmp_path, dict(zip(names, (most, used, stat), strict=True)))
    assert memory_left(tmp_path) == left


@pytest.mark.parametrize(
    ("command", "in_a_pod", "left", "is_run"),
    [
        ("history", True, A_COMMAND_TAKES, True),
        ("history", True, A_COMMAND_TAKES - 1, False),
        ("history", False, 0, True),
        ("--version", True, 0, True),
    ],
)
def test_a_command_for_which_there_is_no_room_is_refused_before_the_kernel_ends_the_observer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    *,
    in_a_pod: bool,
    left: int,
    is_run: bool,
) -> None:
    """It says so, and what to do; the containers' own processes and a workstation's are never asked."""
    most, stat = 384 * MIB, "inactive_file 0\nactive_file 0\n"
    write(tmp_path, dict(zip(TWO, (f"{most}", f"{most - left}", stat), strict=True)))
    monkeypatch.setattr(control_group, "CONTROL_GROUPS", tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if in_a_pod:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "not an address")
    with pytest.raises(SystemExit) if command.startswith("-") else nullcontext():
        assert (cli.main([command]) != 6) == is_run
    assert ("MiB are left of the 384 that this container may use" not in capsys.readouterr().err) == is_run


def left(groups: Path, room: int) -> None:
    """So many bytes are left of 384 MiB."""
    stat = "inactive_file 0\nactive_file 0\n"
    write(groups, dict(zip(TWO, (f"{384 * MIB}", f"{384 * MIB - room}", stat), strict=True)))


def test_a_command_waits_until_the_one_before_it_has_taken_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that begin in the same second each would find the room that the others have not taken yet."""
    monkeypatch.setattr(control_group, "LOADED_AFTER", 1.0)
    lock = tmp_path / "lock"
    lock.touch()
    left(tmp_path, A_COMMAND_TAKES)
    with ThreadPoolExecutor() as others:
        take_room(tmp_path, lock)
        second = others.submit(take_room, tmp_path, lock)
        with pytest.raises(TimeoutError):
            second.result(0.2)
        left(tmp_path, A_COMMAND_TAKES - 1)
        with pytest.raises(HostError, match="119 MiB are left of the 384"):
            second.result(60)
        # Nor has the one that was refused kept the lock.
        left(tmp_path, A_COMMAND_TAKES)
        others.submit(take_room, tmp_path, lock).result(60)


def test_a_command_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where others begin one after the other, all the time."""
    monkeypatch.setattr(control_group, "LOADING_AT_MOST", 0.1)
    lock = tmp_path / "lock"
    lock.touch()
    left(tmp_path, 2 * A_COMMAND_TAKES)
    take_room(tmp_path, lock)
    with pytest.raises(HostError, match="other commands are about to begin in this container"):
        take_room(tmp_path, lock)


def test_where_there_is_no_limit_nobody_waits(tmp_path: Path) -> None:
    """Nothing is locked there."""
    take_room(tmp_path, tmp_path / "missing")


def test_the_file_that_is_locked_is_there() -> None:
    """Wherever /proc is, whatever the file system of the image allows."""
    assert control_group.LOCK.is_file()
