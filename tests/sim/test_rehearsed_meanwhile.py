"""A rehearsal that is under way while the address moves: what it was tried with is gone."""

from collections.abc import Collection, Mapping

import pytest

from floatingip.core import timing
from floatingip.core.ec2 import Eni, Subnet
from floatingip.core.model import Carry, Target
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.worker import Worker


def test_a_denial_for_want_of_the_attachment_bars_no_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that goes by an interface's tags denies the detach of an attachment that does not exist any more."""
    fleet = Fleet(1, workers=3, profile=INSTANT)
    holder, other, last = (observer.worker for observer in fleet.observers())

    def rehearse(
        eni: Eni | None,
        subnet: Subnet,
        me: str,
        tags: Mapping[str, str],
        targets: Collection[Target],
        needed: frozenset[str],
    ) -> tuple[str, ...]:
        there = {each.attachment.id for each in fleet.enis() if each.attachment is not None}
        is_gone = eni is not None and eni.attachment is not None and eni.attachment.id not in there
        denied.append(is_gone)
        return ("ec2:DetachNetworkInterface",) if is_gone else ()

    def begins(worker: Worker, name: str) -> None:
        if worker is last and name == "rehearsal" and holder.is_on:
            holder.cut_power()

    denied: list[bool] = []
    monkeypatch.setattr(last.cloud, "rehearse", rehearse)
    last.ec2_takes = {"rehearsal": (8.0, 8.0), "write": (2.0, 2.0)}
    fleet.beginning.append(begins)
    fleet.wait(lambda: any(denied), 700, "it is denied")
    assert fleet.serving() is other
    last.ec2_takes = {}
    fleet.run(fleet.now + 10)
    assert last.observer is not None
    assert not last.observer.logged("rehearsal")
    other.cut_power()
    fleet.wait(lambda: fleet.serving() is last, 10, "it takes over")


@pytest.mark.parametrize(
    ("carry", "action"), [(Carry.ENI, "DetachNetworkInterface"), (Carry.ADDRESS, "AssignPrivateIpAddresses")]
)
def test_a_denial_that_is_over_is_known_to_be_over_while_the_address_is_missed(carry: Carry, action: str) -> None:
    """Somebody mends IAM because of the outage: nobody waits then until the next rehearsal in peace."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    fleet.observers()
    first, second = fleet.workers
    second.cloud.denied = {action}
    second.kill()
    standby = second.start()
    fleet.wait(lambda: bool(standby.published.denied), 30, "the denial is known")
    fleet.run(fleet.now + timing.REHEARSE_AGAIN + 5)
    first.cut_power()
    fleet.run(fleet.now + 20)
    assert fleet.serving() is None
    second.cloud.denied = set()
    fleet.wait(lambda: fleet.serving() is second, timing.LOOK_WHILE_BARRED + 5, "it takes over")
