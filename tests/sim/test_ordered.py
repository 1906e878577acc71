"""Planned moves on request.  What `floatingip handover` itself does is for tests/edges/test_handover.py."""

from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from tests.fakes.ec2 import WALL
from tests.sim.fleet import ADDRESS, TYPICAL, Fleet
from tests.sim.planned import BOTH, DRAIN, moved, quick, serves, stays
from tests.sim.worker import Worker


def ask(fleet: Fleet, to: str, *, valid_for: float = 180.0) -> None:
    """Order a handover."""
    eni = fleet.eni()
    assert eni.attachment is not None
    value = order.render(eni.attachment.id, to, WALL + fleet.now + valid_for)
    fleet.cloud.tag_eni(eni.id, {way_to(fleet.settings.carry).of_one(order.TAG, ADDRESS): value})


@BOTH
def test_an_order_is_obeyed_by_any_standby_once(carry: Carry) -> None:
    """At the next look in peace, and while the holder goes on serving; nobody obeys it once more."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    ask(fleet, order.ANYBODY)
    serves(fleet, standby, 70)
    stays(fleet, standby, 100)
    assert fleet.stays() == moved(holder, standby)
    assert [line.fields["rule"] for line in standby.logged("takeover")] == ["R5"]
    assert holder.is_alive
    assert standby.is_alive


@BOTH
def test_an_order_for_one_node_is_left_to_it_by_the_others(carry: Carry) -> None:
    """The second standby sees the order, and does nothing."""
    fleet = quick(carry, workers=3)
    holder, other, named = fleet.observers()
    fleet.run(fleet.now + 10)
    before = len(fleet.writes(other.worker))
    ask(fleet, named.worker.id)
    serves(fleet, named, 70)
    stays(fleet, named, 30)
    assert fleet.stays() == moved(holder, named)
    takeovers = {"detach_eni", "attach_eni", "assign"}
    assert takeovers.isdisjoint(call.name for call in fleet.writes(other.worker)[before:])


@BOTH
def test_an_order_for_a_node_without_an_observer_moves_nothing(carry: Carry) -> None:
    """The holder goes on serving until it is over, and after that."""
    fleet = quick(carry, workers=3)
    absent: Worker = fleet.workers.pop()
    holder, standby = fleet.observers()
    ask(fleet, absent.id, valid_for=90)
    stays(fleet, holder, 150)
    assert fleet.stays() == moved(holder)
    assert not standby.logged("takeover")


@BOTH
def test_an_order_that_is_over_is_not_obeyed(carry: Carry) -> None:
    """An observer that has not looked before its deadline does nothing."""
    fleet = quick(carry)
    holder, _ = fleet.observers()
    ask(fleet, order.ANYBODY, valid_for=-1)
    stays(fleet, holder, 150)
    assert fleet.stays() == moved(holder)


def handed_over() -> tuple[Fleet, Worker]:
    """Two workers; the second one has just got the address, by EC2, as it was ordered."""
    fleet = Fleet(1, profile=TYPICAL, carry=Carry.ADDRESS)
    _, standby = fleet.observers()
    ask(fleet, order.ANYBODY)
    fleet.wait(lambda: fleet.at(ADDRESS) is standby.worker, 70, "it is handed over")
    return fleet, standby.worker


def test_a_successor_that_dies_before_it_is_seen_to_have_the_address_is_followed() -> None:
    """Of two workers the former holder may be the one that is cut off: but it has heard the other one take it."""
    fleet, successor = handed_over()
    successor.cut_power()
    fleet.wait(lambda: fleet.serving() is not None, 15, "the former holder has it again")


def test_an_address_that_comes_back_at_once_stays_on_the_link() -> None:
    """It was not off the link yet, and IMDS lacks it still when EC2 has promised it to this node again."""
    fleet, successor = handed_over()
    fleet.run(fleet.now + 1.0)
    successor.delete(DRAIN)
    fleet.holds_for(lambda: fleet.serving() is not None, 15, "somebody serves it")
    assert fleet.at(ADDRESS) is not successor
