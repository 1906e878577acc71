"""
What can be written to EC2, as values: the decision names one of them, the writer (writer.py) makes it.

EC2's verbs stay EC2's.  Each is safe to make again: EC2 refuses what is no longer as it was judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from floatingip.model import Address, Eni


@dataclass(frozen=True, slots=True)
class Create:
    """Create the ENI for the target, or the standing one.  EC2 makes one for each ``generation``, whoever asks and how
    often.
    """

    generation: int = 0


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach the free ENI to this node."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """Detach exactly this attachment."""

    attachment_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a free ENI."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Give the ENI the address as a secondary one; ``reassign``: away from the ENI that has it, which IPv6 cannot."""

    eni_id: str
    address: Address
    reassign: bool = False


@dataclass(frozen=True, slots=True)
class AssignAny:
    """Give the ENI one more private address, of EC2's choice, for an Elastic IP."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Unassign:
    """Take the address from exactly this ENI."""

    eni_id: str
    address: Address


@dataclass(frozen=True, slots=True)
class Tag:
    """Write what the observers must remember together."""

    eni_id: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Associate:
    """Associate the Elastic IP with this private address of our ENI."""

    allocation_id: str
    eni_id: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class SetGroups:
    """Give the ENI the security groups that it should have."""

    eni_id: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepAfterTermination:
    """Let the ENI outlive the instance it is attached to."""

    eni_id: str
    attachment_id: str


@dataclass(frozen=True, slots=True)
class CheckSource:
    """Switch the ENI's source/destination check on."""

    eni_id: str


Write = (
    Create
    | Attach
    | Detach
    | Delete
    | Assign
    | AssignAny
    | Unassign
    | Tag
    | Associate
    | SetGroups
    | KeepAfterTermination
    | CheckSource
)


def mended(eni: Eni, groups: tuple[str, ...]) -> Write | None:
    """What of an attached ENI of ours somebody changed, or EC2 does not do by itself: its groups, its source check, its
    survival.
    """
    if eni.delete_on_termination and eni.attachment is not None:
        return KeepAfterTermination(eni.id, eni.attachment.id)
    if groups and sorted(eni.security_groups) != sorted(groups):
        return SetGroups(eni.id, groups)
    return None if eni.source_check else CheckSource(eni.id)
