"""Show how long work goes on and what it waits for: on a terminal by a live line, elsewhere by a line now and then."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from floatingip.core.wording import printable

TOLD_EVERY = 10.0
"""Seconds without any line after which one says what is waited for, where that cannot be shown all the time."""

_ERASE = "\r\x1b[K"
"""Takes the live line off a terminal."""


def is_live(stream: TextIO) -> bool:
    """Whether what is there can be taken off again: it is a terminal, and not one that only types."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """Shows progress on ``stream``, ``every`` so many seconds where that is no terminal; ``now`` is the clock."""

    def __init__(
        self, stream: TextIO = sys.stdout, now: Callable[[], float] = time.monotonic, every: float = TOLD_EVERY
    ) -> None:
        self._stream = stream
        self._now = now
        self._every = every
        self._is_live = is_live(stream)
        self._is_shown = False
        self._told_at = now()

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.close()
        self._told_at = self._now()
        self._write(f"{printable(line)}\n")

    def wait(self, text: str) -> None:
        """Show what is waited for now."""
        if self._is_live:
            # Cut to the width: a line that wraps could not be erased.
            self._write(_ERASE + printable(text)[: shutil.get_terminal_size().columns - 1])
            self._is_shown = True
        elif self._now() - self._told_at >= self._every:
            self.say(text)

    def close(self) -> None:
        """Erase the live line: nothing is waited for any more."""
        if self._is_shown:
            self._write(_ERASE)
            self._is_shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
