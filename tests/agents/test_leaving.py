"""Planned moves, in both ways to carry: a node that is about to end, an evicted pod, and a handover on request."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from floatingip import handover, order, runner, standing, threads
from floatingip.ec2 import Ec2Cloud
from floatingip.errors import CloudError, ConfigurationError
from floatingip.model import Carry, Eviction, EvictionState, Notice
from tests.agents import world as worlds
from tests.agents.test_address import is_ready, stays
from tests.agents.world import FLOATING_IP, INSTANT, FakeOrders, Process, World, holds_for, wait

NAME = "lab"
QUICK = replace(INSTANT, assign=0.2, unassign=0.1, detach=0.2, attach=0.2)
BOTH = pytest.mark.parametrize("carry", Carry)
SPOT = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing ENIs are there a moment after the start; notices are seen soon."""
    monkeypatch.setattr(standing, "LOOK_SOON", 0.05)
    monkeypatch.setattr(threads, "METADATA_EVERY", 0.1)
    monkeypatch.setattr(threads, "NOTICE_EVERY", 0.1)


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
        holder.machine.eviction = Eviction(EvictionState.EVICTED, "kubectl drain")
        holder.stop()
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
    monkeypatch.setattr(runner, "EVICTED_AT_MOST", 1.5)
    with World(QUICK, workers=1, carry=carry) as world:
        [holder] = observers(world)
        holder.machine.eviction = Eviction(EvictionState.EVICTED, "kubectl drain")
        holder.stop()
        holds_for(lambda: holder.runs, 1.2, "it waits to be relieved")
        assert holder.ended(5)
        assert (holder.code, holder.error) == (0, None)
        assert holder.machine.serves


def test_an_evicted_holder_stays_ten_seconds_at_most() -> None:
    """Which is less than the manifest's grace period, and more than EC2 takes for an address."""
    assert runner.EVICTED_AT_MOST == 10.0


@BOTH
@pytest.mark.parametrize("state", [EvictionState.NOT_EVICTED, EvictionState.UNKNOWN])
def test_a_holder_that_is_only_deleted_ends_within_a_second_and_moves_nothing(
    carry: Carry, state: EvictionState
) -> None:
    """As is one of which nobody knows: the pod that comes next on this node goes on."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        holder.machine.eviction = Eviction(state)
        holder.stop()
        assert holder.ended(1)
        assert (holder.code, holder.error) == (0, None)
        holds_for(lambda: holder.machine.serves, 2, "the address goes on answering")
        assert holders(world) == [holder.machine.id]
        assert standby.runs


@BOTH
def test_an_api_server_that_hangs_does_not_hold_up_the_end(carry: Carry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for about a second, and then nothing is known of an eviction."""

    def hang(_: FakeOrders) -> Eviction:
        time.sleep(10)
        return Eviction(EvictionState.EVICTED)

    monkeypatch.setattr(FakeOrders, "eviction", hang)
    with World(QUICK, carry=carry) as world:
        holder, _ = observers(world)
        holder.stop()
        assert holder.ended(3)
        assert holder.machine.serves
        assert holders(world) == [holder.machine.id]


@BOTH
def test_an_evicted_standby_ends_within_a_second(carry: Carry) -> None:
    """There is nothing to relieve it of."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        standby.machine.eviction = Eviction(EvictionState.EVICTED, "kubectl drain")
        standby.stop()
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
        asked, done = said
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
            process.agent._inbox.put(partial(setattr, process.agent, "_look_wanted_at", time.monotonic()))
        time.sleep(seconds)

    return sleep
