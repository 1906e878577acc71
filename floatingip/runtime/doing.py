"""
Do what the agent asks for.

What that means to EC2, to IMDS and to the other observers is said here, for nodes and simulations alike.  The rest, and
the jobs that take time, are done by a :class:`Crew`: on a node by threads (loop.py), in a simulation in simulated time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from floatingip.agent.effects import (
    Announce,
    AskNotice,
    AskPeers,
    AskPod,
    Clear,
    Described,
    Effect,
    End,
    Keep,
    ListNodePorts,
    Look,
    Moved,
    Perform,
    Probe,
    Publish,
    Rehearse,
    Tell,
    TellKubernetes,
)
from floatingip.agent.events import (
    Event,
    MetadataTroubled,
    PeersChosen,
    PeersJudged,
    Probed,
    Reconciled,
    ShownByMetadata,
)
from floatingip.core.errors import CloudError, MetadataError
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.move import Move, Result
from floatingip.core.node import Identity, Interface
from floatingip.core.plumbing import PlumbingReport
from floatingip.core.ports import Board, Cloud, Host, Metadata, Orders, Prober, Services
from floatingip.core.probe import NodePort, ProbeOutcome
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Status
from floatingip.edges.outlet import Outlet
from floatingip.edges.tally import Tally
from floatingip.runtime import performing
from floatingip.runtime.calls import Calls
from floatingip.runtime.roster import Roster


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges that an agent needs (core/ports.py).

    ``prober`` makes a prober for an address, ``service`` one for a NodePort at an address; it is None if no NodePort is
    checked.  ``services`` lists NodePorts.  ``tally`` counts what is done here and by the edges.  ``settings`` returns
    the ConfigMap's settings if they have changed, otherwise None, and raises ``ConfigurationError`` for settings that a
    start would refuse.  ``board`` is where news for Kubernetes go; None if they go nowhere.  ``outlet`` is where the
    log goes; None if nobody asks whether it is kept.
    """

    cloud: Cloud
    host: Host
    prober: Callable[[Address], Prober]
    metadata: Metadata
    orders: Orders
    service: Callable[[NodePort, Address], Prober] | None = None
    services: Services | None = None
    tally: Tally = field(default_factory=Tally)
    settings: Callable[[], Settings | None] | None = None
    board: Board | None = None
    outlet: Outlet | None = None


Errand = Probe | Keep | Clear | Announce | AskPod | AskNotice | Tell | TellKubernetes
"""What the crew does as the agent asks for it; news for Kubernetes may get lost."""


class Crew(Protocol):
    """Does what takes time, and posts events of what came of it; none of its methods blocks."""

    def now(self) -> float:
        """The time in seconds, by the clock by which the agent is told the time."""

    def post(self, event: Event) -> None:
        """Bring the event to the agent; may be called from any thread."""

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """Do the job once, beside everything else; it may block."""

    def do(self, errand: Errand) -> None:
        """Do what the agent asks for, now or from now on."""

    def ask_peers(self, addresses: Mapping[str, Address], doubted: frozenset[str]) -> None:
        """Ask these observers from now on, and no others; ``addresses`` has primary addresses by instance id."""


class Doer:
    """
    Does what the agent on the node ``me`` asks for.

    ``published`` is the newest snapshot, ``end`` says how the agent ended, None while it runs.  ``new_calls`` gives the
    `Calls` for each look and each write.
    """

    def __init__(
        self, settings: Settings, me: Identity, edges: Edges, crew: Crew, new_calls: Callable[[], Calls] = Calls
    ) -> None:
        self._settings = settings
        self._me = me
        self._edges = edges
        self._crew = crew
        self._new_calls = new_calls
        self.published = Snapshot(crew.now(), Status(settings.name, me.instance_id), starting=True)
        self.end: End | None = None
        self.roster = Roster(me.instance_id, self._ask_about_peers)
        self._chosen: Mapping[str, Address] = {}

    def macs_at_risk(self) -> frozenset[str]:
        """The MACs of the interfaces that IMDS is to be asked about; may be called from any thread."""
        return self.published.macs_at_risk()

    def do(self, effect: Effect) -> None:
        """Do what the effect asks for, or begin it."""
        crew, cloud, services = self._crew, self._edges.cloud, self._edges.services
        match effect:
            case Publish(snapshot):
                self.published = snapshot
            case Moved():
                self._count(effect.move)
            case AskPeers():
                self._ask_peers(effect)
            case Described(asked_at, instances):
                self.roster.shown(asked_at, instances)
            case Look():
                self._look(effect)
            case Perform():
                me, calls = self._me.instance_id, self._new_calls()
                crew.begin("write", lambda: crew.post(performing.wrote(cloud, me, effect, calls, crew.now)))
            case Rehearse():
                crew.begin("rehearsal", lambda: self._rehearse(effect))
            case ListNodePorts():
                if services is not None:
                    crew.begin("services", lambda: crew.post(performing.listed(services)))
            case End():
                self.end = effect
            case _:
                crew.do(effect)

    # What is counted on its way to the agent, or from it.

    def probed(self, probed: Probed) -> None:
        """Count a probe, and bring it to the agent; may be called from any thread."""
        probing, result = probed.probing, probed.result
        if probing.node_port is None:
            is_answered = result.outcome is ProbeOutcome.ANSWERED
            round_trip = result.known_at - result.sent_at if is_answered else None
            # A lost ping was sent, whatever became of the knock beside it.
            outcome = ProbeOutcome.LOST if result.ping_lost else result.outcome
            self._edges.tally.probed(probing.whose, outcome, round_trip)
        self._crew.post(probed)

    def reconciled(self, target: Target, report: PlumbingReport) -> None:
        """Count repairs of the kernel, and bring the report to the agent; may be called from any thread."""
        for what in report.repaired:
            self._edges.tally.repaired(what)
        self._crew.post(Reconciled(target, report))

    def _count(self, move: Move) -> None:
        tally = self._edges.tally
        tally.moved(move.address, move.rule, move.result)
        if move.result is Result.MOVED:
            tally.came(move.address, move.ended_at, move.seconds)

    # EC2, and IMDS.

    def _look(self, asked: Look) -> None:
        crew, cloud, settings = self._crew, self._edges.cloud, self._settings
        calls, shown = self._new_calls(), self._shown_by_metadata
        crew.begin("look", lambda: crew.post(performing.looked(cloud, settings, asked, shown, calls)))
        if asked.metadata:
            # An address that is still on a link here must be dropped if IMDS lacks it.  That cannot wait for EC2, whose
            # answer may take longer than another node takes to get the address.
            crew.begin("look-metadata", lambda: crew.post(ShownByMetadata(self._shown_by_metadata())))

    def _shown_by_metadata(self) -> Mapping[Target, Interface]:
        """The links with our addresses, as IMDS shows them."""
        found: dict[Target, Interface] = {}
        for target in self._settings.floating_ips:
            if isinstance(target, Allocation):
                continue
            try:
                interface = self._edges.metadata.interface_with(target)
            except MetadataError as error:
                self._crew.post(MetadataTroubled(str(error)))
                break
            if interface is not None:
                found[target] = interface
        return found

    def _rehearse(self, asked: Rehearse) -> None:
        for event in performing.rehearsed(self._edges.cloud, asked):
            self._crew.post(event)

    # The other observers: who is a peer, EC2 says (roster.py).

    def _ask_peers(self, asked: AskPeers) -> None:
        wanted = {**self.roster.follow(asked.known, self._crew.now()), **asked.holders}
        wanted.pop(self._me.instance_id, None)
        if wanted != self._chosen:
            self._chosen = wanted
            # Posted before any of them can have answered.
            self._crew.post(PeersChosen(wanted))
        self._crew.ask_peers(wanted, asked.doubted)
        self._ask_about_peers()

    def _ask_about_peers(self) -> None:
        """Ask EC2 about observers that claim to be peers, if it may be asked now; may be called from any thread."""
        asked_at = self._crew.now()
        asked = self.roster.question(asked_at)
        if asked:
            self._crew.begin("peers", lambda: self._judge_peers(asked, asked_at))

    def _judge_peers(self, asked: frozenset[str], asked_at: float) -> None:
        try:
            instances = self._edges.cloud.describe_instances(asked)
        except CloudError:
            # That EC2 does not answer is logged where it is asked about the addresses (looking.py).
            self.roster.unanswered(self._crew.now())
        else:
            self.roster.answered(asked, asked_at, instances)
            self._crew.post(PeersJudged())
