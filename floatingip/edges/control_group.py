"""
How much CPU and memory this container may use, as its control group says.

Outside of a container there are no such files, or they name no limit.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from floatingip.core.errors import HostError
from floatingip.edges import clock

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where a container finds the files of its own control group."""

CPU_HINT = "take that limit away: it is no part of floating-ip.yaml; does a LimitRange of the namespace set one?"

A_COMMAND_TAKES = 120 * 2**20
"""Bytes that must be left for a command: most take some 60 MiB, the doctor 70 and its nft 48, and all more if EC2 has
much to show.
"""

LOADED_AFTER = 5.0
"""Seconds after which a command has taken most of what it takes, so that what is left then tells."""

LOADING_AT_MOST = 30.0
"""Seconds for which a command waits for others that begin."""

LOCK = Path("/proc/self/ns/pid")
"""What commands lock while they begin: the container's PID namespace, which it shares with no other one."""

_CPU_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Files with the microseconds that the container may run for in each period, and the length of a period, in
microseconds: for control groups of version 2, and of version 1."""

_MEMORY_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Files with the bytes that the container may use, that it uses, and of what kinds these are: for the same versions."""


def cpu_limit(groups: Path = CONTROL_GROUPS) -> float | None:
    """How many CPUs this container may use, if that is less than the one CPU that Python can use; None if it is not
    less, or is not known.
    """
    for files in _CPU_FILES:
        with suppress(OSError, ValueError):
            # Version 2 has both numbers in one file, and "max" for no limit; version 1 has -1 for that.
            quota, period = (int(word) for file in files for word in (groups / file).read_text("ascii").split())
            return quota / period if 0 <= quota < period else None
    return None


def slowed(limit: float | None) -> str:
    """A sentence on what such a CPU limit means; empty if there is no limit."""
    if limit is None:
        return ""
    return f"this container may use {limit:.3g} CPUs at most: while it waits for its share it sees no holder die"


def memory_left(groups: Path) -> tuple[int, int] | None:
    """The bytes that this container may still use, and its limit; None if it has no limit, or if that is not known."""
    for limit, usage, kinds in _MEMORY_FILES:
        with suppress(OSError, ValueError, LookupError):
            most, used = (int((groups / file).read_text("ascii")) for file in (limit, usage))
            stat = dict(line.split() for line in (groups / kinds).read_text("ascii").splitlines())
            # The kernel drops its page cache before it kills any process, so that counts as free.
            return max(most - used + int(stat["inactive_file"]) + int(stat["active_file"]), 0), most
    return None


def take_room(groups: Path, lock: Path = LOCK) -> None:
    """Have a person's command begin in this container, after any other one that is about to: each would find the
    room that the others have not taken yet.  Raises HostError where there is none.
    """
    if memory_left(groups) is None:
        return
    file = os.open(lock, os.O_RDONLY)
    try:
        _lock(file)
        check_room(memory_left(groups))
    except HostError:
        os.close(file)
        raise
    done = threading.Timer(LOADED_AFTER, os.close, (file,))
    done.daemon = True
    with suppress(RuntimeError):  # the system allows no more threads: then it is closed at the end
        done.start()


def _lock(file: int) -> None:
    """Have it for this process alone, until it is closed.  Raises HostError where others have it for too long."""
    deadline = clock.now() + LOADING_AT_MOST
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if clock.now() >= deadline:
                raise HostError("other commands are about to begin in this container", "run it again") from error
            time.sleep(0.05)
        except OSError:  # this file system has no locks
            return
        else:
            return


def check_room(memory: tuple[int, int] | None) -> None:
    """Raise HostError if a person's command would take this container over its limit; see `memory_left` for ``memory``.

    Then the kernel would kill the observer, which takes most; or, with control groups of version 2 as kubelet sets them
    up (memory.oom.group), every process in the container.
    """
    if memory is None or memory[0] >= A_COMMAND_TAKES:
        return
    left, most = (each >> 20 for each in memory)
    raise HostError(
        f"{left} MiB are left of the {most} that this container may use, and what one command more takes could end the"
        " observer",
        "run it in another pod, or end another command here, such as `status --watch`; what nobody waits for ends after"
        " an hour",
    )
