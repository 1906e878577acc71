"""Only the judged attachment is detached, and no end of an agent between two of its calls strands the address."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.ec2 import Guest
from tests.agents.world import FLOATING_IP, INSTANT, Process, World, holds_for, wait

SLOW_DETACH = replace(INSTANT, detach=0.5)
DETACH, ATTACH = "DetachNetworkInterface", "AttachNetworkInterface"


@pytest.mark.parametrize("new_holder", [0, 2], ids=["to the same node again", "to a third node"])
def test_stale_attachment_id_does_not_evict_the_new_holder(new_holder: int) -> None:
    """Somebody moves the ENI between a standby's judgement and its detach: EC2 says NotFound, and that was it."""
    with World(workers=3) as world:

        def replace_attachment(call: str) -> None:
            if call == "detach_eni" and len(world.attachments()) == 1:
                (eni,) = world.enis()
                world.lab.detach_network_interface(AttachmentId=eni["Attachment"]["AttachmentId"])
                world.lab.attach_network_interface(
                    NetworkInterfaceId=eni["NetworkInterfaceId"],
                    InstanceId=world.machines[new_holder].id,
                    DeviceIndex=3,
                )

        third = world.machines.pop()
        holder, standby = world.observers(before=replace_attachment)
        world.machines.append(third)
        judged = world.attachments()[0][0]
        world.cut_power(holder)
        wait(lambda: bool(standby.logged(event="write")), 5, "the standby tries to detach")
        holds_for(lambda: len(world.attachments()) == 2, 1.5, "the new attachment stays")
        (detach,) = world.calls(DETACH)
        assert (detach["params"]["AttachmentId"], detach["error"]) == (judged, "InvalidAttachmentID.NotFound")
        assert world.holder() == world.machines[new_holder].id
        assert not world.calls(ATTACH, standby.machine.id)
        assert standby.runs


def test_another_observer_claims_when_the_claimer_is_killed_between_detach_and_attach() -> None:
    """Whichever standby comes to its attach first dies there; the other one has the address soon."""
    with World(workers=3) as world:
        killed: list[Process] = []
        observers: list[Process] = []

        def kill_first(call: str) -> None:
            if call == "attach_eni" and observers and not killed:
                caller = world.calls(DETACH)[0]["caller"]
                killed.append(next(process for process in observers if process.machine.id == caller))
                killed[0].kill()

        observers += world.observers(before=kill_first)
        world.cut_power(observers[0])
        wait(lambda: world.serving() is not None, 8, "another observer has the address")
        (dead,) = killed
        assert world.holder() not in (observers[0].machine.id, dead.machine.id)
        assert len(world.attachments()) == 2


def test_a_restarted_observer_claims_what_it_left_free() -> None:
    """With two nodes only: the killed claimer's own next container finishes, though it remembers nothing."""
    with World() as world:
        observers: list[Process] = []

        def kill_self(call: str) -> None:
            if call == "attach_eni":
                observers[1].kill()

        observers += world.observers(before=kill_self)
        world.cut_power(observers[0])
        wait(lambda: not observers[1].runs, 5, "the claimer is killed")
        assert world.holder() == "", "this test is about a free ENI"
        world.run(observers[1].machine)
        wait(lambda: world.serving() is observers[1].machine, 3, "the new container has the address")


def test_sigterm_between_detach_and_attach_waits_for_the_attach() -> None:
    """While EC2 detaches for half a second; the observer ends as soon as the attach is issued."""
    with World(SLOW_DETACH) as world:
        holder, standby = world.observers()
        world.cut_power(holder)
        wait(lambda: bool(world.calls(DETACH)), 5, "the detach")
        standby.delete()
        assert standby.ended(1.5)
        assert standby.code == 0
        assert [call["error"] for call in world.calls(ATTACH, standby.machine.id)] == [None]
        assert world.holder() == standby.machine.id


def test_sigterm_just_before_the_detach_leaves_no_free_eni() -> None:
    """It arrives when the takeover is already decided: either there is no detach at all, or its attach follows."""
    with World(SLOW_DETACH) as world:
        observers: list[Process] = []

        def stop_at_takeover(event: str) -> None:
            if event == "takeover":
                observers[1].delete()

        observers += world.observers(on_line=stop_at_takeover)
        world.cut_power(observers[0])
        assert observers[1].ended(5)
        observers[1].kill()
        time.sleep(SLOW_DETACH.detach + 0.2)
        assert world.holder() != "", "the address is stranded"


def test_sigterm_on_the_eve_of_a_takeover_begins_none() -> None:
    """An observer that was told to end does not start what would keep it."""
    with World() as world:
        observers: list[Process] = []

        def stop_at_doubt(event: str) -> None:
            if event == "decision" and observers and "DOWN" in str(observers[1].address().health.state):
                observers[1].delete()

        observers += world.observers(on_line=stop_at_doubt)
        world.cut_power(observers[0])
        assert observers[1].ended(5)
        if world.calls(DETACH):
            assert world.holder() == observers[1].machine.id


def in_peace(world: World) -> Process:
    """A standby of a healthy holder."""
    return world.observers()[1]


def holding(world: World) -> Process:
    """The holder."""
    return world.observers()[0]


def in_doubt(world: World) -> Process:
    """A standby of a holder that says it is well, but does not answer."""
    holder, standby = world.observers()
    holder.machine.guest = Guest.HUNG
    wait(lambda: bool(standby.logged(event="decision", reason="NOT_VOUCHED")), 5, "doubt")
    return standby


def with_hanging_ec2(world: World) -> Process:
    """An observer whose first question is not answered."""
    world.ec2.faults.hang()
    process = world.run(world.machines[0])
    wait(lambda: bool(world.calls()), 5, "a question")
    return process


State = Callable[[World], Process]


@pytest.mark.parametrize("state", [in_peace, holding, in_doubt, with_hanging_ec2])
def test_sigterm_ends_an_observer_within_a_second(state: State) -> None:
    """And with 0; a holder's plumbing stays, so the address goes on answering."""
    with World() as world:
        process = state(world)
        serving = world.serving()
        process.delete()
        assert process.ended(1)
        assert (process.code, process.error) == (0, None)
        assert world.serving() is serving


def test_sigterm_after_a_refused_detach_ends_an_observer_within_a_second() -> None:
    """Nothing was detached, so there is nothing to attach."""
    with World() as world:
        holder, standby = world.observers()
        world.ec2.faults.deny({DETACH})
        world.cut_power(holder)
        wait(lambda: bool(standby.logged(event="denied")), 5, "the denial")
        standby.delete()
        assert standby.ended(1)


def test_sigterm_ends_attach_within_a_second_with_143() -> None:
    """While EC2 takes long to attach; the observer will find the attachment."""
    with World(replace(INSTANT, attach=20)) as world:
        process = world.run(world.machines[0], "attach")
        wait(lambda: bool(world.attachments()), 5, f"attaching {FLOATING_IP}")
        process.delete()
        assert process.ended(1)
        assert process.code == 143
