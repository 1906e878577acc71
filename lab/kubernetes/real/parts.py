"""One process of the real Kubernetes, that can be ended, stopped (SIGSTOP), and started again."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lab.kubernetes.cluster import ClusterFailed

PATH = "/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BORN_WITHIN = 5.0
"""Seconds until `nsenter` has started what it was told to."""


class PartFailed(ClusterFailed):
    """A part of Kubernetes did not start, or does not run as it should; the message has its name and last log line."""


class Part:
    """
    The process that `command` starts; nothing runs before `start()`.

    entered: the command is `nsenter`, or ends in it, and the process is its child.
    log: gets what it writes.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], *, entered: bool = False
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._environment = {"PATH": PATH, **environment}
        self._entered = entered
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.alive:
            return
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Only the lab itself acts upon signals from the terminal.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended; it may hang."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, as the lab sees it.  Raises PartFailed when it has ended."""
        deadline = time.monotonic() + _BORN_WITHIN
        while self._process is not None and self._process.poll() is None:
            if not self._entered:
                return self._process.pid
            with suppress(OSError):
                process = self._process.pid
                if children := Path(f"/proc/{process}/task/{process}/children").read_text().split():
                    return int(children[0])
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        raise PartFailed(f"{self.name} does not run: {self.last_words()}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal.  Raises PartFailed when it has ended."""
        os.kill(self.pid, number)

    def hang(self) -> None:
        """Stop it (SIGSTOP) until `resume`."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)
        self.wake()

    def kill(self) -> None:
        """End it at once (SIGKILL).  Idempotent."""
        with suppress(PartFailed, ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, at most `timeout` seconds; return whether it has."""
        self.wake()
        with suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                self._process.wait(timeout)
        return not self.alive

    def wake(self) -> None:
        """Let `nsenter` go on: it stops when its child does, but does not go on when that does."""
        if self._process is not None and self.alive:
            self._process.send_signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The last line of its log that says something."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")
