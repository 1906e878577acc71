"""
The threads around the deciding one: each does what may block, and posts what it found to the deciding thread's inbox.

All are daemons, so that none can hold up the end; a ThreadPoolExecutor would wait for a hanging call at exit.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from floatingip.core.errors import HostError, MetadataError
from floatingip.core.model import (
    Address,
    Extent,
    Notice,
    OwnPod,
    Plumbing,
    PlumbingReport,
    PlumbingState,
    ProbeOutcome,
    ProbeResult,
    Target,
)
from floatingip.core.ports import Host, Metadata, Orders, Prober
from floatingip.edges import background

HOST_CHECK = 15.0
"""Seconds after which the next address' plumbing is checked without any event: at each one, of netlink or nft, all of
them are, so this is for what events do not tell.  A check costs 1 ms, and nft 5 ms of another thread.
"""

HOST_RETRY = 1.0
"""Seconds until what could not be repaired is tried again."""

ANNOUNCED_FOR = 5.0
"""Seconds for which an address that came is announced; MetalLB does it as long."""

ANNOUNCE_EVERY = 0.2
"""Seconds between two announcements: EC2 moves the address a moment after it accepted the call, and drops what is
announced too early.
"""

SETTLE_EVENTS = 0.02
"""Seconds left between two checks, so that a burst of netlink events costs one or two of them."""

STORM_SHARE = 0.1
"""The share of its time for which the keeper works on events that do not end."""

STORM_BURST = 1.0
"""Seconds of work on events in a row until that share counts: a move is a burst of them, and must not be delayed."""

METADATA_EVERY = 1.0
"""Seconds between two questions to IMDS whether the address is still here."""

NOTICE_EVERY = 5.0
"""Seconds between two questions to IMDS for notices; the shortest of them, spot's, comes two minutes ahead."""

POD_EVERY, POD_IN_DOUBT, POD_AWAITED = 2.0, 0.5, 0.25
"""Seconds between two questions to the API server about the own pod: in peace, while an address is in doubt, and when
the next answer decides something."""

METADATA_CALM = 12.0
"""Seconds without an error after which IMDS counts as well: it was asked for notices twice."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the kernel should be like for one address: so much of the plumbing, wherever the link is."""

    plumbing: Plumbing
    extent: Extent


@dataclass
class _Kept:
    """One address' wanted state, what was found last, and whether there may be a route for its probes."""

    wanted: Wanted
    report: PlumbingReport | None = None
    routed: bool = True
    announced_until: float = float("-inf")


class _Allowance:
    """How long to rest after work: hardly at all after a burst of it, for most of the time in a storm."""

    def __init__(self) -> None:
        self._left = STORM_BURST
        self._at = time.monotonic()

    def rest(self, worked: float) -> float:
        """Seconds to rest after so many of work."""
        now = time.monotonic()
        self._left = min(STORM_BURST, self._left + (now - self._at) * STORM_SHARE) - worked
        self._at = now
        return min(HOST_RETRY, max(SETTLE_EVENTS, -self._left / STORM_SHARE))


class HostKeeper:
    """Keeps the kernel as it should be for every address: at once on netlink events, and now and then anyway.

    A node that does not carry the address gets the route for its probes, and nothing else is left where there is no
    link.  What this node itself decides never waits for a storm of events.
    """

    def __init__(self, host: Host, reconciled: Callable[[Target, PlumbingReport], None]) -> None:
        self._host = host
        self._reconciled = reconciled
        self._wanted: dict[Target, Wanted] = {}
        self._kept: dict[Target, _Kept] = {}
        self._announce_anew: set[Target] = set()
        self._checked: list[Target] = []
        self._wake = threading.Event()
        self._ordered = threading.Event()
        self._allowance = _Allowance()
        self._ending = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; nothing is touched before ``want``."""
        background.start("host", self._run)
        self._host.watch(self._wake.set)

    def want(self, target: Target, wanted: Wanted | None) -> None:
        """From now on, keep the kernel like this for the target; None leaves it as it is."""
        if wanted is not None and wanted != self._wanted.get(target):
            self._wanted[target] = wanted
            self._order()

    def announce(self, target: Target) -> None:
        """Tell the neighbours for some seconds which MAC the address has now, if it is here."""
        self._announce_anew.add(target)
        self._order()

    def end(self, within: float) -> None:
        """Stop keeping, and leave no probe route behind; a holder's plumbing stays, and goes on serving."""
        self._ending = True
        self._order()
        self._ended.wait(within)

    def _order(self) -> None:
        self._wake.set()
        self._ordered.set()

    def _run(self) -> None:
        check_at = announce_at = time.monotonic()
        while not self._ending:
            now = time.monotonic()
            announcing = self._announce_anew or any(kept.announced_until > now for kept in self._kept.values())
            due = min(check_at, announce_at) if announcing else check_at
            self._wake.wait(max(0.0, due - now))
            # Cleared only when it was seen: an event that comes just after the wait was over is for the next round.
            self._ordered.clear()
            changed = self._wake.is_set()
            if changed:
                self._wake.clear()
            began_at = time.monotonic()
            if changed or time.monotonic() >= check_at:
                for target, wanted in self._due(everything=changed):
                    if not self._ending:
                        self._keep(target, wanted)
                troubled = any(kept.report is not None and kept.report.problem for kept in self._kept.values())
                check_at = time.monotonic() + (HOST_RETRY if troubled else HOST_CHECK)
            if time.monotonic() >= announce_at:
                announce_at = time.monotonic() + ANNOUNCE_EVERY
                self._announce()
            rest = self._allowance.rest(time.monotonic() - began_at)
            time.sleep(SETTLE_EVENTS)
            self._ordered.wait(rest - SETTLE_EVENTS)
        for target, kept in self._kept.items():
            self._unroute(target, kept.wanted.plumbing)
        self._ended.set()

    def _due(self, *, everything: bool) -> list[tuple[Target, Wanted]]:
        """All, those first that changed; or the next one, with those that have a problem."""
        wanted = list(self._wanted.items())
        if everything:
            return sorted(wanted, key=lambda item: item[0] in self._kept and self._kept[item[0]].wanted == item[1])
        if not self._checked:
            self._checked = [target for target, _ in wanted]
        following = self._checked.pop(0) if self._checked else None
        kept = self._kept
        return [(t, w) for t, w in wanted if t == following or (t in kept and (r := kept[t].report) and r.problem)]

    def _announce(self) -> None:
        now = time.monotonic()
        while self._announce_anew:
            kept = self._kept.get(self._announce_anew.pop())
            if kept is not None:
                kept.announced_until = now + ANNOUNCED_FOR
        for kept in self._kept.values():
            if now < kept.announced_until and kept.report is not None and kept.report.carries:
                self._host.announce(kept.wanted.plumbing)

    def _keep(self, target: Target, wanted: Wanted) -> None:
        kept = self._kept.get(target)
        if kept is None or kept.wanted != wanted:
            if kept is not None and kept.wanted.plumbing != wanted.plumbing:
                self._clear(kept.wanted.plumbing)
            kept = self._kept[target] = _Kept(wanted)
        report = self._reconcile(kept)
        if report != kept.report or report.repaired or report.removed:
            kept.report = report
            if report.carries and {"address", "link-up"}.intersection(report.repaired):
                self._announce_anew.add(target)
            self._reconciled(target, report)

    def _reconcile(self, kept: _Kept) -> PlumbingReport:
        """What was found."""
        plumbing, extent = kept.wanted.plumbing, kept.wanted.extent
        report = PlumbingReport(PlumbingState.NO_LINK, extent=extent)
        try:
            if extent is not Extent.NOTHING:
                report = self._host.plumb(plumbing, extent)
            if report.carries:
                if kept.routed:
                    self._host.unroute_probes(plumbing)
                kept.routed = False
                return report
            kept.routed = True
            if report.state is PlumbingState.NO_LINK:
                report = self._unplumb(plumbing, report)
            self._host.route_probes(plumbing)
        except HostError as error:
            report = replace(report, problem=report.problem or str(error))
        return report if report.carries else self._see(plumbing, report)

    def _see(self, plumbing: Plumbing, report: PlumbingReport) -> PlumbingReport:
        """Whether its probes would leave this node, however well they could be routed."""
        try:
            return replace(report, blind=self._host.blind(plumbing))
        except HostError as error:
            return replace(report, problem=report.problem or str(error))

    def _unplumb(self, plumbing: Plumbing, report: PlumbingReport) -> PlumbingReport:
        """Remove what a link that is gone has left; the probes' route does not depend on it."""
        try:
            return replace(report, removed=self._host.unplumb(plumbing))
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


class Probes:
    """The probes of one prober, which its :class:`ProbeLoop` sends and collects while they are on: one each
    ``interval`` seconds, or ``fast_interval`` once a probe was lost.
    """

    def __init__(
        self,
        prober: Prober,
        interval: float,
        fast_interval: float,
        probed: Callable[[ProbeResult], None],
        loop: ProbeLoop,
    ) -> None:
        self.prober = prober
        self._interval = interval
        self._fast_interval = fast_interval
        self._probed = probed
        self._loop = loop
        self._on = False
        self._calm = True
        self._sent_at: float | None = None

    # For the deciding thread.

    def switch(self, *, on: bool) -> None:
        """A node that carries the address does not probe: it would only hear itself."""
        if on != self._on:
            self._on = on
            self._loop.wake()

    def stop(self) -> None:
        """Probe no more, for good."""
        self._loop.forget(self)

    # For the loop's thread.

    def due_at(self) -> float:
        """When the next probe is to be sent."""
        if not self._on:
            return math.inf
        if self._sent_at is None:
            return -math.inf
        return next_in_peace(self._sent_at, self._interval) if self._calm else self._sent_at + self._fast_interval

    def send(self) -> None:
        """Send one."""
        self._sent_at = time.monotonic()
        self.prober.send()

    def collect(self) -> None:
        """Tell what came of them, in the order of sending."""
        for result in self.prober.collect():
            # The pace is set by the result itself, not by what the deciding thread makes of it: that may not have heard
            # of it yet, and then the next probe would be sent too late.  A failure of this node changes no pace.
            if result.outcome is not ProbeOutcome.FAILED_HERE:
                self._calm = result.outcome is ProbeOutcome.ANSWERED
            self._probed(result)


def next_in_peace(sent_at: float, interval: float) -> float:
    """When the probe after the one of `sent_at` is to be sent: ``interval`` seconds later, or up to a quarter less.

    So that those of many addresses are soon sent several at once, which saves most of what they cost: waking up costs
    ten times what sending does.
    """
    step = interval / 4
    return (sent_at + interval) // step * step


class ProbeLoop:
    """Sends and collects the probes of all addresses from one thread.  Its methods are for the deciding thread."""

    def __init__(self) -> None:
        self._followed: tuple[Probes, ...] = ()
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(False)
        self._bell.setblocking(False)

    def start(self) -> None:
        """Begin."""
        background.start("probe", self._run)

    def follow(
        self, prober: Prober, interval: float, fast_interval: float, probed: Callable[[ProbeResult], None]
    ) -> Probes:
        """From now on probe by this one too, once it is switched on; ``probed`` gets each result."""
        probes = Probes(prober, interval, fast_interval, probed, self)
        self._followed = (*self._followed, probes)
        return probes

    def forget(self, probes: Probes) -> None:
        """Probe no more by this one."""
        self._followed = tuple(others for others in self._followed if others is not probes)
        self.wake()

    def wake(self) -> None:
        """What is to be probed has changed."""
        with contextlib.suppress(BlockingIOError):  # then it is about to wake up anyway
            self._bell.send(b"!")

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            for probes in self._followed:
                if probes.due_at() <= now:
                    probes.send()
            self._wait()

    def _wait(self) -> None:
        """Until the next probe is due, and collect all that is known until then."""
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        until, awaited = math.inf, dict[int, Probes]()
        for probes in self._followed:
            collect_at = probes.prober.due_at()
            until = min(until, probes.due_at(), collect_at)
            if collect_at < math.inf:
                for file, events in probes.prober.files():
                    poll.register(file, events)
                    awaited[file] = probes
        ready = poll.poll(None if until == math.inf else max(0.0, until - time.monotonic()) * 1000)
        called = {awaited[file] for file, _ in ready if file in awaited}
        now = time.monotonic()
        for probes in self._followed:
            if probes in called or probes.prober.due_at() <= now:
                probes.collect()
        if self._ear.fileno() in (file for file, _ in ready):
            self._ear.recv(4096)


class MetadataLoop:
    """Asks IMDS, every second what addresses the interfaces with ``macs()`` have, and now and then for notices.

    ``found`` gets each answer, by MAC and with the time it was asked at: None for an interface that IMDS does not show.
    Errors are no answers, and none keeps another question from being asked.  Each is told once by ``failed``, and by
    ``recovered`` that there have been none for a while; after that, what fails is told anew.
    """

    def __init__(
        self,
        metadata: Metadata,
        macs: Callable[[], frozenset[str]],
        found: Callable[[str, frozenset[Address] | None, float], None],
        noticed: Callable[[Notice | None], None],
        failed: Callable[[MetadataError], None],
        recovered: Callable[[], None],
    ) -> None:
        self._metadata = metadata
        self._macs = macs
        self._found = found
        self._noticed = noticed
        self._failed = failed
        self._recovered = recovered
        self._told: set[str] = set()
        self._failed_at = float("-inf")

    def start(self) -> None:
        """Begin to ask."""
        background.start("imds", self._run)

    def complain(self, error: MetadataError) -> None:
        """Tell of an error of IMDS, unless that was told already; for any thread."""
        self._failed_at = time.monotonic()
        if str(error) not in self._told:
            self._told.add(str(error))
            self._failed(error)

    def _run(self) -> None:
        notice_at = float("-inf")
        while True:
            began = time.monotonic()
            for mac in self._macs():
                self._ask_addresses(mac)
            if began >= notice_at:
                notice_at = began + NOTICE_EVERY
                self._ask_notice()
            if self._told and time.monotonic() - self._failed_at >= METADATA_CALM:
                self._told.clear()
                self._recovered()
            time.sleep(max(0.0, began + METADATA_EVERY - time.monotonic()))

    def _ask_addresses(self, mac: str) -> None:
        asked_at = time.monotonic()
        try:
            self._found(mac, self._metadata.addresses_of(mac), asked_at)
        except MetadataError as error:
            self.complain(error)

    def _ask_notice(self) -> None:
        try:
            self._noticed(self._metadata.notice())
        except MetadataError as error:
            self.complain(error)


class PodLoop:
    """Asks the API server about the own pod again and again; ``found`` gets each answer."""

    def __init__(self, orders: Orders, found: Callable[[OwnPod], None]) -> None:
        self._orders = orders
        self._found = found
        self._every = POD_EVERY
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        background.start("pod", self._run)

    def ask(self, *, every: float) -> None:
        """From now on ask every so many seconds, and at once when that is more often; for the deciding thread."""
        before, self._every = self._every, every
        if every < before:
            self._wake.set()

    def _run(self) -> None:
        while True:
            # Cleared before the question: who asks for more while it is under way wants one that is asked later.
            self._wake.clear()
            began = time.monotonic()
            self._found(self._orders.own_pod())
            self._wake.wait(max(0.0, began + self._every - time.monotonic()))
