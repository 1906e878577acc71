"""What the contract cannot compare, since the endpoint has real time: the pure model's own time, and its lag."""

from ipaddress import IPv4Address

import pytest

from floatingip.core.ec2 import OWNER_TAG, AttachmentStatus, Eni, InstanceState
from floatingip.core.errors import CloudUnavailable, LookAgain
from floatingip.core.model import Allocation
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

ADDRESS = IPv4Address("10.0.0.100")


class World:
    """One ENI, two instances, and an EC2 that takes its time."""

    def __init__(self) -> None:
        moving = {"assign": 1.2, "unassign": 0.6}
        self.ec2 = FakeEc2(Delays(attach=3.0, detach=2.5, force_detach=4.0, release=20.0, shutdown=30.0, **moving))
        self.cloud = FakeCloud(self.ec2)
        self.subnet = self.ec2.add_subnet("10.0.0.0/24")
        self.a, self.b = (self.ec2.add_instance(f"10.0.0.{last}", self.subnet) for last in (10, 11))
        self.eni = self.cloud.create_eni(Allocation("eipalloc-1"), self.subnet, {OWNER_TAG: "x"}, "token")

    def show(self, cloud: FakeCloud | None = None) -> Eni:
        [eni] = (cloud or self.cloud).describe_enis("x")
        return eni

    def status(self, cloud: FakeCloud | None = None, *, at: float = 0.0) -> AttachmentStatus | None:
        """That of the attachment, when it is so late."""
        self.ec2.advance(at)
        attachment = self.show(cloud).attachment
        return attachment.status if attachment else None

    def other(self) -> str:
        return self.cloud.create_eni(None, self.subnet, {OWNER_TAG: "x"}, "other").id

    def owners(self, at: float) -> list[str]:
        """Who has the address, when it is so late."""
        self.ec2.advance(at)
        return [eni.id for eni in self.cloud.find_occupants(frozenset({ADDRESS}))]


@pytest.fixture
def world() -> World:
    return World()


def test_each_transition_takes_its_time(world: World) -> None:
    """Attaching, attached, detaching, gone: not a moment before, and then at once."""
    attachment_id = world.cloud.attach_eni(world.eni.id, world.a, frozenset())
    assert world.status(at=2.9) is AttachmentStatus.ATTACHING
    assert world.status(at=3.0) is AttachmentStatus.ATTACHED
    world.cloud.detach_eni(attachment_id, force=False)
    assert world.status(at=5.4) is AttachmentStatus.DETACHING
    assert world.status(at=5.5) is None


def test_an_overtaken_attach_does_not_finish_on_the_next_attachment(world: World) -> None:
    """The first attach would have ended at 3.0; the second began at 2.5, and ends at 5.5."""
    world.cloud.detach_eni(world.cloud.attach_eni(world.eni.id, world.a, frozenset()), force=False)
    world.ec2.advance(2.5)
    world.cloud.attach_eni(world.eni.id, world.b, frozenset())
    assert world.status(at=3.0) is AttachmentStatus.ATTACHING
    assert world.status(at=5.5) is AttachmentStatus.ATTACHED


def test_a_terminated_instance_keeps_its_eni_for_a_while(world: World) -> None:
    """Shutting down, then without its ENIs, then terminated."""
    world.cloud.attach_eni(world.eni.id, world.a, frozenset())
    world.ec2.advance(10.0)
    world.ec2.terminate(world.a)
    for until, state, status in (
        (29.9, InstanceState.SHUTTING_DOWN, AttachmentStatus.ATTACHED),
        (30.0, InstanceState.SHUTTING_DOWN, None),
        (40.0, InstanceState.TERMINATED, None),
    ):
        world.ec2.advance(until)
        assert world.cloud.describe_instances(frozenset({world.a}))[world.a].state is state
        assert world.status() is status


def test_a_lagging_describe_shows_the_past_to_one_observer_only(world: World) -> None:
    """Its writes are judged by the present."""
    late = FakeCloud(world.ec2)
    late.lag = 5.0
    world.ec2.advance(100.0)
    world.cloud.attach_eni(world.eni.id, world.a, frozenset())
    world.ec2.advance(104.9)
    assert (world.status(late), world.status()) == (None, AttachmentStatus.ATTACHED)
    with pytest.raises(LookAgain):
        late.attach_eni(world.eni.id, world.b, frozenset())
    assert world.status(late, at=105.0) is AttachmentStatus.ATTACHING
    assert world.status(late, at=200.0) is AttachmentStatus.ATTACHED


def test_an_address_stays_with_its_owner_until_it_has_moved(world: World) -> None:
    """And leads there until then; of several calls the last one counts, in the time that it takes."""
    other = world.other()
    world.cloud.assign(world.eni.id, ADDRESS, reassign=False)
    assert world.owners(at=1.1) == []
    assert world.owners(at=1.2) == [world.eni.id]
    world.cloud.assign(other, ADDRESS, reassign=True)
    world.ec2.advance(2.0)
    world.cloud.unassign(other, ADDRESS)
    assert world.owners(at=2.5) == [world.eni.id], "the move to the other one was overtaken"
    assert world.owners(at=2.6) == []


def test_an_address_on_its_way_is_taken(world: World) -> None:
    """Nobody else gets it without reassignment, and EC2 chooses it for nobody."""
    other = world.other()
    world.cloud.assign(world.eni.id, ADDRESS, reassign=False)
    with pytest.raises(LookAgain):
        world.cloud.assign(other, ADDRESS, reassign=False)
    with pytest.raises(LookAgain):
        world.cloud.create_eni(ADDRESS, world.subnet, {}, "third")


def test_what_was_to_come_to_an_eni_that_is_deleted_stays_where_it_was(world: World) -> None:
    """And what was to leave it has left."""
    other = world.other()
    world.cloud.assign(other, ADDRESS, reassign=False)
    world.ec2.advance(10.0)
    world.cloud.assign(world.eni.id, ADDRESS, reassign=True)
    world.cloud.delete_eni(world.eni.id)
    assert world.owners(at=20.0) == [other]


def test_an_unreachable_ec2_changes_nothing(world: World) -> None:
    """Neither read nor write; the other observer goes on."""
    cut = FakeCloud(world.ec2)
    cut.reachable = False
    with pytest.raises(CloudUnavailable):
        cut.describe_enis("x")
    with pytest.raises(CloudUnavailable):
        cut.attach_eni(world.eni.id, world.a, frozenset())
    assert world.status() is None
    assert cut.calls == ["DescribeNetworkInterfaces", "AttachNetworkInterface"]
