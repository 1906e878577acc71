"""
An agent on a real node: what it asks for is done, and what comes of it is brought to it, by one thread that decides.

What may block has a thread of its own and puts what it found into the inbox, so that a hanging EC2 call never delays a
probe, nor a slow nft a decision.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from floatingip.agent.agent import Agent
from floatingip.agent.effects import (
    Announce,
    AskPeers,
    AskPod,
    Described,
    Effect,
    End,
    Keep,
    ListNodePorts,
    Look,
    Perform,
    Probe,
    Probing,
    Publish,
    Rehearse,
    Tell,
)
from floatingip.agent.events import (
    AddressesShown,
    Asking,
    Event,
    Heard,
    LookWanted,
    MetadataAnswers,
    MetadataTroubled,
    Noticed,
    PeersJudged,
    PodShown,
    Reconciled,
    ShownByMetadata,
    Terminated,
)
from floatingip.core.errors import CloudError, HostError, MetadataError
from floatingip.core.model import Address, Allocation, Identity, Interface, NodePort, Target
from floatingip.core.ports import Cloud, Host, Metadata, Orders, Prober, Services
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Status
from floatingip.edges import background
from floatingip.edges.telemetry import Log, Metrics
from floatingip.runtime import performing
from floatingip.runtime.desk import Desk
from floatingip.runtime.keeping import HostKeeper
from floatingip.runtime.peers import Askers
from floatingip.runtime.probing import ProbeLoop
from floatingip.runtime.questions import MetadataLoop, PodLoop
from floatingip.runtime.roster import Roster
from floatingip.runtime.sight import Sights
from floatingip.runtime.status_server import StatusServer

ENDS_WITHIN = 0.5
"""Seconds for the kernel's last change at the end."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The world, as an agent needs it; ``prober`` makes one for an address, ``service`` one for a NodePort there;
    ``services`` tells which of these there are.
    """

    cloud: Cloud
    host: Host
    prober: Callable[[Address], Prober]
    metadata: Metadata
    orders: Orders
    service: Callable[[NodePort, Address], Prober] | None = None
    services: Services | None = None


class Loop:
    """Runs one agent: ``attach``, or ``observe``."""

    def __init__(self, settings: Settings, me: Identity, edges: Edges, log: Log, *, observes: bool) -> None:
        self._settings = settings
        self._me = me
        self._edges = edges
        self._log = log
        self._observes = observes
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        now = time.monotonic()
        self.agent = Agent(settings, me, observes=observes, started_at=now, chance=random.uniform)
        self._published = Snapshot(now, Status(settings.name, me.instance_id), starting=True)
        self._end: End | None = None
        self._server: StatusServer | None = None
        self._probes = ProbeLoop(self._prober, self.post)
        self._host = HostKeeper(edges.host, lambda target, report: self.post(Reconciled(target, report)))
        self._asked_for = AskPeers({}, frozenset(), frozenset())
        self._asking: Mapping[str, Address] = {}
        self._roster = Roster(me.instance_id, self._ask_about_peers)
        self._askers = Askers(me.instance_id, settings.port, lambda *heard: self.post(Heard(*heard)))
        self._imds = MetadataLoop(
            edges.metadata,
            self._macs_at_risk,
            lambda *shown: self.post(AddressesShown(*shown)),
            lambda notice: self.post(Noticed(notice)),
            lambda error: self.post(MetadataTroubled(str(error))),
            lambda: self.post(MetadataAnswers()),
        )
        self._pod = PodLoop(edges.orders, lambda own: self.post(PodShown(own)))

    def run(self) -> int:
        """
        Go on until the agent has ended; the exit code.

        Raises what waiting cannot mend, for `attach`: ``AddressTaken``, ``ConfigurationError``, ``Denied``, or
        ``CloudError`` for a write that EC2 refuses as such; for `observe` ``HostError`` when the status port cannot be
        had.
        """
        if self._observes:
            self._server = self._serve()
            self._imds.start()
        self._probes.start()
        self._host.start()
        events: list[Event] = []
        while self._end is None:
            for effect in self.agent.handle(events, time.monotonic(), time.time()):
                self.do(effect)
            if self._end is None:
                events = self._news()
        if self._end.error is not None:
            raise self._end.error
        if self._observes:
            self._host.end(ENDS_WITHIN)
            self._log.info("stopped")
        return self._end.code

    def stop(self) -> None:
        """End soon; may be called from a signal handler."""
        self.post(Terminated())

    def post(self, event: Event) -> None:
        """Bring this to the agent; from any thread."""
        self._inbox.put(event)

    def _news(self) -> list[Event]:
        """What happened, as soon as anything has, or it is time."""
        events: list[Event] = []
        try:
            events.append(self._inbox.get(timeout=max(0.0, self.agent.due() - time.monotonic())))
            while True:
                events.append(self._inbox.get_nowait())
        except Empty:
            return events

    # What the agent asks for.

    def do(self, effect: Effect) -> None:
        """Do what the agent asks for, or begin it; for the deciding thread."""
        match effect:
            case Tell(level, event, message, fields):
                self._log.write(level, event, message, fields)
            case Publish(snapshot):
                self._published = snapshot
            case Probe(probings):
                self._probes.follow(probings)
            case Keep(target, wanted):
                self._host.want(target, wanted)
            case Announce(target):
                self._host.announce(target)
            case AskPeers():
                self._asked_for = effect
                self._follow_peers()
            case Described(asked_at, instances):
                self._roster.shown(asked_at, instances)
            case AskPod(every):
                self._pod.ask(every=every)
            case Look():
                self._look(effect)
            case Perform():
                me = self._me.instance_id
                self._begin("write", lambda: performing.wrote(self._edges.cloud, me, effect))
            case Rehearse():
                background.start("rehearsal", lambda: self._rehearse(effect))
            case ListNodePorts():
                services = self._edges.services
                if services is not None:
                    self._begin("services", lambda: performing.listed(services))
            case End():
                self._end = effect

    def _begin(self, name: str, job: Callable[[], Event]) -> None:
        """Do this in a thread of its own; the event is what came of it."""
        background.start(name, lambda: self.post(job()))

    def _look(self, asked: Look) -> None:
        cloud, settings = self._edges.cloud, self._settings
        self._begin("look", lambda: performing.looked(cloud, settings, asked, self._interfaces_by_metadata))
        if asked.metadata:
            # What is on a link of this node must not be carried on when IMDS lacks it, and a question to EC2 may hang
            # for as long as it takes somebody else to get the address.
            self._begin("look-metadata", lambda: ShownByMetadata(self._interfaces_by_metadata()))

    def _interfaces_by_metadata(self) -> Mapping[Target, Interface]:
        """The links with our addresses, as IMDS shows them."""
        found: dict[Target, Interface] = {}
        for target in self._settings.floating_ips:
            if isinstance(target, Allocation):
                continue
            try:
                interface = self._edges.metadata.interface_with(target)
            except MetadataError as error:
                self._imds.complain(error)
                break
            if interface is not None:
                found[target] = interface
        return found

    def _rehearse(self, asked: Rehearse) -> None:
        for event in performing.rehearsed(self._edges.cloud, self._settings.carry, asked):
            self.post(event)

    def _prober(self, probing: Probing) -> Prober:
        if probing.node_port is None:
            return self._edges.prober(probing.address)
        service = self._edges.service
        assert service is not None, "a NodePort is checked only where the settings ask for it"
        return service(probing.node_port, probing.address)

    # The other observers: who is a peer, EC2 says (roster.py).

    def _follow_peers(self) -> None:
        asked, now = self._asked_for, time.monotonic()
        wanted = {**self._roster.follow(asked.known, now), **asked.holders}
        wanted.pop(self._me.instance_id, None)
        if wanted != self._asking:
            self._asking = wanted
            # Before any of them can have answered.
            self.post(Asking(wanted))
        self._askers.follow(wanted, asked.doubted)
        self._ask_about_peers()

    def _ask_about_peers(self) -> None:
        """Ask EC2 who those are that call themselves peers, as far as it is to be asked now; from any thread."""
        asked_at = time.monotonic()
        asked = self._roster.question(asked_at)
        if not asked:
            return

        def job() -> None:
            try:
                instances = self._edges.cloud.describe_instances(asked)
            except CloudError:
                # That EC2 does not answer is told by who looks at the addresses.
                self._roster.unanswered(time.monotonic())
            else:
                self._roster.answered(asked, asked_at, instances)
                self.post(PeersJudged())

        background.start("peers", job)

    # Telling others.

    def _macs_at_risk(self) -> frozenset[str]:
        """Called from the thread that asks IMDS."""
        return self._published.macs_at_risk()

    def _serve(self) -> StatusServer:
        port, address = self._settings.port, self._me.address
        desk = Desk(
            address,
            lambda: self._published,
            Metrics().text,
            lambda: self.post(LookWanted()),
            self._roster,
            Sights(port),
        )
        try:
            server = StatusServer(address, port, desk.answer, desk.knows)
        except OSError as error:
            raise HostError(
                f"cannot listen on {address}:{port}: {error.strerror}", "set `port` to a free one"
            ) from error
        server.start()
        return server
