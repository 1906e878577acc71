"""What whole agents tell Kubernetes: who they are, which moves they made, and what keeps them from making any."""

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from floatingip.core.move import Move, Result
from floatingip.core.news import Remark, Role
from tests.sim.fleet import ADDRESS, Fleet
from tests.sim.observer import Observer

BOTH = pytest.mark.parametrize("carry", Carry)


def roles(observer: Observer) -> list[Role]:
    """What it has called itself, one after the other."""
    return [news for news in observer.news if isinstance(news, Role)]


def moves(observer: Observer) -> list[Move]:
    """Those that it has told of."""
    return [news for news in observer.news if isinstance(news, Move)]


def remarks(observer: Observer) -> list[Remark]:
    """The Events that it has made."""
    return [news for news in observer.news if isinstance(news, Remark)]


@BOTH
def test_a_takeover_is_told_by_who_took_over(carry: Carry) -> None:
    """With its phases, as an Event that somebody should look at, and by the label of the one that has it now."""
    fleet = Fleet(1, carry=carry)
    holder, standby = (worker.start() for worker in fleet.workers)
    fleet.wait_for_peace()
    if fleet.serving() is not holder.worker:
        holder, standby = standby, holder
    assert (roles(holder)[-1], roles(standby)) == (Role.HOLDER, [Role.STANDBY])
    holder.worker.cut_power()
    fleet.wait(lambda: len(moves(standby)) > 0, 60, "it tells of the move")
    [move] = moves(standby)
    [line] = standby.logged("failover")
    assert (move.address, move.rule, move.result) == (str(ADDRESS), "R3", Result.MOVED)
    assert (move.source, move.to) == (holder.worker.id, standby.worker.id)
    assert move.seconds == {key: round(line.fields[key], 3) for key in move.seconds}  # type: ignore[call-overload]
    assert {"duration", "detect", "plumb"} <= set(move.seconds)
    assert move.why == f"the address stopped answering, and {holder.worker.id} is silent"
    assert move.ended_at == pytest.approx(fleet.wall, abs=2)
    [remark] = remarks(standby)
    assert (remark.is_warning, remark.reason) == (True, "Moved")
    assert f"from {holder.worker.id} to {standby.worker.id} by R3 in " in remark.note
    assert roles(standby) == [Role.STANDBY, Role.HOLDER]


def test_the_first_placement_by_attach_is_told_and_needs_nobody() -> None:
    """The init container has no label: its pod is no observer yet."""
    fleet = Fleet(1)
    attach = fleet.workers[0].attach()
    fleet.wait(lambda: attach.end is not None, 60, "it ends")
    [move] = moves(attach)
    assert (move.rule, move.source, move.to) == ("R1", "", attach.worker.id)
    assert [remark.is_warning for remark in remarks(attach)] == [False]
    assert roles(attach) == []


def test_nothing_is_told_while_an_address_is_on_its_way() -> None:
    """Not even what has long been waiting to be told: a takeover is never held up."""
    fleet = Fleet(1)
    holder, standby = (worker.start() for worker in fleet.workers)
    fleet.wait_for_peace()
    if fleet.serving() is not holder.worker:
        holder, standby = standby, holder
    told = len(standby.news)
    holder.worker.cut_power()
    fleet.wait(lambda: bool(standby.logged("takeover")), 10, "it takes over")
    fleet.holds_for(lambda: len(standby.news) == told or bool(standby.logged("failover")), 20, "it tells nothing")


def test_who_could_not_take_over_says_so_once() -> None:
    """With the cause; and it stays a standby, which is well as the holder sees it."""
    fleet = Fleet(1)
    for worker in fleet.workers:
        worker.start()
    fleet.wait_for_peace()
    [standby] = [o for o in fleet.observers() if o.worker is not fleet.serving()]
    standby.worker.turn_blind("10.0.0.100 cannot be probed from here: a rule of others")
    fleet.run(fleet.now + timing.NOT_READY_FOR + 20)
    assert [(r.reason, r.is_warning) for r in remarks(standby)] == [("CannotTakeOver", True)]
    assert remarks(standby)[0].note.startswith(f"{ADDRESS}: ")
    assert "a rule of others" in remarks(standby)[0].note


def test_a_restarted_observer_writes_its_label_anew() -> None:
    """Whatever the one before it wrote: that may be of the past."""
    fleet = Fleet(1)
    for worker in fleet.workers:
        worker.start()
    fleet.wait_for_peace()
    holder = fleet.serving()
    assert holder is not None
    again = holder.start()
    fleet.wait(lambda: roles(again) == [Role.HOLDER], 10, "it says what it is")
