"""The address is moved to a worker from which it reaches nobody either, though that worker calls itself sound."""

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet

TAGGED_AFTER = timing.REACHED_FOR + 5.0
"""Seconds after which the address' tag tells that observers reach each other."""

LATER = 300.0
"""Seconds after which all that is ever tried has been: another move would come after three minutes."""


def moved_in_vain(carry: Carry) -> Fleet:
    """Three workers: the holder reaches nobody any more, nor does the one that takes the address from it (R4)."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    fleet.observers()
    fleet.run(fleet.now + TAGGED_AFTER)
    first, *others = fleet.workers
    first.is_mute = True
    fleet.wait(lambda: fleet.at(ADDRESS) in others, fleet.settings.patience + 10.0, "another one takes it")
    second = fleet.at(ADDRESS)
    assert second is not None
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


def test_it_is_moved_once_more_where_all_observers_are_restarted_meanwhile() -> None:
    """As whoever is called does first: nobody has seen it answer any more, but the tags tell that it did."""
    fleet = moved_in_vain(Carry.ENI)
    fleet.workers[0].is_mute = False
    fleet.run(fleet.now + 5.0)
    for worker in fleet.workers:
        worker.kill()
        worker.start()
    fleet.holds_for(lambda: len(fleet.stays()) == 2, fleet.settings.settle, "no move")
    fleet.wait(lambda: fleet.serving() is not None, 30.0, "one of the others takes it")
