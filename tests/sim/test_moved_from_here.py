"""The address is moved from a worker where it answered the others to one from which it reaches nobody."""

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.worker import Worker


@pytest.mark.parametrize("carry", Carry)
def test_whoever_served_it_before_takes_it_back(carry: Carry) -> None:
    """It did not see the address answer itself, as it had that; the other one did, and told.  The new holder calls
    itself sound all the while.
    """
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    first, second = (observer.worker for observer in fleet.observers())
    for taker in (second, first):
        _take_over(fleet, taker)
        first.is_mute = taker is first
        fleet.cut = set()
        fleet.run(fleet.now + 5.0)
    fleet.wait(lambda: fleet.serving() is second, fleet.settings.settle + fleet.settings.patience + 10.0, "it is back")


def _take_over(fleet: Fleet, taker: Worker) -> None:
    """As the two hear nothing of each other."""
    fleet.cut = {frozenset({"a", "b"})}
    fleet.wait(lambda: fleet.at(ADDRESS) is taker, 10.0, "the other one takes it over")
