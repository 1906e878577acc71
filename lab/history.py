"""
The record of a run: what happened when, one JSON object a line, from every part of the lab.

An event is a dict with `t` (Unix time in seconds), `source` (client, ec2, agent, kubelet, nemesis, lab) and `event`;
the other keys depend on these two.  The checker, the live view and the report read nothing else.
"""

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Event = dict[str, Any]

_PAIR = re.compile(r'([A-Za-z_][\w.\-]*)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def parse_logfmt(line: str) -> dict[str, str]:
    """
    The `key=value` pairs of a logfmt line; a value in double quotes may contain spaces and backslash escapes.

    Words without `=` are skipped, so a line that is not logfmt (part of a traceback, say) gives few pairs or none.
    """
    return {
        key: plain if plain or not quoted else _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), quoted)
        for key, quoted, plain in _PAIR.findall(line)
    }


class History:
    """The events of one run, in memory and (given a path) in a file; any thread may record."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._by_source: dict[str, list[Event]] = {}
        self._subscribers: list[Callable[[Event], None]] = []
        self._file = path.open("w", encoding="utf-8", buffering=1) if path else None

    def record(self, event: Event) -> None:
        """Add an event; `t` is now unless the event has one.  Subscribers are called in the recording thread."""
        event = {"t": time.time(), **event}
        line = json.dumps(event, default=str)
        with self._lock:
            self._events.append(event)
            self._by_source.setdefault(event["source"], []).append(event)
            if self._file:
                self._file.write(line + "\n")
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber(event)

    def subscribe(self, subscriber: Callable[[Event], None]) -> None:
        """Call this for every event from now on; it must be quick and must not raise."""
        with self._lock:
            self._subscribers.append(subscriber)

    def events(self, source: str | None = None) -> list[Event]:
        """All events so far, in the order of recording (not of `t`); with `source`, only those of that source, which is
        quicker in a long run.
        """
        with self._lock:
            return list(self._events if source is None else self._by_source.get(source, []))

    def __len__(self) -> int:
        """How many events there are so far."""
        with self._lock:
            return len(self._events)

    def close(self) -> None:
        """Close the file; later events stay in memory only."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
