"""Keep the kernel as the agent wants it, from a thread of its own, so that a slow nft never delays a decision."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from floatingip.agent.effects import Announce, Clear, Keep, Wanted
from floatingip.core import timing
from floatingip.core.errors import HostError
from floatingip.core.model import Target
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.ports import Host
from floatingip.core.token_bucket import TokenBucket
from floatingip.edges import background, clock
from floatingip.runtime.pulse import Pulse

Wish = Keep | Clear | Announce
"""What the agent asks for that concerns the kernel."""


@dataclass
class _Kept:
    """What is kept for one address: how the kernel should be (``wanted``), and the last report on it.

    ``routed``: there may be a route for the address' probes.  It is announced until ``announced_until``.
    """

    wanted: Wanted
    report: PlumbingReport | None = None
    routed: bool = True
    announced_until: float = float("-inf")


class Keeper:
    """Keeps the kernel as it should be for every address.

    ``reconciled`` is called with each report that is news, and ``begins`` before each piece of the work.

    A node that does not carry an address has a route for its probes.  If the link is gone, that route is all there is.
    """

    def __init__(
        self,
        host: Host,
        reconciled: Callable[[Target, PlumbingReport], None],
        begins: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._reconciled = reconciled
        self._begins = begins
        self._wanted: dict[Target, Wanted] = {}
        self._kept: dict[Target, _Kept] = {}
        self._given_back: set[Plumbing] = set()
        self._announce_anew: set[Target] = set()
        self._checked: list[Target] = []
        self._check_at = self._announce_at = float("-inf")

    def take_up(self, wish: Wish) -> None:
        """Take up what the agent asks for; it is done in the next turns.

        Plumbing is removed with as many tries as it takes, unless its address is being kept; an address is announced
        for some seconds, if it is here.
        """
        match wish:
            case Keep(target, wanted):
                self._wanted[target] = wanted
            case Clear(plumbing):
                self._given_back.add(plumbing)
            case Announce(target):
                self._announce_anew.add(target)

    def due(self, now: float) -> float:
        """When the next turn is to be taken if nothing changes."""
        announcing = self._announce_anew or any(kept.announced_until > now for kept in self._kept.values())
        return min(self._check_at, self._announce_at) if announcing else self._check_at

    def turn(self, now: float, *, changed: bool) -> None:
        """Check what is due, and announce; ``changed``: the kernel or a wish has changed, so check all addresses."""
        for plumbing in list(self._given_back):
            self._begins()
            is_kept = any(wanted.plumbing.address == plumbing.address for wanted in list(self._wanted.values()))
            if is_kept or self._clear(plumbing):
                self._given_back.discard(plumbing)
        if changed or now >= self._check_at:
            for target, wanted in self._due(everything=changed):
                self._begins()
                self._keep(target, wanted)
            troubled = any(kept.report is not None and kept.report.problem for kept in self._kept.values())
            troubled = troubled or bool(self._given_back)
            self._check_at = now + (timing.HOST_RETRY if troubled else timing.HOST_CHECK)
        self._begins()
        if now >= self._announce_at:
            self._announce_at = now + timing.ANNOUNCE_EVERY
            self._announce(now)

    def end(self) -> None:
        """Leave no probe route behind; a holder's plumbing stays, and goes on serving."""
        for target, kept in self._kept.items():
            self._unroute(target, kept.wanted.plumbing)

    def _due(self, *, everything: bool) -> list[tuple[Target, Wanted]]:
        """The addresses to check: either all, those with a new wish first; or the next one and those with a problem."""
        wanted = list(self._wanted.items())
        if everything:
            return sorted(wanted, key=lambda item: item[0] in self._kept and self._kept[item[0]].wanted == item[1])
        if not self._checked:
            self._checked = [target for target, _ in wanted]
        following = self._checked.pop(0) if self._checked else None
        kept = self._kept
        return [(t, w) for t, w in wanted if t == following or (t in kept and (r := kept[t].report) and r.problem)]

    def _announce(self, now: float) -> None:
        while self._announce_anew:
            kept = self._kept.get(self._announce_anew.pop())
            if kept is not None:
                kept.announced_until = now + timing.ANNOUNCED_FOR
        for kept in self._kept.values():
            if now < kept.announced_until and kept.report is not None and kept.report.is_here:
                self._host.announce(kept.wanted.plumbing)

    def _keep(self, target: Target, wanted: Wanted) -> None:
        kept = self._kept.get(target)
        if kept is None or kept.wanted != wanted:
            if kept is not None and kept.wanted.plumbing != wanted.plumbing:
                # Anything that could not be removed is found later, with the plumbing that is wanted now.
                self._clear(kept.wanted.plumbing)
            kept = self._kept[target] = _Kept(wanted)
        report = self._reconcile(kept)
        if report != kept.report or report.repaired or report.removed:
            kept.report = report
            if report.is_here and {"address", "link-up"}.intersection(report.repaired):
                self._announce_anew.add(target)
            self._reconciled(target, report)

    def _reconcile(self, kept: _Kept) -> PlumbingReport:
        """Bring the kernel to what is wanted, and report what was found."""
        plumbing, extent = kept.wanted.plumbing, kept.wanted.extent
        report = PlumbingReport(PlumbingState.NO_LINK, extent=extent)
        try:
            if extent is not Extent.NOTHING:
                report = self._host.plumb(plumbing, extent)
            if report.is_here:
                if kept.routed:
                    self._host.unroute_probes(plumbing)
                kept.routed = False
                return report
            kept.routed = True
            if extent is Extent.AS_LEFT and report.state is PlumbingState.NO_LINK:
                return self._see(kept, report)
            if report.state is PlumbingState.NO_LINK:
                report = self._unplumb(plumbing, report)
            self._host.route_probes(plumbing)
        except HostError as error:
            report = replace(report, problem=report.problem or str(error))
        return report if report.is_here else self._see(kept, report)

    def _see(self, kept: _Kept, report: PlumbingReport) -> PlumbingReport:
        """The report with ``blind``: why probes of the address would not leave this node in spite of their route.

        If the kernel does not tell, the last report's value stays.
        """
        try:
            return replace(report, blind=self._host.blind(kept.wanted.plumbing))
        except HostError as error:
            blind = kept.report.blind if kept.report is not None else ""
            return replace(report, problem=report.problem or str(error), blind=blind)

    def _unplumb(self, plumbing: Plumbing, report: PlumbingReport) -> PlumbingReport:
        """Remove what a link that is gone has left behind; a failure is only reported, so probes are still routed."""
        try:
            return replace(report, removed=self._host.unplumb(plumbing))
        except HostError as error:
            return replace(report, problem=str(error))

    def _clear(self, plumbing: Plumbing) -> bool:
        """Remove plumbing that is not wanted any more, as far as the kernel allows; return whether all is gone."""
        with contextlib.suppress(HostError):
            self._host.unplumb(plumbing)
            self._host.unroute_probes(plumbing)
            return True
        return False

    def _unroute(self, target: Target, plumbing: Plumbing) -> None:
        try:
            self._host.unroute_probes(plumbing)
        except HostError as error:
            self._reconciled(target, PlumbingReport(PlumbingState.NO_LINK, problem=str(error)))


def rest(allowed: TokenBucket) -> float:
    """Seconds to rest after work; the seconds of work were taken out of the bucket ``allowed``.

    After a short burst they are few; in a storm of events the keeper rests most of the time.
    """
    return min(timing.HOST_RETRY, max(timing.HOST_SETTLE, allowed.due(0) - allowed.at))


class HostKeeper:
    """A `Keeper` in a thread of its own: it takes a turn at each event of the kernel, and now and then without one.

    A new wish of the agent is done at once, even during a storm of events.  ``pulse`` tells whether the thread goes on.
    """

    def __init__(self, host: Host, reconciled: Callable[[Target, PlumbingReport], None]) -> None:
        self._host = host
        self.pulse = Pulse("keeps the kernel", timing.KEEPER_LIVE_WITHIN)
        self._keeper = Keeper(host, reconciled, self.pulse.works)
        self._wake = threading.Event()
        self._ordered = threading.Event()
        self._allowed = TokenBucket(timing.STORM_BURST, timing.STORM_SHARE)
        self._ending = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; nothing is touched before there is a wish."""
        background.start("host", self._run)
        self._host.watch(self._wake.set)

    def take_up(self, wish: Wish) -> None:
        """See `Keeper`."""
        self._keeper.take_up(wish)
        self._hurry()

    def end(self, within: float) -> None:
        """Stop keeping; wait at most ``within`` seconds until that is done."""
        self._ending = True
        self._hurry()
        self._ended.wait(within)

    def _hurry(self) -> None:
        self._wake.set()
        self._ordered.set()

    def _run(self) -> None:
        while not self._ending:
            now = clock.now()
            self._wake.wait(max(0.0, self._keeper.due(now) - now))
            # `_wake` is cleared only if it is seen to be set: an event that comes after that is left for the next turn.
            self._ordered.clear()
            changed = self._wake.is_set()
            if changed:
                self._wake.clear()
            began_at = clock.now()
            self._keeper.turn(began_at, changed=changed)
            self.pulse.rests()
            ended_at = clock.now()
            self._allowed = self._allowed.take(ended_at - began_at, ended_at)
            time.sleep(timing.HOST_SETTLE)
            self._ordered.wait(rest(self._allowed) - timing.HOST_SETTLE)
        self._keeper.end()
        self._ended.set()
