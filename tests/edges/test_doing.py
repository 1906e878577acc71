"""What effects mean, whoever keeps the time: who is asked for its word, and what becomes of jobs that fail."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any, cast

from floatingip.agent import events
from floatingip.agent.effects import AskPeers, Look, Moved, Probing, Publish
from floatingip.agent.looks import Question
from floatingip.core.errors import MetadataError
from floatingip.core.model import Address
from floatingip.core.move import Move, Result
from floatingip.core.node import Identity, Interface
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Status
from floatingip.edges.tally import Tally
from floatingip.runtime.doing import Doer, Edges, Errand
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

ADDRESS, OWN, OTHER = IPv4Address("10.0.0.100"), IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11")
TAGS = {"kubernetes.io/cluster/lab": "owned"}


class Crew:
    """Does each job when the test says so, and keeps what was posted, and who is asked."""

    def __init__(self) -> None:
        self.posted: list[events.Event] = []
        self.jobs: list[tuple[str, Callable[[], None]]] = []
        self.asked: Mapping[str, Address] = {}

    def work(self) -> list[str]:
        """Do all jobs; their names."""
        jobs, self.jobs = self.jobs, []
        for _, job in jobs:
            job()
        return [name for name, _ in jobs]

    def now(self) -> float:
        return 100.0

    def post(self, event: events.Event) -> None:
        self.posted.append(event)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        self.jobs.append((name, job))

    def do(self, errand: Errand) -> None:
        """See `Crew`."""

    def ask_peers(self, addresses: Mapping[str, Address], doubted: frozenset[str]) -> None:
        self.asked = addresses


class Node:
    """A worker of a small VPC with another one; IMDS gives the answer that the test sets."""

    def __init__(self) -> None:
        ec2 = FakeEc2()
        subnet = ec2.add_subnet("10.0.0.0/24")
        self.me, self.other = (ec2.add_instance(str(address), subnet, tags=TAGS) for address in (OWN, OTHER))
        self.identity = Identity(self.me, "us-west-2", subnet.zone, "vpc-1", subnet.id, "02:", OWN, ("sg-1",))
        self.cloud, self.crew = FakeCloud(ec2, ("sg-1",)), Crew()
        self.interface: Interface | MetadataError | None = None
        nothing = cast("Any", None)
        self.tally = Tally()
        edges = Edges(self.cloud, nothing, nothing, cast("Any", self), nothing, tally=self.tally)
        self.doer = Doer(Settings((ADDRESS,), name="lab"), self.identity, edges, self.crew)

    def interface_with(self, address: Address) -> Interface | None:
        """See `ports.Metadata`."""
        if isinstance(self.interface, MetadataError):
            raise self.interface
        return self.interface


def test_who_is_named_is_asked_once_ec2_has_shown_it() -> None:
    """Whatever an observer tells of: EC2 says where a peer is."""
    node = Node()
    named = AskPeers({}, frozenset({node.other, "i-0000"}), frozenset())
    node.doer.do(named)
    assert (node.crew.asked, node.crew.posted) == ({}, [])
    assert node.crew.work() == ["peers"]
    assert node.crew.posted == [events.PeersJudged()]
    node.doer.do(named)
    assert node.crew.asked == {node.other: OTHER}
    assert node.crew.posted[1:] == [events.PeersChosen({node.other: OTHER})]


def test_this_node_never_asks_itself() -> None:
    """Neither as a holder nor because somebody tells of it."""
    node = Node()
    node.doer.do(AskPeers({node.me: OWN}, frozenset({node.me}), frozenset()))
    assert (node.crew.asked, node.crew.work()) == ({}, [])


def test_while_ec2_has_never_answered_imds_is_asked_meanwhile() -> None:
    """And again when EC2 failed: what it shows then is enough to go on carrying."""
    node = Node()
    node.interface = Interface("02:00:00:00:00:64", node.cloud.describe_subnets()[0].networks[0])
    node.cloud.reachable = False
    node.doer.do(Look(Question(100.0, node.me, "lab"), metadata=True))
    assert node.crew.work() == ["look", "look-metadata"]
    failed, shown = node.crew.posted
    assert isinstance(failed, events.LookFailed)
    assert failed.interfaces == {ADDRESS: node.interface}
    assert shown == events.ShownByMetadata({ADDRESS: node.interface})
    node.cloud.reachable = True
    node.doer.do(Look(Question(101.0, node.me, "lab"), metadata=False))
    assert node.crew.work() == ["look"]
    assert isinstance(node.crew.posted[-1], events.Looked)


def test_what_was_published_last_is_what_others_may_know() -> None:
    """From the first moment, when that is nothing yet."""
    node = Node()
    assert node.doer.published.starting
    snapshot = Snapshot(101.0, Status("lab", node.me))
    node.doer.do(Publish(snapshot))
    assert node.doer.published is snapshot


def test_what_comes_of_probes_and_moves_is_counted() -> None:
    """Probes of the address alone, on their way to the agent; a move as it ends."""
    node, text = Node(), str(ADDRESS)
    ping = Probing(text, ADDRESS, 1.0, 1.0)
    answered, lost = ProbeResult(1.0, 1.25, ProbeOutcome.ANSWERED), ProbeResult(1.0, 2.0, ProbeOutcome.LOST)
    rejected = replace(lost, outcome=ProbeOutcome.FAILED_HERE, ping_lost=True)
    probed = [events.Probed(ping, each) for each in (answered, lost, rejected)]
    probed.append(events.Probed(replace(ping, node_port=NodePort(30007)), lost))
    for each in probed:
        node.doer.probed(each)
    report = PlumbingReport(PlumbingState.SOUND, ("marks", "rule"))
    node.doer.reconciled(ADDRESS, report)
    moved = Move("1", 1.7e9 - 1.5, 1.7e9, text, "R3", "", "i-a", "i-b", Result.MOVED, {"duration": 1.5, "detect": 1.5})
    node.doer.do(Moved(moved))
    node.doer.do(Moved(replace(moved, ended_at=1.8e9, result=Result.KEPT)))
    assert node.crew.posted == [*probed, events.Reconciled(ADDRESS, report)]
    counts = node.tally.read()
    assert counts.probes == {(text, "answered"): 1, (text, "lost"): 2}
    assert counts.round_trips[text].total == 0.25
    assert counts.repairs == {"marks": 1, "rule": 1}
    assert counts.moves == {(text, "R3", "moved"): 1, (text, "R3", "kept"): 1}
    assert (counts.moved_at, counts.durations.total) == ({text: 1.7e9}, 1.5)
