"""
EC2's rules about Elastic IPs that moto lacks; Outposts' customer-owned IPs are the same, with another pool.

An allocation is associated with one private address of one ENI, and the association follows that ENI to any instance.
EC2 shows an association as soon as it has answered the call; the traffic follows `Profile.associate` seconds later, and
goes to the former ENI until then.

Source: AssociateAddress and AllocateAddress [BOTO], where reassociation is the default; otherwise as in world.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError, InvalidAllocationIdError, InvalidAssociationIdError
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.responses.elastic_ip_addresses import ElasticIPAddresses
from moto.ec2.utils import add_tag_specification, random_eip_association_id

from lab.ec2.account import Account
from lab.ec2.filters import Values, select

PUBLIC_CIDR = IPv4Network("203.0.113.0/24")
"""Where AllocateAddress takes its addresses from: TEST-NET-3 (RFC 5737)."""


@dataclass(frozen=True)
class Association:
    """The binding of an allocation to a private address of an ENI."""

    id: str
    eni_id: str
    private_address: str


@dataclass(frozen=True)
class Allocation:
    """An Elastic IP.  `pool` is that of a customer-owned IP, None for a public one."""

    id: str
    address: str
    border_group: str
    pool: str | None
    association: Association | None = None


class ElasticIps:
    """The allocations of one account, by id.  All of it runs under the endpoint's lock."""

    def __init__(self, account: Account) -> None:
        self.allocations: dict[str, Allocation] = {}
        self._account = account
        self._routed: set[str] = set()

    def add(
        self, address: str | None, border_group: str, pool: str | None = None, tags: dict[str, str] | None = None
    ) -> Allocation:
        """Allocate this address, or, if none is given, the lowest free one."""
        if border_group not in self._border_groups():
            raise EC2ClientError(
                "InvalidParameterValue", f"Value ({border_group}) for parameter NetworkBorderGroup is invalid."
            )
        taken = {allocation.address for allocation in self.allocations.values()}
        address = address or next(str(host) for host in PUBLIC_CIDR.hosts() if str(host) not in taken)
        if address in taken:
            raise EC2ClientError("InvalidAddress.NotFound", f"Address '{address}' is not available.")
        stored = self._account.backend.allocate_address("vpc", address=address, tags=tags)
        allocation = Allocation(str(stored.allocation_id), address, border_group, pool)
        self.allocations[allocation.id] = allocation
        return allocation

    def associations(self, eni: NetworkInterface) -> list[Allocation]:
        """The allocations that are associated with an address of the ENI."""
        return [a for a in self.allocations.values() if a.association and a.association.eni_id == eni.id]

    def at(self, private_address: str) -> Allocation | None:
        """The allocation that is associated with a private address."""
        for allocation in self.allocations.values():
            if allocation.association is not None and allocation.association.private_address == private_address:
                return allocation
        return None

    def shown(self, private_address: str) -> dict[str, Any] | None:
        """The association of a private address as DescribeNetworkInterfaces shows it."""
        allocation = self.at(private_address)
        if allocation is None:
            return None
        assert allocation.association is not None, "it was found by it"
        owned, owner = ("CustomerOwnedIp", self._account.id) if allocation.pool else ("PublicIp", "amazon")
        return {
            "AllocationId": allocation.id,
            "AssociationId": allocation.association.id,
            "IpOwnerId": owner,
            owned: allocation.address,
        }

    def forget(self, private_address: str) -> None:
        """End the association of a private address that no ENI has any more."""
        if (allocation := self.at(private_address)) is not None:
            self._change(allocation, None)

    def follow(self, private_address: str, eni: NetworkInterface) -> None:
        """
        The private address has moved to this ENI, and so has its association; where the Elastic IP leads is unchanged.

        unverified: that the association keeps its id.
        """
        allocation = self.at(private_address)
        if allocation is not None and allocation.association is not None:
            moved = replace(allocation.association, eni_id=eni.id)
            self.allocations[allocation.id] = replace(allocation, association=moved)

    def allocate(self, call: ElasticIPAddresses) -> ActionResult:
        """AllocateAddress."""
        call.error_on_dryrun()
        allocation = self.add(
            call._get_param("Address"),
            call._get_param("NetworkBorderGroup") or self._account.region,
            call._get_param("CustomerOwnedIpv4Pool"),
            add_tag_specification(call._get_param("TagSpecifications", [])),
        )
        return ActionResult({"Domain": "vpc", **_owned(allocation)})

    def describe(self, call: ElasticIPAddresses) -> ActionResult:
        """DescribeAddresses."""
        call.error_on_dryrun()
        wanted = [self._allocation(id_) for id_ in call._get_param("AllocationIds", [])]
        public_ips = call._get_param("PublicIps", [])
        found = select(
            [
                stored
                for stored in self._account.backend.addresses
                if (not wanted or self._of(stored) in wanted) and (not public_ips or stored.public_ip in public_ips)
            ],
            call._filters_from_querystring(),
            self._filters(),
        )
        return ActionResult({"Addresses": [self._describe(stored) for stored in found]})

    def associate(self, call: ElasticIPAddresses) -> ActionResult:
        """
        AssociateAddress of an allocation to an ENI.

        unverified: the code for another network border group; [BOTO] says only that it is an error.
        """
        allocation = self._allocation(call._get_param("AllocationId"))
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        call.error_on_dryrun()
        private_address = str(call._get_param("PrivateIpAddress") or eni.private_ip_address)
        if private_address not in {item["PrivateIpAddress"] for item in eni.private_ip_addresses}:
            raise EC2ClientError(
                "InvalidParameterValue", f"{private_address} is not an address of network interface '{eni.id}'."
            )
        if allocation.border_group != border_group(eni.availability_zone):
            raise EC2ClientError(
                "InvalidParameterValue",
                f"The address '{allocation.id}' is in the network border group '{allocation.border_group}', "
                f"the network interface '{eni.id}' in '{border_group(eni.availability_zone)}'.",
            )
        if allocation.pool is None and not self._has_gateway(eni.vpc_id):
            raise EC2ClientError("Gateway.NotAttached", f"Network {eni.vpc_id} is not attached to any internet gateway")
        now = allocation.association
        if now is not None and (now.eni_id, now.private_address) == (eni.id, private_address):
            return ActionResult({"AssociationId": now.id})
        rival = self.at(private_address)
        if (now or rival) and not call._get_param("AllowReassociation", True):
            raise EC2ClientError(
                "Resource.AlreadyAssociated",
                f"resource {allocation.id if now else eni.id} is already associated with associate-id "
                f"{now.id if now else _association_id(rival)}",
            )
        if rival is not None:
            self._change(rival, None)
        association = Association(random_eip_association_id(), eni.id, private_address)
        self._change(allocation, association)
        return ActionResult({"AssociationId": association.id})

    def disassociate(self, call: ElasticIPAddresses) -> EmptyResult:
        """DisassociateAddress, by the association's id."""
        association_id = call._get_param("AssociationId")
        for allocation in self.allocations.values():
            if allocation.association is not None and allocation.association.id == association_id:
                call.error_on_dryrun()
                self._change(allocation, None)
                return EmptyResult()
        raise InvalidAssociationIdError([association_id])

    def release(self, call: ElasticIPAddresses) -> EmptyResult:
        """ReleaseAddress, by the allocation's id."""
        allocation = self._allocation(call._get_param("AllocationId"))
        call.error_on_dryrun()
        if allocation.association is not None:
            raise EC2ClientError("InvalidIPAddress.InUse", f"Address {allocation.address} is in use.")
        del self.allocations[allocation.id]
        self._account.backend.release_address(allocation_id=allocation.id)
        return EmptyResult()

    def _change(self, allocation: Allocation, association: Association | None) -> None:
        """Set or end (None) the association; the traffic follows later, unless another change comes first."""
        if allocation.association is not None:
            self._record(allocation, allocation.association, "disassociated")
        allocation = replace(allocation, association=association)
        self.allocations[allocation.id] = allocation
        if association is not None:
            self._record(allocation, association, "associated")
        self._account.after(self._account.profile.associate, lambda: self._route(allocation))

    def _route(self, allocation: Allocation) -> None:
        now = self.allocations.get(allocation.id)
        if now is None or _association_id(now) != _association_id(allocation):
            return  # a later change has replaced this one; a move of the private address is no such change
        if allocation.association is not None:
            self._routed.add(allocation.address)
            self._account.devices.associate(allocation.address, allocation.association.private_address)
        elif allocation.address in self._routed:
            self._routed.remove(allocation.address)
            self._account.devices.disassociate(allocation.address)

    def _record(self, allocation: Allocation, association: Association, status: str) -> None:
        self._account.tell(
            "association",
            allocation=allocation.id,
            association=association.id,
            eni=association.eni_id,
            address=association.private_address,
            public=allocation.address,
            status=status,
        )

    def _allocation(self, allocation_id: str) -> Allocation:
        try:
            return self.allocations[allocation_id]
        except KeyError:
            raise InvalidAllocationIdError([allocation_id]) from None

    def _of(self, stored: ElasticAddress) -> Allocation:
        return self.allocations[str(stored.allocation_id)]

    def _describe(self, stored: ElasticAddress) -> dict[str, Any]:
        """
        The address as DescribeAddresses shows it.

        unverified: that a customer-owned IP has no PublicIp.
        """
        allocation = self._of(stored)
        shown: dict[str, Any] = {"Domain": "vpc", "Tags": stored.get_tags(), **_owned(allocation)}
        if allocation.association is not None:
            eni = self._account.backend.enis[allocation.association.eni_id]
            shown |= {
                "AssociationId": allocation.association.id,
                "NetworkInterfaceId": eni.id,
                "NetworkInterfaceOwnerId": eni.owner_id,
                "PrivateIpAddress": allocation.association.private_address,
            }
            if eni.instance is not None:
                shown["InstanceId"] = eni.instance.id
        return shown

    def _filters(self) -> dict[str, Values[ElasticAddress]]:
        def shows(name: str) -> Values[ElasticAddress]:
            return lambda stored: [value for key, value in self._describe(stored).items() if key == name]

        return {
            "allocation-id": shows("AllocationId"),
            "association-id": shows("AssociationId"),
            "instance-id": shows("InstanceId"),
            "network-border-group": shows("NetworkBorderGroup"),
            "network-interface-id": shows("NetworkInterfaceId"),
            "private-ip-address": shows("PrivateIpAddress"),
            "public-ip": shows("PublicIp"),
        }

    def _border_groups(self) -> set[str]:
        return {border_group(zone.name) for zone in RegionsAndZonesBackend.zones[self._account.region]}

    def _has_gateway(self, vpc_id: str) -> bool:
        gateways: Iterable[Any] = self._account.backend.internet_gateways.values()
        return any(gateway.vpc is not None and gateway.vpc.id == vpc_id for gateway in gateways)


def border_group(zone: str) -> str:
    """The network border group of a zone: us-west-2-lax-1 of us-west-2-lax-1a, us-west-2 of us-west-2a."""
    return zone[:-1]


def _association_id(allocation: Allocation | None) -> str | None:
    return allocation.association.id if allocation and allocation.association else None


def _owned(allocation: Allocation) -> dict[str, str]:
    shown = {"AllocationId": allocation.id, "NetworkBorderGroup": allocation.border_group}
    if allocation.pool is None:
        return shown | {"PublicIp": allocation.address, "PublicIpv4Pool": "amazon"}
    return shown | {"CustomerOwnedIp": allocation.address, "CustomerOwnedIpv4Pool": allocation.pool}
