"""Only the judged attachment is detached, and no end of an agent between two of its calls strands the address."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from floatingip.core.model import Carry
from tests.fakes.ec2 import Delays
from tests.sim.fleet import ADDRESS, INSTANT, TYPICAL, Fleet, Profile
from tests.sim.line import Call, hangs, is_denied
from tests.sim.observer import Observer
from tests.sim.worker import Worker

SLOW_DETACH = replace(INSTANT, delays=Delays(detach=0.5))
SLOW_ATTACH = replace(INSTANT, delays=Delays(attach=20.0))
WITHIN_A_SECOND = 1.0


@pytest.mark.parametrize("new_holder", [0, 2], ids=["to the same node again", "to a third node"])
def test_a_stale_attachment_does_not_evict_the_new_holder(new_holder: int) -> None:
    """Somebody moves the ENI between a standby's judgement and its detach: EC2 says NotFound, and that was it."""
    fleet = Fleet(1, workers=3, profile=INSTANT)
    third = fleet.workers.pop()
    holder, standby = fleet.observers()
    fleet.workers.append(third)
    target = fleet.workers[new_holder]

    def replace_attachment(_: Call) -> None:
        eni = fleet.eni()
        assert eni.attachment is not None
        fleet.cloud.detach_eni(eni.attachment.id, force=False)
        fleet.cloud.attach_eni(eni.id, target.id, frozenset({1, 2}))

    fleet.at_calls("detach_eni", before=replace_attachment, most=1)
    judged = fleet.attachments()[0]
    holder.worker.cut_power()
    fleet.wait(lambda: bool(standby.logged("write", write=f"Detach(attachment_id='{judged}', force=False)")), 5)
    fleet.holds_for(lambda: len(fleet.attachments()) <= 2, 3.0, "the new attachment stays")
    (detach,) = fleet.calls("detach_eni")
    assert detach.args == (judged,)
    assert "InvalidAttachmentID.NotFound" in str(detach.error)
    assert fleet.at(ADDRESS) is target
    assert not fleet.calls("attach_eni", by=standby.worker)
    assert standby.is_alive


CLAIMS = {Carry.ENI: ["detach_eni", "attach_eni", "tag_eni"], Carry.ADDRESS: ["assign", "tag_eni"]}
KILLINGS = [(carry, call, when) for carry, calls in CLAIMS.items() for call in calls for when in ("before", "after")]


@pytest.mark.parametrize("profile", [INSTANT, TYPICAL], ids=["instant", "typical"])
@pytest.mark.parametrize(("carry", "call", "when"), KILLINGS)
def test_another_observer_finishes_when_the_claimer_is_killed_at_any_call(
    carry: Carry, call: str, when: str, profile: Profile
) -> None:
    """Whichever standby comes there first dies, with its machine; the third one has the address soon."""
    fleet = Fleet(1, workers=3, profile=profile, carry=carry)
    holder, *standbys = fleet.observers()
    killed: list[str] = []

    def cut_power(made: Call) -> None:
        killed.append(made.by)
        next(each for each in standbys if each.worker.name == made.by).worker.cut_power()

    fleet.at_calls(call, most=1, **{when: cut_power})  # type: ignore[arg-type]  # before or after
    holder.worker.cut_power()
    fleet.wait(lambda: bool(killed), 60, "the claimer dies")
    [survivor] = [each for each in standbys if each.worker.name not in killed]
    # It was heard until it claimed the address, and is silent since: `settle` is not waited for.
    fleet.wait(lambda: fleet.serving() is survivor.worker, 25, "the third one has it")
    fleet.holds_for(lambda: fleet.serving() is survivor.worker, 10, "it keeps it")


def test_another_observer_claims_soon_when_the_claimer_is_killed_between_detach_and_attach() -> None:
    """It need not be judged: nobody has the ENI."""
    fleet = Fleet(1, workers=3, profile=INSTANT)
    holder, *standbys = fleet.observers()
    fleet.at_calls("attach_eni", before=lambda call: kill(standbys, call.by), most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is not None, 8, "another observer has the address")
    [dead] = [each for each in standbys if not each.is_alive]
    assert fleet.serving() not in (holder.worker, dead.worker)
    assert len(fleet.attachments()) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_claimer_that_is_restarted_keeps_what_ec2_has_accepted(seed: int) -> None:
    """It knows nothing of its claim, and EC2 does not show it yet: the next in rank takes nothing from it."""
    fleet = Fleet(seed, workers=3, carry=Carry.ADDRESS)
    holder, *standbys = fleet.observers()
    restarted: list[Worker] = []

    def restart(call: Call) -> None:
        kill(standbys, call.by)
        [claimer] = [each.worker for each in standbys if each.worker.name == call.by]
        restarted.append(claimer)
        fleet.after(0.7, claimer.start)

    fleet.at_calls("assign", after=restart, most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: bool(restarted), 30, "the claimer is killed")
    fleet.wait(lambda: fleet.serving() in restarted, 5, "it serves")
    fleet.holds_for(lambda: fleet.serving() in restarted, 15, "it goes on")
    assert len(fleet.stays()) == 2


def kill(observers: list[Observer], name: str) -> None:
    """That worker's."""
    next(each for each in observers if each.worker.name == name).worker.kill()


def test_a_restarted_observer_claims_what_it_left_free() -> None:
    """With two nodes only: the killed claimer's own next container finishes, though it remembers nothing."""
    fleet = Fleet(1, profile=INSTANT)
    holder, standby = fleet.observers()
    fleet.at_calls("attach_eni", before=lambda _: standby.worker.kill(), most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: not standby.is_alive, 5, "the claimer is killed")
    assert fleet.at(ADDRESS) is None, "this test is about a free ENI"
    standby.worker.start()
    fleet.wait(lambda: fleet.serving() is standby.worker, 3, "the new container has the address")


@pytest.mark.parametrize("carry", Carry)
def test_a_machine_that_hung_does_not_answer_for_the_address_when_it_goes_on(carry: Carry) -> None:
    """It lets go of no device, so it takes force; what it missed it learns at once."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    holder.worker.hang()
    fleet.wait(lambda: fleet.serving() is standby.worker, 20, "the standby serves")
    fleet.run(fleet.now + 30)
    holder.worker.thaw()
    fleet.wait(lambda: fleet.carrying() == [standby.worker], 5, "the former holder lets go")
    fleet.holds_for(lambda: fleet.carrying() == [standby.worker], 30, "and does not take it back")
    assert len(fleet.stays()) == 2


# SIGTERM.


def ended(fleet: Fleet, observer: Observer, within: float) -> int:
    """Wait for its end; its exit code."""
    fleet.wait(lambda: observer.end is not None, within, "the end")
    assert observer.end is not None
    assert observer.end.error is None
    return observer.end.code


def test_sigterm_between_detach_and_attach_waits_for_the_attach() -> None:
    """While EC2 detaches for half a second; the observer ends as soon as the attach is issued."""
    fleet = Fleet(1, profile=SLOW_DETACH)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: bool(fleet.calls("detach_eni")), 5, "the detach")
    standby.worker.delete()
    assert ended(fleet, standby, 1.5) == 0
    assert [call.error for call in fleet.calls("attach_eni", standby.worker)] == [None]
    assert fleet.at(ADDRESS) is standby.worker


@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 0.9, 1.0, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.7])
def test_sigterm_at_any_time_around_a_takeover_leaves_no_free_eni(after: float) -> None:
    """Either there is no detach at all, or its attach follows; nothing is begun that would put off the end."""
    fleet = Fleet(1, profile=SLOW_DETACH)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.run(fleet.now + after)
    standby.worker.delete()
    began = bool(fleet.calls("detach_eni"))
    assert ended(fleet, standby, 2.0 if began else WITHIN_A_SECOND) == 0
    fleet.run(fleet.now + 5)
    assert fleet.at(ADDRESS) is (standby.worker if fleet.calls("detach_eni") else holder.worker)


def test_sigterm_when_a_takeover_is_decided_leaves_no_free_eni() -> None:
    """It arrives between that and the detach."""
    fleet = Fleet(1, profile=SLOW_DETACH)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: bool(standby.logged("takeover")), 5, "the takeover")
    assert not fleet.calls("detach_eni")
    standby.worker.delete()
    assert ended(fleet, standby, 5) == 0
    fleet.run(fleet.now + 5)
    assert fleet.at(ADDRESS) is not None, "the address is stranded"


def in_peace(fleet: Fleet) -> Observer:
    """A standby of a healthy holder."""
    return fleet.observers()[1]


def holding(fleet: Fleet) -> Observer:
    """The holder."""
    return fleet.observers()[0]


def in_doubt(fleet: Fleet) -> Observer:
    """A standby of a holder that says it is well, but does not answer."""
    holder, standby = fleet.observers()
    holder.worker.is_mute = True
    fleet.wait(lambda: standby.reason(ADDRESS) == "NOT_VOUCHED", 5, "doubt")
    return standby


def with_hanging_ec2(fleet: Fleet) -> Observer:
    """An observer whose first question is not answered."""
    fleet.at_calls(before=hangs)
    observer = fleet.workers[0].start()
    fleet.wait(lambda: bool(fleet.calls()), 5, "a question")
    return observer


@pytest.mark.parametrize("state", [in_peace, holding, in_doubt, with_hanging_ec2])
def test_sigterm_ends_an_observer_within_a_second(state: Callable[[Fleet], Observer]) -> None:
    """And with 0; a holder's plumbing stays, so the address goes on answering."""
    fleet = Fleet(1, profile=INSTANT)
    observer = state(fleet)
    serving = fleet.serving()
    observer.worker.delete()
    assert ended(fleet, observer, WITHIN_A_SECOND) == 0
    assert fleet.serving() is serving


def test_sigterm_after_a_refused_detach_ends_an_observer_within_a_second() -> None:
    """Nothing was detached, so there is nothing to attach."""
    fleet = Fleet(1, profile=INSTANT)
    holder, standby = fleet.observers()
    fleet.at_calls("detach_eni", before=is_denied)
    holder.worker.cut_power()
    fleet.wait(lambda: bool(standby.logged("denied")), 5, "the denial")
    standby.worker.delete()
    assert ended(fleet, standby, WITHIN_A_SECOND) == 0


def test_sigterm_ends_attach_within_a_second_with_143() -> None:
    """While EC2 takes long to attach; the observer will find the attachment."""
    fleet = Fleet(1, profile=SLOW_ATTACH)
    attach = fleet.workers[0].attach()
    fleet.wait(lambda: bool(fleet.attachments()), 5, "attaching")
    fleet.workers[0].delete()
    assert ended(fleet, attach, WITHIN_A_SECOND) == 143


@pytest.mark.parametrize("carry", Carry)
def test_a_standby_that_stood_still_before_its_write_takes_nothing_from_whoever_came_next(carry: Carry) -> None:
    """It had decided to take the address from the dead holder; the other standby did, in the meantime."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, *standbys = fleet.observers()
    still: list[Worker] = []

    def stand_still(worker: Worker, what: str) -> None:
        if what == "write" and not still:
            still.append(worker)
            worker.pause()

    fleet.beginning.append(stand_still)
    holder.worker.cut_power()
    fleet.wait(lambda: bool(still), 5, "the first one decides to write")
    [other] = [each.worker for each in standbys if each.worker is not still[0]]
    fleet.wait(lambda: fleet.serving() is other, 15, "the other one serves")
    fleet.run(fleet.now + 10)
    still[0].resume()
    fleet.holds_for(lambda: fleet.serving() is other, 20, "it goes on")
    (told,) = [line for line in fleet.lines if "not made any more" in line]
    assert "did this node stand still?" in told
