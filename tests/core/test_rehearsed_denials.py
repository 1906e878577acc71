"""A denial counts for what it was found with: a policy that goes by tags denies what is done to what is gone."""

from dataclasses import replace

from floatingip.agent.effects import Part, Rehearse
from floatingip.agent.events import PermissionsRehearsed
from floatingip.agent.rehearsal import Rehearsal
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from tests.core.nodes import ME, OTHER, Node, eni, now

DENIED = ("ec2:DetachNetworkInterface",)
HELD = eni(holder=OTHER)
MOVED = replace(HELD, attachment=Attachment("a2", "i-c", 1, AttachmentStatus.ATTACHED))


class Rehearsing:
    """A node whose rehearsals end when the test says so."""

    def __init__(self) -> None:
        self.node = Node()
        self.node.looked(HELD)
        self.rehearsal = Rehearsal([self.node.address], self.node.shared, self.node.told.out)
        self.follow()

    def follow(self) -> list[Eni | None]:
        """Time passes: the ENIs that permissions are to be tried with now."""
        self.rehearsal.follow(now())
        asked = [effect for effect in self.node.told.take() if isinstance(effect, Rehearse)]
        return [each.eni for each in asked if Part.PERMISSIONS in each.parts]

    def ends(self, found: PermissionsRehearsed) -> None:
        """One ends."""
        self.rehearsal.found_permissions(found, now())
        self.rehearsal.ended()

    def is_barred(self) -> bool:
        """The node would not take over."""
        return self.node.address.where.obstacle(now()).name == "DENIED"


def test_a_denial_bars_until_what_it_was_found_with_has_moved() -> None:
    """Then it is tried again at once: the node may be needed."""
    rehearsing = Rehearsing()
    rehearsing.ends(PermissionsRehearsed(DENIED, HELD))
    assert rehearsing.is_barred()
    assert rehearsing.follow() == []
    rehearsing.node.looked(MOVED)
    assert rehearsing.follow() == [MOVED]
    assert not rehearsing.is_barred()
    rehearsing.ends(PermissionsRehearsed(DENIED, MOVED))
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
