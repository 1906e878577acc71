"""
The Cloud port on boto3: the only module that imports it, and the one place that knows EC2's error codes.

No call is repeated by the SDK: after a timeout nobody knows whether a write happened, so the caller looks again
instead of sending it a second time.  The SDK's own retries can repeat an attach that had succeeded.

Whatever comes in EC2's place is no answer (``_meaning``): what cannot be read proves neither that something is there
nor that it is not, and after a write not that it was done.  See docs/ec2-errors.md.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.session
import botocore.utils

from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    ConfigurationError,
    Denied,
    FloatingIPError,
    LookAgain,
    NoFreeSlot,
    TokenSpent,
)
from floatingip.core.model import (
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
from floatingip.edges.ec2.asking import Asking, interrupt_by
from floatingip.edges.ec2.credentials import Keeper

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef, NetworkInterfaceTypeDef, SubnetTypeDef

CONNECT_TIMEOUT = 2.0
"""Seconds.  What answers at all does so in well under one."""

LONGEST = 20.0
"""Seconds that one answer may take where it is seen to take that long, unless the settings say otherwise."""

PAGE = 1000
"""Interfaces in one answer, the most that EC2 gives."""

MOST_PAGES = 200
"""Answers to one question: what goes on behind them does not end."""

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
    "AuthFailure": CloudUnavailable,
    "ExpiredToken": CloudUnavailable,
    "ExpiredTokenException": CloudUnavailable,
    "IncompleteSignature": CloudUnavailable,
    "InvalidClientTokenId": CloudUnavailable,
    "MissingAuthenticationToken": CloudUnavailable,
    "RequestExpired": CloudUnavailable,
    "SignatureDoesNotMatch": CloudUnavailable,
    "UnrecognizedClientException": CloudUnavailable,
}

_NOT_ACCEPTED = {
    "AuthFailure": "",
    "ExpiredToken": "",
    "ExpiredTokenException": "",
    "IncompleteSignature": "",
    "InvalidClientTokenId": "",
    "MissingAuthenticationToken": "",
    "RequestExpired": "is the node's clock right?",
    "SignatureDoesNotMatch": "is the node's clock right?",
    "UnrecognizedClientException": "",
}

# EC2 has one code for all that is wrong with an address that is to be taken from an ENI, or given to one.
_MOVED_MEANWHILE = {**_MEANING, "InvalidParameterValue": LookAgain}

_DENIALS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})


T = TypeVar("T")
U = TypeVar("U")


ENDPOINTS = ("AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL")

TOLD = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", *ENDPOINTS, "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS")
"""Variables that the SDK reads while a client is made, and that hold no secret."""


def check_environment() -> None:
    """Raise ``ConfigurationError`` for what the SDK could never work with, whoever and wherever this node is."""
    for key in ENDPOINTS:
        url = os.environ.get(key, "")
        if url and not (re.match(r"https?://", url) and botocore.utils.is_valid_endpoint_url(url)):
            raise ConfigurationError(f"{key}: {url!r} in the environment is no URL", f"correct it, or unset {key}")
    with _configuring():
        botocore.session.Session().get_scoped_config()


def client(region: str, longest: float = LONGEST) -> EC2Client:
    """A client of the Region's EC2 endpoint with the credentials of the pod or, without any, of the instance, whenever
    there are some.  An answer may take ``longest`` seconds where it is seen to take that long.

    Raises ``ConfigurationError`` for what the environment says and the SDK cannot use.
    """
    check_environment()
    keeper = Keeper(lambda: _find_credentials(region), _credentials_of_environment())
    with _configuring():
        session = _session(region, longest)
        session.register_component("credential_provider", _Provider(keeper))
        made = boto3.session.Session(botocore_session=session).client("ec2")

    def answered(**call: Any) -> None:
        if call["parsed"].get("Error", {}).get("Code") in _NOT_ACCEPTED:
            keeper.refused()

    made.meta.events.register("after-call.ec2", answered)
    return made


@contextmanager
def _configuring() -> Iterator[None]:
    """Map what the SDK raises for its own configuration: nothing has been asked yet."""
    try:
        yield
    except (botocore.exceptions.BotoCoreError, ValueError, OSError) as error:
        named = ", ".join(f"{key}={os.environ[key]}" for key in TOLD if os.environ.get(key)) or "~/.aws/config"
        raise ConfigurationError(f"the AWS SDK cannot be set up: {_one_line(error)}", f"correct {named}") from error


def _session(region: str, longest: float) -> botocore.session.Session:
    """The SDK, with our timeouts for all that it asks, and connections that can be ended."""
    session = botocore.session.Session()
    session.set_config_variable("region", region)
    config = botocore.config.Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=longest,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
        max_pool_connections=8,
    )
    session.set_default_client_config(config)
    # Times are left as EC2 wrote them, so that none that cannot be read spoils an answer.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    session.register("creating-client-class", _make_endable)
    return session


def _make_endable(**made: Any) -> None:
    made["base_classes"].insert(0, _EndableClient)


class _Endable:
    """A connection that ends when the attempt that uses it is given up."""

    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # a mixin
        # A connection that is used again was made by another attempt.
        interrupt_by(partial(_end, self.sock))

    def request(self, *arguments: Any, **named: Any) -> None:
        if self.sock is not None:
            interrupt_by(partial(_end, self.sock))
        super().request(*arguments, **named)  # type: ignore[misc]  # a mixin


def _end(connected: socket.socket | None) -> None:
    if connected is not None:
        with suppress(OSError):  # it has ended
            # Not the one of an SSLSocket, which would take away what another thread reads from.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _HttpConnection(_Endable, botocore.awsrequest.AWSHTTPConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass


class _HttpsConnection(_Endable, botocore.awsrequest.AWSHTTPSConnection):  # type: ignore[misc]  # a mixin, as theirs
    pass


class _HttpPool(botocore.awsrequest.AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(botocore.awsrequest.AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _EndableClient:
    """Any client of the SDK, with such connections: it has no setting for that."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        pools = cast(Any, self)._endpoint.http_session._pool_classes_by_scheme
        pools.update({"http": _HttpPool, "https": _HttpsPool})


@dataclass(frozen=True, slots=True)
class _Provider:
    """Gives the SDK what a keeper has, instead of what it would look for once."""

    keeper: Keeper[botocore.credentials.ReadOnlyCredentials]

    def load_credentials(self) -> _Provider:
        """It is the credentials, too."""
        return self

    def get_frozen_credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        """For one request."""
        return self.keeper.keys()

    def get_deferred_property(self, _name: str) -> Callable[[], None]:
        """The account, which EC2's endpoint has no use for."""
        return lambda: None


@dataclass(frozen=True, slots=True)
class _Credentials:
    """What the SDK found."""

    keys: botocore.credentials.ReadOnlyCredentials
    source: botocore.credentials.Credentials

    def lasts(self, seconds: float) -> bool:
        """Those of a user last for ever."""
        ends = isinstance(self.source, botocore.credentials.RefreshableCredentials)
        return not ends or not cast(Any, self.source).refresh_needed(refresh_in=seconds)


ROLE_HINT = "give the pod a role (IRSA, Pod Identity or the node's)"


def _credentials_of_environment() -> _Credentials | None:
    """Those that are spelled out there, if all of them are."""
    with suppress(
        botocore.exceptions.BotoCoreError, ValueError
    ):  # whoever needs them looks again, and says what is wrong
        found = botocore.credentials.EnvProvider().load()
        return _Credentials(found.get_frozen_credentials(), found) if found is not None else None
    return None


def _find_credentials(region: str) -> _Credentials:
    """Look wherever the SDK does, anew: it remembers what it did not find."""
    try:
        found = _session(region, LONGEST).get_credentials()
        if found is not None:
            return _Credentials(found.get_frozen_credentials(), found)
    except Exception as error:
        raise CloudUnavailable(f"no AWS credentials: {_one_line(error)}", _credentials_hint(error)) from error
    raise CloudUnavailable("no AWS credentials", ROLE_HINT)


def _credentials_hint(error: Exception) -> str:
    role = os.environ.get("AWS_ROLE_ARN")
    if isinstance(error, botocore.exceptions.ClientError):
        return f"let the role {role or 'of this pod'} trust this pod's service account and cluster"
    if role:
        return f"can {role} be assumed, and is {os.environ.get('AWS_WEB_IDENTITY_TOKEN_FILE')} there?"
    if os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return "does the EKS Pod Identity Agent run on this node?"
    return ROLE_HINT


class Ec2Cloud:
    """EC2 as one VPC shows it; new interfaces get ``security_groups``."""

    def __init__(
        self, ec2: EC2Client, vpc_id: str, security_groups: tuple[str, ...], asking: Asking | None = None
    ) -> None:
        self._ec2 = ec2
        self._vpc_id = vpc_id
        self._groups = list(security_groups)
        self._asking = asking or Asking(cast(Any, ec2.meta.config).read_timeout)
        ec2.meta.events.register("before-parse.ec2", _refuse_what_is_not_ec2s, "floatingip")

    def _ask(self, action: str, call: Callable[[], T], read: Callable[[T], U]) -> U:
        """What ``read`` makes of EC2's answer to a question that changes nothing."""
        with _meaning(action):
            return read(self._asking.ask(action, call, repeatable=True))

    def _write(self, action: str, call: Callable[[], T], codes: Mapping[str, type[CloudError]] | None = None) -> T:
        """EC2's answer to a call that changes something: it is made once."""
        with _meaning(action, codes or _MEANING):
            return self._asking.ask(action, call, repeatable=False)

    def _pages(self, action: str, call: Callable[..., Mapping[str, Any]], key: str, **asked: Any) -> list[Any]:
        """What all of EC2's answers have under ``key``; each of them is a question by itself."""
        found: list[Any] = []
        tokens: list[str] = []
        while len(tokens) < MOST_PAGES:
            page, token = self._ask(
                action,
                partial(call, **asked, **({"NextToken": tokens[-1]} if tokens else {})),
                lambda answer: (answer[key], answer.get("NextToken") or ""),
            )
            found.extend(page)
            if not token:
                return found
            if token in tokens:
                break
            tokens.append(token)
        raise CloudUnavailable(f"{action}: the answer has no end, after {len(tokens) + 1} pages")

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """See `ports.Cloud`.  A filter's value is a pattern to EC2, a name is not."""
        return tuple(eni for eni in self._enis({f"tag:{OWNER_TAG}": [name]}) if eni.tags.get(OWNER_TAG, name) == name)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """See `ports.Cloud`: one question for each family, since EC2 has a filter for each."""
        found: list[Eni] = []
        for version, name in ((4, "addresses.private-ip-address"), (6, "ipv6-addresses.ipv6-address")):
            values = sorted(str(address) for address in addresses if address.version == version)
            if values:
                found.extend(self._enis({name: values}))
        return tuple(found)

    def _enis(self, filters: Mapping[str, list[str]]) -> tuple[Eni, ...]:
        asked: list[FilterTypeDef] = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        asked.extend({"Name": name, "Values": values} for name, values in filters.items())
        items = self._pages(
            "DescribeNetworkInterfaces",
            self._ec2.describe_network_interfaces,
            "NetworkInterfaces",
            Filters=asked,
            MaxResults=PAGE,
        )
        return tuple(map(_eni, items))

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """See `ports.Cloud`.  A filter, unlike the parameter, is no error when there is none."""
        filters: list[FilterTypeDef] = [{"Name": "allocation-id", "Values": [allocation_id]}]
        found = self._ask(
            "DescribeAddresses",
            lambda: self._ec2.describe_addresses(Filters=filters),
            lambda answer: answer["Addresses"],
        )
        for item in found:
            public = item.get("PublicIp") or item.get("CustomerOwnedIp") or ""
            return AllocationFacts(
                allocation_id, public, item.get("NetworkBorderGroup", ""), item.get("NetworkInterfaceId", "")
            )
        return None

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See `ports.Cloud`."""
        # A filter, unlike the parameter InstanceIds, is no error when one of them is gone.
        found = list(map(_instance, self._instances([{"Name": "instance-id", "Values": sorted(instance_ids)}])))
        # One without an id may be any of those that are missing.
        nameless = instance_ids if any(not instance.id for instance in found) else ()
        unread = {instance_id: _instance({"InstanceId": instance_id}) for instance_id in nameless}
        return unread | {instance.id: instance for instance in found if instance.id}

    def find_instance(self, name: str) -> Instance | None:
        """See `ports.Cloud`."""
        key = "private-ip-address" if re.fullmatch(r"[0-9.]+", name) else "private-dns-name"
        # A filter's value is a pattern to EC2: `ip-10-*` is no name.
        items = self._instances([{"Name": "vpc-id", "Values": [self._vpc_id]}, {"Name": key, "Values": [name]}])
        names = [(item.get("PrivateIpAddress"), item.get("PrivateDnsName")) for item in items]
        found = [_instance(item) for item, known_as in zip(items, names, strict=True) if name in known_as]
        return next((instance for instance in found if not instance.state.announces_death), None)

    def _instances(self, filters: list[FilterTypeDef]) -> list[InstanceTypeDef]:
        items = self._pages("DescribeInstances", self._ec2.describe_instances, "Reservations", Filters=filters)
        return [item for reservation in items for item in reservation.get("Instances", [])]

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See `ports.Cloud`."""
        filters = [{"Name": "vpc-id", "Values": [self._vpc_id]}]
        return tuple(
            map(_subnet, self._pages("DescribeSubnets", self._ec2.describe_subnets, "Subnets", Filters=filters))
        )

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """See `ports.Cloud`."""

        def read(answer: Mapping[str, Any]) -> tuple[Network, ...]:
            found = [*answer.get("SubnetIpv4CidrReservations", []), *answer.get("SubnetIpv6CidrReservations", [])]
            return tuple(ip_network(item["Cidr"]) for item in found)

        return self._ask(
            "GetSubnetCidrReservations", lambda: self._ec2.get_subnet_cidr_reservations(SubnetId=subnet_id), read
        )

    def describe_slots(self, instance_type: str) -> int:
        """See `ports.Cloud`."""

        def read(answer: Mapping[str, Any]) -> int:
            network = answer["InstanceTypes"][0]["NetworkInfo"]
            cards = network.get("NetworkCards", [])
            return int(cards[0]["MaximumNetworkInterfaces"] if cards else network["MaximumNetworkInterfaces"])

        # EC2Client's type names every instance type; what EC2 said of an instance is one of them.
        types = [cast(Any, instance_type)]
        return self._ask("DescribeInstanceTypes", lambda: self._ec2.describe_instance_types(InstanceTypes=types), read)

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """See `ports.Cloud`.  The tags are there from the first moment, or the VPC CNI would adopt
        it.
        """
        named: dict[str, Any] = {"ClientToken": token} if token else {}
        creation = self._creation(target, subnet, tags)
        answer = self._write("CreateNetworkInterface", lambda: self._ec2.create_network_interface(**creation, **named))
        with _meaning("CreateNetworkInterface"):
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
        """See `ports.Cloud`: the lowest free index, and the next one when somebody took it
        meanwhile.
        """
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
                answer = self._write("AttachNetworkInterface", call)
            except _IndexTaken:
                continue
            with _meaning("AttachNetworkInterface"):
                return answer["AttachmentId"]
        raise NoFreeSlot(f"{instance_id} has no free device index up to {HIGHEST_DEVICE_INDEX}")

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See `ports.Cloud`."""
        self._write(
            "DetachNetworkInterface",
            lambda: self._ec2.detach_network_interface(AttachmentId=attachment_id, Force=force),
        )

    def delete_eni(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        with suppress(_NoSuchEni):
            self._write("DeleteNetworkInterface", lambda: self._ec2.delete_network_interface(NetworkInterfaceId=eni_id))

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """See `ports.Cloud`."""
        if isinstance(address, IPv6Address):
            self._write(
                "AssignIpv6Addresses",
                lambda: self._ec2.assign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)]),
                _MOVED_MEANWHILE,
            )
            return
        self._write(
            "AssignPrivateIpAddresses",
            lambda: self._ec2.assign_private_ip_addresses(
                NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)], AllowReassignment=reassign
            ),
        )

    def assign_any(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._write(
            "AssignPrivateIpAddresses",
            lambda: self._ec2.assign_private_ip_addresses(NetworkInterfaceId=eni_id, SecondaryPrivateIpAddressCount=1),
        )

    def unassign(self, eni_id: str, address: Address) -> None:
        """See `ports.Cloud`."""
        if isinstance(address, IPv6Address):
            self._write(
                "UnassignIpv6Addresses",
                lambda: self._ec2.unassign_ipv6_addresses(NetworkInterfaceId=eni_id, Ipv6Addresses=[str(address)]),
                _MOVED_MEANWHILE,
            )
            return
        self._write(
            "UnassignPrivateIpAddresses",
            lambda: self._ec2.unassign_private_ip_addresses(
                NetworkInterfaceId=eni_id, PrivateIpAddresses=[str(address)]
            ),
            _MOVED_MEANWHILE,
        )

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See `ports.Cloud`."""
        listed: list[Any] = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._write("CreateTags", lambda: self._ec2.create_tags(Resources=[eni_id], Tags=listed))

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """See `ports.Cloud`: AllowReassociation is off, or EC2 would take it from whoever has it."""
        self._write(
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
        self._write(
            "ModifyNetworkInterfaceAttribute",
            lambda: self._ec2.modify_network_interface_attribute(NetworkInterfaceId=eni_id, **change),
        )

    def rehearse(
        self, eni: Eni | None, subnet: Subnet, me: str, tags: Mapping[str, str], target: Target, carry: Carry
    ) -> tuple[str, ...]:
        """See `ports.Cloud`.

        EC2 checks permissions before anything else of a dry run, so a call that could not succeed otherwise, such as a
        detach of an attachment that has just gone, shows just as well whether it is allowed.
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
            # A policy that depends on the ENI's tags denies a detach of what does not exist.
            if carry is Carry.ENI and eni.attachment is not None:
                calls["DetachNetworkInterface"] = partial(
                    ec2.detach_network_interface, AttachmentId=eni.attachment.id, DryRun=True
                )
        rehearsed: list[Callable[[], object]] = [partial(self._write, action, call) for action, call in calls.items()]
        if eni is not None and carry is Carry.ADDRESS:
            rehearsed.extend(self._move(eni, target))
        return _denied(rehearsed)

    def _move(self, eni: Eni, target: Target) -> Iterator[Callable[[], object]]:
        """What shows whether the address may be moved to the ENI.

        These have no dry run, so EC2 is asked for what changes nothing: to give the ENI its own primary address, or to
        take an IPv6 address from it that it does not have.  AssignIpv6Addresses has no such call.
        """
        if isinstance(target, IPv6Address):
            if target not in eni.ipv6s:
                yield partial(self.unassign, eni.id, target)
        elif eni.address is not None:
            yield partial(self.assign, eni.id, eni.address, reassign=False)


def _denied(calls: Iterable[Callable[[], object]]) -> tuple[str, ...]:
    """The IAM actions that the dry runs show denied."""
    denied: list[str] = []
    for call in calls:
        try:
            call()
        except Denied as error:
            denied.append(error.action)
        except CloudUnavailable:
            raise
        except CloudError:
            # Allowed: a dry run that would succeed is an error too, DryRunOperation.
            continue
    return tuple(denied)


class _NotEc2sError(Exception):
    """Something else answered in EC2's place: a proxy, a load balancer, a captive page."""


_ROOT = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?<(\w+)[\s/>]")


def _refuse_what_is_not_ec2s(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:
    """Called with each answer before the SDK reads it: it takes any well-formed page for one without any fields."""
    status, body = response_dict["status_code"], response_dict["body"] or b""
    root = _ROOT.match(body)
    name = root[1].decode() if root else ""
    if status < 300:
        # The SDK does not even look at a body of which it needs nothing, such as the half of one.
        is_whole = body.rstrip().endswith(f"</{name}>".encode())
        is_ec2s = name == f"{operation_model.name}Response" and is_whole and b"<return>false</return>" not in body
    else:
        is_ec2s = name in ("Response", "ErrorResponse") and b"<Code>" in body
    if not is_ec2s:
        said = body[:EXCERPT].decode("utf-8", "replace")
        raise _NotEc2sError(f"HTTP {status} with {said!r}" if said else f"HTTP {status} with nothing")


EXCERPT = 60
"""Bytes that are told of an answer that is not EC2's."""


class _IndexTaken(CloudError):
    """The device index is in use on this instance: the next one may be free."""


@contextmanager
def _meaning(action: str, codes: Mapping[str, type[CloudError]] = _MEANING) -> Iterator[None]:
    """Map whatever is raised while EC2 is called, and its answer read, to what it means for us.

    Anything may be: the SDK passes on what its HTTP library, its parsers and its credentials' sources raise.
    """
    try:
        yield
    except FloatingIPError:
        raise
    except botocore.exceptions.ClientError as error:
        raise _cloud_error(action, error, codes) from error
    except botocore.exceptions.NoCredentialsError as error:
        raise CloudUnavailable(f"{action}: no AWS credentials", ROLE_HINT) from error
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise CloudUnavailable(f"{action}: {_one_line(error)}") from error
    except _NotEc2sError as error:
        hint = "something answers in EC2's place; is there a proxy (HTTPS_PROXY), or an endpoint that is not EC2's?"
        raise CloudUnavailable(f"{action}: {error}", hint) from error
    except Exception as error:
        said = f"{type(error).__name__}: {_one_line(error)}"
        raise CloudUnavailable(f"{action}: the answer cannot be read: {said[:MOST_TOLD]}") from error


MOST_TOLD = 200
"""Characters that are told of what a library says, which may quote a whole answer."""


def _cloud_error(
    action: str, error: botocore.exceptions.ClientError, codes: Mapping[str, type[CloudError]]
) -> CloudError:
    told = error.response.get("Error", {})
    code, message = told.get("Code") or "", _one_line(told.get("Message") or "")
    if code in _DENIALS:
        named = re.search(r"perform:? ([a-z0-9-]+:[A-Za-z0-9]+)", message)
        return Denied(named[1] if named else f"ec2:{action}")
    if code in _NOT_ACCEPTED:
        hint = _NOT_ACCEPTED[code] or "AWS does not accept the credentials of this pod's role; others are looked for"
        return CloudUnavailable(f"{action}: {code}: {message}", hint)
    if not code or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return CloudUnavailable(f"{action}: {code}: {message}")
    if code == "InvalidParameterValue" and "attached at device index" in message:
        return _IndexTaken(f"{action}: {message}")
    if code == "InvalidParameterValue" and re.search(r"currently in use|already in use", message):
        return LookAgain(f"{action}: {code}: {message}")
    kind = codes.get(code, CloudError)
    return kind(f"{action}: {code}: {message}")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _wall(shown: object) -> float | None:
    """A time in Unix seconds; None where there is none, or it cannot be read.  Our client leaves it as EC2 wrote it."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(str(shown)).timestamp()
    return None


def _eni(item: NetworkInterfaceTypeDef) -> Eni:
    """As much of it as can be read; ``unread`` says what else there is."""
    unread: list[str] = []

    def read(what: str, convert: Callable[[Any], T], value: object) -> T | None:
        try:
            return convert(value)
        except (KeyError, TypeError, ValueError):
            unread.append(f"{what} {_one_line(value)[:EXCERPT]!r}")
            return None

    unread.extend(f"no {key}" for key in ("NetworkInterfaceId", "MacAddress", "SubnetId") if not item.get(key))
    shown, bound = item.get("Attachment") or {}, None
    if shown:
        status = read("attachment's status", AttachmentStatus, shown.get("Status"))
        if status is not None and read("attachment's id", lambda attachment: attachment["AttachmentId"], shown):
            bound = Attachment(
                id=shown["AttachmentId"],
                # An interface of a managed service shows an attachment without an instance of ours.
                instance_id=shown.get("InstanceId", ""),
                device_index=shown.get("DeviceIndex", 0),
                status=status,
                since_wall=_wall(shown.get("AttachTime")),
            )
    # In an IPv6-only subnet there is none.
    primary = read("address", IPv4Address, item["PrivateIpAddress"]) if item.get("PrivateIpAddress") else None
    others = [
        read("address", IPv4Address, entry.get("PrivateIpAddress"))
        for entry in item.get("PrivateIpAddresses", [])
        if not entry.get("Primary", False)
    ]
    ipv6s = [read("address", IPv6Address, entry.get("Ipv6Address")) for entry in item.get("Ipv6Addresses", [])]
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
        delete_on_termination=bool(shown.get("DeleteOnTermination", False)),
        unread=", ".join(unread),
    )


def _tags(items: Iterable[Any]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in items if "Key" in tag}


def _elastic(item: NetworkInterfaceTypeDef, primary: IPv4Address | None) -> dict[IPv4Address, str]:
    """Allocation ids by private address: that of the primary one stands beside the addresses, too."""
    found: dict[IPv4Address, Any] = {}
    for entry in item.get("PrivateIpAddresses", []):
        with suppress(ValueError):  # what it is cannot be read, and that has been noted
            found[IPv4Address(entry.get("PrivateIpAddress"))] = entry.get("Association", {})
    if primary is not None:
        found[primary] = found.get(primary) or item.get("Association", {})
    return {address: shown["AllocationId"] for address, shown in found.items() if "AllocationId" in shown}


def _subnet(item: SubnetTypeDef) -> Subnet:
    """A network that cannot be read is none of those that are known."""
    blocks = [item.get("CidrBlock"), *(b.get("Ipv6CidrBlock") for b in item.get("Ipv6CidrBlockAssociationSet", []))]
    networks: list[Network] = []
    unread = "" if item.get("SubnetId") and item.get("AvailabilityZone") else "no id, or no zone"
    for block in filter(None, blocks):
        try:
            networks.append(ip_network(block))
        except ValueError:
            unread = f"network {_one_line(block)[:EXCERPT]!r}"
    return Subnet(
        item.get("SubnetId", ""),
        tuple(networks),
        item.get("AvailabilityZone", ""),
        item.get("OutpostArn", ""),
        unread=unread,
    )


def _instance(item: InstanceTypeDef) -> Instance:
    """As much of it as can be read; a state that is none of EC2's says nothing."""
    state, address = item.get("State", {}).get("Name"), None
    with suppress(ValueError):  # then nobody can be asked there
        address = ip_address(item["PrivateIpAddress"]) if item.get("PrivateIpAddress") else None
    return Instance(
        id=item.get("InstanceId", ""),
        state=InstanceState(state) if state in tuple(InstanceState) else InstanceState.UNREAD,
        address=address,
        zone=item.get("Placement", {}).get("AvailabilityZone", ""),
        device_indexes=frozenset(
            interface["Attachment"]["DeviceIndex"]
            for interface in item.get("NetworkInterfaces", [])
            if "DeviceIndex" in interface.get("Attachment", {})
            and interface["Attachment"].get("NetworkCardIndex", 0) == 0
        ),
        tags=_tags(item.get("Tags", [])),
        type=item.get("InstanceType", ""),
        outpost=item.get("OutpostArn", ""),
    )
