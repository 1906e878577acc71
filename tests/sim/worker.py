"""One worker of a fleet: its kernel, what IMDS and the API server tell there, and the observer that runs on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, TypeVar, cast

from floatingip.agent.agent import Agent
from floatingip.agent.effects import End, Probing, Tell, Wanted
from floatingip.agent.events import (
    AddressesShown,
    Event,
    Heard,
    LookWanted,
    MetadataTroubled,
    Noticed,
    PodShown,
    Terminated,
)
from floatingip.core import timing
from floatingip.core.ec2 import Eni
from floatingip.core.errors import CloudError, MetadataError
from floatingip.core.model import Address, Target
from floatingip.core.news import News
from floatingip.core.node import Identity, Interface, Notice, OwnPod
from floatingip.core.peer import Sight
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.ports import Cloud
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Answer, Status, parse, to_peer, to_stranger
from floatingip.edges.prometheus import Metrics
from floatingip.edges.telemetry import quoted
from floatingip.runtime.desk import Desk, Told
from floatingip.runtime.doing import Doer, Edges
from floatingip.runtime.keeping import Keeper
from floatingip.runtime.look import Calls
from floatingip.runtime.probing import Probes
from floatingip.runtime.questions import MetadataLoop
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import REGION, ZONE
from tests.sim.layout import Layout
from tests.sim.line import Hung, Killed, Line

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet

T = TypeVar("T")

GROUP = "sg-1"
TAGS = {"kubernetes.io/cluster/cluster": "owned"}
ROUND_TRIP = 0.001
"""Seconds until a probe or a question is answered within a zone."""

KERNEL_TAKES = 0.02
"""Seconds until it is seen to what is wanted of the kernel, or has changed there."""

EC2_GIVEN_UP = 5.0
"""Seconds after which an observer waits no more for a call that hangs."""

PROBES, QUESTIONS = "probes", "questions"
"""What goes from one worker to another."""

LIVING = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
"""A pod that is well."""


class Worker:
    """
    An instance; its devices by MAC, and which of them carries each address.

    ``is_on``: it has power; ``is_hung``: nothing runs, for now.  ``is_mute``: its floating addresses reach nobody, and
    nobody reaches them; ``drops_pings``: but for pings all is well.

    ``problem`` is why the kernel does not do as it is told, and ``answers_unsound`` whether floating addresses answer
    nevertheless; ``blind`` is why no probe would leave.

    ``hides_devices``: those that come are not seen for now.  ``serves``: NodePorts answer there.

    ``pod`` is what the API server says of its observer's pod, None where it does not answer at all; ``notice`` is what
    IMDS announces, ``imds_lacks`` what it never shows, ``is_imds_silent``: it answers nothing; what it shows of
    addresses is ``imds_lag`` seconds old.  Its wall clock is ``wall_ahead`` seconds fast.  ``cloud`` is EC2 as it is
    reached from here.
    """

    def __init__(self, fleet: Fleet, name: str, address: str, instance_type: str) -> None:
        self.fleet = fleet
        self.name = name
        self.address, self.source = IPv4Address(address), address
        self.id = fleet.ec2.add_instance(address, fleet.subnet, instance_type=instance_type, tags=TAGS)
        self.cloud = FakeCloud(fleet.ec2, (GROUP,))
        self.is_on = True
        self.is_hung = self.is_mute = self.drops_pings = False
        self.problem = self.blind = ""
        self.answers_unsound = False
        self.imds_lacks: frozenset[Address] = frozenset()
        self.is_imds_silent = False
        self.imds_lag = self.wall_ahead = 0.0
        self.hides_devices, self.serves = False, True
        self.devices: set[str] = set()
        self.plumbed: dict[Address, str] = {}
        self.pod: OwnPod | None = LIVING
        self.notice: Notice | None = None
        self.observer: Observer | None = None

    def enis(self, lag: float = 0.0) -> list[Eni]:
        """What EC2 has attached here, or had so many seconds ago."""
        fleet = self.fleet
        layout = Layout(fleet.ec2.as_of(fleet.now - lag).enis) if lag else fleet.layout()
        return layout.attached.get(self.id, [])

    def identity(self) -> Identity:
        """As IMDS tells it."""
        (primary,) = (eni for eni in self.enis() if eni.address == self.address)
        subnet = self.fleet.subnet.id
        return Identity(self.id, REGION, ZONE, "vpc-1", subnet, primary.mac, self.address, (GROUP,))

    def carries(self, address: Address) -> bool:
        """What EC2 leads here for this address is answered."""
        macs = {eni.mac for eni in self.enis() if eni.occupies(address)}
        answers = self.plumbed.get(address) in macs or (self.answers_unsound and bool(self.problem and macs))
        return self.runs and not self.is_mute and answers

    @property
    def runs(self) -> bool:
        """Its kernel does anything at all."""
        return self.is_on and not self.is_hung

    def plug(self, mac: str) -> None:
        """A device appears."""
        if self.is_on and not self.hides_devices:
            self.devices.add(mac)
            self._changed()

    def show_devices(self) -> None:
        """Those are seen now that came meanwhile."""
        self.hides_devices = False
        for eni in self.enis():
            if eni.attachment is not None and eni.attachment.status != "attaching":
                self.plug(eni.mac)

    def unplug(self, mac: str) -> None:
        """A device goes, and what was configured on it."""
        self.devices.discard(mac)
        self.plumbed = {address: on for address, on in self.plumbed.items() if on != mac}
        self._changed()

    def _changed(self) -> None:
        if self.observer is not None:
            self.observer.see_to_kernel()

    # What befalls it.

    def start(self, *, observes: bool = True) -> Observer:
        """Start an observer, in a new pod; or ``attach``, where it does not observe."""
        self.pod = LIVING
        self.observer = Observer(self, observes=observes)
        self.fleet.tell(self.name, "an observer starts" if observes else "attach starts")
        self.observer.start()
        return self.observer

    def attach(self) -> Observer:
        """Start the init container."""
        return self.start(observes=False)

    def delete(self, disruption: str = "") -> None:
        """Somebody deletes the pod, maybe since its node is to be emptied: SIGTERM follows."""
        self.pod = replace(LIVING, deleted=True, disruption=disruption)
        if self.observer is not None:
            self.observer.stop()

    def pause(self) -> None:
        """SIGSTOP: the observer does nothing, for now; the kernel goes on."""
        if self.observer is not None:
            self.observer.is_paused = True

    def resume(self) -> None:
        """SIGCONT: what it has missed comes now."""
        if self.observer is not None and not self.is_hung:
            self.observer.resume()

    def hang(self) -> None:
        """The machine stands still, and lets go of no device."""
        self.fleet.tell(self.name, "hangs")
        self.is_hung = True
        self.fleet.ec2.hang(self.id)
        self.pause()

    def thaw(self) -> None:
        """It goes on."""
        self.fleet.tell(self.name, "goes on")
        self.is_hung = False
        self.fleet.ec2.thaw(self.id)
        self.resume()
        self._changed()

    def cut_off(self) -> None:
        """Neither EC2 nor another worker is reached any more, nor reaches it; IMDS is."""
        self.fleet.tell(self.name, "is cut off")
        self.cloud.reachable = False
        self.fleet.cut |= {frozenset({self.name, other.name}) for other in self.fleet.workers if other is not self}

    def break_kernel(self, problem: str, *, answers: bool) -> None:
        """What was configured is gone, and cannot be anew; whether floating addresses answer all the same."""
        self.problem, self.answers_unsound, self.plumbed = problem, answers, {}
        self._changed()

    def mend_kernel(self) -> None:
        """It does as it is told again."""
        self.problem, self.answers_unsound = "", False
        self._changed()

    def turn_blind(self, why: str) -> None:
        """Probes of floating addresses would not leave any more."""
        self.blind = why
        self._changed()

    def kill(self) -> None:
        """SIGKILL: the observer is no more; what it configured stays."""
        if self.observer is not None:
            self.fleet.tell(self.name, "the observer is killed")
            self._end_observer()

    def cut_power(self) -> None:
        """The machine is off; EC2 calls the instance running."""
        self.fleet.tell(self.name, "loses power")
        self.is_on = False
        self._end_observer()

    def boot(self) -> None:
        """It has power again, with the devices that EC2 has attached, bare, and without an observer yet."""
        self.fleet.tell(self.name, "boots")
        self.is_on, self.devices, self.plumbed = True, {eni.mac for eni in self.enis()}, {}

    @property
    def is_ended(self) -> bool:
        """EC2 has ended the instance or stopped it, or is about to."""
        return self.fleet.ec2.state.instances[self.id].state.announces_death

    def terminate(self, grace: float) -> None:
        """EC2 ends the instance; its kubelet shuts down in so many seconds, unless that is none."""
        self.fleet.tell(self.name, f"is terminated, with {grace:g} s for its end")
        self.fleet.ec2.terminate(self.id)
        self._shut_down(grace)

    def stop(self, grace: float) -> None:
        """The same, but its interfaces stay attached, and it may be started again."""
        self.fleet.tell(self.name, f"is stopped, with {grace:g} s for its end")
        self.fleet.ec2.stop(self.id)
        self._shut_down(grace)

    def _shut_down(self, grace: float) -> None:
        if grace and self.observer is not None:
            self.observer.stop()
        self.fleet.after(grace, self.cut_power)

    def _end_observer(self) -> None:
        if self.observer is not None:
            self.observer.is_alive, self.observer = False, None


class Observer:
    """
    An observer on a worker, or ``attach`` there; it is the crew of its doer, in simulated time.

    ``is_stopping``: SIGTERM has come.  ``lines`` is what it has logged, ``news`` what it has told Kubernetes;
    ``probes_sent`` is when; ``heard_at`` is when an observer of ours last told it what it tells peers, by instance.
    """

    def __init__(self, worker: Worker, *, observes: bool) -> None:
        self.worker = worker
        self._fleet = fleet = worker.fleet
        self.is_alive = True
        self.is_paused = self.is_stopping = False
        self.observes = observes
        self.lines: list[Tell] = []
        self.news: list[News] = []
        self.probes_sent: list[float] = []
        self.heard_at: dict[str, float] = {}
        self._missed: list[Callable[[], None]] = []
        self.agent = Agent(
            fleet.settings, worker.identity(), observes=observes, started_at=fleet.now, chance=fleet.chance.uniform
        )
        kernel = Kernel(worker)
        self._line = Line(self)
        edges = Edges(cast(Cloud, self._line), kernel, self._no_prober, kernel, kernel)
        self._tally = edges.tally
        self._doer = Doer(fleet.settings, worker.identity(), edges, self, Inline)
        self._desk = Desk(
            worker.address,
            lambda: self._doer.published,
            self._metrics,
            partial(self.post, LookWanted()),
            self._doer.roster,
            self._sight,
            self.now,
        )
        self._inbox: list[Event] = []
        self._is_acting = False
        self._alarm_at = float("inf")
        self._delay = 0.0
        self._probes: dict[Probing, Probes] = {}
        self._keeper = Keeper(kernel, self._doer.reconciled)
        self._is_kernel_due = False
        self._asked: dict[str, Address] = {}
        self._words: dict[str, tuple[Told | None, Status | None]] = {}
        self._doubted: frozenset[str] = frozenset()
        self._pod_every = 0.0
        self._pod_questions = 0
        self._imds = MetadataLoop(
            kernel,
            self._doer.macs_at_risk,
            lambda *shown: self.post(AddressesShown(*shown)),
            lambda notice: self.post(Noticed(notice)),
            lambda problem: self.post(MetadataTroubled(problem)),
        )

    def start(self) -> None:
        """Begin."""
        self._later(0.0, self._turn)
        self._ask_metadata()

    @property
    def end(self) -> End | None:
        """How it ended, None unless it did by itself."""
        return self._doer.end

    @property
    def asks(self) -> frozenset[str]:
        """The instances whose observers it asks."""
        return frozenset(self._asked)

    def logged(self, event: str = "", **fields: str) -> list[Tell]:
        """The lines so far of this event that have these fields."""
        wanted = fields.items()
        return [
            line
            for line in self.lines
            if event in ("", line.event) and all(str(line.fields.get(key)) == value for key, value in wanted)
        ]

    def reason(self, address: Target) -> str:
        """Of its last decision about an address."""
        return self._last_decision(address).get("reason", "")

    def judged(self, address: Target) -> str:
        """The attachment that its last decision about an address was about."""
        return self._last_decision(address).get("attachment", "")

    def _last_decision(self, address: Target) -> Mapping[str, str]:
        decisions = self.logged("decision", address=str(address))
        return {key: str(value) for key, value in decisions[-1].fields.items()} if decisions else {}

    def resume(self) -> None:
        """Do what was missed, and go on."""
        self.is_paused = False
        missed, self._missed = self._missed, []
        for action in missed:
            self._later(0.0, action)

    @property
    def published(self) -> Snapshot:
        """What others may know."""
        return self._doer.published

    def stop(self) -> None:
        """SIGTERM."""
        self.is_stopping = True
        self.post(Terminated())

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        """Do this then, if this observer still lives."""
        self._at(self._fleet.now + delay, action)

    def _at(self, time: float, action: Callable[[], None]) -> None:
        self._fleet.do_at(time, partial(self._do_if_alive, action))

    def _do_if_alive(self, action: Callable[[], None]) -> None:
        if self.is_paused:
            self._missed.append(action)
        elif self.is_alive:
            action()

    # The agent's turns.

    def _alarm(self, at: float) -> None:
        """The agent wanted a turn by now; it may want one later only, since."""
        if at == self._alarm_at:
            self._alarm_at = float("inf")
            if self.agent.due() <= self._fleet.now:
                self._turn()
            else:
                self._set_alarm()

    def _set_alarm(self) -> None:
        due = max(self._fleet.now, self.agent.due())
        if due < self._alarm_at:
            self._alarm_at = due
            self._at(due, partial(self._alarm, due))

    def _turn(self) -> None:
        """Let the agent take what came, and do what it asks for; what that brings at once, it takes next."""
        fleet, self._is_acting = self._fleet, True
        is_first = True
        while is_first or (self._inbox and self._doer.end is None):
            is_first = False
            events, self._inbox = self._inbox, []
            for effect in self.agent.handle(events, fleet.now, fleet.wall + self.worker.wall_ahead):
                self._doer.do(effect)
        self._is_acting = False
        if self._doer.end is not None:
            self._fleet.tell(self.worker.name, "the observer ends")
            self.is_alive = False
            if self.worker.observer is self:
                self.worker.observer = None
        self._set_alarm()

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
        if not self._is_acting:
            self._do_if_alive(self._turn)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """See `Crew`: EC2 does it half-way through the time that it takes."""
        half = self._fleet.chance.uniform(*self._fleet.profile.answer) / 2
        self._later(half, partial(self._do, job, half))

    def _do(self, job: Callable[[], None], half: float) -> None:
        self._delay = half
        try:
            job()
        except Hung:
            hanging, self._line.gives_up = self._line.gives_up, None
            self._later(EC2_GIVEN_UP, partial(self._give_up, job, hanging))
        except Killed:
            pass
        self._delay = 0.0

    def _give_up(self, job: Callable[[], None], hanging: str | None) -> None:
        """Let the job come to its end without the answer."""
        self._line.gives_up = hanging
        self._do(job, 0.0)
        self._line.gives_up = None

    def probe(self, probings: frozenset[Probing]) -> None:
        """See `Crew`."""
        before = self._probes
        self._probes = {}
        for probing in sorted(probings, key=str):
            probes = before.get(probing)
            if probes is None:
                probes = Probes(probing, Probe(self.worker, probing, self.probes_sent), self._doer.probed)
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
            self._later(timing.ASK_EVERY, partial(self._ask, instance_id, address))

    def _question(self, instance_id: str) -> None:
        fleet, asked_at, peer = self._fleet, self._fleet.now, self._fleet.worker(instance_id)
        is_paused = peer.observer is not None and peer.observer.is_paused
        takes = ROUND_TRIP + fleet.delay
        if is_paused or takes > timing.ASK_TIMEOUT or not fleet.passes(self.worker, peer, QUESTIONS):
            self._later(timing.ASK_TIMEOUT, lambda: self._heard(instance_id, Answer(asked_at, fleet.now, None)))
            return
        if peer.observer is None or not peer.observer.observes:
            answer = Answer(asked_at, asked_at + takes, None, refused=True)
        else:
            answer = Answer(asked_at, asked_at + takes, peer.observer.word(self.worker, sorted(self._doubted)))
        self._later(takes, lambda: self._heard(instance_id, answer))

    def _heard(self, instance_id: str, answer: Answer) -> None:
        if answer.status is not None and answer.status.instance_id == instance_id:
            self.heard_at[instance_id] = self._fleet.now
        self.post(Heard(instance_id, answer))

    def answer(self, target: str, source: str) -> tuple[HTTPStatus, str]:
        """What its port answers."""
        return self._desk.answer(target, source)

    def word(self, asker: Worker, doubted: list[str]) -> Status | None:
        """What another observer makes of its answer to the question for its word: mostly the same as before."""
        told = self._desk.told(asker.id, asker.source, doubted)
        before, parsed = self._words.get(asker.id, (None, None))
        if told is None or told != before:
            body = to_peer(*told) if told is not None else to_stranger(ready=not self.published.not_ready())
            parsed = parse(body.encode())
            self._words[asker.id] = told, parsed
        return parsed

    def _metrics(self, snapshot: Snapshot) -> str:
        return Metrics(self._tally, "0.0.0", self.now, lambda: self._fleet.wall + self.worker.wall_ahead).text(snapshot)

    def ask_pod(self, every: float) -> None:
        """See `Crew`."""
        before, self._pod_every = self._pod_every, every
        if not before or every < before:
            self._pod_questions += 1
            self._ask_pod(self._pod_questions)

    def _ask_pod(self, questions: int) -> None:
        if questions == self._pod_questions:
            if self.worker.pod is not None:
                self.post(PodShown(replace(self.worker.pod, asked_at=self._fleet.now)))
            self._later(self._pod_every, partial(self._ask_pod, questions))

    def tell(self, line: Tell) -> None:
        """See `Crew`."""
        self.lines.append(line)
        self._fleet.told(self.worker, line)
        fields = " ".join(f"{key}={quoted(value)}" for key, value in line.fields.items() if key != "address")
        self._fleet.tell(self.worker.name, f"{line.event}: {line.message} {fields}".rstrip())

    def report(self, news: News) -> None:
        """See `Crew`."""
        self.news.append(news)

    def _ask_metadata(self) -> None:
        self._imds.ask(self._fleet.now)
        self._later(timing.METADATA_EVERY, self._ask_metadata)

    def _sight(self, asker: str, source: Address) -> Sight:
        """The holder's check, from the floating address, whether it reaches the asker."""
        fleet, there = self._fleet, ip_address(asker)
        peer = next((worker for worker in fleet.workers if worker.address == there), None)
        seen = peer is not None and fleet.serving(source) is self.worker and fleet.passes(self.worker, peer, QUESTIONS)
        return Sight.SEEN if seen else Sight.UNSEEN

    def _no_prober(self, address: Address) -> Probe:
        raise AssertionError(f"{address} is probed by the crew")


class Inline(Calls):
    """The calls of one look, without threads: all of them at the same moment, and each of them once."""

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask."""
        self.made.append(None)
        return ask()

    def insist(self, write: Callable[[], None]) -> None:
        """Write."""
        self.made.append(None)
        write()

    def begin(self, ask: Callable[[], T]) -> Future[T]:
        """Ask at once."""
        answer: Future[T] = Future()
        try:
            answer.set_result(self.patiently(ask))
        except CloudError as error:
            answer.set_exception(error)
        return answer


class Probe:
    """`ports.Prober`: it is answered if the worker that EC2 leads the address to carries it, and by a NodePort, there
    or at a worker's own address, if the worker serves it.
    """

    def __init__(self, worker: Worker, probing: Probing, sent: list[float]) -> None:
        self._worker = worker
        self._address = probing.address
        self._is_node_port = probing.node_port is not None
        settings = worker.fleet.settings
        self._timeout = settings.service_timeout if self._is_node_port else settings.probe_timeout
        self._under_way: deque[ProbeResult] = deque()
        self._sent = sent

    def send(self) -> None:
        """See `ports.Prober`."""
        fleet, now = self._worker.fleet, self._worker.fleet.now
        there = fleet.having(self._address) if self._is_node_port else fleet.serving(self._address)
        self._sent.append(now)
        takes = ROUND_TRIP + fleet.delay
        answers = there is not None and (there.serves if self._is_node_port else not there.drops_pings)
        reached = answers and there is not None and fleet.passes(self._worker, there, PROBES)
        if reached and takes < self._timeout:
            self._under_way.append(ProbeResult(now, now + takes, ProbeOutcome.ANSWERED))
        else:
            self._under_way.append(ProbeResult(now, now + self._timeout, ProbeOutcome.LOST))

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        now = self._worker.fleet.now
        known = []
        while self._under_way and self._under_way[0].known_at <= now:
            result = self._under_way.popleft()
            known.append(result if result.known_at == now else replace(result, known_at=now))
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
        if self._worker.problem:
            return PlumbingReport(PlumbingState.UNSOUND, problem=self._worker.problem, extent=extent)
        if extent is Extent.AHEAD:
            removed = self._drop(address)
            return PlumbingReport(PlumbingState.SOUND, removed=removed, extent=extent)
        plumbed[address] = mac
        return PlumbingReport(PlumbingState.SOUND, () if is_there else ("address",), extent=extent)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """See `ports.Host`."""
        return self._drop(plumbing.address)

    def _drop(self, address: Address) -> tuple[str, ...]:
        if self._worker.plumbed.pop(address, None) is None:
            return ()
        self._worker.fleet.dropped(self._worker, address)
        return ("address",)

    def announce(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def route_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def blind(self, plumbing: Plumbing) -> str:
        """See `ports.Host`."""
        return self._worker.blind

    def watch(self, wake: Callable[[], None]) -> None:
        """See `ports.Host`: the worker tells its observer itself."""

    def identity(self) -> Identity:
        """See `ports.Metadata`."""
        return self._worker.identity()

    def interface_with(self, address: Address) -> Interface | None:
        """See `ports.Metadata`."""
        network = self._worker.fleet.subnet.network_of(address)
        assert network is not None, "the subnet has addresses of both kinds"
        self._answer()
        found = (Interface(eni.mac, network) for eni in self._worker.enis() if eni.occupies(address))
        return next(found, None)

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """See `ports.Metadata`."""
        self._answer()
        for eni in self._worker.enis(self._worker.imds_lag):
            if eni.mac == mac:
                shown = frozenset[Address](filter(None, (eni.address, *eni.secondary, *eni.ipv6s)))
                return shown - self._worker.imds_lacks
        return None

    def _answer(self) -> None:
        if self._worker.is_imds_silent:
            raise MetadataError("IMDS does not answer")

    def notice(self) -> Notice | None:
        """See `ports.Metadata`."""
        self._answer()
        return self._worker.notice

    def own_pod(self) -> OwnPod:
        """See `ports.Orders`."""
        assert self._worker.pod is not None, "the crew asks, and waits for no answer"
        return replace(self._worker.pod, asked_at=self._worker.fleet.now)
