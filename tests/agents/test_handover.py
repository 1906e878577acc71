"""A handover on request, by the command itself, and a node that EC2 stops: whole agents that ask each other by HTTP."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from floatingip.commands import handover
from floatingip.core import timing
from floatingip.core.decision import order
from floatingip.core.errors import CloudError, ConfigurationError
from floatingip.core.model import Address, Carry
from floatingip.core.node import Notice
from floatingip.edges.ec2.cloud import Ec2Cloud
from lab.run import ownership
from tests.agents import world as worlds
from tests.agents.world import FLOATING_IP, INSTANT, Process, World, holds_for, wait

NAME = "lab"
QUICK = replace(INSTANT, assign=0.2, unassign=0.1, detach=0.2, attach=0.2)
BOTH = pytest.mark.parametrize("carry", Carry)
SPOT = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")
DRAIN = "EvictionByEvictionAPI"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing ENIs are there a moment after the start; notices are seen soon."""
    monkeypatch.setattr(timing, "STANDING_LOOK_SOON", 0.05)
    monkeypatch.setattr(timing, "METADATA_EVERY", 0.1)
    monkeypatch.setattr(timing, "NOTICE_EVERY", 0.1)
    monkeypatch.setattr(timing, "POD_EVERY", 0.1)


def is_ready(process: Process) -> bool:
    """It could serve the address, or take it over."""
    return all(not each.not_ready() for each in process.agent._addresses.values())


def stays(world: World, address: Address = FLOATING_IP) -> list[str]:
    """The instances that had the address by EC2, in order; no two at a time."""
    holders: list[str] = []
    present = ""
    for event in ownership.of_address(world.history.events(), str(address)):
        if event["status"] == "attached":
            assert not present, f"{event['attachment']} began while {present} was there"
            present = event["attachment"]
            holders.append(event["instance"])
        else:
            assert event["attachment"] == present
            present = ""
    return holders


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


# A holder whose observer is silent.


@BOTH
def test_a_node_that_ends_while_its_address_answers_is_found_out_by_ec2(carry: Carry) -> None:
    """Its observer has ended, and nobody asked to be relieved: the instance's state is asked for, soon and again."""
    with World(QUICK, carry=carry) as world:
        holder, standby = observers(world)
        world.shutdown_takes = 30.0
        holder.machine.pod = None
        holder.stop()
        assert holder.ended(3)
        world.lab.stop_instances(InstanceIds=[holder.machine.id])
        wait(lambda: standby.machine.serves, 10, "the standby serves")
        assert [line["rule"] for line in standby.logged(event="takeover")] == ["R2"]


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
    """Named by its primary address; the second standby sees the order, and moves nothing."""
    with World(QUICK, workers=3, carry=carry) as world:
        holder, _, named = observers(world)
        cloud = Ec2Cloud(worlds._client("lab"), world.ec2.vpc_id, ())
        to = handover.instance_named(cloud, named.machine.instance.address)
        assert to == named.machine.id
        before = len(world.writes())
        hand_over(world, to)
        wait(lambda: named.machine.serves, 5, "the named node serves")
        holds_for(lambda: named.machine.serves, 1, "it stays there")
        assert holders(world) == [holder.machine.id, named.machine.id]
        # What it may note meanwhile, in a tag, is that it reached the address.
        moved = {call["caller"] for call in world.writes()[before:] if call["action"] != "CreateTags"}
        assert moved == {named.machine.id}
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
