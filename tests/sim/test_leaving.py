"""Planned moves, in both ways to carry: a node that is about to end, an evicted pod, and a handover on request."""

from dataclasses import replace

import pytest

from floatingip.core import timing
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from floatingip.core.node import Notice, OwnPod
from tests.fakes.ec2 import WALL, Delays
from tests.sim.fleet import ADDRESS, INSTANT, Fleet
from tests.sim.observer import Observer
from tests.sim.worker import LIVING, Worker

QUICK = replace(INSTANT, delays=Delays(attach=0.2, detach=0.2, assign=0.2, unassign=0.1, shutdown=30.0, release=20.0))
BOTH = pytest.mark.parametrize("carry", Carry)
SPOT = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")
DRAIN = "EvictionByEvictionAPI"
SILENT = OwnPod(0.0, problem="no answer in time")
DENIED = OwnPod(0.0, answered=True, problem="403 for default/floating-ip: the role must allow to get pods")
WRITTEN_OFF = replace(LIVING, ready=False)
GONE = OwnPod(0.0, answered=True, gone=True)
SOON = 7.0
"""Seconds within which what IMDS or the API server tells is known."""

RELIEVED_KNOWN = 3.0
"""Seconds within which a former holder knows that it is relieved: by two answers of EC2, 2 s apart."""


def quick(carry: Carry, workers: int = 2) -> Fleet:
    """A fleet whose EC2 is quick, but not as quick as a call."""
    return Fleet(1, workers=workers, profile=QUICK, carry=carry)


def serves(fleet: Fleet, observer: Observer, within: float) -> None:
    """Wait until that one's worker does."""
    fleet.wait(lambda: fleet.serving() is observer.worker, within, f"{observer.worker.name} serves")


def stays(fleet: Fleet, observer: Observer, seconds: float) -> None:
    """It serves all that time."""
    fleet.holds_for(lambda: fleet.serving() is observer.worker, seconds, f"{observer.worker.name} serves")


def ends(fleet: Fleet, observer: Observer, within: float) -> None:
    """With 0."""
    fleet.wait(lambda: observer.end is not None, within, "it ends")
    assert observer.end is not None
    assert (observer.end.code, observer.end.error) == (0, None)


def moved(*observers: Observer) -> list[str]:
    """The names of their workers."""
    return [observer.worker.name for observer in observers]


# The end of a node.


@BOTH
def test_a_holder_whose_node_is_about_to_end_is_relieved(carry: Carry) -> None:
    """Once: it goes on running, does not take the address back, and not when the notice is withdrawn either."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.notice = SPOT
    serves(fleet, standby, SOON + 3)
    fleet.wait(lambda: ADDRESS not in holder.worker.plumbed, 10, "the holder has let go of it")
    holder.worker.notice = None
    fleet.wait(lambda: not holder.published.status.leaving, SOON, "the notice is withdrawn")
    stays(fleet, standby, 60)
    assert fleet.stays() == moved(holder, standby)
    assert holder.is_alive
    assert standby.is_alive
    assert [line.fields["rule"] for line in standby.logged("takeover")] == ["R5"]


@BOTH
def test_an_address_is_not_moved_from_one_ending_node_to_another(carry: Carry) -> None:
    """When all nodes are told to end, as in a zone's rebalance, moving would only cost the connections twice."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    standby.worker.notice = SPOT
    fleet.wait(lambda: standby.published.status.leaving, SOON, "the standby knows")
    holder.worker.notice = SPOT
    fleet.wait(lambda: holder.published.status.leaving, SOON, "the holder knows")
    stays(fleet, holder, 60)
    standby.worker.notice = None
    serves(fleet, standby, SOON + 3)
    assert fleet.stays() == moved(holder, standby)


@BOTH
@pytest.mark.parametrize("sooner", [0.4, 1.6, 2.8, 4.0])
def test_an_address_is_not_moved_to_a_node_that_is_about_to_learn_that_it_is_interrupted_too(
    carry: Carry, sooner: float
) -> None:
    """Both at the same moment; but IMDS is asked every few seconds only, the holder's so much sooner."""
    fleet = quick(carry)
    one, other = fleet.workers
    holder = one.start()
    fleet.run(timing.NOTICE_EVERY + sooner)
    other.start()
    fleet.wait_for_peace()
    fleet.run(timing.NOTICE_EVERY * 10 - 0.1)
    one.notice = other.notice = SPOT
    fleet.run(fleet.now + 0.2)
    assert holder.published.status.leaving, "the holder is the first that knows"
    stays(fleet, holder, 60)
    assert fleet.stays() == moved(holder)


@BOTH
def test_what_was_asked_while_its_holder_was_only_written_off_does_not_relieve_it(carry: Carry) -> None:
    """It has asked to be relieved for long, but not because its node ends: the other one's may end with it."""
    fleet = quick(carry)
    one, other = fleet.workers
    holder = one.start()
    fleet.run(timing.NOTICE_EVERY + 2.0)
    other.start()
    fleet.wait_for_peace()
    one.pod, other.pod = WRITTEN_OFF, replace(LIVING, ready=False, containers_ready=False)
    fleet.run(timing.NOTICE_EVERY * 10 - 0.1)
    assert holder.published.status.leaving
    stays(fleet, holder, 0.0)
    one.notice = other.notice = SPOT
    stays(fleet, holder, 60)
    assert fleet.stays() == moved(holder)


@BOTH
def test_an_address_is_not_moved_to_a_node_that_is_about_to_learn_that_it_is_emptied_too(carry: Carry) -> None:
    """Somebody has tainted all, while none reached the API server; the holder is the first that is told."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.pod = standby.worker.pod = SILENT
    fleet.run(fleet.now + 30)
    holder.worker.delete("DeletionByTaintManager")
    fleet.run(fleet.now + 2)
    standby.worker.delete("DeletionByTaintManager")
    ends(fleet, standby, 1)
    ends(fleet, holder, 10)
    assert fleet.stays() == moved(holder)


@BOTH
@pytest.mark.parametrize("ready", [False, True], ids=["written off", "kubelet was heard first"])
def test_an_address_stays_where_it_is_when_all_pods_were_evicted_as_no_node_was_reached(
    carry: Carry, *, ready: bool
) -> None:
    """Whoever is reached first gets its new pod first, and that one is not about to end."""
    fleet, holder, standby = long_ready(carry)
    holder.worker.pod = standby.worker.pod = SILENT
    fleet.run(fleet.now + 60)
    evicted = replace(LIVING, ready=ready, deleted=True, disruption="DeletionByTaintManager")
    standby.worker.pod = holder.worker.pod = evicted
    standby.stop()
    ends(fleet, standby, 1)
    standby = standby.worker.start()
    fleet.run(fleet.now + 5)
    holder.stop()
    ends(fleet, holder, 1)
    fleet.run(fleet.now + 3)
    holder = holder.worker.start()
    fleet.wait_for_peace()
    stays(fleet, holder, 30)
    assert fleet.stays() == moved(holder)


@BOTH
@pytest.mark.parametrize("pod", [SILENT, DENIED], ids=["silent", "denied"])
def test_an_evicted_holder_is_relieved_though_the_api_server_tells_the_standby_nothing(
    carry: Carry, pod: OwnPod
) -> None:
    """Its node ends for sure, that of the standby perhaps."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    standby.worker.pod = pod
    fleet.run(fleet.now + 10)
    holder.worker.delete(DRAIN)
    serves(fleet, standby, 6)
    assert fleet.stays() == moved(holder, standby)


@BOTH
def test_the_api_server_is_not_asked_for_ever_what_it_does_not_tell(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all nodes are to end, as by a rebalance recommendation, nobody relieves anybody for hours."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.notice = standby.worker.notice = SPOT
    standby.worker.pod = DENIED
    paces = list[float]()
    monkeypatch.setattr(standby, "ask_pod", paces.append)
    fleet.run(fleet.now + SOON + 2 * timing.END_TOLD_WITHIN)
    assert holder.published.status.leaving
    assert paces == [timing.POD_AWAITED, timing.POD_EVERY]


# SIGTERM.


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


# Written off.


def long_ready(carry: Carry) -> tuple[Fleet, Observer, Observer]:
    """Two observers that have been ready for long enough for Kubernetes to know."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    fleet.run(fleet.now + 20)
    return fleet, holder, standby


@BOTH
@pytest.mark.parametrize("pod", [WRITTEN_OFF, GONE], ids=["not ready", "gone"])
def test_a_holder_that_kubernetes_has_written_off_is_relieved_and_not_taken_back(carry: Carry, pod: OwnPod) -> None:
    """By a standby that Kubernetes calls ready.  When that one is written off too, nothing is gained by moving back."""
    fleet, holder, standby = long_ready(carry)
    holder.worker.pod = pod
    serves(fleet, standby, SOON + 3)
    standby.worker.pod = pod
    fleet.wait(lambda: standby.published.status.leaving, 30, "the standby is written off as well")
    stays(fleet, standby, 60)
    assert fleet.stays() == moved(holder, standby)
    assert holder.is_alive
    assert standby.is_alive


@BOTH
@pytest.mark.parametrize("standbys", [WRITTEN_OFF, SILENT], ids=["written off", "API server silent"])
def test_a_written_off_holder_keeps_the_address_where_nobody_is_known_to_be_better(
    carry: Carry, standbys: OwnPod
) -> None:
    """All are written off when the control plane reaches no node; and it must be Kubernetes that calls one ready."""
    fleet, holder, standby = long_ready(carry)
    standby.worker.pod = standbys
    fleet.run(fleet.now + 12)
    holder.worker.pod = WRITTEN_OFF
    fleet.wait(lambda: holder.published.status.leaving, SOON, "the holder is written off")
    stays(fleet, holder, 60)
    assert fleet.stays() == moved(holder)


@BOTH
def test_a_holder_is_not_written_off_by_an_api_server_that_answers_no_more(carry: Carry) -> None:
    """What it said last is soon of the past."""
    fleet = quick(carry, workers=1)
    [holder] = fleet.observers()
    fleet.run(fleet.now + 20)
    holder.worker.pod = WRITTEN_OFF
    fleet.wait(lambda: holder.published.status.leaving, SOON, "the holder is written off")
    holder.worker.pod = SILENT
    fleet.wait(lambda: not holder.published.status.leaving, 12, "nothing is known any more")


@BOTH
def test_a_holder_that_kubernetes_takes_back_says_so_before_others_act_on_what_was(carry: Carry) -> None:
    """Whenever that is: a standby that may take the address over does so at once."""
    fleet = quick(carry, workers=1)
    [holder] = fleet.observers()
    fleet.run(fleet.now + 20)
    for after in (0.3, 0.8, 1.3, 1.8):
        holder.worker.pod = WRITTEN_OFF
        fleet.wait(lambda: holder.published.status.leaving, SOON, "the holder is written off")
        fleet.run(fleet.now + after)
        holder.worker.pod = LIVING
        fleet.wait(lambda: not holder.published.status.leaving, 0.6, "it is taken back")


# A holder whose observer is silent.


@BOTH
def test_a_node_that_ends_while_its_address_answers_is_found_out_by_ec2(carry: Carry) -> None:
    """Its observer has ended, and nobody asked to be relieved: the instance's state is asked for, soon and again."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.pod = SILENT
    holder.stop()
    ends(fleet, holder, 3)
    fleet.ec2.terminate(holder.worker.id)
    serves(fleet, standby, 10)
    assert [line.fields["rule"] for line in standby.logged("takeover")] == ["R2"]


@BOTH
def test_a_dead_observer_on_a_living_node_moves_nothing(carry: Carry) -> None:
    """EC2 is asked what became of its node, and calls it well."""
    fleet = quick(carry)
    holder, standby = fleet.observers()
    holder.worker.kill()
    before = len(fleet.calls("describe_instances", standby.worker))
    stays(fleet, holder, 60)
    assert len(fleet.calls("describe_instances", standby.worker)) > before + 1
    assert fleet.stays() == moved(holder)


# On request.  What `floatingip handover` itself does is for tests/edges/test_handover.py.


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
