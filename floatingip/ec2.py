"""
The Cloud port on boto3: the only module that imports it, and the one place that knows EC2's error codes.

No call is repeated by the SDK: after a timeout nobody knows whether a write happened, so the caller looks again
instead of sending it a second time.  The SDK's own retries can repeat an attach that had succeeded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import boto3
import botocore.config
import botocore.exceptions

from floatingip.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoFreeSlot
from floatingip.model import Address, Attachment, AttachmentStatus, Eni, Instance, InstanceState, Subnet

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef, NetworkInterfaceTypeDef

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 3.0
"""Seconds.  EC2 answers a Describe or an asynchronous write in well under one; these bound a hanging call."""

HIGHEST_DEVICE_INDEX = 15
"""No instance type has more interfaces than this on its first network card."""

_MEANING: Mapping[str, type[CloudError]] = {
    "InvalidNetworkInterface.InUse": LookAgain,
    "InvalidNetworkInterfaceID.NotFound": LookAgain,
    "InvalidAttachmentID.NotFound": LookAgain,
    "InvalidInstanceID.NotFound": LookAgain,
    "InvalidIPAddress.InUse": LookAgain,
    "IncorrectState": LookAgain,
    "IncorrectInstanceState": LookAgain,
    "AttachmentLimitExceeded": NoFreeSlot,
    "RequestLimitExceeded": CloudUnavailable,
    "Throttling": CloudUnavailable,
    "ThrottlingException": CloudUnavailable,
    "InternalError": CloudUnavailable,
    "InternalFailure": CloudUnavailable,
    "ServiceUnavailable": CloudUnavailable,
    "Unavailable": CloudUnavailable,
}

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

    def find_eni(self, address: Address) -> Eni | None:
        """See :class:`floatingip.ports.Cloud`.

        An address is unique in a VPC, so the filter finds one interface at most: one that has it as a secondary
        address too.
        """
        with _meaning("DescribeNetworkInterfaces"):
            answer = self._ec2.describe_network_interfaces(
                Filters=[
                    {"Name": "vpc-id", "Values": [self._vpc_id]},
                    {"Name": "addresses.private-ip-address", "Values": [str(address)]},
                ]
            )
        interfaces = answer["NetworkInterfaces"]
        return _eni(interfaces[0]) if interfaces else None

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DescribeInstances"):
            # A filter, unlike the parameter InstanceIds, is no error when one of them is gone.
            answer = self._ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": sorted(instance_ids)}])
        found = [_instance(item) for reservation in answer["Reservations"] for item in reservation["Instances"]]
        return {instance.id: instance for instance in found}

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("DescribeSubnets"):
            pages = self._ec2.get_paginator("describe_subnets").paginate(
                Filters=[{"Name": "vpc-id", "Values": [self._vpc_id]}]
            )
            subnets = [subnet for page in pages for subnet in page["Subnets"]]
        return tuple(Subnet(s["SubnetId"], ip_network(s["CidrBlock"]), s["AvailabilityZone"]) for s in subnets)

    def create_eni(self, address: Address, subnet: Subnet, tags: Mapping[str, str]) -> Eni:
        """See :class:`floatingip.ports.Cloud`.  The tags are there from the first moment, or the VPC CNI would adopt
        it.
        """
        with _meaning("CreateNetworkInterface"):
            answer = self._ec2.create_network_interface(
                SubnetId=subnet.id,
                PrivateIpAddress=str(address),
                Groups=self._groups,
                Description=f"floating IP {address}",
                TagSpecifications=[
                    {
                        "ResourceType": "network-interface",
                        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
                    }
                ],
            )
        return _eni(answer["NetworkInterface"])

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

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See :class:`floatingip.ports.Cloud`."""
        with _meaning("CreateTags"):
            self._ec2.create_tags(
                Resources=[eni_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )


class _IndexTaken(CloudError):
    """The device index is in use on this instance: the next one may be free."""


@contextmanager
def _meaning(action: str) -> Iterator[None]:
    """Map what botocore raises to what it means for us."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _cloud_error(action, error) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise CloudUnavailable(
            f"{action}: no AWS credentials", "give the pod a role (IRSA, Pod Identity or the node's)"
        ) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise CloudUnavailable(f"{action}: {_one_line(error)}") from error


def _cloud_error(action: str, error: botocore.exceptions.ClientError) -> CloudError:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), _one_line(told.get("Message", ""))
    if code in _DENIALS:
        named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z]+)", message)
        return Denied(named[1] if named else f"ec2:{action}")
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return CloudUnavailable(f"{action}: {code}: {message}")
    if code == "InvalidParameterValue" and "attached at device index" in message:
        return _IndexTaken(f"{action}: {message}")
    if code == "InvalidParameterValue" and re.search(r"currently in use|already in use", message):
        return LookAgain(f"{action}: {code}: {message}")
    kind = _MEANING.get(code, CloudError)
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
        )
    return Eni(
        id=item["NetworkInterfaceId"],
        mac=item["MacAddress"].lower(),
        address=ip_address(item["PrivateIpAddress"]),
        subnet_id=item["SubnetId"],
        zone=item["AvailabilityZone"],
        attachment=bound,
        tags={tag["Key"]: tag["Value"] for tag in item.get("TagSet", [])},
    )


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
    )
