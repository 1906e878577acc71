"""What EC2 shows of the floating addresses and of the interfaces that carry them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from floatingip.commands.doctor.finding import NO_MANAGE, OWNER, PLACE, RESERVATION, SLOTS, SOURCE_CHECK, Finding
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Reason
from floatingip.core.decision.room import lacks_slot
from floatingip.core.ec2 import NO_MANAGE_TAG, OWNER_TAG, Eni, Subnet
from floatingip.core.model import Allocation, Carry, Network, Target


def place(target: Target, impossible: str, subnet: Subnet | None) -> Iterator[Finding]:
    """Subnet, zone, Outpost, and an Elastic IP's border group; ``impossible`` is what the agent says against them."""
    if impossible:
        yield PLACE.failing(impossible)
    elif subnet is not None:
        yield PLACE.ok(f"{target}: {subnet.id} in {subnet.zone}, as this node")


def owner(target: Target, eni: Eni | None, name: str, mixed: str) -> Iterator[Finding]:
    """Whether the interface with the address is ours or somebody else's, or there is none."""
    if mixed:
        yield OWNER.failing(Reason.MIXED.value.format(detail=mixed))
    elif eni is None:
        yield OWNER.ok(f"{target}: free, no interface has it")
    elif eni.tags.get(OWNER_TAG) != name or not eni.has(target):
        detail = f"{eni.id} (tag {OWNER_TAG}={eni.tags.get(OWNER_TAG, '')})"
        yield OWNER.failing(f"{target}: {Reason.NOT_OURS.value.format(detail=detail)}")
    elif eni.attachment is None:
        yield OWNER.ok(f"{target}: on our {eni.id}, which no instance has")
    else:
        yield OWNER.ok(f"{target}: {eni.attachment.where} by our {eni.id}")


def slots(carry: Carry, me: str, total: int, used: int, here: Collection[Eni], count: int) -> Iterator[Finding]:
    """``used`` of this instance's ``total`` slots; ``here`` are our interfaces on it, for ``count`` addresses."""
    free = max(0, total - used)
    said = f"{free} of {total} ENI slots are free"
    served = len(here) >= (1 if way_to(carry).has_standing_enis else count)
    if free or served:
        yield SLOTS.ok(f"{said}{', and all that is needed is here' if served else ''}")
    else:
        yield SLOTS.failing(lacks_slot(me))


def reservation(target: Target, subnet: Subnet, reserved: Iterable[Network], *, is_kept: bool) -> Iterator[Finding]:
    """``is_kept``: an interface has the address, and keeps it when it moves."""
    if isinstance(target, Allocation) or subnet.network_of(target) is None:
        return
    if any(target in each for each in reserved):
        yield RESERVATION.ok(f"{target} is reserved in {subnet.id}")
    elif is_kept:
        yield RESERVATION.ok(f"{target} stays on its interface, wherever that is attached")
    else:
        yield RESERVATION.warn(
            f"{target} is not reserved in {subnet.id}", f"{RESERVATION.remedy} --subnet-id {subnet.id}"
        )


def source_check(enis: Iterable[Eni]) -> Iterator[Finding]:
    """The source/destination check of our interfaces is on."""
    off = [eni.id for eni in enis if not eni.source_check]
    yield SOURCE_CHECK.warn(f"off on {', '.join(off)}") if off else SOURCE_CHECK.ok("on")


def no_manage(enis: Collection[Eni]) -> Iterator[Finding]:
    """Our interfaces that the VPC CNI may take for its own."""
    bare = [eni.id for eni in enis if eni.tags.get(NO_MANAGE_TAG) != "true"]
    if bare:
        yield NO_MANAGE.fail(f"{', '.join(bare)}: no tag {NO_MANAGE_TAG}=true")
    else:
        yield NO_MANAGE.ok("the VPC CNI leaves our interfaces alone" if enis else "there are no interfaces of ours yet")
