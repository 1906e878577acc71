"""
Which private addresses an ENI may get, and how a secondary one moves from one ENI to another.

EC2 answers Assign and Unassign at once and acts later ("remapping an IP address is an asynchronous operation" [BOTO]):

    assigning -> assigned      from the call: `Profile.assign` seconds
    (asked to go) -> unassigned               `Profile.unassign` seconds

Until then Describe, IMDS and the data path are as before.  Of several calls about one address the last one counts, so
that it has at most one owner at any time.  An address on its way is taken: nobody gets it without AllowReassignment.

IPv4 addresses move, and the Elastic IP of one moves along; IPv6 has no AllowReassignment, so it takes two calls.

None of the four calls has a dry run [BOTO].

Sources as in world.py.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces

from lab.ec2.account import Account
from lab.ec2.attachments import Attachments
from lab.ec2.elastic import ElasticIps
from lab.ec2.eni import Network, all_addresses, networks


@dataclass(frozen=True, eq=False)
class _Move:
    """What an accepted call will do: give the address to `target`, or, if None, take it off the ENI that has it."""

    address: str
    target: NetworkInterface | None


class Addresses:
    """The private addresses of one account.  All of it runs under the endpoint's lock."""

    def __init__(self, account: Account, elastic: ElasticIps, attachments: Attachments) -> None:
        self._account = account
        self._elastic = elastic
        self._attachments = attachments
        self._moves: dict[str, _Move] = {}

    def require_free(self, subnet: Subnet, ipv4_addresses: Iterable[str], ipv6_addresses: Iterable[str]) -> None:
        """Raise EC2's error for the first address that a new ENI in this subnet cannot get."""
        taken = self._taken(subnet)
        for version, addresses in ((4, ipv4_addresses), (6, ipv6_addresses)):
            for address in addresses:
                _require_usable(address, networks(subnet, version))
                if address in taken:
                    raise EC2ClientError("InvalidIPAddress.InUse", f"Address {address} is in use.")

    def free_ipv4(self, subnet: Subnet, count: int) -> list[str]:
        """The lowest addresses that an ENI in this subnet can get."""
        taken, cidrs = self._taken(subnet), networks(subnet, 4)
        free = (str(address) for cidr in cidrs for address in cidr)
        free = (address for address in free if address not in taken and _why_unusable(address, cidrs) is None)
        found = list(itertools.islice(free, count))
        if len(found) < count:
            raise EC2ClientError(
                "InsufficientFreeAddressesInSubnet",
                f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number.",
            )
        return found

    def free_ipv6(self, subnet: Subnet, count: int) -> list[str]:
        """Some addresses that an ENI in this subnet can get."""
        cidrs = networks(subnet, 6)
        if count and not cidrs:
            raise EC2ClientError("InvalidParameterValue", f"The subnet '{subnet.id}' has no IPv6 CIDR block.")
        taken, found = self._taken(subnet), list[str]()
        while len(found) < count:
            address = str(cidrs[0][self._account.rng.randrange(cidrs[0].num_addresses)])
            if address not in {*taken, *found} and _why_unusable(address, cidrs) is None:
                found.append(address)
        return found

    def add(self, eni: NetworkInterface, addresses: Iterable[str]) -> None:
        """Let the ENI have these addresses as well, at once."""
        for address in addresses:
            if ":" in address:
                eni.ipv6_addresses.append(address)
            else:
                eni.private_ip_addresses.append(
                    {"Primary": False, "PrivateIpAddress": address, "PrivateDnsName": self.dns_name(address)}
                )

    def dns_name(self, address: str) -> str:
        """The private DNS name of an IPv4 address."""
        return f"ip-{address.replace('.', '-')}.{self._account.region}.compute.internal"

    def owner(self, address: str) -> NetworkInterface | None:
        """The ENI that has the address at this moment."""
        return next((eni for eni in self._account.backend.enis.values() if address in all_addresses(eni)), None)

    def forget(self, eni: NetworkInterface) -> None:
        """The ENI is being deleted: finish at once the moves away from it, and drop those towards it."""
        for address, move in list(self._moves.items()):
            if move.target is eni:
                del self._moves[address]
            elif address in all_addresses(eni):
                self._finish(move)
        for address in all_addresses(eni):
            if address != eni.private_ip_address:
                self._record(address, eni, "unassigned")

    def assign_ipv4(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """AssignPrivateIpAddresses: one call moves all of its addresses, or is refused."""
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        asked = call._get_param("PrivateIpAddresses", [])
        count = call._get_int_param("SecondaryPrivateIpAddressCount", 0)
        _require_either("privateIpAddresses", asked, "secondaryPrivateIpAddressCount", count)
        addresses = asked or self.free_ipv4(eni.subnet, count)
        self._require_assignable(eni, addresses, 4, may_take=bool(call._get_param("AllowReassignment", False)))
        self._assign(eni, addresses)
        return ActionResult(
            {
                "NetworkInterfaceId": eni.id,
                "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in addresses],
            }
        )

    def assign_ipv6(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """AssignIpv6Addresses: an address that another ENI has is refused until it has left that ENI."""
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        asked = [canonical(address) for address in call._get_param("Ipv6Addresses", [])]
        count = call._get_int_param("Ipv6AddressCount", 0)
        _require_either("ipv6Addresses", asked, "ipv6AddressCount", count)
        addresses = asked or self.free_ipv6(eni.subnet, count)
        self._require_assignable(eni, addresses, 6, may_take=False)
        new = [address for address in addresses if self._heir(address) is not eni]
        self._assign(eni, addresses)
        return ActionResult({"NetworkInterfaceId": eni.id, "AssignedIpv6Addresses": new})

    def unassign_ipv4(self, call: ElasticNetworkInterfaces) -> EmptyResult:
        """UnassignPrivateIpAddresses; an associated Elastic IP loses its association."""
        self._unassign(call, call._get_param("PrivateIpAddresses", []))
        return EmptyResult()

    def unassign_ipv6(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """UnassignIpv6Addresses."""
        addresses = [canonical(address) for address in call._get_param("Ipv6Addresses", [])]
        self._unassign(call, addresses)
        return ActionResult(
            {"NetworkInterfaceId": call._get_param("NetworkInterfaceId"), "UnassignedIpv6Addresses": addresses}
        )

    def _assign(self, eni: NetworkInterface, addresses: Iterable[str]) -> None:
        for address in addresses:
            if self._heir(address) is not eni:
                self._record(address, eni, "assigning")
                self._begin(_Move(address, eni), self._account.profile.assign)

    def _unassign(self, call: ElasticNetworkInterfaces, addresses: Sequence[str]) -> None:
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        for address in addresses:
            # unverified: the error code for a primary address.
            if self._heir(address) is not eni or address == eni.private_ip_address:
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Some of the specified addresses are not assigned to interface {eni.id}: [{address}]",
                )
        for address in addresses:
            self._begin(_Move(address, None), self._account.profile.unassign)

    def _begin(self, move: _Move, delay: float) -> None:
        self._moves[move.address] = move
        self._account.after(delay, lambda: self._finish(move))

    def _finish(self, move: _Move) -> None:
        if self._moves.get(move.address) is not move:
            return  # a later call about this address has replaced this one
        del self._moves[move.address]
        address, old, new = move.address, self.owner(move.address), move.target
        comes = new is not None and new is not old and self._attachments.is_in_guest(new)
        if old is not None and old is not new:
            self._record(address, old, "unassigned")
            _remove(old, address)
            self._announce(old)
            if self._attachments.is_in_guest(old) and not comes:
                self._account.devices.unassign(old.id, address)
        if new is None:
            self._elastic.forget(address)
        elif new is not old:
            self.add(new, [address])
            self._elastic.follow(address, new)
            self._announce(new)
            if comes:
                # In one step: an address on its way is never nobody's.
                self._account.devices.assign(new.id, address)
        if new is not None:
            self._record(address, new, "assigned")

    def _announce(self, eni: NetworkInterface) -> None:
        if eni.instance is not None:
            self._attachments.note(eni.instance)

    def _heir(self, address: str) -> NetworkInterface | None:
        """The ENI that will have the address once all accepted calls have taken effect."""
        move = self._moves.get(address)
        return self.owner(address) if move is None else move.target

    def _require_assignable(
        self, eni: NetworkInterface, addresses: Sequence[str], version: int, *, may_take: bool
    ) -> None:
        """
        Raise EC2's error for the first address that this ENI cannot get, or if it would have too many.

        unverified: all error codes for IPv6, and the one for a primary address, which no ENI can take from another.
        """
        for address in addresses:
            _require_usable(address, networks(eni.subnet, version))
            rivals = [rival for rival in (self._heir(address), self.owner(address)) if rival not in (None, eni)]
            if rivals and not may_take and version == 4:
                raise EC2ClientError("InvalidParameterValue", f"[{address}] assigned, but move is not allowed.")
            if rivals and not may_take:
                raise EC2ClientError("Resource.AlreadyAssigned", f"[{address}] is assigned to '{rivals[0].id}'.")
            if any(rival.private_ip_address == address for rival in rivals):
                raise EC2ClientError(
                    "InvalidParameterValue", f"[{address}] is the primary address of '{rivals[0].id}'."
                )
        if eni.instance is None:
            return
        network = INSTANCE_TYPES[eni.instance.instance_type]["NetworkInfo"]
        limit = network[f"Ipv{version}AddressesPerInterface"]
        coming = {address for address, move in self._moves.items() if move.target is eni}
        total = {*all_addresses(eni), *coming, *addresses}
        if len([address for address in total if (":" in address) == (version == 6)]) > limit:
            raise EC2ClientError(
                "PrivateIpAddressLimitExceeded",
                f"Number of private addresses will exceed limit of {limit} for {eni.instance.instance_type}.",
            )

    def _taken(self, subnet: Subnet) -> set[str]:
        enis = (eni for eni in self._account.backend.enis.values() if eni.subnet.id == subnet.id)
        return {*self._moves, *(address for eni in enis for address in all_addresses(eni))}

    def _record(self, address: str, eni: NetworkInterface, status: str) -> None:
        allocation = self._elastic.at(address)
        self._account.tell(
            "address",
            address=address,
            eni=eni.id,
            instance=eni.instance.id if eni.instance else "",
            status=status,
            **({"allocation": allocation.id} if allocation else {}),
        )


def canonical(address: str) -> str:
    """An IPv6 address as EC2 shows it, in lower case and compressed; anything else unchanged."""
    try:
        return str(IPv6Address(address))
    except ValueError:
        return address


def _remove(eni: NetworkInterface, address: str) -> None:
    items: list[dict[str, Any]] = eni.private_ip_addresses
    eni.private_ip_addresses = [item for item in items if item["PrivateIpAddress"] != address]
    eni.ipv6_addresses = [other for other in eni.ipv6_addresses if other != address]


def _require_usable(address: str, cidrs: Sequence[Network]) -> None:
    if (reason := _why_unusable(address, cidrs)) is not None:
        raise EC2ClientError("InvalidParameterValue", f"invalid value for parameter address: [{address}] {reason}")


def _why_unusable(address: str, cidrs: Sequence[Network]) -> str | None:
    """
    Why no ENI can have the address in a subnet with these CIDR blocks; None if one can.

    AWS keeps the first four addresses and the last one of each block (VPC guide).
    """
    try:
        wanted = ip_address(address)
    except ValueError:
        return "not an IP address"
    for cidr in cidrs:
        if wanted in cidr:
            place = int(wanted) - int(cidr.network_address)
            if place < 4 or place == cidr.num_addresses - 1:
                return "Address is in subnet's reserved address range"
            return None
    return "Address does not fall within the subnet's address range"


def _require_either(one: str, addresses: Sequence[str], other: str, count: int) -> None:
    """Raise EC2's error unless exactly one of the two parameters is given.  unverified: the code if none is."""
    if addresses and count:
        raise EC2ClientError(
            "InvalidParameterCombination", f"The parameter {one} cannot be used with the parameter {other}"
        )
    if not addresses and not count:
        raise EC2ClientError("MissingParameter", f"The request must contain the parameter {one} or {other}")
