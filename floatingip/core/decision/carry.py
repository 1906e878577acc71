"""
The two ways to carry a floating address, as the rest of the code sees them: one Protocol has all that differs between
them, so that no other module asks which of the two is in use.

Each has a module of its own: carry_eni.py and carry_address.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from floatingip.core.decision.carry_address import ByAddress
from floatingip.core.decision.carry_eni import ByEni
from floatingip.core.decision.room import Room
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, Eni, Owner
from floatingip.core.model import Address, Carry, Target
from floatingip.core.plumbing import Extent
from floatingip.core.settings import Settings
from floatingip.core.writes import Write


class Way(Protocol):
    """One way to carry: how an address is claimed and taken, what is recorded of that, and what a node needs for it.

    ``needed`` are the IAM actions without which takeovers are impossible.  ``lacks_room`` says in words that a node has
    no room.  ``first_wins``: if several nodes take the address from a judged holder, EC2 itself refuses all but the
    first.  ``has_standing_enis``: each node has an ENI attached ahead of time.  ``detaches_without_device`` (R14): a
    node detaches an ENI whose device never comes.  ``barred_pause``: seconds until EC2 is asked again while something
    keeps this node from the first claim.
    """

    needed: frozenset[str]
    lacks_room: str
    first_wins: bool
    has_standing_enis: bool
    detaches_without_device: bool
    barred_pause: float

    # Who has the address, by EC2's answer and by this node's own claim.

    def is_free(self, owner: Owner) -> bool:
        """The address can be claimed now.  Asked only if EC2 shows no attachment, or one that is being detached."""

    def is_claiming(self, memory: Memory, view: View, owner: Owner) -> bool:
        """EC2 accepted the address for this node, and may be about to show it."""

    def is_confirmed(self, memory: Memory, view: View, owner: Owner) -> bool:
        """R10: what is configured here still belongs to this node."""

    def vanishes_silently(self, address: Address | None) -> bool:
        """The address (None: not known) can be lost while its link stays, so that no event of the kernel tells."""

    def is_new(self, moved_for: float) -> bool:
        """A3: the holder, which got the address ``moved_for`` seconds ago, is too new to be judged."""

    # What is done about it.

    def claim(self, memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
        """The write by which this node takes what nobody holds."""

    def take(self, view: View, eni: Eni, attachment: Attachment) -> Write:
        """The write that takes the address from the judged holder."""

    def mend(self, view: View, eni: Eni) -> Write | None:
        """The write that gives this node's ENI what it lacks; None if it lacks nothing, or others see to that."""

    def extent(self, memory: Memory, view: View, decided: Extent) -> Extent:
        """How much of its plumbing the node should have, after a decision that asks for ``decided``."""

    def fenced(self, memory: Memory) -> str:
        """The attachment that this node fenced, to log its claim with; empty if fencing does not end an attachment."""

    # What is told of it, in tags and among observers.

    def of_one(self, name: str, target: Target) -> str:
        """The name that stands for this address alone, since others may share its ENI.

        For a tag's key, it is the key of this address' own tag.  For an attachment's id, it is a *sighting*: with it
        observers say that they see this address UP under that attachment.
        """

    def records(self, view: View, eni: Eni) -> Mapping[str, str]:
        """The values of this address' ration tags, by the id of the ENI that has them."""

    def recorded(self, view: View, eni: Eni) -> str:
        """All moves in those tags, as one value."""

    def move_since(self, wall: float, due_for: float) -> float:
        """A record of the judged attachment from this time on (Unix seconds) is of the move that is being made now.

        ``due_for``: for how many seconds that move has been due.
        """

    def came_at(self, attachment: Attachment) -> float | None:
        """What the ENI's tags say of times after this one (Unix seconds) is of this attachment; None while unknown."""

    # What a node needs.

    def needs(self, target: Target) -> frozenset[str]:
        """Those of ``needed`` without which this target cannot be taken over."""

    def usable(self, enis: Iterable[Eni]) -> tuple[Eni, ...]:
        """Those of our ENIs that can carry an address in this way; the rest belong to the other way."""

    def own(self, owner: Owner | None, standing: Eni | None) -> Eni | None:
        """The ENI by which this node would carry the address; ``standing`` is its standing ENI, None if it has none."""

    def room(self, slots: int | None, problems: Iterable[str]) -> int | None:
        """How many more ENIs this node could take, as it tells its peers; None if that is unknown, or is not told.

        ``slots``: its free ENI slots, None while unknown.  ``problems``: for each of its standing ENIs what is wrong
        with that, empty if nothing is.
        """

    def obstacle(self, room: Room) -> str:
        """Why this node has no room for the address; empty where it has."""


_WAYS: Mapping[Carry, Way] = {Carry.ENI: ByEni(), Carry.ADDRESS: ByAddress()}


def way_to(carry: Carry) -> Way:
    """The way that a setting names."""
    return _WAYS[carry]


def carried_otherwise(enis: Iterable[Eni], target: Target, carry: Carry) -> str:
    """A sentence for the user of a command who gave the wrong ``carry``: which of our ENIs have the target in the other
    way; empty if none has.
    """
    enis = tuple(enis)
    usable = way_to(carry).usable(enis)
    ids = ", ".join(sorted(eni.id for eni in enis if eni.has(target) and eni not in usable))
    return ids and f"{ids} has it in the other way to carry; is `carry: {carry}` what the deployment has?"
