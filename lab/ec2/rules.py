"""
What EC2 enforces about ENIs and moto does not.

A World holds the state that moto has no place for and implements the ENI calls; `install` routes moto's handlers to it.
Unpatched, moto lets two instances win the same ENI.  tests/lab/test_ec2_canaries.py shows for each rule that moto still
lacks it, so that an upgrade of moto shows which parts of this module can go.

Patches are global to the process, worlds are not: each has an AWS account of its own, and an account without a world
gets moto as it is.  All of this runs under the world's lock.

Life of an attachment, with the delays of the profile; a detach is also accepted while attaching:

    attaching -> attached -> detaching -> gone
                          (the guest has the device from `device` after attached until gone)

A dry run is answered before the state is looked at, but not for what does not exist (unverified).

The source of the rules and error codes is aws-facts.md, section 1, unless a line says otherwise.
"""

import copy
import functools
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError, InvalidNetworkInterfaceIdError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, StateReason
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses.elastic_ip_addresses import ElasticIPAddresses
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces
from moto.ec2.utils import add_tag_specification

from lab.ec2.addresses import Addresses, all_addresses, canonical, ipv4_addresses, networks
from lab.ec2.elastic import ElasticIps
from lab.ec2.filters import Values, page, select
from lab.ec2.profiles import Guest, Profile

Record = Callable[[dict[str, Any]], None]
"""Takes one event of the history; called from many threads."""

SNAPSHOTS = 200
"""How many past states of an instance's interfaces are remembered for an IMDS that lags."""


class Devices(Protocol):
    """
    The machines as EC2 sees them: where ENIs appear and vanish.

    Called under EC2's lock: an implementation must be quick, and must not wait for another thread that asks EC2.
    The primary ENI of an instance is never plugged or unplugged, it comes and goes with the machine.
    """

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """
        Make the ENI's device appear in the guest.

        addresses: its private addresses, the primary one first, and then its IPv6 addresses; others come by assign.
        """

    def unplug(self, eni_id: str) -> None:
        """Take the device away, whatever the guest does."""

    def assign(self, eni_id: str, address: str) -> None:
        """Lead what is sent to the private address to an ENI that a guest has, and to no other."""

    def unassign(self, eni_id: str, address: str) -> None:
        """Lead what is sent to the private address no longer to this ENI, which a guest has."""

    def associate(self, public: str, private: str) -> None:
        """Lead what is sent to the Elastic IP `public` to `private`, and no longer to where it was led before."""

    def disassociate(self, public: str) -> None:
        """Lead what is sent to the Elastic IP nowhere."""

    def shut_down(self, instance_id: str) -> float:
        """
        Press the power button: the instance is being terminated or stopped.  Must return at once; the guest ends by
        itself.  The answer is for how many seconds more than a moment it holds its end up.
        """

    def boot(self, instance_id: str) -> None:
        """Press the power button of an instance that is off.  Must return at once."""

    def reboot(self, instance_id: str) -> None:
        """Let the guest end and start again, as by Ctrl-Alt-Del.  Must return at once."""

    def guest(self, instance_id: str) -> Guest:
        """How the guest answers a hot unplug at this moment."""


class NoDevices:
    """Machines that are always well and of which nothing is to be seen."""

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """Nothing to do."""

    def unplug(self, eni_id: str) -> None:
        """Nothing to do."""

    def assign(self, eni_id: str, address: str) -> None:
        """Nothing to do."""

    def unassign(self, eni_id: str, address: str) -> None:
        """Nothing to do."""

    def associate(self, public: str, private: str) -> None:
        """Nothing to do."""

    def disassociate(self, public: str) -> None:
        """Nothing to do."""

    def shut_down(self, instance_id: str) -> float:  # noqa: ARG002  # the protocol names it
        """Every guest ends in a moment."""
        return 0.0

    def boot(self, instance_id: str) -> None:
        """Nothing to do."""

    def reboot(self, instance_id: str) -> None:
        """Nothing to do."""

    def guest(self, instance_id: str) -> Guest:  # noqa: ARG002  # the protocol names it
        """Every guest runs."""
        return Guest.RUNNING


class Status(StrEnum):
    """Attachment.Status; `detached` is never shown by EC2, since the attachment is gone then, but by the history."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"


@dataclass(frozen=True)
class Interface:
    """One attached ENI of an instance, as its IMDS describes it; `addresses` are the IPv4 ones."""

    eni_id: str
    mac: str
    device_index: int
    subnet_id: str
    subnet_cidr: str
    vpc_id: str
    security_group_ids: tuple[str, ...]
    addresses: tuple[str, ...]
    ipv6_addresses: tuple[str, ...] = ()
    subnet_ipv6_cidrs: tuple[str, ...] = ()


class World:
    """
    The rules of one account: one per endpoint.

    `after(delay, action)` performs the action under the lock, `delay` seconds later or, when that is zero, at once.
    """

    def __init__(
        self,
        *,
        account: str,
        region: str,
        profile: Profile,
        devices: Devices,
        record: Record,
        after: Callable[[float, Callable[[], None]], None],
        rng: random.Random,
    ) -> None:
        self.account = account
        self.region = region
        self.profile = profile
        self.devices = devices
        self.record = record
        self.after = after
        self.rng = rng
        self.backend: EC2Backend = ec2_backends[account][region]
        self.elastic = ElasticIps(self)
        self.addresses = Addresses(self)
        self._statuses: dict[str, Status] = {}
        self._forced: set[str] = set()
        self._plugged: set[str] = set()
        self._tokens: dict[str, tuple[str, NetworkInterface]] = {}
        self._seen: dict[str, deque[tuple[float, tuple[Interface, ...]]]] = {}

    @property
    def state(self) -> tuple[dict[str, Any], ...]:
        """All that a Describe shows; setting it replaces what EC2 knows."""
        return self.backend.__dict__, self._statuses, self.elastic.allocations

    @state.setter
    def state(self, state: tuple[dict[str, Any], ...]) -> None:
        # moto's responses find the backend by account and Region, so that one object must stay.
        self.backend.__dict__, self._statuses, self.elastic.allocations = state

    def copy_state(self) -> tuple[dict[str, Any], ...]:
        """The state as it is now, whatever changes later."""
        # moto's things refer to their backend: only a copy of the backend itself copies everything once.
        backend, others = copy.deepcopy((self.backend, self.state[1:]))
        copied: tuple[dict[str, Any], ...] = (backend.__dict__, *others)
        return copied

    def interfaces(self, instance_id: str, at: float) -> tuple[Interface, ...]:
        """The attached ENIs of the instance as they were at the time `at` of the monotonic clock."""
        shown: tuple[Interface, ...] = ()
        for since, interfaces in self._seen.get(instance_id, ()):
            if since > at:
                break
            shown = interfaces
        return shown

    def status(self, eni: NetworkInterface) -> Status:
        """The status of the ENI's attachment; moto's own attachments (primary ENIs) are simply attached."""
        return self._statuses.get(str(eni.attachment_id), Status.ATTACHED)

    def is_in_guest(self, eni: NetworkInterface) -> bool:
        """Whether a machine has the ENI's device; the primary one it has without being told."""
        return eni.id in self._plugged or (eni.instance is not None and eni.device_index == 0)

    def attachment(self, eni: NetworkInterface) -> Attachment | None:
        """The ENI's attachment, if any, for moto to serialise."""
        if eni.attachment_id is None:
            return None
        attachment = Attachment(eni)
        attachment.status = self.status(eni)
        return attachment

    def adopt(
        self, eni: NetworkInterface, secondary_addresses: Iterable[str] = (), ipv6_addresses: Iterable[str] = ()
    ) -> None:
        """Give an ENI that moto has made its MAC, names, and further addresses."""
        eni.mac_address = "02:" + ":".join(f"{self.rng.randrange(256):02x}" for _ in range(5))
        eni.private_dns_name = self.addresses.dns_name(str(eni.private_ip_address))
        eni.private_ip_addresses[0]["PrivateDnsName"] = eni.private_dns_name
        eni.ipv6_addresses = []
        self.addresses.add(eni, [*secondary_addresses, *ipv6_addresses])
        place_on_outpost(eni, outpost_of(eni.subnet))

    def note_interfaces(self, instance: Instance) -> None:
        """Remember what the IMDS of the instance has to show from now on."""
        interfaces = tuple(
            Interface(
                eni_id=eni.id,
                mac=eni.mac_address,
                device_index=index,
                subnet_id=eni.subnet.id,
                subnet_cidr=eni.subnet.cidr_block,
                vpc_id=eni.vpc_id,
                security_group_ids=tuple(group.id for group in eni._group_set),
                addresses=tuple(ipv4_addresses(eni)),
                ipv6_addresses=tuple(eni.ipv6_addresses),
                subnet_ipv6_cidrs=tuple(map(str, networks(eni.subnet, 6))),
            )
            for index, eni in sorted(instance.nics.items())
            if eni.id in self.backend.enis and self.status(eni) is not Status.ATTACHING
        )
        self._seen.setdefault(instance.id, deque(maxlen=SNAPSHOTS)).append((time.monotonic(), interfaces))

    def create(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """CreateNetworkInterface.  Whoever repeats a token gets the same ENI, even one that was deleted meanwhile."""
        subnet = self.backend.get_subnet(call._get_param("SubnetId"))
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
            self.addresses.require_free(subnet, asked, asked_ipv6)
            if subnet.assign_ipv6_address_on_creation and not asked_ipv6:
                count = count or 1
            addresses = asked or self.addresses.free_ipv4(subnet, 1)
            eni = self.backend.create_network_interface(
                subnet,
                addresses[0],
                group_ids=groups,
                description=call._get_param("Description"),
                tags=add_tag_specification(call._get_param("TagSpecifications", [])),
            )
            self.adopt(eni, addresses[1:], asked_ipv6 or self.addresses.free_ipv6(subnet, count))
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
            self.backend.get_network_interface(eni_id)
        enis = [eni for eni in self.backend.enis.values() if not ids or eni.id in ids]
        for eni in enis:
            self._show_associations(eni)
        found = select(enis, call._filters_from_querystring(), _FILTERS)
        shown, token = page(found, page_size, call._get_param("NextToken"))
        return ActionResult({"NetworkInterfaces": shown, "NextToken": token})

    def attach(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """
        AttachNetworkInterface.

        Only a running instance is accepted: the real EC2 also attaches to a stopped one, which no failover wants.
        The lab's instance types have one network card, 0.
        """
        eni = self.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        instance = self.backend.get_instance(call._get_param("InstanceId"))
        index = int(call._get_param("DeviceIndex"))
        card = int(call._get_param("NetworkCardIndex") or 0)
        call.error_on_dryrun()
        if instance.state != "running":
            raise EC2ClientError("IncorrectState", f"Instance '{instance.id}' is not running but {instance.state}.")
        if eni.availability_zone != instance.availability_zone:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "You may not attach a network interface to an instance if they are not in the same availability zone",
            )
        if eni.attachment_id is not None:
            raise EC2ClientError("InvalidNetworkInterface.InUse", f"Interface: [{eni.id}] in use.")
        if card != 0:
            raise EC2ClientError("InvalidParameterValue", f"Value ({card}) for parameter networkCardIndex is invalid.")
        if index in instance.nics:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Instance '{instance.id}' already has an interface attached at device index '{index}'.",
            )
        limit = INSTANCE_TYPES[instance.instance_type]["NetworkInfo"]["NetworkCards"][card]["MaximumNetworkInterfaces"]
        if len(instance.nics) >= limit:
            raise EC2ClientError(
                "AttachmentLimitExceeded",
                f"Interface count {len(instance.nics) + 1} exceeds the limit for {instance.instance_type}",
            )
        attachment_id = instance.attach_eni(eni, index)
        eni.delete_on_termination = False
        self._turn(eni, Status.ATTACHING)
        self.after(self.profile.attach, lambda: self._attached(eni, attachment_id))
        return ActionResult({"AttachmentId": attachment_id, "NetworkCardIndex": card})

    def detach(self, call: ElasticNetworkInterfaces) -> EmptyResult:
        """DetachNetworkInterface."""
        attachment_id = call._get_param("AttachmentId")
        forced = bool(call._get_param("Force", False))
        eni = self._attached_by(attachment_id)
        call.error_on_dryrun()
        if eni.device_index == 0:
            raise EC2ClientError("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
        if self.status(eni) is Status.DETACHING and not forced:
            raise EC2ClientError("IncorrectState", f"Attachment '{attachment_id}' is already detaching.")
        if forced:
            self._forced.add(attachment_id)
        self._turn(eni, Status.DETACHING)
        assert eni.instance is not None, "an attachment has an instance"
        if forced:
            self.after(self.profile.force_detach, lambda: self._detached(eni, attachment_id))
        else:
            self.after(self.profile.detach, lambda: self._detached_unless_stuck(eni, attachment_id))
        return EmptyResult()

    def delete(self, call: ElasticNetworkInterfaces) -> EmptyResult:
        """DeleteNetworkInterface."""
        eni = self.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        call.error_on_dryrun()
        if eni.attachment_id is not None:
            raise EC2ClientError("InvalidParameterValue", f"Network interface '{eni.id}' is currently in use.")
        self._delete(eni)
        return EmptyResult()

    def modify(self, call: ElasticNetworkInterfaces, original: Callable[[], ActionResult]) -> ActionResult:
        """ModifyNetworkInterfaceAttribute: moto knows all but the attachment's DeleteOnTermination."""
        eni = self.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        attachment_id = call._get_param("Attachment.AttachmentId")
        if attachment_id is not None and attachment_id != eni.attachment_id:
            raise _no_such_attachment(attachment_id)
        self._require_groups(call._get_param("Groups", []))
        call.error_on_dryrun()
        if attachment_id is not None:
            eni.delete_on_termination = bool(call._get_param("Attachment.DeleteOnTermination", False))
            return EmptyResult()
        result = original()
        if eni.instance is not None:
            self.note_interfaces(eni.instance)
        return result

    def terminate(self, instance: Instance) -> InstanceState:
        """Begin to terminate the instance; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state in {"shutting-down", "terminated"}:
            return before
        held_up = self._shut_down(instance, "shutting-down", 32)
        self.after(held_up + self.profile.release, lambda: self._release(instance))
        self.after(held_up + self.profile.shutdown, lambda: self._terminated(instance))
        return before

    def stop(self, instance: Instance) -> InstanceState:
        """Begin to stop the instance, which keeps its ENIs; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state not in {"running", "pending"}:
            return before
        held_up = self._shut_down(instance, "stopping", 64)
        self.after(held_up + self.profile.shutdown, lambda: self._turn_instance(instance, "stopped", 80))
        return before

    def start(self, instance: Instance) -> InstanceState:
        """Begin to start a stopped instance; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state not in {"stopped", "running"}:
            raise EC2ClientError(
                "IncorrectInstanceState",
                f"The instance '{instance.id}' is not in a state from which it can be started.",
            )
        if instance.state == "stopped":
            self._turn_instance(instance, "pending", 0)
            self.devices.boot(instance.id)
            self.after(self.profile.start, lambda: self._turn_instance(instance, "running", 16))
        return before

    def booted(self, instance: Instance) -> None:
        """The guest has started again: it sees the devices of all ENIs that it has, the primary one apart."""
        for index, eni in sorted(instance.nics.items()):
            if index and self.status(eni) is not Status.ATTACHING:
                if eni.id in self._plugged:
                    self.devices.unplug(eni.id)
                self._plug_in(eni)

    def _shut_down(self, instance: Instance, state: str, code: int) -> float:
        """The user asked for it: see Devices.shut_down for the answer."""
        self._turn_instance(instance, state, code)
        instance._reason = f"User initiated ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
        instance.state_reason = StateReason(
            "Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown"
        )
        return self.devices.shut_down(instance.id)

    def _turn_instance(self, instance: Instance, state: str, code: int) -> None:
        if instance.state != "terminated":
            instance._state.name, instance._state.code = state, code

    def _attached(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.attachment_id != attachment_id or self.status(eni) is not Status.ATTACHING:
            return
        self._turn(eni, Status.ATTACHED)
        self.after(self.profile.device, lambda: self._plug(eni, attachment_id))

    def _plug(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.attachment_id != attachment_id or self.status(eni) is not Status.ATTACHED:
            return
        assert eni.instance is not None, "an attachment has an instance"
        if self.devices.guest(eni.instance.id) is Guest.OFF:
            return
        self._plug_in(eni)

    def _plug_in(self, eni: NetworkInterface) -> None:
        assert eni.instance is not None, "an attachment has an instance"
        self.devices.plug(eni.id, eni.mac_address, all_addresses(eni), eni.instance.id, int(eni.device_index or 0))
        self._plugged.add(eni.id)
        self._record_device(eni, "visible")

    def _detached_unless_stuck(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.instance is not None and self.devices.guest(eni.instance.id) not in self.profile.stuck:
            self._detached(eni, attachment_id)

    def _detached(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.attachment_id != attachment_id:
            return
        instance = eni.instance
        assert instance is not None, "an attachment has an instance"
        if eni.id in self._plugged:
            self.devices.unplug(eni.id)
            self._plugged.remove(eni.id)
            self._record_device(eni, "gone")
        self._record_attachment(eni, Status.DETACHED)
        self._statuses.pop(attachment_id, None)
        self._forced.discard(attachment_id)
        instance.detach_eni(eni)
        self.note_interfaces(instance)

    def _release(self, instance: Instance) -> None:
        for index, eni in list(instance.nics.items()):
            doomed = bool(eni.delete_on_termination)
            if index == 0:  # stays in instance.nics: moto asks it for the instance's own address
                doomed = True
            else:
                self._detached(eni, str(eni.attachment_id))
            if doomed:
                self._delete(eni)
        self.note_interfaces(instance)

    def _terminated(self, instance: Instance) -> None:
        instance.teardown_defaults()
        self._turn_instance(instance, "terminated", 48)

    def _turn(self, eni: NetworkInterface, status: Status) -> None:
        assert eni.attachment_id is not None, "only an attachment has a status"
        assert eni.instance is not None, "an attachment has an instance"
        self._statuses[eni.attachment_id] = status
        self._record_attachment(eni, status)
        self.note_interfaces(eni.instance)

    def _record_attachment(self, eni: NetworkInterface, status: Status) -> None:
        self.record(
            {
                "t": time.time(),
                "source": "ec2",
                "event": "attachment",
                "eni": eni.id,
                "address": eni.private_ip_address,
                "addresses": [
                    *all_addresses(eni),
                    *(allocation.address for allocation in self.elastic.associations(eni)),
                ],
                "attachment": eni.attachment_id,
                "instance": eni.instance.id if eni.instance else None,
                "status": str(status),
                "forced": eni.attachment_id in self._forced,
            }
        )

    def _record_device(self, eni: NetworkInterface, status: str) -> None:
        self.record(
            {
                "t": time.time(),
                "source": "ec2",
                "event": "device",
                "eni": eni.id,
                "instance": eni.instance.id if eni.instance else None,
                "status": status,
            }
        )

    def _attached_by(self, attachment_id: str) -> NetworkInterface:
        for eni in self.backend.enis.values():
            if eni.attachment_id == attachment_id:
                return eni
        raise _no_such_attachment(attachment_id)

    def _created_before(self, token: str | None, call: ElasticNetworkInterfaces) -> NetworkInterface | None:
        """
        The ENI that a call with the same token has made, gone or not.

        unverified: that EC2 answers with one that is gone.  It is the harder case for whoever calls.
        """
        fingerprint, eni = self._tokens.get(token or "", (None, None))
        if fingerprint is not None and fingerprint != _fingerprint(call):
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                f"The client token '{token}' has been used with other parameters.",
            )
        return eni

    def _require_groups(self, groups: Iterable[str]) -> None:
        for group in groups:
            if self.backend.get_security_group_from_id(group) is None:
                raise EC2ClientError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")

    def _show_associations(self, eni: NetworkInterface) -> None:
        """Each private address is shown with its own association; moto serialises these items as they are."""
        for item in eni.private_ip_addresses:
            item["Association"] = self.elastic.shown(item["PrivateIpAddress"])

    def _delete(self, eni: NetworkInterface) -> None:
        self.addresses.forget(eni)
        for address in ipv4_addresses(eni):
            self.elastic.forget(address)
        self.backend.delete_network_interface(eni.id)
        for address in ipv4_addresses(eni):
            eni.subnet.del_subnet_ip(address)


def place_on_outpost(thing: Subnet | NetworkInterface | Instance, arn: str | None) -> None:
    """Let a subnet, an ENI or an instance show the Outpost that it is on, None for none."""
    thing.outpost_arn = arn  # type: ignore[union-attr]  # moto has no Outposts, but serialises what it finds


def outpost_of(subnet: Subnet) -> str | None:
    """The ARN of the Outpost that the subnet is on, if any."""
    arn: str | None = getattr(subnet, "outpost_arn", None)
    return arn


def _primary_first(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=lambda item: not item.get("Primary", False))


def _fingerprint(call: ElasticNetworkInterfaces) -> str:
    return json.dumps({**call.params, "ClientToken": None, "DryRun": None}, sort_keys=True, default=str)


def _no_such_attachment(attachment_id: str) -> EC2ClientError:
    return EC2ClientError(
        "InvalidAttachmentID.NotFound", f"The networkInterfaceAttachment ID '{attachment_id}' does not exist"
    )


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
    """From the associations of all private addresses, not only of the primary one."""
    return [item["Association"][name] for item in eni.private_ip_addresses if name in (item.get("Association") or {})]


_worlds: dict[str, World] = {}
_patching = threading.Lock()


def install(world: World) -> None:
    """Put the account of this world under its rules; the first call patches moto, for the life of the process."""
    with _patching:
        if not getattr(NetworkInterface, "_has_rules", False):
            _patch()
            NetworkInterface._has_rules = True  # type: ignore[attr-defined]  # a mark on moto's class, for this line only
    _worlds[world.account] = world


def uninstall(world: World) -> None:
    """Forget the world and what moto keeps for its account."""
    _worlds.pop(world.account, None)
    ec2_backends.pop(world.account, None)


def _patch() -> None:
    for name, rule in (
        ("create_network_interface", World.create),
        ("describe_network_interfaces", World.describe),
        ("attach_network_interface", World.attach),
        ("detach_network_interface", World.detach),
        ("delete_network_interface", World.delete),
    ):
        _route(ElasticNetworkInterfaces, name, lambda call: call.current_account, _without_original(rule))
    for name, address_rule in (
        ("assign_private_ip_addresses", Addresses.assign_ipv4),
        ("unassign_private_ip_addresses", Addresses.unassign_ipv4),
        ("assign_ipv6_addresses", Addresses.assign_ipv6),
        ("unassign_ipv6_addresses", Addresses.unassign_ipv6),
    ):
        _route(ElasticNetworkInterfaces, name, lambda call: call.current_account, _of_addresses(address_rule))
    for name, elastic_rule in (
        ("allocate_address", ElasticIps.allocate),
        ("describe_addresses", ElasticIps.describe),
        ("associate_address", ElasticIps.associate),
        ("disassociate_address", ElasticIps.disassociate),
        ("release_address", ElasticIps.release),
    ):
        _route(ElasticIPAddresses, name, lambda call: call.current_account, _of_elastic(elastic_rule))
    _route(
        ElasticNetworkInterfaces,
        "modify_network_interface_attribute",
        lambda call: call.current_account,
        lambda world, call, original: world.modify(call, original),
    )
    for name, of_instance in (
        ("terminate", World.terminate),
        ("stop", World.stop),
        ("start", World.start),
        ("reboot", lambda world, instance: world.devices.reboot(instance.id)),
    ):
        _route(Instance, name, lambda instance: instance.ec2_backend.account_id, _without_original(of_instance))
    # Only CreateTags comes here, to ask whether the ENI exists; moto's own method never says no.
    _route(
        NetworkInterfaceBackend,
        "describe_network_interfaces",
        lambda backend: backend.account_id,
        lambda world, _backend, _original, filters: [_existing(world, filters["network-interface-id"])],
    )
    _route_property(NetworkInterface, "attachment", lambda world, eni: world.attachment(eni))
    _route_property(NetworkInterface, "association", lambda world, eni: world.elastic.shown(eni.private_ip_address))
    # moto mixes the instance's groups in.
    _route_property(NetworkInterface, "group_set", lambda _world, eni: eni._group_set)
    # The primary ENI of a terminated instance is deleted, and stays in `nics` (see World._release).
    _route_property(
        Instance,
        "network_interfaces",
        lambda world, instance: [eni for eni in instance.nics.values() if eni.id in world.backend.enis],
    )


def _existing(world: World, eni_id: str) -> NetworkInterface:
    if eni_id not in world.backend.enis:
        raise InvalidNetworkInterfaceIdError(eni_id)
    return world.backend.enis[eni_id]


def _without_original(rule: Callable[[World, Any], Any]) -> Callable[..., Any]:
    return lambda world, subject, _original: rule(world, subject)


def _of_addresses(rule: Callable[[Addresses, Any], Any]) -> Callable[..., Any]:
    return lambda world, subject, _original: rule(world.addresses, subject)


def _of_elastic(rule: Callable[[ElasticIps, Any], Any]) -> Callable[..., Any]:
    return lambda world, subject, _original: rule(world.elastic, subject)


def _route(owner: type, name: str, account: Callable[[Any], str], rule: Callable[..., Any]) -> None:
    """Replace a method of moto by one that asks the world of the account, and falls back to the original."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def routed(self: Any, *args: Any, **kwargs: Any) -> Any:
        world = _worlds.get(account(self))
        if world is None:
            return original(self, *args, **kwargs)
        return rule(world, self, functools.partial(original, self), *args, **kwargs)

    setattr(owner, name, routed)


def _route_property(owner: type, name: str, rule: Callable[[World, Any], Any]) -> None:
    original = getattr(owner, name).fget

    def routed(self: Any) -> Any:
        world = _worlds.get(self.ec2_backend.account_id)
        return original(self) if world is None else rule(world, self)

    setattr(owner, name, property(routed))
