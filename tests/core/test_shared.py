"""What concerns all addresses of a node: an answer of EC2 says nothing of what changed after it was asked for."""

from dataclasses import replace

from floatingip.agent.shared import Shared
from floatingip.core import timing
from floatingip.core.ec2 import InstanceState
from floatingip.core.settings import Settings
from tests.core.nodes import ADDRESS, IDENTITY, ME, OTHER, instance, now


def test_slots_are_known_again_by_an_answer_to_a_later_question() -> None:
    """A look that overlaps a takeover shows the slots from before it."""
    shared = Shared(IDENTITY, Settings((ADDRESS,)), slots=3)
    asked_before = now()
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    shared.describe({OTHER: instance(OTHER, 0)}, now())
    seen_before = shared.slots_changed_at
    shared.describe({ME: instance(ME, 0, 1)}, now())
    assert [seen is None for seen in (seen_before, shared.slots_changed_at)] == [False, True]
    assert shared.free_slots() == 1


def test_an_old_answer_does_not_undo_what_a_newer_one_showed() -> None:
    """The rehearsal's, which was asked for before the takeover and came after it."""
    shared = Shared(IDENTITY, Settings((ADDRESS,)), slots=3)
    asked_before = now()
    shared.slots_change(now())
    shared.describe({ME: instance(ME, 0, 1)}, now())
    shared.describe({ME: instance(ME, 0)}, asked_before)
    assert shared.free_slots() == 1


def test_the_address_of_a_live_instance_is_known_though_an_answer_lacks_it() -> None:
    """Its observer is asked there; a dead one has none."""
    shared = Shared(IDENTITY, Settings((ADDRESS,)))
    known, lacking = instance(OTHER), instance(OTHER, address=None)
    for shown in (known, lacking, replace(lacking, state=InstanceState.TERMINATED)):
        shared.describe({OTHER: shown}, now())
        is_dead = shown.state is InstanceState.TERMINATED
        assert shared.instances[OTHER].address == (None if is_dead else known.address)


def test_instances_that_nobody_needs_any_more_are_forgotten() -> None:
    """But for this node's, and for a former holder's for a while: what is logged of a move names its node."""
    shared = Shared(IDENTITY, Settings((ADDRESS,)))
    shared.describe({each: instance(each) for each in (ME, OTHER, "i-0holder")}, 0.0)
    for at in (1.0, timing.INSTANCE_KEPT - 1.0, timing.INSTANCE_KEPT + 1.0):
        shared.forget({ME, "i-0holder"}, at)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT)
    assert shared.instances.keys() == {ME, "i-0holder"}
    shared.forget({ME}, 2 * timing.INSTANCE_KEPT + 2.0)
    assert shared.instances.keys() == {ME}
