"""One address on one node: what stands in its way, what it would need, and what is asked of EC2 for it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from floatingip.agent.address import FloatingAddress
from floatingip.agent.effects import Moved, Probing
from floatingip.agent.shared import Shared
from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, Rule, State
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
    Owner,
    Subnet,
)
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.move import Result
from floatingip.core.node import Identity, Interface
from floatingip.core.peer import WordState
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Lack
from floatingip.core.word import Answer, Held, Status
from floatingip.core.writes import SetGroups
from floatingip.runtime import performing
from floatingip.runtime.look import Calls
from tests.core.told import Told
from tests.fakes.ec2 import FakeCloud, FakeEc2

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


@dataclass
class Node:
    """A node with one floating address, and what it was told."""

    target: Target = ADDRESS
    index: int = 0
    settings: Settings = field(default_factory=lambda: Settings((ADDRESS,)))
    shared: Shared = field(default_factory=lambda: Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI))
    cloud: FakeCloud = field(default_factory=lambda: FakeCloud(FakeEc2()))
    told: Told = field(default_factory=Told)

    def __post_init__(self) -> None:
        if self.shared.subnets is None:
            self.shared.subnets = (SUBNET,)
        self.shared.instances.setdefault(ME, instance(ME))
        chance = random.Random(1).uniform
        self.address = FloatingAddress(
            self.target, self.index, self.settings, self.shared, self.told.out, now=now(), chance=chance
        )

    def looked(self, shown: Eni | None, at: float | None = None) -> None:
        """EC2 showed this."""
        self.address.looked(Owner(now() if at is None else at, shown), now())

    def step(self, burden: int = 0) -> str:
        """Decide once; the reason."""
        self.address.step((), burden, now=now(), wall=WALL)
        return self.address.decision.reason.name

    def receive(self) -> None:
        """What a write came to."""
        (asked,) = self.told.performs()
        self.address.wrote(performing.wrote(self.cloud, self.shared.me.instance_id, asked, Calls()), now())


Make = Callable[..., Node]


@pytest.fixture(name="node")
def _node() -> Make:
    """Make nodes."""

    def node(target: Target = ADDRESS, **how: object) -> Node:
        return Node(target, **how)  # type: ignore[arg-type]  # the test names fields of Node

    return node


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


# What stands in the way, in sentences.


def test_nothing_stands_in_the_way_of_an_address_of_this_nodes_subnet(node: Make) -> None:
    """Of each kind, and of its ENI."""
    for target in (ADDRESS, IPV6, ELASTIC):
        made = node(target)
        made.address.where.found_allocation(facts())
        assert made.address.obstacle() == ""
        made.looked(eni(target, OTHER))
        assert made.address.obstacle() == ""


def test_before_the_subnets_are_known_that_is_the_obstacle(node: Make) -> None:
    """And no reason to give up."""
    made = node()
    made.shared.subnets = None
    assert made.address.obstacle() == "its subnet is not known yet"
    assert not made.address.where.is_known()


@pytest.mark.parametrize("target", [ADDRESS, IPV6, ELASTIC], ids=["IPv4", "IPv6", "Elastic IP"])
def test_another_zone_is_told_with_both_zones(node: Make, target: Target) -> None:
    """Whether or not the ENI exists: it cannot leave its zone."""
    made = node(target)
    elsewhere = replace(SUBNET, zone=OTHER_ZONE)
    made.shared.subnets = (elsewhere,)
    made.address.where.found_allocation(facts())
    made.looked(eni(target, zone=OTHER_ZONE))
    assert made.address.obstacle() == (
        f"{target} is in subnet-1 of zone {OTHER_ZONE}, this node is in zone {ZONE}, and an ENI cannot leave its zone;"
        f" run on nodes of {OTHER_ZONE} only"
    )
    assert made.address.where.impossible() == made.address.obstacle()


def test_an_address_without_a_subnet_is_told_with_the_vpc(node: Make) -> None:
    """A typing mistake, or the wrong VPC."""
    made = node(IPv4Address("10.9.9.9"))
    assert made.address.obstacle() == ("no subnet of vpc-1 contains 10.9.9.9; set FLOATING_IP to an address of one")
    assert made.address.where.impossible() == made.address.obstacle()


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.255", "2001:db8:0:1::2"])
def test_an_address_that_aws_keeps_is_told(node: Make, address: str) -> None:
    """EC2 would refuse the interface again and again, as if the parameter were wrong and nothing else."""
    told = node(ip_address(address)).address.where.impossible()
    assert told.startswith(f"AWS keeps {address} in subnet-1, as the first four and the last of ")


def test_a_public_address_without_a_subnet_may_be_an_elastic_ip(node: Make) -> None:
    """What the console shows of one is its public address; a VPC may have public ranges, so only here it is told."""
    assert node(IPv4Address("52.94.76.1")).address.where.impossible() == (
        "no subnet of vpc-1 contains 52.94.76.1; set FLOATING_IP to an address of one, or to the allocation id"
        " (eipalloc-...) if this is an Elastic IP"
    )


def test_the_subnet_is_found_among_all_and_by_either_family(node: Make) -> None:
    """It need not be this node's own."""
    other = Subnet("subnet-2", (ip_network("10.0.1.0/24"), ip_network("2001:db8:0:2::/64")), ZONE)
    for target in (IPv4Address("10.0.1.7"), IPv6Address("2001:db8:0:2::7")):
        made = node(target)
        made.shared.subnets = (SUBNET, other)
        assert made.address.where.subnet() == other
        assert made.address.obstacle() == ""


def test_an_outposts_address_is_refused_on_a_node_elsewhere(node: Make) -> None:
    """In the same zone, even."""
    made = node()
    made.shared.subnets = (replace(SUBNET, outpost=OUTPOST),)
    assert made.address.obstacle() == f"{ADDRESS} is on Outpost {OUTPOST}, this node is not; run on nodes of there only"
    assert made.address.where.impossible()


def test_a_zones_address_is_refused_on_an_outposts_node(node: Make) -> None:
    """The other way round."""
    made = node()
    made.shared.instances[ME] = instance(ME, outpost=OUTPOST)
    assert made.address.obstacle() == (
        f"{ADDRESS} is in {ZONE}, not on an Outpost, this node is not; run on nodes of there only"
    )


def test_a_node_of_the_same_outpost_may_have_the_address(node: Make) -> None:
    """Both know its ARN."""
    made = node()
    made.shared.subnets = (replace(SUBNET, outpost=OUTPOST),)
    made.shared.instances[ME] = instance(ME, outpost=OUTPOST)
    assert made.address.obstacle() == ""


def test_an_allocation_that_does_not_exist_is_told_with_the_region(node: Make) -> None:
    """Released, or of another Region or account."""
    made = node(ELASTIC)
    made.address.where.found_allocation(None)
    assert made.address.obstacle() == (
        "there is no allocation eipalloc-0123abcd in us-west-2; allocate it, or correct FLOATING_IP"
    )
    assert made.address.where.impossible() == made.address.obstacle()


def test_an_allocation_that_ec2_has_not_told_of_is_waited_for(node: Make) -> None:
    """Not known is not missing."""
    made = node(ELASTIC)
    made.looked(None)
    assert made.address.obstacle() == "eipalloc-0123abcd is not known yet"
    assert not made.address.where.is_known()
    made.address.where.found_allocation(facts())
    assert made.address.where.is_known()


@pytest.mark.parametrize(
    ("zone", "group", "fits"),
    [
        ("us-west-2-lax-1a", "us-west-2-lax-1", True),
        ("us-west-2-lax-1a", "us-west-2", False),
        ("us-west-2-lax-1a", "us-west-2-lax-1b", False),
        ("us-west-2a", "us-west-2", True),
        ("us-west-2a", "us-west-2-lax-1", False),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1-wl1-bos-wlz-1", True),
        ("us-west-2-lax-1a", "", True),
    ],
)
def test_an_allocation_of_another_border_group_is_told_with_both(node: Make, zone: str, group: str, fits: bool) -> None:
    """A Local Zone has its own; of a customer-owned IP none is told."""
    made = node(ELASTIC, shared=Shared(replace(IDENTITY, zone=zone), NAME, (), Carry.ENI))
    made.shared.subnets = (replace(SUBNET, zone=zone),)
    made.address.where.found_allocation(facts(border_group=group))
    wanted = zone.rstrip("abcdefghijklmnopqrstuvwxyz")
    told = (
        ""
        if fits
        else (
            f"eipalloc-0123abcd belongs to the network border group {group}, this node's zone {zone} to {wanted};"
            f" allocate one with --network-border-group {wanted}"
        )
    )
    assert made.address.obstacle() == told


def test_an_allocation_that_something_else_has_is_told_with_it(node: Make) -> None:
    """A NAT gateway's interface, for example: it is never taken away from there."""
    told = "eipalloc-0123abcd is associated with eni-9, which is not ours; disassociate it there first"
    for shown in (None, eni(ELASTIC), eni(ELASTIC, OTHER)):
        made = node(ELASTIC)
        made.address.where.found_allocation(facts("eni-9"))
        made.looked(shown)
        assert made.address.obstacle() == told
        assert made.address.where.impossible() == told


def test_an_allocation_that_our_own_eni_has_is_no_obstacle(node: Make) -> None:
    """By DescribeAddresses, or by the ENI itself, whichever shows it first."""
    made = node(ELASTIC)
    made.address.where.found_allocation(facts("eni-1"))
    made.looked(eni(ELASTIC, OTHER))
    assert made.address.obstacle() == ""
    made = node(ELASTIC)
    made.address.where.found_allocation(facts("eni-9"))
    made.looked(eni(ELASTIC, OTHER, elastic={IPv4Address("10.0.0.50"): ELASTIC.id}))
    assert made.address.obstacle() == ""


def test_a_node_without_a_free_slot_says_so(node: Make) -> None:
    """Three interfaces of a type that has three; waiting may change it."""
    made = node()
    made.shared.instances[ME] = instance(ME, 1, 2)
    made.shared.slots = 3
    assert made.address.obstacle() == "i-b has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
    assert made.address.where.impossible() == ""
    made.shared.slots = 4
    assert made.address.obstacle() == ""


def test_while_its_slots_are_unknown_a_node_tries(node: Make) -> None:
    """EC2 will say."""
    made = node()
    made.shared.instances[ME] = instance(ME, *range(1, 15))
    assert made.shared.free_slots() is None
    assert made.address.obstacle() == ""


def test_denied_permissions_are_an_obstacle_that_names_them(node: Make) -> None:
    """A dry run found them, before a failover did."""
    made = node()
    made.shared.denied = ("ec2:AttachNetworkInterface", "ec2:DetachNetworkInterface")
    assert made.address.obstacle() == (
        "IAM denies ec2:AttachNetworkInterface, ec2:DetachNetworkInterface; allow ec2:AttachNetworkInterface,"
        " ec2:DetachNetworkInterface to this pod's role"
    )
    assert made.address.where.impossible() == ""


@pytest.mark.parametrize("action", ["ec2:CreateTags", "ec2:CreateNetworkInterface"])
def test_a_permission_that_a_takeover_does_not_need_keeps_nobody_from_it(node: Make, action: str) -> None:
    """The ration's tag can wait, and the ENI exists; the node says that it is not ready all the same."""
    made = node()
    made.looked(eni(holder=OTHER))
    made.shared.denied = (action,)
    made.step()
    assert made.address.obstacle() == ""
    assert action in made.address.not_ready()


def test_for_the_holder_neither_slots_nor_permissions_are_an_obstacle(node: Make) -> None:
    """It has its slot, and all the permissions that it needed."""
    made = node()
    made.shared.instances[ME] = instance(ME, 1, 2)
    made.shared.slots = 3
    made.shared.denied = ("ec2:AttachNetworkInterface",)
    made.looked(eni(holder=ME))
    assert made.address.obstacle() == ""


def test_a_standby_with_an_obstacle_is_not_ready_and_says_why(node: Make) -> None:
    """Its holder's loss would show it too late."""
    made = node()
    made.looked(eni(holder=OTHER))
    made.step()
    assert made.address.not_ready() == ""
    made.shared.denied = ("ec2:AttachNetworkInterface",)
    made.step()
    assert "ec2:AttachNetworkInterface" in made.address.not_ready()


# What a node would need to carry the address.


@pytest.mark.parametrize(
    ("index", "table", "priority", "mark"), [(0, 840, 900, 0x40), (1, 841, 902, 0x20), (2, 842, 904, 0x60)]
)
def test_each_address_has_a_table_two_priorities_and_a_mark_of_its_own(
    node: Make, index: int, table: int, priority: int, mark: int
) -> None:
    """By its place in FLOATING_IP, so that they are the same on every node, whatever the device index."""
    made = node(index=index, settings=Settings((ADDRESS, IPV6, ELASTIC)))
    made.looked(eni(holder=ME))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.table, plumbing.priority, plumbing.mark, plumbing.mark_mask) == (table, priority, mark, 0x70)


def test_an_ipv4_address_leaves_by_its_subnets_router(node: Make) -> None:
    """The first address behind the subnet's own; the MAC is the ENI's, the MTU the primary's."""
    made = node()
    made.looked(eni(holder=ME))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.address, plumbing.mac, plumbing.gateway) == (ADDRESS, MAC, IPv4Address("10.0.0.1"))
    assert plumbing.primary_mac == IDENTITY.mac


def test_an_ipv6_address_leaves_by_the_vpcs_router(node: Make) -> None:
    """The IPv4 address that EC2 gave the same ENI is not carried."""
    made = node(IPV6)
    made.looked(eni(IPV6, ME))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.address, plumbing.gateway) == (IPV6, IPv6Address("fe80:ec2::1"))


def test_for_an_elastic_ip_the_private_address_is_carried(node: Make) -> None:
    """The node never sees the public one."""
    made = node(ELASTIC)
    assert made.address.where.plumbing() is None
    made.looked(eni(ELASTIC, ME))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert plumbing.address == IPv4Address("10.0.0.50")


def test_while_ec2_is_silent_imds_tells_what_to_carry(node: Make) -> None:
    """R9: a restart during an outage of EC2; its word counts only until EC2's does."""
    made = node()
    assert made.address.where.plumbing() is None
    made.address.found_interface(Interface("02:00:00:00:00:99", ip_network("10.0.0.0/24")))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.mac, plumbing.gateway) == ("02:00:00:00:00:99", IPv4Address("10.0.0.1"))
    made.looked(eni(holder=ME))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert plumbing.mac == MAC


# Where the address moves between standing ENIs.

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


@pytest.fixture(name="mover")
def _mover(node: Make) -> Callable[..., Node]:
    """Make nodes whose standing ENI is there."""

    def mover(target: Target = ADDRESS, standing: Standing | None = None) -> Node:
        shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ADDRESS)
        shared.standings[SUBNET.id] = standing or Standing(0.0, eni=own(), bound=own())
        made = node(target, shared=shared, settings=Settings((ADDRESS, IPV6, ELASTIC), carry=Carry.ADDRESS))
        made.address.where.found_allocation(facts())
        return made

    return mover


CARRIED = PlumbingReport(PlumbingState.SOUND, repaired=("address",))
FOUND = PlumbingReport(PlumbingState.SOUND)
AHEAD = PlumbingReport(PlumbingState.SOUND, extent=Extent.AHEAD)


def test_a_node_without_its_standing_eni_says_why_it_cannot_take_the_address(mover: Make) -> None:
    """That is all that it needs: slots are a matter of the standing ENI, once."""
    made = mover(standing=Standing(0.0, problem="its standing ENI eni-b is being attached"))
    assert made.address.obstacle() == "its standing ENI eni-b is being attached"
    assert made.address.where.impossible() == ""
    assert made.shared.free_slots() == 0
    made.shared.standings.clear()
    assert made.address.obstacle() == "its standing ENI is not known yet"
    made.shared.standings[SUBNET.id] = Standing(0.0, eni=own())
    made.shared.instances[ME] = instance(ME, 1, 2)
    made.shared.slots = 3
    assert made.address.obstacle() == ""
    assert made.shared.free_slots() is None


def test_a_standing_eni_that_takes_no_more_addresses_is_an_obstacle_for_a_while(mover: Make) -> None:
    """EC2 said so; whoever has the address already has it."""
    made = mover()
    made.shared.is_full(made.address.now)
    assert made.address.obstacle().startswith("EC2 gives its standing ENI no more addresses; run on")
    made.looked(own(ADDRESS))
    assert made.address.obstacle() == ""


def test_only_permissions_that_a_move_needs_keep_a_node_from_it(mover: Make) -> None:
    """The standing ENI is attached already."""
    made = mover()
    made.shared.denied = ("ec2:AttachNetworkInterface",)
    assert made.address.obstacle() == ""
    made.shared.denied = ("ec2:AssignPrivateIpAddresses",)
    assert "ec2:AssignPrivateIpAddresses" in made.address.obstacle()


@pytest.mark.parametrize("holder", [own, others], ids=["here", "elsewhere"])
def test_the_address_is_plumbed_on_the_own_standing_eni(mover: Make, holder: Callable[..., Eni]) -> None:
    """Ahead of the address, too; never on the link of the ENI that has it now."""
    made = mover()
    made.looked(holder(ADDRESS))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.address, plumbing.mac) == (ADDRESS, OWN_MAC)


def test_before_the_own_standing_eni_is_there_nothing_can_be_plumbed(mover: Make) -> None:
    """EC2 has answered: what IMDS shows of another link counts no more."""
    made = mover(standing=Standing(0.0, problem="its standing ENI is being created"))
    made.looked(others(ADDRESS))
    assert made.address.where.plumbing() is None


def test_an_elastic_ip_is_carried_by_the_private_address_that_it_is_associated_with(mover: Make) -> None:
    """Not by the primary one of whatever ENI has it."""
    made = mover(ELASTIC)
    assert made.address.where.plumbing() is None
    private = IPv4Address("10.0.0.70")
    made.looked(others(private, elastic={private: ELASTIC.id}))
    plumbing = made.address.where.plumbing()
    assert plumbing is not None
    assert (plumbing.address, plumbing.mac) == (private, OWN_MAC)
    assert made.address.seeing.answers.address == private


def test_what_is_seen_up_is_told_with_the_address(mover: Make) -> None:
    """An attachment of a standing ENI may have several."""
    made = mover()
    made.looked(others(ADDRESS))
    made.address.seeing.answers.health = replace(made.address.seeing.health, state=HealthState.UP)
    assert made.address.sees_up() == f"at-a/{ADDRESS}"


def test_an_address_that_was_just_assigned_is_a_burden_before_ec2_shows_it(mover: Make) -> None:
    """Or a node would take all of a dead holder's addresses at the same moment."""
    made = mover()
    made.looked(None)
    assert made.step() == Reason.FREE.name
    assert made.address.burdens()


def lacking(made: Node, *answers: frozenset[Address], since: float | None = None) -> float | None:
    """What the watch believes after these answers of IMDS, a second apart, and since when: counted from the first."""
    first = now() if since is None else since
    for at, addresses in enumerate(answers):
        made.address.found_addresses(OWN_MAC, addresses, first + at)
    lost_at = made.address._view((), 0, WALL).lost_by_imds_at
    return None if lost_at is None else round(lost_at - first, 2)


HAS, LACKS = frozenset({ADDRESS, IPv4Address("10.0.0.61")}), frozenset({IPv4Address("10.0.0.61")})


def holding(made: Node) -> Node:
    """The address is on this node's link."""
    made.looked(own(ADDRESS))
    made.address.reconciled(CARRIED, now())
    return made


def test_three_answers_of_imds_without_the_address_mean_that_it_is_lost(mover: Make) -> None:
    """But only if it was shown before: IMDS is late with what is new."""
    assert lacking(holding(mover()), HAS, LACKS, LACKS) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, LACKS) == 3.0
    assert lacking(holding(mover()), LACKS, LACKS, LACKS, LACKS) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, HAS, LACKS, LACKS) is None


def test_what_was_found_on_the_link_is_lost_without_having_been_shown(mover: Make) -> None:
    """As of the first answer that lacks it: what EC2 has said since counts more."""
    made = mover()
    made.address.reconciled(FOUND, now())
    assert lacking(made, LACKS, LACKS) is None
    assert lacking(made, LACKS, LACKS, LACKS) == 0.0
    made = mover()
    made.address.reconciled(FOUND, now())
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == 3.0


def test_what_imds_never_shows_is_lost_when_that_lasts_for_long(mover: Make) -> None:
    """And speaks of a time that long ago."""
    made, first = holding(mover()), now()
    for after in (0.0, 1.0, timing.IMDS_LATE - 1.0):
        assert lacking(made, LACKS, since=first + after) is None
    assert lacking(made, LACKS, since=first + timing.IMDS_LATE + 5.0) == -timing.IMDS_LATE


def test_the_address_on_a_standing_eni_that_is_being_detached_can_be_lost(mover: Make) -> None:
    """Its plumbing is known, and IMDS is asked, until it has gone."""
    made = holding(mover())
    made.shared.standings[SUBNET.id] = Standing(0.0, bound=own(), problem="its standing ENI is being detached")
    assert made.address.where.plumbing() is not None
    assert made.address.mac_at_risk() == OWN_MAC
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == 3.0


def test_an_address_that_comes_anew_has_not_been_shown_by_imds_yet(mover: Make) -> None:
    """What IMDS showed the last time is no promise."""
    made = holding(mover())
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == 3.0
    made.address.reconciled(AHEAD, now())
    made.address.reconciled(CARRIED, now())
    assert lacking(made, LACKS, LACKS, LACKS) is None


def test_what_imds_was_asked_before_the_address_came_says_nothing_of_it(mover: Make) -> None:
    """The answer may be slow: neither that it is shown now, nor that it is lost."""
    before = now() - 10
    assert lacking(holding(mover()), HAS, since=before) is None
    assert lacking(holding(mover()), HAS, LACKS, LACKS, LACKS, since=before) is None
    made = holding(mover())
    made.address.found_addresses(OWN_MAC, HAS, before)
    assert lacking(made, LACKS, LACKS, LACKS) is None


def test_imds_is_asked_only_about_an_address_that_could_be_taken_silently(mover: Make, node: Make) -> None:
    """Where it is here; with an ENI that moves, its link tells."""
    made = mover()
    made.looked(own(ADDRESS))
    assert made.address.mac_at_risk() == ""
    made.address.reconciled(CARRIED, now())
    assert made.address.mac_at_risk() == OWN_MAC
    made.address.reconciled(AHEAD, now())
    assert made.address.mac_at_risk() == ""
    other = node()
    other.looked(eni(holder=ME))
    other.address.reconciled(CARRIED, now())
    assert other.address.mac_at_risk() == ""


def test_what_imds_says_of_another_interface_means_nothing(mover: Make) -> None:
    """The node's primary one, for example."""
    made = holding(mover())
    lacking(made, HAS)
    for at in range(3):
        made.address.found_addresses(IDENTITY.mac, LACKS, now() + at)
    assert made.address._view((), 0, WALL).lost_by_imds_at is None


def test_a_holder_that_started_while_ec2_is_silent_can_still_lose_the_address(mover: Make) -> None:
    """IMDS told it what to carry, and is asked whether that is so still: nobody else can tell."""
    made = mover()
    made.shared.standings.clear()
    made.address.found_interface(Interface(OWN_MAC, ip_network("10.0.0.0/24")))
    made.address.reconciled(CARRIED, now())
    assert made.address.mac_at_risk() == OWN_MAC
    assert lacking(made, HAS, LACKS, LACKS, LACKS) == 3.0


# What is probed.


def probed(made: Node) -> set[Address]:
    """Where probes go, once it is known that they would leave the node."""
    made.address.reconciled(PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING), now())
    made.step()
    return {probing.address for probing in made.address.seeing.answers.probings()}


def test_an_elastic_ip_is_probed_at_its_enis_private_address_never_at_the_allocation(node: Make) -> None:
    """And not before there is one."""
    made = node(ELASTIC)
    made.looked(None)
    assert probed(made) == set()
    made.looked(eni(ELASTIC, OTHER))
    assert probed(made) == {IPv4Address("10.0.0.50")}


def test_another_eni_of_the_elastic_ip_is_probed_instead(node: Make) -> None:
    """Somebody deleted the first one; it is not probed any more."""
    made = node(ELASTIC)
    made.looked(eni(ELASTIC, OTHER))
    assert probed(made) == {IPv4Address("10.0.0.50")}
    (before,) = made.address.seeing.answers.probings()
    made.looked(eni(ELASTIC, OTHER, id="eni-2", address=IPv4Address("10.0.0.51")))
    assert probed(made) == {IPv4Address("10.0.0.51")}
    assert not made.address.seeing.answers.probed(before, ProbeResult(now(), now(), ProbeOutcome.ANSWERED)), (
        "that is no news any more"
    )
    assert made.address.seeing.health == Health("a1")


def test_an_ipv6_address_is_probed_itself(node: Make) -> None:
    """Not the IPv4 address of its ENI."""
    made = node(IPV6)
    made.looked(eni(IPV6, OTHER))
    assert probed(made) == {IPV6}


# The holder's word.


def test_since_is_when_the_word_became_what_it_is(node: Make) -> None:
    """Three seconds of unsound are counted from the first such answer; another attachment begins anew."""
    made = node()

    def word(problem: str, attachment: str, at: float) -> tuple[WordState, float]:
        bound = Attachment(attachment, OTHER, 1, AttachmentStatus.ATTACHED)
        made.address.where.owner = Owner(at, eni(attachment=bound))
        status = Status(NAME, OTHER, holds={str(ADDRESS): Held(attachment, problem)})
        made.address.hear(Answer(at, at, status), at)
        return made.address.seeing.word.state, made.address.seeing.word.since

    assert word("", "a1", 100.0) == (WordState.SOUND, 100.0)
    assert word("", "a1", 105.0) == (WordState.SOUND, 100.0)
    assert word("nft is missing", "a1", 107.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a1", 110.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a2", 111.0) == (WordState.UNSOUND, 111.0)


def test_a_holder_without_an_address_is_silent(node: Make) -> None:
    """EC2 shows none for a terminated instance: it cannot be asked."""
    made = node()
    made.looked(eni(holder=OTHER))
    states = []
    for address in ("10.0.0.10", None):
        made.shared.instances[OTHER] = instance(OTHER, address=address)
        made.address.hear(None, now())
        states.append(made.address.seeing.word.state)
    assert states == [WordState.UNASKED, WordState.SILENT]


# What is asked of EC2.


class Vpc:
    """A model EC2 with a subnet and two workers, and nodes that believe that they are these."""

    def __init__(self, node: Make) -> None:
        self.ec2 = FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.ids = [self.ec2.add_instance(f"10.0.0.{last}", self.subnet) for last in (10, 11)]
        self._node = node

    def node(self, number: int, target: Target = ADDRESS, name: str = NAME, **settings: object) -> Node:
        """A worker that knows its VPC."""
        me = replace(IDENTITY, instance_id=self.ids[number], subnet_id=self.subnet.id)
        shared = Shared(me, name, ("sg-1",), Carry.ENI, subnets=(self.subnet,))
        chosen = Settings((target,), **settings)  # type: ignore[arg-type]  # the test names settings
        made = self._node(target, shared=shared, settings=chosen, cloud=FakeCloud(self.ec2, ("sg-1",)))
        shared.instances.update(made.cloud.describe_instances(frozenset(self.ids)))
        made.address.where.found_allocation(facts())
        return made

    def ours(self, name: str = NAME) -> tuple[Eni, ...]:
        """Our ENIs."""
        return FakeCloud(self.ec2).describe_enis(name)

    def create(self, made: Node) -> None:
        """The node sees no ENI, and creates one."""
        made.looked(None)
        assert made.step() == "CREATE"
        made.receive()


@pytest.fixture(name="vpc")
def _vpc(node: Make) -> Vpc:
    return Vpc(node)


def test_two_nodes_that_create_at_once_make_one_eni(vpc: Vpc) -> None:
    """For an allocation, too, which EC2 itself would allow any number of interfaces."""
    for number in (0, 1):
        vpc.create(vpc.node(number, ELASTIC))
    (made,) = vpc.ours()
    assert made.carries(ELASTIC)


def test_two_clusters_in_one_vpc_never_share_a_token(vpc: Vpc) -> None:
    """Nor do two allocations."""
    vpc.create(vpc.node(0, ELASTIC))
    vpc.create(vpc.node(1, ELASTIC, name="other"))
    vpc.create(vpc.node(0, Allocation("eipalloc-0fffffff")))
    assert len(vpc.ours()) == 2
    assert len(vpc.ours("other")) == 1


def test_an_address_whose_eni_was_deleted_is_created_again_at_once(vpc: Vpc) -> None:
    """EC2 itself sees to it that an address is unique, so no token has to: its old answer would cost ten seconds."""
    for target in (ADDRESS, IPV6):
        for _ in range(3):
            vpc.create(vpc.node(0, target))
            (made,) = vpc.ours()
            FakeCloud(vpc.ec2).delete_eni(made.id)


def test_an_eni_has_its_tags_from_the_first_moment(vpc: Vpc) -> None:
    """Or the VPC CNI would adopt it; the Elastic IP's is what it is found by."""
    for target in (ADDRESS, ELASTIC):
        vpc.create(vpc.node(0, target))
    first, second = vpc.ours()
    assert first.tags == {
        "Name": f"floatingip {NAME} {ADDRESS}",
        OWNER_TAG: NAME,
        "node.k8s.amazonaws.com/no_manage": "true",
    }
    assert second.tags[ALLOCATION_TAG] == ELASTIC.id


def test_an_eni_is_attached_from_the_lowest_device_index_of_the_settings(vpc: Vpc) -> None:
    """On an Outpost that one can make a local network interface."""
    for number, (wanted, index) in enumerate(((1, 1), (4, 4))):
        made = vpc.node(number, IPv4Address(f"10.0.0.{100 + number}"), device_index=wanted)
        vpc.create(made)
        made.looked(vpc.ours()[number])
        assert made.step() == "FREE"
        made.receive()
        attachment = vpc.ours()[number].attachment
        assert attachment is not None
        assert attachment.device_index == index


def test_a_full_instance_is_an_obstacle_for_all_addresses_for_a_while(vpc: Vpc) -> None:
    """EC2 said so for one of them; the pod's other addresses need not ask."""
    made = vpc.node(0)
    vpc.create(made)
    for number in (1, 2):
        other = FakeCloud(vpc.ec2).create_eni(IPv4Address(f"10.0.0.{number + 50}"), vpc.subnet, {}, f"{number}")
        FakeCloud(vpc.ec2).attach_eni(other.id, vpc.ids[0], frozenset())
    made.looked(vpc.ours()[0])
    made.step()
    made.receive()
    made.looked(vpc.ours()[0])
    assert made.step() == "CANNOT_CLAIM"
    assert "no free ENI slot" in made.address.obstacle()
    second = vpc._node(IPV6, shared=made.shared)
    second.step()
    assert "no free ENI slot" in second.address.obstacle()
    now.go_on(timing.FULL_FOR + 1)
    second.step()
    assert second.address.obstacle() == ""


def test_an_eni_that_is_about_to_be_here_is_a_burden_already(vpc: Vpc) -> None:
    """Or a node would claim all of several free ENIs at the same moment."""
    made = vpc.node(0)
    vpc.create(made)
    made.looked(vpc.ours()[0])
    assert not made.address.burdens()
    assert made.step() == "FREE"
    assert made.address.burdens(), "the attach is under way"
    made.receive()
    made.looked(vpc.ours()[0])
    assert made.address.burdens(), "EC2 shows it here"


def test_an_eni_that_was_just_attached_is_a_burden_before_ec2_shows_it(vpc: Vpc) -> None:
    """Between the answer to the attach and the next Describe, the other free ENIs are looked at too."""
    made = vpc.node(0)
    vpc.create(made)
    made.looked(vpc.ours()[0])
    made.step()
    made.receive()
    made.step()
    assert made.address.burdens()


def test_an_unplumbed_report_is_told_with_what_was_removed(node: Make) -> None:
    """One line, with the address it is about in the agent's log."""
    made = node()
    made.address.reconciled(PlumbingReport(PlumbingState.NO_LINK, removed=("marks", "rule")), now())
    assert "event=unplumbed removed=marks,rule" in made.told.log


def test_the_holder_tells_its_problem_and_nothing_when_it_is_well(vpc: Vpc) -> None:
    """That sentence is what the others judge it by."""
    made = vpc.node(0)
    made.looked(eni(holder=vpc.ids[0]))
    made.address.reconciled(PlumbingReport(PlumbingState.SOUND), now())
    assert made.step() == Reason.HELD_HERE.name
    assert made.address.held() == Held("a1")
    made.address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="marks: nft is missing"), now())
    assert made.step() == Reason.UNSOUND_HERE.name
    held = made.address.held()
    assert held is not None
    assert "nft is missing" in held.problem


# Whether this node can see the address at all.

ELSEWHERE = "10.0.0.100/32 is on kube-ipvs0 of this node, so 10.0.0.100 cannot be probed from here"
BLIND = PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING, blind=ELSEWHERE)
SEEING = replace(BLIND, blind="")


def standby(node: Make, report: PlumbingReport | None) -> Node:
    """One that has found this in its kernel."""
    made = node()
    made.looked(eni(holder=OTHER))
    if report is not None:
        made.address.reconciled(report, now())
    made.step()
    return made


def probes(made: Node) -> bool:
    """Whether probes are sent."""
    return bool(made.address.seeing.answers.probings())


def results(made: Node, outcome: ProbeOutcome, *, at: float, detail: str = "") -> None:
    """Two probes with this outcome, which is enough for UP."""
    for sent_at in (at, at + 0.1):
        probing = Probing(str(made.target), ADDRESS, 0.5, 0.1)
        made.address.seeing.answers.probed(probing, ProbeResult(sent_at, sent_at + 0.01, outcome, detail))


@pytest.mark.parametrize(("report", "expected"), [(None, False), (BLIND, False), (SEEING, True)])
def test_nothing_is_probed_before_it_is_known_that_it_would_leave(
    node: Make, report: PlumbingReport | None, expected: bool
) -> None:
    """A probe that hears its own node sees the address UP for ever."""
    assert probes(standby(node, report)) is expected


def test_a_node_that_goes_blind_says_so_and_forgets_what_it_saw(node: Make) -> None:
    """Else it would tell the others for ever that it sees the address UP, and hold their takeover up."""
    made = standby(node, SEEING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    assert made.address.sees_up()
    assert made.address.not_ready() == ""
    made.address.reconciled(BLIND, now())
    made.step()
    results(made, ProbeOutcome.ANSWERED, at=made.address.now - 1.0)
    assert (made.address.seeing.health.state, made.address.sees_up(), probes(made)) == (HealthState.INIT, "", False)
    assert made.address.not_ready() == ELSEWHERE
    made.address.reconciled(SEEING, now())
    made.step()
    assert (made.address.not_ready(), probes(made)) == ("", True)
    assert "10.0.0.100 can be probed from here again" in made.told.log


def test_a_blind_node_is_told_as_an_error_and_again_while_it_lasts(node: Make) -> None:
    """Not with each decision."""
    made = standby(node, BLIND)
    for seconds in (0.0, 0.0, timing.SAID_AGAIN):
        now.go_on(seconds)
        made.step()
    assert made.told.log.count("level=error event=blind") == 2


def test_a_holder_is_never_blind(node: Make) -> None:
    """It has the address itself, wherever else it is."""
    made = standby(node, BLIND)
    made.address.reconciled(PlumbingReport(PlumbingState.SOUND), now())
    made.looked(eni(holder=ME))
    made.step()
    assert made.address.blind() == ""


def test_probes_that_cannot_be_sent_for_long_make_a_node_blind(node: Make) -> None:
    """Whatever the cause; one that is over by then does not, nor does one long ago."""
    made = standby(node, SEEING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 0.9 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.not_ready() == ""
    assert made.address.sees_up()
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 1.1 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.not_ready().startswith("10.0.0.100 cannot be probed from here: Operation not permitted; ")
    assert (made.address.sees_up(), probes(made)) == ("", True)
    results(made, ProbeOutcome.ANSWERED, at=now())
    made.step()
    assert made.address.not_ready() == ""


def test_a_standby_is_not_ready_while_what_is_plumbed_ahead_is_not_sound(node: Make) -> None:
    """It would not carry the address any better than that."""
    said = "forwarding: net.ipv4.ip_forward is 0"
    report = PlumbingReport(PlumbingState.UNSOUND, problem=said, extent=Extent.AHEAD)
    assert standby(node, report).address.not_ready() == f"this node could not carry the address: {said}"


# This instance's slots: an answer says nothing of what changed after it was asked for.


def test_slots_are_known_again_by_an_answer_to_a_later_question() -> None:
    """A look that overlaps a takeover shows the slots from before it."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, slots=3)
    asked_before = now()
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.describe({OTHER: instance(OTHER, 0)}, now())
    seen_before = shared.slots_changed_at
    shared.describe({ME: instance(ME, 0, 1)}, now())
    assert [seen is None for seen in (seen_before, shared.slots_changed_at)] == [False, True]
    assert shared.free_slots() == 1


def test_an_old_answer_does_not_undo_what_a_newer_one_showed() -> None:
    """The rehearsal's, which was asked for before the takeover and came after it."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, slots=3)
    asked_before = now()
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0, 1)}, now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    assert shared.free_slots() == 1


def test_instances_that_nobody_needs_any_more_are_forgotten() -> None:
    """But for this node's, and for a former holder's for a while: what is logged of a move names its node."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI)
    shared.describe({each: instance(each) for each in (ME, OTHER, "i-0holder")}, 0.0)
    for now in (1.0, timing.INSTANCE_KEPT - 1.0, timing.INSTANCE_KEPT + 1.0):
        shared.forget({ME, "i-0holder"}, now)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT + 2.0)
    assert shared.instances.keys() == {ME}


@pytest.mark.parametrize("holders", [(None, ME), (ME, OTHER), (ME, None)])
def test_an_eni_that_comes_or_goes_changes_the_slots(node: Make, holders: tuple[str | None, str | None]) -> None:
    """Whoever attached or detached it; what happens between others does not."""
    made = node()
    for holder in holders:
        made.shared.slots_changed_at = None
        made.looked(eni(holder=holder or ""))
    assert made.shared.slots_changed_at is not None
    made.shared.slots_changed_at = None
    made.looked(eni(holder=OTHER))
    made.looked(None)
    assert holders[1] == ME or made.shared.slots_changed_at is None


def test_a_detached_attachment_is_none_wherever_it_is_asked_for(node: Make) -> None:
    """EC2 may show one for a moment: the ENI is free."""
    made = node()
    shown = eni(holder=OTHER)
    assert shown.attachment is not None
    made.looked(replace(shown, attachment=replace(shown.attachment, status=AttachmentStatus.DETACHED)))
    assert made.address.where.attachment() is None
    assert made.address.where.holder() == ""
    assert made.step() == "FREE"


def test_what_only_a_person_can_mend_is_told_as_an_error_and_again_while_it_lasts(node: Make) -> None:
    """Not with each decision."""
    made = node()
    taken = replace(made.address.decision, reason=Reason.TAKEN, detail="in use")
    for at in (0.0, 1.0, 2.0, timing.SAID_AGAIN):
        made.address._telling.decided(taken, taken, "", "none", at, WALL)
    assert made.told.log.count("level=error event=taken") == 2


# An ENI that somebody else made, as the original sample did.


@pytest.mark.parametrize("is_set", [False, True], ids=["by default", "by the settings"])
@pytest.mark.parametrize("name", ["", "web", f"floatingip {NAME} {ADDRESS}"], ids=["nameless", "named", "ours"])
def test_an_adopted_eni_keeps_its_security_groups_until_the_settings_name_others(
    node: Make, name: str, is_set: bool
) -> None:
    """One of our own making has this node's at any rate."""
    made = node(shared=Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, groups_are_set=is_set))
    shown = eni(holder=ME, security_groups=("sg-9",))
    made.looked(replace(shown, tags={**shown.tags, **({"Name": name} if name else {})}))
    made.address.reconciled(PlumbingReport(PlumbingState.SOUND), now())
    assert made.step() == "HELD_HERE"
    is_ours = name.startswith("floatingip ")
    assert made.address.decision.write == (SetGroups("eni-1", ("sg-1",)) if is_set or is_ours else None)


# What is told of a holder, of a move that came to nothing, and of a node that could not serve.


def test_what_was_lost_before_the_address_came_is_nothing_of_the_holders(node: Make) -> None:
    """It does not probe any more: whether the address answers is not known here, and is no doubt."""
    made = node()
    made.looked(eni(holder=ME))
    made.address.seeing.answers.health = Health("a1", HealthState.DOWN, 11, 1.0, 2.0)
    made.address.seeing.answers.services = {30007: Health("a1", HealthState.DOWN, 11, 1.0, 2.0)}
    made.address.reconciled(PlumbingReport(PlumbingState.SOUND), now())
    assert made.step() == "HELD_HERE"
    assert (made.address.seeing.health, made.address.seeing.answers.services) == (Health("a1"), {30007: Health("a1")})
    assert made.address.is_calm()


@pytest.mark.parametrize(
    ("address", "port", "own", "told"),
    [
        (HealthState.UP, HealthState.DOWN, True, 1),
        (HealthState.UP, HealthState.UP, True, 0),
        (HealthState.UP, HealthState.DOWN, False, 0),
        (HealthState.DOWN, HealthState.DOWN, True, 0),
    ],
    ids=["astray", "well", "nowhere", "down"],
)
def test_packets_that_go_astray_on_the_holder_are_told(
    node: Make, monkeypatch: pytest.MonkeyPatch, address: HealthState, port: HealthState, own: bool, told: int
) -> None:
    """Once, with where to look: its NodePort answers at the node's own address, and not at the floating one."""
    monkeypatch.setattr(timing, "ASTRAY_FOR", 0.0)
    made = node()
    made.looked(eni(holder=OTHER))
    made.address.reconciled(PlumbingReport(PlumbingState.NO_LINK), now())
    made.address.seeing.answers.health = Health("a1", address, 9)
    made.address.seeing.answers.services = {30007: Health("a1", port, 9)}
    made.shared.served = {OTHER: {30007: own}}
    made.step()
    made.step()
    assert made.told.log.count("level=warning event=astray") == told
    assert ("but not at 10.0.0.100: 30007" in made.told.log) == bool(told)


@pytest.mark.parametrize(
    ("holder", "level", "event", "said", "result"),
    [
        ("i-c", "info", "lost-race", "i-c has the address now", Result.LOST_RACE),
        (OTHER, "info", "not-moved", f"{OTHER} has kept the address", Result.KEPT),
        ("", "warning", "not-moved", f"this node cannot take the address: {ME} has no free ENI slot", Result.FAILED),
    ],
    ids=["another", "the same", "nobody"],
)
def test_a_move_that_came_to_nothing_is_told_with_its_cause(
    node: Make, holder: str, level: str, event: str, said: str, result: Result
) -> None:
    """A race is lost to somebody; where nobody could take the address, that is what is said."""
    made = node()
    judged = Attachment("a1", OTHER, 1, AttachmentStatus.ATTACHED)
    made.address.moves.begin(replace(made.address.decision, rule=Rule.R3), judged, None, now())
    before = len(made.told.log)
    made.shared.slots = 1
    made.looked(eni(holder=holder))
    made.step()
    (line,) = [line for line in made.told.log[before:].splitlines() if "rule=R3" in line]
    assert f"level={level} event={event} " in line
    assert said in line
    [moved] = [effect for effect in made.told.effects if isinstance(effect, Moved)]
    assert (moved.move.address, moved.move.rule, moved.move.result) == (str(ADDRESS), "R3", result)


def test_why_a_node_is_not_ready_has_a_name(node: Make) -> None:
    """One of few, for those who count; the very words are for people."""
    made = node()
    shared, address = made.shared, made.address

    def lack() -> str:
        found = address.shortcoming().name
        assert bool(found) is bool(address.not_ready())
        return found

    made.step()
    assert lack() == "EC2_SILENT"
    made.looked(eni(holder=OTHER))
    address.reconciled(PlumbingReport(PlumbingState.NO_LINK), now())
    made.step()
    assert lack() == ""
    shared.denied = ("ec2:CreateTags",)
    assert lack() == Lack.DENIED
    address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing", extent=Extent.AHEAD), now())
    assert lack() == Lack.UNSOUND
    address.reconciled(PlumbingReport(PlumbingState.NO_LINK, blind="a rule of others"), now())
    made.step()
    assert lack() == Lack.BLIND
    shared.slots = 1
    assert lack() == Lack.NO_ROOM
    shared.denied = ("ec2:AttachNetworkInterface",)
    assert lack() == Lack.DENIED
    subnets, shared.subnets = shared.subnets, ()
    assert lack() == Lack.IMPOSSIBLE
    shared.subnets = None
    assert lack() == Lack.SUBNET_UNKNOWN
    shared.subnets = subnets
    made.looked(eni(holder=ME))
    address.reconciled(PlumbingReport(PlumbingState.SOUND, kept_off="nodePortAddresses"), now())
    made.step()
    assert lack() == Lack.KEPT_OFF


@pytest.mark.parametrize("carry", list(Carry))
def test_a_node_that_lost_the_address_for_being_unsound_is_not_ready(node: Make, carry: Carry) -> None:
    """With the cause: it would be of no use as a holder again."""
    made = node(settings=Settings((ADDRESS,), carry=carry))
    made.looked(eni(holder=ME))
    made.address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing"), now())
    for _ in range(2):
        made.step()
    made.looked(eni(holder=OTHER, attachment=Attachment("a2", OTHER, 1, AttachmentStatus.ATTACHED)))
    made.address.reconciled(PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING), now())
    made.step()
    assert made.address.decision.state is State.STANDBY
    assert "nft is missing" in made.address.not_ready()
    made.looked(eni(holder=ME, attachment=Attachment("a3", ME, 1, AttachmentStatus.ATTACHED)))
    made.address.reconciled(PlumbingReport(PlumbingState.SOUND), now())
    made.step()
    assert made.address.not_ready() == ""


def test_a_standby_that_is_plumbed_ahead_but_unsound_is_not_ready(mover: Make) -> None:
    """Before the failure, not after it."""
    made = mover()
    made.looked(others(ADDRESS))
    made.address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing", extent=Extent.AHEAD), now())
    made.step()
    assert made.address.not_ready() == "this node could not carry the address: nft is missing"


def test_while_ec2_gives_no_answer_its_last_failure_is_why_the_node_is_not_ready(node: Make) -> None:
    """As far as it is known."""
    made = node()
    made.step()
    assert made.address.not_ready() == "EC2 has not answered yet"
    made.shared.unanswered = "IAM denies ec2:DescribeNetworkInterfaces"
    assert made.address.not_ready() == "EC2 has not answered yet: IAM denies ec2:DescribeNetworkInterfaces"


@pytest.mark.parametrize(
    ("state", "reason", "level"),
    [
        (State.DOUBT, Reason.CANNOT_CLAIM, "warning"),
        (State.DOUBT, Reason.RATIONED, "warning"),
        (State.STANDBY, Reason.CANNOT_CLAIM, "info"),
        (State.DOUBT, Reason.PROBE_LOST, "info"),
    ],
)
def test_a_takeover_that_is_due_but_does_not_happen_is_warned_of(
    node: Make, state: State, reason: Reason, level: str
) -> None:
    """Once, and again while it lasts; that this node could take nothing while nothing is due is another matter."""
    made = node()
    before = made.address.decision
    barred = replace(before, state=state, reason=reason, detail="no slot")
    for last, seconds in ((before, 0.0), (barred, 1.0), (barred, timing.SAID_AGAIN)):
        made.address._telling.decided(last, barred, "", "none", 1e6 + seconds, WALL)
    lines = [line for line in made.told.log.splitlines() if "event=decision" in line]
    assert [f"level={level} " in line for line in lines] == [True] * (2 if level == "warning" else 1)


def test_that_nobody_was_reached_makes_the_node_not_ready(node: Make) -> None:
    """And what keeps a node from being ready is warned of once it lasts, and every ten minutes."""
    made = node()
    unreached = replace(
        made.address.decision, state=State.DOUBT, reason=Reason.UNREACHED, detail="neither this nor that"
    )
    made.address.decision = unreached
    assert made.address.not_ready() == "nobody was reached: neither this nor that"
    for seconds in (
        0.0,
        1.0,
        timing.NOT_READY_FOR,
        timing.NOT_READY_FOR + timing.SAID_AGAIN - 1.0,
        timing.NOT_READY_FOR + timing.SAID_AGAIN + 1.0,
    ):
        made.address._telling.decided(unreached, unreached, made.address.not_ready(), "none", 1e6 + seconds, WALL)
    assert made.told.log.count('level=warning event=not-ready msg="nobody was reached: neither this nor') == 2
