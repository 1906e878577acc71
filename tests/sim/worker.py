"""One worker of a fleet: its kernel, what IMDS and the API server tell there, and the observer that runs on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from floatingip.agent.agent import Agent
from floatingip.agent.effects import Probing, Tell, Wanted
from floatingip.agent.events import (
    AddressesShown,
    Event,
    Heard,
    LookWanted,
    MetadataTroubled,
    Noticed,
    PodShown,
    Reconciled,
    Terminated,
)
from floatingip.core.errors import CloudError
from floatingip.core.model import (
    Address,
    Eni,
    Extent,
    Identity,
    Interface,
    Notice,
    OwnPod,
    Plumbing,
    PlumbingReport,
    PlumbingState,
    ProbeOutcome,
    ProbeResult,
    Sight,
    Target,
)
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Answer, parse
from floatingip.edges.telemetry import quoted
from floatingip.runtime.desk import Desk
from floatingip.runtime.doing import Doer, Edges
from floatingip.runtime.keeping import Keeper
from floatingip.runtime.look import Asking
from floatingip.runtime.peers import ASK_EVERY, ASK_TIMEOUT
from floatingip.runtime.probing import Probes
from floatingip.runtime.questions import METADATA_EVERY, MetadataLoop
from tests.fakes.ec2 import REGION, ZONE, FakeCloud

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet

T = TypeVar("T")

GROUP = "sg-1"
TAGS = {"kubernetes.io/cluster/cluster": "owned"}
ROUND_TRIP = 0.001
"""Seconds until a probe or a question is answered within a zone."""

KERNEL_TAKES = 0.02
"""Seconds until it is seen to what is wanted of the kernel, or has changed there."""

LIVING = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
"""A pod that is well."""


class Worker:
    """
    An instance; its devices by MAC, and which of them carries each address.

    ``is_on``: its kernel runs; ``pod`` is what the API server says of its observer's pod, ``notice`` what IMDS
    announces; ``cloud`` is EC2 as it is reached from here.
    """

    def __init__(self, fleet: Fleet, name: str, address: str) -> None:
        self.fleet = fleet
        self.name = name
        self.address = IPv4Address(address)
        self.id = fleet.ec2.add_instance(address, fleet.subnet, tags=TAGS)
        self.cloud = FakeCloud(fleet.ec2, (GROUP,))
        self.is_on = True
        self.devices: set[str] = set()
        self.plumbed: dict[Address, str] = {}
        self.pod: OwnPod = LIVING
        self.notice: Notice | None = None
        self.observer: Observer | None = None

    def enis(self) -> list[Eni]:
        """What EC2 has attached here."""
        enis = self.fleet.ec2.state.enis.values()
        return [eni for eni in enis if eni.attachment is not None and eni.attachment.instance_id == self.id]

    def identity(self) -> Identity:
        """As IMDS tells it."""
        (primary,) = (eni for eni in self.enis() if eni.address == self.address)
        subnet = self.fleet.subnet.id
        return Identity(self.id, REGION, ZONE, "vpc-1", subnet, primary.mac, self.address, (GROUP,))

    def carries(self, address: Address) -> bool:
        """What EC2 leads here for this address is answered."""
        macs = {eni.mac for eni in self.enis() if eni.occupies(address)}
        return self.is_on and self.plumbed.get(address) in macs

    def plug(self, mac: str) -> None:
        """A device appears."""
        if self.is_on:
            self.devices.add(mac)
            self._changed()

    def unplug(self, mac: str) -> None:
        """A device goes, and what was configured on it."""
        self.devices.discard(mac)
        self.plumbed = {address: on for address, on in self.plumbed.items() if on != mac}
        self._changed()

    def _changed(self) -> None:
        if self.observer is not None:
            self.observer.see_to_kernel()

    # What befalls it.

    def start(self) -> None:
        """Start an observer."""
        self.observer = Observer(self)
        self.fleet.tell(self.name, "an observer starts")
        self.observer.begin_to_observe()

    def kill(self) -> None:
        """SIGKILL: the observer is no more; what it configured stays."""
        if self.observer is not None:
            self.fleet.tell(self.name, "the observer is killed")
            self.observer.is_alive, self.observer = False, None

    def cut_power(self) -> None:
        """The machine is off; EC2 calls the instance running."""
        self.fleet.tell(self.name, "loses power")
        self.is_on = False
        if self.observer is not None:
            self.observer.is_alive, self.observer = False, None


class Observer:
    """An observer on a worker; it is the crew of its doer, in simulated time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._fleet = fleet = worker.fleet
        self.is_alive = True
        self.agent = Agent(
            fleet.settings, worker.identity(), observes=True, started_at=fleet.now, chance=fleet.chance.uniform
        )
        kernel = Kernel(worker)
        edges = Edges(worker.cloud, kernel, self._no_prober, kernel, kernel)
        self._doer = Doer(fleet.settings, worker.identity(), edges, self, Inline)
        self._desk = Desk(
            worker.address,
            lambda: self._doer.published,
            lambda _snapshot: "",
            partial(self.post, LookWanted()),
            self._doer.roster,
            self._sight,
            self.now,
        )
        self._inbox: list[Event] = []
        self._turn_at = float("inf")
        self._delay = 0.0
        self._probes: dict[Probing, Probes] = {}
        self._keeper = Keeper(kernel, lambda target, report: self.post(Reconciled(target, report)))
        self._is_kernel_due = False
        self._asked: dict[str, Address] = {}
        self._doubted: frozenset[str] = frozenset()
        self._pod_every = 0.0
        self._imds = MetadataLoop(
            kernel,
            self._doer.macs_at_risk,
            lambda *shown: self.post(AddressesShown(*shown)),
            lambda notice: self.post(Noticed(notice)),
            lambda problem: self.post(MetadataTroubled(problem)),
        )

    def begin_to_observe(self) -> None:
        """Begin."""
        self._turn_by(0.0)
        self._ask_metadata()

    @property
    def published(self) -> Snapshot:
        """What others may know."""
        return self._doer.published

    def stop(self) -> None:
        """SIGTERM."""
        self.post(Terminated())

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        """Do this then, if this observer still lives."""
        self._fleet.after(delay, lambda: action() if self.is_alive else None)

    # The agent's turns.

    def _turn_by(self, delay: float) -> None:
        at = self._fleet.now + delay
        if at < self._turn_at:
            self._turn_at = at
            self._later(delay, partial(self._turn, at))

    def _turn(self, at: float) -> None:
        if at != self._turn_at:
            return
        self._turn_at = float("inf")
        events, self._inbox = self._inbox, []
        for effect in self.agent.handle(events, self._fleet.now, self._fleet.wall):
            self._doer.do(effect)
        if self._doer.end is not None:
            self._fleet.tell(self._worker.name, "the observer ends")
            self.is_alive = False
        self._turn_by(max(0.0, self.agent.due() - self._fleet.now))

    # As the doer's crew.

    def now(self) -> float:
        """See `Crew`."""
        return self._fleet.now

    def post(self, event: Event) -> None:
        """See `Crew`; what a job under way finds comes when its answer would."""
        if self._delay:
            self._later(self._delay, partial(self._receive, event))
        else:
            self._receive(event)

    def _receive(self, event: Event) -> None:
        self._inbox.append(event)
        self._turn_by(0.0)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """See `Crew`: EC2 does it half-way through the time that it takes."""
        half = self._fleet.chance.uniform(*self._fleet.profile.answer) / 2
        self._later(half, partial(self._do, job, half))

    def _do(self, job: Callable[[], None], half: float) -> None:
        self._delay = half
        job()
        self._delay = 0.0

    def probe(self, probings: frozenset[Probing]) -> None:
        """See `Crew`."""
        before = self._probes
        self._probes = {}
        for probing in sorted(probings, key=str):
            probes = before.get(probing)
            if probes is None:
                probes = Probes(probing, Probe(self._worker, probing), self.post)
                self._later(0.0, partial(self._probe, probing, probes))
            self._probes[probing] = probes

    def _probe(self, probing: Probing, probes: Probes) -> None:
        if self._probes.get(probing) is not probes:
            return
        now = self._fleet.now
        if probes.prober.due_at() <= now:
            probes.collect()
        if probes.due_at() <= now:
            probes.send(now)
        due = min(probes.due_at(), probes.prober.due_at())
        self._later(max(0.0, due - now), partial(self._probe, probing, probes))

    def keep(self, target: Target, wanted: Wanted) -> None:
        """See `Crew`."""
        self._keeper.want(target, wanted)
        self.see_to_kernel()

    def announce(self, target: Target) -> None:
        """See `Crew`: nobody here has a neighbour's cache."""

    def see_to_kernel(self) -> None:
        """Something is wanted, or has changed."""
        if not self._is_kernel_due:
            self._is_kernel_due = True
            self._later(KERNEL_TAKES, self._keep)

    def _keep(self) -> None:
        self._is_kernel_due = False
        self._keeper.turn(self._fleet.now, changed=True)

    def ask_peers(self, addresses: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """See `Crew`."""
        hurry = bool(doubted - self._doubted)
        before, self._asked, self._doubted = self._asked, dict(addresses), doubted
        for instance_id, address in addresses.items():
            if before.get(instance_id) != address:
                self._ask(instance_id, address)
            elif hurry:
                self._question(instance_id)

    def _ask(self, instance_id: str, address: Address) -> None:
        if self._asked.get(instance_id) == address:
            self._question(instance_id)
            self._later(ASK_EVERY, partial(self._ask, instance_id, address))

    def _question(self, instance_id: str) -> None:
        fleet, asked_at, peer = self._fleet, self._fleet.now, self._fleet.worker(instance_id)
        if not fleet.passes(self._worker, peer):
            self._later(ASK_TIMEOUT, lambda: self._heard(instance_id, Answer(asked_at, fleet.now, None)))
            return
        query = urlencode({"asker": self._worker.id, "doubt": sorted(self._doubted)}, doseq=True)
        if peer.observer is None:
            answer = Answer(asked_at, asked_at + ROUND_TRIP, None, refused=True)
        else:
            code, body = peer.observer.answer(f"/v1/word?{query}", str(self._worker.address))
            assert code is HTTPStatus.OK, body
            answer = Answer(asked_at, asked_at + ROUND_TRIP, parse(body.encode()))
        self._later(ROUND_TRIP, lambda: self._heard(instance_id, answer))

    def _heard(self, instance_id: str, answer: Answer) -> None:
        self.post(Heard(instance_id, answer))

    def answer(self, target: str, source: str) -> tuple[HTTPStatus, str]:
        """What its port answers."""
        return self._desk.answer(target, source)

    def ask_pod(self, every: float) -> None:
        """See `Crew`."""
        before, self._pod_every = self._pod_every, every
        if not before or every < before:
            self._ask_pod(every)

    def _ask_pod(self, every: float) -> None:
        if every == self._pod_every:
            self.post(PodShown(replace(self._worker.pod, asked_at=self._fleet.now)))
            self._later(every, partial(self._ask_pod, every))

    def tell(self, line: Tell) -> None:
        """See `Crew`."""
        fields = " ".join(f"{key}={quoted(value)}" for key, value in line.fields.items() if key != "address")
        self._fleet.tell(self._worker.name, f"{line.event}: {line.message} {fields}".rstrip())

    def _ask_metadata(self) -> None:
        self._imds.ask(self._fleet.now)
        self._later(METADATA_EVERY, self._ask_metadata)

    def _sight(self, asker: str, source: Address) -> Sight:
        """The holder's check, from the floating address, whether it reaches the asker."""
        fleet, there = self._fleet, ip_address(asker)
        peer = next((worker for worker in fleet.workers if worker.address == there), None)
        seen = peer is not None and fleet.serving(source) is self._worker and fleet.passes(self._worker, peer)
        return Sight.SEEN if seen else Sight.UNSEEN

    def _no_prober(self, address: Address) -> Probe:
        raise AssertionError(f"{address} is probed by the crew")


class Inline(Asking):
    """The calls of one look, without threads: all of them at the same moment, and each of them once."""

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask."""
        self.calls.append(None)
        return ask()

    def begin(self, ask: Callable[[], T]) -> Future[T]:
        """Ask at once."""
        answer: Future[T] = Future()
        try:
            answer.set_result(self.patiently(ask))
        except CloudError as error:
            answer.set_exception(error)
        return answer


class Probe:
    """`ports.Prober`: it is answered if the worker that EC2 leads the address to carries it."""

    def __init__(self, worker: Worker, probing: Probing) -> None:
        self._worker = worker
        self._address = probing.address
        self._timeout = worker.fleet.settings.probe_timeout
        self._under_way: list[ProbeResult] = []

    def send(self) -> None:
        """See `ports.Prober`."""
        fleet, now = self._worker.fleet, self._worker.fleet.now
        there = fleet.serving(self._address)
        if there is not None and fleet.passes(self._worker, there):
            self._under_way.append(ProbeResult(now, now + ROUND_TRIP, ProbeOutcome.ANSWERED))
        else:
            self._under_way.append(ProbeResult(now, now + self._timeout, ProbeOutcome.LOST))

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        known = [result for result in self._under_way if result.known_at <= self._worker.fleet.now]
        self._under_way = self._under_way[len(known) :]
        return known

    def due_at(self) -> float:
        """See `ports.Prober`."""
        return self._under_way[0].known_at if self._under_way else float("inf")

    def files(self) -> list[tuple[int, int]]:
        """See `ports.Prober`: there is nothing to wait for but time."""
        return []


class Kernel:
    """`ports.Host`, `ports.Metadata` and `ports.Orders` of a worker: it does as it is told, and tells what is so."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        """See `ports.Host`."""
        plumbed, address, mac = self._worker.plumbed, plumbing.address, plumbing.mac
        if mac not in self._worker.devices:
            return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
        is_there = plumbed.get(address) == mac
        if extent is Extent.AS_FOUND:
            extent = Extent.ALL if is_there else Extent.AHEAD
        if extent is Extent.AHEAD:
            removed = ("address",) if plumbed.pop(address, None) is not None else ()
            return PlumbingReport(PlumbingState.SOUND, removed=removed, extent=extent)
        plumbed[address] = mac
        return PlumbingReport(PlumbingState.SOUND, () if is_there else ("address",), extent=extent)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """See `ports.Host`."""
        return () if self._worker.plumbed.pop(plumbing.address, None) is None else ("address",)

    def announce(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def route_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def blind(self, plumbing: Plumbing) -> str:
        """See `ports.Host`."""
        return ""

    def watch(self, wake: Callable[[], None]) -> None:
        """See `ports.Host`: the worker tells its observer itself."""

    def identity(self) -> Identity:
        """See `ports.Metadata`."""
        return self._worker.identity()

    def interface_with(self, address: Address) -> Interface | None:
        """See `ports.Metadata`."""
        network = self._worker.fleet.subnet.network_of(address)
        assert network is not None, "the subnet has addresses of both kinds"
        found = (Interface(eni.mac, network) for eni in self._worker.enis() if eni.occupies(address))
        return next(found, None)

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """See `ports.Metadata`."""
        for eni in self._worker.enis():
            if eni.mac == mac:
                return frozenset(filter(None, (eni.address, *eni.secondary, *eni.ipv6s)))
        return None

    def notice(self) -> Notice | None:
        """See `ports.Metadata`."""
        return self._worker.notice

    def own_pod(self) -> OwnPod:
        """See `ports.Orders`."""
        return replace(self._worker.pod, asked_at=self._worker.fleet.now)
