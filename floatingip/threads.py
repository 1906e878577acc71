"""
The threads around the deciding one: each does what may block, and posts what it found to the deciding thread's inbox.

All are daemons, so that none can hold up the end; a ThreadPoolExecutor would wait for a hanging call at exit.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from floatingip.errors import HostError
from floatingip.model import Plumbing, PlumbingReport, PlumbingState, ProbeResult, Target
from floatingip.ports import Host, Prober

HOST_CHECK = 1.0
"""Seconds between two checks of the plumbing without any netlink event."""

CLEAN_CHECK = 30.0
"""Seconds between two looks for leftovers on a node that does not carry the address."""

SETTLE_EVENTS = 0.02
"""Seconds left between two checks, so that a burst of netlink events costs one or two of them."""


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
    """What the kernel should be like for one address: ``carried`` wherever the link is, or not even there."""

    plumbing: Plumbing
    carried: bool


@dataclass
class _Kept:
    """One address' wanted state, what was found last, and when a node without it was last seen to have nothing of
    it.
    """

    wanted: Wanted
    report: PlumbingReport | None = None
    clean_at: float = float("-inf")


class HostKeeper:
    """Keeps the kernel as it should be for every address: at once on netlink events, and every second anyway.

    A node without the link, or that must not carry the address, gets the route for its probes instead; that nothing
    else is left there is only looked at when something changed, and now and then.
    """

    def __init__(self, host: Host, reconciled: Callable[[Target, PlumbingReport], None]) -> None:
        self._host = host
        self._reconciled = reconciled
        self._wanted: dict[Target, Wanted] = {}
        self._kept: dict[Target, _Kept] = {}
        self._wake = threading.Event()
        self._ending = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; nothing is touched before ``want``."""
        threading.Thread(target=self._run, name="host", daemon=True).start()
        self._host.watch(self._wake.set)

    def want(self, target: Target, wanted: Wanted | None) -> None:
        """From now on, keep the kernel like this for the target; None leaves it as it is."""
        if wanted is not None and wanted != self._wanted.get(target):
            self._wanted[target] = wanted
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
            for target, wanted in list(self._wanted.items()):
                if not self._ending:
                    self._keep(target, wanted)
            time.sleep(SETTLE_EVENTS)
        for target, kept in self._kept.items():
            self._unroute(target, kept.wanted.plumbing)
        self._ended.set()

    def _keep(self, target: Target, wanted: Wanted) -> None:
        kept = self._kept.get(target)
        if kept is None or kept.wanted != wanted:
            if kept is not None and kept.wanted.plumbing != wanted.plumbing:
                self._clear(kept.wanted.plumbing)
            kept = self._kept[target] = _Kept(wanted)
        report = self._reconcile(kept)
        if report is not None and (report != kept.report or report.repaired or report.removed):
            kept.report = report
            self._reconciled(target, report)

    def _reconcile(self, kept: _Kept) -> PlumbingReport | None:
        """What was found; None when nothing needed a look."""
        plumbing, report = kept.wanted.plumbing, PlumbingReport(PlumbingState.NO_LINK)
        try:
            if kept.wanted.carried:
                report = self._host.plumb(plumbing)
            if report.state is not PlumbingState.NO_LINK:
                if kept.clean_at > float("-inf") or kept.report is None:
                    self._host.unroute_probes(plumbing)
                kept.clean_at = float("-inf")
                return report
            if time.monotonic() - kept.clean_at < CLEAN_CHECK:
                return None
            removed = self._host.unplumb(plumbing)
            self._host.route_probes(plumbing)
            kept.clean_at = time.monotonic()
            return replace(report, removed=removed)
        except HostError as error:
            return replace(report, problem=str(error))

    def _clear(self, plumbing: Plumbing) -> None:
        """Remove what an earlier wanted state put there: the address, or its numbers, are others now."""
        with contextlib.suppress(HostError):  # what is left of it is tried again by whoever wants that address
            self._host.unplumb(plumbing)
            self._host.unroute_probes(plumbing)

    def _unroute(self, target: Target, plumbing: Plumbing) -> None:
        try:
            self._host.unroute_probes(plumbing)
        except HostError as error:
            self._reconciled(target, PlumbingReport(PlumbingState.NO_LINK, problem=str(error)))


class ProbeLoop:
    """Probes at ``interval()`` seconds while it is on; ``probed`` gets each result, in the order of sending."""

    def __init__(self, prober: Prober, interval: Callable[[], float], probed: Callable[[ProbeResult], None]) -> None:
        self._prober = prober
        self._interval = interval
        self._probed = probed
        self._on = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin, switched off."""
        threading.Thread(target=self._run, name="probe", daemon=True).start()

    def switch(self, *, on: bool) -> None:
        """A node that carries the address does not probe: it would only hear itself."""
        if on != self._on.is_set():
            (self._on.set if on else self._on.clear)()

    def stop(self) -> None:
        """Probe no more, for good."""
        self._stopped = True
        self._on.set()

    def _run(self) -> None:
        sent_at = float("-inf")
        while True:
            self._on.wait()
            if self._stopped:
                return
            now = time.monotonic()
            if now >= sent_at + self._interval():
                self._prober.send()
                sent_at = now
            for result in self._prober.collect(sent_at + self._interval()):
                self._probed(result)
