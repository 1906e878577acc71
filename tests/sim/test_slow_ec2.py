"""EC2 takes several seconds for each call: that costs time, but no second move, and no question is asked in vain."""

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, Fleet

EACH = 6.0
"""Seconds for each call: longer than an answer is waited for at first."""

CALLS = 8
"""As many calls as a takeover may take, one after the other: two of a question about the doubt, two of one by which the
holder is judged, the writes, and what shows in between that the interface is free.
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("carry", Carry)
def test_a_death_moves_the_address_once(carry: Carry, seed: int) -> None:
    """Of two standbys the second hears of the first one's claim while EC2 has not answered that yet."""
    fleet = Fleet(seed, workers=3, profile=INSTANT, carry=carry)
    holder, *standbys = fleet.observers()
    for worker in fleet.workers:
        worker.ec2_takes_for_each_call = dict.fromkeys(("look", "write"), (EACH, EACH))
    fleet.run(fleet.now + 90.0)
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is not None, CALLS * EACH, "a standby takes over")
    fleet.run(fleet.now + 60.0)
    assert len(fleet.stays()) == 2
    assert fleet.serving() in [standby.worker for standby in standbys]
