"""Workers come and go: by an autoscaler, a rotation of nodes, or somebody who deletes Node objects."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from tests.sim.fleet import Fleet
from tests.sim.misfortunes.machines import revive
from tests.sim.misfortunes.misfortune import End, some, some_or_all
from tests.sim.worker import LIVING, Worker

MOST_WORKERS = 9
"""The most workers in one history, with those that are gone."""

BOOTS = (1.0, 15.0)
"""Seconds, at least and at most, from when a worker joins until its observer starts."""

GONE_WITHIN = 20.0
"""Seconds within which observers know that a worker has been terminated."""

SMALLEST = ("i-00000000000000000", "i-00000000000000001")
"""Ids of instances that sort before the ids of all workers that are there from the beginning."""


def _join(fleet: Fleet, draw: random.Random, gone: Worker | None = None) -> None:
    """A worker joins, with an id that is the smallest of all, or the greatest."""
    if len(fleet.workers) < MOST_WORKERS:
        smallest = [each for each in SMALLEST if all(worker.id != each for worker in fleet.workers)]
        worker = fleet.join(gone, instance_id=draw.choice(["", *smallest[:1]]))
        fleet.after(draw.uniform(*BOOTS), lambda: revive(worker))


def joined(fleet: Fleet, draw: random.Random) -> End:
    """One or two workers join, and stay."""
    for _ in range(draw.randint(1, 2)):
        fleet.after(draw.uniform(0.0, 10.0), partial(_join, fleet, draw))
    return lambda: None


def replaced(fleet: Fleet, draw: random.Random) -> End:
    """Up to three workers are replaced, one after the other: each is terminated after another one has joined; or
    before, and then the new one gets its address.  Two workers are always left.
    """
    apart, grace, inherits = draw.uniform(3.0, 30.0), draw.choice((0.0, draw.uniform(0.0, 15.0))), draw.random() < 0.5
    ended, release = list[bool](), fleet.profile.delays.release

    def terminate(worker: Worker) -> bool:
        goes = not (ended or worker.is_ended) and sum(not each.is_ended for each in fleet.workers) > 2
        if goes:
            worker.terminate(min(grace, release))
        return goes

    def go_on(left: int) -> None:
        if ended or not left or len(fleet.workers) >= MOST_WORKERS:
            return
        old = some(fleet, draw)
        if not inherits:
            _join(fleet, draw)
            fleet.after(draw.uniform(1.0, 2.0) * BOOTS[1], partial(terminate, old))
        elif terminate(old):
            fleet.after(release + 1.0, partial(_join, fleet, draw, old))
        fleet.after(release + BOOTS[1] + apart, partial(go_on, left - 1))

    go_on(draw.randint(1, 3))
    return lambda: ended.append(True)


def registered_anew(fleet: Fleet, draw: random.Random) -> End:
    """Node objects are deleted, and with them the observers' pods.  Each node registers under the same name again, its
    kubelet ends the pod that the API server no longer has, and a new one comes.
    """
    ended, apart, awaited = list[bool](), draw.choice((0.0, draw.uniform(0.0, 20.0))), set[str]()

    def delete(worker: Worker) -> None:
        observer, hears = worker.observer, draw.uniform(0.1, 20.0)
        if observer is not None and not ended:
            fleet.tell(worker.name, "its Node object is deleted")
            worker.pod = replace(LIVING, gone=True)
            awaited.add(worker.name)
            fleet.after(hears, observer.stop)
            fleet.after(hears + draw.uniform(0.5, 11.0), partial(come, worker))

    def come(worker: Worker) -> None:
        if worker.name in awaited:
            awaited.discard(worker.name)
            worker.kill()
            worker.pod = LIVING
            revive(worker)

    workers = list(some_or_all(fleet, draw))
    for number, worker in enumerate(workers):
        fleet.after(number * apart, partial(delete, worker))

    def end() -> None:
        ended.append(True)
        for worker in workers:
            come(worker)

    return end
