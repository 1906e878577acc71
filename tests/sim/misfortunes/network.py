"""What befalls packets between workers."""

from __future__ import annotations

import random
from itertools import permutations

from tests.sim.fleet import Fleet
from tests.sim.misfortunes.misfortune import End, some
from tests.sim.ports import PROBES, QUESTIONS
from tests.sim.worker import LIVING


def partition(fleet: Fleet, draw: random.Random) -> End:
    pair = frozenset(worker.name for worker in draw.sample(fleet.workers, 2))
    fleet.tell("", f"nothing passes between {' and '.join(sorted(pair))}")
    fleet.cut |= {pair}
    return lambda: fleet.cut.discard(pair)


def part_of_it_lost(fleet: Fleet, draw: random.Random) -> End:
    """Probes, questions or all, in one direction or both."""
    a, b = (worker.name for worker in draw.sample(fleet.workers, 2))
    kinds, is_mutual = draw.choice(((PROBES,), (QUESTIONS,), (PROBES, QUESTIONS))), draw.random() < 0.5
    lost = {(what, *ends) for what in kinds for ends in ([(a, b), (b, a)] if is_mutual else [(a, b)])}
    for what, asker, asked in sorted(lost):
        fleet.tell("", f"{what} of {asker} to {asked} are lost")
    fleet.lost |= lost

    def end() -> None:
        fleet.lost -= lost

    return end


def closed_group(fleet: Fleet, draw: random.Random) -> End:
    lost = {
        (what, a.name, b.name) for a, b in permutations(fleet.workers, 2) for what in (PROBES, QUESTIONS)
    }  # fmt: skip
    fleet.lost |= lost

    def end() -> None:
        fleet.lost -= lost

    return end


def cut_off(fleet: Fleet, draw: random.Random) -> End:
    """From the other workers, and mostly from EC2 too."""
    worker = some(fleet, draw)
    worker.cut_off()
    worker.cloud.reachable = draw.random() < 0.4
    pairs = {frozenset({worker.name, other.name}) for other in fleet.workers if other is not worker}
    if draw.random() < 0.5:
        worker.pod = None

    def end() -> None:
        worker.cloud.reachable = True
        worker.pod = LIVING if worker.pod is None else worker.pod
        fleet.cut -= pairs

    return end


def loss(fleet: Fleet, draw: random.Random) -> End:
    fleet.loss = draw.choice((0.05, 0.2))

    def end() -> None:
        fleet.loss = 0.0

    return end


def delay(fleet: Fleet, draw: random.Random) -> End:
    fleet.delay = draw.choice((0.05, 0.2, 0.45))

    def end() -> None:
        fleet.delay = 0.0

    return end
