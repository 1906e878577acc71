"""
Where the log goes: a thread of this module writes it, so that nobody who tells something ever waits for a reader.

A pipe that nobody reads is full after 64 kB, as on a node whose container runtime has died: then whoever writes waits
for ever, and the thread that decides would stand still in the midst of a takeover.  So lines wait here; if too many
wait, the oldest are lost.  A full disk ends nothing either, nor a reader that has gone: what is refused is tried again.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque

from floatingip.edges import background, clock

LINES_AT_MOST = 2000
"""Lines that wait, at most: half a megabyte."""

UNREAD_AFTER = 5.0
"""Seconds for which a line must have waited for a reader until there seems to be none."""

AGAIN_AFTER = 2.0
"""Seconds until a line that was refused is written again."""


class Outlet:
    """The stream of a `Log`, behind which lines wait until they are written to a ``file``, which is a descriptor."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._writing_since: float | None = None
        self._refused = ""
        self.lost = 0
        background.start("log", self._run)

    def write(self, text: str) -> None:
        """Have it written soon; never waits."""
        with self._changed:
            if len(self._lines) >= LINES_AT_MOST:
                self._lines.popleft()
                self.lost += 1
            self._lines.append(text.encode(errors="backslashreplace"))
            self._changed.notify_all()

    def flush(self) -> None:
        """Nothing waits that could be hurried."""

    def trouble(self) -> str:
        """Why nobody sees what is written; empty while somebody does.  How many lines that cost is in ``lost``."""
        with self._changed:
            since, refused = self._writing_since, self._refused
        if since is not None and clock.now() - since >= UNREAD_AFTER:
            return "nobody reads it"
        return refused

    def end(self, within: float) -> None:
        """Wait until all is written: so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and self._writing_since is None, within)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines.popleft()
                self._writing_since = clock.now()
            left, refused = self._write(line)
            with self._changed:
                self._writing_since, self._refused = None, refused
                if left:
                    self._lines.appendleft(left)
                self._changed.notify_all()
            if refused:
                time.sleep(AGAIN_AFTER)

    def _write(self, line: bytes) -> tuple[bytes, str]:
        """What of the line could not be written, and why; both are empty if all was."""
        while line:
            try:
                line = line[os.write(self._file, line) :]
            except BlockingIOError:  # whoever started this has given it a file that does not wait
                select.select((), (self._file,), ())
            except OSError as error:
                return line, os.strerror(error.errno or 0)
        return b"", ""
