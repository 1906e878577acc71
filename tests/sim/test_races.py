"""Several agents want one address at the same moment: exactly one gets it, and all live on."""

from dataclasses import replace

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.fakes.ec2 import Delays
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.worker import Worker

RACES = 35
"""Of each kind, each with chances of its own."""

RACED = 10
"""So many of them must have been races at the least, in which EC2 said no to somebody."""

SLOW_ASSIGN = replace(INSTANT, delays=Delays(assign=0.4))
"""As with EC2, two observers can believe to be the first for a while."""


def is_settled(fleet: Fleet) -> bool:
    """One worker has the address, and every observer knows of that."""
    observers = [worker.observer for worker in fleet.workers if worker.observer is not None]
    if len(fleet.carrying()) != 1 or fleet.serving() is None:
        return False
    return all(observer.reason(ADDRESS) in ("HELD_HERE", "ANSWERS") for observer in observers)


def settle(fleet: Fleet) -> Worker:
    """Wait for that, and see that it stays so; who has it."""
    fleet.wait(lambda: is_settled(fleet), 20, "one holder that all know of")
    holder = fleet.serving()
    assert holder is not None
    fleet.holds_for(lambda: fleet.carrying() == [holder], 3.0, "one holder")
    return holder


def lost_races(fleet: Fleet, *names: str) -> int:
    """How often EC2 said no to somebody."""
    return sum(call.error is not None for name in names for call in fleet.calls(name))


def test_init_containers_racing_from_nothing_make_one_eni_and_one_holder() -> None:
    """Both find no ENI; one creates it, one attaches it, and both end with 0."""
    raced = 0
    for seed in range(RACES):
        fleet = Fleet(seed, profile=INSTANT)
        both = [worker.attach() for worker in fleet.workers]
        fleet.wait(lambda both=both: all(each.end is not None for each in both), 20, "both end")  # type: ignore[misc]  # bound early
        assert [(each.end.code, each.end.error) for each in both if each.end is not None] == [(0, None)] * 2
        assert len(fleet.stays()) == 1
        assert fleet.eni().attachment is not None
        assert fleet.serving() is not None
        raced += lost_races(fleet, "create_eni", "attach_eni") > 0
    assert raced >= RACED, "these were no races"


def test_observers_racing_for_a_free_eni_leave_exactly_one_holder() -> None:
    """Both start while the ENI is free, so neither knows of the other, and both claim it."""
    raced = 0
    for seed in range(RACES):
        fleet = Fleet(seed, profile=INSTANT)
        make = fleet.workers[0].attach()
        fleet.wait(lambda make=make: make.end is not None, 20, "there is an ENI")  # type: ignore[misc]  # bound early
        fleet.cloud.detach_eni(fleet.attachments()[0], force=False)
        both = [worker.start() for worker in fleet.workers]
        settle(fleet)
        assert len(fleet.stays()) == 2
        assert all(each.is_alive for each in both)
        assert not fleet.calls("detach_eni")
        raced += lost_races(fleet, "attach_eni") > 0
    assert raced >= RACED, "these were no races"


def test_observers_racing_from_nothing_leave_one_holder_of_the_address() -> None:
    """None knows of the others; EC2 gives the address to the first, and refuses it to the rest."""
    raced = 0
    for seed in range(RACES):
        fleet = Fleet(seed, workers=3, profile=SLOW_ASSIGN, carry=Carry.ADDRESS)
        observers = [worker.start() for worker in fleet.workers]
        settle(fleet)
        assert len(fleet.stays()) == 1
        assert all(each.is_alive for each in observers)
        assert [len(fleet.standing(worker)) for worker in fleet.workers] == [1, 1, 1]
        raced += lost_races(fleet, "assign") > 0
    assert raced >= RACED, "these were no races"


@pytest.mark.parametrize("carry", Carry)
def test_standbys_convicting_one_dead_holder_after_the_other_leave_exactly_one_holder(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time a new node comes in the dead one's place; the slower standby evicts nobody, and all go on observing."""
    # Or the ration would rightly end this.
    monkeypatch.setattr(timing, "CONVICTION_WINDOW", 0.0)
    rounds = 30
    fleet = Fleet(1, workers=3, profile=SLOW_ASSIGN, carry=carry)
    fleet.observers()
    for race in range(1, rounds + 1):
        before, dead = fleet.stays(), fleet.serving()
        assert dead is not None
        dead.cut_power()
        holder = settle(fleet)
        assert fleet.stays() == [*before, holder.name]
        assert len(fleet.stays()) == race + 1
        assert len(fleet.enis()) == 1
        dead.boot()
        dead.start()
        fleet.wait_for_peace()
    lost = lost_races(fleet, "detach_eni", "assign")
    assert lost >= 3 or carry is Carry.ADDRESS, "these were no races"


def test_three_observers_racing_for_a_dead_holder_s_address_move_it_once() -> None:
    """EC2 would give it to each of them, one after the other: they let one go first, and look again."""
    for seed in range(10):
        fleet = Fleet(seed, workers=4, profile=SLOW_ASSIGN, carry=Carry.ADDRESS)
        holder, *standbys = fleet.observers()
        claimed = len(fleet.calls("assign"))
        holder.worker.cut_power()
        winner = settle_elsewhere(fleet, holder.worker)
        assert fleet.stays() == [holder.worker.name, winner.name]
        assert [call.by for call in fleet.calls("assign")[claimed:]] == [winner.name]
        assert all(each.is_alive for each in standbys)
        losers = [each.worker for each in standbys if each.worker is not winner]
        assert not any(loser.plumbed for loser in losers), "a loser must not carry the address"


def settle_elsewhere(fleet: Fleet, dead: Worker) -> Worker:
    """Another worker serves, and none takes it away again."""
    fleet.wait(lambda: fleet.serving() not in (None, dead), 20, "another worker serves")
    winner = fleet.serving()
    assert winner is not None
    fleet.holds_for(lambda: fleet.serving() is winner, 10.0, "nobody takes it away again")
    return winner


def test_a_standby_asks_who_serves_the_address_when_it_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover can be over between two looks in doubt; what a standby knows then is the dead holder's."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=Carry.ADDRESS)
    holder, *standbys = fleet.observers()
    for pause in ("LOOK_BEFORE_TAKING", "LOOK_WHILE_MOVING"):
        monkeypatch.setattr(timing, pause, 30.0)
    holder.worker.cut_power()
    second = settle_elsewhere(fleet, holder.worker)
    [third] = [each for each in standbys if each.worker is not second]
    assert third.judged(ADDRESS) == fleet.attachments()[-1], "the third one knows the new holder"


def test_a_second_failure_soon_after_the_first_is_noticed_as_soon() -> None:
    """The third node has seen the address answer again before it asked EC2 who serves it now."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=Carry.ADDRESS)
    holder, *standbys = fleet.observers()
    holder.worker.cut_power()
    second = settle_elsewhere(fleet, holder.worker)
    [third] = [each for each in standbys if each.worker is not second]
    assert third.reason(ADDRESS) == "ANSWERS"
    second.cut_power()
    # That two of three fall silent may be the third one's own fault, until the first counts as gone.
    fleet.wait(lambda: fleet.serving() is third.worker, 20, "the third one serves")


@pytest.mark.parametrize("seed", range(RACES))
def test_standbys_that_have_not_met_yet_take_an_address_one_after_the_other(seed: int) -> None:
    """Its holder dies before it could tell them of each other; EC2 would not refuse the second one."""
    fleet = Fleet(seed, workers=4, profile=INSTANT, carry=Carry.ADDRESS)
    for worker in fleet.workers:
        fleet.after(fleet.chance.uniform(0.0, 1.5), worker.start)
    fleet.run(1.5)
    fleet.wait(lambda: fleet.serving() is not None, 10, "one holds it")
    holder = fleet.serving()
    standbys = [worker.observer for worker in fleet.workers if worker is not holder]
    fleet.wait(lambda: all(each and each.reason(ADDRESS) == "ANSWERS" for each in standbys), 20, "the others see it")
    assert holder is not None
    holder.cut_power()
    fleet.run(fleet.now + 20.0)
    assert len(fleet.stays()) == 2, "\n".join(fleet.lines)
