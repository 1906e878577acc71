"""
What the agent tells people: log lines in logfmt, one for each decision, to standard output.

A line is ``time=… level=… event=… key=value … msg="…"``: read by eye, by ``grep`` and by every log collector.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,")


class Log:
    """Writes whole lines to one stream, from any thread."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._always: dict[str, object] = {}

    def about(self, **fields: object) -> Log:
        """The same log, with these fields in every line."""
        narrowed = Log(self._stream)
        narrowed._lock = self._lock
        narrowed._always = {**self._always, **fields}
        return narrowed

    def info(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Something happened as it should."""
        self.write("info", event, msg, fields)

    def warning(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Something that the agent copes with, but that somebody should know."""
        self.write("warning", event, msg, fields)

    def error(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Something that only a person can mend."""
        self.write("error", event, msg, fields)

    def write(self, level: str, event: str, msg: str, fields: Mapping[str, object]) -> None:
        """A line at this level."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
        pairs = {
            "time": time,
            "level": level,
            "event": event,
            **self._always,
            **fields,
            **({"msg": msg} if msg else {}),
        }
        line = " ".join(f"{key}={quoted(value)}" for key, value in pairs.items())
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def quoted(value: object) -> str:
    """A logfmt value: bare where nothing in it needs quotes; seconds with milliseconds."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if text and _BARE.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    one_line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)
    return f'"{one_line}"'
