"""EC2 hangs, is down, throttles, denies or loses answers: a working address stays, a missing one comes in the end."""

from itertools import pairwise

import pytest

from floatingip.core.errors import Denied
from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, TYPICAL, Fleet
from tests.sim.line import Call, Happening, fails, hangs

OUTAGES = pytest.mark.parametrize("outage", [fails, hangs])
BOTH = pytest.mark.parametrize("carry", Carry)
NEEDED_AT_THE_START = ("DescribeNetworkInterfaces", "CreateNetworkInterface", "AttachNetworkInterface")
ATTACH_GIVES_UP = 20.0
"""Seconds without any answer of EC2 after which ``attach`` ends; a question that hangs may end it later."""


@OUTAGES
def test_attach_with_ec2_down_tries_again_and_leaves_the_rest_to_observe(outage: Happening) -> None:
    """It says what is wrong, waits longer and longer, and ends well, so that the observer gets its chance."""
    fleet = Fleet(1, profile=INSTANT)
    fleet.at_calls(before=outage)
    process = fleet.workers[0].attach()
    fleet.wait(lambda: process.end is not None, ATTACH_GIVES_UP + 5, "it ends")
    assert fleet.now > ATTACH_GIVES_UP
    assert process.end is not None
    assert (process.end.code, process.end.error) == (0, None)
    looks = [call.at for call in fleet.calls("describe_instances")]
    pauses = [later - earlier for earlier, later in pairwise(looks)]
    assert len(looks) >= 3
    assert outage is hangs or pauses == sorted(pauses)
    assert [line.level for line in process.logged("ec2")] == ["warning"]
    assert [line.level for line in process.logged("attach")] == ["warning"]


@BOTH
@OUTAGES
def test_an_observer_started_with_ec2_down_works_when_it_is_back(outage: Happening, carry: Carry) -> None:
    """Nothing of the outage stays: the first answer is acted upon."""
    fleet = Fleet(1, workers=1, profile=INSTANT, carry=carry)
    trouble = fleet.at_calls(before=outage)
    [worker] = fleet.workers
    observer = worker.start()
    fleet.holds_for(lambda: observer.is_alive, 60, "the observer runs")
    trouble.end()
    # A pause in peace is 15 s long by then; and what hangs is given up first.
    fleet.wait(lambda: fleet.serving() is worker, 30, "it holds the address")
    assert observer.logged("ec2")[0].level == "warning"
    assert "answers again" in observer.logged("ec2")[-1].message


@BOTH
@OUTAGES
def test_an_outage_leaves_a_healthy_holder_alone(outage: Happening, carry: Carry) -> None:
    """No answer of EC2 is no evidence: the address goes on answering, though the agents cannot ask any more."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    observers = fleet.observers()
    fleet.run(fleet.now + 10)
    writes = len(fleet.writes())
    trouble = fleet.at_calls(before=outage)
    fleet.holds_for(lambda: fleet.serving() is fleet.workers[0], 200, "the holder serves")
    assert trouble.hits >= 6, "nobody noticed the outage"
    assert len(fleet.writes()) == writes
    assert fleet.stays() == ["a"]
    assert all(each.is_alive for each in observers)
    assert all(each.logged("ec2") for each in observers)


@BOTH
@OUTAGES
@pytest.mark.parametrize("seconds", [2.0, 30.0])
def test_a_failover_during_an_outage_finishes_after_it_with_one_move(
    outage: Happening, carry: Carry, seconds: float
) -> None:
    """EC2 answers nothing from the power cut on, for so long."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, *_ = fleet.observers()
    trouble = fleet.at_calls(before=outage)
    holder.worker.cut_power()
    fleet.holds_for(lambda: fleet.serving() is None, seconds, "nobody can take over")
    assert trouble.hits >= 2
    trouble.end()
    # What is to be done now is tried again within 2 s; what hangs is given up before.
    fleet.wait(lambda: fleet.serving() is not None, 15, "a standby has the address")
    winner = fleet.serving()
    fleet.holds_for(lambda: fleet.serving() is winner, 20, "nobody takes it away again")
    assert len(fleet.stays()) == 2


def test_a_question_that_hangs_does_not_delay_a_probe() -> None:
    """A standby whose question to EC2 is not answered keeps on probing at its pace."""
    fleet = Fleet(1, profile=INSTANT)
    holder, standby = fleet.observers()
    fleet.at_calls("describe_enis", before=hangs)
    asked = len(fleet.calls("describe_enis", standby.worker))
    holder.worker.is_mute = True
    fleet.wait(lambda: len(fleet.calls("describe_enis", standby.worker)) > asked, 5, "a question that hangs")
    standby.probes_sent.clear()
    fleet.run(fleet.now + 4)
    gaps = [later - earlier for earlier, later in pairwise(standby.probes_sent)]
    assert len(gaps) >= 4 / 0.15 - 2
    assert max(gaps) <= 0.151


@pytest.mark.parametrize("name", ["create_eni", "attach_eni"])
def test_a_lost_answer_at_the_start_makes_no_second_eni(name: str) -> None:
    """The call took effect, but the agent could not know: it looks, and goes on from what it finds."""
    fleet = Fleet(1, workers=1, profile=TYPICAL)
    trouble = fleet.at_calls(name, after=fails, most=1)
    [worker] = fleet.workers
    worker.start()
    fleet.wait(lambda: fleet.serving() is worker, 15, "it holds the address")
    assert trouble.hits == 1
    assert len(fleet.calls(name)) == 1
    assert len(fleet.enis()) == len(fleet.stays()) == 1


@pytest.mark.parametrize("name", ["detach_eni", "attach_eni"])
def test_a_lost_answer_in_a_failover_leaves_one_holder(name: str) -> None:
    """The detach is not repeated upon somebody else, the attach not upon itself."""
    for profile in (INSTANT, TYPICAL):
        fleet = Fleet(1, profile=profile)
        holder, standby = fleet.observers()
        trouble = fleet.at_calls(name, after=fails, most=1)
        holder.worker.cut_power()
        fleet.wait(lambda fleet=fleet: fleet.serving() is fleet.workers[1], 15, "the standby has it")  # type: ignore[misc]  # bound early
        assert trouble.hits == 1
        assert len(fleet.calls(name, standby.worker)) == 1
        assert len(fleet.stays()) == 2


# Permissions.


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSubnets", *NEEDED_AT_THE_START])
def test_a_missing_permission_ends_attach_and_names_the_iam_action(action: str) -> None:
    """At once, and it says what to allow."""
    fleet = Fleet(1, profile=INSTANT)
    worker = fleet.workers[0]
    worker.cloud.denied.add(action)
    process = worker.attach()
    fleet.wait(lambda: process.end is not None, 5, "it ends")
    assert process.end is not None
    assert isinstance(process.end.error, Denied)
    assert process.end.error.exit_code == 4
    assert str(process.end.error) == f"IAM denies ec2:{action}; allow ec2:{action} to this pod's role"
    assert [line.fields["action"] for line in process.logged("denied")] == [f"ec2:{action}"]


@pytest.mark.parametrize("action", NEEDED_AT_THE_START)
def test_an_observer_denied_at_the_start_says_so_once_and_works_when_allowed(action: str) -> None:
    """However often it tries, the log has one line of it; mended, it needs no restart."""
    fleet = Fleet(1, workers=1, profile=INSTANT)
    [worker] = fleet.workers
    worker.cloud.denied.add(action)
    observer = worker.start()
    fleet.wait(lambda: worker.cloud.calls.count(action) >= 3, 200, "several tries")
    worker.cloud.denied.clear()
    fleet.wait(lambda: fleet.serving() is worker, 80, "it holds the address")
    # A dry run may find it before a second try would tell it.
    (line,) = observer.logged("denied") or observer.logged("rehearsal")
    assert line.level == "error"
    assert f"ec2:{action}" in line.message


def test_a_denied_detach_is_said_once_and_done_when_allowed() -> None:
    """A standby that may not fence waits until it may."""
    fleet = Fleet(1, profile=INSTANT)
    holder, standby = fleet.observers()
    standby.worker.cloud.denied.add("DetachNetworkInterface")
    holder.worker.cut_power()
    fleet.wait(lambda: len(fleet.calls("detach_eni", standby.worker)) >= 3, 60, "several tries")
    standby.worker.cloud.denied.clear()
    fleet.wait(lambda: fleet.serving() is standby.worker, 20, "the standby has the address")
    assert [line.fields["action"] for line in standby.logged("denied")] == ["ec2:DetachNetworkInterface"]


@BOTH
def test_a_denied_tag_keeps_the_address_that_was_taken_over(carry: Carry) -> None:
    """The ration cannot be written, which is said once; the failover is not undone for it."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    standby.worker.cloud.denied.add("CreateTags")
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is standby.worker, 10, "the standby has the address")
    fleet.wait(lambda: bool(fleet.calls("tag_eni", standby.worker)), 10, "a try")
    fleet.holds_for(lambda: fleet.serving() is standby.worker, 60, "it keeps the address")
    assert [line.fields["action"] for line in standby.logged("denied")] == ["ec2:CreateTags"]


@BOTH
def test_a_denied_describe_keeps_a_working_address(carry: Carry) -> None:
    """A permission taken away in peace is said once by each agent and moves nothing."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    observers = fleet.observers()
    fleet.run(fleet.now + 20)
    for worker in fleet.workers:
        worker.cloud.denied.add("DescribeNetworkInterfaces")
    asked = len(fleet.calls("describe_enis"))
    fleet.holds_for(lambda: fleet.serving() is fleet.workers[0], 200, "the holder serves")
    assert len(fleet.calls("describe_enis")) >= asked + 4
    for each in observers:
        assert [line.fields["action"] for line in each.logged("denied")] == ["ec2:DescribeNetworkInterfaces"]


@OUTAGES
def test_an_address_that_was_just_taken_over_outlasts_an_outage_that_hides_it(outage: Happening) -> None:
    """EC2 accepts the claim, and answers nothing after that: what it said before shows the old holder, and is past."""

    def begin(call: Call) -> None:
        fleet.at_calls(before=outage)

    fleet = Fleet(1, workers=3, carry=Carry.ADDRESS)
    old, *_ = fleet.workers
    fleet.observers()
    fleet.at_calls("assign", after=begin)
    old.cut_power()
    fleet.wait(lambda: fleet.serving() not in (None, old), 15, "another one serves")
    new = fleet.serving()
    fleet.holds_for(lambda: fleet.serving() is new, 120, "it goes on serving")
    assert len(fleet.stays()) == 2


@pytest.mark.parametrize("carry", Carry)
def test_a_tag_that_describes_show_late_is_written_twice_at_most(carry: Carry) -> None:
    """EC2 has accepted it: to write it again, each second and for each address, brings it no sooner."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    _, standby = fleet.observers()
    for worker in fleet.workers:
        worker.cloud.lag = 5.0
    fleet.run(fleet.now + 20.0)
    assert 1 <= len(fleet.calls("tag_eni", by=standby.worker)) <= 2
