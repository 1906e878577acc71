"""Planned moves, in both ways to carry: a node that is about to end, an evicted pod, and a handover on request."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from floatingip.agent import agent as agents
from floatingip.agent import ending, standing
from floatingip.agent import pod as rules
from floatingip.commands import handover
from floatingip.core.decision import order, timing
from floatingip.core.errors import CloudError, ConfigurationError
from floatingip.core.model import Carry, Notice, OwnPod
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.runtime import questions
from tests.agents import world as worlds
from tests.agents.test_address import is_ready, stays
from tests.agents.world import FLOATING_IP, INSTANT, LIVING, FakeOrders, Process, World, holds_for, wait

NAME = "lab"
QUICK = replace(INSTANT, assign=0.2, unassign=0.1, detach=0.2, attach=0.2)
BOTH = pytest.mark.parametrize("carry", Carry)
SPOT = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")
DRAIN = "EvictionByEvictionAPI"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing ENIs are there a moment after the start; notices are seen soon."""
    monkeypatch.setattr(standing, "LOOK_SOON", 0.05)
    monkeypatch.setattr(questions, "METADATA_EVERY", 0.1)
    monkeypatch.setattr(questions, "NOTICE_EVERY", 0.1)
    monkeypatch.setattr(agents, "POD_EVERY", 0.1)


def observers(world: World) -> list[Process]:
    """An observer on each machine, all ready; the first one holds the address, and all others see it."""
    first = world.run(world.machines[0])
    wait(lambda: first.machine.serves, 10, "the first agent holds the address")
    processes = [first, *(world.run(machine) for machine in world.machines[1:])]
    world.wait_for_peace(processes)
    wait(lambda: all(map(is_ready, processes)), 10, "all are ready")
    return processes


def holders(world: World) -> list[str]:
    """The instances that had the address, by EC2, in order."""
    if world.settings.carry is Carry.ADDRESS:
        return stays(world)
    return [instance for _, instance in world.attachments()]


def hand_over(world: World, to: str = order.ANYBODY) -> list[str]:
    """As `floatingip handover` does it, in the last observer's pod; what it says."""
    said: list[str] = []
    settings, machine = world.settings, world.machines[-1]
    cloud = Ec2Cloud(worlds._client("lab"), world.ec2.vpc_id, ())
    moves = handover.plan(cloud, NAME, settings.floating_ips, settings.carry, to)

    def in_the_pod() -> None:
        handover.carry_out(cloud, moves, NAME, settings.carry, settings.port, machine.id, said.append)

    machine.namespace.call(in_the_pod)
    return said


def orders(world: World) -> list[str]:
    """The orders that are written to an ENI."""
    enis: Sequence[Any] = world.lab.describe_network_interfaces()["NetworkInterfaces"]
    tags = (tag for eni in enis for tag in eni["TagSet"])
    return [tag["Value"] for tag in tags if tag["Key"].startswith("floatingip/to") and tag["Value"]]


# The end of a node.


@BOTH
def test_a_holder_whose_node_is_about_to_end_is_relieved(carry: Carry) -> None:
    """Once: it goes on running, does not take the address back, and not when the notice is withdrawn either."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.machine.notice = SPOT
        wait(lambda: standby.machine.serves, 10, "the standby has the address")
        wait(lambda: FLOATING_IP not in holder.machine.plumbed, 10, "the holder has let go of it")
        holder.machine.notice = None
        wait(lambda: not holder.agent._shared.leaving, 5, "the notice is withdrawn")
        holds_for(lambda: standby.machine.serves, 1, "no failback")
        assert holders(world) == [holder.machine.id, standby.machine.id]
        assert all(process.runs for process in (holder, standby))
        assert [line["rule"] for line in standby.logged(event="takeover")] == ["R5"]


@BOTH
def test_an_address_is_not_moved_from_one_ending_node_to_another(carry: Carry) -> None:
    """When all nodes are told to end, as in a zone's rebalance, moving would only cost the connections twice."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        standby.machine.notice = SPOT
        wait(lambda: bool(standby.agent._shared.leaving), 5, "the standby knows")
        holder.machine.notice = SPOT
        wait(lambda: bool(holder.agent._shared.leaving), 5, "the holder knows")
        holds_for(lambda: holder.machine.serves, 2, "it stays where it is")
        standby.machine.notice = None
        wait(lambda: standby.machine.serves, 10, "the standby stays after all, and relieves the holder")
        assert holders(world) == [holder.machine.id, standby.machine.id]


# SIGTERM.


@BOTH
def test_an_evicted_holder_stays_until_it_is_relieved(carry: Carry) -> None:
    """It serves until somebody else does, and ends with 0 then, with nothing left of the address on its node."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.delete(DRAIN)
        while holder.runs:
            assert world.serving() is not None or takes(world, standby), "it left the address alone"
            time.sleep(0.01)
        assert takes(world, standby), "it did not wait"
        assert (holder.code, holder.error) == (0, None)
        assert FLOATING_IP not in holder.machine.plumbed
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        assert holders(world) == [holder.machine.id, standby.machine.id]


def takes(world: World, process: Process) -> bool:
    """It has begun to take the address from its holder."""
    actions = {call["action"] for call in world.calls(caller=process.machine.id)}
    return not actions.isdisjoint({"DetachNetworkInterface", "AssignPrivateIpAddresses"})


@BOTH
def test_an_evicted_holder_that_nobody_relieves_ends_all_the_same(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time; what it has plumbed goes on serving, as long as the node does."""
    monkeypatch.setattr(ending, "EVICTED_AT_MOST", 1.5)
    with World(QUICK, workers=1, carry=carry) as world:
        [holder] = observers(world)
        holder.delete(DRAIN)
        holds_for(lambda: holder.runs, 1.2, "it waits to be relieved")
        assert holder.ended(5)
        assert (holder.code, holder.error) == (0, None)
        assert holder.machine.serves


def test_an_evicted_holder_stays_ten_seconds_at_most() -> None:
    """Which is less than the manifest's grace period, and more than EC2 takes for an address."""
    assert ending.EVICTED_AT_MOST == 10.0


@BOTH
@pytest.mark.parametrize("disruption", ["", "PreemptionByScheduler"])
def test_a_holder_that_is_only_deleted_ends_within_a_second_and_moves_nothing(carry: Carry, disruption: str) -> None:
    """The pod that comes next on this node goes on; so it does when another pod is to take this one's place."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.delete(disruption)
        assert holder.ended(1)
        assert (holder.code, holder.error) == (0, None)
        holds_for(lambda: holder.machine.serves, 2, "the address goes on answering")
        assert holders(world) == [holder.machine.id]
        assert standby.runs


@BOTH
@pytest.mark.parametrize(
    "disruption", [DRAIN, "DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet", "New"]
)
def test_a_holder_whose_node_is_emptied_is_relieved(carry: Carry, disruption: str) -> None:
    """Whatever does it, also what Kubernetes does not know yet."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.delete(disruption)
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        assert holder.ended(2)
        assert holders(world) == [holder.machine.id, standby.machine.id]


@BOTH
def test_a_holder_whose_node_shuts_down_is_relieved(carry: Carry) -> None:
    """SIGTERM, though the API server knows neither a deletion nor a disruption: that is all kubelet shows of it."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.stop()
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        assert holder.ended(2)
        assert (holder.code, holder.error) == (0, None)
        assert holders(world) == [holder.machine.id, standby.machine.id]
        assert "shutting down" in holder.logged(event="leaving")[0]["msg"]


@BOTH
def test_a_shutdown_outlasts_the_end_of_a_notice(carry: Carry) -> None:
    """Each cause is one by itself: IMDS knows of nothing, and takes nothing back."""
    with World(QUICK, workers=1, carry=carry) as world:
        [holder] = observers(world)
        holder.machine.notice = SPOT
        wait(lambda: SPOT.kind in holder.agent._shared.leaving, 5, "the notice is there")
        holder.stop()
        wait(lambda: "shutting down" in holder.agent._shared.leaving, 5, "the shutdown, too")
        holder.machine.notice = None
        wait(lambda: SPOT.kind not in holder.agent._shared.leaving, 5, "the notice is withdrawn")
        holds_for(lambda: bool(holder.agent._shared.leaving) and holder.runs, 1, "it still asks to be relieved")


@BOTH
@pytest.mark.parametrize(
    "pod",
    [None, OwnPod(0.0, answered=True, problem="403 for default/floating-ip: the role must allow to get pods")],
    ids=["silent", "denied"],
)
def test_a_holder_that_is_not_told_why_ends_within_two_seconds_and_moves_nothing(
    carry: Carry, pod: OwnPod | None
) -> None:
    """It says so, and what it does not know."""
    with World(QUICK, carry=carry) as world:
        holder, _ = observers(world)
        holder.machine.pod = pod
        holder.stop()
        assert holder.ended(2)
        assert holder.code == 0
        holds_for(lambda: holder.machine.serves, 2, "the address goes on answering")
        assert holders(world) == [holder.machine.id]
        assert "not known whether this pod's node ends" in holder.logged(event="kubernetes")[-1]["msg"]


@BOTH
def test_an_api_server_that_hangs_does_not_hold_up_the_end(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for about a second, and then nothing is known of an eviction."""

    def hang(_: FakeOrders) -> OwnPod:
        time.sleep(10)
        return replace(LIVING, asked_at=time.monotonic())

    monkeypatch.setattr(FakeOrders, "own_pod", hang)
    with World(QUICK, carry=carry) as world:
        holder, _ = observers(world)
        holder.stop()
        assert holder.ended(3)
        assert holder.machine.serves
        assert holders(world) == [holder.machine.id]


@BOTH
def test_a_holder_of_whose_pod_nothing_is_known_says_so_at_the_start_and_stays_ready(carry: Carry) -> None:
    """Once, with what is missing, and once when it is known again."""
    with World(QUICK, workers=1, carry=carry) as world:
        machine = world.machines[0]
        holder = world.run(machine)
        machine.pod = OwnPod(0.0, answered=True, problem="403: the role must allow to get pods")
        wait(lambda: machine.serves and bool(holder.logged(event="kubernetes")), 5, "it is told")
        wait(lambda: "role" in holder.agent._published.note, 5, "whoever asks whether it is ready is told, too")
        wait(lambda: not holder.agent._published.not_ready(), 5, "it is ready nevertheless")
        holds_for(lambda: len(holder.logged(event="kubernetes")) == 1, 1, "it is told once")
        machine.pod = LIVING
        wait(lambda: len(holder.logged(event="kubernetes")) == 2, 5, "and that it is known again")
        wait(lambda: not holder.agent._published.note, 5, "there is nothing to remark")


# Written off.


WRITTEN_OFF = replace(LIVING, ready=False)
GONE = OwnPod(0.0, answered=True, gone=True)


@BOTH
@pytest.mark.parametrize("pod", [WRITTEN_OFF, GONE], ids=["not ready", "gone"])
def test_a_holder_that_kubernetes_has_written_off_is_relieved_and_not_taken_back(
    carry: Carry, pod: OwnPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a standby that Kubernetes calls ready.  When that one is written off too, nothing is gained by moving back."""
    monkeypatch.setattr(rules, "READY_FOR", 0.5)
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.machine.pod = pod
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        standby.machine.pod = pod
        wait(lambda: bool(standby.agent._shared.leaving), 5, "the standby is written off as well")
        holds_for(lambda: standby.machine.serves, 2, "it stays there")
        assert holders(world) == [holder.machine.id, standby.machine.id]
        assert all(process.runs for process in (holder, standby))


@BOTH
@pytest.mark.parametrize("standbys", [WRITTEN_OFF, None], ids=["written off", "API server silent"])
def test_a_written_off_holder_keeps_the_address_where_nobody_is_known_to_be_better(
    carry: Carry, standbys: OwnPod | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are written off when the control plane reaches no node; and it must be Kubernetes that calls one ready."""
    monkeypatch.setattr(rules, "READY_FOR", 0.5)
    monkeypatch.setattr(timing, "READY_KNOWN", 0.5)
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        standby.machine.pod = standbys
        time.sleep(1)
        holder.machine.pod = WRITTEN_OFF
        wait(lambda: bool(holder.agent._shared.leaving), 5, "the holder is written off")
        holds_for(lambda: holder.machine.serves, 2, "it stays where it is")
        assert holders(world) == [holder.machine.id]


@BOTH
def test_a_holder_is_not_written_off_by_an_api_server_that_answers_no_more(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said last is soon of the past."""
    monkeypatch.setattr(rules, "READY_FOR", 0.5)
    monkeypatch.setattr(rules, "FRESH", 0.5)
    with World(QUICK, workers=1, carry=carry) as world:
        [holder] = observers(world)
        holder.machine.pod = WRITTEN_OFF
        wait(lambda: bool(holder.agent._shared.leaving), 5, "the holder is written off")
        holder.machine.pod = None
        wait(lambda: not holder.agent._shared.leaving, 5, "nothing is known any more")


# A holder whose observer is silent.


@BOTH
@pytest.mark.parametrize("how", ["terminate", "stop"])
def test_a_node_that_ends_while_its_address_answers_is_found_out_by_ec2(carry: Carry, how: str) -> None:
    """Its observer has ended, and nobody asked to be relieved: the instance's state is asked for, soon and again."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        world.shutdown_takes = 30.0
        holder.machine.pod = None
        holder.stop()
        assert holder.ended(3)
        ids = [holder.machine.id]
        if how == "terminate":
            world.lab.terminate_instances(InstanceIds=ids)
        else:
            world.lab.stop_instances(InstanceIds=ids)
        wait(lambda: standby.machine.serves, 10, "the standby serves")
        assert [line["rule"] for line in standby.logged(event="takeover")] == ["R2"]


@BOTH
def test_a_dead_observer_on_a_living_node_moves_nothing(carry: Carry) -> None:
    """EC2 is asked what became of its node, and calls it well."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.kill()
        before = len(world.calls("DescribeInstances", standby.machine.id))
        wait(lambda: len(world.calls("DescribeInstances", standby.machine.id)) > before + 1, 8, "EC2 is asked again")
        holds_for(lambda: holder.machine.serves, 2, "it stays where it is")
        assert holders(world) == [holder.machine.id]


@BOTH
def test_an_evicted_standby_ends_within_a_second(carry: Carry) -> None:
    """There is nothing to relieve it of."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        standby.delete(DRAIN)
        assert standby.ended(1)
        assert standby.code == 0
        assert holders(world) == [holder.machine.id]


# On request.


@BOTH
def test_a_handover_moves_the_address_and_reports_the_gap(carry: Carry) -> None:
    """To whoever stands by; the order is taken back at the end, so that nobody obeys it once more."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        said = hand_over(world)
        assert holders(world) == [holder.machine.id, standby.machine.id]
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        asked, *_, done = said
        assert asked == f"{FLOATING_IP}: asked {holder.machine.id} to hand it over to any standby"
        assert done.startswith(f"{FLOATING_IP}: {standby.machine.id} has it, ")
        assert "a gap of at most " in done
        assert orders(world) == []
        holds_for(lambda: standby.machine.serves, 1, "it stays there")
        assert [line["rule"] for line in standby.logged(event="takeover")] == ["R5"]
        assert all(process.runs for process in (holder, standby))


@BOTH
def test_a_handover_to_one_node_is_left_to_it_by_the_others(carry: Carry) -> None:
    """Named by its primary address; the second standby sees the order, and does nothing."""
    with World(QUICK, workers=3, carry=carry) as world:
        holder, other, named = observers(world)
        cloud = Ec2Cloud(worlds._client("lab"), world.ec2.vpc_id, ())
        to = handover.instance_named(cloud, named.machine.instance.address)
        assert to == named.machine.id
        before = len(world.writes())
        hand_over(world, to)
        wait(lambda: named.machine.serves, 5, "the named node serves")
        holds_for(lambda: named.machine.serves, 1, "it stays there")
        assert holders(world) == [holder.machine.id, named.machine.id]
        assert other.machine.id not in {call["caller"] for call in world.writes()[before:]}
        assert handover.plan(cloud, NAME, world.settings.floating_ips, carry, to) == (), "it has it already"


@BOTH
def test_a_handover_that_nobody_obeys_ends_with_an_error_and_without_a_trace(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The named node has no observer: the holder goes on serving meanwhile, and the order is taken back."""
    monkeypatch.setattr(handover, "VALID_FOR", 2.0)
    with World(QUICK, workers=3, carry=carry) as world:
        absent = world.machines.pop()
        holder, standby = observers(world)
        with pytest.raises(CloudError, match="not handed over within 2 s"):
            hand_over(world, absent.id)
        assert holders(world) == [holder.machine.id]
        assert holder.machine.serves
        assert orders(world) == []
        assert not standby.logged(event="takeover")


@BOTH
def test_a_handover_of_what_nobody_holds_is_refused(carry: Carry) -> None:
    """There is nothing to hand over, and nothing is written."""
    with World(QUICK, carry=carry) as world:
        with pytest.raises(ConfigurationError, match="no node holds it now"):
            hand_over(world)
        assert orders(world) == []


@BOTH
def test_a_handover_moves_the_address_without_an_observer_to_ask_for_the_gap(carry: Carry) -> None:
    """As from a machine outside of the VPC, which reaches EC2 only."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        cloud = Ec2Cloud(worlds._client("lab"), world.ec2.vpc_id, ())
        said: list[str] = []
        moves = handover.plan(cloud, NAME, world.settings.floating_ips, carry)
        nobody_listens_at = world.settings.port + 5000
        a_minute = let_look(holder, standby)
        handover.carry_out(cloud, moves, NAME, carry, nobody_listens_at, "", said.append, sleep=a_minute)
        wait(lambda: standby.machine.serves, 5, "the standby serves")
        assert said[-1].endswith("no observer to ask for the gap")
        assert holders(world) == [holder.machine.id, standby.machine.id]


def let_look(*processes: Process) -> Callable[[float], None]:
    """A `sleep` after which these agents ask EC2 again, as they do after a minute of peace."""

    def sleep(seconds: float) -> None:
        for process in processes:
            process.look()
        time.sleep(seconds)

    return sleep
