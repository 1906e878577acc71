"""Show for how long work has gone on and what it waits for: in a live line on a terminal, elsewhere in a line now and
then.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from floatingip.core.wording import printable

TOLD_EVERY = 10.0
"""Seconds without any line after which one says what is waited for, if there is no live line."""

_ERASE = "\r\x1b[K"
"""Erases the live line of a terminal."""


def is_live(stream: TextIO) -> bool:
    """Whether a line can be erased there: it is a terminal, and not a dumb one."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Progress:
    """Shows progress on ``stream``: if that is no terminal, ``every`` so many seconds.  ``now`` is the clock."""

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
