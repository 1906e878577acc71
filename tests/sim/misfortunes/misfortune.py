"""What a misfortune is, and whom it hits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.fleet import Fleet
from tests.sim.worker import Worker

End = Callable[[], object]
"""A function that ends a misfortune."""


@dataclass(frozen=True)
class Misfortune:
    """``begin`` begins it, and returns what ends it; ``what`` names it in a history; it lasts from ``shortest`` to
    ``longest`` seconds.  ``noticed``: seconds, at most, until observers notice its end.  ``leaves_one``: for a while
    after it there may be one interface too many.  ``leaves_orphans``: an interface that has lost its address may stay,
    if observers report it.
    """

    what: str
    begin: Callable[[Fleet, random.Random], End]
    shortest: float = 0.5
    longest: float = 30.0
    noticed: float = 0.0
    leaves_one: bool = False
    leaves_orphans: bool = False


def some(fleet: Fleet, draw: random.Random) -> Worker:
    """A worker that EC2 has not ended, chosen by ``draw``."""
    return draw.choice([worker for worker in fleet.workers if not worker.is_ended])


def some_or_all(fleet: Fleet, draw: random.Random) -> list[Worker]:
    """One such worker, or all workers."""
    return draw.choice(([some(fleet, draw)], fleet.workers))


def over(*ends: End) -> End:
    """One end for all of these."""

    def end() -> None:
        for each in ends:
            each()

    return end
