"""A security group closes the floating address to probes, and then a standby starts that never saw it answer."""

from dataclasses import dataclass

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.observer import Observer
from tests.sim.test_blocked_probes import RESTARTED_WITHIN

TAGGED_AFTER = timing.REACHED_FOR + 5.0
"""Seconds after which the address' tag tells that observers reach each other."""


@dataclass
class Restarted:
    """A fleet whose ``holder`` vouches for the address, which has never answered the ``standby``."""

    fleet: Fleet
    holder: Observer
    standby: Observer

    def keeps(self, seconds: float) -> None:
        """Nothing moves for so long."""
        self.fleet.holds_for(lambda: len(self.fleet.stays()) == 1, seconds, "no move")

    def moves(self, within: float) -> None:
        """The standby serves the address by then."""
        self.fleet.wait(lambda: self.fleet.serving() is self.standby.worker, within, "the standby takes over")


@pytest.fixture(params=Carry)
def restarted(request: pytest.FixtureRequest) -> Restarted:
    """Two workers, for long enough that an attachment has settled."""
    fleet = Fleet(1, profile=INSTANT, carry=request.param)
    holder, standby = fleet.observers()
    fleet.run(fleet.now + TAGGED_AFTER)
    holder.worker.drops_pings = True
    standby.worker.kill()
    case = Restarted(fleet, holder, standby.worker.start())
    fleet.wait(lambda: case.standby.reason(ADDRESS) == "PROBE_BLOCKED", 5, "what the holder says is heard")
    fleet.run(fleet.now + fleet.settings.settle)
    return case


def test_an_observer_that_is_restarted_costs_no_move(restarted: Restarted) -> None:
    """Though the address never answered this standby, its holder vouched for it, and its node refuses: it lives."""
    restarted.holder.worker.kill()
    restarted.fleet.after(RESTARTED_WITHIN, restarted.holder.worker.start)
    restarted.keeps(RESTARTED_WITHIN + 60.0)
    assert restarted.standby.reason(ADDRESS) == "PROBE_BLOCKED"


def test_where_no_observer_comes_back_it_is_moved_after_patience(restarted: Restarted) -> None:
    """As by an observer that has seen the address answer."""
    restarted.holder.worker.kill()
    restarted.keeps(restarted.fleet.settings.patience - 1)
    restarted.moves(5.0)
    assert {line.fields["rule"] for line in restarted.standby.logged("takeover")} == {"R4"}


def test_a_dead_node_is_still_taken_for_one(restarted: Restarted) -> None:
    """It is silent, and refuses nothing."""
    restarted.holder.worker.cut_power()
    restarted.keeps(timing.QUIET_FOR - 0.5)
    restarted.moves(timing.QUIET_FOR + timing.ALONE_FOR + 5.0)
    assert {line.fields["rule"] for line in restarted.standby.logged("takeover")} == {"R3"}


def test_a_holder_that_reaches_nobody_any_more_is_left_after_patience(restarted: Restarted) -> None:
    """It vouched for the address once, and then calls itself sound, but does not reach this node from it."""
    restarted.holder.worker.is_mute = True
    restarted.keeps(restarted.fleet.settings.patience - 1)
    restarted.moves(10.0)


@pytest.mark.parametrize("carry", Carry)
def test_a_standby_that_never_heard_the_holder_vouch_is_as_patient(carry: Carry) -> None:
    """The holder reaches nobody when the standby starts: that the address has answered there, its tag tells.

    Otherwise nobody would ever serve it again where there are two workers.
    """
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    fleet.run(fleet.now + TAGGED_AFTER)
    holder.worker.is_mute = True
    standby.worker.kill()
    case = Restarted(fleet, holder, standby.worker.start())
    case.keeps(fleet.settings.patience)
    case.moves(10.0)
    assert {line.fields["rule"] for line in case.standby.logged("takeover")} == {"R4"}


@pytest.mark.parametrize("carry", Carry)
def test_where_the_address_never_answered_anybody_a_new_standby_leaves_it(carry: Carry) -> None:
    """A holder that is sound may be about to serve it, and elsewhere it would not be reached any better."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    first, second = fleet.workers
    first.is_mute = True
    holder = first.start()
    fleet.wait(lambda: ADDRESS in first.plumbed, 60, "it holds the address")
    case = Restarted(fleet, holder, second.start())
    case.keeps(fleet.settings.patience + fleet.settings.settle + 30.0)
