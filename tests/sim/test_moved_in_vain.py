"""The address is moved to a worker from which it reaches nobody either, though that worker calls itself sound."""

from ipaddress import IPv4Address

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.worker import Worker

TAGGED_AFTER = timing.REACHED_FOR + 5.0
"""Seconds after which the address' tag tells that observers reach each other."""

OTHER = IPv4Address("10.0.0.101")

LATER = 300.0
"""Seconds after which all that is ever tried has been: another move would come after three minutes."""


FOLLOWED_WITHIN = 20.0
"""Seconds within which an address is somewhere else whose holder has died: where addresses move, some wait."""


def moved(carry: Carry) -> tuple[Fleet, Worker, Worker]:
    """Three workers: the first one reached nobody any more from the address, so the second has just taken it (R4)."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    fleet.observers()
    fleet.run(fleet.now + TAGGED_AFTER)
    first, *others = fleet.workers
    first.is_mute = True
    fleet.wait(lambda: fleet.at(ADDRESS) in others, fleet.settings.patience + 10.0, "another one takes it")
    second = fleet.at(ADDRESS)
    assert second is not None
    return fleet, first, second


def moved_in_vain(carry: Carry) -> Fleet:
    """The second one reaches nobody either."""
    fleet, _, second = moved(carry)
    second.is_mute = True
    return fleet


@pytest.mark.parametrize("carry", Carry)
def test_the_next_worker_gets_it(carry: Carry) -> None:
    """It answered before the move, so it is missed where it does not, once it has had time enough to answer."""
    fleet = moved_in_vain(carry)
    (third,) = (worker for worker in fleet.workers if not worker.is_mute)
    fleet.holds_for(lambda: len(fleet.stays()) == 2, fleet.settings.settle, "no move")
    fleet.wait(lambda: fleet.serving() is third, 30.0, "the third worker takes it")
    assert third.observer is not None
    assert {line.fields["rule"] for line in third.observer.logged("takeover")} == {"R4"}


@pytest.mark.parametrize("carry", Carry)
def test_where_it_reaches_nobody_anywhere_it_is_not_moved_for_ever(carry: Carry) -> None:
    """As where a security group was closed: two moves without success are enough to know that another one is none."""
    fleet = moved_in_vain(carry)
    for worker in fleet.workers:
        worker.is_mute = True
    fleet.run(fleet.now + LATER)
    assert len(fleet.stays(ADDRESS)) == 3


@pytest.mark.parametrize("carry", Carry)
def test_it_is_moved_once_more_where_all_observers_are_restarted_meanwhile(carry: Carry) -> None:
    """As whoever is called does first: nobody has seen it answer any more, but the tags tell that it did."""
    fleet = moved_in_vain(carry)
    fleet.workers[0].is_mute = False
    fleet.run(fleet.now + 5.0)
    for worker in fleet.workers:
        worker.kill()
        worker.start()
    fleet.holds_for(lambda: len(fleet.stays()) == 2, fleet.settings.settle, "no move")
    fleet.wait(lambda: fleet.serving() is not None, 30.0, "one of the others takes it")


@pytest.mark.parametrize("carry", Carry)
def test_so_it_is_where_no_tag_tells_yet_that_it_answered(carry: Carry) -> None:
    """It fell seconds after it had come up; but it was moved for that, which nobody does who has not missed it."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    first, *others = fleet.workers
    first.start()
    fleet.wait(lambda: fleet.serving() is first, 10.0, "it has come up")
    standbys = [worker.start() for worker in others]
    fleet.wait(lambda: all(each.reason(ADDRESS) == "ANSWERS" for each in standbys), 10.0, "it is seen to answer")
    first.is_mute = True
    fleet.wait(lambda: fleet.at(ADDRESS) in others, fleet.settings.patience + 10.0, "another one takes it")
    second = fleet.at(ADDRESS)
    assert second is not None
    second.is_mute = True
    fleet.run(fleet.now + 5.0)
    for worker in fleet.workers:
        worker.kill()
        worker.start()
    within = fleet.settings.settle + timing.PEER_EXISTS + timing.RATION_FIRST_WAIT
    fleet.wait(lambda: fleet.at(ADDRESS) not in (None, second), within, "one of the others takes it")


@pytest.mark.parametrize("dies_after", [0.0, 3.0])
@pytest.mark.parametrize("carry", Carry)
def test_a_successor_that_dies_is_followed_whatever_it_took_the_address_for(carry: Carry, dies_after: float) -> None:
    """Moves for that cause are a minute apart at least, but this one is for another: it was heard, and fell silent."""
    fleet, first, second = moved(carry)
    first.is_mute = False
    fleet.run(fleet.now + dies_after)
    second.cut_power()
    fleet.wait(lambda: fleet.serving() is not None, FOLLOWED_WITHIN, "another one has it")


@pytest.mark.parametrize("dies_after", [0.0, 1.0])
@pytest.mark.parametrize("carry", Carry)
def test_a_move_to_a_node_that_dies_at_once_was_not_in_vain(carry: Carry, dies_after: float) -> None:
    """The first one may get it back, and still reaches nobody: then the third one does, which has never been tried."""
    fleet, first, second = moved(carry)
    fleet.run(fleet.now + dies_after)
    second.cut_power()
    (third,) = (worker for worker in fleet.workers if worker not in (first, second))
    within = FOLLOWED_WITHIN + fleet.settings.settle + timing.RATION_FIRST_WAIT
    fleet.wait(lambda: fleet.serving() is third, within, "the third worker takes it")


def test_that_another_address_answers_is_no_reason_to_move_this_one_again() -> None:
    """Both were moved twice in vain; somebody moves one to a worker that is well again, and restarts all observers."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=Carry.ADDRESS, targets=(ADDRESS, OTHER))
    fleet.observers()
    fleet.run(fleet.now + TAGGED_AFTER)
    for worker in fleet.workers:
        worker.is_mute = True
    fleet.run(fleet.now + LATER)
    well = next(worker for worker in fleet.workers if worker is not fleet.at(ADDRESS))
    well.is_mute = False
    fleet.ec2.assign(fleet.standing(well)[0].id, OTHER, reassign=True)
    fleet.run(fleet.now + TAGGED_AFTER)
    for worker in fleet.workers:
        worker.kill()
        worker.start()
    fleet.run(fleet.now + LATER)
    assert len(fleet.stays(ADDRESS)) == 3
