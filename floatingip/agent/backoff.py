"""How long to wait after a failure until the next try."""

from __future__ import annotations

from collections.abc import Callable

from floatingip.core import pace

Chance = Callable[[float, float], float]
"""A function that draws a random number between its two arguments."""


class Backoff:
    """Pauses that double, from ``first`` seconds on, with jitter: agents that failed together do not retry together."""

    def __init__(self, first: float, chance: Chance) -> None:
        self._chance = chance
        self._first = first
        self._failures = 0

    def reset(self) -> None:
        """The next failure is the first one."""
        self._failures = 0

    def pause(self, longest: float) -> float:
        """Seconds to wait after one more failure: at most ``longest``, before jitter."""
        pause = pace.doubled(self._first, self._failures, longest)
        self._failures += 1
        return pause * self._chance(0.8, 1.2)
