"""What an agent finds out before the failure, each part by itself and what failed soon again; and when it ends."""

import random
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest

from floatingip.agent.agent import Agent
from floatingip.agent.attaching import Attaching
from floatingip.agent.effects import Rehearse
from floatingip.agent.events import LookFailed, SlotsRehearsed
from floatingip.agent.standing import Standing
from floatingip.agent.standing_eni import StandingEni
from floatingip.core import timing
from floatingip.core.ec2 import Owner, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, Exhausted
from floatingip.core.model import Carry
from floatingip.core.node import Identity
from floatingip.core.peer import Peer
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Snapshot
from floatingip.runtime import performing
from tests.core.nodes import own
from tests.core.told import Told
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

ADDRESS = IPv4Address("10.0.0.100")
SLOTS, RESERVATIONS, PERMISSIONS = "describe_slots", "describe_reservations", "rehearse"


class Failing(FakeCloud):
    """An EC2 that fails the parts of a rehearsal that the test names."""

    failing: dict[str, Exception]

    def __getattribute__(self, name: str) -> Any:
        failing = object.__getattribute__(self, "__dict__").get("failing", {})
        if name in failing:
            raise failing[name]
        return super().__getattribute__(name)


class Node:
    """A worker whose agent rehearses when it is told to; nothing of it runs by itself."""

    def __init__(self, *others: IPv4Address) -> None:
        ec2 = FakeEc2()
        subnet = ec2.add_subnet("10.0.0.0/24")
        subnets = (subnet, *(ec2.add_subnet(str(ip_network(f"{each}/24", strict=False))) for each in others))
        me = ec2.add_instance("10.0.0.10", subnet)
        own = IPv4Address("10.0.0.10")
        identity = Identity(me, "us-west-2", subnet.zone, "vpc-1", subnet.id, "02:00:00:00:00:0a", own, ("sg-1",))
        self.cloud = Failing(ec2, ("sg-1",))
        self.cloud.failing = {}
        settings, chance = Settings((ADDRESS, *others), name="lab", carry=Carry.ADDRESS), random.Random(1).uniform
        self.now = 100.0
        self.agent = Agent(settings, identity, observes=True, started_at=self.now, chance=chance)
        self.told = Told(self.agent._out)
        self.agent._shared.instances.update(self.cloud.describe_instances(frozenset({me})))
        self.agent._shared.subnets = subnets

    def rehearse(self, **failing: Exception) -> str:
        """A minute later, rehearse what is due; what was logged."""
        before = len(self.told.log)
        self.now += timing.REHEARSE_AGAIN
        self.agent._now = self.now
        self.agent._rehearsal.follow(self.now)
        self.cloud.failing = dict(failing)
        for asked in self.told.take():
            if isinstance(asked, Rehearse):
                for event in performing.rehearsed(self.cloud, asked):
                    self.agent._take(event)
        self.cloud.failing = {}
        return self.told.log[before:]

    def look_failed(self, error: CloudError) -> None:
        """EC2 did not answer, and the agent decides."""
        self.agent.handle([LookFailed(error, {})], self.now, 0.0)


@pytest.fixture(name="node")
def _node() -> Node:
    return Node()


def test_a_throttled_reservation_call_does_not_lose_its_warning(node: Node) -> None:
    """Nor the rest of the rehearsal: it is told when it is known, and once."""
    throttled = CloudUnavailable("DescribeSubnetCidrReservations: RequestLimitExceeded")
    assert "hand 10.0.0.100 out" not in node.rehearse(describe_reservations=throttled)
    assert node.agent._shared.slots is not None
    assert "hand 10.0.0.100 out to a pod" in node.rehearse()
    assert node.rehearse() == ""


def test_each_address_that_is_not_reserved_is_told_in_whatever_subnet_it_is() -> None:
    """One subnet after the other, soon, and each once."""
    node = Node(IPv4Address("10.0.1.100"), IPv4Address("10.0.2.100"))
    said = [node.rehearse() for _ in range(4)]
    assert [text.count("out to a pod") for text in said] == [1, 1, 1, 0]
    assert all(f"hand 10.0.{each}.100 out to a pod" in node.told.log for each in range(3))
    assert node.cloud.calls.count("GetSubnetCidrReservations") == len(said) - 1


def test_an_address_whose_subnet_ec2_shows_only_later_is_told_then() -> None:
    """As of a network that is associated with a subnet once the observers run."""
    node = Node(IPv4Address("10.0.1.100"))
    subnets = node.agent._shared.subnets
    assert subnets is not None
    node.agent._shared.subnets = subnets[:1]
    assert "hand 10.0.0.100 out to a pod" in node.rehearse()
    assert node.rehearse() == ""
    node.agent._shared.subnets = subnets
    assert "hand 10.0.1.100 out to a pod" in node.rehearse()


def test_a_subnet_that_is_not_told_of_hides_no_other_one() -> None:
    """It may be another account's, which shares it."""
    node = Node(IPv4Address("10.0.1.100"))
    assert "out to a pod" not in node.rehearse(describe_reservations=Denied("ec2:GetSubnetCidrReservations"))
    assert "hand 10.0.1.100 out to a pod" in node.rehearse()
    assert "hand 10.0.0.100 out to a pod" in node.rehearse()


def test_what_each_address_needs_is_tried_in_whatever_subnet_it_is() -> None:
    """With the standing ENI of one of them, which the role goes by as it does by the others: another one's address may
    be of the other IP version.
    """
    elsewhere = IPv4Address("10.0.1.100")
    node = Node(elsewhere)
    shared = node.agent._shared
    assert shared.subnets is not None
    for number, subnet in enumerate(shared.subnets):
        standing = own(id=f"eni-{number}", subnet_id=subnet.id)
        shared.standings[subnet.id] = Standing(0.0, eni=standing, bound=standing)
    node.agent._rehearsal.follow(node.now)
    (asked,) = [each for each in node.told.take() if isinstance(each, Rehearse)]
    assert asked.eni is not None
    assert (asked.eni.id, asked.targets) == ("eni-0", (ADDRESS, elsewhere))


@pytest.mark.parametrize("part", [SLOTS, PERMISSIONS, RESERVATIONS])
@pytest.mark.parametrize("error", [CloudUnavailable("throttled"), Denied("ec2:DescribeIt")], ids=["failed", "denied"])
def test_each_part_fails_by_itself_and_is_tried_again(node: Node, part: str, error: Exception) -> None:
    """What the others found is known at once; a denial is said once, not with each try."""
    said = [node.rehearse(**{part: error}) for _ in range(2)]
    assert (node.agent._shared.slots is None) is (part == SLOTS)
    assert ("hand 10.0.0.100 out" in said[0]) is (part != RESERVATIONS)
    assert [text.count("IAM denies") for text in said] == ([1, 0] if isinstance(error, Denied) else [0, 0])
    node.rehearse()
    assert node.agent._shared.slots is not None
    assert "hand 10.0.0.100 out" in node.told.log
    assert node.agent._rehearsal._unknown == {}


def test_what_was_found_is_not_asked_again_at_once(node: Node) -> None:
    """Only the part that failed."""
    node.rehearse(describe_reservations=CloudUnavailable("throttled"))
    node.cloud.calls.clear()
    node.rehearse()
    assert node.cloud.calls == ["GetSubnetCidrReservations"]


def test_an_answer_from_before_a_takeover_does_not_count_the_slots(node: Node) -> None:
    """The rehearsal asked before the ENI was attached."""
    node.agent._shared.slots_change(node.now)
    node.agent._take(SlotsRehearsed(3, dict(node.agent._shared.instances), node.now))
    assert node.agent._shared.slots_changed_at is not None


def test_attach_leaves_to_observe_what_does_not_come_in_two_minutes(node: Node) -> None:
    """Whatever it is: the pod's other container goes on, and is not kept waiting for ever."""
    address = node.agent._addresses[ADDRESS]
    address.where.owner = Owner(node.now, None)
    attach = Attaching([address], {}, node.agent._shared, node.told.out, node.now)
    assert not attach.has_ended(node.now + timing.ATTACH_AT_MOST)
    assert attach.has_ended(node.now + timing.ATTACH_AT_MOST + 1.0)
    assert attach.failure() is None
    assert "level=warning event=attach" in node.told.log


@pytest.mark.parametrize("refused", ["its own", "another"])
def test_a_standing_eni_that_ec2_refuses_concerns_the_addresses_of_its_subnet_only(node: Node, refused: str) -> None:
    """An address elsewhere can be served all the same."""
    address, shared, out = node.agent._addresses[ADDRESS], node.agent._shared, node.told.out
    address.where.owner = Owner(node.now, None)
    [own] = shared.subnets or ()
    subnet = own if refused == "its own" else Subnet("subnet-other", (ip_network("10.0.1.0/24"),), own.zone)
    standing = StandingEni(subnet, shared, out, now=node.now, chance=random.Random(1).uniform)
    standing.writing.final = error = CloudError("CreateNetworkInterface: OptInRequired")
    attach = Attaching([address], {subnet.id: standing}, shared, out, node.now)
    assert attach.failure() is (error if refused == "its own" else None)


def test_what_is_exhausted_is_waited_for(node: Node) -> None:
    """Pods end, and their addresses are free: by the address' own interface, or by this node's standing one."""
    address, shared, out = node.agent._addresses[ADDRESS], node.agent._shared, node.told.out
    address.where.owner = Owner(node.now, None)
    [subnet] = shared.subnets or ()
    standing = StandingEni(subnet, shared, out, now=node.now, chance=random.Random(1).uniform)
    error = Exhausted("CreateNetworkInterface: InsufficientFreeAddressesInSubnet")
    address.fail(error)
    standing.writing.final = error
    attach = Attaching([address], {subnet.id: standing}, shared, out, node.now)
    assert not attach.has_ended(node.now + timing.ATTACH_AT_MOST)
    assert attach.failure() is None


# Who else is there.


def snapshot(node: Node) -> Snapshot:
    """What the agent would publish now."""
    told = node.agent._publishing.follow(node.agent._now, 0.0, tick=True)
    assert told is not None
    return told


def test_a_node_that_hears_of_no_other_observer_says_so_and_again_while_it_lasts(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is to the address; its readiness notes it, and the holder's metric shows it."""
    heard: list[Peer] = []
    monkeypatch.setattr(node.agent._peers, "others", lambda name: tuple(heard))

    def at(seconds: float, *peers: Peer) -> str:
        heard[:] = peers
        node.agent._now, before = 1e6 + seconds, len(node.told.log)
        node.agent._company.warn_when_short(node.agent._now)
        return node.told.log[before:]

    assert at(0.0) + at(timing.SHORT_FOR - 1.0) == ""
    assert snapshot(node).note == ""
    assert "level=warning event=alone" in at(timing.SHORT_FOR + 1.0)
    assert snapshot(node).note.startswith("no other observer answers on TCP 9807: nobody would take over; run two")
    assert at(timing.SHORT_FOR + 60.0) == ""
    assert "nobody would take over" in at(timing.SHORT_FOR + 602.0)
    silent_since = 1e6 + timing.SHORT_FOR + 610.0
    assert "event=alone" in at(timing.SHORT_FOR + 611.0, Peer("i-c", silent_since))
    assert snapshot(node).note == ""
    assert at(timing.SHORT_FOR + 650.0, Peer("i-c", silent_since)) == ""
    assert "level=warning event=alone" in at(timing.SHORT_FOR + 690.0, Peer("i-c", silent_since))


def test_that_ec2_does_not_answer_is_told_with_the_last_failure(node: Node) -> None:
    """Where the log names it, readiness does, too; until an answer comes."""
    node.look_failed(CloudUnavailable("DescribeNetworkInterfaces: RequestLimitExceeded"))
    told = snapshot(node).not_ready()
    assert "EC2 has not answered yet: DescribeNetworkInterfaces: RequestLimitExceeded" in told
    node.look_failed(Denied("ec2:DescribeInstances"))
    assert "EC2 has not answered yet: IAM denies ec2:DescribeInstances" in snapshot(node).not_ready()
