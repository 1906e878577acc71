"""
Carry an address by an ENI of its own (`carry: eni`).

The address is on an ENI that was created for it and moves with it: it is detached from the judged node, and attached to
another one.  Each move ends an attachment, whose id is the fencing token: a detach names the attachment that was
judged, so EC2 refuses all detaches but the first.  A node needs nothing ahead of time but a free slot, and what is
configured on it goes with the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from math import inf

from floatingip.core import timing
from floatingip.core.decision import ration
from floatingip.core.decision.room import Room, lacks_slot
from floatingip.core.decision.view import Memory, View, attachment_of, is_lost
from floatingip.core.ec2 import Attachment, Eni, Owner
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.plumbing import Extent
from floatingip.core.settings import Settings
from floatingip.core.writes import Associate, Attach, Detach, Write, mended


class ByEni:
    """See :class:`~floatingip.core.decision.carry.Way`."""

    needed = frozenset({"ec2:AttachNetworkInterface", "ec2:DetachNetworkInterface"})
    lacks_room = "it has no free ENI slot"
    first_wins = True
    has_standing_enis = False
    detaches_without_device = True
    barred_pause = timing.LOOK_IN_PEACE  # A subnet stays as it is.

    def is_free(self, owner: Owner) -> bool:
        """There is an ENI, and it is attached to nobody.

        If there is no ENI, one is created first.  While it is being detached, that is awaited or forced (R11, R13).
        """
        return owner.eni is not None and attachment_of(owner) is None

    def is_claiming(self, memory: Memory, view: View, owner: Owner) -> bool:
        """Never: EC2 shows an attachment from its first moment on."""
        return False

    def is_confirmed(self, memory: Memory, view: View, owner: Owner) -> bool:
        """Always: the device is here, and would go with the ENI."""
        return True

    def vanishes_silently(self, address: Address | None) -> bool:
        """An IPv6 address can be unassigned; an IPv4 address is its ENI's primary one, and goes with it only."""
        return isinstance(address, IPv6Address)

    def is_new(self, moved_for: float) -> bool:
        """Never: a new attachment is judged like any other, and one that is still being attached by R3."""
        return False

    def claim(self, memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
        """Attach the ENI, or create it if there is none: with the same client token, all observers create only one."""
        return Attach(owner.eni.id) if owner.eni is not None else memory.token.creation(owner.asked_at)

    def take(self, view: View, eni: Eni, attachment: Attachment) -> Write:
        """R8: detach what was judged."""
        return Detach(attachment.id)

    def mend(self, view: View, eni: Eni) -> Write | None:
        """Associate again an Elastic IP that somebody took off the ENI; then its security groups and checks."""
        if isinstance(view.target, Allocation) and view.target.id not in eni.elastic.values():
            # In an IPv6-only subnet the ENI has no IPv4 address to associate the Elastic IP with.
            return Associate(view.target.id, eni.id, eni.address) if eni.address is not None else None
        return mended(eni, view.groups)

    def extent(self, memory: Memory, view: View, decided: Extent) -> Extent:
        """What was decided: everything, unless EC2 or IMDS says for sure that the address is not here (R10).

        An address that IMDS shows may be none of ours, so it is put on a link only once EC2 has been asked in vain.  An
        answer of EC2 that shows nobody with the address puts back nothing that was taken off the link, for example
        because IMDS lacked it.
        """
        if is_lost(view):
            return Extent.NOTHING
        is_here = view.plumbing is not None and view.plumbing.is_here
        if view.owner is None:
            return decided if view.shown_by_imds else Extent.AS_FOUND if is_here else Extent.AS_LEFT
        return Extent.AS_FOUND if view.owner.eni is None and not is_here else decided

    def fenced(self, memory: Memory) -> str:
        """The attachment that was detached."""
        return memory.fenced

    def of_one(self, name: str, target: Target) -> str:
        """The name as it is: an ENI has one address, so its tags and its attachment are that address' own."""
        return name

    def records(self, view: View, eni: Eni) -> Mapping[str, str]:
        """One value: the tag moves with the ENI."""
        return {eni.id: self.recorded(view, eni)}

    def recorded(self, view: View, eni: Eni) -> str:
        """The value of the ENI's tag."""
        return eni.tags.get(ration.TAG, "")

    def move_since(self, wall: float, due_for: float) -> float:
        """Minus infinity: every record of an attachment is of this move, since the move ends the attachment."""
        return -inf

    def came_at(self, attachment: Attachment) -> float | None:
        """When EC2 made the attachment."""
        return attachment.since_wall

    def needs(self, target: Target) -> frozenset[str]:
        """All of ``needed``, whatever the target is."""
        return self.needed

    def usable(self, enis: Iterable[Eni]) -> tuple[Eni, ...]:
        """All but the standing ENIs."""
        return tuple(eni for eni in enis if not eni.standing_for)

    def own(self, owner: Owner | None, standing: Eni | None) -> Eni | None:
        """The ENI that has the address, wherever it is attached."""
        return owner.eni if owner is not None else None

    def room(self, slots: int | None, problems: Iterable[str]) -> int | None:
        """The free ENI slots of this instance."""
        return slots

    def obstacle(self, room: Room) -> str:
        """No ENI slot of this instance is free."""
        if room.free_slots == 0 or room.is_full:
            return lacks_slot(room.me)
        return ""
