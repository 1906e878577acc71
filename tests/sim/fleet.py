"""
Whole agents in simulated time: the product's own, each on a worker of one VPC, over the pure EC2.

What happens next is the earliest entry of a heap, and every chance is drawn from one seed: so one seed is one history,
however often it is told.  Real are the agents, what their effects mean (`runtime.doing`), the pace of their probes,
what they answer each other, and what a look at EC2 asks.  The workers' kernels, the network and IMDS (worker.py) are as
simple as can be.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from itertools import count
from typing import Any

from floatingip.core.model import Address, Eni, Target
from floatingip.core.settings import Settings
from tests.fakes.ec2 import Delays, FakeEc2
from tests.sim.worker import Worker

ADDRESS = IPv4Address("10.0.0.100")
NAME = "cluster"
WALL = 1_764_000_000.0
"""Unix time when a fleet's clock shows 0."""


@dataclass(frozen=True)
class Profile:
    """
    How long EC2 takes, in seconds, as `lab.ec2.Profile` has it.

    answer: the shortest and the longest call.  device: from `attached` until the guest sees the device.
    """

    delays: Delays = field(default_factory=Delays)
    answer: tuple[float, float] = (0.001, 0.002)
    device: float = 0.0


INSTANT = Profile(Delays(shutdown=0.5))
TYPICAL = Profile(
    Delays(attach=3.0, detach=2.5, force_detach=2.5, assign=1.2, unassign=0.6, release=20.0, shutdown=30.0),
    answer=(0.010, 0.030),
    device=1.0,
)


class Fleet:
    """
    A VPC with so many ``workers``, called a, b, ...; ``settings`` are those of the agents.

    ``lines`` is the history of what happens, told so far.  ``cut`` are pairs of workers' names between which nothing
    passes, ``loss`` is the share of probes and questions that are lost.
    """

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 2,
        targets: tuple[Target, ...] = (ADDRESS,),
        profile: Profile = TYPICAL,
        **settings: Any,
    ) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.profile = profile
        self.settings = Settings(targets, name=NAME, **settings)
        self.ec2 = FakeEc2(profile.delays)
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.lines: list[str] = []
        self.cut: set[frozenset[str]] = set()
        self.loss = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self.workers = [Worker(self, name, f"10.0.0.{10 + n}") for n, name in enumerate("abcde"[:workers])]
        self._shown = self.ec2.state

    # Time.

    @property
    def wall(self) -> float:
        """Unix time."""
        return WALL + self.now

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do this so many seconds later."""
        heapq.heappush(self._heap, (self.now + delay, next(self._number), action))

    def run(self, until: float) -> None:
        """Let all happen that is due by then."""
        while (at := min(self.ec2.due(), self._heap[0][0] if self._heap else until + 1)) <= until:
            self.now = at
            self.ec2.advance(at)
            self._follow_ec2()
            while self._heap and self._heap[0][0] <= at:
                heapq.heappop(self._heap)[2]()
                self._follow_ec2()
        self.now = until
        self.ec2.advance(until)

    def tell(self, who: str, what: str) -> None:
        """Add a line to the history."""
        self.lines.append(f"{self.now:9.3f}  {who:6}  {what}")

    # EC2.

    def _follow_ec2(self) -> None:
        """Devices come and go by what EC2 has just done."""
        before, now = self._shown.enis, self.ec2.state.enis
        if now is before:
            return
        self._shown = self.ec2.state
        for eni_id in sorted(before.keys() | now.keys()):
            was, is_now = before.get(eni_id), now.get(eni_id)
            if was == is_now:
                continue
            lost, got = _device(was), _device(is_now)
            if lost is not None and lost != got:
                self.worker(lost[0]).unplug(lost[1])
            if got is not None and got != lost:
                self.after(self.profile.device, partial(self._plug, eni_id, *got))
            self._tell_of(was, is_now)

    def _plug(self, eni_id: str, instance_id: str, mac: str) -> None:
        if _device(self.ec2.state.enis.get(eni_id)) == (instance_id, mac):
            self.worker(instance_id).plug(mac)

    def _tell_of(self, was: Eni | None, is_now: Eni | None) -> None:
        eni = is_now or was
        assert eni is not None, "it was there before, or it is now"
        if self._told(was) != self._told(is_now):
            self.tell("EC2", f"interface of {eni.tags.get('Name', eni.id)}: {self._told(is_now)}")

    def _told(self, eni: Eni | None) -> str:
        if eni is None:
            return "none"
        at = eni.attachment
        where = f"{at.status} at {self.worker(at.instance_id).name}" if at is not None else "free"
        return " ".join([where, *(f"with {address}" for address in (*eni.secondary, *eni.ipv6s))])

    # The network.

    def worker(self, instance_id: str) -> Worker:
        """The worker by its instance's id."""
        return next(worker for worker in self.workers if worker.id == instance_id)

    def at(self, address: Address) -> Worker | None:
        """The worker that EC2 leads an address to, whether or not anything answers there."""
        for eni in self.ec2.occupants(self.ec2.state, frozenset({address})):
            if eni.attachment is not None:
                return self.worker(eni.attachment.instance_id)
        return None

    def serving(self, address: Address = ADDRESS) -> Worker | None:
        """The worker that answers at a floating address."""
        worker = self.at(address)
        return worker if worker is not None and worker.carries(address) else None

    def carrying(self, address: Address = ADDRESS) -> list[Worker]:
        """The workers that have it configured, whomever EC2 leads it to."""
        return [worker for worker in self.workers if address in worker.plumbed]

    def passes(self, a: Worker, b: Worker) -> bool:
        """Whether what the one sends reaches the other, and its answer comes back."""
        if not (a.is_on and b.is_on) or frozenset({a.name, b.name}) in self.cut:
            return False
        return not self.loss or self.chance.random() >= self.loss


def _device(eni: Eni | None) -> tuple[str, str] | None:
    """The instance that has the ENI's device, or is about to see it, and the device's MAC."""
    attachment = eni.attachment if eni is not None else None
    if eni is None or attachment is None or attachment.status not in ("attached", "detaching"):
        return None
    return attachment.instance_id, eni.mac
