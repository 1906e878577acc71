"""Addresses that move between ENIs, and the Elastic IPs that ride along: the fake and the endpoint do the same."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import AllocationFacts, Subnet
from floatingip.core.errors import AddressTaken, CloudError, Denied, LookAgain, NoFreeSlot
from floatingip.core.model import Address, Allocation, Carry
from floatingip.core.ports import Cloud
from tests.contract.conftest import bad_input
from tests.contract.worlds import (
    FLOATING,
    FLOATING_IPV6,
    NAME,
    PUBLIC,
    TAGS,
    World,
    both_families,
    primary,
    show,
    standing,
)


@both_families
def test_an_assigned_address_is_one_more_of_the_eni(world: World, cloud: Cloud, here: Subnet, address: Address) -> None:
    """It is carried, and found, by it; asked again nothing changes."""
    eni = standing(world, cloud, here)
    for _ in range(2):
        cloud.assign(eni.id, address, reassign=False)
        world.settle()
        shown = show(cloud, eni)
        assert shown.address == eni.address
        assert (*shown.secondary, *shown.ipv6s) == (address,)
        assert shown.has(address)
        assert cloud.find_occupants(frozenset({address})) == (shown,)


@both_families
def test_without_reassignment_an_address_stays_where_it_is(
    world: World, cloud: Cloud, here: Subnet, address: Address
) -> None:
    """The loser of a race for what nobody had looks again; IPv6 knows no reassignment at all."""
    winner, loser = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(winner.id, address, reassign=False)
    for reassign in (False, *([True] if address.version == 6 else [])):
        with pytest.raises(LookAgain):
            cloud.assign(loser.id, address, reassign=reassign)
    world.settle()
    assert (show(cloud, winner).has(address), show(cloud, loser).has(address)) == (True, False)


def test_with_reassignment_an_address_moves(world: World, cloud: Cloud, here: Subnet) -> None:
    """The former owner is not asked; the last one who calls has it, and nobody has it twice."""
    first, second = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(first.id, FLOATING, reassign=False)
    world.settle()
    cloud.assign(second.id, FLOATING, reassign=True)
    world.settle()
    assert (show(cloud, first).secondary, show(cloud, second).secondary) == ((), (FLOATING,))
    cloud.assign(first.id, FLOATING, reassign=True)
    cloud.assign(second.id, FLOATING, reassign=True)
    world.settle()
    assert (show(cloud, first).secondary, show(cloud, second).secondary) == ((), (FLOATING,))


def test_a_primary_address_is_nobody_elses(world: World, cloud: Cloud, here: Subnet) -> None:
    """Not even with reassignment, which is bad input then; to its own ENI it can be given, which changes nothing."""
    eni = standing(world, cloud, here)
    for reassign, kind in ((False, LookAgain), (True, CloudError)):
        with pytest.raises(CloudError) as caught:
            cloud.assign(eni.id, IPv4Address("10.0.0.10"), reassign=reassign)
        assert type(caught.value) is kind
    cloud.assign(eni.id, primary(eni), reassign=False)
    world.settle()
    assert show(cloud, eni) == eni


def test_an_address_that_cannot_be_assigned_is_bad_input(world: World, cloud: Cloud, here: Subnet) -> None:
    """One of another subnet, one that AWS keeps; for IPv6, EC2 does not say what it is."""
    eni = standing(world, cloud, here)
    for text in ("10.0.1.100", "10.0.0.3"):
        with bad_input():
            cloud.assign(eni.id, IPv4Address(text), reassign=True)
    with pytest.raises(LookAgain):
        cloud.assign(eni.id, IPv6Address("2001:db8:0:9::100"), reassign=False)
    assert show(cloud, eni) == eni


def test_an_eni_without_room_says_so(world: World, cloud: Cloud, here: Subnet) -> None:
    """As many addresses as the instance type allows, the primary one included; the other family has its own."""
    eni = standing(world, cloud, here, instance_type="t3.nano")
    cloud.assign(eni.id, FLOATING, reassign=False)
    with pytest.raises(NoFreeSlot):
        cloud.assign(eni.id, IPv4Address("10.0.0.101"), reassign=False)
    with pytest.raises(NoFreeSlot):
        cloud.assign_any(eni.id)
    cloud.assign(eni.id, FLOATING_IPV6, reassign=False)
    world.settle()
    shown = show(cloud, eni)
    assert (shown.secondary, shown.ipv6s) == ((FLOATING,), (FLOATING_IPV6,))


def test_an_address_of_ec2s_choice_is_free_and_of_the_subnet(world: World, cloud: Cloud, here: Subnet) -> None:
    """Each time another one."""
    eni = standing(world, cloud, here)
    for _ in range(2):
        cloud.assign_any(eni.id)
        world.settle()
    first, second = show(cloud, eni).secondary
    assert len({first, second, eni.address, IPv4Address("10.0.0.10")}) == 4
    assert here.network_of(first) == here.network_of(second) is not None


@both_families
def test_an_address_is_unassigned_from_exactly_this_eni(
    world: World, cloud: Cloud, here: Subnet, address: Address
) -> None:
    """Then anybody can have it, without reassignment; whoever judged the former owner cannot take it from the new."""
    first, second = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(first.id, address, reassign=False)
    world.settle()
    with pytest.raises(LookAgain):
        cloud.unassign(second.id, address)
    cloud.unassign(first.id, address)
    world.settle()
    assert cloud.find_occupants(frozenset({address})) == ()
    cloud.assign(second.id, address, reassign=False)
    world.settle()
    with pytest.raises(LookAgain):
        cloud.unassign(first.id, address)
    world.settle()
    assert show(cloud, second).has(address)


def test_a_primary_address_is_not_unassigned(world: World, cloud: Cloud, here: Subnet) -> None:
    """An ENI keeps it for life."""
    eni = standing(world, cloud, here)
    with pytest.raises(LookAgain):
        cloud.unassign(eni.id, primary(eni))
    assert show(cloud, eni) == eni


@both_families
def test_a_free_eni_keeps_its_addresses_until_it_is_deleted(
    world: World, cloud: Cloud, here: Subnet, address: Address
) -> None:
    """That of a terminated worker: nobody is handed the address out, but whoever takes it over."""
    orphan, other = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(orphan.id, address, reassign=False)
    world.settle()
    world.terminate(orphan.standing_for)
    world.settle()
    shown = show(cloud, orphan)
    assert (shown.attachment, shown.has(address)) == (None, True)
    with pytest.raises(LookAgain):
        cloud.assign(other.id, address, reassign=False)
    cloud.delete_eni(orphan.id)
    cloud.assign(other.id, address, reassign=False)
    world.settle()
    assert show(cloud, other).has(address)


def test_an_elastic_ip_rides_along_with_its_private_address(world: World, cloud: Cloud, here: Subnet) -> None:
    """The association is made once; both sides show where it is."""
    allocation_id = world.allocate(PUBLIC, "us-west-2-lax-1")
    first, second = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign_any(first.id)
    world.settle()
    (private,) = show(cloud, first).secondary
    cloud.associate(allocation_id, first.id, private)
    cloud.assign(second.id, private, reassign=True)
    world.settle()
    assert (show(cloud, first).elastic, show(cloud, second).elastic) == ({}, {private: allocation_id})
    assert show(cloud, second).has(Allocation(allocation_id))
    shown = cloud.describe_allocation(allocation_id)
    assert shown is not None
    assert shown.eni_id == second.id


def test_an_elastic_ip_is_associated_with_one_address_of_its_eni(world: World, cloud: Cloud, here: Subnet) -> None:
    """Several may have one each; nobody's is taken away, and an address of another ENI is bad input."""
    one, two = (world.allocate(f"203.0.113.{last}", "us-west-2-lax-1") for last in (100, 101))
    eni, other = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign_any(eni.id)
    world.settle()
    (private,) = show(cloud, eni).secondary
    cloud.associate(one, eni.id, private)
    cloud.associate(two, eni.id, primary(eni))
    for allocation_id, address in ((one, primary(eni)), (two, private)):
        with pytest.raises(AddressTaken):
            cloud.associate(allocation_id, eni.id, address)
    with bad_input():
        cloud.associate(one, other.id, private)
    assert show(cloud, eni).elastic == {private: one, eni.address: two}


def test_an_association_ends_when_its_private_address_is_unassigned(world: World, cloud: Cloud, here: Subnet) -> None:
    """So it is moved, and never unassigned."""
    allocation_id = world.allocate(PUBLIC, "us-west-2-lax-1")
    eni = standing(world, cloud, here)
    cloud.assign_any(eni.id)
    world.settle()
    (private,) = show(cloud, eni).secondary
    cloud.associate(allocation_id, eni.id, private)
    cloud.unassign(eni.id, private)
    world.settle()
    assert show(cloud, eni).elastic == {}
    assert cloud.describe_allocation(allocation_id) == AllocationFacts(allocation_id, PUBLIC, "us-west-2-lax-1")


def test_what_moves_to_or_from_an_eni_that_does_not_exist_is_looked_for_again(
    world: World, cloud: Cloud, here: Subnet
) -> None:
    """Somebody deleted it as an orphan."""
    ghost = "eni-00000000000000fff"
    calls: tuple[Callable[[], object], ...] = (
        lambda: cloud.assign(ghost, FLOATING, reassign=True),
        lambda: cloud.assign(ghost, FLOATING_IPV6, reassign=False),
        lambda: cloud.assign_any(ghost),
        lambda: cloud.unassign(ghost, FLOATING),
        lambda: cloud.unassign(ghost, FLOATING_IPV6),
    )
    for call in calls:
        with pytest.raises(LookAgain):
            call()


@pytest.mark.parametrize("action", ["AssignPrivateIpAddresses", "UnassignIpv6Addresses", "AttachNetworkInterface"])
def test_a_denied_move_is_named_by_the_rehearsal_and_the_call(
    world: World, cloud: Cloud, here: Subnet, action: str
) -> None:
    """For the target that needs it; nothing is changed by either."""
    eni = standing(world, cloud, here)
    target = FLOATING_IPV6 if "Ipv6" in action else FLOATING
    assert cloud.rehearse(eni, here, eni.standing_for, TAGS, (target,), way_to(Carry.ADDRESS).needed) == ()
    world.deny(action)
    assert cloud.rehearse(eni, here, eni.standing_for, TAGS, (target,), way_to(Carry.ADDRESS).needed) == (
        f"ec2:{action}",
    )
    calls: dict[str, Callable[[], object]] = {
        "AssignPrivateIpAddresses": lambda: cloud.assign(eni.id, FLOATING, reassign=True),
        "UnassignIpv6Addresses": lambda: cloud.unassign(eni.id, FLOATING_IPV6),
        "AttachNetworkInterface": lambda: cloud.attach_eni(eni.id, eni.standing_for, frozenset()),
    }
    with pytest.raises(Denied, match=f"ec2:{action}"):
        calls[action]()
    world.settle()
    assert cloud.describe_enis(NAME) == (eni,)
