"""
Make values of the core (core/ec2.py) from EC2's answers, as far as these can be read.

A part of ``ec2``.  A thing that cannot be read counts neither as absent nor as free: ``unread`` names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from floatingip.core.ec2 import OWNER_TAG, Attachment, AttachmentStatus, Eni, Instance, InstanceState, Subnet
from floatingip.core.model import Network, subnets_address, subnets_network
from floatingip.edges.ec2.meaning import EXCERPT, one_line

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import (
        InstanceNetworkInterfaceTypeDef,
        InstanceTypeDef,
        NetworkInterfaceAttachmentTypeDef,
        NetworkInterfaceTypeDef,
        SubnetTypeDef,
    )

T = TypeVar("T")


def _wall(shown: object) -> float | None:
    """A time in Unix seconds; None if there is none, or it cannot be read.  Our client leaves it as EC2 wrote it."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(str(shown)).timestamp()
    return None


class _Reading:
    """Reads the parts of an answer; ``unread`` says which of them could not be read."""

    def __init__(self) -> None:
        self.unread: list[str] = []

    def __call__(self, what: str, convert: Callable[[Any], T], value: object) -> T | None:
        """The value as ``convert`` makes it; None where it cannot."""
        try:
            return convert(value)
        except (KeyError, TypeError, ValueError):
            self.unread.append(f"{what} {one_line(value)[:EXCERPT]!r}")
            return None


def read_eni(item: NetworkInterfaceTypeDef) -> Eni:
    """As much of the interface as can be read; ``unread`` names the rest."""
    read = _Reading()
    read.unread.extend(f"no {key}" for key in ("NetworkInterfaceId", "MacAddress", "SubnetId") if not item.get(key))
    # A free ENI has no such key, not even an empty value.
    bound = _attachment(item.get("Attachment") or {}, read) if "Attachment" in item else None
    # In an IPv6-only subnet there is no IPv4 address.
    primary = read("address", IPv4Address, item["PrivateIpAddress"]) if item.get("PrivateIpAddress") else None
    others = [
        read("address", IPv4Address, entry.get("PrivateIpAddress"))
        for entry in item.get("PrivateIpAddresses", [])
        if not entry.get("Primary", False)
    ]
    ipv6s = [read("address", _ipv6, entry.get("Ipv6Address")) for entry in item.get("Ipv6Addresses", [])]
    return Eni(
        id=item.get("NetworkInterfaceId", ""),
        mac=item.get("MacAddress", "").lower(),
        address=primary,
        subnet_id=item.get("SubnetId", ""),
        zone=item.get("AvailabilityZone", ""),
        attachment=bound,
        tags=_tags(item.get("TagSet", [])),
        secondary=tuple(address for address in others if address is not None),
        ipv6s=tuple(address for address in ipv6s if address is not None),
        elastic=_elastic(item, primary),
        security_groups=tuple(sorted(group.get("GroupId", "") for group in item.get("Groups", []))),
        source_check=item.get("SourceDestCheck", True),
        delete_on_termination=bool((item.get("Attachment") or {}).get("DeleteOnTermination", False)),
        unread=", ".join(read.unread),
    )


def _attachment(shown: NetworkInterfaceAttachmentTypeDef, read: _Reading) -> Attachment | None:
    status = read("attachment's status", AttachmentStatus, shown.get("Status"))
    attachment_id = read("attachment's id", _said, shown.get("AttachmentId"))
    if status is None or attachment_id is None:
        return None
    return Attachment(
        id=attachment_id,
        # An interface of a managed service shows an attachment without an instance of ours.
        instance_id=shown.get("InstanceId", ""),
        device_index=shown.get("DeviceIndex", 0),
        status=status,
        since_wall=_wall(shown.get("AttachTime")),
    )


def _ipv6(text: str | None) -> IPv6Address:
    return IPv6Address(str(subnets_address(_said(text))))


def _said(text: str | None) -> str:
    """The text.  Raises ValueError if there is none, or an empty one."""
    if not text:
        raise ValueError("nothing")
    return text


def read_ours(item: NetworkInterfaceTypeDef) -> Eni:
    """An interface that EC2 shows because of our tag: if the tag is not shown, it is there but cannot be read."""
    eni = read_eni(item)
    if OWNER_TAG in eni.tags:
        return eni
    return replace(eni, unread=", ".join(filter(None, (eni.unread, f"no tag {OWNER_TAG}"))))


def _tags(items: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in items if "Key" in tag}


def _elastic(item: NetworkInterfaceTypeDef, primary: IPv4Address | None) -> dict[IPv4Address, str]:
    """Allocation ids by private address; that of the primary address may be shown only beside the list of addresses."""
    found: dict[IPv4Address, Any] = {}
    for entry in item.get("PrivateIpAddresses", []):
        with suppress(ValueError):  # The address cannot be read, which was noted before.
            found[IPv4Address(entry.get("PrivateIpAddress"))] = entry.get("Association", {})
    if primary is not None:
        found[primary] = found.get(primary) or item.get("Association", {})
    return {address: shown["AllocationId"] for address, shown in found.items() if "AllocationId" in shown}


def read_subnet(item: SubnetTypeDef) -> Subnet:
    """The subnet with those of its networks that can be read."""
    associated = (b for b in item.get("Ipv6CidrBlockAssociationSet", []) if not _is_former(b))
    blocks = [item.get("CidrBlock"), *(b.get("Ipv6CidrBlock") for b in associated)]
    networks: list[Network] = []
    unread = "" if item.get("SubnetId") and item.get("AvailabilityZone") else "no id, or no zone"
    for block in filter(None, blocks):
        try:
            networks.append(subnets_network(ip_network(block)))
        except ValueError:
            unread = f"network {one_line(block)[:EXCERPT]!r}"
    return Subnet(
        item.get("SubnetId", ""),
        tuple(networks),
        item.get("AvailabilityZone", ""),
        item.get("OutpostArn", ""),
        unread=unread,
    )


def _is_former(association: Any) -> bool:
    """The subnet no longer has this IPv6 network, or never got it, though EC2 shows it: another subnet may have it."""
    return association.get("Ipv6CidrBlockState", {}).get("State") in (
        "disassociating",
        "disassociated",
        "failing",
        "failed",
    )


def read_instance(item: InstanceTypeDef) -> Instance:
    """As much of the instance as can be read; a state that EC2's documentation does not have is ``UNREAD``."""
    state, address, ipv6 = item.get("State", {}).get("Name"), None, None
    by_index = [(_device_index(each), each) for each in item.get("NetworkInterfaces", [])]
    ipv6s = [
        shown.get("Ipv6Address", "")
        for index, each in by_index
        if index == 0
        for shown in each.get("Ipv6Addresses", [])
    ]
    with suppress(ValueError):  # Without the address its observer cannot be asked.
        address = subnets_address(item["PrivateIpAddress"]) if item.get("PrivateIpAddress") else None
    with suppress(ValueError):
        ipv6 = subnets_address(ipv6s[0]) if ipv6s else None
    return Instance(
        id=item.get("InstanceId", ""),
        state=InstanceState(state) if state in tuple(InstanceState) else InstanceState.UNREAD,
        address=address,
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        device_indexes=frozenset(index for index, _ in by_index if index is not None),
        tags=_tags(item.get("Tags", [])),
        type=item.get("InstanceType", ""),
        outpost=item.get("OutpostArn", ""),
        node=item.get("PrivateDnsName", ""),
        ipv6=ipv6,
    )


def _device_index(interface: InstanceNetworkInterfaceTypeDef) -> int | None:
    """The interface's index on the first network card; None if it is on another card, or if EC2 does not tell."""
    attachment = interface.get("Attachment", {})
    return attachment.get("DeviceIndex") if attachment.get("NetworkCardIndex", 0) == 0 else None
