"""
Carry an address by a standing ENI (`carry: address`, A1 to A5).

Each node has an ENI ahead of time, attached and plumbed except for the address, which moves alone: one call gives it to
another node's ENI.  So an attachment outlasts moves, and may have several addresses.  EC2 has no call that names the
old owner, so a node asks EC2 a moment before it takes the address, and those who could take it go one after the other.
The link stays when the address goes, so a node asks EC2 and IMDS whether what is configured here is still its own
(R10).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from math import inf

from floatingip.core import timing
from floatingip.core.decision import ration
from floatingip.core.decision.room import Room
from floatingip.core.decision.view import Memory, View, attachment_of, is_lost
from floatingip.core.ec2 import OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.plumbing import Extent
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign, AssignAny, Associate, Attach, Detach, Unassign, Write


class ByAddress:
    """See :class:`~floatingip.core.decision.carry.Way`."""

    needed = frozenset({"ec2:AssignPrivateIpAddresses", "ec2:UnassignIpv6Addresses"})
    lacks_room = "its standing ENI is not there"
    first_wins = False
    has_standing_enis = True
    detaches_without_device = False
    barred_pause = timing.LOOK_IN_DOUBT  # A standing ENI is on its way.

    def is_free(self, owner: Owner) -> bool:
        """Also without an ENI, or with one that is being detached: the address can be assigned to another ENI."""
        attachment = attachment_of(owner)
        return attachment is None or attachment.status is AttachmentStatus.DETACHING

    def is_claiming(self, memory: Memory, view: View, owner: Owner) -> bool:
        """EC2 accepted the address for this node's ENI a moment ago and shows no rival with it, and IMDS has not said
        since that the address is gone from here.
        """
        attachment, claim = attachment_of(owner), view.written.accepted
        if not isinstance(claim, Assign | Associate) or view.mine is None or claim.eni_id != view.mine.id:
            return False
        if view.lost_until_asked_at is not None:
            return False
        rival = attachment is not None and attachment.id != memory.fenced
        return not rival and view.now - view.written.ended_at < timing.CLAIM_SHOWN

    def is_confirmed(self, memory: Memory, view: View, owner: Owner) -> bool:
        """EC2 was asked after the address was configured here, or after it accepted this node's claim."""
        if view.carried_since is None or owner.asked_at >= view.carried_since:
            return True
        return memory.claimed_at is not None and owner.asked_at >= memory.claimed_at

    def vanishes_silently(self, address: Address | None) -> bool:
        """Always: the standing ENI stays."""
        return True

    def is_new(self, moved_for: float) -> bool:
        """A new holder may still be putting the address on its link."""
        return moved_for < timing.NEW_OWNER

    def claim(self, memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
        """A2, A5: EC2 refuses all but the first who assign without reassignment."""
        eni, mine, target = owner.eni, view.mine, view.target
        if mine is None:
            # This write is never made: without a standing ENI a node has an obstacle, and does not claim.
            return Attach(eni.id) if eni is not None else memory.token.creation(owner.asked_at)
        if eni is not None:
            return _moving(eni, mine, target)
        if not isinstance(target, Allocation):
            return Assign(mine.id, target)
        spare = spares(mine, settings)
        return Associate(target.id, mine.id, spare[0]) if spare else AssignAny(mine.id)

    def take(self, view: View, eni: Eni, attachment: Attachment) -> Write:
        """A1: move the address from the ENI that EC2 has just shown with it."""
        # This detach is never made either, for the same reason as in `claim`.
        return Detach(attachment.id) if view.mine is None else _moving(eni, view.mine, view.target)

    def mend(self, view: View, eni: Eni) -> Write | None:
        """None: standing ENIs are mended elsewhere, whatever addresses they have (agent/standing.py)."""
        return None

    def extent(self, memory: Memory, view: View, decided: Extent) -> Extent:
        """A3, R10: all plumbing while the address is here, or about to be; what can be there ahead of time (AHEAD) once
        the address is surely elsewhere; in between, as it is.
        """
        owner = view.owner
        if owner is None and view.shown_by_imds:
            return Extent.ALL
        if is_lost(view):
            return Extent.AHEAD
        if owner is None:
            is_here = view.plumbing is not None and view.plumbing.is_here
            return Extent.AS_FOUND if is_here else Extent.AS_LEFT
        attachment, eni = attachment_of(owner), owner.eni
        ours = eni is not None and eni.tags.get(OWNER_TAG) == view.name and bool(eni.standing_for)
        here = ours and attachment is not None and attachment.instance_id == view.me
        if self.is_claiming(memory, view, owner):
            return Extent.ALL
        if here:
            return Extent.ALL if _may_carry(memory, owner) else Extent.AHEAD
        is_away = _is_away(memory, owner) or view.lost_until_asked_at is not None
        return Extent.AHEAD if is_away else Extent.AS_FOUND

    def fenced(self, memory: Memory) -> str:
        """Empty: the ENI that the address was taken from stays attached."""
        return ""

    def of_one(self, name: str, target: Target) -> str:
        """The name with the target: a standing ENI may have several addresses."""
        return f"{name}/{target}"

    def records(self, view: View, eni: Eni) -> Mapping[str, str]:
        """One value for each standing ENI: a node that takes the address writes to its own."""
        return view.records

    def recorded(self, view: View, eni: Eni) -> str:
        """The moves in the tags of all standing ENIs, each once."""
        return ration.merged(view.records.values())

    def move_since(self, wall: float, due_for: float) -> float:
        """Some seconds ago, or when the move became due, whichever is earlier.

        The attachment outlasts moves, so older records of it are of earlier moves.

        One second is added since a record's time is in whole seconds.
        """
        return wall - max(timing.SAME_MOVE, due_for + 1.0)

    def came_at(self, attachment: Attachment) -> float | None:
        """Minus infinity: a standing ENI outlasts moves, so its tags are never of another attachment."""
        return -inf

    def needs(self, target: Target) -> frozenset[str]:
        """One action for each address family (A5); an Elastic IP moves along with an IPv4 address."""
        action = "ec2:UnassignIpv6Addresses" if isinstance(target, IPv6Address) else "ec2:AssignPrivateIpAddresses"
        return frozenset({action})

    def usable(self, enis: Iterable[Eni]) -> tuple[Eni, ...]:
        """The standing ENIs."""
        return tuple(eni for eni in enis if eni.standing_for)

    def own(self, owner: Owner | None, standing: Eni | None) -> Eni | None:
        """The node's standing ENI, wherever the address is."""
        return standing

    def room(self, slots: int | None, problems: Iterable[str]) -> int | None:
        """0 while the standing ENI or its device is missing; otherwise None: how many addresses fit is not told."""
        return 0 if any(problems) else None

    def obstacle(self, room: Room) -> str:
        """The address cannot be had now; or this node's standing ENI is not there, or takes no more."""
        if room.elsewhere:
            return room.elsewhere
        if room.standing is None or room.problem:
            return room.problem
        full = "EC2 gives its standing ENI no more addresses; run on a larger instance type, or have fewer addresses"
        return full if room.is_full else ""


def _is_away(memory: Memory, owner: Owner) -> bool:
    """R10: EC2 has said twice that another node has the address.

    An answer that shows the address where this node has just taken it from counts only once EC2 has had time to show
    the claim.
    """
    since, claimed_at, attachment = memory.away_since, memory.claimed_at, attachment_of(owner)
    if since is None or owner.asked_at - since < timing.CONFIRM_AFTER:
        return False
    is_judged = attachment is not None and attachment.id == memory.fenced
    return not is_judged or claimed_at is None or owner.asked_at - claimed_at >= timing.CLAIM_SHOWN


def _may_carry(memory: Memory, owner: Owner) -> bool:
    """R10: whether this node may carry an address that it has dropped before.

    It may after its own claim, which ends the drop; or once two answers of EC2, asked for after the drop, show the
    address here: a single answer may be out of date.
    """
    dropped_at, since = memory.dropped_at, memory.here_since
    if dropped_at is None:
        return True
    return since is not None and since > dropped_at and owner.asked_at - since >= timing.CONFIRM_AFTER


def _moving(source: Eni, mine: Eni, target: Target) -> Write:
    """The write that moves the target from the ENI ``source`` to ``mine``: for IPv4 a single call does it.  EC2 cannot
    reassign IPv6, so there the address is first unassigned, and then claimed (A5).
    """
    address = source.address_of(target)
    assert address is not None, "it carries the target"
    if isinstance(target, IPv6Address):
        return Unassign(source.id, address)
    return Assign(mine.id, address, reassign=True)


def spares(eni: Eni, settings: Settings) -> list[IPv4Address]:
    """The secondary addresses of a standing ENI that are free for an Elastic IP."""
    return sorted(set(eni.secondary) - set(eni.elastic) - set(settings.floating_ips))
