"""
An address that nobody serves is served again in time if one worker is healthy, whatever befalls the others.

Misfortunes overlap, so this must hold not only at the end of a history: one worker may be dead for a minute, another
one mute, a third without EC2, while a fourth could serve.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import inf

from floatingip.core.decision import pause, ration
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Carry, Target
from tests.sim.fleet import Fleet
from tests.sim.observer import Observer
from tests.sim.worker import LIVING, Worker

SERVED_WITHIN = 75.0
"""Seconds for which an address may be unserved though a worker could have taken it all the time: `settle`, plus what
EC2 and the pace of questions to it add.  Each mute worker that it moves to meanwhile gets `patience` more.
"""


class Liveness:
    """Watches over a fleet with these addresses, whose workers have so many ``slots`` for them.

    ``longest``: the longest time, in seconds, for which an address was unserved though a worker could have taken it.
    """

    def __init__(self, fleet: Fleet, addresses: Iterable[Target], slots: int) -> None:
        self._fleet = fleet
        self._addresses = tuple(addresses)
        self._slots = slots
        self._way = way_to(fleet.settings.carry)
        self._ailing_at: dict[str, float] = {}
        self._met_at: dict[str, float] = {}
        self._in_the_dark_at: dict[tuple[str, Target], float] = {}
        self._observers: dict[str, tuple[Observer | None, float]] = {}
        self._holders: dict[Target, tuple[Worker | None, float]] = dict.fromkeys(self._addresses, (None, -inf))
        self._served_at = dict.fromkeys(self._addresses, fleet.now)
        self._mute = dict.fromkeys(self._addresses, 0)
        self.longest = 0.0

    def look(self) -> list[str]:
        """Look at the present state; return the faults in it."""
        fleet, now = self._fleet, self._fleet.now
        for worker in fleet.workers:
            if worker.name not in self._ailing_at or not self._could_serve(worker):
                self._ailing_at[worker.name] = now
            if any(fleet.reach_each_other(worker, other) for other in fleet.workers if other is not worker):
                self._met_at[worker.name] = now
            if worker.observer is not self._observers.get(worker.name, (None, -inf))[0]:
                self._observers[worker.name] = worker.observer, now
        faults = []
        for address in self._addresses:
            holder = fleet.at(address)
            if holder is not self._holders[address][0]:
                has_moved = self._holders[address][1] > -inf
                self._holders[address] = holder, now
                self._mute[address] += has_moved and holder is not None and holder.is_mute
            for name in self._ailing_at:
                if not self._can_tell(name, address):
                    self._in_the_dark_at[name, address] = now
            able_since = min(map(partial(self._able_since, address), self._ailing_at))
            if fleet.serving(address) is not None or self._is_held_back(address):
                self._served_at[address], self._mute[address] = now, 0
            lasts = now - max(self._served_at[address], able_since)
            self.longest = max(self.longest, lasts)
            within = SERVED_WITHIN + self._mute[address] * fleet.settings.patience
            if lasts > within:
                self._served_at[address] = now
                able = sorted(name for name in self._ailing_at if now - self._able_since(address, name) > within)
                faults.append(f"nobody serves {address} for {lasts:.1f} s, though {', '.join(able)} could")
        return faults

    def _able_since(self, address: Target, name: str) -> float:
        """Since when nothing has kept this worker from taking the address, and it could tell that it should."""
        return max(self._ailing_at[name], self._in_the_dark_at.get((name, address), -inf))

    def _can_tell(self, name: str, address: Target) -> bool:
        """Whether this worker may take the address because of its silence (R6).

        It may not if it has seen the address move to its holder and has reached no other worker since: then this worker
        may be cut off, and the holder well (docs/adr/0006-a-successor-is-given-its-time.md).
        """
        holder, since = self._holders[address]
        began_at = self._observers.get(name, (None, -inf))[1]
        return holder is None or holder.is_ended or began_at > since or self._met_at.get(name, -inf) >= since

    def _is_held_back(self, address: Target) -> bool:
        """Whether moves of the address are held back: by a person's pause, by another owner's tag, or by the ration
        (R12) as long as its holder has not ended.
        """
        fleet, wall, holder = self._fleet, self._fleet.wall, self._fleet.at(address)
        enis = fleet.enis(address)
        keys = {ration.TAG, self._way.of_one(ration.TAG, address)}
        recorded = ration.merged(
            value for eni in fleet.ec2.state.enis.values() for key, value in eni.tags.items() if key in keys
        )
        is_paused = any(float(eni.tags.get(pause.TAG) or 0.0) > wall for eni in enis)
        is_others = any(eni.tags.get(OWNER_TAG) != fleet.settings.name for eni in enis)
        is_rationed = holder is not None and not holder.is_ended and ration.wait(recorded, wall, "") > 0
        return is_paused or is_others or is_rationed

    def _could_serve(self, worker: Worker) -> bool:
        """Whether nothing keeps the worker from learning that an address is unserved, or from taking it."""
        fleet, observer, cloud = self._fleet, worker.observer, worker.cloud
        if observer is None or observer.is_paused or observer.is_stopping or not worker.runs or worker.is_ended:
            return False
        if (
            worker.problem
            or worker.notice
            or worker.blind
            or worker.hides_devices
            or worker.device_takes is not None
            or worker.is_mute
            or worker.drops_pings
            or worker.pod != LIVING
            or worker.api_server_fails
            or worker.pod_before is not None
        ):
            return False
        if worker.wall_ahead or worker.is_imds_silent or worker.imds_lag or not worker.serves:
            return False
        if worker.waits_long or not cloud.reachable or cloud.denied or cloud.omitted or cloud.lag:
            return False
        if any(trouble.hits < trouble.most for trouble in fleet.troubles) or fleet.loss or fleet.delay:
            return False
        if not all(
            fleet.reach_each_other(worker, other) for other in fleet.workers if other is not worker and other.runs
        ):
            return False
        if fleet.settings.carry is Carry.ADDRESS:
            return any(eni.attachment is not None for eni in fleet.standing(worker))
        return len(worker.enis()) <= self._slots
