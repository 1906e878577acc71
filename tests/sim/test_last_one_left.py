"""Where the only observer left dies with its node, while nobody is there to see that: whoever comes then takes over."""

from collections.abc import Callable

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from floatingip.core.settings import Settings
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.worker import Worker

WITHIN = Settings(()).settle + timing.CUT_OFF_FOR
"""Seconds until that is done: it looks like a security group that is closed, which is given time to be opened."""


def reboot(fleet: Fleet) -> Worker:
    """The first one comes back."""
    first = fleet.workers[0]
    first.boot()
    first.start()
    return first


def join(fleet: Fleet) -> Worker:
    """Another one comes in its place."""
    worker = fleet.join()
    worker.start()
    return worker


@pytest.mark.parametrize("come", [reboot, join])
@pytest.mark.parametrize("carry", Carry)
def test_whoever_comes_after_the_last_one_has_died_takes_over(carry: Carry, come: Callable[[Fleet], Worker]) -> None:
    """EC2 calls the dead one running all the while."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    fleet.observers()
    fleet.run(fleet.now + timing.REACHED_FOR + 1)
    first, second = fleet.workers
    first.cut_power()
    fleet.wait(lambda: fleet.serving() is second, 20, "the second one has it")
    fleet.run(fleet.now + timing.RATION_FIRST_WAIT)
    second.cut_power()
    fleet.run(fleet.now + 20)
    third = come(fleet)
    fleet.wait(lambda: fleet.serving() is third, WITHIN, "whoever came has it")


@pytest.mark.parametrize("carry", Carry)
def test_where_workers_do_not_reach_each_other_that_is_tried_once(carry: Carry) -> None:
    """However often their observers are restarted: the group is closed, and all are well."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    fleet.observers()
    fleet.run(fleet.now + timing.REACHED_FOR + 1)
    fleet.cut |= {frozenset(worker.name for worker in fleet.workers)}
    for _ in range(3):
        fleet.run(fleet.now + WITHIN + 10)
        for worker in fleet.workers:
            worker.kill()
            worker.start()
    assert len(fleet.stays()) == 3
    assert fleet.serving() is not None
