"""What an agent finds out before the failure, each part by itself and what failed soon again; and when it ends."""

import io
import time
from ipaddress import IPv4Address
from typing import Any, cast

import pytest

from floatingip.core.errors import CloudUnavailable, Denied
from floatingip.core.model import Carry, Identity, Owner, Peer
from floatingip.core.settings import Settings
from floatingip.edges.telemetry import Log
from floatingip.runtime import runner
from floatingip.runtime.runner import Agent, Edges
from tests.fakes.ec2 import FakeCloud, FakeEc2

ADDRESS = IPv4Address("10.0.0.100")
SLOTS, RESERVATIONS, PERMISSIONS = "describe_slots", "describe_reservations", "rehearse"
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


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

    def __init__(self) -> None:
        ec2 = FakeEc2()
        subnet = ec2.add_subnet("10.0.0.0/24")
        me = ec2.add_instance("10.0.0.10", subnet)
        own = IPv4Address("10.0.0.10")
        identity = Identity(me, "us-west-2", subnet.zone, "vpc-1", subnet.id, "02:00:00:00:00:0a", own, ("sg-1",))
        self.cloud = Failing(ec2, ("sg-1",))
        self.cloud.failing = {}
        self.log = io.StringIO()
        nothing = cast("Any", None)
        edges = Edges(self.cloud, nothing, nothing, nothing, nothing)
        self.agent = Agent(Settings((ADDRESS,), name="lab", carry=Carry.ADDRESS), identity, edges, Log(self.log))
        self.agent._shared.instances.update(self.cloud.describe_instances(frozenset({me})))
        self.agent._shared.subnets = (subnet,)

    def rehearse(self, **failing: Exception) -> str:
        """Rehearse what is due; what was logged."""
        self.cloud.failing = dict(failing)
        before = len(self.log.getvalue())
        self.agent._rehearse_when_due()
        while self.agent._rehearsing:
            self.agent._inbox.get(timeout=PATIENCE)()
        return self.log.getvalue()[before:]


@pytest.fixture(name="node")
def _node(monkeypatch: pytest.MonkeyPatch) -> Node:
    """A worker whose failed parts are due again at once."""
    monkeypatch.setattr(runner, "BACKOFF_DENIED", 0.0)
    return Node()


def test_a_throttled_reservation_call_does_not_lose_its_warning(node: Node) -> None:
    """Nor the rest of the rehearsal: it is told when it is known, and once."""
    throttled = CloudUnavailable("DescribeSubnetCidrReservations: RequestLimitExceeded")
    assert "hand 10.0.0.100 out" not in node.rehearse(describe_reservations=throttled)
    assert node.agent._shared.slots is not None
    assert "hand 10.0.0.100 out to a pod" in node.rehearse()
    assert node.rehearse() == ""


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
    assert "hand 10.0.0.100 out" in node.log.getvalue()
    assert node.agent._rehearsal_failures == {}


def test_what_was_found_is_not_asked_again_at_once(node: Node) -> None:
    """Only the part that failed."""
    node.rehearse(describe_reservations=CloudUnavailable("throttled"))
    node.cloud.calls.clear()
    node.rehearse()
    assert node.cloud.calls == ["GetSubnetCidrReservations"]


def test_an_answer_from_before_a_takeover_does_not_count_the_slots(node: Node) -> None:
    """The rehearsal asked before the ENI was attached."""
    node.agent._shared.slots_change(time.monotonic())
    node.agent._found_slots(3, dict(node.agent._shared.instances), node.agent._shared.slots_changed_at or 0.0)
    assert node.agent._shared.slots_changed_at is not None


def test_attach_leaves_to_observe_what_does_not_come_in_two_minutes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the pod's other container goes on, and is not kept waiting for ever."""
    watch = node.agent._watches[ADDRESS]
    watch.owner = Owner(time.monotonic(), None)
    assert not node.agent._attach_ended(watch)
    monkeypatch.setattr(node.agent, "_started_at", time.monotonic() - runner.ATTACH_AT_MOST - 1.0)
    assert node.agent._attach_ended(watch)
    assert "level=error event=attach" in node.log.getvalue()


# Who else is there.


def test_a_node_that_hears_of_no_other_observer_says_so_and_again_while_it_lasts(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is to the address; its readiness notes it, and the holder's metric shows it."""
    heard: list[Peer] = []
    monkeypatch.setattr(node.agent._peers, "others", lambda name: tuple(heard))

    def at(seconds: float, *peers: Peer) -> str:
        heard[:] = peers
        node.agent._alive_at, before = 1e6 + seconds, len(node.log.getvalue())
        node.agent._warn_when_short()
        return node.log.getvalue()[before:]

    assert at(0.0) + at(runner.SHORT_FOR - 1.0) == ""
    assert node.agent._snapshot().note == ""
    assert "level=warning event=alone" in at(runner.SHORT_FOR + 1.0)
    assert node.agent._snapshot().note == "no other observer answers: nobody would take over"
    assert at(runner.SHORT_FOR + 60.0) == ""
    assert "nobody would take over" in at(runner.SHORT_FOR + 602.0)
    silent_since = 1e6 + runner.SHORT_FOR + 610.0
    assert "event=alone" in at(runner.SHORT_FOR + 611.0, Peer("i-c", silent_since))
    assert node.agent._snapshot().note == ""
    assert at(runner.SHORT_FOR + 650.0, Peer("i-c", silent_since)) == ""
    assert "level=warning event=alone" in at(runner.SHORT_FOR + 690.0, Peer("i-c", silent_since))


def test_that_ec2_does_not_answer_is_told_with_the_last_failure(node: Node) -> None:
    """Where the log names it, readiness does, too; until an answer comes."""
    node.agent._look_failed(CloudUnavailable("DescribeNetworkInterfaces: RequestLimitExceeded"), {})
    told = node.agent._snapshot().not_ready()
    assert "EC2 has not answered yet: DescribeNetworkInterfaces: RequestLimitExceeded" in told
    node.agent._look_failed(Denied("ec2:DescribeInstances"), {})
    assert "EC2 has not answered yet: IAM denies ec2:DescribeInstances" in node.agent._snapshot().not_ready()
