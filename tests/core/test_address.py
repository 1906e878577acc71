"""One address on one node: what is probed, what is asked of EC2 for it, and what is told of it."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from floatingip.agent.effects import Moved, Probing
from floatingip.agent.shared import Shared
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, Rule, State
from floatingip.core.ec2 import ALLOCATION_TAG, OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.move import Result
from floatingip.core.peer import WordState
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.snapshot import Lack
from floatingip.core.word import Answer, Held, Status
from floatingip.core.writes import SetGroups
from tests.core.nodes import (
    ADDRESS,
    ELASTIC,
    IDENTITY,
    IPV6,
    ME,
    NAME,
    OTHER,
    WALL,
    Node,
    eni,
    facts,
    instance,
    mover,
    now,
    others,
)
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

SOUND, NO_LINK = PlumbingReport(PlumbingState.SOUND), PlumbingReport(PlumbingState.NO_LINK)
NOTHING = PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING)
WITHOUT_NFT = PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing")
"""What a node finds in its kernel."""


def held_by(holder: str, report: PlumbingReport, **told: Any) -> Node:
    """A node to which EC2 has shown this holder, and that has found this in its kernel."""
    made = Node(**told)
    made.looked(eni(holder=holder))
    made.found(report)
    return made


# What is probed.


def probed(made: Node) -> set[Address]:
    """Where probes go, once it is known that they would leave the node."""
    made.found(NOTHING)
    return {probing.address for probing in made.address.seeing.answers.probings()}


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
    (before,) = made.address.seeing.answers.probings()
    made.looked(eni(ELASTIC, OTHER, id="eni-2", address=IPv4Address("10.0.0.51")))
    assert probed(made) == {IPv4Address("10.0.0.51")}
    assert not made.address.seeing.answers.probed(before, ProbeResult(now(), now(), ProbeOutcome.ANSWERED)), (
        "that is no news any more"
    )
    assert made.address.seeing.health == Health("a1")


# The holder's word.


def test_since_is_when_the_word_became_what_it_is() -> None:
    """Three seconds of unsound are counted from the first such answer; another attachment begins anew."""
    made = Node()

    def word(problem: str, attachment: str, at: float) -> tuple[WordState, float]:
        bound = Attachment(attachment, OTHER, 1, AttachmentStatus.ATTACHED)
        made.address.where.owner = Owner(at, eni(attachment=bound))
        status = Status(NAME, OTHER, holds={str(ADDRESS): Held(attachment, problem)})
        made.address.hear(Answer(at, at, status), at)
        return made.address.seeing.word.state, made.address.seeing.word.since

    assert word("", "a1", 100.0) == (WordState.SOUND, 100.0)
    assert word("", "a1", 105.0) == (WordState.SOUND, 100.0)
    assert word("nft is missing", "a1", 107.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a1", 110.0) == (WordState.UNSOUND, 107.0)
    assert word("nft is missing", "a2", 111.0) == (WordState.UNSOUND, 111.0)


def test_a_holder_without_an_address_is_silent() -> None:
    """EC2 shows none for a terminated instance: it cannot be asked."""
    made = Node()
    made.looked(eni(holder=OTHER))
    states = []
    for address in ("10.0.0.10", None):
        made.shared.instances[OTHER] = instance(OTHER, address=address)
        made.address.hear(None, now())
        states.append(made.address.seeing.word.state)
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
        shared = Shared(me, name, ("sg-1",), Carry.ENI, subnets=(self.subnet,))
        chosen = Settings((target,), **settings)  # type: ignore[arg-type]  # the test names settings
        made = Node(target, shared=shared, settings=chosen, cloud=FakeCloud(self.ec2, ("sg-1",)))
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
    assert made.carries(ELASTIC)


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


# Whether this node can see the address at all.

ELSEWHERE = "10.0.0.100/32 is on kube-ipvs0 of this node, so 10.0.0.100 cannot be probed from here"
BLIND = replace(NOTHING, blind=ELSEWHERE)


def probes(made: Node) -> bool:
    """Whether probes are sent."""
    return bool(made.address.seeing.answers.probings())


def results(made: Node, outcome: ProbeOutcome, *, at: float, detail: str = "") -> None:
    """Two probes with this outcome, which is enough for UP."""
    for sent_at in (at, at + 0.1):
        probing = Probing(str(made.target), ADDRESS, 0.5, 0.1)
        made.address.seeing.answers.probed(probing, ProbeResult(sent_at, sent_at + 0.01, outcome, detail))


def test_nothing_is_probed_before_it_is_known_that_it_would_leave() -> None:
    """A probe that hears its own node sees the address UP for ever."""
    made = Node()
    made.looked(eni(holder=OTHER))
    made.step()
    assert not probes(made), "the kernel was not asked yet"
    assert not probes(held_by(OTHER, BLIND))
    assert probes(held_by(OTHER, NOTHING))


def test_a_node_that_goes_blind_says_so_and_forgets_what_it_saw() -> None:
    """Else it would tell the others for ever that it sees the address UP, and hold their takeover up."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    assert made.address.sees_up()
    assert made.address.not_ready() == ""
    made.found(BLIND)
    results(made, ProbeOutcome.ANSWERED, at=made.address.now - 1.0)
    assert (made.address.seeing.health.state, made.address.sees_up(), probes(made)) == (HealthState.INIT, "", False)
    assert made.address.not_ready() == ELSEWHERE
    made.found(NOTHING)
    assert (made.address.not_ready(), probes(made)) == ("", True)
    assert "10.0.0.100 can be probed from here again" in made.told.log


def test_a_blind_node_is_told_as_an_error_and_again_while_it_lasts() -> None:
    """Not with each decision."""
    made = held_by(OTHER, BLIND)
    for seconds in (0.0, 0.0, timing.SAID_AGAIN):
        now.go_on(seconds)
        made.step()
    assert made.told.log.count("level=error event=blind") == 2


def test_a_holder_is_never_blind() -> None:
    """It has the address itself, wherever else it is."""
    made = held_by(OTHER, BLIND)
    made.address.reconciled(SOUND, now())
    made.looked(eni(holder=ME))
    made.step()
    assert made.address.blind() == ""


def test_probes_that_cannot_be_sent_for_long_make_a_node_blind() -> None:
    """Whatever the cause; one that is over by then does not, nor does one long ago."""
    made = held_by(OTHER, NOTHING)
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 0.9 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.not_ready() == ""
    assert made.address.sees_up()
    results(made, ProbeOutcome.ANSWERED, at=now())
    results(made, ProbeOutcome.FAILED_HERE, at=now() - 1.1 * timing.UNSENT_FOR, detail="Operation not permitted")
    made.step()
    assert made.address.not_ready().startswith("10.0.0.100 cannot be probed from here: Operation not permitted; ")
    assert (made.address.sees_up(), probes(made)) == ("", True)
    results(made, ProbeOutcome.ANSWERED, at=now())
    made.step()
    assert made.address.not_ready() == ""


@pytest.mark.parametrize(("make", "shown"), [(Node, eni(holder=OTHER)), (mover, others(ADDRESS))], ids=list(Carry))
def test_a_standby_is_not_ready_while_what_is_plumbed_ahead_is_not_sound(make: Callable[[], Node], shown: Eni) -> None:
    """It would not carry the address any better than that."""
    said = "forwarding: net.ipv4.ip_forward is 0"
    made = make()
    made.looked(shown)
    made.found(PlumbingReport(PlumbingState.UNSOUND, problem=said, extent=Extent.AHEAD))
    assert made.address.not_ready() == f"this node could not carry the address: {said}"


# This instance's slots: an answer says nothing of what changed after it was asked for.


def test_slots_are_known_again_by_an_answer_to_a_later_question() -> None:
    """A look that overlaps a takeover shows the slots from before it."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, slots=3)
    asked_before = now()
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.describe({OTHER: instance(OTHER, 0)}, now())
    seen_before = shared.slots_changed_at
    shared.describe({ME: instance(ME, 0, 1)}, now())
    assert [seen is None for seen in (seen_before, shared.slots_changed_at)] == [False, True]
    assert shared.free_slots() == 1


def test_an_old_answer_does_not_undo_what_a_newer_one_showed() -> None:
    """The rehearsal's, which was asked for before the takeover and came after it."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, slots=3)
    asked_before = now()
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0, 1)}, now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    assert shared.free_slots() == 1


def test_instances_that_nobody_needs_any_more_are_forgotten() -> None:
    """But for this node's, and for a former holder's for a while: what is logged of a move names its node."""
    shared = Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI)
    shared.describe({each: instance(each) for each in (ME, OTHER, "i-0holder")}, 0.0)
    for at in (1.0, timing.INSTANCE_KEPT - 1.0, timing.INSTANCE_KEPT + 1.0):
        shared.forget({ME, "i-0holder"}, at)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT + 2.0)
    assert shared.instances.keys() == {ME}


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


def test_what_only_a_person_can_mend_is_told_as_an_error_and_again_while_it_lasts() -> None:
    """Not with each decision."""
    made = Node()
    taken = replace(made.address.decision, reason=Reason.TAKEN, detail="in use")
    for at in (0.0, 1.0, 2.0, timing.SAID_AGAIN):
        made.address._telling.decided(taken, taken, "", "none", at, WALL)
    assert made.told.log.count("level=error event=taken") == 2


# An ENI that somebody else made, as the original sample did.


@pytest.mark.parametrize("is_set", [False, True], ids=["by default", "by the settings"])
@pytest.mark.parametrize("name", ["", "web", f"floatingip {NAME} {ADDRESS}"], ids=["nameless", "named", "ours"])
def test_an_adopted_eni_keeps_its_security_groups_until_the_settings_name_others(name: str, is_set: bool) -> None:
    """One of our own making has this node's at any rate."""
    made = Node(shared=Shared(IDENTITY, NAME, ("sg-1",), Carry.ENI, groups_are_set=is_set))
    shown = eni(holder=ME, security_groups=("sg-9",))
    made.looked(replace(shown, tags={**shown.tags, **({"Name": name} if name else {})}))
    assert made.found(SOUND) == "HELD_HERE"
    is_ours = name.startswith("floatingip ")
    assert made.address.decision.write == (SetGroups("eni-1", ("sg-1",)) if is_set or is_ours else None)


# What is told of a holder, of a move that came to nothing, and of a node that could not serve.


def test_what_was_lost_before_the_address_came_is_nothing_of_the_holders() -> None:
    """It does not probe any more: whether the address answers is not known here, and is no doubt."""
    made = Node()
    made.looked(eni(holder=ME))
    made.address.seeing.answers.health = Health("a1", HealthState.DOWN, 11, 1.0, 2.0)
    made.address.seeing.answers.services = {30007: Health("a1", HealthState.DOWN, 11, 1.0, 2.0)}
    assert made.found(SOUND) == "HELD_HERE"
    assert (made.address.seeing.health, made.address.seeing.answers.services) == (Health("a1"), {30007: Health("a1")})
    assert made.address.is_calm()


@pytest.mark.parametrize(
    ("address", "port", "own", "told"),
    [
        (HealthState.UP, HealthState.DOWN, True, 1),
        (HealthState.UP, HealthState.UP, True, 0),
        (HealthState.UP, HealthState.DOWN, False, 0),
        (HealthState.DOWN, HealthState.DOWN, True, 0),
    ],
    ids=["astray", "well", "nowhere", "down"],
)
def test_packets_that_go_astray_on_the_holder_are_told(
    monkeypatch: pytest.MonkeyPatch, address: HealthState, port: HealthState, own: bool, told: int
) -> None:
    """Once, with where to look: its NodePort answers at the node's own address, and not at the floating one."""
    monkeypatch.setattr(timing, "ASTRAY_FOR", 0.0)
    made = Node()
    made.looked(eni(holder=OTHER))
    made.address.reconciled(NO_LINK, now())
    made.address.seeing.answers.health = Health("a1", address, 9)
    made.address.seeing.answers.services = {30007: Health("a1", port, 9)}
    made.shared.served = {OTHER: {30007: own}}
    made.step()
    made.step()
    assert made.told.log.count("level=warning event=astray") == told
    assert ("but not at 10.0.0.100: 30007" in made.told.log) == bool(told)


@pytest.mark.parametrize(
    ("holder", "level", "event", "said", "result"),
    [
        ("i-c", "info", "lost-race", "i-c has the address now", Result.LOST_RACE),
        (OTHER, "info", "not-moved", f"{OTHER} has kept the address", Result.KEPT),
        ("", "warning", "not-moved", f"this node cannot take the address: {ME} has no free ENI slot", Result.FAILED),
    ],
    ids=["another", "the same", "nobody"],
)
def test_a_move_that_came_to_nothing_is_told_with_its_cause(
    holder: str, level: str, event: str, said: str, result: Result
) -> None:
    """A race is lost to somebody; where nobody could take the address, that is what is said."""
    made = Node()
    judged = Attachment("a1", OTHER, 1, AttachmentStatus.ATTACHED)
    made.address.moves.begin(replace(made.address.decision, rule=Rule.R3), judged, None, now())
    before = len(made.told.log)
    made.shared.slots = 1
    made.looked(eni(holder=holder))
    made.step()
    (line,) = [line for line in made.told.log[before:].splitlines() if "rule=R3" in line]
    assert f"level={level} event={event} " in line
    assert said in line
    [moved] = [effect for effect in made.told.effects if isinstance(effect, Moved)]
    assert (moved.move.address, moved.move.rule, moved.move.result) == (str(ADDRESS), "R3", result)


def test_why_a_node_is_not_ready_has_a_name() -> None:
    """One of few, for those who count; the very words are for people."""
    made = Node()
    shared, address = made.shared, made.address

    def lack() -> str:
        found = address.shortcoming().name
        assert bool(found) is bool(address.not_ready())
        return found

    made.step()
    assert lack() == "EC2_SILENT"
    made.looked(eni(holder=OTHER))
    made.found(NO_LINK)
    assert lack() == ""
    shared.denied = ("ec2:CreateTags",)
    assert lack() == Lack.DENIED
    address.reconciled(PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing", extent=Extent.AHEAD), now())
    assert lack() == Lack.UNSOUND
    made.found(PlumbingReport(PlumbingState.NO_LINK, blind="a rule of others"))
    assert lack() == Lack.BLIND
    shared.slots = 1
    assert lack() == Lack.NO_ROOM
    shared.denied = ("ec2:AttachNetworkInterface",)
    assert lack() == Lack.DENIED
    subnets, shared.subnets = shared.subnets, ()
    assert lack() == Lack.IMPOSSIBLE
    shared.subnets = None
    assert lack() == Lack.SUBNET_UNKNOWN
    shared.subnets = subnets
    made.looked(eni(holder=ME))
    made.found(PlumbingReport(PlumbingState.SOUND, kept_off="nodePortAddresses"))
    assert lack() == Lack.KEPT_OFF


@pytest.mark.parametrize("carry", list(Carry))
def test_a_node_that_lost_the_address_for_being_unsound_is_not_ready(carry: Carry) -> None:
    """With the cause: it would be of no use as a holder again."""
    made = held_by(ME, WITHOUT_NFT, settings=Settings((ADDRESS,), carry=carry))
    made.step()
    made.looked(eni(holder=OTHER, attachment=Attachment("a2", OTHER, 1, AttachmentStatus.ATTACHED)))
    made.found(NOTHING)
    assert made.address.decision.state is State.STANDBY
    assert "nft is missing" in made.address.not_ready()
    made.looked(eni(holder=ME, attachment=Attachment("a3", ME, 1, AttachmentStatus.ATTACHED)))
    made.found(SOUND)
    assert made.address.not_ready() == ""


def test_while_ec2_gives_no_answer_its_last_failure_is_why_the_node_is_not_ready() -> None:
    """As far as it is known."""
    made = Node()
    made.step()
    assert made.address.not_ready() == "EC2 has not answered yet"
    made.shared.unanswered = "IAM denies ec2:DescribeNetworkInterfaces"
    assert made.address.not_ready() == "EC2 has not answered yet: IAM denies ec2:DescribeNetworkInterfaces"


@pytest.mark.parametrize(
    ("state", "reason", "level"),
    [
        (State.DOUBT, Reason.CANNOT_CLAIM, "warning"),
        (State.DOUBT, Reason.RATIONED, "warning"),
        (State.DOUBT, Reason.PAUSED, "warning"),
        (State.STANDBY, Reason.CANNOT_CLAIM, "info"),
        (State.DOUBT, Reason.PROBE_LOST, "info"),
    ],
)
def test_a_takeover_that_is_due_but_does_not_happen_is_warned_of(state: State, reason: Reason, level: str) -> None:
    """Once, and again while it lasts; that this node could take nothing while nothing is due is another matter."""
    made = Node()
    before = made.address.decision
    barred = replace(before, state=state, reason=reason, detail="no slot")
    for last, seconds in ((before, 0.0), (barred, 1.0), (barred, timing.SAID_AGAIN)):
        made.address._telling.decided(last, barred, "", "none", 1e6 + seconds, WALL)
    lines = [line for line in made.told.log.splitlines() if "event=decision" in line]
    assert [f"level={level} " in line for line in lines] == [True] * (2 if level == "warning" else 1)


def test_that_nobody_was_reached_makes_the_node_not_ready() -> None:
    """And what keeps a node from being ready is warned of once it lasts, and every ten minutes."""
    made = Node()
    unreached = replace(made.address.decision, state=State.DOUBT, reason=Reason.UNREACHED, detail="no gateway")
    made.address.decision = unreached
    assert made.address.not_ready() == "nobody was reached: no gateway"
    again = timing.NOT_READY_FOR + timing.SAID_AGAIN
    for seconds in (0.0, 1.0, timing.NOT_READY_FOR, again - 1.0, again + 1.0):
        made.address._telling.decided(unreached, unreached, made.address.not_ready(), "none", 1e6 + seconds, WALL)
    assert made.told.log.count('level=warning event=not-ready msg="nobody was reached: no gateway') == 2
