"""
A history of whole agents, made from a seed: a fleet comes up, misfortunes befall it, and in the end all addresses are
served again.

The seed decides how many workers and addresses there are, how the addresses are carried, how long EC2 takes, when each
observer starts, and what happens when: a holder loses power, or many misfortunes happen (nemesis.py).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.settings import AUTO
from tests.sim.fleet import INSTANT, TYPICAL, Fleet
from tests.sim.invariants import Invariants, foreign
from tests.sim.liveness import Liveness
from tests.sim.nemesis import plan, strike

ADDRESSES: tuple[Address, ...] = (
    IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100"), IPv4Address("10.0.0.101"),
)  # fmt: skip
FREE_SLOTS = 2
"""How many ENIs fit on a worker of a fleet, beside its primary one."""

ELASTIC, SERVICE = 0.25, 0.25
"""The share of histories in which the last address is an Elastic IP, and of those in which a NodePort is checked."""

UP_WITHIN = 60.0
"""Seconds within which a fleet must have come up: all addresses are served, and all other observers see them answer."""

SETTLED_FOR = 5.0
"""Seconds that a history goes on once all addresses are served again."""

DETECTION, MARGIN = 1.5, 5.0
"""Seconds that may pass until a death is known, and seconds that a failover may take beyond that and EC2's own time."""

SERVED_WITHIN = 30.0
"""Seconds after the last misfortune within which all addresses must be served again: it may take 15 s until EC2 is
asked again.
"""

CALM_FOR = 60.0
"""Seconds after that in which nothing may move."""


GIVEN_BACK_WITHIN = 180.0
"""Seconds after that within which a surplus interface must be given back; one was made while another's tags named a
different owner.  Looks in peace are a minute apart, and each step takes one look.
"""


@dataclass(frozen=True)
class Outcome:
    """The result of a seed: the history's ``lines``, the longest ``outage`` in seconds, the ``faults``, and the number
    of misfortunes.
    """

    seed: int
    lines: tuple[str, ...]
    outage: float
    faults: tuple[str, ...]
    strokes: int = 0


class History:
    """The history of one seed; ``strokes`` are its misfortunes, if it is played with a nemesis."""

    def __init__(self, seed: int, *, only: Collection[str] = (), rounds: int = 1, hasty: bool = False) -> None:
        self._seed = seed
        self._hasty = hasty
        draw = random.Random(f"history {seed}")
        self._draw = draw
        carry = draw.choice(tuple(Carry))
        workers = draw.randint(2, 5)
        most = len(ADDRESSES) if carry is Carry.ADDRESS else min(len(ADDRESSES), FREE_SLOTS * (workers - 1))
        self._addresses: tuple[Target, ...] = ADDRESSES[: draw.randint(1, most)]
        self._profile = draw.choice((INSTANT, TYPICAL))
        self._carry = carry
        more = random.Random(f"elastic {seed}")
        is_elastic, service = more.random() < ELASTIC, "tcp:30080" if more.random() < SERVICE else AUTO
        self.fleet = Fleet(
            seed, workers=workers, targets=self._addresses, profile=self._profile, carry=carry, service=service
        )
        if is_elastic:
            elastic = Allocation(self.fleet.ec2.allocate("203.0.113.100"))
            self._addresses = (*self._addresses[:-1], elastic)
            self.fleet.retarget(*self._addresses)
        self.strokes = plan(random.Random(f"nemesis {seed}"), only, rounds)
        self._invariants = Invariants(self.fleet, self._addresses, foreign(self.fleet))
        self._liveness = Liveness(self.fleet, self._addresses, FREE_SLOTS)
        self._faults = self._invariants.faults

    def play(self, *, nemesis: bool = False) -> Outcome:
        """Play the history, with misfortunes if ``nemesis``, otherwise with a power cut."""
        fleet, draw = self.fleet, self._draw
        served = ", ".join(map(str, self._addresses))
        fleet.tell("", f"{len(fleet.workers)} workers, carry: {self._carry}, {served}")
        for worker in fleet.workers:
            fleet.after(draw.uniform(0.0, 5.0), worker.start)
        if not self._until(self._is_at_peace, UP_WITHIN):
            self._faults.append(f"not at peace within {UP_WITHIN:g} s")
        self._watch(draw.uniform(0.0, 3.0))
        outage = self._strike() if nemesis else self._cut_power()
        self._look_for_leaks()
        self._look_for_room()
        return Outcome(self._seed, tuple(fleet.lines), outage, tuple(self._faults), len(self.strokes) if nemesis else 0)

    def _strike(self) -> float:
        """Let the misfortunes happen; return how many seconds after the last one all addresses were served."""
        fleet = self.fleet
        over_at = strike(fleet, self.strokes)
        self._watch(over_at + 0.01 - fleet.now)
        if not self._until(self._is_served, SERVED_WITHIN):
            self._faults.append(f"not served again {SERVED_WITHIN:g} s after all was over")
            return SERVED_WITHIN
        took = fleet.now - over_at
        if not self._until(self._is_settled, CALM_FOR):
            self._faults.append("a detach or an attach does not come to an end")
        self._watch(SETTLED_FOR)
        moves = self._moves()
        if self._hasty:
            return took
        self._watch(CALM_FOR)
        if self._moves() != moves or not self._is_served():
            self._faults.append("something moved though nothing happened any more")
        return took

    def _moves(self) -> list[int]:
        return [len(self.fleet.stays(address)) for address in self._addresses]

    def _cut_power(self) -> float:
        """A holder loses power; return after how many seconds all addresses were served again."""
        fleet = self.fleet
        victims = sorted({holder.name for address in self._addresses if (holder := fleet.serving(address))})
        outage = 0.0
        if victims:
            before = self._moves()
            name, blow = self._draw.choice(victims), fleet.now
            next(worker for worker in fleet.workers if worker.name == name).cut_power()
            if self._until(self._is_served, self._bound()):
                outage = fleet.now - blow
                self._watch(SETTLED_FOR)
                for address, times, now in zip(self._addresses, before, self._moves(), strict=True):
                    if now - times > 1:
                        self._faults.append(f"{address} moved {now - times} times for one death")
            else:
                self._faults.append(f"not served again within {self._bound():.1f} s")
        return outage

    def _bound(self) -> float:
        """Seconds within which all addresses must be served again, if a healthy worker is left and EC2 answers."""
        delays = self._profile.delays
        if self._carry is Carry.ENI:
            ec2 = delays.detach + delays.attach + self._profile.device
        else:
            ec2 = delays.unassign + delays.assign
        return DETECTION + ec2 + MARGIN

    def _is_served(self) -> bool:
        return all(self.fleet.serving(address) is not None for address in self._addresses)

    def _is_settled(self) -> bool:
        """Whether no move is under way; a detach that hangs must be forced first."""
        enis = [eni for address in self._addresses for eni in self.fleet.enis(address)]
        return all(eni.attachment is not None and eni.attachment.status == "attached" for eni in enis)

    def _is_at_peace(self) -> bool:
        """Whether every observer holds each address, or sees it answer where it is by EC2."""
        seen = {address: self._sighting(address) for address in self._addresses}
        for worker in self.fleet.workers:
            if worker.observer is None:
                return False
            word = worker.observer.published.status
            if not all(str(address) in word.holds or seen[address] in word.sees_up for address in self._addresses):
                return False
        return True

    def _sighting(self, address: Target) -> str:
        for eni in self.fleet.enis(address):
            if eni.attachment is not None:
                return way_to(self._carry).of_one(eni.attachment.id, address)
        return "nobody has it"

    def _until(self, condition: Callable[[], bool], within: float) -> bool:
        deadline = self.fleet.now + within
        while not condition():
            if self.fleet.now >= deadline or (self._hasty and self._faults):
                return False
            self._watch(0.05)
        return True

    def _watch(self, seconds: float) -> None:
        """Let time pass, and check the invariants and the liveness all the time."""
        fleet, until = self.fleet, self.fleet.now + seconds
        while fleet.now < until and not (self._hasty and self._faults):
            fleet.run(min(until, fleet.now + 0.25))
            self._invariants.look()
            self._faults += self._liveness.look()

    def _look_for_leaks(self) -> None:
        if not self._until(lambda: self._surplus() <= 0, GIVEN_BACK_WITHIN if self._may_leave_one() else 0.0):
            self._faults.append(f"{self._surplus()} interfaces of ours are too many")

    def _may_leave_one(self) -> bool:
        """Whether an interface's tag named another owner for a while, in which its node may have made another one."""
        return any(stroke.what.leaves_one for stroke in self.strokes)

    def _surplus(self) -> int:
        """How many more interfaces of ours there are than needed."""
        fleet = self.fleet
        ours = {eni.id for eni in fleet.ec2.state.enis.values() if eni.tags.get(OWNER_TAG) == fleet.settings.name}
        if any(stroke.what.leaves_orphans for stroke in self.strokes):
            ours -= self._told_orphans() - {eni.id for each in self._addresses for eni in self.fleet.enis(each)}
        return len(ours) - (len(self._addresses) if self._carry is Carry.ENI else len(fleet.workers))

    def _told_orphans(self) -> set[str]:
        """The interfaces that observers have reported as orphans."""
        observers = [worker.observer for worker in self.fleet.workers if worker.observer is not None]
        told = " ".join(line.message for each in observers for line in each.logged("orphans"))
        return set(re.findall(r"eni-[0-9a-f]+", told))

    def _look_for_room(self) -> None:
        """With carry: address, check that each worker with an observer has a standing interface attached."""
        if self._carry is Carry.ENI:
            return
        for worker in self.fleet.workers:
            attached = [eni for eni in self.fleet.standing(worker) if eni.attachment is not None]
            if worker.observer is not None and not attached:
                self._faults.append(f"{worker.name} has no standing interface")


def play(seed: int, *, hasty: bool = False) -> Outcome:
    """Play one history with a power cut; ``hasty``: its first fault ends it."""
    return History(seed, hasty=hasty).play()


def suffer(
    seed: int, spared: Collection[int] = (), *, only: Collection[str] = (), rounds: int = 1, hasty: bool = False
) -> Outcome:
    """Play one history with so many ``rounds`` of misfortunes, without those with the numbers ``spared``; if ``only``
    is given, with these misfortunes only.

    ``hasty``: its first fault ends it, and it does not wait to see that all stays calm.
    """
    history = History(seed, only=only, rounds=rounds, hasty=hasty)
    history.strokes = tuple(stroke for number, stroke in enumerate(history.strokes) if number not in spared)
    return history.play(nemesis=True)
