"""A takeover among three workers, disturbed once at each write of whoever takes the address, of each kind."""

from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from floatingip.core.model import Allocation, Carry, Target
from tests.sim.fleet import TYPICAL, Fleet
from tests.sim.invariants import Invariants, foreign
from tests.sim.line import Call, Killed
from tests.sim.planned import BOTH, DRAIN, outlasts
from tests.sim.worker import Worker

WRITES = ("detach_eni", "attach_eni", "unassign", "assign", "associate")

OUT_AT_MOST = 25.0
"""Seconds for which clients may be out: the move, another one after it, and EC2's answers that are late."""

OUT_ONCE = 8.0
"""The same with `carry: address`, where nobody dies: the new holder keeps what it has claimed, whatever EC2 shows."""

LATE = 5.0
"""Seconds by which EC2's answers are late, for a while."""

OVER_AFTER = 32.0
"""Seconds until all is over."""

Disturbance = Callable[[Fleet, Worker], None]


def dies(fleet: Fleet, worker: Worker) -> None:
    worker.cut_power()
    raise Killed


def answers_are_late(fleet: Fleet, worker: Worker) -> None:
    """EC2 shows what was, to all, from the moment on at which it accepts the write."""

    def lag(seconds: float) -> None:
        for each in fleet.workers:
            each.cloud.lag = seconds

    lag(LATE)
    fleet.after(3 * LATE, lambda: lag(0.0))


def loses_power(holder: Worker) -> None:
    holder.cut_power()


def is_drained(holder: Worker) -> None:
    holder.delete(DRAIN)


def disturbed(target: Target | None, carry: Carry, begin: Callable[[Worker], None], at: int, do: Disturbance) -> bool:
    """Disturb the takeover of this target (None: an Elastic IP) at that write; return whether there is one."""
    fleet = Fleet(1, workers=3, profile=TYPICAL, carry=carry)
    target = Allocation(fleet.ec2.allocate("203.0.113.100")) if target is None else target
    fleet.retarget(target)
    for worker in fleet.workers:
        worker.start()
    fleet.wait_for_peace()
    invariants, holder = Invariants(fleet, (target,), foreign(fleet)), fleet.serving(target)
    assert holder is not None

    def strike(call: Call) -> None:
        do(fleet, next(worker for worker in fleet.workers if worker.name == call.by))

    most = OUT_ONCE if carry is Carry.ADDRESS and do is answers_are_late else OUT_AT_MOST
    trouble = fleet.at_calls(*WRITES, after=strike, spared=at, most=1)
    begin(holder)
    outlasts(fleet, invariants, target, OVER_AFTER, out_at_most=most)
    return trouble.hits == 1


@BOTH
@pytest.mark.parametrize(
    ("target", "begin"),
    [(IPv6Address("2001:db8:0:1::100"), loses_power), (None, is_drained)],
    ids=["IPv6-loses_power", "Elastic IP-is_drained"],
)
@pytest.mark.parametrize("disturb", [dies, answers_are_late])
def test_whatever_write_is_disturbed_the_address_is_served_again_in_time(
    target: Target | None, carry: Carry, begin: Callable[[Worker], None], disturb: Disturbance
) -> None:
    """No worker drops what it has, or keeps what it has lost."""
    steps = 0
    while steps < len(WRITES) and disturbed(target, carry, begin, steps, disturb):
        steps += 1
    assert steps, "no write was disturbed"
