"""What the product's containers write: read from the container runtime's log files, with the times in them."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lab.history import History, parse_logfmt
from lab.kubernetes.cluster import OBSERVERS
from lab.kubernetes.real.node import Node

READ_EVERY = 0.05
"""Seconds between two looks into the containers' logs."""


class Logs:
    """`follow` is for a thread of its own, until `closing` is set."""

    def __init__(self, nodes: Mapping[str, Node], history: History, closing: threading.Event) -> None:
        self._nodes = nodes
        self._history = history
        self._closing = closing
        self._read: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def forget(self, node: str) -> None:
        """The disk of that node is empty again: read its logs from the start."""
        with self._lock:
            self._read = {file: offset for file, offset in self._read.items() if file[0] != node}

    def follow(self) -> None:
        """Record what the product's containers write."""
        while not self._closing.wait(READ_EVERY):
            for name, node in self._nodes.items():
                with suppress(OSError):
                    for file in node.path("var/log/pods").glob(f"default_{OBSERVERS}-*/*/*.log"):
                        key = (name, "/".join(file.parts[-3:]))
                        offset = self._read_log(file, self._read.get(key, 0), name)
                        with self._lock:
                            self._read[key] = offset

    def _read_log(self, file: Path, offset: int, node: str) -> int:
        with file.open("rb") as log:
            log.seek(offset)
            content = log.read()
        lines = content[: content.rfind(b"\n") + 1]
        pod, container = file.parts[-3].split("_")[1], file.parts[-2]
        for line in lines.decode(errors="replace").splitlines():
            # The runtime's format: time, stream, whether it is the whole line, and what was written.
            at, _, _, text = [*line.split(" ", 3), "", "", ""][:4]
            event = {"source": "agent", "event": "log", "t": _seconds(at), "pod": pod, "node": node}
            self._history.record({**event, "container": container, "line": text, "fields": parse_logfmt(text)})
        return offset + len(lines)


def _seconds(text: str) -> float:
    """A time of the runtime's log, with nanoseconds, as seconds since 1970."""
    whole, _, rest = text.partition(".")
    fraction = rest.rstrip("Z").split("+")[0]
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
