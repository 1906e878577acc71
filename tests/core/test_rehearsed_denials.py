"""A denial counts for what it was found with: a policy that goes by tags denies what is done to what is gone."""

from dataclasses import replace
from ipaddress import IPv4Address

from floatingip.agent.effects import Part, Rehearse
from floatingip.agent.events import PermissionsRehearsed, RehearsalEnded, RehearsalFailed, SlotsRehearsed
from floatingip.agent.rehearsal import Rehearsal
from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from floatingip.core.errors import Denied
from tests.core.nodes import ME, OTHER, Node, eni, now

DENIED = ("ec2:DetachNetworkInterface",)
HELD = eni(holder=OTHER)
MOVED = replace(HELD, attachment=Attachment("a2", "i-c", 1, AttachmentStatus.ATTACHED))


class Rehearsing:
    """A node whose rehearsals end when the test says so."""

    def __init__(self, *nodes: Node) -> None:
        self.node = nodes[0] if nodes else Node()
        self.node.looked(HELD)
        addresses = [each.address for each in nodes or (self.node,)]
        self.rehearsal = Rehearsal(addresses, self.node.shared, self.node.told.out)
        self.follow()

    def follow(self) -> list[Eni | None]:
        """Time passes: the ENIs that permissions are to be tried with now."""
        self.rehearsal.follow(now())
        asked = [effect for effect in self.node.told.take() if isinstance(effect, Rehearse)]
        return [each.eni for each in asked if Part.PERMISSIONS in each.parts]

    def ends(self, found: PermissionsRehearsed) -> None:
        """One ends."""
        self.rehearsal.take(found, now())
        self.rehearsal.take(RehearsalEnded(), now())

    def is_barred(self) -> bool:
        """The node would not take over."""
        return self.node.address.where.obstacle(now()).name == "DENIED"


def test_a_denial_bars_until_a_rehearsal_with_what_has_moved_ends() -> None:
    """That is tried at once: the node may be needed."""
    rehearsing = Rehearsing()
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    assert rehearsing.is_barred()
    assert rehearsing.follow() == []
    rehearsing.node.looked(MOVED)
    assert rehearsing.follow() == [MOVED]
    assert rehearsing.is_barred()
    rehearsing.ends(PermissionsRehearsed(DENIED, MOVED))
    assert rehearsing.is_barred()
    rehearsing.node.looked(HELD)
    assert rehearsing.follow() == [HELD]
    rehearsing.ends(PermissionsRehearsed((), HELD))
    assert not rehearsing.is_barred()


def test_a_rehearsal_that_could_not_be_made_keeps_what_was_denied() -> None:
    """Whatever else was denied; and a move is a reason to try it again."""
    rehearsing = Rehearsing()
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    rehearsing.rehearsal.take(RehearsalFailed(Part.SLOTS, Denied("ec2:DescribeInstanceTypes")), now())
    assert rehearsing.is_barred()
    assert rehearsing.node.shared.denied == (*DENIED, "ec2:DescribeInstanceTypes")


def test_what_could_not_even_be_rehearsed_is_tried_again_after_a_move() -> None:
    """As what was found with an interface."""
    rehearsing = Rehearsing()
    rehearsing.rehearsal.take(RehearsalFailed(Part.PERMISSIONS, Denied(*DENIED)), now())
    rehearsing.rehearsal.take(RehearsalEnded(), now())
    assert rehearsing.is_barred()
    rehearsing.node.looked(MOVED)
    assert rehearsing.follow() == [MOVED]


def test_what_cannot_be_tried_while_nobody_has_the_interface_is_tried_as_soon_as_somebody_has() -> None:
    """The node may claim it meanwhile; that says nothing of a detach, which is denied as ever."""
    rehearsing = Rehearsing()
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    rehearsing.node.looked(eni())
    assert rehearsing.follow() == [eni()]
    rehearsing.ends(PermissionsRehearsed((), eni()))
    assert not rehearsing.is_barred()
    assert rehearsing.follow() == []
    rehearsing.node.looked(MOVED)
    assert rehearsing.follow() == [MOVED]
    rehearsing.ends(PermissionsRehearsed((), MOVED))
    rehearsing.node.looked(HELD)
    assert rehearsing.follow() == []


def test_a_denial_stands_though_another_address_comes_and_goes() -> None:
    """What it was found with is where it was."""
    first, address = Node(), IPv4Address("10.0.0.101")
    second = Node(address, 1, first.shared, told=first.told)
    other = eni(address, holder=OTHER, id="eni-2")
    second.looked(other)
    rehearsing = Rehearsing(first, second)
    first.looked(None)
    assert rehearsing.follow() == []
    rehearsing.ends(PermissionsRehearsed(DENIED, other))
    assert rehearsing.is_barred()
    first.looked(HELD)
    assert rehearsing.follow() == []
    rehearsing.ends(PermissionsRehearsed(DENIED, other))
    assert rehearsing.is_barred()


def test_a_denial_of_what_had_moved_before_it_came_bars_nothing() -> None:
    """Nor is it told."""
    rehearsing = Rehearsing()
    rehearsing.node.looked(MOVED)
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    assert not rehearsing.is_barred()
    assert "IAM denies" not in rehearsing.node.told.log
    assert rehearsing.follow() == [MOVED]


def test_a_denial_that_needs_no_interface_bars_until_there_is_one() -> None:
    """More can be tried with one."""
    rehearsing = Rehearsing()
    rehearsing.node.looked(None)
    rehearsing.ends(PermissionsRehearsed(("ec2:CreateNetworkInterface", *DENIED)))
    assert rehearsing.is_barred()
    assert rehearsing.follow() == []
    rehearsing.node.looked(eni(holder=ME))
    assert rehearsing.follow() == [eni(holder=ME)]


def test_a_denial_of_one_part_is_over_when_that_part_is_found_out() -> None:
    """What else is rehearsed meanwhile says nothing of it; nor is that rehearsed for it again and again."""
    rehearsing = Rehearsing()
    rehearsing.ends(PermissionsRehearsed((), HELD))
    rehearsing.rehearsal.take(RehearsalFailed(Part.SLOTS, Denied("ec2:DescribeInstanceTypes")), now())
    now.go_on(timing.LOOK_WHILE_BARRED)
    assert rehearsing.follow() == [], "the address is in doubt, but a takeover is not denied"
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    assert set(rehearsing.node.shared.denied) == {*DENIED, "ec2:DescribeInstanceTypes"}
    rehearsing.rehearsal.take(SlotsRehearsed(4, {}, now()), now())
    assert set(rehearsing.node.shared.denied) == {*DENIED}
