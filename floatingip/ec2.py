"""
The Cloud port on boto3: the only module that imports it, and the one place that knows EC2's error codes.

No call is repeated by the SDK: after a timeout nobody knows whether a write happened, so the caller looks again
instead of sending it a second time.  The SDK's own retries can repeat an attach that had succeeded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.config
import botocore.exceptions

from floatingip.errors import AddressTaken, CloudError, CloudUnavailable, Denied, LookAgain, NoFreeSlot, TokenSpent
from floatingip.model import (
    OWNER_TAG,
    Address,
    AllocationFacts,
    Attachment,
    AttachmentStatus,
    Carry,
    Eni,
    Instance,
    InstanceState,
    Network,
    Subnet,
    Target,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, NetworkInterfaceTypeDef, SubnetTypeDef

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 3.0
"""Seconds.  EC2 answers a Describe or an asynchronous write in well under one; these bound a hanging call."""

PAGE = 1000
"""Interfaces in one answer, the most that EC2 gives."""

HIGHEST_DEVICE_INDEX = 15
"""No instance type has more interfaces than this on its first network card."""


class _NoSuchEni(LookAgain):
    """The interface is gone, or not visible yet."""


_MEANING: Mapping[str, type[CloudError]] = {
    "InvalidNetworkInterface.InUse": LookAgain,
    "InvalidNetworkInterfaceID.NotFound": _NoSuchEni,
    "InvalidAttachmentID.NotFound": LookAgain,
    "InvalidInstanceID.NotFound": LookAgain,
    "InvalidIPAddress.InUse": LookAgain,
    "IncorrectState": LookAgain,
    "IncorrectInstanceState": LookAgain,
    "IdempotentParameterMismatch": TokenSpent,
    "Resource.AlreadyAssigned": LookAgain,
    "Resource.AlreadyAssociated": AddressTaken,
    "InvalidIPAddress.AlreadyAssociated": AddressTaken,
    "AttachmentLimitExceeded": NoFreeSlot,
    "PrivateIpAddressLimitExceeded": NoFreeSlot,
    "RequestLimitExceeded": CloudUnavailable,
    "Throttling": CloudUnavailable,
    "ThrottlingException": CloudUnavailable,
    "InternalError": CloudUnavailable,
    "InternalFailure": CloudUnavailable,
    "ServiceUnavailable": CloudUnavailable,
    "Unavailable": CloudUnavailable,
}

# EC2 has one code for all that is wrong with an address that is to be taken from an ENI, or given to one.
_MOVED_MEANWHILE = {**_MEANING, "InvalidParameterValue": LookAgain}

_DENIALS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})


def client(region: str) -> EC2Client:
    """A client of the Region's EC2 endpoint with the credentials of the pod or, without any, of the instance."""
    config = botocore.config.Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
        max_pool_connections=4,
    )
    return boto3.session.Session(region_name=region).client("ec2", config=config)


class Ec2Cloud:
    """EC2 as one VPC shows it; new interfaces get ``security_groups``."""

    def __init__(self, ec2: EC2Client, vpc_id: str, security_groups: tuple[str, ...]) -> None:
        self._ec2 = ec2
        self._vpc_id = vpc_id
        self._groups = list(security_groups)

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """See :class:`floatingip.ports.Cloud`.  A filter's value is a pattern to EC2, a name is not."""
        found = self._enis("DescribeNetworkInterfaces", {f"tag:{OWNER_TAG}": [name]})
        return tuple(eni for eni in found if eni.tags.get(OWNER_TAG) == name)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """See :class:`floatingip.ports.Cloud`: one question for each family, since EC2 has a filter for each."""
        found: list[Eni] = []
        for version, name in ((4, "addresses.private-ip-address"), (6, "ipv6-addresses.ipv6-address")):
            values = sorted(str(address) for address in addresses if address.version == version)
            if values:
                found.extend(self._enis("DescribeNetworkInterfaces", {name: values}))
        return tuple(found)

    def _enis(self, action: str, filters: Mapping[str, list[str]]) -> tuple[Eni, ...]:
        asked: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        asked.extend({"Name": name, "Values": values} for name, values in filters.items())
        with _meaning(action):
            pages = self._ec2.get_paginator("describe_network_interfaces").paginate(
                Filters=asked, PaginationConfig={"PageSize": PAGE}
            )
            return tuple(_eni(item) for page in pages for item in page["NetworkInterfaces"])

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """See :class:`floatingip.ports.Cloud`.  A filter, unlike the parameter, is no error when there is none."""
        with _meaning("DescribeAddresses"):
            answer = self._ec2.describe_addresses(Filters=[{"Name": "allocation-id", "Values": [allocation_id]}])
        for item in answer["Addresses"]:
            public = item.get("PublicIp") or item.get("CustomerOwnedIp") or ""
            return AllocationFacts(
                allocation_id, public, item.get("NetworkBorderGroup", ""), item.get("NetworkInterfaceId", "")
            )
        return None

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DescribeInstances"):
            # A filter, unlike the parameter InstanceIds, is no error when one of them is gone.
            answer = self._ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": sorted(instance_ids)}])
        found = [_instance(item) for reservation in answer["Reservations"] for item in reservation["Instances"]]
        return {instance.id: instance for instance in found}

    def find_instance(self, name: str) -> Instance | None:
        """See :class:`floatingip.ports.Cloud`."""
        key = "private-ip-address" if re.fullmatch(r"[0-9.]+", name) else "private-dns-name"
        filters: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [self._vpc_id]}, {"Name": key, "Values": [name]}]
        with _meaning("DescribeInstances"):
            answer = self._ec2.describe_instances(Filters=filters)
        items = [item for reservation in answer["Reservations"] for item in reservation["Instances"]]
        # A filter's value is a pattern to EC2: `ip-10-*` is no name.
        found = [
            _instance(item) for item in items if name in (item.get("PrivateIpAddress"), item.get("PrivateDnsName"))
        ]
        return next((instance for instance in found if not instance.state.announces_death), None)

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DescribeSubnets"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(
                Filters=[{"Name": "vpc-id", "Values": [self._vpc_id]}]
            )
            subnets = [subnet for page in pages for subnet in page["Subnets"]]
        return tuple(_subnet(item) for item in subnets)

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("GetSubnetCidrReservations"):
            answer = self._ec2.get_subnet_cidr_reservations(SubnetId=subnet_id)
        found = [*answer.get("SubnetIpv4CidrReservations", []), *answer.get("SubnetIpv6CidrReservations", [])]
        return tuple(ip_network(item["Cidr"]) for item in found)

    def describe_slots(self, instance_type: str) -> int:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DescribeInstanceTypes"):
            # EC2Client's type names every instance type; what EC2 said of an instance is one of them.
            answer = self._ec2.describe_instance_types(InstanceTypes=[cast(Any, instance_type)])
        network = answer["InstanceTypes"][0]["NetworkInfo"]
        cards = network.get("NetworkCards", [])
        return cards[0]["MaximumNetworkInterfaces"] if cards else network["MaximumNetworkInterfaces"]

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """See :class:`floatingip.ports.Cloud`.  The tags are there from the first moment, or the VPC CNI would adopt
        it.
        """
        named: dict[str, Any] = {"ClientToken": token} if token else {}
        with _meaning("CreateNetworkInterface"):
            answer = self._ec2.create_network_interface(**self._creation(target, subnet, tags), **named)
        return _eni(answer["NetworkInterface"])

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
        """See :class:`floatingip.ports.Cloud`: the lowest free index, and the next one when somebody took it
        meanwhile.
        """
        for index in range(1, HIGHEST_DEVICE_INDEX + 1):
            if index in taken:
                continue
            try:
                with _meaning("AttachNetworkInterface"):
                    answer = self._ec2.attach_network_interface(
                        NetworkInterfaceId=eni_id, InstanceId=instance_id, DeviceIndex=index, NetworkCardIndex=0
                    )
            except _IndexTaken:
                continue
            return answer["AttachmentId"]
        raise NoFreeSlot(f"{instance_id} has no free device index up to {HIGHEST_DEVICE_INDEX}")

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DetachNetworkInterface"):
            self._ec2.detach_network_interface(AttachmentId=attachment_id, Force=force)

    def delete_eni(self, eni_id: str) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        try:
            with _meaning("DeleteNetworkInterface"):
                self._ec2.delete_network_interface(NetworkInterfaceId=eni_id)
        except _NoSuchEni:
            return

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        if isinstance(address, IPv6Address):
            with _meaning("AssignIpv6Addresses", _MOVED_MEANWHILE):
                self._ec2.assign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)])
            return
        with _meaning("AssignPrivateIpAddresses"):
            self._ec2.assign_private_ip_addresses(
                NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)], AllowReassignment=reassign
            )

    def assign_any(self, eni_id: str) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("AssignPrivateIpAddresses"):
            self._ec2.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=1)

    def unassign(self, eni_id: str, address: Address) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        if isinstance(address, IPv6Address):
            with _meaning("UnassignIpv6Addresses", _MOVED_MEANWHILE):
                self._ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)])
            return
        with _meaning("UnassignPrivateIpAddresses", _MOVED_MEANWHILE):
            self._ec2.unassign_private_ip_addresses(NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)])

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("CreateTags"):
            self._ec2.create_tags(
                Resources=[eni_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """See :class:`floatingip.ports.Cloud`: AllowReassociation is off, or EC2 would take it from whoever has it."""
        with _meaning("AssociateAddress"):
            self._ec2.associate_address(
                AllocationId=allocation_id,
                NetworkInterfaceId=eni_id,
                PrivateIpAddress=str(address),
                AllowReassociation=False,
            )

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("ModifyNetworkInterfaceAttribute"):
            self._ec2.modify_network_interface_attribute(NetworkInterfaceId=eni_id, Groups=list(groups))

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("ModifyNetworkInterfaceAttribute"):
            self._ec2.modify_network_interface_attribute(
                NetworkInterfaceId=eni_id, Attachment={"AttachmentId": attachment_id, "DeleteOnTermination": False}
            )

    def check_source(self, eni_id: str) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("ModifyNetworkInterfaceAttribute"):
            self._ec2.modify_network_interface_attribute(NetworkInterfaceId=eni_id, SourceDestCheck={"Value": True})

    def rehearse(
        self, eni: Eni | None, subnet: Subnet, me: str, tags: Mapping[str, str], target: Target, carry: Carry
    ) -> tuple[str, ...]:
        """See :class:`floatingip.ports.Cloud`.

        EC2 checks permissions before anything else of a dry run, so a call that could not succeed otherwise, such as a
        detach of an attachment that has just gone, shows just as well whether it is allowed.
        """
        creation = self._creation(None, subnet, tags)
        calls: dict[str, Callable[[], object]] = {
            "CreateNetworkInterface": lambda: self._ec2.create_network_interface(**creation, DryRun=True)
        }
        if eni is not None:
            listed: list[Any] = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
            calls["AttachNetworkInterface"] = lambda: self._ec2.attach_network_interface(
                NetworkInterfaceId=eni.id, InstanceId=me, DeviceIndex=1, DryRun=True
            )
            calls["CreateTags"] = lambda: self._ec2.create_tags(Resources=[eni.id], Tags=listed, DryRun=True)
            calls |= self._detach(eni) if carry is Carry.ENI else self._move(eni, target)
        return _denied(calls)

    def _detach(self, eni: Eni) -> dict[str, Callable[[], object]]:
        """The dry run of the call that takes the address from its holder, by action."""
        if eni.attachment is None:
            # A policy that depends on the ENI's tags denies a detach of what does not exist.
            return {}
        attachment_id = eni.attachment.id
        return {
            "DetachNetworkInterface": lambda: self._ec2.detach_network_interface(
                AttachmentId=attachment_id, DryRun=True
            )
        }

    def _move(self, eni: Eni, target: Target) -> dict[str, Callable[[], object]]:
        """What shows whether the address may be moved to the ENI, by action.

        These have no dry run, so EC2 is asked for what changes nothing: to give the ENI its own primary address, or to
        take an IPv6 address from it that it does not have.  AssignIpv6Addresses has no such call.
        """
        if isinstance(target, IPv6Address):
            return {} if target in eni.ipv6s else {"UnassignIpv6Addresses": lambda: self.unassign(eni.id, target)}
        return {"AssignPrivateIpAddresses": lambda: self.assign(eni.id, eni.address, reassign=False)}


def _denied(calls: Mapping[str, Callable[[], object]]) -> tuple[str, ...]:
    """The IAM actions that the dry runs show denied."""
    denied: list[str] = []
    for action, call in calls.items():
        try:
            with _meaning(action):
                call()
        except Denied as error:
            denied.append(error.action)
        except CloudUnavailable:
            raise
        except CloudError:
            # Allowed: a dry run that would succeed is an error too, DryRunOperation.
            continue
    return tuple(denied)


class _IndexTaken(CloudError):
    """The device index is in use on this instance: the next one may be free."""


@contextmanager
def _meaning(action: str, codes: Mapping[str, type[CloudError]] = _MEANING) -> Iterator[None]:
    """Map what botocore raises to what it means for us."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _cloud_error(action, error, codes) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise CloudUnavailable(
            f"{action}: no AWS credentials", "give the pod a role (IRSA, Pod Identity or the node's)"
        ) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise CloudUnavailable(f"{action}: {_one_line(error)}") from error


def _cloud_error(
    action: str, error: botocore.exceptions.ClientError, codes: Mapping[str, type[CloudError]]
) -> CloudError:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), _one_line(told.get("Message", ""))
    if code in _DENIALS:
        named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z0-9]+)", message)
        return Denied(named[1] if named else f"ec2:{action}")
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return CloudUnavailable(f"{action}: {code}: {message}")
    if code == "InvalidParameterValue" and "attached at device index" in message:
        return _IndexTaken(f"{action}: {message}")
    if code == "InvalidParameterValue" and re.search(r"currently in use|already in use", message):
        return LookAgain(f"{action}: {code}: {message}")
    kind = codes.get(code, CloudError)
    return kind(f"{action}: {code}: {message}")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _eni(item: NetworkInterfaceTypeDef) -> Eni:
    attachment = item.get("Attachment")
    bound = None
    if attachment and attachment.get("AttachmentId"):
        bound = Attachment(
            id=attachment["AttachmentId"],
            # An interface of a managed service shows an attachment without an instance of ours.
            instance_id=attachment.get("InstanceId", ""),
            device_index=attachment.get("DeviceIndex", 0),
            status=AttachmentStatus(attachment["Status"]),
            since_wall=attached_at.timestamp() if (attached_at := attachment.get("AttachTime")) else None,
        )
    return Eni(
        id=item["NetworkInterfaceId"],
        mac=item["MacAddress"].lower(),
        address=IPv4Address(item["PrivateIpAddress"]),
        subnet_id=item["SubnetId"],
        zone=item["AvailabilityZone"],
        attachment=bound,
        tags={tag["Key"]: tag["Value"] for tag in item.get("TagSet", [])},
        secondary=tuple(
            IPv4Address(entry["PrivateIpAddress"])
            for entry in item.get("PrivateIpAddresses", [])
            if not entry.get("Primary", False)
        ),
        ipv6s=tuple(IPv6Address(entry["Ipv6Address"]) for entry in item.get("Ipv6Addresses", [])),
        elastic=_elastic(item),
        security_groups=tuple(sorted(group["GroupId"] for group in item.get("Groups", []))),
        source_check=item.get("SourceDestCheck", True),
        delete_on_termination=bool(attachment and attachment.get("DeleteOnTermination", False)),
    )


def _elastic(item: NetworkInterfaceTypeDef) -> dict[IPv4Address, str]:
    """Allocation ids by private address: that of the primary one stands beside the addresses, too."""
    found = {entry["PrivateIpAddress"]: entry.get("Association", {}) for entry in item.get("PrivateIpAddresses", [])}
    found[item["PrivateIpAddress"]] = found.get(item["PrivateIpAddress"]) or item.get("Association", {})
    return {IPv4Address(address): shown["AllocationId"] for address, shown in found.items() if "AllocationId" in shown}


def _subnet(item: SubnetTypeDef) -> Subnet:
    networks: list[Network] = [ip_network(item["CidrBlock"])] if item.get("CidrBlock") else []
    networks += [ip_network(block["Ipv6CidrBlock"]) for block in item.get("Ipv6CidrBlockAssociationSet", [])]
    return Subnet(item["SubnetId"], tuple(networks), item["AvailabilityZone"], item.get("OutpostArn", ""))


def _instance(item: InstanceTypeDef) -> Instance:
    address = item.get("PrivateIpAddress")
    return Instance(
        id=item["InstanceId"],
        state=InstanceState(item["State"]["Name"]),
        address=ip_address(address) if address else None,
        zone=item["Placement"]["AvailabilityZone"],
        device_indexes=frozenset(
            interface["Attachment"]["DeviceIndex"]
            for interface in item.get("NetworkInterfaces", [])
            if "Attachment" in interface and interface["Attachment"].get("NetworkCardIndex", 0) == 0
        ),
        tags={tag["Key"]: tag["Value"] for tag in item.get("Tags", [])},
        type=item.get("InstanceType", ""),
        outpost=item.get("OutpostArn", ""),
    )
