"""Planned moves: an observer that gets SIGTERM, which does not say why."""

from ipaddress import IPv6Address

import pytest

from floatingip.core.model import Address, Carry
from floatingip.core.node import OwnPod
from tests.sim.fleet import ADDRESS, INSTANT, TYPICAL, Fleet
from tests.sim.observer import Observer
from tests.sim.planned import (
    BOTH,
    BUSY,
    DENIED,
    DRAIN,
    RELIEVED_KNOWN,
    SILENT,
    SOON,
    SPOT,
    ends,
    moved,
    quick,
    serves,
    stays,
)
from tests.sim.worker import LIVING

IPV6 = IPv6Address("2001:db8:0:1::100")


def takes(fleet: Fleet, observer: Observer) -> bool:
    """It has begun to take the address from its holder."""
    return any(call.name in ("detach_eni", "assign") for call in fleet.calls(by=observer.worker))


@BOTH
def test_an_evicted_holder_stays_until_it_is_relieved(carry: Carry) -> None:
    """It serves until somebody else does, and ends with 0 then, with nothing left of the address on its node."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.delete(DRAIN)
    fleet.wait(lambda: takes(fleet, standby), 10, "the standby takes it")
    assert holder.is_alive, "it did not wait"
    ends(fleet, holder, 10)
    assert ADDRESS not in holder.worker.plumbed
    serves(fleet, standby, 5)
    assert fleet.stays() == moved(holder, standby)


@BOTH
def test_an_evicted_holder_serves_until_it_is_relieved(carry: Carry) -> None:
    """The address answers at every moment until EC2 is told to move it."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.delete(DRAIN)
    fleet.holds_for(lambda: fleet.serving() is not None or takes(fleet, standby), 5, "it left the address alone")
    assert takes(fleet, standby)


@BOTH
def test_an_evicted_holder_that_nobody_relieves_ends_all_the_same(carry: Carry) -> None:
    """After ten seconds, less than the manifest's grace period; what it has plumbed goes on serving."""
    fleet = quick(carry, workers=1)
    [holder] = fleet.observers()
    holder.worker.delete(DRAIN)
    fleet.after(5.0, holder.stop)  # a kubelet that was restarted meanwhile sends SIGTERM again: no reason to begin anew
    fleet.holds_for(lambda: holder.is_alive, 9.5, "it waits to be relieved")
    ends(fleet, holder, 1.5)
    assert fleet.serving() is holder.worker


@BOTH
@pytest.mark.parametrize("disruption", ["", "PreemptionByScheduler"])
def test_a_holder_that_is_only_deleted_ends_within_a_second_and_moves_nothing(carry: Carry, disruption: str) -> None:
    """The pod that comes next on this node goes on; so it does when another pod is to take this one's place."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.delete(disruption)
    ends(fleet, holder, 1)
    stays(fleet, holder, 60)
    assert fleet.stays() == moved(holder)
    assert standby.is_alive


@BOTH
@pytest.mark.parametrize(
    "disruption", [DRAIN, "DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet", "New"]
)
def test_a_holder_whose_node_is_emptied_is_relieved(carry: Carry, disruption: str) -> None:
    """Whatever does it, also what Kubernetes does not know yet."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.delete(disruption)
    serves(fleet, standby, 5)
    ends(fleet, holder, RELIEVED_KNOWN)
    assert fleet.stays() == moved(holder, standby)


@BOTH
def test_a_holder_whose_node_shuts_down_is_relieved(carry: Carry) -> None:
    """SIGTERM, though the API server knows neither a deletion nor a disruption: that is all kubelet shows of it."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.stop()
    serves(fleet, standby, 5)
    ends(fleet, holder, RELIEVED_KNOWN)
    assert fleet.stays() == moved(holder, standby)
    assert "shutting down" in holder.logged("leaving")[0].message


@BOTH
def test_a_shutdown_outlasts_the_end_of_a_notice(carry: Carry) -> None:
    """Each cause is one by itself: IMDS knows of nothing, and takes nothing back."""
    fleet = quick(carry, workers=1)
    [holder] = fleet.observers()
    holder.worker.notice = SPOT
    fleet.wait(lambda: bool(holder.logged("leaving")), SOON, "the notice is there")
    assert SPOT.kind in holder.logged("leaving")[-1].message
    holder.worker.notice = None
    holder.stop()
    fleet.wait(lambda: "shutting down" in holder.logged("leaving")[-1].message, 3, "the shutdown, too")
    fleet.wait(lambda: SPOT.kind not in holder.logged("leaving")[-1].message, SOON, "the notice is withdrawn")
    fleet.holds_for(lambda: holder.is_alive and holder.published.status.leaving, 1, "it still asks to be relieved")


@BOTH
@pytest.mark.parametrize("pod", [SILENT, DENIED, None], ids=["silent", "denied", "hanging"])
def test_a_holder_that_is_not_told_why_ends_within_two_seconds_and_moves_nothing(
    carry: Carry, pod: OwnPod | None
) -> None:
    """It says so, and what it does not know."""
    fleet = quick(carry)
    holder, _ = fleet.observers()
    holder.worker.pod = pod
    holder.stop()
    ends(fleet, holder, 2)
    stays(fleet, holder, 60)
    assert fleet.stays() == moved(holder)
    assert "not known whether this pod's node ends" in holder.logged("kubernetes")[-1].message


@BOTH
@pytest.mark.parametrize(("pod", "seconds"), [(BUSY, 1.2), (DENIED, 0.6)], ids=["busy", "denied"])
def test_a_holder_whose_node_shuts_down_is_relieved_though_the_api_server_is_in_trouble_at_first(
    carry: Carry, pod: OwnPod, seconds: float
) -> None:
    """It asks to be asked again in a second, as one does that is about to be replaced, or has too many questions.  Or
    it takes no token, and lets nobody ask anything, as one does that has just begun, or does not reach what it goes by.
    """
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.pod = pod
    holder.stop()
    fleet.after(seconds, lambda: setattr(holder.worker, "pod", LIVING))
    serves(fleet, standby, 6)
    ends(fleet, holder, RELIEVED_KNOWN)
    assert fleet.stays() == moved(holder, standby)


@BOTH
def test_a_holder_of_whose_pod_nothing_is_known_says_so_and_stays_ready(carry: Carry) -> None:
    """Once, with what is missing, and once when it is known again."""
    fleet = quick(carry, workers=1)
    [worker] = fleet.workers
    holder = worker.start()
    worker.pod = DENIED
    fleet.wait(lambda: fleet.serving() is worker and bool(holder.logged("kubernetes")), 20, "it is told")
    fleet.wait(lambda: "role" in holder.published.note, 5, "whoever asks whether it is ready is told, too")
    fleet.wait(lambda: not holder.published.not_ready(), 5, "it is ready nevertheless")
    fleet.holds_for(lambda: len(holder.logged("kubernetes")) == 1, 20, "it is told once")
    worker.pod = LIVING
    fleet.wait(lambda: len(holder.logged("kubernetes")) == 2, 5, "and that it is known again")
    fleet.wait(lambda: "role" not in holder.published.note, 5, "there is nothing to remark of it")


@BOTH
def test_an_evicted_standby_ends_within_a_second(carry: Carry) -> None:
    """There is nothing to relieve it of."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    standby.worker.delete(DRAIN)
    ends(fleet, standby, 1)
    assert fleet.stays() == moved(holder)


@pytest.mark.parametrize("target", [ADDRESS, IPV6], ids=["eni", "address"])
def test_who_has_fenced_claims_before_it_ends_though_ec2_is_slow(target: Address) -> None:
    """Its answers are old by then: they still show the holder. Nobody else is left to claim what it has taken."""
    carry = Carry.ENI if target == ADDRESS else Carry.ADDRESS
    fleet = Fleet(1, targets=(target,), profile=INSTANT, carry=carry)
    holder, standby = fleet.observers()
    standby.worker.ec2_takes = {"look": (1.5, 1.5), "write": (2.4, 2.4)}
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.at(target) is None, 20, "the standby has taken it from the holder")
    standby.worker.delete()
    fleet.wait(lambda: fleet.at(target) is standby.worker, 10, "it claims")


def test_who_has_claimed_carries_the_address_before_it_ends() -> None:
    """Nobody else can, nor would before `settle` is over: to the others its node looks like one that boots.  Then it is
    relieved, as its node is emptied.
    """
    fleet = Fleet(1, workers=3, profile=TYPICAL)
    holder, *standbys = fleet.observers()
    holder.worker.cut_power()
    fleet.wait(lambda: fleet.at(ADDRESS) not in (None, holder.worker), 10, "a standby claims it")
    claimer, other = sorted(standbys, key=lambda each: fleet.at(ADDRESS) is not each.worker)
    claimer.worker.delete(DRAIN)
    serves(fleet, claimer, TYPICAL.delays.attach + TYPICAL.device + 0.5)
    serves(fleet, other, 15)
