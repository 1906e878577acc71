"""What EC2 does not tell of one floating address keeps nothing from the others: each is watched by itself."""

from ipaddress import IPv4Address

import pytest

from floatingip.agent.looks import Question, Seen
from floatingip.core.ec2 import ALLOCATION_TAG, OWNER_TAG, AllocationFacts, Eni
from floatingip.core.errors import CloudUnavailable
from floatingip.core.model import Address, Allocation
from floatingip.core.settings import Settings
from floatingip.runtime import calls as calling
from floatingip.runtime.look import look
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

NAME, ADDRESS, OTHER = "cluster", IPv4Address("10.0.0.100"), IPv4Address("10.0.0.101")


class PartlyDown(FakeCloud):
    """Tells neither of Elastic IPs, nor of what is not ours."""

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """Nothing."""
        raise CloudUnavailable(f"DescribeAddresses: RequestLimitExceeded: {allocation_id}")

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """Nothing."""
        raise CloudUnavailable(f"DescribeNetworkInterfaces: InternalError: {sorted(map(str, addresses))}")


class World:
    """Two workers, the second one with an address, and an Elastic IP that is not associated."""

    def __init__(self) -> None:
        self.ec2 = FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24")
        self.me, self.holder = (self.ec2.add_instance(f"10.0.0.{last}", self.subnet) for last in (10, 11))
        self.eni = self.make(ADDRESS)
        self.elastic = Allocation(self.ec2.allocate("198.51.100.1"))

    def make(self, target: IPv4Address | Allocation) -> Eni:
        """The target's ENI, on the holder."""
        tags = {OWNER_TAG: NAME} | ({ALLOCATION_TAG: target.id} if isinstance(target, Allocation) else {})
        eni = FakeCloud(self.ec2, ("sg-1",)).create_eni(target, self.subnet, tags, "")
        self.ec2.attach(eni.id, self.holder, 1 if target == ADDRESS else 2)
        return eni

    def look(self, *others: IPv4Address | Allocation) -> Seen:
        """While a part of EC2 is down."""
        question = Question(0.0, self.me, NAME, judged=frozenset({self.holder}))
        return look(PartlyDown(self.ec2), Settings((ADDRESS, *others)), question)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Just made, and asked again at once."""
    monkeypatch.setattr(calling, "RETRY_AFTER", (0.0, 0.0))
    return World()


def test_an_elastic_ip_that_is_not_told_of_keeps_no_address_from_being_known(world: World) -> None:
    """Nor is it taken for one that does not exist."""
    seen = world.look(world.elastic)
    assert (seen.enis[ADDRESS].id, seen.allocations) == (world.eni.id, {})
    assert seen.instances.keys() >= {world.holder}
    assert list(seen.unknown) == [world.elastic]
    assert "DescribeAddresses" in seen.unknown[world.elastic]


def test_who_has_the_interface_of_an_elastic_ip_that_is_not_told_of_is_known(world: World) -> None:
    """So that this moves as well when its holder dies; and the silence is told."""
    eni = world.make(world.elastic)
    seen = world.look(world.elastic)
    assert (seen.enis[world.elastic].id, seen.allocations, seen.unknown) == (eni.id, {}, {})
    assert "DescribeAddresses" in seen.undescribed


def test_an_address_whose_occupant_is_not_told_keeps_no_other_from_being_known(world: World) -> None:
    """Nor is it free."""
    seen = world.look(OTHER)
    assert seen.enis.keys() == {ADDRESS}
    assert list(seen.unknown) == [OTHER]
    assert "InternalError" in seen.unknown[OTHER]


def test_what_may_not_be_asked_of_an_elastic_ip_keeps_no_address_from_being_known(world: World) -> None:
    """Whoever adds one lacks the permission for it until somebody notices: the address before is served meanwhile."""
    cloud = FakeCloud(world.ec2)
    cloud.denied = {"DescribeAddresses"}
    seen = look(cloud, Settings((ADDRESS, world.elastic)), Question(0.0, world.me, NAME))
    assert (seen.enis[ADDRESS].id, list(seen.unknown)) == (world.eni.id, [world.elastic])
    assert seen.refused[world.elastic].action == "ec2:DescribeAddresses"
