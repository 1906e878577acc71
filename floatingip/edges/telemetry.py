"""
The log: one line for each decision and event, on standard output.

A line is ``time=… level=… event=… key=value … msg="…"``, for eyes, ``grep`` and every log collector.  Or, by the
setting `log`, one JSON object with the same keys, and numbers as numbers.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Protocol

from floatingip.core.settings import JSON, LOGFMT
from floatingip.edges.utc import utc

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+,")


class Stream(Protocol):
    """What lines are written to."""

    def write(self, text: str, /) -> object:
        """Take a whole line."""

    def flush(self) -> None:
        """Have what was taken written."""


class Log:
    """Writes whole lines to one stream; may be used from any thread.  ``style`` is a value of the setting `log`."""

    def __init__(self, stream: Stream = sys.stdout, style: str = LOGFMT) -> None:
        self._stream = stream
        self._style = style
        self._lock = threading.Lock()
        self._always: dict[str, object] = {}

    def about(self, **fields: object) -> Log:
        """The same log, with these fields in every line."""
        narrowed = Log(self._stream, self._style)
        narrowed._lock = self._lock
        narrowed._always = {**self._always, **fields}
        return narrowed

    def info(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Log something that happened as it should."""
        self.write("info", event, msg, fields)

    def warning(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Log something that the agent copes with, but that somebody should know."""
        self.write("warning", event, msg, fields)

    def error(self, event: str, msg: str = "", /, **fields: object) -> None:
        """Log something that only a person can mend."""
        self.write("error", event, msg, fields)

    def write(self, level: str, event: str, msg: str, fields: Mapping[str, object]) -> None:
        """Write a line at this level."""
        pairs = {
            "time": utc(time.time(), "milliseconds"),
            "level": level,
            "event": event,
            **self._always,
            **fields,
            **({"msg": msg} if msg else {}),
        }
        line = _LINES[self._style](pairs)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def quoted(value: object) -> str:
    """A logfmt value: in quotes only if it needs them; floats (seconds) with three digits."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if text and _BARE.issuperset(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    one_line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)
    return f'"{one_line}"'


def _logfmt(pairs: Mapping[str, object]) -> str:
    return " ".join(f"{key}={quoted(value)}" for key, value in pairs.items())


def _json(pairs: Mapping[str, object]) -> str:
    return json.dumps({key: _plain(value) for key, value in pairs.items()})


def _plain(value: object) -> object:
    """A JSON value: numbers stay numbers, floats (seconds) with three digits; anything else becomes text."""
    if isinstance(value, float):
        return round(value, 3) if isfinite(value) else str(value)
    return value if isinstance(value, int) or value is None else str(value)


_LINES: Mapping[str, Callable[[Mapping[str, object]], str]] = {LOGFMT: _logfmt, JSON: _json}
"""How a line is written in each style."""
