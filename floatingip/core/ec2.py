"""What EC2 says of interfaces, instances, subnets and Elastic IPs, and the tags by which interfaces are ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from math import inf

from floatingip.core.model import Address, Allocation, Network, Target

OWNER_TAG = "floatingip"
"""The tag that makes an ENI ours: its value is the settings' ``name``."""

ALLOCATION_TAG = "floatingip/allocation"
"""The tag of an ENI that is there for an Elastic IP: its value is the allocation id."""

NO_MANAGE_TAG = "node.k8s.amazonaws.com/no_manage"
"""The tag by which the VPC CNI leaves an interface alone: its value is `true`."""

NAME_BEGINS = "floatingip "
"""The beginning of the tag ``Name`` of an ENI that we created; an ENI that somebody else made for us lacks it."""

STANDING_TAG = "floatingip/standing"
"""The tag of a standing ENI: its value is the instance that it belongs to."""


ID_END = 9
"""This many last characters tell an attachment's id from the others of an address: short enough that several fit into a
tag."""

MOMENT_LONGEST = 11
"""Digits, at most, of Unix seconds in a tag."""


def moment(tags: Mapping[str, str], key: str) -> float:
    """The time in a tag's value, in Unix seconds; minus infinity if there is no such tag, or its value is no time, as
    when somebody else wrote it.
    """
    value = tags.get(key, "")
    # Longer numbers are no times, and Python refuses to convert very long ones.
    return float(value) if value.isascii() and value.isdecimal() and len(value) <= MOMENT_LONGEST else -inf


class AttachmentStatus(StrEnum):
    """EC2's ``Attachment.Status``.  (``NetworkInterface.Status`` does not tell an attachment's state.)"""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"


class InstanceState(StrEnum):
    """EC2's ``Instance.State.Name``; ``UNREAD`` stands for a value that EC2's documentation does not have."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNREAD = "unread"

    @property
    def announces_death(self) -> bool:
        """EC2 itself says that this instance does not serve any more, or soon will not."""
        return self not in (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.UNREAD)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One binding of an ENI to an instance; ``since_wall`` is when EC2 made it, in Unix seconds, None if not known."""

    id: str
    instance_id: str
    device_index: int
    status: AttachmentStatus
    since_wall: float | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        """The attachment's state and instance, in words."""
        return f"{self.status} {'from' if self.status is AttachmentStatus.DETACHING else 'to'} {self.instance_id}"


@dataclass(frozen=True, slots=True)
class Eni:
    """An ENI as DescribeNetworkInterfaces shows it; ``attachment`` is None when it is free.

    ``address`` is its primary private IPv4 address, None in an IPv6-only subnet; ``secondary`` are the other private
    IPv4 addresses.  ``elastic`` has the allocation ids of the Elastic IPs that are associated with it, by private
    address.  ``unread`` says what part of EC2's answer could not be read: the ENI may have it although it is missing
    here.  It is empty if all could be read.
    """

    id: str
    mac: str
    address: IPv4Address | None
    subnet_id: str
    zone: str
    attachment: Attachment | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    secondary: tuple[IPv4Address, ...] = ()
    ipv6s: tuple[IPv6Address, ...] = ()
    elastic: Mapping[IPv4Address, str] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ()
    source_check: bool = True
    delete_on_termination: bool = False
    unread: str = ""

    @property
    def standing_for(self) -> str:
        """The instance whose standing ENI this is, empty when it is none."""
        return self.tags.get(STANDING_TAG, "")

    @property
    def is_adopted(self) -> bool:
        """Somebody else made this ENI, and gave it to us by tagging it."""
        return not self.tags.get("Name", "").startswith(NAME_BEGINS)

    def occupies(self, address: Address) -> bool:
        """Does it have the address at all: as its primary or a secondary one, or as an IPv6 address?"""
        return address == self.address or address in self.secondary or address in self.ipv6s

    def withholds(self, target: Target) -> bool:
        """Is this a standing ENI that waits for its first attachment, and that happened to get the target as its own
        address when EC2 made it?  So it cannot carry that, and keeps it from those that could.
        """
        return bool(self.standing_for) and self.attachment is None and target == self.address

    def has(self, target: Target) -> bool:
        """Is this the ENI by whose attachment a node holds the target?

        A standing ENI has it as a secondary address, or as an Elastic IP that is associated with one; an ENI of the
        target's own has it as its primary address or as an IPv6 address, or was tagged for this Elastic IP.
        """
        match target:
            case IPv4Address():
                return target in self.secondary if self.standing_for else target == self.address
            case IPv6Address():
                return target in self.ipv6s
            case Allocation() if self.standing_for:
                return target.id in self.elastic.values()
            case Allocation():
                return self.tags.get(ALLOCATION_TAG) == target.id

    def address_of(self, target: Target) -> Address | None:
        """The address by which a node carries the target of this ENI: for an Elastic IP it is a private address.

        None for an Elastic IP in an IPv6-only subnet, where there is no such address.
        """
        if not isinstance(target, Allocation):
            return target
        private = (address for address, allocation_id in self.elastic.items() if allocation_id == target.id)
        return next(private, self.address)


@dataclass(frozen=True, slots=True)
class AllocationFacts:
    """An Elastic IP as DescribeAddresses shows it; ``eni_id`` is the ENI it is associated with, empty for none."""

    id: str
    public_address: str
    border_group: str
    eni_id: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as DescribeInstances shows it.

    ``address`` is its primary private IPv4 address, None if EC2 does not tell it.  ``ipv6`` is an IPv6 address of its
    primary interface, None if that has none.  ``device_indexes`` are those in use on its first network card.
    ``outpost`` is the ARN of its Outpost, empty if it is on none.  ``node`` is its private DNS name, by which EKS names
    its node.
    """

    id: str
    state: InstanceState
    address: Address | None
    zone: str
    device_indexes: frozenset[int]
    tags: Mapping[str, str] = field(default_factory=dict)
    type: str = ""
    outpost: str = ""
    node: str = ""
    ipv6: Address | None = None


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of the worker's VPC, with all of its networks.

    ``outpost`` is the ARN of the Outpost it is on, empty if it is on none.  ``unread`` says what part of EC2's answer
    could not be read, empty if all could.
    """

    id: str
    networks: tuple[Network, ...]
    zone: str
    outpost: str = ""
    unread: str = ""

    def network_of(self, address: Address) -> Network | None:
        """Its network that contains the address, or None."""
        return next((network for network in self.networks if address in network), None)


@dataclass(frozen=True, slots=True)
class Owner:
    """What EC2's last answer says of who has the floating address.

    ``asked_at`` is when the question was asked: the answer says nothing of later times.  ``eni`` is the ENI that has
    the address, None if none has.  ``instances`` are those that EC2 described with it, perhaps none.  ``calls`` is how
    many calls to EC2 the answer took.
    """

    asked_at: float
    eni: Eni | None
    instances: Mapping[str, Instance] = field(default_factory=dict)
    calls: int = 1
