"""
Misfortunes, one after the other and several at a time: whatever went before, in the end all is served again.

    python -m tests.sim --seeds 0..999 --nemesis

Each lasts for a while and is over then: what is left is a healthy network, an EC2 that answers, and at least one worker
that was not ruined for good.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.fleet import Fleet
from tests.sim.line import Call, fails
from tests.sim.worker import LIVING, Worker

End = Callable[[], object]
"""Ends a misfortune."""


@dataclass(frozen=True)
class Misfortune:
    """``begin`` lets it begin; it lasts for so many seconds at least and at most, and is told as ``what``."""

    what: str
    begin: Callable[[Fleet, random.Random], End]
    shortest: float = 0.5
    longest: float = 30.0


def _some(fleet: Fleet, draw: random.Random) -> Worker:
    return draw.choice(fleet.workers)


def _partition(fleet: Fleet, draw: random.Random) -> End:
    pair = frozenset(worker.name for worker in draw.sample(fleet.workers, 2))
    fleet.tell("", f"nothing passes between {' and '.join(sorted(pair))}")
    fleet.cut |= {pair}
    return lambda: fleet.cut.discard(pair)


def _cut_off(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.cut_off()
    pairs = {frozenset({worker.name, other.name}) for other in fleet.workers if other is not worker}

    def end() -> None:
        worker.cloud.reachable = True
        fleet.cut -= pairs

    return end


def _without_ec2(fleet: Fleet, draw: random.Random) -> End:
    workers = draw.choice(([_some(fleet, draw)], fleet.workers))
    for worker in workers:
        worker.cloud.reachable = False

    def end() -> None:
        for worker in workers:
            worker.cloud.reachable = True

    return end


def _throttled(fleet: Fleet, draw: random.Random) -> End:
    share = draw.choice((0.2, 0.5))

    def maybe(call: Call) -> None:
        if fleet.chance.random() < share:
            fails(call)

    return fleet.at_calls(before=maybe).end


def _lost_answers(fleet: Fleet, draw: random.Random) -> End:
    share = draw.choice((0.3, 1.0))

    def maybe(call: Call) -> None:
        if fleet.chance.random() < share:
            fails(call)

    return fleet.at_calls("create_eni", "attach_eni", "detach_eni", "assign", "unassign", "tag_eni", after=maybe).end


def _late_describes(fleet: Fleet, draw: random.Random) -> End:
    lag = draw.uniform(0.5, 5.0)
    for worker in fleet.workers:
        worker.cloud.lag = lag

    def end() -> None:
        for worker in fleet.workers:
            worker.cloud.lag = 0.0

    return end


def _loss(fleet: Fleet, draw: random.Random) -> End:
    fleet.loss = draw.choice((0.05, 0.2))

    def end() -> None:
        fleet.loss = 0.0

    return end


def _killed(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.kill()
    return lambda: worker.start() if worker.is_on and worker.observer is None else None


def _paused(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.pause()
    return worker.resume


def _hung(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.hang()
    return worker.thaw


def _powerless(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.cut_power()

    def boot() -> None:
        if not worker.is_on:
            worker.boot()
            worker.start()

    return boot


def _silent_imds(fleet: Fleet, draw: random.Random) -> End:
    worker = _some(fleet, draw)
    worker.is_imds_silent = True

    def end() -> None:
        worker.is_imds_silent = False

    return end


def _silent_api_server(fleet: Fleet, draw: random.Random) -> End:
    for worker in fleet.workers:
        worker.pod = None

    def end() -> None:
        for worker in fleet.workers:
            worker.pod = LIVING

    return end


MISFORTUNES = (
    Misfortune("two workers are parted", _partition),
    Misfortune("a worker is cut off", _cut_off),
    Misfortune("EC2 is not reached", _without_ec2),
    Misfortune("EC2 throttles", _throttled),
    Misfortune("answers to writes are lost", _lost_answers, longest=10.0),
    Misfortune("Describes are late", _late_describes),
    Misfortune("packets are lost", _loss),
    Misfortune("an observer is killed", _killed, longest=10.0),
    Misfortune("an observer stands still", _paused, longest=10.0),
    Misfortune("a machine hangs", _hung),
    Misfortune("a machine is without power", _powerless, shortest=5.0),
    Misfortune("IMDS is silent", _silent_imds),
    Misfortune("the API server is silent", _silent_api_server),
)


def strike(fleet: Fleet, draw: random.Random, *, most: int, within: float) -> float:
    """Up to ``most`` misfortunes begin within so many seconds; when the last one is over, by the fleet's clock."""
    over_at = fleet.now
    for _ in range(draw.randint(1, most)):
        misfortune = draw.choice(MISFORTUNES)
        begins_in, lasts = draw.uniform(0.0, within), draw.uniform(misfortune.shortest, misfortune.longest)
        fleet.after(begins_in, lambda misfortune=misfortune, lasts=lasts: _befall(fleet, draw, misfortune, lasts))  # type: ignore[misc]  # bound now
        over_at = max(over_at, fleet.now + begins_in + lasts)
    return over_at


def _befall(fleet: Fleet, draw: random.Random, misfortune: Misfortune, lasts: float) -> None:
    fleet.tell("", f"for {lasts:.1f} s: {misfortune.what}")
    end = misfortune.begin(fleet, draw)

    def over() -> None:
        fleet.tell("", f"over: {misfortune.what}")
        end()

    fleet.after(lasts, over)
