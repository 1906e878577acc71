"""One node with one floating address, fed by hand, and what EC2 shows it; time goes on by itself, a little."""

import random
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from floatingip.agent.address import FloatingAddress
from floatingip.agent.looks import Seen
from floatingip.agent.shared import Shared
from floatingip.agent.standing import Standing
from floatingip.core.ec2 import (
    ALLOCATION_TAG,
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
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.node import Identity
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.settings import Settings
from floatingip.runtime import performing
from floatingip.runtime.calls import Calls
from tests.core.told import Told
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

NAME, ME, OTHER = "cluster", "i-b", "i-a"
ADDRESS, IPV6, ELASTIC = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100"), Allocation("eipalloc-0123abcd")
ZONE, OTHER_ZONE = "us-west-2-lax-1a", "us-west-2-lax-1b"
OUTPOST = "arn:aws:outposts:us-west-2:1:outpost/op-1"
SUBNET = Subnet("subnet-1", (ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64")), ZONE)
IDENTITY = Identity(ME, "us-west-2", ZONE, "vpc-1", SUBNET.id, "02:00:00:00:00:0b", IPv4Address("10.0.0.11"), ("sg-1",))
MAC = "02:00:00:00:00:64"
WALL = 1_764_000_000.0


class Clock:
    """Goes on by a millisecond whenever it is asked."""

    def __init__(self) -> None:
        self._now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        self._now += 0.001
        return self._now

    def go_on(self, seconds: float) -> None:
        """So much time passes."""
        self._now += seconds


now = Clock()
"""What the nodes of a test and the test itself take for the time."""


def sharing(*targets: Target, me: Identity = IDENTITY, **settings: Any) -> Shared:
    """What an agent with these settings knows in the beginning."""
    return Shared(me, Settings(targets, **{"name": NAME, **settings}))


@dataclass
class Node:
    """A node with one floating address, and what it was told."""

    target: Target = ADDRESS
    index: int = 0
    shared: Shared = field(default_factory=lambda: sharing(ADDRESS))
    cloud: FakeCloud = field(default_factory=lambda: FakeCloud(FakeEc2()))
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        if self.shared.subnets is None:
            self.shared.subnets = (SUBNET,)
        self.shared.instances.setdefault(ME, instance(ME))
        chance = random.Random(1).uniform
        self.address = FloatingAddress(self.target, self.index, self.shared, self.told.out, now=now(), chance=chance)

    def looked(self, shown: Eni | None, at: float | None = None) -> None:
        """EC2 showed this."""
        self.address.looked(Seen(now() if at is None else at, {self.target: shown} if shown else {}), now())

    def step(self, burden: int = 0) -> str:
        """Decide once; the reason."""
        self.address.step((), burden, now=now(), wall=WALL)
        return self.address.decision.reason.name

    def found(self, report: PlumbingReport) -> str:
        """Its kernel is like this, and it decides; the reason."""
        self.address.reconciled(report, now())
        return self.step()

    def receive(self) -> None:
        """What a write came to."""
        (asked,) = self.told.performs()
        self.address.wrote(performing.wrote(self.cloud, self.shared.me.instance_id, asked, Calls(), now), now())


def instance(instance_id: str, *indexes: int, outpost: str = "", address: str | None = "10.0.0.11") -> Instance:
    """A worker as EC2 would show it, with the device indexes that are taken."""
    where = IPv4Address(address) if address else None
    taken = frozenset({0, *indexes})
    return Instance(instance_id, InstanceState.RUNNING, where, ZONE, taken, type="m5.large", outpost=outpost)


def eni(target: Target = ADDRESS, holder: str = "", **changes: object) -> Eni:
    """Our ENI for the target, attached to the holder if there is one."""
    attachment = Attachment("a1", holder, 1, AttachmentStatus.ATTACHED) if holder else None
    tags = {OWNER_TAG: NAME} | ({ALLOCATION_TAG: target.id} if isinstance(target, Allocation) else {})
    address = target if isinstance(target, IPv4Address) else IPv4Address("10.0.0.50")
    ipv6s = (target,) if isinstance(target, IPv6Address) else ()
    shown = Eni("eni-1", MAC, address, SUBNET.id, ZONE, attachment, tags, ipv6s=ipv6s, security_groups=("sg-1",))
    return replace(shown, **changes)  # type: ignore[arg-type]  # the test names fields of Eni


def facts(eni_id: str = "", border_group: str = "us-west-2-lax-1") -> AllocationFacts:
    """The Elastic IP as EC2 would show it."""
    return AllocationFacts(ELASTIC.id, "203.0.113.100", border_group, eni_id)


OWN_MAC = "02:00:00:00:01:0b"


def own(*addresses: IPv4Address, **changes: object) -> Eni:
    """The standing ENI of this node."""
    bound = Attachment("at-b", ME, 1, AttachmentStatus.ATTACHED)
    tags = {OWNER_TAG: NAME, STANDING_TAG: ME}
    made = Eni("eni-b", OWN_MAC, IPv4Address("10.0.0.61"), SUBNET.id, ZONE, bound, tags, secondary=addresses)
    return replace(made, **changes)  # type: ignore[arg-type]  # the test names fields of Eni


def others(*addresses: IPv4Address, **changes: object) -> Eni:
    """The other node's standing ENI."""
    bound = Attachment("at-a", OTHER, 1, AttachmentStatus.ATTACHED)
    return own(
        *addresses, id="eni-a", mac=MAC, attachment=bound, tags={OWNER_TAG: NAME, STANDING_TAG: OTHER}, **changes
    )


def mover(target: Target = ADDRESS, standing: Standing | None = None) -> Node:
    """A node whose standing ENI is there, unless it is said otherwise."""
    shared = sharing(ADDRESS, IPV6, ELASTIC, carry=Carry.ADDRESS)
    shared.standings[SUBNET.id] = standing or Standing(0.0, eni=own(), bound=own())
    made = Node(target, shared=shared)
    made.address.where.found_allocation(facts())
    return made


SOUND, NO_LINK = PlumbingReport(PlumbingState.SOUND), PlumbingReport(PlumbingState.NO_LINK)
NOTHING = PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING)
WITHOUT_NFT = PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing")
"""What a node finds in its kernel."""


def held_by(holder: str, report: PlumbingReport, **told: Any) -> Node:
    """A node to which EC2 has shown this holder, and that has found this in its kernel."""
    made = Node(**told)
    made.looked(eni(holder=holder))
    made.found(report)
    return made
