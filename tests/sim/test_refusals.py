"""An address that something else has, and nodes that cannot carry it: nothing is touched, nothing ping-pongs."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from floatingip.core import timing
from floatingip.core.ec2 import OWNER_TAG, Eni
from floatingip.core.errors import AddressTaken, CloudError, LookAgain
from floatingip.core.model import Carry
from tests.sim.fleet import ADDRESS, INSTANT, NAME, Fleet
from tests.sim.line import Call, is_denied
from tests.sim.worker import Worker


def untagged(fleet: Fleet) -> Eni:
    """An ENI that somebody made without our tag; free, so that it could be had."""
    return fleet.cloud.create_eni(ADDRESS, fleet.subnet, {}, "")


def another_clusters(fleet: Fleet) -> Eni:
    """An ENI of another cluster of this VPC."""
    return fleet.cloud.create_eni(ADDRESS, fleet.subnet, {OWNER_TAG: "another-cluster"}, "")


def secondary(fleet: Fleet) -> Eni:
    """An ENI that is ours, but has the address only as a secondary one."""
    eni = fleet.cloud.create_eni(None, fleet.subnet, {OWNER_TAG: NAME}, "")
    fleet.ec2.assign(eni.id, ADDRESS, reassign=False)
    return eni


@pytest.mark.parametrize(
    ("make", "within"), [(untagged, timing.TAGGED_WITHIN + 5), (another_clusters, 5), (secondary, 5)]
)
def test_attach_refuses_a_foreign_eni_and_names_it(make: Callable[[Fleet], Eni], within: float) -> None:
    """With exit code 5, and not one call that could change anything; one without any tag may be new."""
    fleet = Fleet(1, profile=INSTANT)
    eni = make(fleet)
    attach = fleet.workers[0].attach()
    fleet.wait(lambda: attach.end is not None, within, "it ends")
    assert attach.end is not None
    assert isinstance(attach.end.error, AddressTaken)
    assert attach.end.error.exit_code == 5
    assert eni.id in str(attach.end.error)
    assert str(ADDRESS) in str(attach.end.error)
    assert fleet.writes() == []


@pytest.mark.parametrize("carry", Carry)
def test_attach_ends_when_ec2_refuses_the_address_and_shows_nobody(carry: Carry) -> None:
    """With exit code 5 and what EC2 said, and not without a back-off until then."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)

    def is_in_use(call: Call) -> None:
        if ADDRESS in call.args:
            raise LookAgain(f"InvalidIPAddress.InUse: Address {ADDRESS} is in use.")

    fleet.at_calls("create_eni", "assign", before=is_in_use)
    attach = fleet.workers[0].attach()
    fleet.wait(lambda: attach.end is not None, 90, "it ends")
    assert attach.end is not None
    assert isinstance(attach.end.error, AddressTaken)
    assert "Address 10.0.0.100 is in use." in str(attach.end.error)
    assert [line.level for line in attach.logged("taken")] == ["error"]
    assert 3 <= len([call for call in fleet.writes() if ADDRESS in call.args]) <= 10


@pytest.mark.parametrize("carry", Carry)
def test_observers_whose_claims_ec2_refuses_are_not_ready_until_it_takes_one(carry: Carry) -> None:
    """Whatever it says: nobody has the address, and these could not have it."""

    def refuse(call: Call) -> None:
        if ADDRESS in call.args:
            raise CloudError("InvalidParameterValue: what nobody has heard of yet")

    fleet = Fleet(1, profile=INSTANT, carry=carry)
    refused = fleet.at_calls("create_eni", "assign", before=refuse)
    both = [worker.start() for worker in fleet.workers]
    fleet.run(fleet.now + 60)
    assert all("what nobody has heard of yet" in each.published.not_ready() for each in both)
    refused.end()
    fleet.wait(lambda: fleet.serving() is not None, 20, "one of them holds the address")
    fleet.wait(lambda: not any(each.published.not_ready() for each in both), 5, "both are ready")


def test_observers_refuse_a_foreign_eni_until_it_is_gone() -> None:
    """They say so once, go on looking, and take the address when it is free."""
    fleet = Fleet(1, profile=INSTANT)
    eni = untagged(fleet)
    both = [worker.start() for worker in fleet.workers]
    fleet.wait(lambda: all(each.logged(reason="NOT_OURS") for each in both), timing.TAGGED_WITHIN + 5, "both refuse")
    fleet.holds_for(lambda: not fleet.writes(), 120, "nothing is touched")
    assert all(eni.id in line.message for each in both for line in each.logged(reason="NOT_OURS"))
    assert [len(each.logged(reason="NOT_OURS")) for each in both] == [1, 1]
    fleet.cloud.delete_eni(eni.id)
    fleet.wait(lambda: fleet.serving() is not None, 70, "one of them holds the address")
    assert len(fleet.enis()) == 1


def break_all(fleet: Fleet, *, answers: bool) -> None:
    """No node can set up the marks; whether the address answers echo requests nevertheless."""
    for worker in fleet.workers:
        worker.break_kernel("nft: command not found", answers=answers)


@pytest.mark.parametrize("answers", [True, False], ids=["answering", "not answering"])
@pytest.mark.parametrize("carry", Carry)
def test_a_problem_of_every_node_moves_the_address_once_at_most(carry: Carry, answers: bool) -> None:
    """The holder relieves itself once, as the next node might be better; from then on the ration holds it."""
    fleet = Fleet(1, workers=3, profile=INSTANT, patience=1.0, settle=5.0, carry=carry)
    observers = fleet.observers()
    break_all(fleet, answers=answers)
    fleet.holds_for(lambda: len(fleet.stays()) <= 2, 40, "one move at most")
    assert fleet.at(ADDRESS) is not None
    assert all(each.is_alive for each in observers)


@pytest.mark.parametrize("carry", Carry)
def test_a_node_that_was_unsound_itself_does_not_take_the_address_back(carry: Carry) -> None:
    """Also when the ration is spent: of two broken nodes each has it once."""
    fleet = Fleet(1, profile=INSTANT, carry=carry)
    fleet.observers()
    if carry is Carry.ENI:
        break_all(fleet, answers=True)
        fleet.wait(lambda: len(fleet.stays()) == 2, 10, "the first move")
    else:
        # A standby whose standing ENI cannot be plumbed is known to be unsound before it takes anything.
        holder, standby = fleet.workers
        holder.break_kernel("nft: command not found", answers=True)
        fleet.wait(lambda: len(fleet.stays()) == 2, 10, "the first move")
        standby.break_kernel("nft: command not found", answers=True)
    fleet.holds_for(lambda: len(fleet.stays()) == 2, 120, "no second move")


def is_kept(fleet: Fleet, seconds: float) -> None:
    """Nothing moves for so long."""
    fleet.holds_for(lambda: len(fleet.stays()) == 1, seconds, "no move")


def test_a_move_that_ec2_refuses_for_a_while_is_not_held_back_by_its_own_record() -> None:
    """What the ration tells of this very move is no earlier one, however long it takes until EC2 allows it."""
    fleet = Fleet(1, profile=INSTANT, carry=Carry.ADDRESS)
    holder, standby = fleet.observers()
    holder.worker.is_mute = True
    denied = fleet.at_calls("assign", before=is_denied, by=standby.worker, most=6)
    fleet.wait(lambda: denied.hits == 6, fleet.settings.patience + 40, "six refusals")
    fleet.wait(lambda: fleet.serving() is standby.worker, 1.2 * timing.BACKOFF_LAST + 2.0, "the standby takes over")


def test_a_node_that_cannot_see_the_address_moves_nothing_until_ec2_tells_of_an_end() -> None:
    """Its own probes would be answered for ever: it sends none, is not ready, and says why; EC2's word is as good."""
    fleet = Fleet(1, profile=INSTANT)
    holder, standby = fleet.observers()
    standby.worker.turn_blind("10.0.0.100 is on kube-ipvs0")
    fleet.wait(lambda: bool(standby.logged("blind")), 5, "it notices")
    sent = len(standby.probes_sent)
    holder.worker.cut_power()
    is_kept(fleet, 60)
    assert len(standby.probes_sent) <= sent + 1
    assert "10.0.0.100 is on kube-ipvs0" in standby.published.not_ready()
    fleet.ec2.terminate(holder.worker.id)
    fleet.wait(lambda: fleet.at(ADDRESS) is standby.worker, 30, "it takes over")


# The other way to carry.

WAYS = pytest.mark.parametrize(("running", "coming"), [(Carry.ENI, Carry.ADDRESS), (Carry.ADDRESS, Carry.ENI)])


def held(running: Carry) -> tuple[Fleet, Worker, Worker]:
    """The first worker serves."""
    fleet = Fleet(1, profile=INSTANT, carry=running)
    first, second = fleet.workers
    first.start()
    fleet.wait(lambda: fleet.serving() is first, 10, "the first one serves")
    return fleet, first, second


@WAYS
def test_an_observer_of_the_other_mode_refuses(running: Carry, coming: Carry) -> None:
    """It names the interface that it found, says what to do, and touches nothing; the holder goes on serving."""
    fleet, first, second = held(running)
    fleet.settings = replace(fleet.settings, carry=coming)
    observer = second.start()
    fleet.wait(lambda: bool(observer.logged(reason="MIXED")), 10, "it refuses")
    [said] = observer.logged(reason="MIXED")
    assert fleet.eni().id in said.message
    assert "floatingip release" in said.message
    fleet.holds_for(lambda: fleet.serving() is first, 90, "the first one serves")
    assert 90 / 10 - 2 <= len(fleet.calls("describe_enis", by=second)) <= 90 / 10 + 3, "it asks every ten seconds"
    assert not fleet.writes(by=second)


@WAYS
def test_attach_in_the_other_mode_exits_with_5(running: Carry, coming: Carry) -> None:
    """So that a rollout of a changed setting stops at its first pod."""
    fleet, _, second = held(running)
    fleet.settings = replace(fleet.settings, carry=coming)
    attach = second.attach()
    fleet.wait(lambda: attach.end is not None, 10, "it ends")
    assert attach.end is not None
    assert isinstance(attach.end.error, AddressTaken)
    assert attach.end.error.exit_code == 5
    assert not fleet.writes(by=second)
