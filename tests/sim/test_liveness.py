"""The check that what nobody serves is served in time finds a fleet that does not do so."""

import pytest

from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.history import FREE_SLOTS
from tests.sim.liveness import SERVED_WITHIN, Liveness

ENDLESS = 3600.0
"""Seconds: a patience with a holder that reaches nobody that nobody should have."""

RECORDED_WITHIN = 5.0
"""Seconds within which whoever has taken an address has recorded that: where nobody has, it may be taken once more."""


@pytest.mark.parametrize(("patience", "is_at_fault"), [(ENDLESS, True), (30.0, False)])
def test_an_address_that_nobody_serves_although_a_worker_could(patience: float, *, is_at_fault: bool) -> None:
    """The holder reaches nobody, and the standby is well."""
    fleet = Fleet(1, profile=INSTANT, patience=patience)
    fleet.observers()
    liveness = Liveness(fleet, (ADDRESS,), FREE_SLOTS)
    fleet.workers[0].is_mute = True
    faults = []
    while fleet.now < SERVED_WITHIN + 10.0:
        fleet.run(fleet.now + 0.25)
        faults += liveness.look()
    assert bool(faults) is is_at_fault
    assert all("though b could" in fault for fault in faults)


def test_nobody_could_where_the_only_other_worker_ails() -> None:
    """What it cannot know, or cannot do, is no fault of the fleet."""
    fleet = Fleet(1, profile=INSTANT)
    fleet.observers()
    first, second = fleet.workers
    liveness = Liveness(fleet, (ADDRESS,), FREE_SLOTS)
    first.cut_power()
    second.cloud.reachable = False
    while fleet.now < SERVED_WITHIN + 30.0:
        fleet.run(fleet.now + 0.25)
        assert not liveness.look()
    assert fleet.serving() is None


def test_whoever_has_reached_nobody_since_the_address_moved_cannot_tell_that_its_holder_has_died() -> None:
    """Two workers that do not reach each other, of which the one dies that has taken the address: see ADR 0006."""
    fleet = Fleet(1, profile=INSTANT)
    fleet.observers()
    _, second = fleet.workers
    liveness = Liveness(fleet, (ADDRESS,), FREE_SLOTS)
    fleet.cut = {frozenset({"a", "b"})}
    while fleet.serving() is not second:
        fleet.run(fleet.now + 0.25)
        assert not liveness.look()
    fleet.run(fleet.now + RECORDED_WITHIN)
    second.cut_power()
    died_at = fleet.now
    while fleet.now < died_at + SERVED_WITHIN + 10.0:
        fleet.run(fleet.now + 0.25)
        assert not liveness.look()
    assert fleet.serving() is None
