"""Every failover has an id that is the same in all nodes' logs, though none of them tells it to another one."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.agent.effects import Level
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.node import Notice
from tests.sim.fleet import ADDRESS, Fleet
from tests.sim.line import Call
from tests.sim.observer import Observer

ENDS = Notice("spot", "terminate")
KINDS = ["IPv4", "IPv6", "Elastic IP"]


def serving(carry: Carry, kind: str) -> tuple[Fleet, list[Observer]]:
    """Three observers; the first one holds an address of this kind."""
    fleet = Fleet(1, workers=3, carry=carry)
    target: Target = ADDRESS
    if kind == "IPv6":
        target = IPv6Address("2001:db8:0:1::100")
    elif kind == "Elastic IP":
        target = Allocation(fleet.ec2.allocate("203.0.113.100"))
    fleet.retarget(target)
    first, *others = fleet.workers
    observers = [first.start()]
    fleet.wait(lambda: bool(observers[0].published.status.holds), 60, "the first observer holds the address")
    observers += [worker.start() for worker in others]
    fleet.wait_for_peace()
    return fleet, observers


def told(observer: Observer, failover: object) -> list[str]:
    """The events of this failover in one node's log."""
    return [line.event for line in observer.lines if line.fields.get("failover") == failover]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carry", list(Carry))
def test_whoever_takes_an_address_and_whoever_loses_it_tell_the_same_id(carry: Carry, kind: str) -> None:
    """In each line that tells of the move; whoever takes it names both nodes."""
    fleet, (loser, *others) = serving(carry, kind)
    loser.worker.notice = ENDS
    fleet.wait(lambda: any(other.logged("failover") for other in others), 60, "another one has it")
    fleet.run(fleet.now + 5.0)
    taker = next(other for other in others if other.logged("failover"))
    (takeover,), (done,) = taker.logged("takeover"), taker.logged("failover")
    failover = takeover.fields["failover"]
    assert str(failover).startswith("eni-attach-")
    calls = 1 if carry is Carry.ADDRESS and kind != "IPv6" else 2
    assert told(taker, failover) == ["takeover", *["write"] * calls, "failover"]
    assert {"decision", "unplumbed"} & set(told(loser, failover)), "\n".join(fleet.lines)
    assert takeover.level is Level.WARNING
    assert [done.fields[key] for key in ("source_node", "to_node")] == [
        f"ip-10-0-0-{each.worker.address.packed[-1]}.us-west-2.compute.internal" for each in (loser, taker)
    ]


@pytest.mark.parametrize("carry", list(Carry))
def test_whoever_finishes_for_a_claimer_that_died_tells_the_same_id(carry: Carry) -> None:
    """Also where nobody had the address any more, so that nobody was judged."""
    fleet, (holder, *others) = serving(carry, "IPv6")
    judged = holder.published.status.holds["2001:db8:0:1::100"].attachment

    def die(call: Call) -> None:
        next(other for other in others if other.worker.name == call.by).worker.cut_power()

    fleet.at_calls("attach_eni", "assign", before=die, most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: any(other.logged("failover") for other in others), 150, "the third one has it")
    first, second = sorted(others, key=lambda other: bool(other.logged("failover")))
    failover = first.logged("takeover")[0].fields["failover"]
    assert str(failover).startswith(judged)
    assert told(second, failover)[-1] == "failover"


def test_each_address_has_a_failover_of_its_own() -> None:
    """Though one standing ENI loses both."""
    fleet = Fleet(1, targets=(ADDRESS, IPv4Address("10.0.0.101")), carry=Carry.ADDRESS)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: len(standby.published.status.holds) == 2, 60, "both are here")
    assert len({line.fields["failover"] for line in standby.logged("failover", rule="R3")}) == 2


def test_an_interface_that_moves_back_does_so_by_another_failover() -> None:
    """The same node loses it twice."""
    fleet, observers = serving(Carry.ENI, "IPv4")
    for staying in (1, 0, 1):
        for number, observer in enumerate(observers):
            observer.worker.notice = None if number == staying else ENDS
        fleet.wait(lambda worker=fleet.workers[staying]: fleet.serving() is worker, 60, "it moves")  # type: ignore[misc]  # bound now
        fleet.run(fleet.now + 5.0)
    done = [line.fields["failover"] for each in observers for line in each.logged("failover", rule="R5")]
    assert len(set(done)) == len(done) == 3
