"""An address that something else has, and nodes that cannot carry it: nothing is touched, nothing ping-pongs."""

from collections.abc import Callable
from typing import Any

import pytest

from floatingip.core.decision import ration, timing
from floatingip.core.errors import AddressTaken, LookAgain
from floatingip.core.model import Carry
from floatingip.edges.ec2.cloud import Ec2Cloud
from lab.ec2 import Guest
from tests.agents.world import FLOATING_IP, Machine, World, holds_for, wait

Make = Callable[[World], Any]


def untagged(world: World) -> Any:
    """An ENI that somebody made without our tag; free, so that it could be had."""
    return world.lab.create_network_interface(SubnetId=world.ec2.subnet_id, PrivateIpAddress=str(FLOATING_IP))


def another_clusters(world: World) -> Any:
    """An ENI of another cluster of this VPC."""
    return world.lab.create_network_interface(
        SubnetId=world.ec2.subnet_id,
        PrivateIpAddress=str(FLOATING_IP),
        TagSpecifications=[
            {"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "another-cluster"}]}
        ],
    )


def secondary(world: World) -> Any:
    """An ENI that is ours, but has the address only as a secondary one."""
    return world.lab.create_network_interface(
        SubnetId=world.ec2.subnet_id,
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.99", "Primary": True},
            {"PrivateIpAddress": str(FLOATING_IP), "Primary": False},
        ],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "lab"}]}],
    )


@pytest.mark.parametrize("make", [untagged, another_clusters, secondary])
def test_attach_refuses_a_foreign_eni_and_names_it(make: Make) -> None:
    """With exit code 5, and not one call that could change anything."""
    with World() as world:
        eni = make(world)["NetworkInterface"]["NetworkInterfaceId"]
        process = world.run(world.machines[0], "attach")
        assert process.ended(5)
        assert isinstance(process.error, AddressTaken)
        assert process.error.exit_code == 5
        assert eni in str(process.error)
        assert str(FLOATING_IP) in str(process.error)
        assert world.writes() == []


@pytest.mark.parametrize("carry", Carry)
def test_attach_ends_when_ec2_refuses_the_address_and_shows_nobody(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit code 5 and what EC2 said, and not without a back-off until then."""
    monkeypatch.setattr(timing, "TAKEN_AFTER", 4.0)
    monkeypatch.setattr(Ec2Cloud, "create_eni", in_use(Ec2Cloud.create_eni, FLOATING_IP))
    monkeypatch.setattr(Ec2Cloud, "assign", in_use(Ec2Cloud.assign, FLOATING_IP))
    with World(carry=carry) as world:
        process = world.run(world.machines[0], "attach")
        assert process.ended(25)
        assert isinstance(process.error, AddressTaken)
        assert "Address 10.0.0.100 is in use." in str(process.error)
        assert [line["level"] for line in process.logged(event="taken")] == ["error"]


def in_use(call: Callable[..., Any], address: object) -> Callable[..., Any]:
    """The call, for an address that something has which this account cannot see."""

    def refused(cloud: Ec2Cloud, *args: Any, **kwargs: Any) -> Any:
        if address in args:
            raise LookAgain(f"InvalidIPAddress.InUse: Address {address} is in use.")
        return call(cloud, *args, **kwargs)

    return refused


def test_observers_refuse_a_foreign_eni_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say so once, go on looking, and take the address when it is free."""
    monkeypatch.setattr(timing, "LOOK_IN_PEACE", 0.2)
    with World() as world:
        eni = untagged(world)["NetworkInterface"]["NetworkInterfaceId"]
        both = [world.run(machine) for machine in world.machines]
        wait(lambda: all(process.logged(reason="NOT_OURS") for process in both), 5, "both refuse")
        holds_for(lambda: not world.writes(), 1, "nothing is touched")
        assert all(eni in line["msg"] for process in both for line in process.logged(reason="NOT_OURS"))
        assert [len(process.logged(reason="NOT_OURS")) for process in both] == [1, 1]
        world.lab.delete_network_interface(NetworkInterfaceId=eni)
        wait(lambda: world.serving() is not None, 5, "one of them holds the address")
        assert len(world.enis()) == 1


def break_nft(machine: Machine, *, answers: bool) -> None:
    """The node cannot set up the marks; whether the address answers echo requests nevertheless."""
    machine.problem, machine.answers_unsound = "nft: command not found", answers
    for link in machine.links:
        machine.strip(link.mac)


@pytest.mark.parametrize("answers", [True, False], ids=["answering", "not answering"])
def test_a_problem_of_every_node_moves_the_address_once_at_most(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder relieves itself once, as the next node might be better; from then on the ration holds it."""
    monkeypatch.setattr(timing, "UNSOUND_FOR", 0.3)
    with World(workers=3, patience=1.0, settle=5.0) as world:
        observers = world.observers()
        for machine in world.machines:
            break_nft(machine, answers=answers)
        holds_for(lambda: len(world.attachments()) <= 2, 4, "one move at most")
        assert world.holder() != ""
        assert all(process.runs for process in observers)


def test_a_node_that_was_unsound_itself_does_not_take_the_address_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the ration is spent: of two broken nodes each has it once."""
    monkeypatch.setattr(timing, "UNSOUND_FOR", 0.2)
    monkeypatch.setattr(ration, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(ration, "LONGEST_WAIT", 0.1)
    with World() as world:
        world.observers()
        for machine in world.machines:
            break_nft(machine, answers=True)
        wait(lambda: len(world.attachments()) == 2, 6, "the first move")
        holds_for(lambda: len(world.attachments()) == 2, 3, "no second move")


def test_a_blocked_probe_moves_nothing() -> None:
    """A security group closes ICMP: the address seems dead, its holder is well and says so."""
    with World() as world:
        holder, standby = world.observers()
        holder.machine.guest = Guest.HUNG  # to the probes alone: its observer goes on answering
        wait(lambda: bool(standby.logged(reason="NOT_VOUCHED")), 5, "the address stops answering")
        holds_for(lambda: len(world.attachments()) == 1, 2, "no move")


def test_a_node_that_cannot_see_the_address_moves_nothing_until_ec2_tells_of_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own probes would be answered for ever: it sends none, is not ready, and says why; EC2's word is as good."""
    monkeypatch.setattr(timing, "LOOK_IN_PEACE", 1.0)
    with World() as world:
        holder, standby = world.observers()
        standby.machine.blind = "10.0.0.100 is on kube-ipvs0"
        for wake in standby.machine.watchers:
            wake()
        wait(lambda: bool(standby.logged(event="blind")), 5, "it notices")
        sent = len(standby.machine.sent)
        world.cut_power(holder)
        holds_for(lambda: len(world.attachments()) == 1, 4, "no move")
        assert len(standby.machine.sent) <= sent + 1
        assert standby.address().not_ready() == "10.0.0.100 is on kube-ipvs0"
        world.lab.terminate_instances(InstanceIds=[holder.machine.id])
        wait(lambda: world.holder() == standby.machine.id, 30, "it takes over")
