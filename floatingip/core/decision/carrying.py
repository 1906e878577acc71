"""How each of the two ways to carry the address claims it, takes it, and has it plumbed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from floatingip.core.decision import timing
from floatingip.core.decision.view import Memory, View, attachment_of
from floatingip.core.model import OWNER_TAG, Allocation, Attachment, Carry, Eni, Extent, Owner, Target
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign, AssignAny, Associate, Attach, Detach, Unassign, Write


def extent(memory: Memory, view: View) -> Extent:
    """A3 and R10: all where the address is, or is about to be; ahead of it elsewhere, once that is sure."""
    owner, lost_at = view.owner, view.lost_by_imds_at
    if owner is None:
        return Extent.ALL if view.shown_by_imds else Extent.AHEAD if lost_at is not None else Extent.AS_FOUND
    if lost_at is not None and lost_at > owner.asked_at:
        return Extent.AHEAD
    attachment, eni = attachment_of(owner), owner.eni
    ours = eni is not None and eni.tags.get(OWNER_TAG) == view.name and bool(eni.standing_for)
    here = ours and attachment is not None and attachment.instance_id == view.me
    if is_claiming(memory, view, owner):
        return Extent.ALL
    if here:
        return Extent.ALL if _may_carry(memory, owner) else Extent.AHEAD
    since = memory.away_since
    sure = since is not None and owner.asked_at - since >= timing.CONFIRM_AFTER
    return Extent.AHEAD if sure else Extent.AS_FOUND


def _may_carry(memory: Memory, owner: Owner) -> bool:
    """R10: what this node let go of it takes up again by its own claim, or when EC2 says twice, asked since then, that
    it is here: one answer alone may be a late one.
    """
    dropped_at, since = memory.dropped_at, memory.here_since
    if dropped_at is None:
        return True
    return since is not None and since > dropped_at and owner.asked_at - since >= timing.CONFIRM_AFTER


def is_confirmed(memory: Memory, view: View, owner: Owner) -> bool:
    """R10: EC2 says that what is configured here is ours, asked since then, or since it accepted this node's claim."""
    if view.carried_since is None or owner.asked_at >= view.carried_since:
        return True
    return memory.claimed_at is not None and owner.asked_at >= memory.claimed_at


def is_claiming(memory: Memory, view: View, owner: Owner) -> bool:
    """EC2 accepted the address for this node's ENI, and may be about to show it: unless it shows a rival."""
    attachment, claim = attachment_of(owner), view.accepted
    if not isinstance(claim, Assign | Associate) or view.mine is None or claim.eni_id != view.mine.id:
        return False
    rival = attachment is not None and attachment.id != memory.fenced
    return not rival and view.now - view.wrote_at < timing.CLAIM_SHOWN


def claim(memory: Memory, view: View, settings: Settings, owner: Owner) -> Write:
    """How this node takes what nobody holds (A2, A5): EC2 refuses all but the first who assign without reassignment."""
    eni, mine, target = owner.eni, view.mine, view.target
    if settings.carry is Carry.ENI or mine is None:
        return Attach(eni.id) if eni is not None else memory.token.creation(owner.asked_at)
    if eni is not None:
        return _moving(eni, mine, target)
    if not isinstance(target, Allocation):
        return Assign(mine.id, target)
    spare = spares(mine, settings)
    return Associate(target.id, mine.id, spare[0]) if spare else AssignAny(mine.id)


def spares(eni: Eni, settings: Settings) -> list[IPv4Address]:
    """The secondary addresses of a standing ENI that wait for an Elastic IP."""
    return sorted(set(eni.secondary) - set(eni.elastic) - set(settings.floating_ips))


def taking(view: View, settings: Settings, eni: Eni, attachment: Attachment) -> Write:
    """How the address is taken from the judged holder: R8's detach of this attachment, or A1's move from its ENI."""
    if settings.carry is Carry.ENI or view.mine is None:
        return Detach(attachment.id)
    return _moving(eni, view.mine, view.target)


def _moving(source: Eni, mine: Eni, target: Target) -> Write:
    """One call for IPv4; EC2 has no reassignment for IPv6, so there the fence comes first, and then the claim (A5)."""
    address = source.address_of(target)
    assert address is not None, "it carries the target"
    if isinstance(target, IPv6Address):
        return Unassign(source.id, address)
    return Assign(mine.id, address, reassign=True)
