"""Agents with `carry: address`: one EC2 call moves the address, and whatever goes wrong, exactly one node has it."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.model import Address, Carry
from tests.fakes.ec2 import Delays
from tests.sim.fleet import ADDRESS, INSTANT, NAME, TYPICAL, Fleet
from tests.sim.invariants import REMOVED_WITHIN
from tests.sim.line import Call, Happening, fails
from tests.sim.observer import Observer
from tests.sim.worker import Worker

IPV6 = IPv6Address("2001:db8:0:1::100")
SLOW_ASSIGN = replace(INSTANT, delays=Delays(assign=0.4))


def fleet_of(workers: int, address: Address = ADDRESS) -> Fleet:
    """In which two observers can believe to be the first for a while."""
    return Fleet(1, workers=workers, targets=(address,), profile=SLOW_ASSIGN, carry=Carry.ADDRESS)


def serves(fleet: Fleet, worker: Worker, within: float, address: Address = ADDRESS) -> None:
    """Wait until it does."""
    fleet.wait(lambda: fleet.serving(address) is worker, within, f"{worker.name} serves")


def another_serves(fleet: Fleet, dead: Worker, within: float, address: Address = ADDRESS) -> Worker:
    """Wait until another worker does; which."""
    fleet.wait(lambda: fleet.serving(address) not in (None, dead), within, "another one serves")
    worker = fleet.serving(address)
    assert worker is not None
    return worker


# Standing ENIs.


def test_the_claimer_of_an_orphan_deletes_it_when_nobody_needs_it() -> None:
    """A terminated node's standing ENI keeps the address until it is taken, and is then of no use."""
    fleet = Fleet(1, profile=replace(TYPICAL, device=0.1), carry=Carry.ADDRESS)
    holder, standby = fleet.observers()
    [orphan] = fleet.standing(holder.worker)
    fleet.ec2.terminate(holder.worker.id)
    holder.worker.cut_power()
    serves(fleet, standby.worker, 30)
    fleet.wait(lambda: not fleet.standing(holder.worker), 400, "the orphan is gone")
    assert [call.args for call in fleet.calls("delete_eni")] == [(orphan.id,)]
    assert fleet.stays() == ["a", "b"]
    assert fleet.serving() is standby.worker


# IPv6: a fence, and a claim.


def test_another_observer_claims_when_the_claimer_dies_between_its_fence_and_its_claim() -> None:
    """Nobody has the IPv6 address then; the third node goes on from there."""
    fleet = fleet_of(3, IPV6)
    holder, *standbys = fleet.observers()
    killed: list[Observer] = []

    def kill(call: Call) -> None:
        killed.extend(each for each in standbys if each.worker.name == call.by)
        killed[0].worker.kill()

    fleet.at_calls("assign", before=kill, most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: bool(killed), 10, "the first claimer dies")
    [survivor] = [each for each in standbys if each is not killed[0]]
    serves(fleet, survivor.worker, 10, IPV6)
    assert fleet.stays(IPV6) == [holder.worker.name, survivor.worker.name]
    assert len([call for call in fleet.calls("unassign") if call.error is None]) == 1


def test_a_restarted_observer_claims_the_ipv6_address_that_it_left_free() -> None:
    """With two nodes only: the killed claimer's own next container finishes, though it remembers nothing."""
    fleet = fleet_of(2, IPV6)
    holder, standby = fleet.observers()
    fleet.at_calls("assign", before=lambda _: standby.worker.kill(), most=1)
    holder.worker.cut_power()
    fleet.wait(lambda: not standby.is_alive, 10, "the claimer is killed")
    fleet.run(fleet.now + 1)
    assert fleet.enis(IPV6) == [], "this test is about a free address"
    standby.worker.start()
    serves(fleet, standby.worker, 10, IPV6)


# One call that fails.


@pytest.mark.parametrize(
    ("address", "name"), [(ADDRESS, "assign"), (IPV6, "assign"), (IPV6, "unassign")], ids=["v4", "v6", "v6 fence"]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_one_failed_call_makes_no_second_move(address: Address, name: str, when: str) -> None:
    """Whether it took effect or not: the address comes to one standby, and nobody takes it from there."""
    fleet = fleet_of(3, address)
    holder, *standbys = fleet.observers()
    happening: dict[str, Happening] = {when: fails}
    trouble = fleet.at_calls(name, most=1, **happening)  # type: ignore[arg-type]  # before or after
    holder.worker.cut_power()
    winner = another_serves(fleet, holder.worker, 10, address)
    assert trouble.hits == 1
    fleet.holds_for(lambda: fleet.serving(address) is winner, 20, "nobody takes it away again")
    assert fleet.stays(address) == [holder.worker.name, winner.name]
    assert all(each.is_alive for each in standbys)


# A holder that is cut off.


def test_a_holder_that_is_cut_off_from_all_drops_the_address_when_imds_lacks_it() -> None:
    """Neither EC2 nor a peer can tell it that the address is elsewhere now; it must not answer for it any more."""
    fleet = fleet_of(2)
    holder, standby = fleet.observers()
    holder.worker.cut_off()
    serves(fleet, standby.worker, 20)
    fleet.wait(lambda: ADDRESS not in holder.worker.plumbed, 10, "the former holder drops the address")
    assert holder.logged(reason="LOST")
    assert holder.is_alive
    fleet.holds_for(lambda: ADDRESS not in holder.worker.plumbed, 60, "and does not take it up again")
    assert fleet.stays() == ["a", "b"]


def test_a_holder_that_is_restarted_while_it_is_cut_off_drops_the_address_as_well() -> None:
    """The new process never saw IMDS show it: it found the address on its link."""
    fleet = fleet_of(2)
    holder, standby = fleet.observers()
    holder.worker.cut_off()
    holder.worker.kill()
    assert ADDRESS in holder.worker.plumbed
    restarted = holder.worker.start()
    serves(fleet, standby.worker, 20)
    fleet.wait(lambda: ADDRESS not in holder.worker.plumbed, 10, "the former holder drops the address")
    assert restarted.is_alive


def test_one_late_answer_of_ec2_does_not_give_back_what_was_dropped() -> None:
    """It would say that it holds the address, stop probing, and ask again after a minute."""
    fleet = Fleet(1, profile=INSTANT, carry=Carry.ADDRESS)
    holder, standby = fleet.observers()
    cloud = holder.worker.cloud
    fleet.run(fleet.now + 40)
    cloud.lag = 30.0
    [eni] = fleet.standing(standby.worker)
    fleet.ec2.assign(eni.id, ADDRESS, reassign=True)
    fleet.wait(lambda: bool(holder.logged(reason="LOST")), 10, "IMDS tells that it is lost")
    late = fleet.at_calls("describe_enis", after=lambda _: setattr(cloud, "lag", 0.0), by=holder.worker, most=1)
    fleet.wait(lambda: late.hits == 1, 10, "a late answer calls it this node's")
    fleet.wait(lambda: ADDRESS not in holder.worker.plumbed, 1, "it is dropped")
    fleet.holds_for(lambda: ADDRESS not in holder.worker.plumbed, 20, "it is not taken up again")
    assert fleet.serving() is standby.worker
    assert holder.reason(ADDRESS) == "ANSWERS", "it is a standby that probes"


def test_a_holder_to_which_imds_is_silent_finds_out_from_ec2() -> None:
    """In peace it would ask once a minute: as long as nobody else tells, that is too late to let go."""
    fleet = fleet_of(2)
    holder, standby = fleet.observers()
    fleet.run(fleet.now + 20)
    asked = len(fleet.calls("describe_enis", by=holder.worker))
    fleet.wait(lambda: len(fleet.calls("describe_enis", by=holder.worker)) > asked, 70, "a question in peace")
    holder.worker.is_imds_silent = True
    fleet.cut.add(frozenset({"a", "b"}))
    serves(fleet, standby.worker, 20)
    fleet.wait(lambda: ADDRESS not in holder.worker.plumbed, 8.0, "the former holder drops the address")
    asked = len(fleet.calls("describe_enis", by=holder.worker))
    fleet.run(fleet.now + 60)
    assert len(fleet.calls("describe_enis", by=holder.worker)) - asked <= 60


def test_a_holder_that_can_ask_nobody_at_all_keeps_the_address() -> None:
    """EC2's outage, its peers' and IMDS' together are no evidence that somebody else has it."""
    fleet = fleet_of(1)
    [holder] = fleet.observers()
    fleet.run(fleet.now + 10)
    holder.worker.is_imds_silent = True
    holder.worker.cut_off()
    fleet.holds_for(lambda: ADDRESS in holder.worker.plumbed, 300, "the address stays")


def test_imds_that_has_never_shown_the_address_takes_nothing_away() -> None:
    """It lags: for a new holder it has not got there yet."""
    fleet = Fleet(1, workers=1, profile=INSTANT, carry=Carry.ADDRESS)
    [worker] = fleet.workers
    worker.imds_lacks = frozenset({ADDRESS})
    observer = worker.start()
    fleet.wait(lambda: ADDRESS in worker.plumbed, 10, "it carries the address")
    fleet.holds_for(lambda: ADDRESS in worker.plumbed, 25, "it keeps the address")
    assert not observer.logged(reason="LOST")


@pytest.mark.parametrize("carry", Carry)
def test_a_describe_that_omits_the_eni_takes_no_address_off_its_link(
    monkeypatch: pytest.MonkeyPatch, carry: Carry
) -> None:
    """Nobody has it, as EC2 tells; the device, and IMDS, tell that this node does: so it says, and is ready."""
    fleet = Fleet(1, profile=SLOW_ASSIGN, carry=carry)
    holder, _ = fleet.observers()
    _omit(fleet, monkeypatch)
    fleet.wait(lambda: holder.reason(ADDRESS) == "UNSHOWN_HERE", 70, "a question in peace finds it omitted")
    fleet.holds_for(lambda: _is_said_to_serve(holder), 200, "the address answers where it was, and that is said")
    monkeypatch.undo()
    fleet.wait(lambda: holder.reason(ADDRESS) == "HELD_HERE", 20, "the holder is told so again")
    made = [call for call in fleet.calls("create_eni") if call.error is None]
    assert (fleet.stays(), len(made)) == (["a"], 2 if carry is Carry.ADDRESS else 1)


@pytest.mark.parametrize("is_imds_silent", [False, True])
def test_what_was_unassigned_while_ec2_does_not_show_it_is_no_longer_held(
    monkeypatch: pytest.MonkeyPatch, *, is_imds_silent: bool
) -> None:
    """IMDS tells its holder; where that is silent, EC2 does, once another node has claimed it."""
    fleet = fleet_of(2)
    holder, standby = fleet.observers()
    _omit(fleet, monkeypatch)
    fleet.wait(lambda: holder.reason(ADDRESS) == "UNSHOWN_HERE", 70, "a question in peace finds it omitted")
    holder.worker.is_imds_silent = is_imds_silent
    fleet.ec2.unassign(fleet.eni().id, ADDRESS)
    serves(fleet, standby.worker, 30)
    fleet.wait(lambda: fleet.carrying() == [standby.worker], REMOVED_WITHIN, "the former holder drops it")


def _omit(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on EC2 shows nobody the ENI that has the address now."""
    hidden = fleet.eni().id
    for worker in fleet.workers:
        for name in ("describe_enis", "find_occupants"):
            monkeypatch.setattr(worker.cloud, name, _without(hidden, getattr(worker.cloud, name)))


def _is_said_to_serve(observer: Observer) -> bool:
    said = observer.published
    is_ready = not said.not_ready() and "EC2 shows neither the ENI" in said.note
    return is_ready and str(ADDRESS) in said.status.holds and observer.worker.carries(ADDRESS)


def _without(hidden: str, describe: Callable[..., tuple[Eni, ...]]) -> Callable[..., tuple[Eni, ...]]:
    """The same, but for that ENI."""
    return lambda asked: tuple(eni for eni in describe(asked) if eni.id != hidden)


# The init container.


def attached(fleet: Fleet, process: Observer, within: float) -> None:
    """Wait until ``attach`` ends well."""
    fleet.wait(lambda: process.end is not None, within, "it ends")
    assert process.end is not None
    assert (process.end.code, process.end.error) == (0, None)


def test_attach_leaves_each_worker_with_one_standing_eni_and_one_of_them_with_the_address() -> None:
    """All start at once; the ENIs outlive their nodes, and are nothing for the VPC CNI."""
    fleet = Fleet(1, workers=3, profile=TYPICAL, carry=Carry.ADDRESS)
    for process in [worker.attach() for worker in fleet.workers]:
        attached(fleet, process, 30)
    for worker in fleet.workers:
        [eni] = fleet.standing(worker)
        assert eni.attachment is not None
        assert eni.attachment.instance_id == worker.id
        assert eni.attachment.status is AttachmentStatus.ATTACHED
        assert not eni.delete_on_termination
        assert (eni.tags["node.k8s.amazonaws.com/no_manage"], eni.tags["floatingip"]) == ("true", NAME)
    serving = fleet.serving()
    assert serving is not None
    assert fleet.stays() == [serving.name]


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("when", ["before", "after"])
def test_attach_that_is_killed_at_any_call_is_finished_by_the_next_one(carry: Carry, when: str) -> None:
    """At its first call, its second, ... : with one ENI in the end, and the address on it."""
    survived = 0
    while is_killed_at(survived, when, carry):
        survived += 1
    assert survived > 5, "this was to kill it at several calls"


def is_killed_at(survived: int, when: str, carry: Carry) -> bool:
    """Kill an init container at the call after so many, if there is one, and let the next container finish."""
    fleet = Fleet(survived, workers=1, profile=INSTANT, carry=carry)
    [worker] = fleet.workers
    happening: dict[str, Happening] = {when: lambda _: worker.kill()}
    trouble = fleet.at_calls(spared=survived, most=1, **happening)  # type: ignore[arg-type]  # before or after
    doomed = worker.attach()
    fleet.wait(lambda: not doomed.is_alive, 30, "it ends, or is killed")
    if not trouble.hits:
        return False
    trouble.end()
    attached(fleet, worker.attach(), 30)
    eni = fleet.eni()
    assert eni.attachment is not None
    assert eni.attachment.status is AttachmentStatus.ATTACHED
    assert fleet.stays() == [worker.name]
    ours = [other for other in fleet.ec2.state.enis.values() if other.tags]
    assert ours == [eni]
    return True


def test_a_standby_that_attaches_is_ready_for_its_first_takeover() -> None:
    """Everything but the address and its rule is there before its init container ends."""
    fleet = Fleet(1, profile=INSTANT, carry=Carry.ADDRESS)
    first, second = fleet.workers
    first.start()
    serves(fleet, first, 10)
    process = second.attach()
    attached(fleet, process, 10)
    assert process.published.not_ready() == ""
    [eni] = fleet.standing(second)
    assert eni.mac in second.devices
    assert ADDRESS not in second.plumbed


def test_addresses_of_two_kinds_and_a_third_move_together_from_one_dead_node() -> None:
    """An IPv4 address, an IPv6 address and a second IPv4 address: each by its own calls, all within one failover."""
    addresses: tuple[Address, ...] = (ADDRESS, IPV6, IPv4Address("10.0.0.101"))
    fleet = Fleet(1, targets=addresses, profile=INSTANT, carry=Carry.ADDRESS)
    holder, standby = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: all(map(standby.worker.carries, addresses)), 10, "all have moved")
    assert all(fleet.stays(address) == ["a", "b"] for address in addresses)
