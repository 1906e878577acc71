"""The results of an address' probes in the last minutes, for people to look at: nothing is decided by them."""

from __future__ import annotations

from collections import deque

from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.snapshot import ProbeSpan

SPAN = 2.0
"""Seconds of one span."""

SPANS = 150
"""How many spans are kept, which makes five minutes."""


class RecentProbes:
    """Counts results by spans of time; ``round_trip`` is that of the last answer, in seconds, None before the first."""

    def __init__(self) -> None:
        self._ended: deque[ProbeSpan] = deque(maxlen=SPANS - 1)
        self._told: tuple[ProbeSpan, ...] = ()
        self._began_at = float("-inf")
        self._answered = self._lost = 0
        self._slowest = 0.0
        self.round_trip: float | None = None

    def add(self, result: ProbeResult) -> None:
        """Count one more result, but not that of a probe which this node could not send."""
        if result.outcome is ProbeOutcome.FAILED_HERE:
            return
        if result.sent_at >= self._began_at + SPAN:
            self._end()
            self._began_at = result.sent_at // SPAN * SPAN
        if result.outcome is ProbeOutcome.ANSWERED:
            self._answered += 1
            self.round_trip = result.known_at - result.sent_at
            self._slowest = max(self._slowest, self.round_trip)
        else:
            self._lost += 1

    def told(self) -> tuple[ProbeSpan, ...]:
        """The spans so far, oldest first; those without any probe are left out."""
        return (*self._told, self._current()) if self._answered or self._lost else self._told

    def _current(self) -> ProbeSpan:
        return ProbeSpan(self._began_at, self._answered, self._lost, self._slowest)

    def _end(self) -> None:
        if self._answered or self._lost:
            self._ended.append(self._current())
            self._told = tuple(self._ended)
        self._answered = self._lost = 0
        self._slowest = 0.0
