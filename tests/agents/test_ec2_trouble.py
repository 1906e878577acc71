"""EC2 hangs, is down, throttles, denies or loses answers: a working address stays, a missing one comes in the end."""

import time
from itertools import pairwise

import pytest

from floatingip.agent import address, attaching, looking, writing
from floatingip.core.decision import timing
from floatingip.core.errors import Denied
from lab.ec2 import Guest
from lab.ec2.transport import Effect
from tests.agents.world import World, holds_for, wait

DESCRIBE = "DescribeNetworkInterfaces"
CREATE, ATTACH, DETACH = "CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface"


@pytest.fixture
def gives_up_early(monkeypatch: pytest.MonkeyPatch) -> float:
    """Init containers wait less long for EC2."""
    monkeypatch.setattr(attaching, "ATTACH_GIVES_UP", 2.0)
    return attaching.ATTACH_GIVES_UP


@pytest.fixture
def tries_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied agents ask more often than once a minute."""
    monkeypatch.setattr(looking, "BACKOFF_DENIED", 0.2)
    monkeypatch.setattr(writing, "BACKOFF_LAST", 0.2)


@pytest.fixture
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """In peace, too, EC2 is asked several times a second."""
    monkeypatch.setattr(timing, "LOOK_IN_PEACE", 0.2)
    monkeypatch.setattr(address, "PEACE_JITTER", 0.0)


def test_a_hanging_describe_does_not_delay_a_probe() -> None:
    """A standby whose question to EC2 hangs until its timeout keeps on probing at its pace."""
    with World() as world:
        holder, standby = world.observers()
        world.ec2.faults.hang({DESCRIBE})
        asked = len(world.calls(DESCRIBE, standby.machine.id))
        holder.machine.guest = Guest.HUNG
        wait(lambda: len(world.calls(DESCRIBE, standby.machine.id)) > asked, 5, "a question that hangs")
        standby.machine.sent.clear()
        holds_for(lambda: standby.runs, 1.5, "the standby runs")
        gaps = [later - earlier for earlier, later in pairwise(standby.machine.sent)]
        assert len(gaps) > 0.8 * 1.5 / world.settings.probe_fast_interval
        assert max(gaps) < 0.6, "a stall as long as that of a busy machine"


@pytest.mark.parametrize("effect", [Effect.REFUSE, Effect.HANG])
def test_attach_with_ec2_down_tries_again_and_leaves_the_rest_to_observe(effect: Effect, gives_up_early: float) -> None:
    """It says what is wrong, waits longer and longer, and ends well, so that the observer gets its chance."""
    with World() as world:
        world.ec2.faults.begin(effect)
        began = time.monotonic()
        process = world.run(world.machines[0], "attach")
        assert process.ended(gives_up_early + 2)
        assert time.monotonic() - began > gives_up_early
        assert (process.code, process.error) == (0, None)
        asked = [call["began"] for call in world.calls()]
        # What is refused at once is asked once more within the same look.
        looks = asked[::2] if effect is Effect.REFUSE else asked
        pauses = [later - earlier for earlier, later in pairwise(looks)]
        assert pauses == sorted(pauses)
        if effect is Effect.REFUSE:
            assert len(asked) >= 2
            assert process.logged(event="ec2", level="warning")
        assert process.logged(event="attach", level="warning")


@pytest.mark.parametrize("effect", [Effect.REFUSE, Effect.HANG])
def test_an_observer_started_with_ec2_down_works_when_it_is_back(effect: Effect) -> None:
    """Nothing of the outage stays: the first answer is acted upon."""
    with World() as world:
        fault = world.ec2.faults.begin(effect)
        process = world.run(world.machines[0])
        holds_for(lambda: process.runs, 1, "the observer runs")
        fault.end()
        wait(lambda: world.serving() is not None, 5, "it holds the address")
        # What hangs for a second need not be news: it is asked once more beside before it is given up.
        assert process.logged(event="ec2", level="warning") or effect is Effect.HANG


@pytest.mark.parametrize("effect", [Effect.REFUSE, Effect.HANG, Effect.THROTTLE])
def test_api_outage_leaves_a_healthy_holder_alone(effect: Effect, asks_often: None) -> None:
    """No answer of EC2 is no evidence: the address goes on answering, though the agents cannot ask any more."""
    with World() as world:
        observers = world.observers()
        writes = len(world.writes())
        fault = world.ec2.faults.begin(effect)
        holds_for(lambda: world.serving() is world.machines[0], 1.5, "the holder serves")
        assert fault.hits >= 2, "nobody noticed the outage"
        assert len(world.writes()) == writes
        assert len(world.attachments()) == 1
        assert all(process.runs for process in observers)


def test_a_failover_under_throttling_finishes() -> None:
    """EC2 answers RequestLimitExceeded to everything from the power cut on, for two seconds."""
    with World() as world:
        holder, standby = world.observers()
        with world.ec2.faults.throttle() as fault:
            world.cut_power(holder)
            holds_for(lambda: world.serving() is None, 2, "nobody can take over")
            assert fault.hits >= 2
        wait(lambda: world.serving() is standby.machine, 5, "the standby has the address")
        assert len(world.attachments()) == 2


@pytest.mark.parametrize("action", [CREATE, ATTACH])
def test_a_lost_answer_at_the_start_makes_no_second_eni(action: str) -> None:
    """The call took effect, but the agent could not know: it looks, and goes on from what it finds."""
    with World() as world:
        fault = world.ec2.faults.lose_answers({action}, count=1)
        process = world.run(world.machines[0])
        wait(lambda: world.serving() is process.machine, 5, "it holds the address")
        assert fault.hits == 1
        wait(lambda: bool(world.calls(action)), 1, "the endpoint has recorded the call")
        assert len(world.calls(action)) == 1
        assert len(world.enis()) == len(world.attachments()) == 1


@pytest.mark.parametrize("action", [DETACH, ATTACH])
def test_a_lost_answer_in_a_failover_leaves_one_holder(action: str) -> None:
    """The detach is not repeated upon somebody else, the attach not upon itself."""
    with World() as world:
        holder, standby = world.observers()
        fault = world.ec2.faults.lose_answers({action}, count=1)
        world.cut_power(holder)
        wait(lambda: world.serving() is standby.machine, 8, "the standby has the address")
        assert fault.hits == 1
        # A call is recorded when it ends, which may be after its effect.
        wait(lambda: len(world.calls(action, standby.machine.id)) > 0, 2, "the call is recorded")
        assert len(world.calls(action, standby.machine.id)) == 1
        assert len(world.attachments()) == 2


@pytest.mark.parametrize("action", [DESCRIBE, "DescribeInstances", "DescribeSubnets", CREATE, ATTACH])
def test_missing_permission_names_the_iam_action(action: str) -> None:
    """The init container ends at once and says what to allow; test_process.py sees it from the outside."""
    with World() as world:
        world.ec2.faults.deny({action})
        process = world.run(world.machines[0], "attach")
        assert process.ended(5)
        assert isinstance(process.error, Denied)
        assert process.error.exit_code == 4
        assert str(process.error) == f"IAM denies ec2:{action}; allow ec2:{action} to this pod's role"
        assert [line["action"] for line in process.logged(event="denied")] == [f"ec2:{action}"]


@pytest.mark.parametrize("action", [DESCRIBE, CREATE, ATTACH])
def test_an_observer_denied_at_the_start_says_so_once_and_works_when_allowed(
    action: str, tries_again_soon: None
) -> None:
    """However often it tries, the log has one line of it; mended, it needs no restart."""
    with World() as world:
        with world.ec2.faults.deny({action}) as fault:
            process = world.run(world.machines[0])
            wait(lambda: fault.hits >= 2, 8, "several tries")
        wait(lambda: world.serving() is process.machine, 5, "it holds the address")
        (line,) = process.logged(event="denied")
        assert line["action"] == f"ec2:{action}"
        assert f"ec2:{action}" in line["msg"]


def test_a_denied_detach_is_said_once_and_done_when_allowed(tries_again_soon: None) -> None:
    """A standby that may not fence waits until it may."""
    with World() as world:
        holder, standby = world.observers()
        with world.ec2.faults.deny({DETACH}) as fault:
            world.cut_power(holder)
            wait(lambda: fault.hits >= 2, 8, "several tries")
        wait(lambda: world.serving() is standby.machine, 5, "the standby has the address")
        assert [line["action"] for line in standby.logged(event="denied")] == [f"ec2:{DETACH}"]


def test_a_denied_tag_keeps_the_address_that_was_taken_over(tries_again_soon: None) -> None:
    """The ration cannot be written, which is said once; the failover is not undone for it."""
    with World() as world:
        holder, standby = world.observers()
        fault = world.ec2.faults.deny({"CreateTags"})
        world.cut_power(holder)
        wait(lambda: world.serving() is standby.machine, 5, "the standby has the address")
        wait(lambda: fault.hits >= 1, 8, "a try")
        holds_for(lambda: world.serving() is standby.machine, 1, "it keeps the address")
        assert [line["action"] for line in standby.logged(event="denied")] == ["ec2:CreateTags"]


def test_a_denied_describe_keeps_a_working_address(asks_often: None, tries_again_soon: None) -> None:
    """A permission taken away in peace is said once by each agent and moves nothing."""
    with World() as world:
        observers = world.observers()
        fault = world.ec2.faults.deny({DESCRIBE})
        holds_for(lambda: world.serving() is world.machines[0], 1.5, "the holder serves")
        assert fault.hits >= 4
        for process in observers:
            assert [line["action"] for line in process.logged(event="denied")] == [f"ec2:{DESCRIBE}"]
