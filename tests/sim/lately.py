"""
When something was last true, or last not: for each worker, each pair of workers, and each worker with each address.

It is noted again and again, and whenever an observer does something that has to be judged (invariants.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from floatingip.agent.pod import BY_SCHEDULER
from floatingip.core import timing
from floatingip.core.decision import order, pause
from floatingip.core.decision.carry import way_to
from floatingip.core.model import Target
from tests.sim.fleet import Fleet
from tests.sim.observer import Observer
from tests.sim.ports import PROBES, QUESTIONS
from tests.sim.worker import LIVING, Worker

UNHEARD_FROM = 0.1
"""Seconds of delay from which probes may count as lost."""

WELL_FOR = 2.0
"""Seconds for which a worker must have answered the taker of its address, for that taking to be a fault."""

WRONG_FOR = 10.0
"""Seconds after a wall clock was wrong, for which a decision may still be based on that."""


@dataclass(slots=True)
class OfWorker:
    """When each of these was last true of a worker; minus infinity if never."""

    unwell: float = -inf
    """It was not well, or was mute."""

    unsound: float = -inf
    """It was not well, or its observer could not say that it was."""

    sound: float = -inf
    """It had been sound for a while."""

    written_off: float = -inf
    """The API server showed its pod as one of a node that was written off, or as not well."""

    silenced: float = -inf
    """Its observer was paused."""

    announced: float = -inf
    """IMDS announced its end."""

    answering: float = -inf
    """It answered pings, or would have if they had reached it."""

    reachable: float = -inf
    """It was not mute."""


@dataclass(slots=True)
class OfPair:
    """When the first worker of a pair could last hear the second, when it last could not, and when it last lost it."""

    heard: float = -inf
    unheard: float = -inf
    lost: float = -inf


@dataclass(slots=True)
class OfPlace:
    """When a worker last did not have and serve an address, and when its observer last did not see it UP.

    ``doubled_since``: since when the address has been configured there though it is elsewhere by EC2, None if it is
    not; ``doubled_by``: the observer on that worker since then.
    """

    absent: float = -inf
    unseen: float = -inf
    doubled_since: float | None = None
    doubled_by: Observer | None = None


class Lately:
    """These times for a fleet with these addresses: ``workers`` by name, ``pairs`` by both names, ``places`` by name
    and address.
    """

    def __init__(self, fleet: Fleet, addresses: Iterable[Target]) -> None:
        self._fleet = fleet
        self._addresses = tuple(addresses)
        self._way = way_to(fleet.settings.carry)
        names = [worker.name for worker in fleet.workers]
        self.workers = {name: OfWorker() for name in names}
        self.pairs = {(a, b): OfPair() for a in names for b in names if a != b}
        self.places = {(name, address): OfPlace() for name in names for address in self._addresses}
        self._number = len(names)
        self.unpaused = dict.fromkeys(self._addresses, -inf)
        self.ordered = dict.fromkeys(self._addresses, -inf)
        self.lagged = self.imds_lagged = self.disturbed = self.wall_jumped = -inf

    def since(self, time: float) -> float:
        """Seconds since ``time``, when something was last true."""
        return self._fleet.now - time

    def note(self) -> None:
        """Note the present state."""
        if len(self._fleet.workers) > self._number:
            self._meet()
        self._note_pairs()
        for worker in self._fleet.workers:
            self._note_worker(worker)
        for address in self._addresses:
            self._note_places(address)

    def _meet(self) -> None:
        """Add the workers that have joined since: until now they were not there."""
        now, known = self._fleet.now, [worker.name for worker in self._fleet.workers[: self._number]]
        for worker in self._fleet.workers[self._number :]:
            self.workers[worker.name] = OfWorker(unwell=now, unsound=now)
            for pair in [(worker.name, other) for other in known] + [(other, worker.name) for other in known]:
                self.pairs[pair] = OfPair(unheard=now)
            for address in self._addresses:
                self.places[worker.name, address] = OfPlace(absent=now, unseen=now)
            known.append(worker.name)
        self._number = len(known)

    def _note_pairs(self) -> None:
        fleet, now = self._fleet, self._fleet.now
        calm = not fleet.loss and fleet.delay < UNHEARD_FROM
        if not calm:
            self.disturbed = now
        by_name = {worker.name: worker for worker in fleet.workers}
        for (name, other), pair in self.pairs.items():
            a, b = by_name[name], by_name[other]
            listens = a.observer is not None and not a.observer.is_paused
            if calm and listens and fleet.is_open(a, b, PROBES) and fleet.is_open(a, b, QUESTIONS):
                pair.heard = now
                continue
            if pair.heard > pair.unheard:
                pair.lost = pair.heard
            pair.unheard = now

    def _note_worker(self, worker: Worker) -> None:
        now, last, observer = self._fleet.now, self.workers[worker.name], worker.observer
        if worker.notice:
            last.announced = now
        if worker.shown_pod not in (None, LIVING):
            last.written_off = now
        is_heard = observer is not None and not observer.is_paused
        # While the API server is silent, its last answer about the pod counts.
        is_written_off = worker.shown_pod is None and self.since(last.written_off) <= timing.POD_FRESH
        is_announced = self.since(last.announced) <= timing.NOTICE_EVERY
        is_well = looks_well(worker) and not (is_announced or is_written_off)
        if worker.is_mute or not is_well:
            last.unwell = now
        if not is_well or not is_heard:
            last.unsound = now
        if self.since(last.unsound) > WELL_FOR:
            last.sound = now
        if not worker.drops_pings:
            last.answering = now
        if observer is not None and observer.is_paused:
            last.silenced = now
        if not worker.is_mute:
            last.reachable = now
        if worker.cloud.lag or worker.cloud.omitted:
            self.lagged = now
        if worker.imds_lag:
            self.imds_lagged = now
        if worker.wall_ahead:
            self.wall_jumped = now

    def _note_places(self, address: Target) -> None:
        fleet, now = self._fleet, self._fleet.now
        at, serving, sighting = fleet.at(address), fleet.serving(address), self.sighting(address)
        if not self.is_paused(address):
            self.unpaused[address] = now
        if self.is_ordered(address):
            self.ordered[address] = now
        for worker in fleet.workers:
            place, observer = self.places[worker.name, address], worker.observer
            if worker is not at or worker is not serving:
                place.absent = now
            if observer is None or sighting not in observer.published.status.sees_up:
                place.unseen = now

    def sighting(self, address: Target) -> str:
        """The sighting by which observers say that they see the address UP where it is (`Way.of_one`)."""
        for eni in self._fleet.enis(address):
            if eni.attachment is not None:
                return self._way.of_one(eni.attachment.id, address)
        return "nobody has it"

    def is_paused(self, address: Target) -> bool:
        """Whether the interface that has the address is tagged with a pause, and all clocks agree on when that ends."""
        ends = (float(eni.tags.get(pause.TAG) or 0.0) for eni in self._fleet.enis(address))
        return not self.has_jumped() and any(end > self._fleet.wall for end in ends)

    def is_ordered(self, address: Target) -> bool:
        """Whether a handover of the address from its present place is ordered, by the clock of any worker."""
        key, wall = self._way.of_one(order.TAG, address), -inf if self.has_jumped() else self._fleet.wall
        return any(
            eni.attachment is not None and order.parse(eni.tags.get(key, ""), eni.attachment.id, wall)
            for eni in self._fleet.enis(address)
        )

    def has_jumped(self) -> bool:
        """Whether a wall clock was wrong a moment ago: present decisions may be based on that."""
        return self.since(self.wall_jumped) < WRONG_FOR


def looks_well(worker: Worker) -> bool:
    """Whether nothing is wrong with the worker that it, EC2 or Kubernetes would tell; it may be mute all the same."""
    is_sound = not (worker.problem or worker.notice or worker.hides_devices) and worker.serves
    shown = worker.shown_pod
    if shown is not None and shown.deleted and shown.disruption in ("", BY_SCHEDULER):
        return worker.runs and is_sound and not worker.is_ended  # A new pod comes: no reason for a move.
    is_written_off = shown is not None and shown != LIVING
    is_ending = worker.is_ended or (worker.observer is not None and worker.observer.is_stopping)
    return worker.runs and is_sound and not is_written_off and not is_ending
