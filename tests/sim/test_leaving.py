"""Planned moves: a node that is about to end, or to be emptied, and others that may end with it."""

from dataclasses import replace

import pytest

from floatingip.core import timing
from floatingip.core.model import Carry
from floatingip.core.node import OwnPod
from tests.sim.fleet import ADDRESS
from tests.sim.planned import BOTH, DENIED, DRAIN, SILENT, SOON, SPOT, WRITTEN_OFF, ends, moved, quick, serves, stays
from tests.sim.worker import LIVING


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
