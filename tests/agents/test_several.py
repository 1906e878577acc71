"""Several addresses in one deployment: they spread, none waits for another, and slots are counted beforehand."""

import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from floatingip.core import timing
from floatingip.core.model import Address
from lab.network.netns import Namespace
from tests.agents.world import FLOATING_IP, Machine, Process, World, holds_for, wait

SECOND, THIRD = IPv4Address("10.0.0.101"), IPv4Address("10.0.0.102")

DESCRIBE, DETACH, ATTACH = "DescribeNetworkInterfaces", "DetachNetworkInterface", "AttachNetworkInterface"


@pytest.fixture
def spreads_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has one address already takes the next one a moment later."""
    monkeypatch.setattr(timing, "SPREAD_STEP", 0.1)


@pytest.fixture
def rehearses_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free slots and permissions are checked several times a second."""
    monkeypatch.setattr(timing, "REHEARSE_EVERY", 0.3)


def all_on_the_first(world: World, addresses: Sequence[Address]) -> list[Process]:
    """An observer on each machine; the first one holds everything."""
    machine = world.machines[0]
    first = world.run(machine)
    wait(lambda: all(map(machine.carries, addresses)), 10, "the first agent holds all addresses")
    processes = [first, *(world.run(other) for other in world.machines[1:])]
    world.wait_for_peace(processes)
    return processes


def occupy(world: World, machine: Machine, count: int) -> list[str]:
    """Somebody else's ENIs take slots of a machine; their attachments."""
    attachments = []
    for index in range(1, count + 1):
        created = world.lab.create_network_interface(SubnetId=world.ec2.subnet_id)["NetworkInterface"]
        attached = world.lab.attach_network_interface(
            NetworkInterfaceId=created["NetworkInterfaceId"], InstanceId=machine.id, DeviceIndex=index
        )
        attachments.append(attached["AttachmentId"])
    return attachments


def attach(world: World, machine: Machine, address: IPv4Address, index: int = 1) -> str:
    """Our ENI of an address is on a machine already; its MAC."""
    created = world.lab.create_network_interface(
        SubnetId=world.ec2.subnet_id, PrivateIpAddress=str(address), Groups=[world.ec2.security_group_id]
    )["NetworkInterface"]
    eni = created["NetworkInterfaceId"]
    world.lab.create_tags(Resources=[eni], Tags=[{"Key": "floatingip", "Value": "lab"}])
    world.lab.attach_network_interface(NetworkInterfaceId=eni, InstanceId=machine.id, DeviceIndex=index)
    return created["MacAddress"]


def fetch(process: Process, path: str) -> str:
    """What the status port answers, be it an error."""

    def ask() -> str:
        url = f"http://{process.machine.instance.address}:{process.agent._settings.port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.read().decode()}"

    return process.machine.namespace.call(ask)


@pytest.mark.usefixtures("spreads_soon", "rehearses_often")
def test_a_holder_warns_while_the_others_lack_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, with the numbers, in its log and its metrics, before anything has failed; until there are slots again."""
    monkeypatch.setattr(timing, "SHORT_FOR", 0.5)
    addresses = FLOATING_IP, SECOND
    with World(floating_ips=addresses) as world:
        [blocking] = occupy(world, world.machines[1], 1)
        holder, _ = all_on_the_first(world, addresses)
        wait(lambda: bool(holder.logged(event="capacity")), 5, "a warning")
        [warning] = holder.logged(event="capacity")
        assert warning["level"] == "warning"
        assert "1 free ENI slots for its 2 addresses" in warning["msg"]
        assert "floatingip_survivors_short 1.0" in fetch(holder, "/metrics")
        world.lab.detach_network_interface(AttachmentId=blocking)
        wait(lambda: "floatingip_survivors_short 0.0" in fetch(holder, "/metrics"), 5, "the warning is taken back")
        assert len(holder.logged(event="capacity")) == 1


def test_a_standby_without_a_free_slot_says_so_before_the_failure() -> None:
    """In its log, its readiness and its metrics; it is alive all the same, and evicts nobody in vain."""
    with World() as world:
        occupy(world, world.machines[1], 2)
        holder, standby = world.observers()
        wait(lambda: bool(standby.logged(event="rehearsal")), 5, "the standby has found out")
        [said] = standby.logged(event="rehearsal")
        assert (said["level"], "has no free ENI slot; keep one free" in said["msg"]) == ("warning", True)
        wait(lambda: fetch(standby, "/readyz").startswith("503 "), 2, "it is not ready")
        assert "has no free ENI slot" in fetch(standby, "/readyz")
        assert f'floatingip_ready{{address="{FLOATING_IP}"}} 0.0' in fetch(standby, "/metrics")
        assert not fetch(standby, "/livez").startswith("503 ")
        assert not fetch(holder, "/readyz").startswith("503 ")
        world.cut_power(holder)
        wait(lambda: standby.address().decision.reason.name == "CANNOT_CLAIM", 5, "it knows that the holder is dead")
        holds_for(lambda: not world.calls(DETACH, standby.machine.id), 0.5, "the holder keeps its ENI")


def holders_elsewhere(world: World, addresses: Sequence[IPv4Address]) -> None:
    """Machines without an agent that carry these addresses already, fourteen each."""
    for number, begin in enumerate(range(0, len(addresses), 14)):
        name = f"holder-{number}"
        instance = world.ec2.run_instance(name, f"10.0.0.{50 + number}", instance_type="m5.24xlarge")
        machine = Machine(world, Namespace(name), instance, world.machines[0].cloud)
        world.machines.append(machine)
        for index, address in enumerate(addresses[begin : begin + 14], start=1):
            machine.plumbed[address] = attach(world, machine, address, index)


@pytest.mark.parametrize("count", [1, 50])
def test_peace_costs_one_question_whatever_the_number_of_addresses(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One DescribeNetworkInterfaces per look; and the deciding thread keeps up."""
    addresses = [FLOATING_IP + number for number in range(count)]
    others = threading.enumerate()
    with World(
        workers=1,
        floating_ips=tuple(addresses),
        mark=0x3F0000,
        probe_interval=1.0,
        probe_fast_interval=0.5,
        probe_timeout=0.5,
    ) as world:
        monkeypatch.setattr(timing, "LOOK_IN_PEACE", 0.5)
        monkeypatch.setattr(timing, "PEACE_JITTER", 0.0)
        holders_elsewhere(world, addresses)
        me = world.machines[0]
        agent = world.run(me).agent

        def at_peace() -> bool:
            decided = {each.decision.reason.name for each in agent._addresses.values()}
            return decided == {"ANSWERS"} and agent._shared.slots is not None

        wait(at_peace, 15, "all addresses are seen UP")
        before = len(world.calls(caller=me.id))
        holds_for(at_peace, 3.0, "peace")
        asked = [call["action"] for call in world.calls(caller=me.id)[before:]]
        assert 3 <= asked.count(DESCRIBE) <= 7
        # No observer tells how the holders are, so their instances are asked about: all in one question, too.
        assert asked.count("DescribeInstances") == len(asked) - asked.count(DESCRIBE) <= asked.count(DESCRIBE)
    probing = [thread for thread in threading.enumerate() if thread not in others and thread.name == "probe"]
    assert len(probing) <= 1
    wait(lambda: not any(thread.is_alive() for thread in probing), 3, "the probes' thread has ended")
