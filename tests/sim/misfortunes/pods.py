"""What happens to the observers' pods in Kubernetes."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from floatingip.agent.pod import BY_SCHEDULER
from tests.sim.fleet import Fleet
from tests.sim.line import Call
from tests.sim.misfortunes.ec2 import MOVING
from tests.sim.misfortunes.machines import revive
from tests.sim.misfortunes.misfortune import End, over, some
from tests.sim.worker import LIVING, Worker

DRAINED = "EvictionByEvictionAPI"


def deleted_pod(fleet: Fleet, draw: random.Random) -> End:
    """Somebody deletes an observer's pod, or drains its node; a new pod comes when this misfortune ends."""
    worker, disruption = some(fleet, draw), draw.choice(("", BY_SCHEDULER, DRAINED))
    worker.delete(disruption)
    return over(worker.kill, lambda: revive(worker))


class _Ends:
    """Pods that end one after the other, and the new ones in their places."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._is_over = False
        self._awaited: set[str] = set()

    def begin(self, worker: Worker, disruption: str, lasts: float, *, twice: bool) -> None:
        """Delete the pod, which gets SIGTERM, ``twice`` if so; a new pod comes ``lasts`` seconds later."""
        if worker.observer is None or self._is_over:
            return
        worker.delete(disruption)
        self._awaited.add(worker.name)
        if twice:
            self._fleet.after(0.3, lambda: worker.observer.stop() if worker.observer is not None else None)
        self._fleet.after(lasts, partial(self._replace, worker))

    def _replace(self, worker: Worker) -> None:
        if worker.name in self._awaited:
            self._awaited.discard(worker.name)
            worker.kill()
            revive(worker)

    def end(self) -> None:
        """Let all pods come that were still to come."""
        self._is_over = True
        for worker in self._fleet.workers:
            self._replace(worker)


def rolled_out(fleet: Fleet, draw: random.Random) -> End:
    """All pods are replaced, one after the other or at once; and perhaps again, when some have only just begun."""
    ends, apart = _Ends(fleet), draw.choice((0.0, draw.uniform(0.5, 5.0)))
    for again in (0.0, draw.uniform(1.0, 8.0))[: draw.randint(1, 2)]:
        for number, worker in enumerate(fleet.workers):
            lasts, twice = draw.uniform(1.0, 5.0), draw.random() < 0.3
            fleet.after(number * apart + again, partial(ends.begin, worker, "", lasts, twice=twice))
    return ends.end


def drained(fleet: Fleet, draw: random.Random) -> End:
    """All nodes, or all but one, are drained, one after the other or at once; new pods come when this is over."""
    ends, apart = _Ends(fleet), draw.choice((0.0, draw.uniform(0.5, 15.0)))
    workers = draw.sample(fleet.workers, len(fleet.workers) - draw.randint(0, 1))
    for number, worker in enumerate(workers):
        fleet.after(number * apart, partial(ends.begin, worker, DRAINED, 3600.0, twice=draw.random() < 0.3))
    return ends.end


def told_to_end_at_a_write(fleet: Fleet, draw: random.Random) -> End:
    """An observer gets SIGTERM when EC2 accepts its call that moves something, or seconds later; a new pod comes some
    time after that.
    """
    ends, disruption, latest = _Ends(fleet), draw.choice(("", DRAINED)), draw.choice((0.1, 5.0))

    def tell(call: Call) -> None:
        worker = next(worker for worker in fleet.workers if worker.name == call.by)
        begin = partial(ends.begin, worker, disruption, draw.uniform(1.0, 20.0), twice=draw.random() < 0.3)
        fleet.after(draw.uniform(0.0, latest), begin)

    return over(fleet.at_calls(*MOVING, after=tell, most=draw.choice((1, 3))).end, ends.end)


def deleted_by_force(fleet: Fleet, draw: random.Random) -> End:
    """A pod is deleted with --force: the API server no longer has it, and its containers end when kubelet hears of
    that, if ever.
    """
    worker, hears = some(fleet, draw), draw.choice((0.1, draw.uniform(0.1, 20.0), 3600.0))
    worker.pod = replace(LIVING, gone=True)
    observer = worker.observer
    if observer is not None:
        fleet.after(hears, observer.stop)
        fleet.after(hears + 2.0, lambda: worker.kill() if worker.observer is observer else None)

    def end() -> None:
        worker.kill()
        worker.pod = LIVING
        revive(worker)

    return end
