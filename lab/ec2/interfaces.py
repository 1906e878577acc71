"""How ENIs are made, shown, changed and deleted."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces
from moto.ec2.utils import add_tag_specification

from lab.ec2.account import Account
from lab.ec2.addresses import Addresses, canonical
from lab.ec2.attachments import Attachments, no_such_attachment
from lab.ec2.elastic import ElasticIps
from lab.ec2.eni import ipv4_addresses, outpost_of, place_on_outpost
from lab.ec2.filters import Values, page, select


class Interfaces:
    """The ENIs of one account.  All of it runs under the endpoint's lock."""

    def __init__(self, account: Account, elastic: ElasticIps, attachments: Attachments, addresses: Addresses) -> None:
        self._account = account
        self._elastic = elastic
        self._attachments = attachments
        self._addresses = addresses
        self._tokens: dict[str, tuple[str, NetworkInterface]] = {}

    def adopt(
        self, eni: NetworkInterface, secondary_addresses: Iterable[str] = (), ipv6_addresses: Iterable[str] = ()
    ) -> None:
        """Give an ENI that moto has made its MAC, names, and further addresses."""
        eni.mac_address = "02:" + ":".join(f"{self._account.rng.randrange(256):02x}" for _ in range(5))
        eni.private_dns_name = self._addresses.dns_name(str(eni.private_ip_address))
        eni.private_ip_addresses[0]["PrivateDnsName"] = eni.private_dns_name
        eni.ipv6_addresses = []
        self._addresses.add(eni, [*secondary_addresses, *ipv6_addresses])
        place_on_outpost(eni, outpost_of(eni.subnet))

    def create(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """CreateNetworkInterface.  A repeated token gets the same ENI, even one that was deleted meanwhile."""
        subnet = self._account.backend.get_subnet(call._get_param("SubnetId"))
        asked = [item["PrivateIpAddress"] for item in _primary_first(call._get_param("PrivateIpAddresses", []))]
        if primary := call._get_param("PrivateIpAddress"):
            asked.insert(0, primary)
        asked_ipv6 = [canonical(item["Ipv6Address"]) for item in call._get_param("Ipv6Addresses", [])]
        count = call._get_int_param("Ipv6AddressCount", 0)
        if asked_ipv6 and count:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameter ipv6Addresses cannot be used with the parameter ipv6AddressCount",
            )
        groups = call._get_param("Groups", [])
        self._require_groups(groups)
        call.error_on_dryrun()
        token = call._get_param("ClientToken")
        eni = self._created_before(token, call)
        if eni is None:
            self._addresses.require_free(subnet, asked, asked_ipv6)
            if subnet.assign_ipv6_address_on_creation and not asked_ipv6:
                count = count or 1
            addresses = asked or self._addresses.free_ipv4(subnet, 1)
            eni = self._account.backend.create_network_interface(
                subnet,
                addresses[0],
                group_ids=groups,
                description=call._get_param("Description"),
                tags=add_tag_specification(call._get_param("TagSpecifications", [])),
            )
            self.adopt(eni, addresses[1:], asked_ipv6 or self._addresses.free_ipv6(subnet, count))
            if token:
                self._tokens[token] = (_fingerprint(call), eni)
        return ActionResult({"NetworkInterface": eni, "ClientToken": token})

    def describe(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """DescribeNetworkInterfaces."""
        ids = call._get_param("NetworkInterfaceIds", [])
        page_size = call._get_int_param("MaxResults")
        if ids and page_size is not None:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameter networkInterfaceIdsSet cannot be used with the parameter maxResults",
            )
        call.error_on_dryrun()
        for eni_id in ids:
            self._account.backend.get_network_interface(eni_id)
        enis = [eni for eni in self._account.backend.enis.values() if not ids or eni.id in ids]
        for eni in enis:
            self._show_associations(eni)
        found = select(enis, call._filters_from_querystring(), _FILTERS)
        shown, token = page(found, page_size, call._get_param("NextToken"))
        return ActionResult({"NetworkInterfaces": shown, "NextToken": token})

    def delete(self, call: ElasticNetworkInterfaces) -> EmptyResult:
        """DeleteNetworkInterface."""
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        call.error_on_dryrun()
        if eni.attachment_id is not None:
            raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni.id}' is currently in use.")
        self.remove(eni)
        return EmptyResult()

    def modify(self, call: ElasticNetworkInterfaces, original: Callable[[], ActionResult]) -> ActionResult:
        """ModifyNetworkInterfaceAttribute: moto knows all but the attachment's DeleteOnTermination."""
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        attachment_id = call._get_param("Attachment.AttachmentId")
        if attachment_id is not None and attachment_id != eni.attachment_id:
            raise no_such_attachment(attachment_id)
        self._require_groups(call._get_param("Groups", []))
        call.error_on_dryrun()
        if attachment_id is not None:
            eni.delete_on_termination = bool(call._get_param("Attachment.DeleteOnTermination", False))
            return EmptyResult()
        result = original()
        if eni.instance is not None:
            self._attachments.note(eni.instance)
        return result

    def remove(self, eni: NetworkInterface) -> None:
        """Delete an ENI that is attached nowhere, or is deleted with its instance."""
        self._addresses.forget(eni)
        for address in ipv4_addresses(eni):
            self._elastic.forget(address)
        self._account.backend.delete_network_interface(eni.id)
        for address in ipv4_addresses(eni):
            eni.subnet.del_subnet_ip(address)

    def _created_before(self, token: str | None, call: ElasticNetworkInterfaces) -> NetworkInterface | None:
        """
        The ENI that a call with the same token has made, gone or not.

        unverified: that EC2 answers with one that is gone.  It is the harder case for the caller.
        """
        fingerprint, eni = self._tokens.get(token or "", (None, None))
        if fingerprint is not None and fingerprint != _fingerprint(call):
            raise EC2ClientError(
                "IdempotentParameterMismatch", f"The client token '{token}' has been used with other parameters."
            )
        return eni

    def _require_groups(self, groups: Iterable[str]) -> None:
        for group in groups:
            if self._account.backend.get_security_group_from_id(group) is None:
                raise EC2ClientError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")

    def _show_associations(self, eni: NetworkInterface) -> None:
        """Each private address is shown with its own association; moto serialises these items as they are."""
        for item in eni.private_ip_addresses:
            item["Association"] = self._elastic.shown(item["PrivateIpAddress"])


def _primary_first(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: not item.get("Primary", False))


def _fingerprint(call: ElasticNetworkInterfaces) -> str:
    return json.dumps({**call.params, "ClientToken": None, "DryRun": None}, sort_keys=True, default=str)


_FILTERS: dict[str, Values[NetworkInterface]] = {
    "addresses.primary": lambda eni: [str(bool(item["Primary"])).lower() for item in eni.private_ip_addresses],
    "addresses.private-ip-address": ipv4_addresses,
    "attachment.attachment-id": lambda eni: [eni.attachment_id],
    "attachment.delete-on-termination": lambda eni: _of_attachment(
        eni, lambda attachment: str(bool(attachment.delete_on_termination)).lower()
    ),
    "attachment.device-index": lambda eni: _of_attachment(eni, lambda attachment: attachment.device_index),
    "attachment.instance-id": lambda eni: _of_attachment(eni, lambda attachment: attachment.instance_id),
    "attachment.status": lambda eni: _of_attachment(eni, lambda attachment: attachment.status),
    "association.allocation-id": lambda eni: _of_association(eni, "AllocationId"),
    "association.association-id": lambda eni: _of_association(eni, "AssociationId"),
    "association.public-ip": lambda eni: _of_association(eni, "PublicIp"),
    "availability-zone": lambda eni: [eni.availability_zone],
    "description": lambda eni: [eni.description],
    "group-id": lambda eni: [group.id for group in eni._group_set],
    "interface-type": lambda eni: [eni.interface_type],
    "ipv6-addresses.ipv6-address": lambda eni: eni.ipv6_addresses,
    "mac-address": lambda eni: [eni.mac_address],
    "network-interface-id": lambda eni: [eni.id],
    "owner-id": lambda eni: [eni.owner_id],
    "private-dns-name": lambda eni: [item.get("PrivateDnsName") for item in eni.private_ip_addresses],
    "private-ip-address": ipv4_addresses,
    "status": lambda eni: [eni.status],
    "subnet-id": lambda eni: [eni.subnet.id],
    "vpc-id": lambda eni: [eni.vpc_id],
}


def _of_attachment(eni: NetworkInterface, value: Callable[[Attachment], object]) -> list[object]:
    return [] if eni.attachment is None else [value(eni.attachment)]


def _of_association(eni: NetworkInterface, name: str) -> list[object]:
    """These values of the associations of all private addresses, not only of the primary one."""
    return [item["Association"][name] for item in eni.private_ip_addresses if name in (item.get("Association") or {})]
