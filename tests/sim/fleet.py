"""
Whole agents of the product in simulated time, each on a worker of one VPC, with the pure model of EC2.

The next thing to happen is the earliest entry of a heap, and all chance comes from one seed: so one seed always gives
the same history.  The product's own code decides and acts: the agents, their effects (`runtime.doing`), the pace of
their probes, their answers to each other, and the questions of a look at EC2.  The workers' kernels, the network and
IMDS (worker.py) are as simple as possible.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from itertools import count
from typing import Any

from floatingip.agent.effects import Tell
from floatingip.core.ec2 import Eni
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.settings import Settings
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import INSTANCE_TYPE, WALL, Delays, FakeEc2
from tests.sim.layout import Layout
from tests.sim.line import WRITES, Call, Happening, Trouble, nothing
from tests.sim.observer import Observer
from tests.sim.ports import PROBES, QUESTIONS
from tests.sim.worker import GROUP, Worker

ADDRESS = IPv4Address("10.0.0.100")
NAME = "cluster"


@dataclass(frozen=True)
class Profile:
    """
    How long EC2 takes, in seconds, like `lab.ec2.Profile`.

    answer: the shortest and the longest time of a call.  device: from `attached` until the guest sees the device.
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
    A VPC with so many ``workers``, named a, b, ...; ``settings`` are the agents'.

    ``lines`` is the history so far.  ``cut``: pairs of workers' names between which nothing passes.  ``lost``: (probes
    or questions, sender's name, name of the worker that they do not reach).  ``loss``: the share of probes and
    questions that are lost; ``delay``: how many seconds longer all of them take.  ``called`` is called before each call
    to EC2, ``told`` at each line of a log, and ``dropped`` (worker, address) when an observer takes an address off its
    worker.  Each of ``beginning`` (worker, what) is called when an observer begins something that takes time, before
    any of it is done.

    ``recorded``: all calls to EC2; ``troubles``: what happens at some of them; ``cloud``: EC2 for the test itself.
    """

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 2,
        targets: tuple[Target, ...] = (ADDRESS,),
        profile: Profile = TYPICAL,
        instance_type: str = INSTANCE_TYPE,
        **settings: Any,
    ) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.profile = profile
        self.settings = Settings(targets, name=NAME, **settings)
        self.ec2 = FakeEc2(profile.delays)
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.cloud = FakeCloud(self.ec2, (GROUP,))
        self.recorded: list[Call] = []
        self.troubles: list[Trouble] = []
        self.lines: list[str] = []
        self._stays: dict[Target, list[tuple[str, str]]] = {}
        self._present: dict[Target, str] = {}
        self.cut: set[frozenset[str]] = set()
        self.lost: set[tuple[str, str, str]] = set()
        self.loss = self.delay = 0.0
        self.called: Callable[[Call], object] = nothing
        self.told: Callable[[Worker, Tell], object] = lambda worker, line: None
        self.dropped: Callable[[Worker, Address], object] = lambda worker, address: None
        self.beginning: list[Callable[[Worker, str], object]] = []
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._number = count()
        self._layout = Layout({})
        self.workers = [
            Worker(self, name, f"10.0.0.{10 + n}", instance_type) for n, name in enumerate("abcde"[:workers])
        ]
        self._by_id = {worker.id: worker for worker in self.workers}
        self._instance_type = instance_type
        self._shown = self.ec2.state

    def join(self, gone: Worker | None = None, *, instance_id: str = "") -> Worker:
        """Add a worker, without an observer yet.  If it replaces a worker whose instance is ``gone``, it gets that
        one's address.
        """
        name = chr(ord(self.workers[-1].name) + 1)
        address = f"10.0.0.{150 + len(self.workers)}" if gone is None else gone.source
        worker = Worker(self, name, address, self._instance_type, instance_id)
        self.tell(name, "joins" if gone is None else f"joins, with the address of {gone.name}")
        if gone is not None:
            gone.heir = worker
        self.workers.append(worker)
        self._by_id[worker.id] = worker
        return worker

    def retarget(self, *targets: Target) -> None:
        """Observers that start from now on serve these targets."""
        self.settings = replace(self.settings, floating_ips=targets)

    # Time.

    @property
    def wall(self) -> float:
        """The present Unix time."""
        return WALL + self.now

    def after(self, delay: float, action: Callable[[], object]) -> None:
        """Do this so many seconds later."""
        self.do_at(self.now + delay, action)

    def do_at(self, time: float, action: Callable[[], object]) -> None:
        """Do this at that time of the fleet's clock."""
        heapq.heappush(self._heap, (time, next(self._number), action))

    def run(self, until: float) -> None:
        """Let time pass until then."""
        while self._pass_to_next(until):
            pass

    def wait(self, condition: Callable[[], bool], within: float, what: str = "") -> None:
        """Let time pass until the condition is true.  Raises AssertionError, with the history, if it is not ``within``
        so many seconds.
        """
        deadline = self.now + within
        while not condition():
            assert self._pass_to_next(deadline) or condition(), "\n".join([*self.lines, f"not in {within:g} s: {what}"])

    def holds_for(self, condition: Callable[[], bool], seconds: float, what: str = "") -> None:
        """Let time pass; the condition must hold all the time.  Raises AssertionError, with the history, as soon as it
        does not.
        """
        until, going = self.now + seconds, True
        while going:
            assert condition(), "\n".join([*self.lines, f"no more: {what}"])
            going = self._pass_to_next(until)

    def _pass_to_next(self, until: float) -> bool:
        """Do what is due next, if that is by ``until``, and return True; otherwise advance the clock to ``until``, and
        return False.
        """
        heap, ec2 = self._heap, self.ec2
        at = min(ec2.due(), heap[0][0] if heap else until + 1)
        if at > until:
            self.now = until
            ec2.advance(until)
            return False
        self.now = at
        ec2.advance(at)
        self._follow_ec2()
        while heap and heap[0][0] <= at:
            heapq.heappop(heap)[2]()
            if ec2.state is not self._shown:
                self._follow_ec2()
        return True

    def tell(self, who: str, what: str) -> None:
        """Add a line to the history."""
        self.lines.append(f"{self.now:9.3f}  {who:6}  {what}")

    # EC2.

    def layout(self) -> Layout:
        """Where EC2 has each address and each ENI now."""
        if self._layout.enis is not self.ec2.state.enis:
            self._layout = Layout(self.ec2.state.enis)
        return self._layout

    def _follow_ec2(self) -> None:
        """Plug and unplug devices after what EC2 has just done."""
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
                takes = self.worker(got[0]).device_takes
                self.after(self.profile.device if takes is None else takes, partial(self._plug, eni_id, *got))
            self._tell_of(was, is_now)
        self._follow_stays()

    def _follow_stays(self) -> None:
        for target in self.settings.floating_ips:
            at = next((eni.attachment for eni in self.enis(target) if eni.attachment), None)
            if at is not None and at.id != self._present.get(target):
                self._stays.setdefault(target, []).append((at.id, self.worker(at.instance_id).name))
            self._present[target] = at.id if at is not None else ""

    def _probed_addresses(self) -> list[Address]:
        return [target for target in self.settings.floating_ips if not isinstance(target, Allocation)]

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

    def stays(self, address: Target = ADDRESS) -> list[str]:
        """The names of the workers that had an address by EC2, in order; one that lost it in between is named again."""
        return [name for _, name in self._stays.get(address, [])]

    def attachments(self, address: Target = ADDRESS) -> list[str]:
        """The attachments by which they had it."""
        return [attachment_id for attachment_id, _ in self._stays.get(address, [])]

    def address_of(self, target: Target) -> Address | None:
        """The address that a worker has on its link for a target: for an Elastic IP its private address, None while it
        has none.
        """
        return self.layout().private.get(target.id) if isinstance(target, Allocation) else target

    def enis(self, target: Target = ADDRESS) -> list[Eni]:
        """All ENIs that have the address."""
        address = self.address_of(target)
        return self.layout().having.get(address, []) if address is not None else []

    def eni(self, address: Address = ADDRESS) -> Eni:
        """The only ENI that has the address."""
        (eni,) = self.enis(address)
        return eni

    def standing(self, worker: Worker) -> list[Eni]:
        """The standing ENIs of a worker."""
        return self.layout().standing.get(worker.id, [])

    def calls(self, name: str = "", by: Worker | None = None) -> list[Call]:
        """The observers' calls to EC2 so far, without dry runs."""
        return [
            call
            for call in self.recorded
            if call.name == (name or call.name) and (by is None or call.by == by.name) and call.name != "rehearse"
        ]

    def writes(self, by: Worker | None = None) -> list[Call]:
        """Those of these calls that can change something."""
        return [call for call in self.calls(by=by) if call.name in WRITES]

    def at_calls(
        self,
        *names: str,
        before: Happening = nothing,
        after: Happening = nothing,
        by: Worker | None = None,
        spared: int = 0,
        most: float = float("inf"),
    ) -> Trouble:
        """Have something happen at each call with one of these names (without names: at all calls); see `Trouble`."""
        trouble = Trouble(frozenset(names), before, after, by.name if by is not None else "", spared, most)
        self.troubles.append(trouble)
        return trouble

    # Observers.

    def observers(self) -> list[Observer]:
        """Start an observer on each worker, and wait for peace; the first one holds the addresses."""
        first, *others = self.workers
        addresses = self._probed_addresses()
        observers = [first.start()]
        self.wait(lambda: all(map(first.carries, addresses)), 60, "the first observer holds the addresses")
        observers += [worker.start() for worker in others]
        self.wait_for_peace()
        return observers

    def wait_for_peace(self) -> None:
        """Wait until all observers hold or see each address, have rehearsed a takeover, and ask each other."""
        self.wait(self._is_peace, 60, "peace")
        self.run(self.now + 2.0)

    def _is_peace(self) -> bool:
        observers = [worker.observer for worker in self.workers if worker.observer is not None]
        return all(self._is_at_peace(observer, observers) for observer in observers)

    def _is_at_peace(self, observer: Observer, all_of_them: list[Observer]) -> bool:
        others = {other.worker.id for other in all_of_them} - {observer.worker.id}
        published = observer.published
        # With carry: address, observers do not tell how much room they have.
        has_rehearsed = published.status.free_slots is not None or self.settings.carry is Carry.ADDRESS
        if not has_rehearsed or published.not_ready() or not observer.asks >= others:
            return False
        return all(
            observer.reason(target) == ("HELD_HERE" if str(target) in published.status.holds else "ANSWERS")
            for target in self.settings.floating_ips
        )

    # The network.

    def worker(self, instance_id: str) -> Worker:
        """The worker with this instance id."""
        return self._by_id[instance_id]

    def at(self, address: Target) -> Worker | None:
        """The worker that has the address by EC2, whether or not anything answers there."""
        for eni in self.enis(address):
            if eni.attachment is not None:
                return self.worker(eni.attachment.instance_id)
        return None

    def serving(self, target: Target = ADDRESS) -> Worker | None:
        """The worker that answers at a floating address, None if none does."""
        worker, address = self.at(target), self.address_of(target)
        return worker if worker is not None and address is not None and worker.carries(address) else None

    def having(self, address: Address) -> Worker | None:
        """The worker that answers at this address, be it a floating one or its own."""
        own = next((worker for worker in self.workers if worker.address == address), None)
        return self.serving(address) if own is None else own.at_its_address

    def carrying(self, address: Address = ADDRESS) -> list[Worker]:
        """The workers with power that have the address configured, whoever has it by EC2."""
        return [worker for worker in self.workers if worker.is_on and address in worker.plumbed]

    def is_open(self, a: Worker, b: Worker, what: str) -> bool:
        """Whether ``what`` (probes or questions) of ``a`` is answered by ``b``, leaving random loss aside."""
        if self.cut and frozenset({a.name, b.name}) in self.cut:
            return False
        return a.runs and b.runs and not (self.lost and (what, a.name, b.name) in self.lost)

    def reach_each_other(self, a: Worker, b: Worker) -> bool:
        """Whether probes and questions of both are answered by the other one, leaving random loss aside."""
        if not self.lost:
            return self.is_open(a, b, PROBES)  # What can part them otherwise parts them altogether.
        return all(self.is_open(*pair, what) for pair in ((a, b), (b, a)) for what in (PROBES, QUESTIONS))

    def passes(self, a: Worker, b: Worker, what: str) -> bool:
        """Whether this one gets through, random loss included."""
        if not self.is_open(a, b, what):
            return False
        return not self.loss or self.chance.random() >= self.loss


def _device(eni: Eni | None) -> tuple[str, str] | None:
    """The instance that has the ENI's device, or is about to see it, and the device's MAC."""
    attachment = eni.attachment if eni is not None else None
    if eni is None or attachment is None or attachment.status not in ("attached", "detaching"):
        return None
    return attachment.instance_id, eni.mac
