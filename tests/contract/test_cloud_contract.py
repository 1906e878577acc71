"""
The same cases against the pure fake and, through the product's own boto3 code, against the lab's EC2 endpoint.

What both do is what the unit tests and the simulation may rely on.  Addresses that move: test_moving_addresses.py.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import (
    ALLOCATION_TAG,
    OWNER_TAG,
    AllocationFacts,
    Attachment,
    AttachmentStatus,
    InstanceState,
    Subnet,
)
from floatingip.core.errors import AddressTaken, Denied, LookAgain, NoFreeSlot
from floatingip.core.model import Allocation, Carry
from floatingip.core.ports import Cloud
from tests.contract.conftest import bad_input
from tests.contract.worlds import FLOATING, FLOATING_IPV6, NAME, PUBLIC, TAGS, World, create, instance, primary, show


def test_a_new_eni_has_what_was_asked_for(world: World, cloud: Cloud, here: Subnet) -> None:
    """The answer and the Describe agree: address, subnet, zone, tags and groups, and no attachment."""
    eni = create(cloud, here)
    assert eni == show(cloud, eni)
    assert (eni.address, eni.subnet_id, eni.zone, eni.attachment) == (FLOATING, here.id, here.zone, None)
    assert (eni.tags, eni.security_groups) == (TAGS, (world.group,))
    assert (eni.source_check, eni.delete_on_termination, eni.elastic) == (True, False, {})
    assert cloud.find_occupants(frozenset({FLOATING, FLOATING_IPV6})) == (eni,)


def test_an_ipv6_target_gets_some_ipv4_address_too(cloud: Cloud, here: Subnet) -> None:
    """The IPv4 address is of the subnet; both find the ENI."""
    eni = create(cloud, here, FLOATING_IPV6)
    assert eni.ipv6s == (FLOATING_IPV6,)
    assert here.network_of(primary(eni)) is not None
    assert cloud.find_occupants(frozenset({FLOATING_IPV6})) == cloud.find_occupants(frozenset({primary(eni)})) == (eni,)
    with pytest.raises(LookAgain):
        create(cloud, here, FLOATING_IPV6, "another token")


def test_two_allocations_get_an_eni_each(world: World, cloud: Cloud, here: Subnet) -> None:
    """EC2 chooses their private addresses, which differ and are nobody else's."""
    world.worker("10.0.0.4", "10.0.0.5")
    first, second = (create(cloud, here, Allocation(f"eipalloc-{number}")) for number in "12")
    assert len({first.address, second.address, IPv4Address("10.0.0.4"), IPv4Address("10.0.0.5")}) == 4


def test_the_same_token_makes_one_eni(cloud: Cloud, here: Subnet) -> None:
    """Twice the same answer; with another target the token is refused; another token finds the address in use."""
    eni = create(cloud, here, token="one")
    assert create(cloud, here, token="one").id == eni.id
    with pytest.raises(LookAgain):
        create(cloud, here, IPv4Address("10.0.0.101"), "one")
    with pytest.raises(LookAgain):
        create(cloud, here, token="two")
    assert [other.id for other in cloud.describe_enis(NAME)] == [eni.id]


def test_a_token_answers_with_its_eni_after_that_was_deleted(cloud: Cloud, here: Subnet) -> None:
    """It is not described any more; the next generation of the token makes another."""
    eni = create(cloud, here, token="one")
    cloud.delete_eni(eni.id)
    assert create(cloud, here, token="one").id == eni.id
    assert cloud.describe_enis(NAME) == ()
    assert create(cloud, here, token="two").id != eni.id


@pytest.mark.parametrize("name", ["floating*", "floating-i?", "*", "FLOATING-IP", "floating-ip\\", ""])
def test_a_name_is_no_pattern(cloud: Cloud, here: Subnet, name: str) -> None:
    """To EC2's filters it would be one: `release` of prod* would delete the interfaces of prod and of prod-2."""
    create(cloud, here)
    assert cloud.describe_enis(name) == ()


@pytest.mark.parametrize("address", ["10.0.0.10", "10.0.0.20"])
def test_an_address_in_use_is_refused(world: World, cloud: Cloud, here: Subnet, address: str) -> None:
    """A worker's own and one of its pods'; whoever has it can be found, and is not ours."""
    world.worker("10.0.0.10", "10.0.0.20")
    with pytest.raises(LookAgain):
        create(cloud, here, IPv4Address(address))
    [occupant] = cloud.find_occupants(frozenset({IPv4Address(address)}))
    assert (occupant.address, occupant.tags.get(OWNER_TAG)) == (IPv4Address("10.0.0.10"), None)
    assert cloud.describe_enis(NAME) == ()


@pytest.mark.parametrize("address", ["10.0.1.100", "192.0.2.1", "10.0.0.0", "10.0.0.3", "10.0.0.255"])
def test_an_address_outside_of_the_subnet_is_bad_input(cloud: Cloud, here: Subnet, address: str) -> None:
    """Also one that AWS keeps; that is no race, so it is not LookAgain."""
    with bad_input():
        create(cloud, here, IPv4Address(address))


def test_an_attached_eni_shows_its_attachment(world: World, cloud: Cloud, here: Subnet) -> None:
    """At the lowest free index, on both sides, since it was asked for, and not to be deleted with the instance."""
    worker, eni, asked_at = world.worker("10.0.0.10"), create(cloud, here), int(world.wall())
    attachment_id = cloud.attach_eni(eni.id, worker, frozenset())
    asked_by = world.wall()
    world.settle()
    shown = show(cloud, eni)
    assert shown.attachment == Attachment(attachment_id, worker, 1, AttachmentStatus.ATTACHED)
    assert shown.attachment.since_wall is not None
    assert asked_at <= shown.attachment.since_wall <= asked_by
    assert shown.delete_on_termination is False
    assert instance(cloud, worker).device_indexes == {0, 1}


def test_a_second_attach_is_refused(world: World, cloud: Cloud, here: Subnet) -> None:
    """By the loser of a race, and by the winner itself; the first attachment stays."""
    winner, loser, eni = world.worker("10.0.0.10"), world.worker("10.0.0.11"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, winner, frozenset())
    for worker in loser, winner:
        with pytest.raises(LookAgain):
            cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    assert show(cloud, eni).attachment == Attachment(attachment_id, winner, 1, AttachmentStatus.ATTACHED)
    assert instance(cloud, loser).device_indexes == {0}


def test_a_taken_index_is_passed_over(world: World, cloud: Cloud, here: Subnet) -> None:
    """One that the caller did not know to be taken, and one that it only believes to be."""
    worker = world.worker("10.0.0.10", instance_type="m5.24xlarge")
    first, second = create(cloud, here), create(cloud, here, IPv4Address("10.0.0.101"))
    cloud.attach_eni(first.id, worker, frozenset())
    cloud.attach_eni(second.id, worker, frozenset({2}))
    world.settle()
    assert instance(cloud, worker).device_indexes == {0, 1, 3}


def test_a_full_instance_takes_no_more(world: World, cloud: Cloud, here: Subnet) -> None:
    """As many ENIs as the instance type has slots, the primary one included."""
    worker = world.worker("10.0.0.10", instance_type="t3.nano")
    assert cloud.describe_slots("t3.nano") == 2
    assert instance(cloud, worker).type == "t3.nano"
    cloud.attach_eni(create(cloud, here).id, worker, frozenset())
    with pytest.raises(NoFreeSlot):
        cloud.attach_eni(create(cloud, here, IPv4Address("10.0.0.101")).id, worker, frozenset())


def test_an_eni_does_not_leave_its_zone(world: World, cloud: Cloud, elsewhere: Subnet) -> None:
    """That is bad input, no race."""
    eni = create(cloud, elsewhere, IPv4Address("10.0.1.100"))
    with bad_input():
        cloud.attach_eni(eni.id, world.worker("10.0.0.10"), frozenset())


def test_a_terminated_instance_loses_its_eni_and_takes_none(world: World, cloud: Cloud, here: Subnet) -> None:
    """The ENI stays, free; the instance says that it is dead; its own address is free again."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    world.terminate(worker)
    world.settle()
    assert instance(cloud, worker).state is InstanceState.TERMINATED
    assert show(cloud, eni).attachment is None
    with pytest.raises(LookAgain):
        cloud.attach_eni(eni.id, worker, frozenset())
    assert cloud.find_occupants(frozenset({IPv4Address("10.0.0.10")})) == ()


def test_a_detached_eni_is_free_and_its_attachment_gone(world: World, cloud: Cloud, here: Subnet) -> None:
    """Another worker can have it; whoever detaches the old attachment again does not touch the new one."""
    first, second, eni = world.worker("10.0.0.10"), world.worker("10.0.0.11"), create(cloud, here)
    stale = cloud.attach_eni(eni.id, first, frozenset())
    world.settle()
    cloud.detach_eni(stale, force=False)
    world.settle()
    assert show(cloud, eni).attachment is None
    assert instance(cloud, first).device_indexes == {0}
    fresh = cloud.attach_eni(eni.id, second, frozenset())
    for force in False, True:
        with pytest.raises(LookAgain):
            cloud.detach_eni(stale, force=force)
    world.settle()
    assert show(cloud, eni).attachment == Attachment(fresh, second, 1, AttachmentStatus.ATTACHED)


def test_an_eni_that_is_detached_while_attaching_ends_free(world: World, cloud: Cloud, here: Subnet) -> None:
    """The attach that was overtaken does not come back."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    cloud.detach_eni(cloud.attach_eni(eni.id, worker, frozenset()), force=False)
    world.settle()
    assert show(cloud, eni).attachment is None


def test_a_hung_guest_keeps_the_eni_until_force(world: World, cloud: Cloud, here: Subnet) -> None:
    """Detaching, and to be forced by the same attachment; without Force a second detach is refused."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    world.hang(worker)
    cloud.detach_eni(attachment_id, force=False)
    world.settle()
    assert show(cloud, eni).attachment == Attachment(attachment_id, worker, 1, AttachmentStatus.DETACHING)
    with pytest.raises(LookAgain):
        cloud.detach_eni(attachment_id, force=False)
    with pytest.raises(LookAgain):
        cloud.attach_eni(eni.id, world.worker("10.0.0.11"), frozenset())
    cloud.detach_eni(attachment_id, force=True)
    world.settle()
    assert show(cloud, eni).attachment is None


def test_a_primary_eni_is_not_detached(world: World, cloud: Cloud) -> None:
    """Not even with Force; that is bad input, no race."""
    world.worker("10.0.0.10")
    [primary] = cloud.find_occupants(frozenset({IPv4Address("10.0.0.10")}))
    assert primary.attachment is not None
    for force in False, True:
        with bad_input():
            cloud.detach_eni(primary.attachment.id, force=force)


def test_what_does_not_exist_is_looked_for_again(world: World, cloud: Cloud, here: Subnet) -> None:
    """An ENI, an instance and an attachment; but deleting what is gone is fine, and instances are only left out."""
    ghost, worker, eni = "eni-00000000000000fff", world.worker("10.0.0.10"), create(cloud, here)
    no_instance, no_attachment = "i-00000000000000fff", "eni-attach-00000000000000fff"
    for call in (
        lambda: cloud.attach_eni(ghost, worker, frozenset()),
        lambda: cloud.attach_eni(eni.id, no_instance, frozenset()),
        lambda: cloud.detach_eni(no_attachment, force=False),
        lambda: cloud.tag_eni(ghost, {"a": "b"}),
        lambda: cloud.check_source(ghost),
        lambda: cloud.keep_after_termination(eni.id, no_attachment),
    ):
        with pytest.raises(LookAgain):
            call()
    cloud.delete_eni(ghost)
    assert cloud.describe_instances(frozenset({no_instance, worker})).keys() == {worker}
    assert cloud.describe_allocation("eipalloc-00000000000000fff") is None


def test_an_eni_in_use_is_not_deleted(world: World, cloud: Cloud, here: Subnet) -> None:
    """It is when it is free; then its address is too."""
    eni = create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, world.worker("10.0.0.10"), frozenset())
    world.settle()
    with pytest.raises(LookAgain):
        cloud.delete_eni(eni.id)
    cloud.detach_eni(attachment_id, force=False)
    world.settle()
    cloud.delete_eni(eni.id)
    assert cloud.describe_enis(NAME) == cloud.find_occupants(frozenset({FLOATING})) == ()
    create(cloud, here, token="another")


def test_tags_are_added_and_overwritten(cloud: Cloud, here: Subnet) -> None:
    """Others stay; an ENI without our tag is not ours any more."""
    eni = create(cloud, here)
    cloud.tag_eni(eni.id, {"floatingip/moves": "1", ALLOCATION_TAG: "eipalloc-1"})
    cloud.tag_eni(eni.id, {"floatingip/moves": "2"})
    assert show(cloud, eni).tags == {**TAGS, "floatingip/moves": "2", ALLOCATION_TAG: "eipalloc-1"}
    cloud.tag_eni(eni.id, {OWNER_TAG: "another"})
    assert cloud.describe_enis(NAME) == ()
    assert [other.id for other in cloud.describe_enis("another")] == [eni.id]


def test_several_interfaces_are_tagged_together_or_not_at_all(cloud: Cloud, here: Subnet) -> None:
    """Where one of them is gone, the others get nothing."""
    enis = create(cloud, here), create(cloud, here, IPv4Address("10.0.0.101"))
    cloud.tag_enis(tuple(eni.id for eni in enis), {"floatingip/paused": "1"})
    assert [show(cloud, eni).tags["floatingip/paused"] for eni in enis] == ["1", "1"]
    with pytest.raises(LookAgain):
        cloud.tag_enis((enis[0].id, "eni-0123456789abcdef0"), {"floatingip/paused": "2"})
    assert show(cloud, enis[0]).tags["floatingip/paused"] == "1"


def test_security_groups_are_replaced(world: World, cloud: Cloud, here: Subnet) -> None:
    """By exactly those that are given, in whatever order."""
    eni = create(cloud, here)
    cloud.set_security_groups(eni.id, (world.other_group,))
    assert show(cloud, eni).security_groups == (world.other_group,)
    cloud.set_security_groups(eni.id, (world.other_group, world.group))
    assert show(cloud, eni).security_groups == tuple(sorted((world.other_group, world.group)))


def test_an_association_is_made_once_and_never_taken_from_another(world: World, cloud: Cloud, here: Subnet) -> None:
    """Both sides show it; asked again nothing changes; neither side is given to a third."""
    one, other = (world.allocate(f"203.0.113.{last}", "us-west-2-lax-1") for last in (100, 101))
    mine, yours = create(cloud, here, Allocation(one)), create(cloud, here, Allocation(other))
    assert cloud.describe_allocation(one) == AllocationFacts(one, PUBLIC, "us-west-2-lax-1")
    for _ in range(2):
        cloud.associate(one, mine.id, primary(mine))
    assert cloud.describe_allocation(one) == AllocationFacts(one, PUBLIC, "us-west-2-lax-1", mine.id)
    assert (show(cloud, mine).elastic, show(cloud, yours).elastic) == ({mine.address: one}, {})
    for allocation_id, eni in ((one, yours), (other, mine)):
        with pytest.raises(AddressTaken):
            cloud.associate(allocation_id, eni.id, primary(eni))
    assert (show(cloud, mine).elastic, show(cloud, yours).elastic) == ({mine.address: one}, {})


def test_an_association_ends_with_its_eni(world: World, cloud: Cloud, here: Subnet) -> None:
    """The Elastic IP stays allocated."""
    allocation_id = world.allocate(PUBLIC, "us-west-2-lax-1")
    eni = create(cloud, here, Allocation(allocation_id))
    cloud.associate(allocation_id, eni.id, primary(eni))
    cloud.delete_eni(eni.id)
    assert cloud.describe_allocation(allocation_id) == AllocationFacts(allocation_id, PUBLIC, "us-west-2-lax-1")


def test_an_allocation_that_cannot_be_associated_is_bad_input(world: World, cloud: Cloud, here: Subnet) -> None:
    """One of another network border group, and one that does not exist; an ENI that is gone is LookAgain."""
    eni = create(cloud, here)
    for allocation_id in world.allocate(PUBLIC, "us-west-2"), "eipalloc-00000000000000fff":
        with bad_input():
            cloud.associate(allocation_id, eni.id, primary(eni))
    with pytest.raises(LookAgain):
        cloud.associate(world.allocate("203.0.113.101", "us-west-2-lax-1"), "eni-00000000000000fff", primary(eni))


def test_an_instance_is_shown_with_the_ipv6_address_of_its_primary_interface(
    world: World, cloud: Cloud, here: Subnet
) -> None:
    """Not with one of an interface that was attached to it later."""
    with_one, without = world.worker("10.0.0.10", ipv6="2001:db8:0:1::a"), world.worker("10.0.0.11")
    for worker, address in ((with_one, FLOATING_IPV6), (without, IPv6Address("2001:db8:0:1::101"))):
        cloud.attach_eni(create(cloud, here, address, str(address)).id, worker, frozenset())
    world.settle()
    shown = cloud.describe_instances(frozenset({with_one, without}))
    assert (shown[with_one].ipv6, shown[without].ipv6) == (IPv6Address("2001:db8:0:1::a"), None)


def test_an_instance_is_found_by_its_address_or_name(world: World, cloud: Cloud) -> None:
    """As an operator would name a node; one that ended is none any more."""
    worker = world.worker("10.0.0.10")
    for name in ("10.0.0.10", "ip-10-0-0-10.us-west-2.compute.internal"):
        found = cloud.find_instance(name)
        assert found is not None
        assert found.id == worker
    for name in ("10.0.0.11", "ip-10-0-0-*", "ip-10-0-0-1?.us-west-2.compute.internal", "*"):
        assert cloud.find_instance(name) is None
    world.terminate(worker)
    world.settle()
    assert cloud.find_instance("10.0.0.10") is None


@pytest.mark.parametrize("action", ["CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface"])
def test_what_iam_denies_is_named_by_the_rehearsal_and_the_call(
    world: World, cloud: Cloud, here: Subnet, action: str
) -> None:
    """Nothing is changed by either; without a denial the rehearsal has nothing to say."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    before = show(cloud, eni)
    needed = way_to(Carry.ENI).needed
    assert cloud.rehearse(before, here, worker, TAGS, (FLOATING,), needed) == ()
    world.deny(action)
    assert cloud.rehearse(before, here, worker, TAGS, (FLOATING,), needed) == (f"ec2:{action}",)
    calls: dict[str, Callable[[], object]] = {
        "CreateNetworkInterface": lambda: create(cloud, here, IPv4Address("10.0.0.101")),
        "AttachNetworkInterface": lambda: cloud.attach_eni(eni.id, worker, frozenset()),
        "DetachNetworkInterface": lambda: cloud.detach_eni(attachment_id, force=False),
    }
    with pytest.raises(Denied, match=f"ec2:{action}"):
        calls[action]()
    world.settle()
    assert cloud.describe_enis(NAME) == (before,)
