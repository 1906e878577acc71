"""What a node needs for each of the two ways to carry an address."""

from ipaddress import IPv4Address

import pytest

from floatingip.core.decision.carry import way_to
from floatingip.core.decision.room import Room
from floatingip.core.ec2 import STANDING_TAG, Eni, Owner
from floatingip.core.model import Carry

ADDRESS = IPv4Address("10.0.0.100")
OWN = Eni("eni-own", "02:00:00:00:00:01", ADDRESS, "subnet-1", "zone-a")
STANDING = Eni("eni-standing", "02:00:00:00:00:02", None, "subnet-1", "zone-a", tags={STANDING_TAG: "i-a"})


@pytest.mark.parametrize(("carry", "usable"), [(Carry.ENI, OWN), (Carry.ADDRESS, STANDING)])
def test_an_eni_of_the_other_way_is_not_usable(carry: Carry, usable: Eni) -> None:
    """It is left to what tells of mixed ways."""
    assert way_to(carry).usable((OWN, STANDING)) == (usable,)


def test_what_carries_the_address_is_the_enis_own_or_the_nodes() -> None:
    """Where addresses move, the ENI that has it is the holder's, not this node's."""
    owner = Owner(0.0, OWN)
    assert way_to(Carry.ENI).own(owner, None) == OWN
    assert way_to(Carry.ENI).own(None, None) is None
    assert way_to(Carry.ADDRESS).own(owner, STANDING) == STANDING
    assert way_to(Carry.ADDRESS).own(owner, None) is None


def test_room_is_slots_or_a_standing_eni_of_use() -> None:
    """One standing ENI in trouble is no room at all; what such an ENI still takes is not told."""
    assert way_to(Carry.ENI).room(2, ()) == 2
    assert way_to(Carry.ENI).room(None, ()) is None
    assert way_to(Carry.ADDRESS).room(2, ("", "")) is None
    assert way_to(Carry.ADDRESS).room(2, ("", "no device")) == 0


@pytest.mark.parametrize(
    ("room", "obstacle"),
    [
        (Room("i-a", free_slots=1), ""),
        (Room("i-a"), ""),
        (Room("i-a", free_slots=0), "i-a has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"),
        (Room("i-a", is_full=True), "i-a has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"),
    ],
)
def test_an_eni_needs_a_slot(room: Room, obstacle: str) -> None:
    """As far as is known, and EC2 does not refuse."""
    assert way_to(Carry.ENI).obstacle(room) == obstacle


@pytest.mark.parametrize(
    ("room", "obstacle"),
    [
        (Room("i-a", free_slots=0, standing=STANDING), ""),
        (Room("i-a", problem="not known yet"), "not known yet"),
        (Room("i-a", is_full=True, standing=STANDING, problem="no device"), "no device"),
        (
            Room("i-a", is_full=True, standing=STANDING),
            "EC2 gives its standing ENI no more addresses; run on a larger instance type, or have fewer addresses",
        ),
        (Room("i-a", problem="not known yet", elsewhere="about to be elsewhere"), "about to be elsewhere"),
    ],
)
def test_an_address_needs_a_standing_eni(room: Room, obstacle: str) -> None:
    """And no slot; the first thing that is in the way is told."""
    assert way_to(Carry.ADDRESS).obstacle(room) == obstacle


def test_each_way_needs_its_own_permissions() -> None:
    """A node is not held back by an action that its way never calls."""
    assert not way_to(Carry.ENI).needed & way_to(Carry.ADDRESS).needed
