"""Several agents want one ENI at the same moment: by EC2's own history exactly one gets it, and all live on."""

import itertools
from collections.abc import Sequence

import pytest

from floatingip.core.decision import ration
from lab.ec2 import Guest
from tests.agents.world import Process, World, wait

CREATIONS, CLAIMS, CONVICTIONS = 35, 35, 30
"""A hundred tries in all."""

RACED = 3
"""Of each kind so many must have been races at the least; how many are depends on the machine."""


def settle(world: World, processes: Sequence[Process], when: str) -> None:
    """Wait until exactly one carries the address, and each agent has seen an attachment."""

    def settled() -> bool:
        serving = [machine for machine in world.machines if machine.serves]
        return len(serving) == 1 and all(process.address().decision.attachment_id for process in processes)

    wait(settled, 10, lambda: f"one holder after {when}; {[str(process) for process in processes]}")


def lost_races(world: World, action: str) -> int:
    """How often EC2 said no to one of them."""
    return sum(call["error"] is not None for call in world.calls(action))


def test_init_containers_racing_from_nothing_make_one_eni_and_one_holder() -> None:
    """Both find no ENI; one creates it, one attaches it, and both end with 0."""
    with World() as world:
        for race in range(1, CREATIONS + 1):
            both = [world.run(machine, "attach") for machine in world.machines]
            assert all(process.ended(10) for process in both), "an init container did not end"
            assert [(process.code, process.error) for process in both] == [(0, None)] * 2
            (eni,) = world.enis()
            assert len(world.attachments()) == race
            serving = world.serving()
            assert serving is not None
            assert serving.id == eni["Attachment"]["InstanceId"]
            for process in both:
                process.kill()
            world.lab.detach_network_interface(AttachmentId=eni["Attachment"]["AttachmentId"])
            world.lab.delete_network_interface(NetworkInterfaceId=eni["NetworkInterfaceId"])
        assert lost_races(world, "CreateNetworkInterface") >= RACED, "these were no races"


def test_observers_racing_for_a_free_eni_leave_exactly_one_holder() -> None:
    """Both start while the ENI is free, so neither knows of the other, and both claim it."""
    with World() as world:
        for race in range(1, CLAIMS + 1):
            both = [world.run(machine) for machine in world.machines]
            settle(world, both, f"race {race}")
            assert len(world.attachments()) == race
            assert world.holder() == getattr(world.serving(), "id", "")
            assert all(process.runs for process in both)
            for process in both:
                process.kill()
            world.lab.detach_network_interface(AttachmentId=world.enis()[0]["Attachment"]["AttachmentId"])
        assert lost_races(world, "AttachNetworkInterface") >= RACED, "these were no races"
        assert not world.calls("DetachNetworkInterface")


def test_standbys_convicting_one_dead_holder_leave_exactly_one_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both judge the same attachment; the slower one evicts nobody, and both go on observing."""
    # Or the ration would rightly end this.
    monkeypatch.setattr(ration, "CONVICTION_WINDOW", 0.0)
    with World(workers=3) as world:
        observers = {process.machine.id: process for process in world.observers()}
        for race in itertools.count(1):
            before = world.attachments()
            dead = observers.pop(world.holder())
            world.cut_power(dead)
            settle(world, list(observers.values()), f"race {race}")
            assert len(world.enis()) == 1
            assert world.attachments()[:-1] == before
            assert all(process.runs for process in observers.values())
            if race == CONVICTIONS:
                break
            # A new node in the dead one's place.
            dead.machine.guest = Guest.RUNNING
            observers[dead.machine.id] = world.run(dead.machine)
            world.wait_for_peace(list(observers.values()))
        assert lost_races(world, "DetachNetworkInterface") >= RACED, "these were no races"
