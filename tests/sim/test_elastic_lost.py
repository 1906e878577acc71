"""An Elastic IP that leads to its holder no more, and cannot be brought back: the holder says so itself."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from floatingip.core.model import Allocation
from floatingip.core.timing import LOOK_IN_PEACE, PEACE_JITTER
from tests.sim.fleet import INSTANT, Fleet


def release(fleet: Fleet, allocation_id: str) -> None:
    """It is given back to AWS; who allocates the same address anew gets it under another id."""
    state = fleet.ec2.state
    others = {each: facts for each, facts in state.allocations.items() if each != allocation_id}
    fleet.ec2.state = replace(state, allocations=others)
    fleet.ec2.allocate("203.0.113.100")


def use_elsewhere(fleet: Fleet, allocation_id: str) -> None:
    """Somebody associates it with an interface of their own."""
    theirs = fleet.ec2.create(None, fleet.subnet, (), {}, "theirs")
    assert theirs.address is not None
    fleet.ec2.associate(allocation_id, theirs.id, theirs.address)


@pytest.mark.parametrize(
    ("befalls", "told"), [(release, "there is no allocation"), (use_elsewhere, "which is not ours; disassociate it")]
)
def test_its_holder_is_not_ready(befalls: Callable[[Fleet, str], None], told: str) -> None:
    """It carries a private address to which nothing leads."""
    fleet = Fleet(1, profile=INSTANT)
    elastic = Allocation(fleet.ec2.allocate("203.0.113.100"))
    fleet.retarget(elastic)
    holder, _ = fleet.observers()
    fleet.ec2.disassociate(elastic.id)
    befalls(fleet, elastic.id)
    fleet.run(fleet.now + LOOK_IN_PEACE + PEACE_JITTER + 1.0)
    assert told in holder.published.not_ready()
