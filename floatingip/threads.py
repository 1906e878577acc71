"""
The threads around the deciding one: each does what may block, and posts what it found to the deciding thread's inbox.

All are daemons, so that none can hold up the end; a ThreadPoolExecutor would wait for a hanging call at exit.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue

from floatingip.errors import HostError
from floatingip.model import Plumbing, PlumbingReport, PlumbingState, ProbeResult
from floatingip.ports import Host, Prober

HOST_CHECK = 1.0
"""Seconds between two checks of the plumbing without any netlink event."""

SETTLE_EVENTS = 0.02
"""Seconds left between two checks, so that a burst of netlink events costs one or two of them."""

Post = Callable[[Callable[[], None]], None]
"""Hands something to do to the deciding thread."""


class Lane:
    """Does one job at a time."""

    def __init__(self, name: str) -> None:
        self.busy = False
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job; only while the lane is not busy.  What the job posts at its end must call ``done``."""
        self.busy = True
        self._jobs.put(job)

    def done(self) -> None:
        """The job has ended: called on the deciding thread."""
        self.busy = False

    def _run(self) -> None:
        while True:
            self._jobs.get()()


class Backoff:
    """Growing pauses, the first of ``first`` seconds, with jitter: agents that failed together do not retry
    together.
    """

    def __init__(self, first: float) -> None:
        self._first = first
        self._failures = 0

    def reset(self) -> None:
        """The next failure is the first one."""
        self._failures = 0

    def pause(self, longest: float) -> float:
        """Seconds to wait after one more failure."""
        pause = min(longest, self._first * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause * random.uniform(0.8, 1.2)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the kernel should be like: ``carried`` wherever the link is, or not even there."""

    plumbing: Plumbing
    carried: bool


class HostKeeper:
    """Keeps the kernel as it should be: at once on netlink events, and every second anyway.

    A node without the link, or that must not carry the address, gets the route for its probes instead.
    """

    def __init__(self, host: Host, reconciled: Callable[[PlumbingReport], None]) -> None:
        self._host = host
        self._reconciled = reconciled
        self._wanted: Wanted | None = None
        self._wake = threading.Event()
        self._ending = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; nothing is touched before ``want``."""
        threading.Thread(target=self._run, name="host", daemon=True).start()
        self._host.watch(self._wake.set)

    def want(self, wanted: Wanted | None) -> None:
        """From now on, keep the kernel like this; None leaves it alone."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._wake.set()

    def end(self, within: float) -> None:
        """Stop keeping, and leave no probe route behind; a holder's plumbing stays, and goes on serving."""
        self._ending = True
        self._wake.set()
        self._ended.wait(within)

    def _run(self) -> None:
        while not self._ending:
            self._wake.wait(HOST_CHECK)
            self._wake.clear()
            if self._wanted is not None and not self._ending:
                self._reconciled(self._reconcile(self._wanted))
                time.sleep(SETTLE_EVENTS)
        if self._wanted is not None:
            self._unroute(self._wanted.plumbing)
        self._ended.set()

    def _reconcile(self, wanted: Wanted) -> PlumbingReport:
        report = PlumbingReport(PlumbingState.NO_LINK)
        try:
            if wanted.carried:
                report = self._host.plumb(wanted.plumbing)
            if report.state is not PlumbingState.NO_LINK:
                self._host.unroute_probes(wanted.plumbing)
                return report
            removed = self._host.unplumb(wanted.plumbing)
            self._host.route_probes(wanted.plumbing)
            return replace(report, removed=removed)
        except HostError as error:
            return replace(report, problem=str(error))

    def _unroute(self, plumbing: Plumbing) -> None:
        try:
            self._host.unroute_probes(plumbing)
        except HostError as error:
            self._reconciled(PlumbingReport(PlumbingState.NO_LINK, problem=str(error)))


class ProbeLoop:
    """Probes at ``interval()`` seconds while it is on; ``probed`` gets each result, in the order of sending."""

    def __init__(self, prober: Prober, interval: Callable[[], float], probed: Callable[[ProbeResult], None]) -> None:
        self._prober = prober
        self._interval = interval
        self._probed = probed
        self._on = threading.Event()

    def start(self) -> None:
        """Begin, switched off."""
        threading.Thread(target=self._run, name="probe", daemon=True).start()

    def switch(self, *, on: bool) -> None:
        """A node that carries the address does not probe: it would only hear itself."""
        (self._on.set if on else self._on.clear)()

    def _run(self) -> None:
        sent_at = float("-inf")
        while True:
            self._on.wait()
            now = time.monotonic()
            if now >= sent_at + self._interval():
                self._prober.send()
                sent_at = now
            for result in self._prober.collect(sent_at + self._interval()):
                self._probed(result)
