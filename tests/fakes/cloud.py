"""`ports.Cloud` upon the model of EC2."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from floatingip.core.ec2 import OWNER_TAG, AllocationFacts, Eni, Instance, Subnet
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoFreeSlot
from floatingip.core.model import Address, Network, Target
from tests.fakes.ec2 import REGION, SLOTS, FakeEc2
from tests.fakes.state import State

HIGHEST_DEVICE_INDEX = 31


class FakeCloud:
    """
    EC2 as one observer reaches it: floatingip.core.ports.Cloud.

    lag: how many seconds old the answers of Describes are.  omitted: ids of ENIs that are missing in them.
    denied: actions that IAM refuses this observer, such as AttachNetworkInterface.
    reachable: while false, no call comes through.
    calls: the actions that were called, oldest first.
    """

    def __init__(self, ec2: FakeEc2, security_groups: tuple[str, ...] = ()) -> None:
        self.lag = 0.0
        self.omitted: set[str] = set()
        self.denied: set[str] = set()
        self.reachable = True
        self.calls: list[str] = []
        self._ec2 = ec2
        self._groups = security_groups

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        state = self._describe("DescribeNetworkInterfaces")
        ours = (eni for eni in state.enis.values() if eni.tags.get(OWNER_TAG) == name)
        return tuple(eni for eni in ours if eni.id not in self.omitted)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        occupants = self._describe("DescribeNetworkInterfaces").occupants(addresses)
        return tuple(eni for eni in occupants if eni.id not in self.omitted)

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        return self._describe("DescribeAddresses").allocations.get(allocation_id)

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        state = self._describe("DescribeInstances")
        return {id_: state.instance(id_) for id_ in sorted(instance_ids) if id_ in state.instances}

    def find_instance(self, name: str) -> Instance | None:
        state = self._describe("DescribeInstances")
        for instance in state.instances.values():
            dns_name = f"ip-{str(instance.address).replace('.', '-')}.{REGION}.compute.internal"
            if name in (str(instance.address), dns_name) and not instance.state.announces_death:
                return state.instance(instance.id)
        return None

    def describe_subnets(self) -> tuple[Subnet, ...]:
        self._call("DescribeSubnets")
        return tuple(self._ec2.subnets.values())

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        self._call("GetSubnetCidrReservations")
        return tuple(self._ec2.reservations.get(subnet_id, ()))

    def describe_slots(self, instance_type: str) -> int:
        self._call("DescribeInstanceTypes")
        if instance_type not in SLOTS:
            raise CloudError(f"DescribeInstanceTypes: InvalidInstanceType: {instance_type}")
        return SLOTS[instance_type]

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        self._call("CreateNetworkInterface")
        return self._ec2.create(target, subnet, self._groups, tags, token)

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        self._call("AssignPrivateIpAddresses" if isinstance(address, IPv4Address) else "AssignIpv6Addresses")
        self._ec2.assign(eni_id, address, reassign=reassign)

    def assign_any(self, eni_id: str) -> None:
        self._call("AssignPrivateIpAddresses")
        self._ec2.assign_any(eni_id)

    def unassign(self, eni_id: str, address: Address) -> None:
        self._call("UnassignPrivateIpAddresses" if isinstance(address, IPv4Address) else "UnassignIpv6Addresses")
        self._ec2.unassign(eni_id, address)

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        self._call("AttachNetworkInterface")
        # Whatever the caller knows, EC2 itself says which indexes are taken: it refuses those, one after the other.
        known = self._ec2.state.instances.get(instance_id)
        really = self._ec2.state.instance(instance_id).device_indexes if known else frozenset[int]()
        for index in range(1, HIGHEST_DEVICE_INDEX + 1):
            if index not in taken | really:
                return self._ec2.attach(eni_id, instance_id, index)
        raise NoFreeSlot(f"{instance_id} has no free device index up to {HIGHEST_DEVICE_INDEX}")

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        self._call("DetachNetworkInterface")
        self._ec2.detach(attachment_id, force=force)

    def delete_eni(self, eni_id: str) -> None:
        self._call("DeleteNetworkInterface")
        if eni_id in self._ec2.state.enis:
            self._ec2.delete(eni_id)

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        self.tag_enis((eni_id,), tags)

    def tag_enis(self, eni_ids: tuple[str, ...], tags: Mapping[str, str]) -> None:
        self._call("CreateTags")
        for eni_id in eni_ids:
            self._ec2.state.eni(eni_id)
        for eni_id in eni_ids:
            self._ec2.modify(eni_id, lambda eni: replace(eni, tags={**eni.tags, **tags}))

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        self._call("AssociateAddress")
        self._ec2.associate(allocation_id, eni_id, address)

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        self._call("ModifyNetworkInterfaceAttribute")
        self._ec2.modify(eni_id, lambda eni: replace(eni, security_groups=tuple(sorted(groups))))

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        self._call("ModifyNetworkInterfaceAttribute")
        attachment = self._ec2.state.eni(eni_id).attachment
        if attachment is None or attachment.id != attachment_id:
            raise LookAgain(f"InvalidAttachmentID.NotFound: {attachment_id}")
        self._ec2.modify(eni_id, lambda eni: replace(eni, delete_on_termination=False))

    def check_source(self, eni_id: str) -> None:
        self._call("ModifyNetworkInterfaceAttribute")
        self._ec2.modify(eni_id, lambda eni: replace(eni, source_check=True))

    def rehearse(
        self,
        eni: Eni | None,
        subnet: Subnet,
        me: str,
        tags: Mapping[str, str],
        targets: Collection[Target],
        needed: frozenset[str],
    ) -> tuple[str, ...]:
        actions = ["CreateNetworkInterface"]
        if eni is not None:
            actions += ["AttachNetworkInterface", "CreateTags"]
            if "ec2:DetachNetworkInterface" in needed:
                actions.append("DetachNetworkInterface")
            else:
                ipv6s = [target for target in targets if isinstance(target, IPv6Address)]
                actions += ["AssignPrivateIpAddresses"] if len(ipv6s) < len(targets) else []
                actions += ["UnassignIpv6Addresses"] if ipv6s else []
        denied: list[str] = []
        for action in actions:
            try:
                self._call(action)
            except Denied as error:
                denied.append(error.action)
        return tuple(denied)

    def _call(self, action: str) -> None:
        self.calls.append(action)
        if not self.reachable:
            raise CloudUnavailable(f"{action}: no answer")
        if action in self.denied:
            raise Denied(f"ec2:{action}")

    def _describe(self, action: str) -> State:
        self._call(action)
        return self._ec2.as_of(self._ec2.now - self.lag) if self.lag else self._ec2.state
