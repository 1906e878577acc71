"""
A whole agent that strangers tell what they like, in whatever order; and what it may never ask for because of that.

EC2 answers a question that was asked; a probe was sent, and a write made, that was asked for.  All else may come at any
time, with any value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from typing import Any, cast

from floatingip.agent.agent import Agent
from floatingip.agent.effects import Effect, End, Look, Perform, Probe, Probing, Publish, Tell
from floatingip.agent.events import Event, Heard, Looked, LookFailed, PeersChosen, PodShown, Probed, Reconciled, Wrote
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.ec2 import (
    OWNER_TAG,
    STANDING_TAG,
    AllocationFacts,
    Attachment,
    AttachmentStatus,
    Eni,
    Instance,
    InstanceState,
    Subnet,
)
from floatingip.core.errors import CloudError
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.node import Identity, OwnPod
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.ports import Cloud
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import Answer, Held, Status
from floatingip.core.writes import Assign, Attach, Delete, Detach, Tag, Unassign, Write
from floatingip.edges.telemetry import quoted
from floatingip.runtime.look import look
from tests.sim.inline import Inline

ADDRESS, ELASTIC = IPv4Address("10.0.0.100"), Allocation("eipalloc-0123456789abcdef0")
TARGETS: tuple[Target, ...] = (ADDRESS, ELASTIC)
ME, OTHER, THIRD, NAME, ZONE = "i-b", "i-a", "i-c", "lab", "us-west-2a"
SUBNET = Subnet("subnet-1", (ip_network("10.0.0.0/24"),), ZONE)
IDENTITY = Identity(ME, "us-west-2", ZONE, "vpc-1", SUBNET.id, "02:00:00:00:00:0b", IPv4Address("10.0.0.11"), ("sg-1",))
MOST_EFFECTS = 40
"""Asked for at one moment, for two addresses: at most a few of each kind, and lines about each."""


@dataclass(frozen=True, slots=True)
class Vpc:
    """What EC2 says at one moment, `ports.Cloud`'s questions alone."""

    enis: tuple[Eni, ...] = ()
    instances: tuple[Instance, ...] = ()
    subnets: tuple[Subnet, ...] = (SUBNET,)
    allocation: AllocationFacts | None = None

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        return tuple(eni for eni in self.enis if eni.tags.get(OWNER_TAG) == name)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        return tuple(eni for eni in self.enis if any(map(eni.occupies, addresses)))

    def describe_instances(self, instance_ids: frozenset[str]) -> dict[str, Instance]:
        return {instance.id: instance for instance in self.instances if instance.id in instance_ids}

    def describe_subnets(self) -> tuple[Subnet, ...]:
        return self.subnets

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        return self.allocation


INSTANCES = tuple(
    Instance(
        who,
        InstanceState.RUNNING,
        IPv4Address(f"10.0.0.{last}"),
        ZONE,
        frozenset({0}),
        {f"kubernetes.io/cluster/{NAME}": ""},
    )
    for who, last in ((OTHER, 10), (ME, 11), (THIRD, 12))
)


def sound(carry: Carry, holder: str) -> Vpc:
    """All is well there, and this instance, or nobody, has the address; the Elastic IP is nobody's yet."""
    if carry is Carry.ENI:
        enis: tuple[Eni, ...] = (_eni("eni-1", ADDRESS, holder, "eni-attach-1", {}),)
    else:
        enis = tuple(
            replace(
                _eni(f"eni-{place}", IPv4Address(f"10.0.0.6{place}"), who, f"eni-attach-{place}", {STANDING_TAG: who}),
                secondary=(ADDRESS,) if who == holder else (),
            )
            for place, who in enumerate((OTHER, ME, THIRD))
        )
    return Vpc(enis, INSTANCES)


def _eni(eni_id: str, address: IPv4Address, holder: str, attachment_id: str, tags: Mapping[str, str]) -> Eni:
    bound = Attachment(attachment_id, holder, 1, AttachmentStatus.ATTACHED, 1_763_000_000.0) if holder else None
    reached = {REACHED_TAG: "1763999999", f"{REACHED_TAG}/{ADDRESS}": "1763999999"}
    told = {OWNER_TAG: NAME, "Name": f"floatingip {NAME}", **reached, **tags}
    return Eni(
        eni_id, f"02:00:00:00:01:{eni_id[-1]:0>2}", address, SUBNET.id, ZONE, bound, told, security_groups=("sg-1",)
    )


def odder(vpc: Vpc, oddities: Iterable[tuple[int, str, Any]]) -> Vpc:
    """The same, but for these fields of these interfaces; of tags, those that are told."""
    enis = list(vpc.enis)
    for place, name, value in oddities:
        eni = enis[place % len(enis)]
        changes: dict[str, Any] = {name: {**eni.tags, **value} if name == "tags" else value}
        enis[place % len(enis)] = replace(eni, **changes)
    return replace(vpc, enis=tuple(enis))


@dataclass
class Node:
    """The agent, the time there, and what is under way."""

    carry: Carry
    service: str = ""
    now: float = 1000.0
    wall: float = 1_764_000_000.0
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = Settings(TARGETS, name=NAME, service=self.service, carry=self.carry)
        self._settings = settings
        self.agent = Agent(settings, IDENTITY, observes=True, started_at=self.now, chance=lambda low, _high: low)
        self._looks: list[Look] = []
        self.probings: list[Probing] = []
        self._performs: dict[str, Perform] = {}
        self._ended_at: dict[str, float] = {}
        self._asked_at = float("-inf")
        self._shown: dict[str, Eni] = {}
        self._vpc = Vpc()
        self.published: Snapshot | None = None
        self.ended = False

    def pass_time(self, seconds: float) -> None:
        """The agent is called whenever it wants to be."""
        until = self.now + seconds
        while not self.ended and (due := max(self.agent.due(), self.now + 0.01)) <= until:
            self.wall += due - self.now
            self.now = due
            self.tell()
        self.wall += until - self.now
        self.now = until

    def tell(self, *events: Event) -> None:
        """It has happened."""
        if self.ended:
            return
        effects = self.agent.handle(events, self.now, self.wall)
        assert len(effects) <= MOST_EFFECTS * (1 + len(events))
        for effect in effects:
            self._take(effect)

    def _take(self, effect: Effect) -> None:
        match effect:
            case Look():
                self._looks.append(effect)
                assert len(self._looks) == 1, "a question is asked while another one is under way"
            case Probe(probings):
                self.probings = sorted(probings, key=repr)
            case Perform():
                self._judge(effect)
            case Tell():
                assert quoted(effect.message).isprintable()
            case Publish(snapshot):
                self.published = snapshot
            case End():
                self.ended = True

    # What befalls it.

    def ec2_answers(self, vpc: Vpc | None = None) -> None:
        """What was asked for is told; without another ``vpc``: nothing has changed there."""
        if vpc is not None:
            self._vpc = vpc
        if not self._looks or self.ended:
            return
        vpc = self._vpc
        question = self._looks.pop().question
        try:
            seen = look(cast(Cloud, vpc), self._settings, question, Inline())
        except CloudError as error:
            self.tell(LookFailed(error, {}))
            return
        self._asked_at = question.asked_at
        self._shown = {eni.id: eni for eni in vpc.enis}
        self.tell(Looked(seen))

    def ec2_fails(self, error: CloudError) -> None:
        """What was asked for is not told."""
        if self._looks:
            self._looks.pop()
            self.tell(LookFailed(error, {}))

    def write_ends(self, error: CloudError | None) -> None:
        """What was written last came to its end."""
        if self._performs:
            writer, perform = self._performs.popitem()
            self._ended_at[writer] = self.now
            self.tell(Wrote(writer, perform.write, error))

    def probe_ends(self, which: int, outcome: ProbeOutcome, took: float) -> None:
        """One of those under way."""
        if self.probings:
            probing = self.probings[which % len(self.probings)]
            self.tell(Probed(probing, ProbeResult(self.now - took, self.now, outcome)))

    def in_doubt(self, seconds: float, answers: Mapping[str, Status | None]) -> None:
        """The address answers no probe for so long, while the observers give these answers, and EC2 its last one."""
        for _ in range(int(seconds / 0.1)):
            self.pass_time(0.1)
            for which in range(len(self.probings)):
                self.probe_ends(which, ProbeOutcome.LOST, 0.15)
            for instance_id, status in answers.items():
                self.tell(Heard(instance_id, Answer(self.now - 0.05, self.now, status)))
            self.ec2_answers()

    # What it may never ask for.

    def _judge(self, perform: Perform) -> None:
        """R8, and that nothing is touched but what EC2 has just shown, as ours, in the state that the write is for."""
        writer, write = perform.writer, perform.write
        assert writer not in self._performs, "a write is made on top of another one"
        assert self._asked_at > self._ended_at.get(writer, float("-inf")), "an answer older than the last write is used"
        self._performs[writer] = perform
        self.writes.append(write)
        attachments = {eni.attachment.id: eni for eni in self._shown.values() if eni.attachment is not None}
        match write:
            case Detach(attachment_id):
                assert attachment_id in attachments
                self._is_ours(attachments[attachment_id])
            case Attach(eni_id) | Delete(eni_id):
                eni = self._is_ours(self._shown[eni_id])
                assert eni.attachment is None or eni.attachment.status == "detached"
            case Assign(eni_id, address, reassign):
                assert self._is_ours(self._shown[eni_id]).standing_for == ME
                others = [eni for eni in self._shown.values() if eni.id != eni_id and eni.occupies(address)]
                assert reassign or not others, "it would be refused"
                for eni in others:
                    self._is_ours(eni)
            case Unassign(eni_id) | Tag(eni_id):
                self._is_ours(self._shown[eni_id])

    def _is_ours(self, eni: Eni) -> Eni:
        assert eni.tags.get(OWNER_TAG) == NAME, "somebody else's is touched"
        return eni


def in_peace(carry: Carry, holder: str, service: str = "") -> Node:
    """A node that has seen, for some time, that all is well."""
    node = Node(carry, service)
    node.pass_time(0.1)
    node.tell(PeersChosen({OTHER: IPv4Address("10.0.0.10"), THIRD: IPv4Address("10.0.0.12")}))
    for _ in range(6):
        peace(node, holder, Status(NAME, THIRD))
    return node


def peace(node: Node, holder: str, third: Status | None) -> None:
    """Half a second of it, while the third node's observer says that."""
    node.ec2_answers(sound(node.carry, holder))
    extent = Extent.ALL if holder == ME else Extent.NOTHING if node.carry is Carry.ENI else Extent.AHEAD
    held = {str(ADDRESS): Held(f"eni-attach-{1 if node.carry is Carry.ENI else 0}")} if holder == OTHER else {}
    node.tell(
        Reconciled(ADDRESS, PlumbingReport(PlumbingState.SOUND, extent=extent)),
        Heard(OTHER, Answer(node.now - 0.05, node.now, Status(NAME, OTHER, held))),
        Heard(THIRD, Answer(node.now - 0.05, node.now, third)),
        PodShown(OwnPod(node.now, answered=True, ready=True, containers_ready=True)),
    )
    for which in range(len(node.probings)):
        node.probe_ends(which, ProbeOutcome.ANSWERED, 0.01)
    node.pass_time(0.5)


Step = Callable[[Node], None]
