"""EC2 gives an interface that is made for one address another floating address as its own (`carry: eni`)."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.model import Allocation, Target
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.worker import Worker

CHOSEN = IPv4Address("10.0.0.4")
"""What EC2 gives first, where nobody has reserved it."""


@pytest.mark.parametrize("kind", ["IPv6", "Elastic IP"])
def test_both_are_served_there_and_move_together(kind: str) -> None:
    """No other interface can have it any more, so this one is for both."""
    fleet = Fleet(1, profile=INSTANT)
    other: Target = IPv6Address("2001:db8:0:1::100")
    if kind == "Elastic IP":
        other = Allocation(fleet.ec2.allocate("203.0.113.100"))
    fleet.retarget(other, CHOSEN)
    holder, standby = (worker.start().worker for worker in fleet.workers)
    _served_by(fleet, other, holder)
    holder.cut_power()
    _served_by(fleet, other, standby)
    assert len(fleet.stays(CHOSEN)) == 2


def _served_by(fleet: Fleet, other: Target, worker: Worker) -> None:
    """By one interface."""
    fleet.wait(lambda: fleet.serving(other) is fleet.serving(CHOSEN) is worker, 90.0, f"{worker.name} serves both")
    fleet.run(fleet.now + 30.0)
    assert fleet.enis(other) == fleet.enis(CHOSEN)
