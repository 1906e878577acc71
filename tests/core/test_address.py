"""One address on one node: what is probed, what is asked of EC2 for it, and what changes this node's slots."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.core import timing
from floatingip.core.decision.decision import Reason
from floatingip.core.ec2 import ALLOCATION_TAG, OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import Health
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.peer import WordState
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.word import Answer, Held, Status
from floatingip.core.writes import SetGroups
from tests.core.nodes import (
    ADDRESS,
    ELASTIC,
    IDENTITY,
    IPV6,
    ME,
    NAME,
    NOTHING,
    OTHER,
    SOUND,
    WITHOUT_NFT,
    Node,
    eni,
    facts,
    instance,
    now,
    sharing,
)
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

# What is probed.


def probed(made: Node) -> set[Address]:
    """Where probes go, once it is known that they would leave the node."""
    made.found(NOTHING)
    return {probing.address for probing in made.address.answers.probings()}


@pytest.mark.parametrize(
    ("target", "shown", "where"),
    [
        (IPV6, eni(IPV6, OTHER), {IPV6}),
        (ELASTIC, eni(ELASTIC, OTHER), {IPv4Address("10.0.0.50")}),
        (ELASTIC, None, set()),
    ],
    ids=["IPv6", "Elastic IP", "Elastic IP without an ENI"],
)
def test_what_is_carried_is_probed(target: Target, shown: Eni | None, where: set[Address]) -> None:
    """Neither the IPv4 address of an IPv6 address' ENI, nor the allocation."""
    made = Node(target)
    made.looked(shown)
    assert probed(made) == where


def test_another_eni_of_the_elastic_ip_is_probed_instead() -> None:
    """Somebody deleted the first one; it is not probed any more."""
    made = Node(ELASTIC)
    made.looked(eni(ELASTIC, OTHER))
    assert probed(made) == {IPv4Address("10.0.0.50")}
    (before,) = made.address.answers.probings()
    made.looked(eni(ELASTIC, OTHER, id="eni-2", address=IPv4Address("10.0.0.51")))
    assert probed(made) == {IPv4Address("10.0.0.51")}
    assert not made.address.answers.probed(before, ProbeResult(now(), now(), ProbeOutcome.ANSWERED)), (
        "that is no news any more"
    )
    assert made.address.answers.health == Health("a1")


# The holder's word.


def test_since_is_when_the_word_became_what_it_is() -> None:
    """Three seconds of unsound are counted from the first such answer; another attachment begins anew."""
    made = Node()

    def word(problem: str, attachment: str, at: float) -> tuple[WordState, float]:
        bound = Attachment(attachment, OTHER, 1, AttachmentStatus.ATTACHED)
        made.address.where.owner = Owner(at, eni(attachment=bound))
        status = Status(NAME, OTHER, holds={str(ADDRESS): Held(attachment, problem)})
        made.address.hear(Answer(at, at, status), at)
        return made.address.hearing.word.state, made.address.hearing.word.since

    assert word("", "a1", 100.0) == (WordState.SOUND, 100.0)
    assert word("", "a1", 105.0) == (WordState.SOUND, 100.0)
    assert word("nft is missing", "a1", 107.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a1", 110.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a2", 111.0) == (WordState.UNSOUND, 111.0)


def test_what_was_said_before_this_node_stood_still_counts_no_more() -> None:
    """Neither that the holder is well, nor that it is not and has been for long; that it said nothing still does."""
    made = Node()
    made.looked(eni(holder=OTHER))

    def word(answer: Answer, at: float) -> tuple[WordState, float]:
        made.address.hear(answer, at)
        return made.address.hearing.word.state, made.address.hearing.word.since

    unsound = Answer(100.0, 100.1, Status(NAME, OTHER, holds={str(ADDRESS): Held("a1", "nft is missing")}))
    assert word(unsound, 100.1) == (WordState.UNSOUND, 100.1)
    assert word(unsound, 160.0) == (WordState.UNASKED, 160.0)
    assert word(replace(unsound, asked_at=160.0), 160.1) == (WordState.UNSOUND, 160.1)
    assert word(Answer(170.0, 170.5, None), 170.5) == (WordState.SILENT, 170.5)
    assert word(Answer(170.0, 170.5, None), 190.0) == (WordState.SILENT, 170.5)


def test_a_holder_without_an_address_is_silent() -> None:
    """EC2 shows none for a terminated instance: it cannot be asked."""
    made = Node()
    made.looked(eni(holder=OTHER))
    states = []
    for address in ("10.0.0.10", None):
        made.shared.instances[OTHER] = instance(OTHER, address=address)
        made.address.hear(None, now())
        states.append(made.address.hearing.word.state)
    assert states == [WordState.UNASKED, WordState.SILENT]


# What is asked of EC2.


class Vpc:
    """A model EC2 with a subnet and two workers, and nodes that believe that they are these."""

    def __init__(self) -> None:
        self.ec2 = FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.ids = [self.ec2.add_instance(f"10.0.0.{last}", self.subnet) for last in (10, 11)]

    def node(self, number: int, target: Target = ADDRESS, name: str = NAME, **settings: object) -> Node:
        """A worker that knows its VPC."""
        me = replace(IDENTITY, instance_id=self.ids[number], subnet_id=self.subnet.id)
        shared = sharing(target, me=me, name=name, **settings)
        shared.subnets = (self.subnet,)
        made = Node(target, shared=shared, cloud=FakeCloud(self.ec2, ("sg-1",)))
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
def _vpc() -> Vpc:
    return Vpc()


def test_two_nodes_that_create_at_once_make_one_eni(vpc: Vpc) -> None:
    """For an allocation, too, which EC2 itself would allow any number of interfaces."""
    for number in (0, 1):
        vpc.create(vpc.node(number, ELASTIC))
    (made,) = vpc.ours()
    assert made.has(ELASTIC)


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
    for number, index in enumerate((1, 4)):
        made = vpc.node(number, IPv4Address(f"10.0.0.{100 + number}"), device_index=index)
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
    second = Node(IPV6, shared=made.shared)
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
    made.step()
    assert made.address.burdens(), "EC2 has made it, and not shown it yet"
    made.looked(vpc.ours()[0])
    assert made.address.burdens(), "EC2 shows it here"


def test_an_unplumbed_report_is_told_with_what_was_removed() -> None:
    """One line, with the address it is about in the agent's log."""
    made = Node()
    made.address.reconciled(PlumbingReport(PlumbingState.NO_LINK, removed=("marks", "rule")), now())
    assert "event=unplumbed removed=marks,rule" in made.told.log


def test_the_holder_tells_its_problem_and_nothing_when_it_is_well(vpc: Vpc) -> None:
    """That sentence is what the others judge it by."""
    made = vpc.node(0)
    made.looked(eni(holder=vpc.ids[0]))
    assert made.found(SOUND) == Reason.HELD_HERE.name
    assert made.address.held() == Held("a1")
    assert made.found(WITHOUT_NFT) == Reason.UNSOUND_HERE.name
    held = made.address.held()
    assert held is not None
    assert "nft is missing" in held.problem


@pytest.mark.parametrize("holders", [(None, ME), (ME, OTHER), (ME, None)])
def test_an_eni_that_comes_or_goes_changes_the_slots(holders: tuple[str | None, str | None]) -> None:
    """Whoever attached or detached it; what happens between others does not."""
    made = Node()
    for holder in holders:
        made.shared.slots_changed_at = None
        made.looked(eni(holder=holder or ""))
    assert made.shared.slots_changed_at is not None
    made.shared.slots_changed_at = None
    made.looked(eni(holder=OTHER))
    made.looked(None)
    assert holders[1] == ME or made.shared.slots_changed_at is None


def test_a_detached_attachment_is_none_wherever_it_is_asked_for() -> None:
    """EC2 may show one for a moment: the ENI is free."""
    made = Node()
    shown = eni(holder=OTHER)
    assert shown.attachment is not None
    made.looked(replace(shown, attachment=replace(shown.attachment, status=AttachmentStatus.DETACHED)))
    assert made.address.where.attachment() is None
    assert made.address.where.holder() == ""
    assert made.step() == "FREE"


# An ENI that somebody else made, as the original sample did.


@pytest.mark.parametrize("is_set", [False, True], ids=["by default", "by the settings"])
@pytest.mark.parametrize("name", ["", "web", f"floatingip {NAME} {ADDRESS}"], ids=["nameless", "named", "ours"])
def test_an_adopted_eni_keeps_its_security_groups_until_the_settings_name_others(name: str, is_set: bool) -> None:
    """One of our own making has this node's at any rate."""
    made = Node(shared=sharing(ADDRESS, security_groups=("sg-1",) if is_set else ()))
    shown = eni(holder=ME, security_groups=("sg-9",))
    made.looked(replace(shown, tags={**shown.tags, **({"Name": name} if name else {})}))
    assert made.found(SOUND) == "HELD_HERE"
    is_ours = name.startswith("floatingip ")
    assert made.address.decision.write == (SetGroups("eni-1", ("sg-1",)) if is_set or is_ours else None)
