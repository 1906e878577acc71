"""A move is recorded once, though the clock by which that is told was set back in between."""

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import Fleet


@pytest.mark.parametrize("jump", [-3600.0, -60.0, 60.0, 3600.0])
def test_a_wall_clock_that_jumps_has_no_move_recorded_again_and_again(jump: float) -> None:
    """The record was looked for among those since the move became due, by the clock from before."""
    fleet = Fleet(2, carry=Carry.ADDRESS)
    holder, standby = fleet.observers()

    def set_clock(_: object) -> None:
        standby.worker.wall_ahead = jump

    fleet.at_calls("assign", after=set_clock, most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is standby.worker, 20, "the standby has it")
    fleet.run(fleet.now + 30.0)
    records = [call for call in fleet.calls("tag_eni", standby.worker) if "moves" in str(call.args)]
    assert 1 <= len(records) <= 2, records
