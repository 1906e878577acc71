"""What stands in the way of an address on this node, in sentences that say what to do."""

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from floatingip.agent.standing import Standing
from floatingip.core.ec2 import AllocationFacts, Eni, Instance, Subnet
from floatingip.core.model import Target
from tests.core.nodes import (
    ADDRESS,
    ELASTIC,
    IDENTITY,
    IPV6,
    ME,
    OTHER,
    OTHER_ZONE,
    OUTPOST,
    SUBNET,
    ZONE,
    Node,
    eni,
    facts,
    instance,
    mover,
    others,
    own,
    sharing,
)

ELSEWHERE = replace(SUBNET, zone=OTHER_ZONE)
OF_IPV6 = replace(SUBNET, networks=tuple(each for each in SUBNET.networks if each.version == 6))
OUTPOSTS = replace(SUBNET, outpost=OUTPOST)
THERE = instance(ME, outpost=OUTPOST)
OTHER_SUBNET = Subnet("subnet-2", (ip_network("10.0.1.0/24"), ip_network("2001:db8:0:2::/64")), ZONE)
WRONG_ZONE = (
    f"is in subnet-1 of zone {OTHER_ZONE}, this node is in zone {ZONE}, and an ENI cannot leave its zone;"
    f" run on nodes of {OTHER_ZONE} only"
)
NOT_THERE = "this node is not; run on nodes of there only"
NOT_OURS = "eipalloc-0123abcd is associated with eni-9, which is not ours; disassociate it there first"
PRIVATE = IPv4Address("10.0.0.50")
STANDINGS = IPv4Address("10.0.0.61")
"""A standing ENI's own address."""


@dataclass
class Known:
    """What a node knows of itself, of the VPC and of the address."""

    target: Target = ADDRESS
    subnets: tuple[Subnet, ...] = (SUBNET,)
    me: Instance | None = None
    found: AllocationFacts | None = field(default_factory=facts)
    shown: Eni | None = None

    def node(self) -> Node:
        """Such a node."""
        made = Node(self.target)
        made.shared.subnets = self.subnets
        made.shared.instances[ME] = self.me or instance(ME)
        made.address.where.found_allocation(self.found)
        if self.shown is not None:
            made.looked(self.shown)
        return made


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (Known(ADDRESS, (ELSEWHERE,), shown=eni(zone=OTHER_ZONE)), f"{ADDRESS} {WRONG_ZONE}"),
        (Known(IPV6, (ELSEWHERE,), shown=eni(IPV6, zone=OTHER_ZONE)), f"{IPV6} {WRONG_ZONE}"),
        (Known(ELASTIC, (ELSEWHERE,), shown=eni(ELASTIC, zone=OTHER_ZONE)), f"{ELASTIC} {WRONG_ZONE}"),
        (Known(IPv4Address("10.9.9.9")), "no subnet of vpc-1 contains 10.9.9.9; set FLOATING_IP to an address of one"),
        (
            Known(IPv4Address("52.94.76.1")),
            "no subnet of vpc-1 contains 52.94.76.1; set FLOATING_IP to an address of one, or to the allocation id"
            " (eipalloc-...) if this is an Elastic IP",
        ),
        (Known(subnets=(OUTPOSTS,)), f"{ADDRESS} is on Outpost {OUTPOST}, {NOT_THERE}"),
        (Known(me=THERE), f"{ADDRESS} is in {ZONE}, not on an Outpost, {NOT_THERE}"),
        (
            Known(ELASTIC, found=None),
            "there is no allocation eipalloc-0123abcd in us-west-2; allocate it, or correct FLOATING_IP",
        ),
        (
            Known(ELASTIC, (OF_IPV6,)),
            "eipalloc-0123abcd needs a private IPv4 address, which subnet-1, of IPv6 only, has not; use another subnet",
        ),
        (Known(ELASTIC, found=facts("eni-9")), NOT_OURS),
        (Known(ELASTIC, found=facts("eni-9"), shown=eni(ELASTIC)), NOT_OURS),
        (Known(ELASTIC, found=facts("eni-9"), shown=eni(ELASTIC, OTHER)), NOT_OURS),
    ],
    ids=[
        "IPv4 address of another zone",
        "IPv6 address of another zone",
        "Elastic IP of another zone",
        "no subnet: a typing mistake, or the wrong VPC",
        "no subnet, and public: it may be an Elastic IP, whose public address is what the console shows",
        "of an Outpost, in the same zone even",
        "on an Outpost, and the address is not",
        "no such allocation: released, or of another Region or account",
        "an Elastic IP in a subnet without IPv4",
        "an allocation that a NAT gateway has, before there is an ENI",
        "an allocation that something else has, and a free ENI",
        "an allocation that something else has, and an ENI elsewhere",
    ],
)
def test_what_no_waiting_changes_is_told_and_given_up(known: Known, told: str) -> None:
    """Whether or not the ENI exists."""
    made = known.node()
    assert made.address.obstacle() == told
    assert made.address.where.impossible() == told


@pytest.mark.parametrize(
    "known",
    [
        *(Known(target) for target in (ADDRESS, IPV6, ELASTIC)),
        *(Known(target, shown=eni(target, OTHER)) for target in (ADDRESS, IPV6, ELASTIC)),
        *(Known(target, (SUBNET, OTHER_SUBNET)) for target in map(ip_address, ("10.0.1.7", "2001:db8:0:2::7"))),
        Known(subnets=(OUTPOSTS,), me=THERE),
        Known(ELASTIC, found=facts("eni-1"), shown=eni(ELASTIC, OTHER)),
        Known(ELASTIC, found=facts("eni-9"), shown=eni(ELASTIC, OTHER, elastic={PRIVATE: ELASTIC.id})),
    ],
    ids=[
        *("IPv4", "IPv6", "Elastic IP", "IPv4 elsewhere", "IPv6 elsewhere", "Elastic IP elsewhere"),
        *("another subnet, by IPv4", "another subnet, by IPv6", "the same Outpost"),
        *("our own ENI has the allocation", "our own ENI has it, and DescribeAddresses is late"),
    ],
)
def test_what_stands_in_nobodys_way(known: Known) -> None:
    """Each kind of address, of any subnet of the zone."""
    made = known.node()
    assert made.address.obstacle() == ""
    if OTHER_SUBNET in known.subnets:
        assert made.address.where.subnet() == OTHER_SUBNET


def test_before_the_subnets_are_known_that_is_the_obstacle() -> None:
    """And no reason to give up."""
    made = Node()
    made.shared.subnets = None
    assert made.address.obstacle() == "its subnet is not known yet"
    assert not made.address.where.is_known()


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.255", "2001:db8:0:1::2"])
def test_an_address_that_aws_keeps_is_told(address: str) -> None:
    """EC2 would refuse the interface again and again, as if the parameter were wrong and nothing else."""
    told = Node(ip_address(address)).address.where.impossible()
    assert told.startswith(f"AWS keeps {address} in subnet-1, as the first four and the last of ")


def test_an_allocation_that_ec2_has_not_told_of_is_waited_for() -> None:
    """Not known is not missing."""
    made = Node(ELASTIC)
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
def test_an_allocation_of_another_border_group_is_told_with_both(zone: str, group: str, fits: bool) -> None:
    """A Local Zone has its own; of a customer-owned IP none is told."""
    made = Node(ELASTIC, shared=sharing(ELASTIC, me=replace(IDENTITY, zone=zone)))
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


def test_a_node_without_a_free_slot_says_so() -> None:
    """Three interfaces of a type that has three; waiting may change it, and what is not known EC2 will say."""
    made = Node()
    made.shared.instances[ME] = instance(ME, 1, 2)
    made.shared.slots = 3
    assert made.address.obstacle() == "i-b has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
    assert made.address.where.impossible() == ""
    made.shared.slots = 4
    assert made.address.obstacle() == ""
    made = Node()
    made.shared.instances[ME] = instance(ME, *range(1, 15))
    assert made.shared.free_slots() is None
    assert made.address.obstacle() == ""


def test_denied_permissions_are_an_obstacle_that_names_them() -> None:
    """A dry run found them, before a failover did."""
    made = Node()
    made.shared.denied = ("ec2:AttachNetworkInterface", "ec2:DetachNetworkInterface")
    assert made.address.obstacle() == (
        "IAM denies ec2:AttachNetworkInterface, ec2:DetachNetworkInterface; allow ec2:AttachNetworkInterface,"
        " ec2:DetachNetworkInterface to this pod's role"
    )
    assert made.address.where.impossible() == ""


@pytest.mark.parametrize("action", ["ec2:CreateTags", "ec2:CreateNetworkInterface"])
def test_a_permission_that_a_takeover_does_not_need_keeps_nobody_from_it(action: str) -> None:
    """The ration's tag can wait, and the ENI exists; the node says that it is not ready all the same."""
    made = Node()
    made.looked(eni(holder=OTHER))
    made.shared.denied = (action,)
    made.step()
    assert made.address.obstacle() == ""
    assert action in made.address.lack.words


def test_for_the_holder_neither_slots_nor_permissions_are_an_obstacle() -> None:
    """It has its slot, and all the permissions that it needed."""
    made = Node()
    made.shared.instances[ME] = instance(ME, 1, 2)
    made.shared.slots = 3
    made.shared.denied = ("ec2:AttachNetworkInterface",)
    made.looked(eni(holder=ME))
    assert made.address.obstacle() == ""


def test_a_standby_with_an_obstacle_is_not_ready_and_says_why() -> None:
    """Its holder's loss would show it too late."""
    made = Node()
    made.looked(eni(holder=OTHER))
    made.step()
    assert made.address.lack.words == ""
    made.shared.denied = ("ec2:AttachNetworkInterface",)
    made.step()
    assert "ec2:AttachNetworkInterface" in made.address.lack.words


def test_a_node_without_its_standing_eni_says_why_it_cannot_take_the_address() -> None:
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


def test_a_standing_eni_that_takes_no_more_addresses_is_an_obstacle_for_a_while() -> None:
    """EC2 said so; whoever has the address already has it."""
    made = mover()
    made.shared.found_full(made.address.now)
    assert made.address.obstacle().startswith("EC2 gives its standing ENI no more addresses; run on")
    made.looked(own(ADDRESS))
    assert made.address.obstacle() == ""


def test_an_elastic_ip_on_the_primary_address_of_a_standing_eni_cannot_be_taken_over() -> None:
    """Somebody associated it by hand: EC2 moves no primary address, and that is told beforehand."""
    made = mover(ELASTIC)
    made.looked(others(PRIVATE, elastic={PRIVATE: ELASTIC.id}))
    assert made.address.obstacle() == ""
    made.looked(others(elastic={STANDINGS: ELASTIC.id}))
    assert "with the primary address of eni-a, which cannot move; disassociate it" in made.address.obstacle()
    made.looked(own(elastic={STANDINGS: ELASTIC.id}))
    assert made.address.obstacle() == ""


@pytest.mark.parametrize(
    ("target", "action", "other"),
    [
        (ADDRESS, "ec2:AssignPrivateIpAddresses", "ec2:UnassignIpv6Addresses"),
        (IPV6, "ec2:UnassignIpv6Addresses", "ec2:AssignPrivateIpAddresses"),
        (ELASTIC, "ec2:AssignPrivateIpAddresses", "ec2:UnassignIpv6Addresses"),
    ],
    ids=str,
)
def test_only_permissions_that_a_move_needs_keep_a_node_from_it(target: Target, action: str, other: str) -> None:
    """Not that to attach, as its standing ENI is attached already; nor the other family's."""
    made = mover(target)
    made.shared.denied = ("ec2:AttachNetworkInterface", other)
    assert made.address.obstacle() == ""
    made.shared.denied = (other, action)
    assert action in made.address.obstacle()
