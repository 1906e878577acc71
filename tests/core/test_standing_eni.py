"""A node's standing ENI on the model EC2: what is written for it, and what the rest of the agent learns of it."""

import random
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Clear, Perform
from floatingip.agent.looks import Seen
from floatingip.agent.shared import Shared
from floatingip.agent.standing_eni import StandingEni
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Eni
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.node import Identity
from floatingip.core.settings import Settings
from floatingip.core.writes import Unassign
from floatingip.runtime import performing
from floatingip.runtime.calls import Calls
from tests.core.nodes import eni
from tests.core.told import Told
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

NAME, ADDRESS, ELASTIC = "cluster", IPv4Address("10.0.0.100"), Allocation("eipalloc-0123abcd")


class Node:
    """A worker that keeps its standing ENI."""

    def __init__(self, ec2: FakeEc2 | None = None, last: int = 10) -> None:
        self.ec2 = ec2 or FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24") if ec2 is None else next(iter(self.ec2.subnets.values()))
        self.me = self.ec2.add_instance(f"10.0.0.{last}", self.subnet)
        own = IPv4Address(f"10.0.0.{last}")
        identity = Identity(self.me, "us-west-2", self.subnet.zone, "vpc-1", self.subnet.id, "02:", own, ("sg-1",))
        self.settings = Settings((ADDRESS, ELASTIC), name=NAME, carry=Carry.ADDRESS)
        self.shared = Shared(identity, self.settings, subnets=(self.subnet,))
        self.cloud = FakeCloud(self.ec2, ("sg-1",))
        self.device: bool | None = True
        self.told = Told()
        self.now = 100.0
        self.start()

    def start(self) -> None:
        """A new process."""
        chance = random.Random(1).uniform
        self.standing = StandingEni(self.subnet, self.shared, self.told.out, now=self.now, chance=chance)

    def look(self, *, holds: bool = False, served: frozenset[Target] = frozenset({ELASTIC})) -> None:
        """A second later EC2 is asked, and what was decided is done."""
        self.now += 1.0
        self.shared.instances.update(self.cloud.describe_instances(frozenset({self.me})))
        standing = tuple(eni for eni in self.cloud.describe_enis(NAME) if eni.standing_for)
        instances = self.cloud.describe_instances(frozenset(eni.standing_for for eni in standing))
        enis = dict.fromkeys(served, eni())
        self.standing.looked(Seen(self.now, enis, standing, instances=instances))
        self.standing.step(now=self.now, holds=holds, device=self.device)
        for asked in self.told.performs():
            self.standing.writing.wrote(
                performing.wrote(self.cloud, self.me, asked, Calls(), lambda: self.now), self.now
            )

    def ours(self) -> list[Eni]:
        """All standing ENIs."""
        return [eni for eni in self.ec2.state.enis.values() if eni.standing_for]


@pytest.fixture(name="node")
def _node() -> Node:
    """A worker whose standing ENI is there."""
    node = Node()
    for _ in range(3):
        node.look()
    return node


def test_the_standing_eni_is_tagged_from_the_first_moment_and_attached(node: Node) -> None:
    """Ours, this node's, and none of the VPC CNI's business."""
    (eni,) = node.ours()
    assert eni.tags == {
        "Name": f"floatingip {NAME} standing {node.me}",
        OWNER_TAG: NAME,
        STANDING_TAG: node.me,
        "node.k8s.amazonaws.com/no_manage": "true",
    }
    assert eni.attachment is not None
    assert eni.attachment.instance_id == node.me
    assert not eni.delete_on_termination
    assert node.shared.standings[node.subnet.id].eni == eni
    assert "the standing ENI is attached" in node.told.log


def test_a_new_process_finds_it_again(node: Node) -> None:
    """As often as it starts: never a second one."""
    for _ in range(3):
        node.start()
        node.look()
        assert node.standing.now.eni == node.ours()[0]
    assert len(node.ours()) == 1


def test_two_nodes_have_one_each(node: Node) -> None:
    """Their tokens differ."""
    other = Node(node.ec2, 11)
    for _ in range(3):
        other.look()
    assert {eni.standing_for for eni in node.ours()} == {node.me, other.me}


def test_a_node_of_another_zone_says_so_and_makes_none() -> None:
    """An ENI cannot leave its zone."""
    node = Node()
    node.shared.me = replace(node.shared.me, zone="us-west-2-lax-1b")
    node.look()
    assert node.ours() == []
    assert node.standing.now.problem == (
        f"{node.subnet.id} is in zone us-west-2-lax-1a, this node is in zone us-west-2-lax-1b"
    )


def test_where_the_other_way_to_carry_is_found_none_is_made() -> None:
    """Nor while the name is not known."""
    for mixed, name in (("eni-9", NAME), ("", "")):
        node = Node()
        node.shared.mixed, node.shared.name = mixed, name
        node.look()
        assert node.ours() == []


def test_a_full_instance_is_not_tried_again_at_once() -> None:
    """The VPC CNI has taken its slots; the obstacle names the remedy."""
    node = Node()
    for number in range(2):
        taken = node.cloud.create_eni(None, node.subnet, {}, f"{number}")
        node.cloud.attach_eni(taken.id, node.me, frozenset())
    node.look()
    node.look()
    node.look()
    assert node.cloud.calls.count("AttachNetworkInterface") == 2 + 1
    assert "no free ENI slot" in node.standing.now.problem
    assert "MAX_ENI" in node.standing.now.problem


def test_a_spare_address_is_one_that_neither_is_floating_nor_has_an_elastic_ip(node: Node) -> None:
    """And while an Elastic IP has no ENI yet, none is."""
    (eni,) = node.ours()
    node.cloud.assign(eni.id, ADDRESS, reassign=False)
    node.cloud.assign_any(eni.id)
    spare = node.ours()[0].secondary[1]
    node.look()
    assert node.standing._spares() == (Unassign(eni.id, spare),)
    node.look(served=frozenset())
    assert node.standing._spares() == ()


def test_what_is_given_back_to_ec2_is_taken_off_the_kernel_before(node: Node) -> None:
    """An address that FLOATING_IP named before this process began: a pod of this node may get it as soon as EC2 has it,
    also where EC2's answer is lost.
    """
    (eni,) = node.ours()
    former = IPv4Address("10.0.0.101")
    node.cloud.assign(eni.id, former, reassign=False)
    for _ in range(200):
        node.look()
    assert former not in node.ours()[0].secondary
    cleared, given_back = [effect for effect in node.told.effects if isinstance(effect, Clear | Perform)][-2:]
    assert isinstance(given_back, Perform)
    assert given_back.write == Unassign(eni.id, former)
    assert isinstance(cleared, Clear)
    assert (cleared.plumbing.address, cleared.plumbing.mac) == (former, eni.mac)
    taken = range(node.settings.table, node.settings.table + len(node.settings.floating_ips))
    assert cleared.plumbing.table not in taken, "the numbers of what is kept"


@pytest.mark.parametrize("is_set", [False, True], ids=["by default", "by the settings"])
def test_a_standing_eni_that_somebody_else_made_has_the_groups_that_the_settings_name_or_its_own(is_set: bool) -> None:
    """Whoever made it chose them."""
    node = Node()
    node.shared.settings = replace(node.settings, security_groups=("sg-1",) if is_set else ())
    made = FakeCloud(node.ec2, ("sg-9",)).create_eni(
        None, node.subnet, {OWNER_TAG: NAME, STANDING_TAG: node.me}, "by hand"
    )
    node.cloud.attach_eni(made.id, node.me, frozenset())
    for _ in range(3):
        node.look()
    (eni,) = node.ours()
    assert eni.security_groups == (("sg-1",) if is_set else ("sg-9",))
