"""What a misfortune is, and whom it hits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.fleet import Fleet
from tests.sim.worker import Worker

End = Callable[[], object]
"""Ends a misfortune."""


@dataclass(frozen=True)
class Misfortune:
    """``begin`` lets it begin; it lasts for so many seconds at least and at most, and is told as ``what``; ``noticed``
    is how many seconds later its end is noticed, at most; ``leaves_one``: for a while after it an interface may be too
    many.  ``leaves_orphans``: an interface that has lost its address may stay, if observers tell of it.
    """

    what: str
    begin: Callable[[Fleet, random.Random], End]
    shortest: float = 0.5
    longest: float = 30.0
    noticed: float = 0.0
    leaves_one: bool = False
    leaves_orphans: bool = False


def some(fleet: Fleet, draw: random.Random) -> Worker:
    """One that EC2 has not ended."""
    return draw.choice([worker for worker in fleet.workers if not worker.is_ended])


def some_or_all(fleet: Fleet, draw: random.Random) -> list[Worker]:
    """One such, or all there are."""
    return draw.choice(([some(fleet, draw)], fleet.workers))


def over(*ends: End) -> End:
    """All of these."""

    def end() -> None:
        for each in ends:
            each()

    return end
