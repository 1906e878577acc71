"""Partitions: what their end brings, and in which order, convicts nobody."""

from collections.abc import Callable, Iterable

import pytest

from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.observer import Observer
from tests.sim.ports import QUESTIONS
from tests.sim.worker import Worker


def part_until_one_asks_the_other(
    fleet: Fleet, standbys: Iterable[Observer], patch: pytest.MonkeyPatch
) -> Callable[[], bool]:
    """Part all workers for three seconds, but not from EC2 and the API server; it ends as one standby asks the other.

    Return what tells whether they are parted.
    """
    parted_at, names = fleet.now, {standby.worker.name for standby in standbys}
    parted = True

    def is_open(a: Worker, b: Worker, what: str) -> bool:
        nonlocal parted
        parted = parted and not (what == QUESTIONS and fleet.now > parted_at + 3.0 and {a.name, b.name} == names)
        return not parted

    patch.setattr(fleet, "is_open", is_open)
    return lambda: parted


@pytest.mark.parametrize("carry", list(Carry))
def test_nothing_moves_when_a_peer_answers_again_before_the_holder_does(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers are parted for three seconds, EC2 and the API server are not.  It ends as one standby asks the other:
    the answer is one to a question asked since the first lost probe, but no probe was lost since.
    """
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, *standbys = fleet.observers()
    is_parted = part_until_one_asks_the_other(fleet, standbys, monkeypatch)
    fleet.holds_for(lambda: fleet.stays() == [holder.worker.name], 5.0, "the address stays")
    assert not is_parted()


@pytest.mark.parametrize("carry", Carry)
def test_two_workers_that_do_not_reach_each_other_take_an_address_once(carry: Carry) -> None:
    """Each hears nothing of the other, as if that had died; but whoever had the address leaves it to the one that has
    taken it, however long that lasts.
    """
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    fleet.observers()
    fleet.cut = {frozenset({"a", "b"})}
    fleet.run(fleet.now + fleet.settings.settle + 30.0)
    assert fleet.stays() == ["a", "b"]


@pytest.mark.parametrize("carry", Carry)
def test_the_time_for_which_a_node_was_cut_off_is_no_part_of_its_patience(carry: Carry) -> None:
    """The address fell silent for it at once, and for the others only just now: nobody knows what the holder, which
    reaches them no more from the address, would have said until then.
    """
    fleet = Fleet(1, workers=3, profile=INSTANT, carry=carry)
    holder, standby, _ = fleet.observers()
    standby.worker.cut_off()
    fleet.run(fleet.now + fleet.settings.patience - 2.0)
    holder.worker.is_mute = True
    fleet.cut = set()
    fleet.run(fleet.now + 1.0)
    standby.worker.cloud.reachable = True
    fleet.holds_for(lambda: len(fleet.stays()) == 1, fleet.settings.patience - 2.0, "no move")
    fleet.wait(lambda: fleet.serving() not in (None, holder.worker), 10.0, "a standby takes over")
