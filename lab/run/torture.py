"""
One misfortune after the other, and some at a time, on one region of three workers; the whole history is judged.

The seed decides the sequence (compose.py), the misfortunes are those of the scenarios, and what must hold is in
rack.py.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lab.ec2 import Profile
from lab.history import History
from lab.run.compose import compose
from lab.run.healing import Watch
from lab.run.ordeals import three_observers
from lab.run.rack import Outcome, Rack
from lab.run.region import Region

WORKERS = 3
PLACES = ("in", "out")


@dataclass
class Torture:
    """
    What is asked for: how many minutes, which seed, and how the address is carried.

    first: the number of the round to begin with, to reach a known round sooner.
    rounds: how many rounds at most.
    """

    profile: Profile
    minutes: float
    seed: int
    carry: str
    first: int = 1
    rounds: int | None = None
    workers: int = WORKERS

    def run(self, tell: Callable[[Outcome], None], record_to: Path | None = None) -> list[Outcome]:
        """
        Torture until the time is over, the rounds are done, or somebody interrupts; call `tell` with each round once it
        is judged.

        Raises TimeoutError if it cannot begin.
        """
        outcomes: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            tell(outcome)

        try:
            with racked(self.profile, self.workers, self.seed, self.carry, record_to) as rack:
                end = time.monotonic() + self.minutes * 60.0
                for each in islice(compose(self.seed), self.first - 1, None):
                    if time.monotonic() >= end or len(outcomes) == self.rounds or rack.is_broken:
                        break
                    done(rack.suffer(each))
        except KeyboardInterrupt:
            pass  # all rounds that were judged have been reported
        return outcomes


@contextmanager
def racked(profile: Profile, workers: int, seed: int, carry: str, record_to: Path | None) -> Iterator[Rack]:
    """A region with an observer on each worker, on which all is well.  Raises TimeoutError."""
    with (
        History(record_to) as history,
        Region(profile, history, workers=workers, seed=seed, settings={"carry": carry}) as region,
    ):
        watch = Watch(region)
        region.deploy()
        region.clients.measure(*PLACES)
        three_observers(region, region.holder())
        rack = Rack(region, watch)
        try:
            rack.healer.wait()
            yield rack
        finally:
            rack.pulse.stop()
