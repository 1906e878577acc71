"""A decider where the address moves between standing ENIs: what one observer sees, told in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar

from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.settings import Settings
from tests.core.deciders import ADDRESS, NAME, REACHED, ZONE, Observer, instance

IPV6, ELASTIC = IPv6Address("2001:db8:0:1::100"), Allocation("eipalloc-0123abcd")
PRIVATE = IPv4Address("10.0.0.50")
"""The secondary address that the Elastic IP is associated with."""

SETTINGS = Settings((ADDRESS, IPV6, ELASTIC), carry=Carry.ADDRESS, fall=5)


def standing(
    instance_id: str,
    target: Target | None = None,
    *,
    status: AttachmentStatus | None = AttachmentStatus.ATTACHED,
    name: str = NAME,
    reached: str = REACHED,
) -> Eni:
    """The standing ENI of i-x, eni-x, attached by at-x; it has the target, if there is one; no status: it is free."""
    end = instance_id.removeprefix("i-")
    bound = Attachment(f"at-{end}", instance_id, 1, status) if status is not None else None
    return Eni(
        f"eni-{end}",
        f"02:00:00:00:01:{ord(end[0]):02x}",
        IPv4Address(f"10.0.0.{ord(end[0])}"),
        "subnet-1",
        ZONE,
        bound,
        {
            OWNER_TAG: name,
            STANDING_TAG: instance_id,
            **({f"{REACHED_TAG}/{target or ADDRESS}": reached} if reached else {}),
        },
        secondary=tuple({ADDRESS: (ADDRESS,), ELASTIC: (PRIVATE,)}.get(target, ())) if target else (),
        ipv6s=(target,) if isinstance(target, IPv6Address) else (),
        elastic={PRIVATE: target.id} if isinstance(target, Allocation) else {},
    )


@dataclass
class Mover(Observer):
    """The observer of ``me``, whose standing ENI is there.

    EC2's answers are ``ec2:i-x/STATUS/STATE``: the standing ENI of i-x has the address; ``free`` as its status is that
    of one without an attachment; ``ec2:absent``: no ENI has the address.
    """

    settings: Settings = SETTINGS
    target: Target = ADDRESS
    began_by: ClassVar[str] = "ec2:i-a word:sound probe:AA link:ahead"

    def __post_init__(self) -> None:
        self.view = replace(self.view, target=self.target, mine=standing(self.me))

    def _owner(self, now: float, text: str, moves: str, name: str) -> Owner:
        if text == "absent":
            return Owner(now, None)
        holder, *rest = text.split("/")
        shown = rest[0] if rest and rest[0] else "attached"
        status = None if shown == "free" else AttachmentStatus(shown)
        instances = {holder: instance(holder, rest[1])} if len(rest) > 1 else {}
        return Owner(now, standing(holder, self.target, status=status, name=name), instances)
