"""What goes wrong with packets between workers."""

from __future__ import annotations

import random
from itertools import permutations

from tests.sim.fleet import Fleet
from tests.sim.misfortunes.machines import boot
from tests.sim.misfortunes.misfortune import End, over, some
from tests.sim.ports import PROBES, QUESTIONS
from tests.sim.worker import LIVING


def partition(fleet: Fleet, draw: random.Random) -> End:
    pair = frozenset(worker.name for worker in draw.sample(fleet.workers, 2))
    fleet.tell("", f"nothing passes between {' and '.join(sorted(pair))}")
    fleet.cut |= {pair}
    return lambda: fleet.cut.discard(pair)


def split(fleet: Fleet, draw: random.Random) -> End:
    """The workers are split into two groups, each of which reaches EC2: as in a zone of two buildings."""
    some_of_them = set(draw.sample(fleet.workers, draw.randint(1, max(1, len(fleet.workers) // 2))))
    pairs = {
        frozenset({a.name, b.name})
        for a, b in permutations(fleet.workers, 2)
        if (a in some_of_them) is not (b in some_of_them)
    }
    fleet.tell("", f"nothing passes between {', '.join(sorted(each.name for each in some_of_them))} and the others")
    fleet.cut |= pairs

    def end() -> None:
        fleet.cut -= pairs

    return end


def on_and_off(fleet: Fleet, draw: random.Random) -> End:
    """Two workers cannot reach each other, again and again, for too short a time to be noticed, or for longer."""
    pair, ended = frozenset(worker.name for worker in draw.sample(fleet.workers, 2)), list[bool]()
    fleet.tell("", f"now something passes between {' and '.join(sorted(pair))}, now nothing")

    def part() -> None:
        if not ended:
            fleet.cut |= {pair}
            fleet.after(fleet.chance.choice((1.0, 5.0, 20.0)) * fleet.chance.random(), join)

    def join() -> None:
        fleet.cut.discard(pair)
        if not ended:
            fleet.after(fleet.chance.choice((0.5, 3.0, 15.0)) * fleet.chance.random(), part)

    part()
    return over(lambda: ended.append(True), lambda: fleet.cut.discard(pair))


def parted_and_dead(fleet: Fleet, draw: random.Random) -> End:
    """Two workers cannot reach each other; after a while, if one of them has the address, that one loses power."""
    target, pair = draw.choice(fleet.settings.floating_ips), draw.sample(fleet.workers, 2)
    holder, ended = fleet.at(target), list[bool]()
    if holder is not None and holder not in pair:
        pair[0] = holder
    names = frozenset(worker.name for worker in pair)
    fleet.tell("", f"nothing passes between {' and '.join(sorted(names))}")
    fleet.cut |= {names}

    def die() -> None:
        there = fleet.at(target)
        if not ended and there in pair and there is not None and there.is_on and not there.is_ended:
            there.cut_power()

    def end() -> None:
        ended.append(True)
        fleet.cut.discard(names)
        for worker in pair:
            boot(worker)

    fleet.after(draw.uniform(0.0, 40.0), die)
    return end


def part_of_it_lost(fleet: Fleet, draw: random.Random) -> End:
    """Between two workers probes, questions or both are lost, in one direction or both."""
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
    """A worker is cut off from the other workers, and mostly from EC2 too."""
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
