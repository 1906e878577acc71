"""Several addresses in one deployment: they spread, none waits for another, and slots are counted beforehand."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core import timing
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Address, Allocation, Carry
from tests.sim.fleet import ADDRESS, INSTANT, NAME, TYPICAL, Fleet
from tests.sim.line import hangs
from tests.sim.planned import DRAIN
from tests.sim.worker import Worker

SECOND, THIRD = IPv4Address("10.0.0.101"), IPv4Address("10.0.0.102")
BOTH = (ADDRESS, SECOND)
IPV6 = IPv6Address("2001:db8:0:1::100")


def attach(fleet: Fleet, worker: Worker, address: IPv4Address) -> None:
    """Our ENI of an address is on a worker already."""
    eni = fleet.cloud.create_eni(address, fleet.subnet, {OWNER_TAG: NAME}, str(address))
    fleet.ec2.attach(eni.id, worker.id, 1 + len(worker.enis()))


def occupy(fleet: Fleet, worker: Worker, count: int) -> list[str]:
    """Somebody else's ENIs take slots of a worker; their attachments."""
    attachments = []
    for number in range(count):
        eni = fleet.cloud.create_eni(None, fleet.subnet, {}, f"{worker.name}{number}")
        attachments.append(fleet.ec2.attach(eni.id, worker.id, 10 + number))
    return attachments


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("addresses", [BOTH, (*BOTH, THIRD)], ids=len)
def test_addresses_spread_over_the_workers_at_first_placement(addresses: tuple[IPv4Address, ...], carry: Carry) -> None:
    """With as many workers as addresses that start at once, each gets one; also if it can carry none for a while."""
    for seed in range(5):
        fleet = Fleet(seed, workers=len(addresses), targets=addresses, profile=TYPICAL, carry=carry)
        for worker in fleet.workers:
            worker.start()
        fleet.wait(lambda fleet=fleet: all(map(fleet.serving, addresses)), 30, "all are carried")  # type: ignore[misc]  # bound early
        assert {sum(map(worker.carries, addresses)) for worker in fleet.workers} == {1}


def test_an_address_whose_detach_hangs_does_not_delay_another() -> None:
    """EC2 does not answer the first detach; the other address has moved long before."""
    fleet = Fleet(1, targets=BOTH, profile=INSTANT)
    holder, standby = fleet.observers()
    survivor = standby.worker
    hanging = fleet.at_calls("detach_eni", before=hangs, most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: any(map(survivor.carries, BOTH)), 2.5, "one address has moved")
    assert hanging.hits == 1
    assert not all(map(survivor.carries, BOTH)), "the other one cannot have moved yet"
    fleet.wait(lambda: all(map(survivor.carries, BOTH)), 10, "the other address has moved too")
    assert all(len(fleet.stays(address)) == 2 for address in BOTH)


def test_an_address_that_somebody_else_has_does_not_stop_another() -> None:
    """It is refused by both nodes, and the other one is placed and moved as ever."""
    fleet = Fleet(1, targets=(SECOND, ADDRESS), profile=INSTANT)
    foreign = fleet.cloud.create_eni(SECOND, fleet.subnet, {}, "")
    first, second = fleet.workers
    holder = first.start()
    fleet.wait(lambda: fleet.serving() is first, 5, "the other address is placed")
    standby = second.start()
    fleet.wait(lambda: standby.reason(ADDRESS) == "ANSWERS", 5, "the standby sees it")
    fleet.run(fleet.now + timing.TAGGED_WITHIN + 2)
    assert holder.reason(SECOND) == standby.reason(SECOND) == "NOT_OURS"
    first.cut_power()
    fleet.wait(lambda: fleet.serving() is second, 5, "the other address has moved")
    assert standby.reason(SECOND) == "NOT_OURS"
    assert all(foreign.id not in call.args for call in fleet.writes())


def test_attach_gives_up_on_all_unsound_addresses_at_once() -> None:
    """The second one has had its time when the first one has; each is said once."""
    fleet = Fleet(1, workers=1, targets=BOTH, profile=INSTANT)
    [worker] = fleet.workers
    worker.problem = "rule: still missing"
    for address in BOTH:
        attach(fleet, worker, address)
    fleet.run(1)
    process = worker.attach()
    fleet.wait(lambda: process.end is not None, 6.5, "it ends")
    assert process.end is not None
    assert (process.end.code, process.end.error) == (0, None)
    said = process.logged("attach", problem=worker.problem)
    assert [str(line.fields["address"]) for line in said] == [str(address) for address in BOTH]


def test_the_only_survivor_leaves_nothing_to_others() -> None:
    """It has an address of its own already, but nobody else could claim those of the node that was terminated."""
    fleet = Fleet(1, targets=BOTH, profile=INSTANT)
    lost, survivor = fleet.workers
    attach(fleet, lost, ADDRESS)
    attach(fleet, survivor, SECOND)
    fleet.run(1)
    for worker in fleet.workers:
        worker.start()
    fleet.wait_for_peace()
    fleet.ec2.terminate(lost.id)
    lost.cut_power()
    fleet.wait(lambda: survivor.carries(ADDRESS), 2.5, "the survivor has both addresses")


def test_a_holder_warns_while_the_others_lack_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, with the numbers, before anything has failed; until there are slots again."""
    monkeypatch.setattr(timing, "REHEARSE_EVERY", 30.0)
    fleet = Fleet(1, targets=BOTH, profile=INSTANT)
    [blocking] = occupy(fleet, fleet.workers[1], 1)
    holder, _ = fleet.observers()
    fleet.wait(lambda: bool(holder.logged("capacity")), 60, "a warning")
    [warning] = holder.logged("capacity")
    assert warning.level == "warning"
    assert "1 free ENI slots for its 2 addresses" in warning.message
    assert holder.published.are_others_short
    fleet.cloud.detach_eni(blocking, force=False)
    fleet.wait(lambda: not holder.published.are_others_short, 100, "the warning is taken back")
    assert len(holder.logged("capacity")) == 1


def test_a_standby_without_a_free_slot_says_so_before_the_failure() -> None:
    """In its log and its readiness; and it evicts nobody in vain."""
    fleet = Fleet(1, profile=INSTANT)
    holder_at, standby_at = fleet.workers
    occupy(fleet, standby_at, 2)
    holder, standby = holder_at.start(), standby_at.start()
    fleet.wait(lambda: bool(standby.logged("rehearsal")), 20, "the standby has found out")
    [said] = standby.logged("rehearsal")
    assert said.level == "warning"
    assert "has no free ENI slot; keep one free" in said.message
    fleet.wait(lambda: "has no free ENI slot" in standby.published.not_ready(), 2, "it is not ready")
    fleet.wait(lambda: not holder.published.not_ready(), 5, "the holder is")
    fleet.wait(lambda: standby.reason(ADDRESS) == "ANSWERS", 5, "it sees the address")
    fleet.run(fleet.now + 5)
    holder_at.cut_power()
    fleet.wait(lambda: standby.reason(ADDRESS) == "CANNOT_CLAIM", 10, "it knows that the holder is dead")
    fleet.holds_for(lambda: not fleet.calls("detach_eni", standby_at), 30, "the holder keeps its ENI")


@pytest.mark.parametrize("carry", Carry)
def test_addresses_of_each_kind_move_together_from_one_dead_node(carry: Carry) -> None:
    """Each by its own calls, all within one failover."""
    kinds: tuple[Address, ...] = (ADDRESS, IPV6)
    fleet = Fleet(1, targets=kinds, profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: all(map(standby.worker.carries, kinds)), 10, "all have moved")
    assert all(fleet.stays(address) == ["a", "b"] for address in kinds)


@pytest.mark.parametrize("carry", Carry)
def test_an_elastic_ip_moves_with_its_private_address(carry: Carry) -> None:
    """It leads to the holder, and after its death to the next one."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    allocation = fleet.ec2.allocate("203.0.113.7")
    fleet.retarget(Allocation(allocation))
    holder, standby = fleet.observers()
    assert leads_to(fleet, allocation) is holder.worker
    holder.worker.cut_power()
    fleet.wait(lambda: leads_to(fleet, allocation) is standby.worker, 10, "the next one has it")
    fleet.wait(lambda: standby.reason(Allocation(allocation)) == "HELD_HERE", 5, "and carries it")


def leads_to(fleet: Fleet, allocation_id: str) -> Worker | None:
    """The worker that carries the private address that an Elastic IP is associated with."""
    for eni in fleet.ec2.state.enis.values():
        for address, associated in eni.elastic.items():
            if associated == allocation_id:
                return fleet.serving(address)
    return None


def test_a_planned_move_takes_no_more_than_there_is_room_for() -> None:
    """A node with two addresses is drained, and the standby has room for one: the other one stays, and is served."""
    fleet = Fleet(1, targets=BOTH, profile=TYPICAL)
    drained, standby = fleet.workers
    for address in BOTH:
        attach(fleet, drained, address)
    occupy(fleet, standby, 1)
    fleet.run(5)
    fleet.observers()
    fleet.wait_for_peace()
    fleet.run(fleet.now + 5)
    drained.delete(DRAIN)
    fleet.wait(lambda: any(map(standby.carries, BOTH)), 20, "one address has moved")
    fleet.run(fleet.now + 20)
    assert len(fleet.calls("detach_eni", standby)) == 1
    assert all(map(fleet.serving, BOTH))
