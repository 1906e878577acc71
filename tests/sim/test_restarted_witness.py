"""Two workers are parted, and the observer of a third one, which sees the address answer, is restarted meanwhile."""

from functools import partial

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet

STARTS_WITHIN = (0.3, 1.0, 2.0)
"""Seconds; from four on nobody else is heard for so long that the API server's word is enough."""


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("starts_after", STARTS_WITHIN)
@pytest.mark.parametrize("parted_for", [0.6, 3.0, 20.0])
def test_a_witness_that_was_restarted_has_not_told_that_the_holder_is_dead(
    carry: Carry, starts_after: float, parted_for: float
) -> None:
    """It does not see the address UP, as it has not looked yet; what it saw a moment ago is no older than that."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, doubting, witness = (observer.worker for observer in fleet.observers())
    fleet.run(fleet.now + 40.0)
    fleet.cut = {frozenset({holder.name, doubting.name})}
    fleet.run(fleet.now + parted_for)
    witness.kill()
    fleet.run(fleet.now + starts_after)
    witness.start()
    fleet.holds_for(lambda: fleet.serving() is holder, 30.0, "the holder serves on")


@pytest.mark.parametrize("carry", Carry)
def test_a_death_while_the_witness_is_restarted_is_found_all_the_same(carry: Carry) -> None:
    """As soon as it can tell, or by the API server's word."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, _, witness = (observer.worker for observer in fleet.observers())
    fleet.run(fleet.now + 40.0)
    witness.kill()
    holder.cut_power()
    fleet.run(fleet.now + 1.0)
    witness.start()
    fleet.wait(lambda: fleet.serving() not in (None, holder), 6.5, "another one serves")


@pytest.mark.parametrize("silent_for", [0.0, 15.0])
@pytest.mark.parametrize("seed", range(5))
def test_observers_that_all_were_restarted_find_each_other_by_their_standing_enis(seed: int, silent_for: float) -> None:
    """The holder, whom one of them does not reach, is the one who would have told it of the other, who sees it UP.

    EC2 shows them, however long it was silent for that one before.
    """
    fleet = Fleet(seed, workers=3, profile=INSTANT, carry=Carry.ADDRESS)
    holder, standby, _ = (observer.worker for observer in fleet.observers())
    fleet.run(fleet.now + 60.0)
    for worker in fleet.workers:
        worker.kill()
        fleet.after(fleet.chance.uniform(0.5, 3.0), worker.start)
    standby.cloud.reachable = False
    fleet.after(silent_for, partial(setattr, standby.cloud, "reachable", True))
    fleet.cut = {frozenset({holder.name, standby.name})}
    fleet.holds_for(lambda: fleet.at(ADDRESS) is holder, 60.0, "a healthy holder keeps it")
