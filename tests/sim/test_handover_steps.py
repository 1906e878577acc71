"""A handover among three workers, disturbed once at each call to EC2 of the worker that takes the address."""

from collections.abc import Callable

import pytest

from floatingip.agent.events import LookWanted
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, TYPICAL, Fleet
from tests.sim.invariants import Invariants, foreign
from tests.sim.line import Call, fails, nothing
from tests.sim.planned import BOTH, outlasts
from tests.sim.worker import Worker

WRITES = ("detach_eni", "attach_eni", "assign", "tag_eni")

STEPS = ((WRITES, 2), (("describe_enis",), 3))
"""At so many calls with these names: at those that move the address, and at the questions from the order on."""

OUT_AT_MOST = 15.0
"""Seconds for which clients may be out: the move itself, and with `carry: eni` another one after it."""

RESTARTED_WITHIN = 2.0
"""Seconds until an observer that was killed is there again."""

OVER_AFTER = 40.0
"""Seconds from the order until all is over."""

Disturbance = Callable[[Fleet, Worker, Worker], object]


def successor_dies(fleet: Fleet, holder: Worker, successor: Worker) -> None:
    successor.cut_power()


def holder_dies(fleet: Fleet, holder: Worker, successor: Worker) -> None:
    holder.cut_power()


def successor_is_restarted(fleet: Fleet, holder: Worker, successor: Worker) -> None:
    successor.kill()
    fleet.after(RESTARTED_WITHIN, successor.start)


def both_are_restarted(fleet: Fleet, holder: Worker, successor: Worker) -> None:
    for worker in (holder, successor):
        worker.kill()
        fleet.after(RESTARTED_WITHIN, worker.start)


def answer_is_lost(fleet: Fleet, holder: Worker, successor: Worker) -> None:
    """EC2 does what it is asked for, and nobody hears that."""


def disturbed(carry: Carry, step: int, names: tuple[str, ...], disturb: Disturbance) -> bool:
    """Order a handover, and disturb it at that step among the calls with these names; return whether there is one."""
    fleet = Fleet(1, workers=3, profile=TYPICAL, carry=carry)
    holder, successor, _ = (observer.worker for observer in fleet.observers())
    invariants = Invariants(fleet, (ADDRESS,), foreign(fleet))
    eni = fleet.eni()
    assert eni.attachment is not None
    ordered = order.render(eni.attachment.id, successor.id, fleet.wall + OVER_AFTER)
    fleet.cloud.tag_eni(eni.id, {way_to(carry).of_one(order.TAG, ADDRESS): ordered})

    def strike(call: Call) -> None:
        disturb(fleet, holder, successor)

    lost = fails if disturb is answer_is_lost else nothing
    assert successor.observer is not None
    successor.observer.post(LookWanted())
    trouble = fleet.at_calls(*names, before=strike, after=lost, by=successor, spared=step, most=1)
    outlasts(fleet, invariants, ADDRESS, OVER_AFTER, out_at_most=OUT_AT_MOST)
    return trouble.hits == 1


@BOTH
@pytest.mark.parametrize(
    "disturb", [successor_dies, holder_dies, successor_is_restarted, both_are_restarted, answer_is_lost]
)
def test_whatever_step_is_disturbed_the_address_is_served_again_in_time(disturb: Disturbance, carry: Carry) -> None:
    """No worker drops what it has, or keeps what it has lost."""
    for names, steps in STEPS:
        assert all(disturbed(carry, step, names, disturb) for step in range(steps))
