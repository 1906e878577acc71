"""R14 over time: EC2 says attached, or attaching, but the device never comes."""

import pytest

from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.model import Carry
from tests.fakes.ec2 import Delays
from tests.sim.fleet import INSTANT, Fleet


def death(workers: int, *, without_device: int) -> Fleet:
    """The holder has just lost power; so many of the others do not see what is attached to them."""
    fleet = Fleet(1, workers=workers, profile=INSTANT)
    holder, *standbys = fleet.observers()
    for standby in standbys[:without_device]:
        standby.worker.hides_devices = True
    holder.worker.cut_power()
    return fleet


def test_a_node_that_lacks_the_device_leaves_the_eni_to_another() -> None:
    """It gives it up after 25 s, and for as long as the other one may not have asked EC2."""
    fleet = death(3, without_device=2)
    fleet.wait(lambda: len(fleet.stays()) == 2, 10, "somebody has the ENI, and no device")
    [other] = [worker for worker in fleet.workers if worker.name not in fleet.stays()]
    other.hides_devices = False
    fleet.wait(lambda: fleet.serving() is other, 45, "the other one serves")
    fleet.holds_for(lambda: fleet.serving() is other, 60, "it stays there")


def test_a_device_that_came_late_once_is_there_at_the_second_try() -> None:
    """A hot plug was lost, and there is no other node."""
    fleet = death(2, without_device=1)
    holder, other = fleet.workers
    fleet.wait(lambda: fleet.stays() == [holder.name, other.name], 10, "the other one has the ENI")
    fleet.wait(lambda: fleet.eni().attachment is None, 30, "it is given up")
    other.hides_devices = False
    fleet.wait(lambda: fleet.serving() is other, 5, "it serves")


def test_two_nodes_that_both_lack_the_device_do_not_pass_the_eni_on_for_ever() -> None:
    """The ration holds it longer and longer."""
    fleet = death(3, without_device=2)
    fleet.run(fleet.now + 240)
    assert 2 < len(fleet.stays()) <= 5


@pytest.mark.parametrize("standbys", [1, 2])
def test_an_attach_that_never_ends_is_given_up_and_made_again(standbys: int) -> None:
    """EC2 shows it as attaching for ever: that one, not the next."""
    fleet = Fleet(1, workers=1 + standbys, profile=INSTANT)
    holder = fleet.observers()[0].worker
    fleet.ec2.delays = Delays(attach=1e6)
    holder.cut_power()
    fleet.wait(lambda: len(fleet.stays()) == 2, 20, "a standby has the ENI, which stays attaching")
    fleet.ec2.delays = Delays()
    fleet.wait(lambda: fleet.serving() not in (None, holder), 90, "somebody serves")


def test_a_standing_eni_that_is_attaching_without_end_is_attached_anew() -> None:
    """With `carry: address` its node would never be able to take anything over."""
    fleet = Fleet(1, workers=2, carry=Carry.ADDRESS, profile=INSTANT)
    holder, standby = fleet.workers
    holder.start()
    fleet.wait(lambda: fleet.serving() is holder, 30, "the first one serves")
    fleet.ec2.delays = Delays(attach=1e6)
    standby.start()
    fleet.wait(lambda: any(eni.attachment for eni in fleet.standing(standby)), 10, "its standing ENI is attaching")
    fleet.ec2.delays = Delays()
    fleet.wait(lambda: all(_is_attached(eni) for eni in fleet.standing(standby)), 90, "it is attached")
    holder.cut_power()
    fleet.wait(lambda: fleet.serving() is standby, 10, "the other one serves")


def _is_attached(eni: Eni) -> bool:
    return eni.attachment is not None and eni.attachment.status is AttachmentStatus.ATTACHED
