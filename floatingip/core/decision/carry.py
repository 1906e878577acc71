"""
The two ways to carry a floating address, as all else sees them: what differs between them is asked here, and nobody
asks which of them it is.

Each has a module that tells its story: carry_eni.py and carry_address.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from floatingip.core.decision.carry_address import ByAddress
from floatingip.core.decision.carry_eni import ByEni
from floatingip.core.decision.room import Room
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, Eni, Owner
from floatingip.core.model import Carry, Target
from floatingip.core.plumbing import Extent
from floatingip.core.settings import Settings
from floatingip.core.writes import Write


class Way(Protocol):
    """How an address is claimed and taken, what tells of it, and what a node needs for that.

    ``needed`` are the IAM actions without which no takeover is possible, and ``lacks_room`` says in words that a node
    has no room.  ``first_wins``: EC2 itself refuses all takers of a judged holder but the first.
    ``has_standing_enis``: each node has an ENI attached ahead of time; ``vanishes_silently``: the address can go while
    the link stays, so that no event of the kernel tells; ``detaches_without_device`` (R14): what a node holds whose
    device never comes, it lets go of.  ``barred_pause`` is how many seconds what bars the first claim is left alone.
    """

    needed: frozenset[str]
    lacks_room: str
    first_wins: bool
    has_standing_enis: bool
    vanishes_silently: bool
    detaches_without_device: bool
    barred_pause: float

    # Who has the address, by EC2's answer and by this node's own claim.

    def is_free(self, owner: Owner) -> bool:
        """There is something to claim that nobody has: for an answer that shows nobody's attachment, or one that is
        being detached.
        """

    def is_claiming(self, memory: Memory, view: View, owner: Owner) -> bool:
        """EC2 accepted the address for this node, and may be about to show it."""

    def is_confirmed(self, memory: Memory, view: View, owner: Owner) -> bool:
        """R10: what is configured here is this node's still."""

    def is_new(self, moved_for: float) -> bool:
        """A3: the holder got the address so few seconds ago that it is not judged yet."""

    # What is done about it.

    def claim(self, memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
        """How this node takes what nobody holds."""

    def take(self, view: View, eni: Eni, attachment: Attachment) -> Write:
        """How the address is taken from the judged holder."""

    def mend(self, view: View, eni: Eni) -> Write | None:
        """What the holder's ENI lacks, as far as the address' holder looks after it."""

    def extent(self, memory: Memory, view: View, decided: Extent) -> Extent:
        """How much of its plumbing the node should have, where a decision says ``decided``."""

    def fenced(self, memory: Memory) -> str:
        """The attachment that the claim after a fencing is told of, empty where it needs none."""

    # What is told of it, in tags and among observers.

    def of_one(self, name: str, target: Target) -> str:
        """What is one address' own: the key of a tag on the ENI that has it, or a sighting under an attachment."""

    def records(self, view: View, eni: Eni) -> Mapping[str, str]:
        """The ration's tags, by the ENI that has them."""

    def recorded(self, view: View, eni: Eni) -> str:
        """The moves that these tell of together."""

    def move_since(self, wall: float, due_for: float) -> float:
        """From when on what is recorded of the judged attachment is this move, in Unix seconds: it has been due for so
        many seconds.
        """

    def came_at(self, attachment: Attachment) -> float | None:
        """From when on, in Unix seconds, what a tag of the ENI says is of this attachment; None while unknown."""

    # What a node needs.

    def usable(self, enis: Iterable[Eni]) -> tuple[Eni, ...]:
        """Those of our ENIs that can have an address; the others belong to the other way."""

    def own(self, owner: Owner | None, standing: Eni | None) -> Eni | None:
        """The ENI by which this node would carry the address, of which ``standing`` is its standing one."""

    def room(self, slots: int | None, problems: Iterable[str]) -> int | None:
        """How many more ENIs this node could take, None if that is unknown or not told: ``slots`` are free, and
        ``problems`` are those of its standing ENIs, an empty one for each that has none.
        """

    def obstacle(self, room: Room) -> str:
        """Why this node has no room for the address; empty where it has."""


_WAYS: Mapping[Carry, Way] = {Carry.ENI: ByEni(), Carry.ADDRESS: ByAddress()}


def way_to(carry: Carry) -> Way:
    """The way that a setting names."""
    return _WAYS[carry]
