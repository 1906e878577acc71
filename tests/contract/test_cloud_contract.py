"""
The same cases against the pure fake and, through the product's own boto3 code, against the lab's EC2 endpoint.

What both do is what the unit tests and the simulation may rely on.  Time passes only in `settle`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import pytest

from floatingip.core import ports
from floatingip.core.decision.carry import way_to
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
from floatingip.core.errors import AddressTaken, CloudError, Denied, LookAgain, NoFreeSlot
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.edges.ec2.cloud import Ec2Cloud
from lab.ec2 import PROFILES, Ec2, Guest, NoDevices
from tests.fakes.ec2 import Delays, FakeCloud, FakeEc2

NAME = "floating-ip"
FLOATING = IPv4Address("10.0.0.100")
FLOATING_IPV6 = IPv6Address("2001:db8:0:1::100")
both_families = pytest.mark.parametrize("address", [FLOATING, FLOATING_IPV6], ids=["IPv4", "IPv6"])
TAGS = {OWNER_TAG: NAME}
PUBLIC = "203.0.113.100"


class World(Protocol):
    """One EC2 with a subnet in each of two zones."""

    cloud: ports.Cloud
    group: str
    """The security group of new ENIs."""
    other_group: str

    def worker(self, address: str, *pods: str, instance_type: str = "m5.large") -> str:
        """Run an instance in the first subnet; its id."""

    def allocate(self, public: str, border_group: str) -> str:
        """Allocate an Elastic IP; its id."""

    def hang(self, instance_id: str) -> None:
        """Let the instance hang."""

    def terminate(self, instance_id: str) -> None:
        """Terminate the instance."""

    def deny(self, action: str) -> None:
        """Let IAM refuse an action from now on."""

    def settle(self) -> None:
        """Let everything happen that has begun."""

    def close(self) -> None:
        """Remove everything."""


class Fake:
    """The pure model; nothing is instant in it, so a case that forgets to settle fails."""

    def __init__(self) -> None:
        moving = {"assign": 1.2, "unassign": 0.6}
        self.ec2 = FakeEc2(Delays(attach=3.0, detach=2.5, force_detach=2.5, release=20.0, shutdown=30.0, **moving))
        self.here = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.ec2.add_subnet("10.0.1.0/24", zone="us-west-2-lax-1b")
        self.group, self.other_group = "sg-lab", "sg-other"
        self.fake = FakeCloud(self.ec2, (self.group,))
        self.cloud: ports.Cloud = self.fake

    def worker(self, address: str, *pods: str, instance_type: str = "m5.large") -> str:
        return self.ec2.add_instance(address, self.here, secondary_addresses=pods, instance_type=instance_type)

    def allocate(self, public: str, border_group: str) -> str:
        return self.ec2.allocate(public, border_group)

    def hang(self, instance_id: str) -> None:
        self.ec2.hang(instance_id)

    def terminate(self, instance_id: str) -> None:
        self.ec2.terminate(instance_id)

    def deny(self, action: str) -> None:
        self.fake.denied.add(action)

    def settle(self) -> None:
        self.ec2.advance(self.ec2.now + 60)

    def close(self) -> None:
        """Nothing is left of it."""


class Endpoint(NoDevices):
    """The lab's EC2 over HTTP, where all happens before the call that causes it is answered."""

    def __init__(self) -> None:
        self.hung: set[str] = set()
        self.ec2 = Ec2(replace(PROFILES["instant"], shutdown=0.0), self, lambda event: None, seed=1)
        self.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b")
        self.client = self.ec2.client()
        self.group = self.ec2.security_group_id
        self.other_group = self.client.create_security_group(
            GroupName="other", Description="other", VpcId=self.ec2.vpc_id
        )["GroupId"]
        self.cloud: ports.Cloud = Ec2Cloud(self.client, self.ec2.vpc_id, (self.group,))

    def guest(self, instance_id: str) -> Guest:
        return Guest.HUNG if instance_id in self.hung else Guest.RUNNING

    def worker(self, address: str, *pods: str, instance_type: str = "m5.large") -> str:
        return self.ec2.run_instance("worker", address, pods, instance_type=instance_type).instance_id

    def allocate(self, public: str, border_group: str) -> str:
        return self.ec2.allocate(public, border_group)

    def hang(self, instance_id: str) -> None:
        self.hung.add(instance_id)

    def terminate(self, instance_id: str) -> None:
        self.client.terminate_instances(InstanceIds=[instance_id])

    def deny(self, action: str) -> None:
        self.ec2.faults.deny([action])

    def settle(self) -> None:
        """It is settled."""

    def close(self) -> None:
        self.ec2.stop()


@pytest.fixture(params=[Fake, Endpoint])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each of both."""
    kind: type[Fake] | type[Endpoint] = request.param
    world: World = kind()
    yield world
    world.close()


@pytest.fixture
def cloud(world: World) -> ports.Cloud:
    """EC2 as the product sees it."""
    return world.cloud


@pytest.fixture
def here(cloud: ports.Cloud) -> Subnet:
    """The subnet of the workers."""
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1a"]
    return subnet


@pytest.fixture
def elsewhere(cloud: ports.Cloud) -> Subnet:
    """The subnet in the other zone."""
    [subnet] = [subnet for subnet in cloud.describe_subnets() if subnet.zone == "us-west-2-lax-1b"]
    return subnet


def create(cloud: ports.Cloud, subnet: Subnet, target: Target = FLOATING, token: str = "") -> Eni:
    """The ENI of a target, by a token of its own unless one is given."""
    return cloud.create_eni(target, subnet, TAGS, token or f"token {target}")


def standing(world: World, cloud: ports.Cloud, here: Subnet, last: int = 10, instance_type: str = "m5.large") -> Eni:
    """An attached ENI with an address of EC2's choice, of a worker of its own."""
    worker = world.worker(f"10.0.0.{last}", instance_type=instance_type)
    eni = cloud.create_eni(None, here, TAGS | {STANDING_TAG: worker}, f"standing {worker}")
    cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    return show(cloud, eni)


def show(cloud: ports.Cloud, eni: Eni) -> Eni:
    """The ENI as Describe shows it now."""
    [shown] = [other for other in cloud.describe_enis(NAME) if other.id == eni.id]
    return shown


def primary(eni: Eni) -> IPv4Address:
    """Its primary address, which every whole answer of EC2's has."""
    assert eni.address is not None
    return eni.address


def instance(cloud: ports.Cloud, instance_id: str) -> Instance:
    """The instance as Describe shows it now."""
    return cloud.describe_instances(frozenset({instance_id}))[instance_id]


def test_a_new_eni_has_what_was_asked_for(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """The answer and the Describe agree: address, subnet, zone, tags and groups, and no attachment."""
    eni = create(cloud, here)
    assert eni == show(cloud, eni)
    assert (eni.address, eni.subnet_id, eni.zone, eni.attachment) == (FLOATING, here.id, here.zone, None)
    assert (eni.tags, eni.security_groups) == (TAGS, (world.group,))
    assert (eni.source_check, eni.delete_on_termination, eni.elastic) == (True, False, {})
    assert cloud.find_occupants(frozenset({FLOATING, FLOATING_IPV6})) == (eni,)


def test_an_ipv6_target_gets_some_ipv4_address_too(cloud: ports.Cloud, here: Subnet) -> None:
    """The IPv4 address is of the subnet; both find the ENI."""
    eni = create(cloud, here, FLOATING_IPV6)
    assert eni.ipv6s == (FLOATING_IPV6,)
    assert here.network_of(primary(eni)) is not None
    assert cloud.find_occupants(frozenset({FLOATING_IPV6})) == cloud.find_occupants(frozenset({primary(eni)})) == (eni,)
    with pytest.raises(LookAgain):
        create(cloud, here, FLOATING_IPV6, "another token")


def test_two_allocations_get_an_eni_each(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """EC2 chooses their private addresses, which differ and are nobody else's."""
    world.worker("10.0.0.4", "10.0.0.5")
    first, second = (create(cloud, here, Allocation(f"eipalloc-{number}")) for number in "12")
    assert len({first.address, second.address, IPv4Address("10.0.0.4"), IPv4Address("10.0.0.5")}) == 4


def test_the_same_token_makes_one_eni(cloud: ports.Cloud, here: Subnet) -> None:
    """Twice the same answer; with another target the token is refused; another token finds the address in use."""
    eni = create(cloud, here, token="one")
    assert create(cloud, here, token="one").id == eni.id
    with pytest.raises(LookAgain):
        create(cloud, here, IPv4Address("10.0.0.101"), "one")
    with pytest.raises(LookAgain):
        create(cloud, here, token="two")
    assert [other.id for other in cloud.describe_enis(NAME)] == [eni.id]


def test_a_token_answers_with_its_eni_after_that_was_deleted(cloud: ports.Cloud, here: Subnet) -> None:
    """It is not described any more; the next generation of the token makes another."""
    eni = create(cloud, here, token="one")
    cloud.delete_eni(eni.id)
    assert create(cloud, here, token="one").id == eni.id
    assert cloud.describe_enis(NAME) == ()
    assert create(cloud, here, token="two").id != eni.id


@pytest.mark.parametrize("name", ["floating*", "floating-i?", "*", "FLOATING-IP", "floating-ip\\", ""])
def test_a_name_is_no_pattern(cloud: ports.Cloud, here: Subnet, name: str) -> None:
    """To EC2's filters it would be one: `release` of prod* would delete the interfaces of prod and of prod-2."""
    create(cloud, here)
    assert cloud.describe_enis(name) == ()


@pytest.mark.parametrize("address", ["10.0.0.10", "10.0.0.20"])
def test_an_address_in_use_is_refused(world: World, cloud: ports.Cloud, here: Subnet, address: str) -> None:
    """A worker's own and one of its pods'; whoever has it can be found, and is not ours."""
    world.worker("10.0.0.10", "10.0.0.20")
    with pytest.raises(LookAgain):
        create(cloud, here, IPv4Address(address))
    [occupant] = cloud.find_occupants(frozenset({IPv4Address(address)}))
    assert (occupant.address, occupant.tags.get(OWNER_TAG)) == (IPv4Address("10.0.0.10"), None)
    assert cloud.describe_enis(NAME) == ()


@pytest.mark.parametrize("address", ["10.0.1.100", "192.0.2.1", "10.0.0.0", "10.0.0.3", "10.0.0.255"])
def test_an_address_outside_of_the_subnet_is_bad_input(cloud: ports.Cloud, here: Subnet, address: str) -> None:
    """Also one that AWS keeps; that is no race, so it is not LookAgain."""
    with pytest.raises(CloudError) as caught:
        create(cloud, here, IPv4Address(address))
    assert type(caught.value) is CloudError


def test_an_attached_eni_shows_its_attachment(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """At the lowest free index, on both sides, and not to be deleted with the instance."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    shown = show(cloud, eni)
    assert shown.attachment == Attachment(attachment_id, worker, 1, AttachmentStatus.ATTACHED)
    assert shown.delete_on_termination is False
    assert instance(cloud, worker).device_indexes == {0, 1}


def test_a_second_attach_is_refused(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """By the loser of a race, and by the winner itself; the first attachment stays."""
    winner, loser, eni = world.worker("10.0.0.10"), world.worker("10.0.0.11"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, winner, frozenset())
    for worker in loser, winner:
        with pytest.raises(LookAgain):
            cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    assert show(cloud, eni).attachment == Attachment(attachment_id, winner, 1, AttachmentStatus.ATTACHED)
    assert instance(cloud, loser).device_indexes == {0}


def test_a_taken_index_is_passed_over(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """One that the caller did not know to be taken, and one that it only believes to be."""
    worker = world.worker("10.0.0.10", instance_type="m5.24xlarge")
    first, second = create(cloud, here), create(cloud, here, IPv4Address("10.0.0.101"))
    cloud.attach_eni(first.id, worker, frozenset())
    cloud.attach_eni(second.id, worker, frozenset({2}))
    world.settle()
    assert instance(cloud, worker).device_indexes == {0, 1, 3}


def test_a_full_instance_takes_no_more(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """As many ENIs as the instance type has slots, the primary one included."""
    worker = world.worker("10.0.0.10", instance_type="t3.nano")
    assert cloud.describe_slots("t3.nano") == 2
    assert instance(cloud, worker).type == "t3.nano"
    cloud.attach_eni(create(cloud, here).id, worker, frozenset())
    with pytest.raises(NoFreeSlot):
        cloud.attach_eni(create(cloud, here, IPv4Address("10.0.0.101")).id, worker, frozenset())


def test_an_eni_does_not_leave_its_zone(world: World, cloud: ports.Cloud, elsewhere: Subnet) -> None:
    """That is bad input, no race."""
    eni = create(cloud, elsewhere, IPv4Address("10.0.1.100"))
    with pytest.raises(CloudError) as caught:
        cloud.attach_eni(eni.id, world.worker("10.0.0.10"), frozenset())
    assert type(caught.value) is CloudError


def test_a_terminated_instance_loses_its_eni_and_takes_none(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_a_detached_eni_is_free_and_its_attachment_gone(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_an_eni_that_is_detached_while_attaching_ends_free(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """The attach that was overtaken does not come back."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    cloud.detach_eni(cloud.attach_eni(eni.id, worker, frozenset()), force=False)
    world.settle()
    assert show(cloud, eni).attachment is None


def test_a_hung_guest_keeps_the_eni_until_force(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_a_primary_eni_is_not_detached(world: World, cloud: ports.Cloud) -> None:
    """Not even with Force; that is bad input, no race."""
    world.worker("10.0.0.10")
    [primary] = cloud.find_occupants(frozenset({IPv4Address("10.0.0.10")}))
    assert primary.attachment is not None
    for force in False, True:
        with pytest.raises(CloudError) as caught:
            cloud.detach_eni(primary.attachment.id, force=force)
        assert type(caught.value) is CloudError


def test_what_does_not_exist_is_looked_for_again(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_an_eni_in_use_is_not_deleted(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_tags_are_added_and_overwritten(cloud: ports.Cloud, here: Subnet) -> None:
    """Others stay; an ENI without our tag is not ours any more."""
    eni = create(cloud, here)
    cloud.tag_eni(eni.id, {"floatingip/moves": "1", ALLOCATION_TAG: "eipalloc-1"})
    cloud.tag_eni(eni.id, {"floatingip/moves": "2"})
    assert show(cloud, eni).tags == {**TAGS, "floatingip/moves": "2", ALLOCATION_TAG: "eipalloc-1"}
    cloud.tag_eni(eni.id, {OWNER_TAG: "another"})
    assert cloud.describe_enis(NAME) == ()
    assert [other.id for other in cloud.describe_enis("another")] == [eni.id]


def test_security_groups_are_replaced(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """By exactly those that are given, in whatever order."""
    eni = create(cloud, here)
    cloud.set_security_groups(eni.id, (world.other_group,))
    assert show(cloud, eni).security_groups == (world.other_group,)
    cloud.set_security_groups(eni.id, (world.other_group, world.group))
    assert show(cloud, eni).security_groups == tuple(sorted((world.other_group, world.group)))


def test_an_association_is_made_once_and_never_taken_from_another(
    world: World, cloud: ports.Cloud, here: Subnet
) -> None:
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


def test_an_association_ends_with_its_eni(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """The Elastic IP stays allocated."""
    allocation_id = world.allocate(PUBLIC, "us-west-2-lax-1")
    eni = create(cloud, here, Allocation(allocation_id))
    cloud.associate(allocation_id, eni.id, primary(eni))
    cloud.delete_eni(eni.id)
    assert cloud.describe_allocation(allocation_id) == AllocationFacts(allocation_id, PUBLIC, "us-west-2-lax-1")


def test_an_allocation_that_cannot_be_associated_is_bad_input(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """One of another network border group, and one that does not exist; an ENI that is gone is LookAgain."""
    eni = create(cloud, here)
    for allocation_id in world.allocate(PUBLIC, "us-west-2"), "eipalloc-00000000000000fff":
        with pytest.raises(CloudError) as caught:
            cloud.associate(allocation_id, eni.id, primary(eni))
        assert type(caught.value) is CloudError
    with pytest.raises(LookAgain):
        cloud.associate(world.allocate("203.0.113.101", "us-west-2-lax-1"), "eni-00000000000000fff", primary(eni))


# Addresses that move between ENIs.


@both_families
def test_an_assigned_address_is_one_more_of_the_eni(
    world: World, cloud: ports.Cloud, here: Subnet, address: Address
) -> None:
    """It is carried, and found, by it; asked again nothing changes."""
    eni = standing(world, cloud, here)
    for _ in range(2):
        cloud.assign(eni.id, address, reassign=False)
        world.settle()
        shown = show(cloud, eni)
        assert shown.address == eni.address
        assert (*shown.secondary, *shown.ipv6s) == (address,)
        assert shown.carries(address)
        assert cloud.find_occupants(frozenset({address})) == (shown,)


@both_families
def test_without_reassignment_an_address_stays_where_it_is(
    world: World, cloud: ports.Cloud, here: Subnet, address: Address
) -> None:
    """The loser of a race for what nobody had looks again; IPv6 knows no reassignment at all."""
    winner, loser = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(winner.id, address, reassign=False)
    for reassign in (False, *([True] if address.version == 6 else [])):
        with pytest.raises(LookAgain):
            cloud.assign(loser.id, address, reassign=reassign)
    world.settle()
    assert (show(cloud, winner).carries(address), show(cloud, loser).carries(address)) == (True, False)


def test_with_reassignment_an_address_moves(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_a_primary_address_is_nobody_elses(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """Not even with reassignment, which is bad input then; to its own ENI it can be given, which changes nothing."""
    eni = standing(world, cloud, here)
    for reassign, kind in ((False, LookAgain), (True, CloudError)):
        with pytest.raises(CloudError) as caught:
            cloud.assign(eni.id, IPv4Address("10.0.0.10"), reassign=reassign)
        assert type(caught.value) is kind
    cloud.assign(eni.id, primary(eni), reassign=False)
    world.settle()
    assert show(cloud, eni) == eni


def test_an_address_that_cannot_be_assigned_is_bad_input(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """One of another subnet, one that AWS keeps; for IPv6, EC2 does not say what it is."""
    eni = standing(world, cloud, here)
    for text in ("10.0.1.100", "10.0.0.3"):
        with pytest.raises(CloudError) as caught:
            cloud.assign(eni.id, IPv4Address(text), reassign=True)
        assert type(caught.value) is CloudError
    with pytest.raises(LookAgain):
        cloud.assign(eni.id, IPv6Address("2001:db8:0:9::100"), reassign=False)
    assert show(cloud, eni) == eni


def test_an_eni_without_room_says_so(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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


def test_an_address_of_ec2s_choice_is_free_and_of_the_subnet(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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
    world: World, cloud: ports.Cloud, here: Subnet, address: Address
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
    assert show(cloud, second).carries(address)


def test_a_primary_address_is_not_unassigned(world: World, cloud: ports.Cloud, here: Subnet) -> None:
    """An ENI keeps it for life."""
    eni = standing(world, cloud, here)
    with pytest.raises(LookAgain):
        cloud.unassign(eni.id, primary(eni))
    assert show(cloud, eni) == eni


@both_families
def test_a_free_eni_keeps_its_addresses_until_it_is_deleted(
    world: World, cloud: ports.Cloud, here: Subnet, address: Address
) -> None:
    """That of a terminated worker: nobody is handed the address out, but whoever takes it over."""
    orphan, other = standing(world, cloud, here), standing(world, cloud, here, 11)
    cloud.assign(orphan.id, address, reassign=False)
    world.settle()
    world.terminate(orphan.standing_for)
    world.settle()
    shown = show(cloud, orphan)
    assert (shown.attachment, shown.carries(address)) == (None, True)
    with pytest.raises(LookAgain):
        cloud.assign(other.id, address, reassign=False)
    cloud.delete_eni(orphan.id)
    cloud.assign(other.id, address, reassign=False)
    world.settle()
    assert show(cloud, other).carries(address)


def test_an_elastic_ip_rides_along_with_its_private_address(world: World, cloud: ports.Cloud, here: Subnet) -> None:
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
    assert show(cloud, second).carries(Allocation(allocation_id))
    shown = cloud.describe_allocation(allocation_id)
    assert shown is not None
    assert shown.eni_id == second.id


def test_an_elastic_ip_is_associated_with_one_address_of_its_eni(
    world: World, cloud: ports.Cloud, here: Subnet
) -> None:
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
    with pytest.raises(CloudError) as caught:
        cloud.associate(one, other.id, private)
    assert type(caught.value) is CloudError
    assert show(cloud, eni).elastic == {private: one, eni.address: two}


def test_an_association_ends_when_its_private_address_is_unassigned(
    world: World, cloud: ports.Cloud, here: Subnet
) -> None:
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
    world: World, cloud: ports.Cloud, here: Subnet
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


def test_an_instance_is_found_by_its_address_or_name(world: World, cloud: ports.Cloud) -> None:
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


@pytest.mark.parametrize("action", ["AssignPrivateIpAddresses", "UnassignIpv6Addresses", "AttachNetworkInterface"])
def test_a_denied_move_is_named_by_the_rehearsal_and_the_call(
    world: World, cloud: ports.Cloud, here: Subnet, action: str
) -> None:
    """For the target that needs it; nothing is changed by either."""
    eni = standing(world, cloud, here)
    target = FLOATING_IPV6 if "Ipv6" in action else FLOATING
    assert cloud.rehearse(eni, here, eni.standing_for, TAGS, target, way_to(Carry.ADDRESS).needed) == ()
    world.deny(action)
    assert cloud.rehearse(eni, here, eni.standing_for, TAGS, target, way_to(Carry.ADDRESS).needed) == (f"ec2:{action}",)
    calls: dict[str, Callable[[], object]] = {
        "AssignPrivateIpAddresses": lambda: cloud.assign(eni.id, FLOATING, reassign=True),
        "UnassignIpv6Addresses": lambda: cloud.unassign(eni.id, FLOATING_IPV6),
        "AttachNetworkInterface": lambda: cloud.attach_eni(eni.id, eni.standing_for, frozenset()),
    }
    with pytest.raises(Denied, match=f"ec2:{action}"):
        calls[action]()
    world.settle()
    assert cloud.describe_enis(NAME) == (eni,)


@pytest.mark.parametrize("action", ["CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface"])
def test_what_iam_denies_is_named_by_the_rehearsal_and_the_call(
    world: World, cloud: ports.Cloud, here: Subnet, action: str
) -> None:
    """Nothing is changed by either; without a denial the rehearsal has nothing to say."""
    worker, eni = world.worker("10.0.0.10"), create(cloud, here)
    attachment_id = cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    before = show(cloud, eni)
    assert cloud.rehearse(before, here, worker, {"floatingip": "lab"}, FLOATING, way_to(Carry.ENI).needed) == ()
    world.deny(action)
    assert cloud.rehearse(before, here, worker, {"floatingip": "lab"}, FLOATING, way_to(Carry.ENI).needed) == (
        f"ec2:{action}",
    )
    calls: dict[str, Callable[[], object]] = {
        "CreateNetworkInterface": lambda: create(cloud, here, IPv4Address("10.0.0.101")),
        "AttachNetworkInterface": lambda: cloud.attach_eni(eni.id, worker, frozenset()),
        "DetachNetworkInterface": lambda: cloud.detach_eni(attachment_id, force=False),
    }
    with pytest.raises(Denied, match=f"ec2:{action}"):
        calls[action]()
    world.settle()
    assert cloud.describe_enis(NAME) == (before,)
