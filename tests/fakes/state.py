"""What EC2 shows at one moment, and an ENI that gets or loses an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from floatingip.core.ec2 import AllocationFacts, Attachment, Eni, Instance, Subnet
from floatingip.core.errors import CloudError, LookAgain
from floatingip.core.model import Address


@dataclass(frozen=True)
class State:
    """What a Describe shows."""

    enis: Mapping[str, Eni] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)
    allocations: Mapping[str, AllocationFacts] = field(default_factory=dict)

    def eni(self, eni_id: str) -> Eni:
        if eni_id not in self.enis:
            raise LookAgain(f"InvalidNetworkInterfaceID.NotFound: {eni_id}")
        return self.enis[eni_id]

    def attached_by(self, attachment_id: str) -> tuple[Eni, Attachment]:
        """The ENI with this attachment, and the attachment.  Raises LookAgain."""
        for eni in self.enis.values():
            if eni.attachment is not None and eni.attachment.id == attachment_id:
                return eni, eni.attachment
        raise LookAgain(f"InvalidAttachmentID.NotFound: {attachment_id}")

    def instance(self, instance_id: str) -> Instance:
        """The instance, with the device indexes that are taken.  Raises LookAgain."""
        if instance_id not in self.instances:
            raise LookAgain(f"InvalidInstanceID.NotFound: {instance_id}")
        taken = (eni.attachment for eni in self.enis.values())
        indexes = frozenset(a.device_index for a in taken if a is not None and a.instance_id == instance_id)
        return replace(self.instances[instance_id], device_indexes=indexes)

    def occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """The ENIs that have one of the addresses, be it as a secondary one."""
        return tuple(eni for eni in self.enis.values() if any(map(eni.occupies, addresses)))

    def owner(self, address: Address) -> Eni | None:
        """The ENI that has the address."""
        return next(iter(self.occupants(frozenset({address}))), None)


def require_usable(address: Address, subnet: Subnet) -> None:
    """Raise ``CloudError`` unless an ENI in this subnet could get the address."""
    network = subnet.network_of(address)
    if network is None or int(address) - int(network.network_address) < 4 or address == network[-1]:
        raise CloudError(f"InvalidParameterValue: invalid value for parameter address: {address}")


def joined(eni: Eni, address: Address, allocation_id: str) -> Eni:
    """The ENI with one more address, and with the Elastic IP that came along, if any."""
    if isinstance(address, IPv6Address):
        return replace(eni, ipv6s=(*eni.ipv6s, address))
    elastic = {**eni.elastic, **({address: allocation_id} if allocation_id else {})}
    return replace(eni, secondary=(*eni.secondary, address), elastic=elastic)


def parted(eni: Eni, address: Address) -> Eni:
    """The ENI without this address, and without what was associated with it."""
    return replace(
        eni,
        secondary=tuple(other for other in eni.secondary if other != address),
        ipv6s=tuple(other for other in eni.ipv6s if other != address),
        elastic={other: allocation_id for other, allocation_id in eni.elastic.items() if other != address},
    )


def without(elastic: Mapping[IPv4Address, str], allocation_id: str) -> dict[IPv4Address, str]:
    """The associations of an ENI, without this Elastic IP's."""
    return {address: other for address, other in elastic.items() if other != allocation_id}
