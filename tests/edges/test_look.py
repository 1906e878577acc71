"""What one look asks EC2: no more than is needed, at the same time where it can be, and never an old answer."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest

from floatingip.agent.looks import Question
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Eni, Instance, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, Throttled
from floatingip.core.model import Carry
from floatingip.core.settings import Settings
from floatingip.runtime import calls as calling
from floatingip.runtime import look as looking
from floatingip.runtime.calls import Calls
from floatingip.runtime.look import look
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

NAME, ADDRESS = "cluster", IPv4Address("10.0.0.100")
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


class NotedCloud(FakeCloud):
    """Remembers what instances were asked about; ``together``: answers neither question before the other is asked."""

    def __init__(self, ec2: FakeEc2, *, together: bool = False) -> None:
        super().__init__(ec2, ("sg-1",))
        self.asked: list[frozenset[str]] = []
        self._meeting = threading.Barrier(2 if together else 1)

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """Note that."""
        self.asked.append(instance_ids)
        self._meeting.wait(PATIENCE)
        return super().describe_instances(instance_ids)

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """All there are."""
        self._meeting.wait(PATIENCE)
        return super().describe_enis(name)


class World:
    """Two workers, the second one with the address."""

    def __init__(self) -> None:
        self.ec2 = FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24")
        self.me, self.holder, self.other = (
            self.ec2.add_instance(f"10.0.0.{last}", self.subnet) for last in (10, 11, 12)
        )
        cloud = FakeCloud(self.ec2, ("sg-1",))
        self.eni = cloud.create_eni(ADDRESS, self.subnet, {OWNER_TAG: NAME}, "")
        self.ec2.attach(self.eni.id, self.holder, 1)

    def question(self, known: str = "", judged: str = "", name: str = NAME) -> Question:
        """`known` and `judged` are names of workers of this world."""
        return Question(0.0, self.me, name, self.ids(known), self.ids(judged))

    def ids(self, names: str) -> frozenset[str]:
        """The instances that are called so here."""
        return frozenset(getattr(self, name) for name in names.split())


@pytest.fixture
def world() -> World:
    """Just made."""
    return World()


SETTINGS = Settings((ADDRESS,))


@pytest.mark.parametrize(
    ("known", "judged", "together", "asked"),
    [
        ("me holder", "", False, []),
        ("me", "", False, ["holder"]),
        ("me holder", "me holder", True, ["me holder"]),
        ("me holder other", "me other", False, ["me other", "holder"]),
    ],
    ids=["peace", "unknown in peace", "judged, while the ENIs are asked about", "a holder that was not foreseen"],
)
def test_instances_are_asked_about_that_are_unknown_or_judged(
    world: World, known: str, judged: str, *, together: bool, asked: list[str]
) -> None:
    """And no others; where there are any that are judged, so is the holder that is found."""
    cloud = NotedCloud(world.ec2, together=together)
    seen = look(cloud, SETTINGS, world.question(known=known, judged=judged))
    assert cloud.asked == [world.ids(names) for names in asked]
    assert seen.instances.keys() == frozenset().union(*cloud.asked)
    assert seen.enis[ADDRESS].id == world.eni.id


def test_the_cluster_is_read_off_this_instance(world: World) -> None:
    tagged = world.ec2.add_instance("10.0.0.13", world.subnet, tags={f"kubernetes.io/cluster/{NAME}": "owned"})
    seen = look(FakeCloud(world.ec2), SETTINGS, Question(0.0, tagged, ""))
    assert seen.ours == {world.eni.id}


def test_without_a_name_nothing_is_ours(world: World) -> None:
    seen = look(FakeCloud(world.ec2), SETTINGS, world.question(name=""))
    assert seen.ours == frozenset()
    # The address is seen nevertheless: somebody has it.
    assert seen.enis[ADDRESS].id == world.eni.id


def test_whose_standing_eni_lost_its_instance_is_asked_about(world: World) -> None:
    tags = {OWNER_TAG: NAME, STANDING_TAG: world.other}
    standing = FakeCloud(world.ec2, ("sg-1",)).create_eni(None, world.subnet, tags, "")
    cloud = NotedCloud(world.ec2)
    seen = look(cloud, Settings((ADDRESS,), carry=Carry.ADDRESS), world.question(known="me holder other"))
    assert {eni.id for eni in seen.standing} == {standing.id}
    assert world.other in seen.instances


def test_what_ec2_refuses_is_raised(world: World) -> None:
    cloud = FakeCloud(world.ec2)
    cloud.denied = {"DescribeInstances"}
    with pytest.raises(Denied, match="DescribeInstances"):
        look(cloud, SETTINGS, world.question(known="me holder", judged="holder"))


class ThrottledCloud(FakeCloud):
    """Refuses a call for each letter of ``says``, in order, that is an L; answers what is an A, and all in the end."""

    def __init__(self, ec2: FakeEc2, **says: str) -> None:
        super().__init__(ec2, ("sg-1",))
        self._says = {action: iter(letters) for action, letters in says.items()}

    def _refuse(self, action: str) -> None:
        if next(self._says.get(action, iter("")), "A") == "L":
            raise CloudUnavailable(f"{action}: RequestLimitExceeded")

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """Unless it refuses."""
        self._refuse("instances")
        return super().describe_instances(instance_ids)

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """Unless it refuses."""
        self._refuse("enis")
        return super().describe_enis(name)

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """Unless it refuses."""
        self._refuse("subnets")
        return super().describe_subnets()


@pytest.fixture
def _retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "RETRY_AFTER", (0.0, 0.0))
    monkeypatch.setattr(calling, "WRITES_AGAIN_AFTER", ((0.0, 0.0), (0.0, 0.0)))


@pytest.mark.usefixtures("_retries_at_once")
def test_a_call_that_is_throttled_spoils_nothing_of_what_the_others_learned(world: World) -> None:
    """Each is made once more by itself: where every second one is refused, that is one of any two."""
    cloud = ThrottledCloud(world.ec2, enis="LA", instances="LA")
    seen = look(cloud, SETTINGS, world.question(known="me holder", judged="me holder"))
    assert seen.enis[ADDRESS].id == world.eni.id
    assert seen.instances.keys() == {world.me, world.holder}
    assert seen.undescribed == ""
    assert seen.calls == 4


@pytest.mark.usefixtures("_retries_at_once")
def test_where_the_address_is_counts_without_its_holders_instance(world: World) -> None:
    """And that nothing was said of that is told: not to be described is not to be gone."""
    cloud = ThrottledCloud(world.ec2, instances="LL")
    seen = look(cloud, SETTINGS, world.question(known="me holder", judged="me holder"))
    assert (seen.enis[ADDRESS].id, seen.instances) == (world.eni.id, {})
    assert seen.undescribed == "instances: RequestLimitExceeded"


class UnreadCloud(FakeCloud):
    """The only subnet that it shows cannot be read."""

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See above."""
        return (Subnet("subnet-9", (), "", unread="CidrBlock is 7"),)


@pytest.mark.usefixtures("_retries_at_once")
@pytest.mark.parametrize(
    ("cloud", "why"),
    [
        (lambda ec2: ThrottledCloud(ec2, subnets="LL"), "subnets: RequestLimitExceeded"),
        (UnreadCloud, "subnet-9: CidrBlock is 7"),
    ],
    ids=["not told", "cannot be read"],
)
def test_where_the_address_is_counts_without_subnets_that_are_known(
    world: World, cloud: Callable[[FakeEc2], FakeCloud], why: str
) -> None:
    """They are wanted because of another address, perhaps; only at the start nothing can be said without them."""
    question = replace(world.question(known="me holder"), want_subnets=True)
    assert look(NotedCloud(world.ec2), SETTINGS, question).subnets
    seen = look(cloud(world.ec2), SETTINGS, question)
    assert (seen.enis[ADDRESS].id, seen.subnets) == (world.eni.id, None)
    with pytest.raises(CloudUnavailable, match=why):
        look(cloud(world.ec2), SETTINGS, replace(question, need_subnets=True))


class SlowCloud(FakeCloud):
    """Tells no subnets before ``asked_on``."""

    def __init__(self, ec2: FakeEc2, asked_on: threading.Event) -> None:
        super().__init__(ec2, ("sg-1",))
        self._asked_on = asked_on

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See above."""
        assert self._asked_on.wait(PATIENCE)
        return super().describe_subnets()


def test_where_the_address_is_does_not_wait_long_for_subnets_that_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known would be too old to judge by where one kind of question hangs."""
    monkeypatch.setattr(looking, "WANTED_WITHIN", 0.01)
    asked_on = threading.Event()
    question = replace(world.question(known="me holder"), want_subnets=True)
    seen = look(SlowCloud(world.ec2, asked_on), SETTINGS, question)
    asked_on.set()
    assert (seen.enis[ADDRESS].id, seen.subnets) == (world.eni.id, None)


@pytest.mark.usefixtures("_retries_at_once")
def test_without_the_interfaces_there_is_no_answer(world: World) -> None:
    """A call is not made a third time: agents that ask on and on are what a throttled account suffers from."""
    cloud = ThrottledCloud(world.ec2, enis="LLA")
    with pytest.raises(CloudUnavailable, match="RequestLimitExceeded"):
        look(cloud, SETTINGS, world.question(known="me holder"))


def test_a_call_that_hung_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it would wait for twice as long."""
    monkeypatch.setattr(calling, "REFUSED_WITHIN", -1.0)
    with pytest.raises(CloudUnavailable):
        look(ThrottledCloud(world.ec2, enis="LA"), SETTINGS, world.question(known="me holder"))


@dataclass
class Refusing:
    """A write that fails by these, one after the other, and then is made."""

    errors: list[CloudError]
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.usefixtures("_retries_at_once")
@pytest.mark.parametrize("times", [1, 2])
def test_a_write_that_was_throttled_is_made_again(times: int) -> None:
    """Where every second call is throttled, every write after a look would be, without end."""
    write = Refusing([Throttled("RequestLimitExceeded")] * times)
    Calls().insist(write)
    assert write.calls == times + 1


@pytest.mark.usefixtures("_retries_at_once")
@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ([Throttled("RequestLimitExceeded")] * 3, 3),
        ([CloudUnavailable("InternalError")], 1),
        ([LookAgain("IncorrectState")], 1),
    ],
)
def test_no_other_write_is_made_blindly_again(errors: list[CloudError], calls: int) -> None:
    """R8: it may have been made; nor is a throttled account asked a fourth time."""
    write = Refusing(errors)
    with pytest.raises(CloudError):
        Calls().insist(write)
    assert write.calls == calls


def test_a_write_that_was_throttled_late_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was decided on is old by then."""
    monkeypatch.setattr(calling, "THROTTLED_WITHIN", -1.0)
    write = Refusing([Throttled("RequestLimitExceeded")])
    with pytest.raises(Throttled):
        Calls().insist(write)
    assert write.calls == 1
