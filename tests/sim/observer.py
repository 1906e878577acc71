"""A whole agent in simulated time, on a worker of a fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from floatingip.agent.agent import Agent
from floatingip.agent.effects import (
    Announce,
    AskNotice,
    AskPod,
    Clear,
    End,
    Keep,
    Probe,
    Probing,
    Tell,
    TellKubernetes,
)
from floatingip.agent.events import (
    Event,
    Heard,
    LookWanted,
    PodShown,
    Terminated,
)
from floatingip.core import timing
from floatingip.core.model import Address, Target
from floatingip.core.news import News
from floatingip.core.peer import Sight
from floatingip.core.ports import Cloud
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Answer, Status, parse, to_peer, to_stranger
from floatingip.edges.prometheus import Metrics
from floatingip.edges.telemetry import quoted
from floatingip.runtime.calls import Calls
from floatingip.runtime.desk import Desk, Told
from floatingip.runtime.doing import Doer, Edges, Errand
from floatingip.runtime.keeping import Keeper
from floatingip.runtime.probing import Probes
from floatingip.runtime.questions import MetadataLoop
from tests.sim.inline import Inline
from tests.sim.line import Hung, Killed, Line
from tests.sim.ports import QUESTIONS, ROUND_TRIP, Kernel, SimulatedProber, no_prober
from tests.sim.slowly import Slowly

if TYPE_CHECKING:
    from tests.sim.worker import Worker

KERNEL_TAKES = 0.02
"""Seconds until the observer acts upon a wish or a change that concerns the kernel."""

EC2_GIVEN_UP = 5.0
"""Seconds after which an observer no longer waits for a call that hangs."""


class Observer:
    """
    An observer on a worker, or ``attach``; it is its doer's crew, in simulated time.

    ``is_stopping``: it has got SIGTERM.  ``lines``: what it has logged; ``news``: what it has told Kubernetes;
    ``probes_sent``: when it sent probes; ``heard_at``: by instance, when that one's observer last answered it as a
    peer.

    ``slowly``: the job that it is doing just now, if EC2 is slow to answer each call; ``waiting``: when each such job
    began that has not ended; ``ec2_paces``: by call, how many seconds EC2's last answer took.
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
        self.slowly: Slowly | None = None
        self.waiting: set[float] = set()
        self.ec2_paces: dict[str, float] = {}
        self._calls = Inline()
        self._missed: list[Callable[[], None]] = []
        self.agent = Agent(
            fleet.settings, worker.identity(), observes=observes, started_at=fleet.now, chance=fleet.chance.uniform
        )
        kernel = Kernel(worker)
        self._line = Line(self)
        edges = Edges(cast(Cloud, self._line), kernel, no_prober, kernel, kernel)
        self._tally = edges.tally
        self._doer = Doer(fleet.settings, worker.identity(), edges, self, self._new_calls)
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
        self._imds = MetadataLoop(kernel, self._doer.macs_at_risk, self.post)

    def start(self) -> None:
        """Start the observer."""
        self.later(0.0, self._turn)
        self._ask_metadata()

    @property
    def end(self) -> End | None:
        """How it ended; None if it runs, or did not end by itself."""
        return self._doer.end

    @property
    def asks(self) -> frozenset[str]:
        """The instances whose observers it asks as peers."""
        return frozenset(self._asked)

    def logged(self, event: str = "", **fields: str) -> list[Tell]:
        """Its log lines so far, of this event and with these fields."""
        wanted = fields.items()
        return [
            line
            for line in self.lines
            if event in ("", line.event) and all(str(line.fields.get(key)) == value for key, value in wanted)
        ]

    def reason(self, address: Target) -> str:
        """The reason of its last decision about an address."""
        return self._last_decision(address).get("reason", "")

    def judged(self, address: Target) -> str:
        """The attachment that it judged in its last decision about an address."""
        return self._last_decision(address).get("attachment", "")

    def _last_decision(self, address: Target) -> Mapping[str, str]:
        decisions = self.logged("decision", address=str(address))
        return {key: str(value) for key, value in decisions[-1].fields.items()} if decisions else {}

    def resume(self) -> None:
        """Go on after a pause, first with what came meanwhile."""
        self.is_paused = False
        missed, self._missed = self._missed, []
        for action in missed:
            self.later(0.0, action)

    @property
    def published(self) -> Snapshot:
        """What it has published for others to read."""
        return self._doer.published

    def stop(self) -> None:
        """Send it SIGTERM."""
        self.is_stopping = True
        self.post(Terminated())

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do this ``delay`` seconds later, if this observer still lives."""
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
        """The agent wanted a turn at this time; by now it may want it only later."""
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
        """Let the agent handle the events that came, and do what it asks for, until that brings no new one at once."""
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

    def now(self) -> float:
        """See `Crew`."""
        return self._fleet.now if self.slowly is None else self.slowly.began

    def _new_calls(self) -> Calls:
        self._calls = Inline()
        return self._calls

    def post(self, event: Event) -> None:
        """See `Crew`.  What a job under way finds is posted when EC2's answer would come."""
        if self.slowly is not None:
            self.slowly.posted.append(event)
        elif self._delay:
            self.later(self._delay, partial(self._receive, event))
        else:
            self._receive(event)

    def _receive(self, event: Event) -> None:
        self._inbox.append(event)
        if not self._is_acting:
            self._do_if_alive(self._turn)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """See `Crew`.  EC2 acts half-way through the time that the job takes."""
        takes = self.worker.ec2_takes.get(name, self._fleet.profile.answer)
        each = self.worker.ec2_takes_for_each_call.get(name)
        if each is not None:
            slowly = Slowly(self, job, each, self._calls, self._fleet.now)
            self.waiting.add(slowly.began)
            self.later(0.0, slowly.go_on)
        else:
            half = self._fleet.chance.uniform(*takes) / 2
            self.later(half, partial(self._do, job, half))
        for happens in tuple(self._fleet.beginning):
            happens(self.worker, name)

    def _do(self, job: Callable[[], None], half: float) -> None:
        self._delay = half
        try:
            job()
        except Hung:
            hanging, self._line.gives_up = self._line.gives_up, None
            self.later(EC2_GIVEN_UP, partial(self._give_up, job, hanging))
        except Killed:
            pass
        self._delay = 0.0

    def _give_up(self, job: Callable[[], None], hanging: str | None) -> None:
        """End the job without the answer that it has waited for."""
        self._line.gives_up = hanging
        self._do(job, 0.0)
        self._line.gives_up = None

    def do(self, errand: Errand) -> None:
        """See `Crew`."""
        match errand:
            case Tell():
                self._tell(errand)
            case TellKubernetes(news):
                self.news.append(news)
            case Probe(probings):
                self._follow(probings)
            case Keep() | Clear():
                self._keeper.take_up(errand)
                self.see_to_kernel()
            case Announce():
                pass  # Simulated workers have no neighbour caches.
            case AskPod(every):
                self.ask_pod(every)
            case AskNotice():
                self._imds.hurry()
                self._imds.ask(self._fleet.now)

    def _follow(self, probings: frozenset[Probing]) -> None:
        before = self._probes
        self._probes = {}
        for probing in sorted(probings, key=str):
            probes = before.get(probing)
            if probes is None:
                probes = Probes(probing, SimulatedProber(self.worker, probing, self.probes_sent), self._doer.probed)
                self.later(0.0, partial(self._probe, probing, probes))
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
        self.later(max(0.0, due - now), partial(self._probe, probing, probes))

    def see_to_kernel(self) -> None:
        """Have the kernel looked at soon: something is wanted of it, or has changed there."""
        if not self._is_kernel_due:
            self._is_kernel_due = True
            self.later(KERNEL_TAKES, self._keep)

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
            self.later(timing.ASK_EVERY, partial(self._ask, instance_id, address))

    def _question(self, instance_id: str) -> None:
        fleet, asked_at = self._fleet, self._fleet.now
        peer = fleet.worker(instance_id).at_its_address
        is_paused = peer.observer is not None and peer.observer.is_paused
        takes = ROUND_TRIP + fleet.delay
        if is_paused or takes > timing.ASK_TIMEOUT or not fleet.passes(self.worker, peer, QUESTIONS):
            self.later(timing.ASK_TIMEOUT, lambda: self._heard(instance_id, Answer(asked_at, fleet.now, None)))
            return
        if peer.observer is None or not peer.observer.observes:
            answer = Answer(asked_at, asked_at + takes, None, refused=True)
        else:
            answer = Answer(asked_at, asked_at + takes, peer.observer.word(self.worker, sorted(self._doubted)))
        self.later(takes, lambda: self._heard(instance_id, answer))

    def _heard(self, instance_id: str, answer: Answer) -> None:
        if answer.status is not None and answer.status.instance_id == instance_id:
            self.heard_at[instance_id] = self._fleet.now
        self.post(Heard(instance_id, answer))

    def answer(self, target: str, source: str) -> tuple[HTTPStatus, str]:
        """What its HTTP port answers."""
        return self._desk.answer(target, source)

    def word(self, asker: Worker, doubted: list[str]) -> Status | None:
        """Its answer to another observer's question, parsed as that one does; parsed anew only if the answer has
        changed.
        """
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
        """Ask the API server about the pod every so many seconds."""
        before, self._pod_every = self._pod_every, every
        if not before or every < before:
            self._pod_questions += 1
            self._ask_pod(self._pod_questions)

    def _ask_pod(self, questions: int) -> None:
        if questions == self._pod_questions:
            told = self.worker.told_pod
            if told is not None:
                self.post(PodShown(replace(told, asked_at=self._fleet.now)))
            self.later(self._pod_every, partial(self._ask_pod, questions))

    def _tell(self, line: Tell) -> None:
        self.lines.append(line)
        self._fleet.told(self.worker, line)
        fields = " ".join(f"{key}={quoted(value)}" for key, value in line.fields.items() if key != "address")
        self._fleet.tell(self.worker.name, f"{line.event}: {line.message} {fields}".rstrip())

    def _ask_metadata(self) -> None:
        self._imds.ask(self._fleet.now)
        self.later(timing.METADATA_EVERY, self._ask_metadata)

    def _sight(self, asker: Address, source: Address) -> Sight:
        """The holder's check, from the floating address, whether it reaches the asker."""
        fleet = self._fleet
        peer = next((worker for worker in fleet.workers if asker in (worker.address, worker.ipv6)), None)
        assert asker.version == source.version
        if peer is None or fleet.serving(source) is not self.worker:
            return Sight.UNSEEN
        seen = fleet.passes(self.worker, peer.at_its_address, QUESTIONS)
        return Sight.SEEN if seen else Sight.UNSEEN
