"""An agent as a value over time: what happened goes in, what is to be done comes out, and nothing else matters."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from itertools import pairwise

import pytest

from floatingip.agent.effects import (
    Announce,
    AskPeers,
    AskPod,
    Effect,
    End,
    Keep,
    ListNodePorts,
    Look,
    Part,
    Perform,
    Probe,
    Publish,
    Rehearse,
)
from floatingip.agent.events import (
    Event,
    Looked,
    LookFailed,
    LookWanted,
    MetadataTroubled,
    NodePortsListed,
    NodePortsUnknown,
    Noticed,
    PermissionsRehearsed,
    PodShown,
    Probed,
    Reconciled,
    RehearsalFailed,
    Terminated,
    Wrote,
)
from floatingip.core import timing
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Attachment, AttachmentStatus, Eni, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.node import Notice, OwnPod
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult
from floatingip.core.writes import Attach, Create
from tests.core.agents import Node
from tests.core.nodes import ADDRESS, MAC, ME, NAME, OTHER, SOUND, SUBNET, ZONE, eni, instance, own

WEB = NodePort(30007, service="web")
CHURN = (Probe, Keep, Announce, AskPod, Perform, Rehearse, ListNodePorts)
"""What is asked for only when something has changed, or rarely."""


def kinds(effects: Iterable[Effect]) -> list[type[Effect]]:
    """What was asked for, without the log."""
    return [type(effect) for effect in effects if not hasattr(effect, "level")]


def test_the_same_events_at_the_same_times_have_the_same_effects() -> None:
    """No clock is read, and chance comes from outside: what an agent did can be done again."""
    told = []
    for _ in range(2):
        node = Node(seed=7)
        node.handle()
        node.hold()
        for _ in range(20):
            node.handle(after=0.3)
        node.handle(Terminated(), after=0.1)
        told.append(node.told.effects)
    assert told[0] == told[1]
    assert len(told[0]) > 20


def test_an_agent_looks_at_once_and_then_waits() -> None:
    """Before it is due there is nothing to do; it says when that is."""
    node = Node()
    assert Look in kinds(node.handle())
    assert node.agent.due() > node.now
    assert node.handle(after=0.001) == ()


def test_in_peace_nothing_is_asked_for_twice() -> None:
    """A tick a second: the peers are asked on, EC2 once a minute, and whoever wants to know is told."""
    node = Node()
    node.handle()
    node.hold()
    node.handle(after=timing.CALM_TICK)
    effects = [effect for _ in range(30) for effect in node.handle(after=timing.CALM_TICK)]
    assert not [effect for effect in effects if isinstance(effect, CHURN)]
    assert kinds(effects).count(AskPeers) == kinds(effects).count(Publish) == 30
    assert kinds(effects).count(Look) <= 1


def test_ec2_is_asked_when_somebody_says_that_it_has_news_but_now_and_then_only() -> None:
    """As who has written an order there; whoever says so all the time must not cost a question each time."""
    node = Node()
    node.handle()
    node.hold()
    node.handle(after=timing.CALM_TICK)
    node.looked(ME)
    rest = timing.LOOKS_ON_REQUEST_EVERY + 1.0
    asked = [Look in kinds(node.handle(*said, after=rest)) for said in ((), (LookWanted(),))]
    node.looked(ME)
    assert [*asked, Look in kinds(node.handle(LookWanted(), after=0.5 * rest))] == [False, True, False]


def test_what_came_of_a_node_ports_check_is_told_of_the_node_that_was_asked() -> None:
    """Its probes are no address'."""
    node = Node()
    node.handle(NodePortsListed((WEB,)))
    (probing,) = node.agent._serving.probings
    for _ in range(2):
        node.handle(Probed(probing, ProbeResult(node.now, node.now, ProbeOutcome.ANSWERED)), after=1.1)
    assert node.published.status.served == {ME: {WEB.port: True}}


def test_a_standing_eni_that_cannot_be_read_is_not_taken_for_gone() -> None:
    """Another one would be made in its place."""
    node = Node(carry=Carry.ADDRESS)
    node.handle()
    odd = Eni("eni-me", MAC, None, SUBNET.id, ZONE, None, {OWNER_TAG: NAME, STANDING_TAG: ME}, unread="no address")
    node.handle(Looked(node.seen(unread=(odd,), ours=frozenset({odd.id}))), after=0.1)
    assert not [effect for effect in node.told.effects if isinstance(effect, Perform)]


def test_what_came_of_a_write_reaches_who_asked_for_it() -> None:
    """The ENI is created, and no second time; then EC2 is asked at once."""
    node = Node()
    node.handle()
    node.looked()
    (asked,) = (effect for effect in node.told.effects if isinstance(effect, Perform))
    assert asked.write == Attach("eni-1")
    effects = node.handle(Wrote(asked.writer, asked.write), after=0.1)
    assert Look in kinds(effects)
    assert Perform not in kinds(effects)


def subnets_asked_for(effects: Iterable[Effect]) -> list[tuple[bool, bool]]:
    """For each question to EC2 whether subnets are needed, and wanted."""
    questions = [effect.question for effect in effects if isinstance(effect, Look)]
    return [(question.need_subnets, question.want_subnets) for question in questions]


def test_an_address_that_no_subnet_has_may_get_one() -> None:
    """As when an IPv6 network is associated with it later: what EC2 told at the start is of then."""
    node = Node()
    assert subnets_asked_for(node.handle()) == [(True, False)]
    node.handle(Looked(node.seen(subnets=())), after=0.1)
    later = [effect for _ in range(70) for effect in node.handle(after=1.0)]
    assert subnets_asked_for(later) == [(False, True)]


def test_a_creation_that_ec2_refuses_has_the_subnets_asked_for_again() -> None:
    """Once: that of the address may have been deleted, and made anew with another id."""
    node = Node(carry=Carry.ADDRESS)
    node.handle()
    node.looked(OTHER)
    node.handle(Wrote(SUBNET.id, Create(), CloudError("InvalidSubnetID.NotFound")), after=0.1)
    assert (False, True) in subnets_asked_for(node.handle(after=timing.REPEAT_AFTER))
    node.looked(OTHER)
    later = [effect for _ in range(70) for effect in node.handle(after=1.0)]
    assert set(subnets_asked_for(later)) <= {(False, False)}


def test_a_standing_eni_is_made_in_the_subnet_that_is_there_now() -> None:
    """In the place of the one that was deleted, whose interface EC2 refuses: that is no want of room for ever."""
    node = Node(carry=Carry.ADDRESS)
    node.handle()
    node.looked(OTHER)
    node.handle(Wrote(SUBNET.id, Create(), CloudError("InvalidSubnetID.NotFound")), after=0.1)
    instances = {ME: instance(ME)}
    anew = replace(SUBNET, id="subnet-2")
    node.told.effects.clear()
    node.handle(Looked(node.seen(instances=instances, subnets=(anew,))), after=5.0)
    assert [effect.writer for effect in node.told.effects if isinstance(effect, Perform)] == ["subnet-2"]
    assert set(node.agent._shared.standings) == {"subnet-2"}
    node.handle(Wrote(SUBNET.id, Create()), after=0.1)  # what was asked for before


def test_a_subnet_that_has_the_addresss_interface_is_there() -> None:
    """Whatever an answer lacks, as where of several subnets one could not be read: it cannot have been deleted."""
    node = Node()
    node.handle()
    node.looked(OTHER)
    address = node.agent._addresses[ADDRESS]
    shown = address.where.owner
    assert shown is not None
    assert shown.eni is not None
    another = Subnet("subnet-2", (ip_network("10.0.2.0/24"),), ZONE)
    for enis, found in (({ADDRESS: shown.eni}, {SUBNET.id, another.id}), ({}, {another.id})):
        node.handle(Looked(node.seen(enis=enis, subnets=(another,))), after=1.0)
        assert {subnet.id for subnet in node.agent._shared.subnets or ()} == found


def test_a_standing_eni_whose_subnet_has_a_new_network_is_that_subnets_still() -> None:
    """Its device, which is not there, was taken for one that is: the address would have been claimed in vain."""
    node = Node(carry=Carry.ADDRESS)
    node.handle()
    mine, instances = own(security_groups=("sg-1",)), {ME: instance(ME)}
    for subnet in (replace(SUBNET, networks=SUBNET.networks[:1]), SUBNET):
        seen = node.seen(standing=(mine,), ours=frozenset({mine.id}), instances=instances, subnets=(subnet,))
        node.handle(Looked(seen), after=1.0)
        node.handle(Reconciled(ADDRESS, PlumbingReport(PlumbingState.NO_LINK, extent=Extent.AHEAD)), after=1.0)
        node.handle(after=1.0)
        assert "is not there yet" in node.agent._shared.standings[SUBNET.id].problem, subnet
    assert node.agent._standings.by_subnet[SUBNET.id].subnet == SUBNET


def test_what_came_of_a_standing_eni_s_write_reaches_that_one() -> None:
    """Where addresses move, the ENI that waits for them is created first, once."""
    node = Node(carry=Carry.ADDRESS)
    node.handle()
    node.looked(OTHER)
    (asked,) = (effect for effect in node.told.effects if isinstance(effect, Perform))
    assert (asked.writer, asked.write) == (SUBNET.id, Create())
    node.handle(Wrote(asked.writer, asked.write), after=0.1)
    assert "event=write" in node.told.log
    node.looked(OTHER)
    assert sum(isinstance(effect, Perform) for effect in node.told.effects) == 1


def test_each_complaint_of_imds_is_told_once_and_its_end_too() -> None:
    """When none has come for a while."""
    node = Node()
    node.handle()
    for _ in range(3):
        node.handle(MetadataTroubled("no answer"), after=1.0)
    node.handle(after=timing.METADATA_CALM - 1.0)
    assert node.told.log.count("event=imds") == 1
    node.handle(after=2.0)
    node.handle(after=timing.METADATA_CALM)
    assert node.told.log.count("IMDS answers again") == 1


# The end, and `attach`: what tests/sim does not show of them.


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (OwnPod(0.0, answered=True, ready=True), timing.ENDS_HALF_TOLD),
        (OwnPod(0.0, answered=True, problem="429 for default/floating-ip"), timing.ENDS_HALF_TOLD),
        (OwnPod(0.0, problem="no answer in time"), timing.ENDS_UNTOLD),
    ],
)
def test_a_holder_ends_later_when_the_api_server_answers(answer: OwnPod, after: float) -> None:
    """One more answer may tell why: also where it is overloaded, or about to end itself."""
    node = Node()
    node.handle()
    node.hold()
    node.handle(Terminated(), after=1.0)
    node.handle(PodShown(replace(answer, asked_at=node.now)), after=0.0)
    assert node.ends(after - 0.1) is None
    assert node.ends(0.4) == End(0)


def test_attach_leaves_to_observe_to_prepare_this_node_for_what_another_one_holds() -> None:
    """After a minute: the pod must not wait for a standing ENI that does not come."""
    node = Node(observes=False, carry=Carry.ADDRESS)
    node.handle()
    node.looked(OTHER)
    assert node.ends(timing.AHEAD_GIVES_UP - 1.0) is None
    assert node.ends(2.0) == End(0)
    assert "this node could not take the address over" in node.told.log


def test_a_token_of_ours_is_not_spent_by_what_was_refused() -> None:
    """The ENI is created by the same write again."""
    node = Node()
    node.handle()
    for _ in range(2):
        node.handle(Looked(node.seen()), after=20.0)
        asked = [effect for effect in node.told.effects if isinstance(effect, Perform)][-1]
        assert asked.write == Create()
        node.handle(Wrote(asked.writer, asked.write, Denied("ec2:CreateNetworkInterface")), after=0.1)


@pytest.mark.parametrize("others", [(), (Allocation("eipalloc-1"),)], ids=["alone", "beside another one"])
def test_a_permission_that_only_one_address_lacks_ends_no_attach_of_the_others(others: tuple[Target, ...]) -> None:
    """Whoever has just added an Elastic IP may lack it, and the pods with all the others would come up no more."""
    node, denied = Node(*others, observes=False), Denied("ec2:DescribeAddresses")
    node.handle()
    target = (ADDRESS, *others)[-1]
    effects = node.handle(Looked(node.seen(unknown={target: str(denied)}, refused={target: denied})), after=1.0)
    assert node.told.log.count("event=denied ") == 1
    assert [effect.error for effect in effects if isinstance(effect, End)] == ([] if others else [denied])
    assert any(isinstance(effect, Perform) for effect in effects) == bool(others)


def test_a_permission_that_an_elastic_ip_lacks_of_which_the_interface_is_known_ends_its_attach() -> None:
    """As where nothing is known of it: whether it may be associated cannot be found out."""
    target: Target = Allocation("eipalloc-1")
    node, denied = Node(target, observes=False), Denied("ec2:DescribeAddresses")
    node.handle()
    node.handle(Looked(node.seen(enis={target: eni(target)}, refused={target: denied})))
    assert node.agent._addresses[target].final is denied


@pytest.mark.parametrize("why", ["denied", "failed"])
def test_what_ec2_does_not_tell_of_one_address_puts_off_no_question_about_another(why: str) -> None:
    """While that one moves, EC2 is asked each second; of what it does not tell after longer and longer pauses."""
    target: Target = Allocation("eipalloc-1")
    node, denied = Node(target), Denied("ec2:DescribeAddresses")
    refused = {target: denied} if why == "denied" else {}
    asked: list[float] = []

    def go_on(seconds: float, status: AttachmentStatus) -> None:
        until = node.now + seconds
        while node.now < until:
            if any(isinstance(effect, Look) for effect in node.handle()):
                asked.append(node.now)
                attachment = Attachment("a1", OTHER, 1, status)
                shown = {ADDRESS: eni(attachment=attachment, tags={OWNER_TAG: NAME})}
                seen = node.seen(enis=shown, ours=frozenset({"eni-1"}), unknown={target: str(denied)}, refused=refused)
                node.handle(Looked(seen), after=0.1)
            node.now = min(until, max(node.now + 0.01, node.agent.due()))

    go_on(120.0, AttachmentStatus.ATTACHED)
    assert asked[-1] - asked[-2] > 5.0
    before = len(asked)
    go_on(30.0, AttachmentStatus.DETACHING)
    assert max(later - earlier for earlier, later in pairwise(asked[before : before + 8])) < 1.5


UNSOUND = PlumbingReport(PlumbingState.UNSOUND, problem="nft is missing")
UNSERVED = replace(SOUND, kept_off="kube-proxy does not serve it")
DENIED = Denied("ec2:AttachNetworkInterface")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (MetadataTroubled("IMDS does not answer"), "imds"),
        (PodShown(OwnPod(0.0, problem="the role must allow to get pods")), "kubernetes"),
        (NodePortsUnknown("may not list the Services"), "services"),
        (Noticed(Notice("spot", "terminate"), 0.0), "leaving"),
        (Reconciled(ADDRESS, UNSOUND), "plumbing"),
        (Reconciled(ADDRESS, UNSERVED), "nodeports"),
        (PermissionsRehearsed(("ec2:AttachNetworkInterface",)), "rehearsal"),
        (RehearsalFailed(Part.SLOTS, DENIED), "rehearsal"),
        (RehearsalFailed(Part.RESERVATIONS, DENIED), "reservation"),
        (LookFailed(DENIED, {}), "denied"),
        (LookFailed(CloudUnavailable("throttled"), {}), "ec2"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_lasts_is_told_soon_and_again_every_ten_minutes(event: Event, name: str) -> None:
    """However often it is found out meanwhile; some of it only when it is found out twice."""
    node, told = Node(), []
    node.hold()
    for after in (1.0, 1.0, timing.SAID_AGAIN - 10.0, 20.0):
        node.handle(event, after=after)
        told.append(node.told.log.count(f"event={name} "))
    assert told[1:] == [1, 1, 2]
