"""Signals to processes, and to those that they have started."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def with_descendants(roots: set[int]) -> set[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while its file is being read.
        with suppress(OSError):
            # The process' name, in parentheses, may contain anything; its parent is the second field after that.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, new = set(roots), list(roots)
    while new:
        fresh = [child for child in children.get(new.pop(), []) if child not in found]
        found.update(fresh)
        new += fresh
    return found


def send(process: int, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended."""
    with suppress(ProcessLookupError):
        os.kill(process, number)
