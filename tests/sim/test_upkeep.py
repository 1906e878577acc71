"""What only keeps things as they should be holds no move up, however long EC2 takes to answer it."""

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.worker import Worker


@pytest.mark.parametrize("carry", Carry)
def test_a_takeover_does_not_wait_for_a_tag_that_is_slow(carry: Carry) -> None:
    """The holder dies while its standby waits for EC2 to take the tag that tells that the address was reached."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    begun: list[str] = []

    def begin(worker: Worker, what: str) -> None:
        if worker is standby.worker and what == "write":
            begun.append(what)
            worker.ec2_takes = {}

    standby.worker.ec2_takes = {"write": (20.0, 20.0)}
    fleet.beginning.append(begin)
    fleet.wait(lambda: bool(begun), 30.0, "the tag is on its way")
    assert not standby.logged("takeover")
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.serving() is standby.worker, 3.0, "the standby takes over")
    fleet.run(fleet.now + 60.0)
    assert any(call.name == "tag_eni" and call.error is None for call in fleet.writes(standby.worker))
