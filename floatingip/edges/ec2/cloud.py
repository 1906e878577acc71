"""`ports.Cloud` by EC2's API: how each call is made, and what is read from its answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Any, cast

from floatingip.core.ec2 import OWNER_TAG, AllocationFacts, Eni, Instance, Subnet
from floatingip.core.errors import NoFreeSlot
from floatingip.core.model import Address, Network, Target
from floatingip.edges.ec2.api import Api, denied
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.meaning import (
    MOVED_MEANWHILE,
    IndexTaken,
    NoSuchEni,
    meaning,
    refuse_what_is_not_ec2s,
    refuse_what_stands_twice,
)
from floatingip.edges.ec2.sdk import check_environment, client, obtain
from floatingip.edges.ec2.shown import read_eni, read_instance, read_ours, read_subnet
from floatingip.edges.tally import Tally

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, NetworkInterfaceTypeDef

__all__ = ["Ec2Cloud", "check_environment", "client", "obtain"]  # A user of the calls needs their client as well.

PAGE = 1000
"""Interfaces in one answer: the most that EC2 gives."""

MOST_VALUES = 200
"""Values of a filter in one question, at most: EC2 refuses more (FilterLimitExceeded).  More instances than that may
have ended and left standing ENIs, if these are not deleted.
"""

HIGHEST_DEVICE_INDEX = 31
"""Where the search for a free index ends.  No instance type has more interfaces on its first network card: the most are
24, on a c8i.48xlarge, and the rest is for future types.  EC2 itself says when an instance is full.
"""

RESERVATIONS = ("SubnetIpv4CidrReservations", "SubnetIpv6CidrReservations")
"""The keys under which EC2 lists the CIDR reservations of a subnet."""


class Ec2Cloud:
    """EC2's API for one VPC; new interfaces get ``security_groups``, and ``tally`` counts the calls."""

    def __init__(
        self,
        ec2: EC2Client,
        vpc_id: str,
        security_groups: tuple[str, ...],
        asking: Asking | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._ec2 = ec2
        self._vpc_id = vpc_id
        self._groups = list(security_groups)
        self._api = Api(asking or Asking(cast(Any, ec2.meta.config).read_timeout), tally)
        ec2.meta.events.register("before-parse.ec2", refuse_what_is_not_ec2s, "floatingip")
        ec2.meta.events.register("after-call.ec2", refuse_what_stands_twice, "floatingip-twice")

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """See `ports.Cloud`.  To EC2 a filter's value is a pattern, so the name is compared once more here."""
        found = self._enis({f"tag:{OWNER_TAG}": [name]}, read_ours)
        return tuple(eni for eni in found if eni.tags.get(OWNER_TAG, name) == name)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """See `ports.Cloud`: one question for each family, since EC2 has a filter for each."""
        found: list[Eni] = []
        for version, name in ((4, "addresses.private-ip-address"), (6, "ipv6-addresses.ipv6-address")):
            values = sorted(str(address) for address in addresses if address.version == version)
            if values:
                found.extend(self._enis({name: values}))
        return tuple(found)

    def _enis(
        self, filters: Mapping[str, list[str]], read: Callable[[NetworkInterfaceTypeDef], Eni] = read_eni
    ) -> tuple[Eni, ...]:
        asked: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        asked.extend({"Name": name, "Values": values} for name, values in filters.items())
        items = self._api.pages(
            "DescribeNetworkInterfaces",
            self._ec2.describe_network_interfaces,
            "NetworkInterfaces",
            Filters=asked,
            MaxResults=PAGE,
        )
        return _each_once(map(read, self._of_this_vpc(items)))

    def _of_this_vpc(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items without those of another VPC, which may use the same addresses, and was not asked about."""
        return (item for item in items if item.get("VpcId", self._vpc_id) == self._vpc_id)

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """See `ports.Cloud`.  It asks by a filter: with the parameter, an unknown allocation would be an error."""
        filters: list[FilterTypeDef] = [{"Name": "allocation-id", "Values": [allocation_id]}]

        def read(answer: Mapping[str, Any]) -> AllocationFacts | None:
            if not answer["Addresses"]:
                return None
            # An answer that shows others instead is no answer to this question.
            item = {shown["AllocationId"]: shown for shown in answer["Addresses"]}[allocation_id]
            public = item.get("PublicIp") or item.get("CustomerOwnedIp") or ""
            return AllocationFacts(
                allocation_id, public, item.get("NetworkBorderGroup", ""), item.get("NetworkInterfaceId", "")
            )

        return self._api.ask("DescribeAddresses", lambda: self._ec2.describe_addresses(Filters=filters), read)

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See `ports.Cloud`."""
        # Ask by a filter: with the parameter InstanceIds, an instance that is gone would be an error.
        ids = sorted(instance_ids)
        parts = [ids[first : first + MOST_VALUES] for first in range(0, len(ids), MOST_VALUES)]
        shown_items = [item for part in parts for item in self._instances([{"Name": "instance-id", "Values": part}])]
        found = list(map(read_instance, shown_items))
        # An instance without an id, or that nobody asked for, may stand for any of those that are missing.
        doubtful = instance_ids if any(instance.id not in instance_ids for instance in found) else ()
        shown = {instance.id: instance for instance in found if instance.id in instance_ids}
        # If an instance is shown twice, and differently, nothing is known of it: above all, not that it has ended.
        twice = {instance.id for instance in found if instance != shown.get(instance.id, instance)}
        return {**_unread(doubtful), **shown, **_unread(twice)}

    def find_instance(self, name: str) -> Instance | None:
        """See `ports.Cloud`."""
        key = "private-ip-address" if re.fullmatch(r"[0-9.]+", name) else "private-dns-name"
        # To EC2 a filter's value is a pattern, such as `ip-10-*`: so the name is compared once more below.
        items = self._instances([{"Name": "vpc-id", "Values": [self._vpc_id]}, {"Name": key, "Values": [name]}])
        names = [(item.get("PrivateIpAddress"), item.get("PrivateDnsName")) for item in items]
        found = [read_instance(item) for item, known_as in zip(items, names, strict=True) if name in known_as]
        return next((instance for instance in found if not instance.state.announces_death), None)

    def _instances(self, filters: list[FilterTypeDef]) -> list[InstanceTypeDef]:
        items = self._api.pages("DescribeInstances", self._ec2.describe_instances, "Reservations", Filters=filters)
        # A reservation always has instances: one that shows none has some that cannot be read.
        return [item for reservation in items for item in reservation.get("Instances") or [{}]]

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See `ports.Cloud`."""
        filters = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        items = self._api.pages("DescribeSubnets", self._ec2.describe_subnets, "Subnets", Filters=filters)
        return tuple(map(read_subnet, self._of_this_vpc(items)))

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """See `ports.Cloud`."""

        def read(answer: Mapping[str, Any]) -> list[Network]:
            kinds = [answer[kind] for kind in RESERVATIONS if kind in answer]
            if not kinds:
                raise ValueError("no list of reservations")
            return [ip_network(item["Cidr"]) for kind in kinds for item in kind]

        call = partial(self._ec2.get_subnet_cidr_reservations, SubnetId=subnet_id)
        return tuple(self._api.all_pages("GetSubnetCidrReservations", call, read))

    def describe_slots(self, instance_type: str) -> int:
        """See `ports.Cloud`."""

        def read(answer: Mapping[str, Any]) -> int:
            # An answer that shows others instead is no answer to this question.
            [shown] = [
                each for each in answer["InstanceTypes"] if each.get("InstanceType", instance_type) == instance_type
            ]
            network = shown["NetworkInfo"]
            # Our ENIs are attached to card 0, at whatever place in the list it is shown.
            of_card = [card for card in network.get("NetworkCards") or [network] if not card.get("NetworkCardIndex")]
            return int(of_card[0]["MaximumNetworkInterfaces"])

        # The type of EC2Client lists all instance types; what EC2 has said of an instance is one of them.
        types = [cast(Any, instance_type)]
        return self._api.ask(
            "DescribeInstanceTypes", lambda: self._ec2.describe_instance_types(InstanceTypes=types), read
        )

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """See `ports.Cloud`.  With its tags, since the VPC CNI would adopt an interface that gets them later."""
        named: dict[str, Any] = {"ClientToken": token} if token else {}
        creation = self._creation(target, subnet, tags)
        answer = self._api.write(
            "CreateNetworkInterface", lambda: self._ec2.create_network_interface(**creation, **named)
        )
        with meaning("CreateNetworkInterface"):
            return read_eni(answer["NetworkInterface"])

    def _creation(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str]) -> dict[str, Any]:
        description = f"floating IP {target}" if target is not None else "standing interface for floating IPs"
        address: dict[str, Any] = {}
        if isinstance(target, IPv4Address):
            address = {"PrivateIpAddress": str(target)}
        elif isinstance(target, IPv6Address):
            address = {"Ipv6Addresses": [{"Ipv6Address": str(target)}]}
        listed = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        return {
            "SubnetId": subnet.id,
            "Groups": list(self._groups),
            "Description": description,
            "TagSpecifications": [{"ResourceType": "network-interface", "Tags": listed}],
            **address,
        }

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        """See `ports.Cloud`.  It takes the lowest free index, or the next one if that was taken meanwhile."""
        for index in range(1, HIGHEST_DEVICE_INDEX + 1):
            if index in taken:
                continue
            call = partial(
                self._ec2.attach_network_interface,
                NetworkInterfaceId=eni_id,
                InstanceId=instance_id,
                DeviceIndex=index,
                NetworkCardIndex=0,
            )
            try:
                answer = self._api.write("AttachNetworkInterface", call)
            except IndexTaken:
                continue
            with meaning("AttachNetworkInterface"):
                return answer["AttachmentId"]
        raise NoFreeSlot(f"{instance_id} has no free device index up to {HIGHEST_DEVICE_INDEX}")

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See `ports.Cloud`."""
        call = partial(self._ec2.detach_network_interface, AttachmentId=attachment_id, Force=force)
        self._api.write("DetachNetworkInterface", call)

    def delete_eni(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        with suppress(NoSuchEni):
            self._api.write(
                "DeleteNetworkInterface", lambda: self._ec2.delete_network_interface(NetworkInterfaceId=eni_id)
            )

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """See `ports.Cloud`."""
        if isinstance(address, IPv6Address):
            self._api.write(
                "AssignIpv6Addresses",
                lambda: self._ec2.assign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)]),
                MOVED_MEANWHILE,
            )
            return
        self._api.write(
            "AssignPrivateIpAddresses",
            lambda: self._ec2.assign_private_ip_addresses(
                NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)], AllowReassignment=reassign
            ),
        )

    def assign_any(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._api.write(
            "AssignPrivateIpAddresses",
            lambda: self._ec2.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=1),
        )

    def unassign(self, eni_id: str, address: Address) -> None:
        """See `ports.Cloud`."""
        if isinstance(address, IPv6Address):
            self._api.write(
                "UnassignIpv6Addresses",
                lambda: self._ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)]),
                MOVED_MEANWHILE,
            )
            return
        self._api.write(
            "UnassignPrivateIpAddresses",
            lambda: self._ec2.unassign_private_ip_addresses(
                NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)]
            ),
            MOVED_MEANWHILE,
        )

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See `ports.Cloud`."""
        self.tag_enis((eni_id,), tags)

    def tag_enis(self, eni_ids: tuple[str, ...], tags: Mapping[str, str]) -> None:
        """See `ports.Cloud`."""
        listed: list[Any] = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._api.write("CreateTags", lambda: self._ec2.create_tags(Resources=list(eni_ids), Tags=listed))

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """See `ports.Cloud`.  With AllowReassociation EC2 would take the Elastic IP from whatever has it."""
        self._api.write(
            "AssociateAddress",
            lambda: self._ec2.associate_address(
                AllocationId=allocation_id,
                NetworkInterfaceId=eni_id,
                PrivateIpAddress=str(address),
                AllowReassociation=False,
            ),
        )

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        """See `ports.Cloud`."""
        self._modify(eni_id, Groups=list(groups))

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        """See `ports.Cloud`."""
        self._modify(eni_id, Attachment={"AttachmentId": attachment_id, "DeleteOnTermination": False})

    def check_source(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._modify(eni_id, SourceDestCheck={"Value": True})

    def _modify(self, eni_id: str, **change: Any) -> None:
        self._api.write(
            "ModifyNetworkInterfaceAttribute",
            lambda: self._ec2.modify_network_interface_attribute(NetworkInterfaceId=eni_id, **change),
        )

    def rehearse(
        self,
        eni: Eni | None,
        subnet: Subnet,
        me: str,
        tags: Mapping[str, str],
        targets: Collection[Target],
        needed: frozenset[str],
    ) -> tuple[str, ...]:
        """See `ports.Cloud`.

        In a dry run EC2 checks permissions before anything else.  So a call that could not succeed for another reason,
        such as a detach of an attachment that has just gone, shows all the same whether it is allowed.
        """
        creation = self._creation(None, subnet, tags)
        ec2 = self._ec2
        calls: dict[str, Callable[[], object]] = {
            "CreateNetworkInterface": partial(ec2.create_network_interface, **creation, DryRun=True)
        }
        if eni is not None:
            listed: list[Any] = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
            calls["AttachNetworkInterface"] = partial(
                ec2.attach_network_interface, NetworkInterfaceId=eni.id, InstanceId=me, DeviceIndex=1, DryRun=True
            )
            calls["CreateTags"] = partial(ec2.create_tags, Resources=[eni.id], Tags=listed, DryRun=True)
            # Only with an attachment: a policy that depends on the ENI's tags denies the detach of an attachment that
            # does not exist.
            if "ec2:DetachNetworkInterface" in needed and eni.attachment is not None:
                calls["DetachNetworkInterface"] = partial(
                    ec2.detach_network_interface, AttachmentId=eni.attachment.id, DryRun=True
                )
        rehearsed: list[Callable[[], object]] = [
            partial(self._api.write, action, call) for action, call in calls.items()
        ]
        if eni is not None and "ec2:AssignPrivateIpAddresses" in needed:
            rehearsed.extend(self._move(eni, targets))
        return denied(rehearsed)

    def _move(self, eni: Eni, targets: Collection[Target]) -> Iterator[Callable[[], object]]:
        """Calls that show whether addresses of these kinds may be moved to the ENI.

        EC2 has no dry runs of these, so they are real calls that change nothing: assign the ENI's own primary address
        to it, or unassign a subnet's first IPv6 address from it, which AWS keeps for itself ("Subnet CIDR blocks", VPC
        User Guide).  (A floating address could have come to the ENI by then.)  For AssignIpv6Addresses there is no such
        call.
        """
        ipv6s = [target for target in targets if isinstance(target, IPv6Address)]
        if len(ipv6s) < len(targets) and eni.address is not None:
            yield partial(self.assign, eni.id, eni.address, reassign=False)
        if ipv6s and (first := IPv6Address(int(ipv6s[0]) >> 64 << 64)) not in ipv6s:
            yield partial(self.unassign, eni.id, first)


def _unread(instance_ids: Iterable[str]) -> dict[str, Instance]:
    """These instances, as ones of which nothing could be read."""
    return {instance_id: read_instance({"InstanceId": instance_id}) for instance_id in instance_ids}


def _each_once(enis: Iterable[Eni]) -> tuple[Eni, ...]:
    """Each interface once, though several pages may show it; one that they show differently counts as unread."""
    shown: list[Eni] = []
    for eni in enis:
        if eni not in shown:
            shown.append(eni)
    often = Counter(eni.id for eni in shown if eni.id)
    twice = "it is shown twice, and differently"
    return tuple(replace(eni, unread=eni.unread or twice) if often[eni.id] > 1 else eni for eni in shown)
