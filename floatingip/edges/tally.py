"""
Counts since the process began: how often things were done, what came of them, and how long they took.

Each thing is counted where it is done, in any thread, and read for metrics (prometheus.py).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

ROUND_TRIPS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Bounds in seconds by which round trips are counted: from 0.1 ms within a zone up to what counts as no answer."""

PHASES = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0)
"""The same for moves and their phases: from our own short phases to those in which EC2 is at work."""

CALLS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
"""The same for calls to EC2: a tenth of a second is usual, and after five a question is given up."""


@dataclass
class Spread:
    """A histogram of durations, in seconds.

    ``counts`` has one entry for each of the ``bounds``: how many durations were up to that bound, but longer than the
    one before.  A last entry is for those longer than all bounds.  ``total`` is the sum of all durations.
    """

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        """Count one more duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


@dataclass
class Counts:
    """All that was counted.

    ``probes`` are counted by address and outcome, ``round_trips`` by address.  ``moves`` are counted by address, rule
    and result; ``moved_at`` has, by address, the Unix time at which it last came to this node.  ``phases`` has the
    durations of each phase by its name, ``durations`` those of whole moves.  ``repairs`` are counted by what was
    missing in the kernel.  ``calls`` to EC2 are counted by action and code; ``took`` has their durations by action.
    ``refused`` counts connections to the status port that were closed at once.
    """

    probes: Counter[tuple[str, str]] = field(default_factory=Counter)
    round_trips: dict[str, Spread] = field(default_factory=dict)
    moves: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    moved_at: dict[str, float] = field(default_factory=dict)
    phases: dict[str, Spread] = field(default_factory=dict)
    durations: Spread = field(default_factory=lambda: Spread(PHASES))
    repairs: Counter[str] = field(default_factory=Counter)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    took: dict[str, Spread] = field(default_factory=dict)
    refused: int = 0


class Tally:
    """Counts; each method may be called from any thread."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._lock = threading.Lock()

    def read(self) -> Counts:
        """All that was counted so far; it does not change any more."""
        with self._lock:
            return deepcopy(self._counts)

    def probed(self, address: str, outcome: str, round_trip: float | None) -> None:
        """A probe of the address has ended; ``round_trip`` is in seconds, None if it was not answered."""
        counts = self._counts
        with self._lock:
            counts.probes[address, outcome] += 1
            if round_trip is not None:
                counts.round_trips.setdefault(address, Spread(ROUND_TRIPS)).add(round_trip)

    def moved(self, address: str, rule: str, result: str) -> None:
        """A move to this node was begun by this rule, and ended with this result."""
        with self._lock:
            self._counts.moves[address, rule, result] += 1

    def came(self, address: str, wall: float, seconds: Mapping[str, float]) -> None:
        """The address came to this node at the Unix time ``wall``; ``seconds`` has those of each phase, and of all
        together (``duration``).
        """
        counts = self._counts
        with self._lock:
            counts.moved_at[address] = wall
            for phase, took in seconds.items():
                if phase == "duration":
                    counts.durations.add(took)
                    continue
                counts.phases.setdefault(phase, Spread(PHASES)).add(took)

    def repaired(self, what: str) -> None:
        """Something was missing in the kernel, and was put there."""
        with self._lock:
            self._counts.repairs[what] += 1

    def called(self, action: str, code: str, seconds: float) -> None:
        """EC2 was called once, which took ``seconds``; ``code`` is its answer in one word."""
        with self._lock:
            self._counts.calls[action, code] += 1
            self._counts.took.setdefault(action, Spread(CALLS)).add(seconds)

    def refused(self) -> None:
        """The status port had no place for a connection."""
        with self._lock:
            self._counts.refused += 1
