"""Planned moves: a node that Kubernetes has written off, and one whose observer alone is silent."""

from dataclasses import replace

import pytest

from floatingip.core.model import Carry
from floatingip.core.node import OwnPod
from tests.sim.fleet import Fleet
from tests.sim.observer import Observer
from tests.sim.planned import BOTH, GONE, SILENT, SOON, WRITTEN_OFF, ends, moved, quick, serves, stays
from tests.sim.worker import LIVING


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
