"""Agents with `carry: address`: one EC2 call moves the address, and whatever goes wrong, exactly one node has it."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from floatingip.agent import rehearsal, standing
from floatingip.agent.address import PEACE_JITTER
from floatingip.core.decision import ration, timing
from floatingip.core.errors import AddressTaken, MetadataError
from floatingip.core.model import STANDING_TAG, Address, Carry
from floatingip.runtime import questions
from lab.ec2 import Guest
from lab.network.netns import Namespace
from lab.run import ownership
from tests.agents import world as worlds
from tests.agents.conftest import ip
from tests.agents.world import FLOATING_IP, INSTANT, FakeMetadata, Machine, Process, World, holds_for, wait

IPV6 = IPv6Address("2001:db8:0:1::100")
ASSIGN, ASSIGN_V6, UNASSIGN_V6 = "AssignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses"
SLOW_ASSIGN = replace(INSTANT, assign=0.4)
"""As with EC2, two observers can believe to be the first for a while."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing ENIs are there a moment after the start; IMDS is asked often."""
    monkeypatch.setattr(standing, "LOOK_SOON", 0.05)
    monkeypatch.setattr(questions, "METADATA_EVERY", 0.1)


@pytest.fixture
def fourth(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One more worker than there usually are."""
    name, address = "worker-d", "10.0.0.13"
    namespace = Namespace(name)
    namespace.create()
    # The bridge has the lowest MAC of its ports: one that comes and goes must not change it.
    ip(
        f"link add {name} address fe:ff:ff:ff:ff:ff type veth peer name eth0 netns {name}",
        f"link set {name} master agents up",
    )
    namespace.ip(f"address add {address}/24 dev eth0", "link set eth0 up")
    monkeypatch.setitem(worlds.WORKERS, name, address)
    yield
    ip(f"link del {name}")
    namespace.delete()


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


def observers(world: World, address: Address = FLOATING_IP) -> list[Process]:
    """An observer on each machine, all at peace and ready for a takeover; the first one holds the address."""
    first = world.run(world.machines[0])
    wait(lambda: first.machine.carries(address), 10, "the first agent holds the address")
    processes = [first, *(world.run(machine) for machine in world.machines[1:])]
    world.wait_for_peace(processes)
    wait(lambda: all(map(is_ready, processes)), 10, "each has its standing ENI")
    return processes


def is_ready(process: Process) -> bool:
    """It could serve the address, or take it over."""
    return all(not each.not_ready() for each in process.agent._addresses.values())


def serves_at_last(
    world: World, machines: Sequence[Machine], address: Address = FLOATING_IP, within: float = 10
) -> Machine:
    """Wait until one of the machines serves the address, and EC2 says the same."""

    def served() -> bool:
        serving = world.serving(address)
        return serving in machines and stays(world, address)[-1] == getattr(serving, "id", "")

    wait(served, within, lambda: f"served by one of {[machine.id for machine in machines]}: {stays(world, address)}")
    serving = world.serving(address)
    assert serving is not None
    return serving


def standing_enis(world: World) -> dict[str, list[Any]]:
    """The standing ENIs of each instance."""
    found: dict[str, list[Any]] = {}
    for eni in world.lab.describe_network_interfaces()["NetworkInterfaces"]:
        tags = {tag["Key"]: tag["Value"] for tag in eni["TagSet"]}
        if STANDING_TAG in tags:
            found.setdefault(tags[STANDING_TAG], []).append(eni)
    return found


# Races.


def test_observers_racing_from_nothing_leave_one_holder() -> None:
    """None knows of the others; EC2 gives the address to the first, and refuses it to the rest."""
    rounds = 5
    with World(SLOW_ASSIGN, workers=3, carry=Carry.ADDRESS) as world:
        for race in range(1, rounds + 1):
            race_from_nothing(world)
            assert len(stays(world)) == race
            [eni] = world.enis()
            world.lab.unassign_private_ip_addresses(
                NetworkInterfaceId=eni["NetworkInterfaceId"], PrivateIpAddresses=[str(FLOATING_IP)]
            )
            for machine in world.machines:
                machine.plumbed.clear()
        assert Counter(call["error"] for call in world.calls(ASSIGN))["Resource.AlreadyAssigned"] > 0, "no races"
        assert {instance: len(enis) for instance, enis in standing_enis(world).items()} == {
            machine.id: 1 for machine in world.machines
        }


def race_from_nothing(world: World) -> None:
    """All start at once; until each knows who has got the address, and then for a while."""
    processes = [world.run(machine) for machine in world.machines]
    holder = serves_at_last(world, world.machines)
    wait(lambda: all(p.address().attachment() for p in processes), 10, "all know of the holder")
    holds_for(lambda: world.serving() is holder, 0.5, "one holder")
    assert all(process.runs for process in processes)
    for process in processes:
        process.kill()


def test_three_observers_racing_for_a_dead_holder_s_address_move_it_once(fourth: None) -> None:
    """EC2 would give it to each of them, one after the other: they let one go first, and look again."""
    with World(SLOW_ASSIGN, workers=4, carry=Carry.ADDRESS) as world:
        holder, *standbys = observers(world)
        claimed = len(world.calls(ASSIGN))
        world.cut_power(holder)
        winner = serves_at_last(world, world.machines[1:])
        holds_for(lambda: world.serving() is winner, 3, "nobody takes it away again")
        assert stays(world) == [holder.machine.id, winner.id]
        assert [call["caller"] for call in world.calls(ASSIGN)[claimed:]] == [winner.id]
        assert all(process.runs for process in standbys)
        losers = [process for process in standbys if process.machine is not winner]
        assert not any(process.machine.plumbed for process in losers), "a loser must not carry the address"


def test_standbys_convicting_one_dead_holder_after_the_other_move_it_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new node comes in the dead one's place each time."""
    # Or the ration would rightly end this.
    monkeypatch.setattr(ration, "CONVICTION_WINDOW", 0.0)
    monkeypatch.setattr(timing, "NEW_OWNER", 0.5)
    rounds = 4
    with World(SLOW_ASSIGN, workers=3, carry=Carry.ADDRESS) as world:
        living = {process.machine: process for process in observers(world)}
        for race in range(1, rounds + 1):
            dead = living.pop(serves_at_last(world, list(living)))
            world.cut_power(dead)
            serves_at_last(world, list(living))
            assert len(stays(world)) == race + 1
            dead.machine.guest = Guest.RUNNING
            dead.machine.plumbed.clear()
            living[dead.machine] = world.run(dead.machine)
            world.wait_for_peace(list(living.values()))
        assert all(process.runs for process in living.values())


def test_a_standby_asks_who_serves_the_address_when_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover can be over between two looks in doubt; what a standby knows then is the dead holder's."""
    # All have been at peace for longer than it takes to confirm that the address is elsewhere.
    monkeypatch.setattr(timing, "CONFIRM_AFTER", 0.1)
    with World(workers=3, carry=Carry.ADDRESS) as world:
        processes = observers(world)
        for pause in ("LOOK_BEFORE_TAKING", "LOOK_WHILE_MOVING"):
            monkeypatch.setattr(timing, pause, 30.0)
        world.cut_power(processes[0])
        second = serves_at_last(world, world.machines[1:])
        third = next(process for process in processes[1:] if process.machine is not second)
        wait(lambda: third.address().holder() == second.id, PEACE_JITTER + 5, "the third one knows the new holder")


def test_a_second_failure_soon_after_the_first_is_noticed_as_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third node has seen the address answer again before it asked EC2 who serves it now."""
    monkeypatch.setattr(timing, "NEW_OWNER", 0.5)
    with World(workers=3, carry=Carry.ADDRESS) as world:
        processes = observers(world)
        world.cut_power(processes[0])
        second = serves_at_last(world, world.machines[1:])
        third = next(process for process in processes[1:] if process.machine is not second)
        holds_for(lambda: world.serving() is second, 2, "the second one serves")
        wait(lambda: third.address().decision.reason.name == "ANSWERS", 3, "the third one sees it")
        world.cut_power(next(process for process in processes if process.machine is second))
        # That two of three fall silent may be the third one's own fault, until the first counts as gone.
        serves_at_last(world, [third.machine], within=timing.PEER_EXISTS + 10)


def test_the_claimer_of_an_orphan_deletes_it_when_nobody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminated node's standing ENI keeps the address until it is taken, and is then of no use."""
    monkeypatch.setattr(standing, "UNUSED_FOR", 0.5)
    monkeypatch.setattr(standing, "LOOK_IN_PEACE", 0.2)
    with World(carry=Carry.ADDRESS) as world:
        holder, standby = observers(world)
        [orphan] = [eni["NetworkInterfaceId"] for eni in standing_enis(world)[holder.machine.id]]
        world.lab.terminate_instances(InstanceIds=[holder.machine.id])
        holder.kill()
        serves_at_last(world, [standby.machine])
        wait(lambda: holder.machine.id not in standing_enis(world), 10, "the orphan is gone")
        assert [call["params"]["NetworkInterfaceId"] for call in world.calls("DeleteNetworkInterface")] == [orphan]
        assert stays(world) == [holder.machine.id, standby.machine.id]
        assert world.serving() is standby.machine


# IPv6: a fence, and a claim.


def test_another_observer_claims_when_the_claimer_dies_between_its_fence_and_its_claim() -> None:
    """Nobody has the IPv6 address then; the third node goes on from there."""
    with World(workers=3, floating_ips=(IPV6,), carry=Carry.ADDRESS) as world:
        killed: list[Process] = []
        processes: list[Process] = []

        def kill_first(call: str) -> None:
            if call == "assign" and processes and not killed:
                caller = world.calls(UNASSIGN_V6)[0]["caller"]
                killed.append(next(process for process in processes if process.machine.id == caller))
                killed[0].kill()

        holder = world.run(world.machines[0])
        wait(lambda: holder.machine.carries(IPV6), 10, "the first agent holds the address")
        standbys = [world.run(machine, before=kill_first) for machine in world.machines[1:]]
        world.wait_for_peace([holder, *standbys])
        wait(lambda: all(map(is_ready, standbys)), 10, "each has its standing ENI")
        processes += standbys
        world.cut_power(holder)
        wait(lambda: bool(killed), 10, "the first claimer dies")
        [survivor] = [process for process in standbys if process is not killed[0]]
        serves_at_last(world, [survivor.machine], IPV6)
        assert stays(world, IPV6) == [holder.machine.id, survivor.machine.id]
        assert len([call for call in world.calls(UNASSIGN_V6) if call["error"] is None]) == 1


def test_a_restarted_observer_claims_the_ipv6_address_that_it_left_free() -> None:
    """With two nodes only: the killed claimer's own next container finishes, though it remembers nothing."""
    with World(floating_ips=(IPV6,), carry=Carry.ADDRESS) as world:
        standby: list[Process] = []

        def kill_self(call: str) -> None:
            if call == "assign" and standby:
                standby[0].kill()

        holder = world.run(world.machines[0])
        wait(lambda: holder.machine.carries(IPV6), 10, "the first agent holds the address")
        second = world.run(world.machines[1], before=kill_self)
        world.wait_for_peace([holder, second])
        wait(lambda: is_ready(second), 10, "it has its standing ENI")
        standby.append(second)
        world.cut_power(holder)
        wait(lambda: not second.runs, 10, "the claimer is killed")
        assert world.enis(IPV6) == [], "this test is about a free address"
        world.run(second.machine)
        serves_at_last(world, [second.machine], IPV6)


# EC2 in trouble.


@pytest.mark.parametrize(("address", "action"), [(FLOATING_IP, ASSIGN), (IPV6, ASSIGN_V6), (IPV6, UNASSIGN_V6)])
@pytest.mark.parametrize("effect", ["throttle", "lose_answers", "fail"])
def test_one_failed_call_makes_no_second_move(address: Address, action: str, effect: str) -> None:
    """Whether it took effect or not: the address comes to one standby, and nobody takes it from there."""
    with World(SLOW_ASSIGN, workers=3, floating_ips=(address,), carry=Carry.ADDRESS) as world:
        holder, *standbys = observers(world, address)
        fault = getattr(world.ec2.faults, effect)({action}, count=1)
        world.cut_power(holder)
        winner = serves_at_last(world, world.machines[1:], address)
        assert fault.hits == 1
        holds_for(lambda: world.serving(address) is winner, 2.5, "nobody takes it away again")
        assert stays(world, address) == [holder.machine.id, winner.id]
        assert all(process.runs for process in standbys)


def test_a_failover_under_throttling_finishes_with_one_move() -> None:
    """EC2 answers RequestLimitExceeded to everything from the power cut on, for two seconds."""
    with World(workers=3, carry=Carry.ADDRESS) as world:
        holder, *_ = observers(world)
        with world.ec2.faults.throttle() as fault:
            world.cut_power(holder)
            holds_for(lambda: world.serving() is None, 2, "nobody can take over")
            assert fault.hits >= 2
        winner = serves_at_last(world, world.machines[1:])
        holds_for(lambda: world.serving() is winner, 2.5, "nobody takes it away again")
        assert stays(world) == [holder.machine.id, winner.id]


# A holder that is cut off.


def cut_off(world: World, process: Process) -> None:
    """Neither EC2 nor other observers reach the machine any more, nor do probes of the address; IMDS it does."""
    world.ec2.faults.partition(process.machine.id)
    port = world.settings.port
    process.machine.namespace.nft(
        f"table inet cut {{ chain in {{ type filter hook input priority 0; iifname eth0 tcp dport {port} drop; }};"
        f" chain out {{ type filter hook output priority 0; oifname eth0 tcp dport {port} drop; }}; }}"
    )
    process.machine.guest = Guest.HUNG


@pytest.fixture
def _mended() -> Iterator[None]:
    """What `cut_off` did to the first worker is undone."""
    yield
    Namespace("worker-a").nft("table inet cut\ndelete table inet cut\n")


@pytest.mark.usefixtures("_mended")
def test_a_holder_that_is_cut_off_from_all_drops_the_address_when_imds_lacks_it() -> None:
    """Neither EC2 nor a peer can tell it that the address is elsewhere now; it must not answer for it any more."""
    with World(SLOW_ASSIGN, carry=Carry.ADDRESS) as world:
        holder, standby = observers(world)
        cut_off(world, holder)
        serves_at_last(world, [standby.machine])
        wait(lambda: FLOATING_IP not in holder.machine.plumbed, 10, "the former holder drops the address")
        assert holder.logged(reason="LOST")
        assert holder.runs
        holds_for(lambda: FLOATING_IP not in holder.machine.plumbed, 1, "and does not take it up again")
        assert stays(world) == [holder.machine.id, standby.machine.id]


@pytest.mark.usefixtures("_mended")
def test_a_holder_that_is_restarted_while_it_is_cut_off_drops_the_address_as_well() -> None:
    """The new process never saw IMDS show it: it found the address on its link."""
    with World(SLOW_ASSIGN, carry=Carry.ADDRESS) as world:
        holder, standby = observers(world)
        cut_off(world, holder)
        holder.kill()
        assert FLOATING_IP in holder.machine.plumbed
        restarted = world.run(holder.machine)
        serves_at_last(world, [standby.machine])
        wait(lambda: FLOATING_IP not in holder.machine.plumbed, 10, "the former holder drops the address")
        assert restarted.runs


def test_one_late_answer_of_ec2_does_not_give_back_what_was_dropped() -> None:
    """It would say that it holds the address, stop probing, and ask again after a minute."""
    with World(carry=Carry.ADDRESS) as world:
        holder, standby = observers(world)
        wait(lambda: holder.address()._imds.shown is True, 5, "IMDS has shown the address")
        stale = world.ec2.faults.stale(60.0, ["DescribeNetworkInterfaces"], holder.machine.id)
        [eni] = standing_enis(world)[standby.machine.id]
        world.lab.assign_private_ip_addresses(
            NetworkInterfaceId=eni["NetworkInterfaceId"], PrivateIpAddresses=[str(FLOATING_IP)], AllowReassignment=True
        )
        wait(lambda: bool(holder.logged(reason="LOST")), 10, "IMDS tells that it is lost")
        hits = stale.hits
        wait(lambda: stale.hits > hits, 10, "a late answer calls it this node's")
        stale.end()
        standby.look()
        serves_at_last(world, [standby.machine])
        wait(lambda: holder.address().decision.reason.name == "ANSWERS", 10, "it is a standby that probes")
        assert FLOATING_IP not in holder.machine.plumbed


@pytest.mark.usefixtures("_mended")
def test_a_holder_that_can_ask_nobody_at_all_keeps_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2's outage, its peers' and IMDS' together are no evidence that somebody else has it."""
    with World(workers=1, carry=Carry.ADDRESS) as world:
        [holder] = observers(world)
        wait(lambda: holder.address()._imds.shown is True, 5, "IMDS has shown the address")

        def fails(*_: object) -> None:
            raise MetadataError("IMDS does not answer")

        monkeypatch.setattr(FakeMetadata, "addresses_of", fails)
        cut_off(world, holder)
        holds_for(lambda: FLOATING_IP in holder.machine.plumbed, 2, "the address stays")


def test_imds_that_has_never_shown_the_address_takes_nothing_away() -> None:
    """It lags: for a new holder it has not got there yet."""
    with World(workers=1, carry=Carry.ADDRESS) as world:
        [machine] = world.machines
        world.assign = lambda eni_id, address: None  # type: ignore[method-assign]  # IMDS lags for ever
        process = world.run(machine)
        wait(lambda: FLOATING_IP in machine.plumbed, 10, "it carries the address")
        holds_for(lambda: FLOATING_IP in machine.plumbed, 1.5, "it keeps the address")
        assert not process.logged(reason="LOST")


# The other way to carry.


@pytest.mark.parametrize(("running", "coming"), [(Carry.ENI, Carry.ADDRESS), (Carry.ADDRESS, Carry.ENI)])
def test_an_observer_of_the_other_mode_refuses(running: Carry, coming: Carry) -> None:
    """It names the interface that it found, says what to do, and touches nothing; the holder goes on serving."""
    with World(carry=running) as world:
        first, second = world.machines
        world.run(first)
        wait(lambda: first.serves, 10, "the first one serves")
        [eni] = [eni["NetworkInterfaceId"] for eni in world.enis()]
        world.settings = replace(world.settings, carry=coming)
        process = world.run(second)
        wait(lambda: bool(process.logged(reason="MIXED")), 10, "it refuses")
        [said] = process.logged(reason="MIXED")
        assert eni in said["msg"]
        assert "floatingip release" in said["msg"]
        holds_for(lambda: first.serves, 1, "the first one serves")
        assert world.calls(caller=second.id)
        assert not [call for call in world.writes() if call["caller"] == second.id]


@pytest.mark.parametrize(("running", "coming"), [(Carry.ENI, Carry.ADDRESS), (Carry.ADDRESS, Carry.ENI)])
def test_attach_in_the_other_mode_exits_with_5(running: Carry, coming: Carry) -> None:
    """So that a rollout of a changed setting stops at its first pod."""
    with World(carry=running) as world:
        first, second = world.machines
        world.run(first)
        wait(lambda: first.serves, 10, "the first one serves")
        world.settings = replace(world.settings, carry=coming)
        process = world.run(second, "attach")
        assert process.ended(10)
        assert isinstance(process.error, AddressTaken)
        assert process.error.exit_code == 5
        assert not [call for call in world.writes() if call["caller"] == second.id]


# The init container.


def test_attach_leaves_each_worker_with_one_standing_eni_and_one_of_them_with_the_address() -> None:
    """All start at once; the ENIs outlive their nodes, and are nothing for the VPC CNI."""
    with World(workers=3, carry=Carry.ADDRESS) as world:
        processes = [world.run(machine, "attach") for machine in world.machines]
        for process in processes:
            assert process.ended(15)
            assert (process.code, process.error) == (0, None)
        found = standing_enis(world)
        assert set(found) == {machine.id for machine in world.machines}
        for instance, enis in found.items():
            [eni] = enis
            assert eni["Attachment"]["InstanceId"] == instance
            assert eni["Attachment"]["Status"] == "attached"
            assert eni["Attachment"]["DeleteOnTermination"] is False
            tags = {tag["Key"]: tag["Value"] for tag in eni["TagSet"]}
            assert (tags["node.k8s.amazonaws.com/no_manage"], tags["floatingip"]) == ("true", "lab")
        assert len(stays(world)) == 1
        assert stays(world)[0] == getattr(world.serving(), "id", "")


def test_attach_that_is_killed_at_any_call_is_finished_by_the_next_one() -> None:
    """Before its first call, its second, ... : with one standing ENI in the end, and the address on it."""
    survived = 0
    while is_killed_at(survived):
        survived += 1
    assert survived > 5, "this was to kill it at several calls"


def is_killed_at(survived: int) -> bool:
    """Kill an init container at the call after so many, if there is one, and let the next container finish."""
    with World(workers=1, carry=Carry.ADDRESS) as world:
        [machine] = world.machines
        doomed: list[Process] = []
        calls: list[str] = []

        def kill_at_last(call: str) -> None:
            calls.append(call)
            if len(calls) > survived and doomed:
                doomed[0].kill()

        doomed.append(Process(machine, "attach", world.settings, before=kill_at_last))
        world.processes.extend(doomed)
        doomed[0].start()
        wait(lambda: not doomed[0].runs, 15, "it ends, or is killed")
        if not doomed[0].life.over:
            return False
        after = world.run(machine, "attach")
        assert after.ended(15), f"killed at {calls[-1]}"
        assert (after.code, after.error) == (0, None)
        [eni] = standing_enis(world)[machine.id]
        assert eni["Attachment"]["Status"] == "attached"
        assert stays(world) == [machine.id]
        return True


def test_a_standby_that_attaches_is_ready_for_its_first_takeover() -> None:
    """Everything but the address and its rule is there before its init container ends."""
    with World(carry=Carry.ADDRESS) as world:
        first, second = world.machines
        world.run(first)
        wait(lambda: first.serves, 10, "the first one serves")
        process = world.run(second, "attach")
        assert process.ended(10)
        assert process.code == 0
        report = process.address().report
        assert report is not None
        assert (report.extent.value, report.state.value) == ("ahead", "sound")
        assert FLOATING_IP not in second.plumbed
        assert standing_enis(world)[second.id]


# Several addresses, of several kinds.


def test_addresses_of_each_kind_move_together_from_one_dead_node() -> None:
    """An IPv4 address, an IPv6 address and a second IPv4 address: each by its own calls, all within one failover."""
    second = IPv4Address("10.0.0.101")
    addresses: tuple[Address, ...] = FLOATING_IP, IPV6, second
    with World(floating_ips=addresses, carry=Carry.ADDRESS) as world:
        first = world.run(world.machines[0])
        wait(lambda: all(map(first.machine.carries, addresses)), 15, "the first agent holds all addresses")
        standby = world.run(world.machines[1])
        world.wait_for_peace([first, standby])
        wait(lambda: is_ready(standby), 10, "it has its standing ENI")
        world.cut_power(first)
        wait(lambda: all(map(standby.machine.carries, addresses)), 10, "all have moved")
        for address in addresses:
            assert stays(world, address) == [first.machine.id, standby.machine.id]


def test_peace_costs_no_writes_and_one_describe_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a standing ENI on each node, too: nothing is mended that is not broken."""
    with World(carry=Carry.ADDRESS) as world:
        processes = observers(world)
        time.sleep(1)  # the ration's tag, the rehearsal
        before = len(world.calls())
        monkeypatch.setattr(timing, "LOOK_IN_PEACE", 0.3)
        monkeypatch.setattr(standing, "LOOK_IN_PEACE", 0.3)
        monkeypatch.setattr(rehearsal, "REHEARSE_EVERY", 600.0)
        for process in processes:
            process.look()
        holds_for(lambda: world.serving() is processes[0].machine, 2, "peace")
        assert {call["action"] for call in world.calls()[before:]} == {"DescribeNetworkInterfaces"}
