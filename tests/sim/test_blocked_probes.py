"""A security group closes the floating address to probes: they tell nothing, and what is told otherwise has to do."""

from dataclasses import dataclass

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.observer import Observer
from tests.sim.ports import QUESTIONS

RESTARTED_WITHIN = 20.0
"""Seconds until the kubelet has started a container again that ended, the second time."""


@dataclass
class Blocked:
    """A fleet whose ``holder`` vouches for the address, which answers the ``standbys`` no more."""

    fleet: Fleet
    holder: Observer
    standbys: list[Observer]

    def keeps(self, seconds: float) -> None:
        """Nothing moves for so long."""
        self.fleet.holds_for(lambda: len(self.fleet.stays()) == 1, seconds, "no move")

    def moves(self, within: float) -> None:
        """Some other worker serves the address by then."""
        fleet, holder = self.fleet, self.holder.worker
        fleet.wait(lambda: fleet.serving() not in (None, holder), within, "a standby takes over")


@pytest.fixture(params=Carry)
def blocked(request: pytest.FixtureRequest) -> Blocked:
    """Three workers."""
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=request.param)
    holder, *standbys = fleet.observers()
    holder.worker.drops_pings = True
    fleet.wait(lambda: {each.reason(ADDRESS) for each in standbys} == {"PROBE_BLOCKED"}, 5, "the address falls silent")
    return Blocked(fleet, holder, standbys)


def test_while_its_holder_is_well_nothing_moves(blocked: Blocked) -> None:
    """It reaches the others from the address."""
    blocked.keeps(90.0)


@pytest.mark.parametrize("carry", Carry)
def test_while_its_holder_does_not_reach_the_others_it_is_moved_after_patience(carry: Carry) -> None:
    """The holder may be wrong about itself."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    holder.worker.is_mute = True
    fleet.wait(lambda: standby.reason(ADDRESS) == "NOT_VOUCHED", 5, "the address stops answering")
    case = Blocked(fleet, holder, [standby])
    case.keeps(fleet.settings.patience - 1)
    case.moves(10.0)


def test_an_observer_that_is_restarted_costs_no_move(blocked: Blocked) -> None:
    """Its node refuses the questions meanwhile, so it lives; what was lost before the holder vouched tells nothing."""
    blocked.holder.worker.kill()
    blocked.fleet.after(RESTARTED_WITHIN, blocked.holder.worker.start)
    blocked.keeps(RESTARTED_WITHIN + 60.0)


def test_where_no_observer_comes_back_it_is_moved_after_patience(blocked: Blocked) -> None:
    """Nobody vouches for the address any more."""
    blocked.holder.worker.kill()
    blocked.keeps(blocked.fleet.settings.patience - 1)
    blocked.moves(5.0)
    takeovers = [line for standby in blocked.standbys for line in standby.logged("takeover")]
    assert {line.fields["rule"] for line in takeovers} == {"R4"}


def test_a_question_or_two_that_are_lost_move_nothing(blocked: Blocked) -> None:
    """They would be the only evidence."""
    fleet, holder = blocked.fleet, blocked.holder.worker
    for _ in range(5):
        fleet.lost = {(QUESTIONS, other.name, holder.name) for other in fleet.workers if other is not holder}
        blocked.keeps(1.4)
        fleet.lost = set()
        blocked.keeps(5.0)


def test_a_dead_node_is_taken_for_one_two_seconds_later(blocked: Blocked) -> None:
    """It refuses nothing."""
    blocked.holder.worker.cut_power()
    blocked.moves(timing.QUIET_FOR + 3.0)


def test_a_node_that_dies_while_its_observer_is_restarted_is_taken_for_dead_as_well(blocked: Blocked) -> None:
    """Its silence begins when it refuses no more."""
    blocked.holder.worker.kill()
    blocked.keeps(10.0)
    blocked.holder.worker.cut_power()
    blocked.keeps(timing.QUIET_FOR - 0.5)
    blocked.moves(3.5)


def test_a_node_that_hears_no_other_observer_either_takes_nothing_at_once(blocked: Blocked) -> None:
    """The others answered while the holder vouched: that says nothing of whether this node is cut off since."""
    fleet, standby = blocked.fleet, blocked.standbys[0].worker
    fleet.cut = {frozenset({standby.name, other.name}) for other in fleet.workers if other is not standby}
    blocked.keeps(timing.ALONE_FOR - 0.5)
