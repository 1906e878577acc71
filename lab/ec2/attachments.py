"""
Which ENI is attached to which instance, and what the guest and its IMDS see of it.

Life of an attachment, with the delays of the profile; a detach is also accepted while attaching:

    attaching -> attached -> detaching -> gone
                          (the guest has the device from `device` seconds after attached until gone)
"""

import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces

from lab.ec2.account import Account
from lab.ec2.elastic import ElasticIps
from lab.ec2.eni import all_addresses, ipv4_addresses, networks
from lab.ec2.profiles import Guest

SNAPSHOTS = 200
"""How many past states of an instance's interfaces are remembered for an IMDS that lags."""


class Status(StrEnum):
    """Attachment.Status.  Only the history shows `detached`: EC2 has no attachment to show by then."""

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


class Attachments:
    """
    The attachments of one account.  All of it runs under the endpoint's lock.

    statuses: by id, those of the attachments that were made by a call; primary ENIs' are not among them.
    stuck: a guest in one of these states does not give up a device before a detach with Force.
    """

    def __init__(self, account: Account, elastic: ElasticIps) -> None:
        self.statuses: dict[str, Status] = {}
        self.stuck = account.profile.stuck
        self._account = account
        self._elastic = elastic
        self._forced: set[str] = set()
        self._plugged: set[str] = set()
        self._seen: dict[str, deque[tuple[float, tuple[Interface, ...]]]] = {}

    def interfaces(self, instance_id: str, at: float) -> tuple[Interface, ...]:
        """The attached ENIs of the instance as they were at the time `at` of the monotonic clock."""
        shown: tuple[Interface, ...] = ()
        for since, interfaces in self._seen.get(instance_id, ()):
            if since > at:
                break
            shown = interfaces
        return shown

    def note(self, instance: Instance) -> None:
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
            if eni.id in self._account.backend.enis and self.status(eni) is not Status.ATTACHING
        )
        self._seen.setdefault(instance.id, deque(maxlen=SNAPSHOTS)).append((time.monotonic(), interfaces))

    def status(self, eni: NetworkInterface) -> Status:
        """The status of the ENI's attachment; moto's own attachments (primary ENIs) are simply attached."""
        return self.statuses.get(str(eni.attachment_id), Status.ATTACHED)

    def is_in_guest(self, eni: NetworkInterface) -> bool:
        """Whether a machine has the ENI's device; it always has that of its primary ENI."""
        return eni.id in self._plugged or (eni.instance is not None and eni.device_index == 0)

    def shown(self, eni: NetworkInterface) -> Attachment | None:
        """The ENI's attachment, if any, for moto to serialise."""
        if eni.attachment_id is None:
            return None
        attachment = Attachment(eni)
        attachment.status = self.status(eni)
        return attachment

    def attach(self, call: ElasticNetworkInterfaces) -> ActionResult:
        """
        AttachNetworkInterface.

        Only a running instance is accepted: the real EC2 also attaches to a stopped one, which no failover wants.
        The lab's instance types have one network card, 0.
        """
        eni = self._account.backend.get_network_interface(call._get_param("NetworkInterfaceId"))
        instance = self._account.backend.get_instance(call._get_param("InstanceId"))
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
        self._account.after(self._account.profile.attach, lambda: self._attached(eni, attachment_id))
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
            self._account.after(self._account.profile.force_detach, lambda: self.end(eni, attachment_id))
        else:
            self._account.after(self._account.profile.detach, lambda: self._detached_unless_stuck(eni, attachment_id))
        return EmptyResult()

    def end(self, eni: NetworkInterface, attachment_id: str) -> None:
        """Take the ENI off its instance and out of the guest now, unless that attachment has ended already."""
        if eni.attachment_id != attachment_id:
            return
        instance = eni.instance
        assert instance is not None, "an attachment has an instance"
        if eni.id in self._plugged:
            self._account.devices.unplug(eni.id)
            self._plugged.remove(eni.id)
            self._record_device(eni, "gone")
        self._record_attachment(eni, Status.DETACHED)
        self.statuses.pop(attachment_id, None)
        self._forced.discard(attachment_id)
        instance.detach_eni(eni)
        self.note(instance)

    def booted(self, instance: Instance) -> None:
        """The guest has started again: let it see the devices of all its attached ENIs but the primary one."""
        for index, eni in sorted(instance.nics.items()):
            if index and self.status(eni) is not Status.ATTACHING:
                if eni.id in self._plugged:
                    self._account.devices.unplug(eni.id)
                self._plug_in(eni)

    def _attached_by(self, attachment_id: str) -> NetworkInterface:
        for eni in self._account.backend.enis.values():
            if eni.attachment_id == attachment_id:
                return eni
        raise no_such_attachment(attachment_id)

    def _attached(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.attachment_id != attachment_id or self.status(eni) is not Status.ATTACHING:
            return
        self._turn(eni, Status.ATTACHED)
        self._account.after(self._account.profile.device, lambda: self._plug(eni, attachment_id))

    def _plug(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.attachment_id != attachment_id or self.status(eni) is not Status.ATTACHED:
            return
        assert eni.instance is not None, "an attachment has an instance"
        if self._account.devices.guest(eni.instance.id) is Guest.OFF:
            return
        self._plug_in(eni)

    def _plug_in(self, eni: NetworkInterface) -> None:
        assert eni.instance is not None, "an attachment has an instance"
        self._account.devices.plug(
            eni.id, eni.mac_address, all_addresses(eni), eni.instance.id, int(eni.device_index or 0)
        )
        self._plugged.add(eni.id)
        self._record_device(eni, "visible")

    def _detached_unless_stuck(self, eni: NetworkInterface, attachment_id: str) -> None:
        if eni.instance is not None and self._account.devices.guest(eni.instance.id) not in self.stuck:
            self.end(eni, attachment_id)

    def _turn(self, eni: NetworkInterface, status: Status) -> None:
        assert eni.attachment_id is not None, "only an attachment has a status"
        assert eni.instance is not None, "an attachment has an instance"
        self.statuses[eni.attachment_id] = status
        self._record_attachment(eni, status)
        self.note(eni.instance)

    def _record_attachment(self, eni: NetworkInterface, status: Status) -> None:
        self._account.tell(
            "attachment",
            eni=eni.id,
            address=eni.private_ip_address,
            addresses=[*all_addresses(eni), *(one.address for one in self._elastic.associations(eni))],
            attachment=eni.attachment_id,
            instance=eni.instance.id if eni.instance else None,
            status=str(status),
            forced=eni.attachment_id in self._forced,
        )

    def _record_device(self, eni: NetworkInterface, status: str) -> None:
        self._account.tell("device", eni=eni.id, instance=eni.instance.id if eni.instance else None, status=status)


def no_such_attachment(attachment_id: str) -> EC2ClientError:
    """EC2's error for an attachment id that no ENI has."""
    return EC2ClientError(
        "InvalidAttachmentID.NotFound", f"The networkInterfaceAttachment ID '{attachment_id}' does not exist"
    )
