"""
A small pure model of EC2: no threads, no sleeping, and no clock but the time that `advance` gets.

tests/contract runs the same cases against it and against the lab's endpoint, so it is a verified fake.  Its state
consists of the product's own frozen values: so a shallow copy keeps a past state, for Describes that lag.

    ec2 = FakeEc2(Delays(attach=3.0, detach=2.5))
    subnet = ec2.add_subnet("10.0.0.0/24")
    worker = ec2.add_instance("10.0.0.10", subnet)
    cloud = FakeCloud(ec2, ("sg-lab",))
    ...
    ec2.advance(10.0)

It raises the errors that floatingip.edges.ec2.cloud.Ec2Cloud makes of EC2's codes, with the same codes in them.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network
from typing import Any

from floatingip.core.ec2 import AllocationFacts, Attachment, AttachmentStatus, Eni, Instance, InstanceState, Subnet
from floatingip.core.errors import AddressTaken, CloudError, LookAgain, NoFreeSlot
from floatingip.core.model import Address, Network, Target
from tests.fakes.state import State, joined, parted, require_usable, without

REGION, ZONE = "us-west-2", "us-west-2-lax-1a"
INSTANCE_TYPE = "m5.large"
SLOTS = {"m5.large": 3, "t3.medium": 3, "t3.small": 3, "t3.nano": 2, "m5.24xlarge": 15}
"""How many ENIs fit on the first network card, by instance type (DescribeInstanceTypes)."""

ADDRESSES = {"m5.large": 10, "t3.medium": 6, "t3.small": 4, "t3.nano": 2, "m5.24xlarge": 50}
"""How many addresses of each family one ENI may have, by instance type (DescribeInstanceTypes)."""

WALL = 1_764_000_000.0
"""Unix time when the fake's clock shows 0."""

MEMORY = 60.0
"""Seconds of the past that a lagging Describe can show."""


@dataclass(frozen=True)
class Delays:
    """Seconds from a call until it takes effect, as in lab.ec2.Profile."""

    attach: float = 0.0
    detach: float = 0.0
    force_detach: float = 0.0
    assign: float = 0.0
    unassign: float = 0.0
    release: float = 0.0
    shutdown: float = 0.0


@dataclass(frozen=True, eq=False)
class _Move:
    """What an accepted call will do: give the address to an ENI, or take it off the ENI that has it."""

    address: Address
    eni_id: str = ""


class FakeEc2:
    """One VPC, used by any number of FakeClouds; `now` is its clock, in seconds."""

    def __init__(self, delays: Delays | None = None) -> None:
        self.delays = delays or Delays()
        self.now = 0.0
        self.state = State()
        self.subnets: dict[str, Subnet] = {}
        self.reservations: dict[str, list[Network]] = {}
        self._past: deque[tuple[float, State]] = deque([(0.0, self.state)])
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ids = itertools.count(1)
        self._moves: dict[Address, _Move] = {}
        self._hung: set[str] = set()
        self._created: dict[str, tuple[object, Eni]] = {}

    def _wall(self) -> float:
        """EC2's clock, in Unix time; in whole seconds, as attach times are."""
        return float(int(WALL + self.now))

    # How a test builds the world, and breaks it.

    def add_subnet(self, *networks: str, zone: str = ZONE, outpost: str = "") -> Subnet:
        """A subnet with these CIDR blocks."""
        subnet = Subnet(self._id("subnet"), tuple(ip_network(network) for network in networks), zone, outpost)
        self.subnets[subnet.id] = subnet
        return subnet

    def add_instance(
        self,
        address: str,
        subnet: Subnet,
        *,
        secondary_addresses: Iterable[str] = (),
        ipv6: str | None = None,
        instance_type: str = INSTANCE_TYPE,
        tags: Mapping[str, str] | None = None,
        instance_id: str = "",
    ) -> str:
        """Run an instance with its primary ENI; return its id (without ``instance_id``, the next one)."""
        instance_id = instance_id or self._id("i")
        instance = Instance(
            id=instance_id,
            state=InstanceState.RUNNING,
            address=IPv4Address(address),
            zone=subnet.zone,
            device_indexes=frozenset(),
            tags=tags or {},
            type=instance_type,
            outpost=subnet.outpost,
            node=f"ip-{address.replace('.', '-')}.{REGION}.compute.internal",
            ipv6=IPv6Address(ipv6) if ipv6 is not None else None,
        )
        primary = self._new_eni(subnet, IPv4Address(address))
        attachment = Attachment(self._id("eni-attach"), instance_id, 0, AttachmentStatus.ATTACHED, self._wall())
        secondary = tuple(map(IPv4Address, secondary_addresses))
        ipv6s = (IPv6Address(ipv6),) if ipv6 is not None else ()
        shown = replace(primary, attachment=attachment, secondary=secondary, ipv6s=ipv6s, delete_on_termination=True)
        self._put(shown)
        self._set(instances={**self.state.instances, instance_id: instance})
        return instance_id

    def allocate(self, public: str, border_group: str = ZONE[:-1]) -> str:
        """Allocate an Elastic IP; return its allocation id."""
        allocation_id = self._id("eipalloc")
        self._put_allocation(AllocationFacts(allocation_id, public, border_group))
        return allocation_id

    def hang(self, instance_id: str) -> None:
        """Let the guest hang: it gives up no device before a detach with Force."""
        self._hung.add(instance_id)

    def thaw(self, instance_id: str) -> None:
        """The guest goes on; it has missed what it was asked for meanwhile."""
        self._hung.discard(instance_id)

    def terminate(self, instance_id: str) -> None:
        """Begin to terminate the instance."""
        self._turn(instance_id, InstanceState.SHUTTING_DOWN)
        self._after(self.delays.release, lambda: self._release(instance_id))
        self._after(self.delays.shutdown, lambda: self._turn(instance_id, InstanceState.TERMINATED))

    def stop(self, instance_id: str) -> None:
        """Begin to stop the instance; its ENIs stay attached."""
        self._turn(instance_id, InstanceState.STOPPING)
        self._after(self.delays.shutdown, lambda: self._stopped(instance_id))

    def start(self, instance_id: str) -> None:
        self._turn(instance_id, InstanceState.RUNNING)

    def advance(self, until: float) -> None:
        """Let time pass until then, with everything that is due."""
        while self._due and self._due[0][0] <= until:
            self.now, _, action = heapq.heappop(self._due)
            action()
        self.now = max(self.now, until)

    def due(self) -> float:
        """When something happens next; infinite if nothing will."""
        return self._due[0][0] if self._due else float("inf")

    def as_of(self, time: float) -> State:
        """What EC2 knew at that time, at most MEMORY ago."""
        return [state for since, state in self._past if since <= time or since == self._past[0][0]][-1]

    # EC2's calls, once permissions and network are passed.

    def create(
        self, target: Target | None, subnet: Subnet, groups: tuple[str, ...], tags: Mapping[str, str], token: str
    ) -> Eni:
        """CreateNetworkInterface.  The same token always gets the same ENI, even one that is gone."""
        asked = (target, subnet.id, groups, tuple(sorted(tags.items())))
        if token and token in self._created:
            before, eni = self._created[token]
            if before != asked:
                raise LookAgain(f"IdempotentParameterMismatch: {token}")
            return self.state.enis.get(eni.id, eni)
        if isinstance(target, IPv4Address | IPv6Address):
            self._require_free(target, subnet)
        eni = replace(
            self._new_eni(subnet, target if isinstance(target, IPv4Address) else self._free_address(subnet)),
            ipv6s=(target,) if isinstance(target, IPv6Address) else (),
            tags=dict(tags),
            security_groups=tuple(sorted(groups)),
        )
        self._put(eni)
        self._created[token] = (asked, eni)
        return eni

    def attach(self, eni_id: str, instance_id: str, index: int) -> str:
        """AttachNetworkInterface at this device index, which the caller has found free."""
        eni, instance = self.state.eni(eni_id), self.state.instance(instance_id)
        if instance.state is not InstanceState.RUNNING:
            raise LookAgain(f"IncorrectState: {instance_id} is {instance.state}")
        if eni.zone != instance.zone:
            raise CloudError(f"InvalidParameterCombination: {eni_id} is in {eni.zone}, {instance_id} not")
        if eni.attachment is not None:
            raise LookAgain(f"InvalidNetworkInterface.InUse: {eni_id}")
        if len(instance.device_indexes) >= SLOTS[instance.type]:
            raise NoFreeSlot(f"AttachmentLimitExceeded: {instance_id}")
        attachment = Attachment(self._id("eni-attach"), instance_id, index, AttachmentStatus.ATTACHING, self._wall())
        self._put(replace(eni, attachment=attachment, delete_on_termination=False))
        self._after(self.delays.attach, lambda: self._attached(attachment))
        return attachment.id

    def detach(self, attachment_id: str, *, force: bool) -> None:
        eni, attachment = self.state.attached_by(attachment_id)
        if attachment.device_index == 0:
            raise CloudError(f"OperationNotPermitted: {eni.id} is a primary interface")
        if attachment.status is AttachmentStatus.DETACHING and not force:
            raise LookAgain(f"IncorrectState: {attachment_id} is detaching")
        self._put(replace(eni, attachment=replace(attachment, status=AttachmentStatus.DETACHING)))
        if force:
            self._after(self.delays.force_detach, lambda: self._detached(attachment_id))
        else:
            self._after(self.delays.detach, lambda: self._detached_unless_hung(attachment))

    def delete(self, eni_id: str) -> None:
        if self.state.eni(eni_id).attachment is not None:
            raise LookAgain(f"InvalidParameterValue: {eni_id} is currently in use")
        self._delete(eni_id)

    def modify(self, eni_id: str, change: Callable[[Eni], Eni]) -> None:
        """CreateTags and ModifyNetworkInterfaceAttribute."""
        self._put(change(self.state.eni(eni_id)))

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """AssignPrivateIpAddresses of one address, or AssignIpv6Addresses; the former owner has it until that takes
        effect.
        """
        eni = self.state.eni(eni_id)
        try:
            require_usable(address, self.subnets[eni.subnet_id])
        except CloudError as error:
            # EC2 has the same code for this and for an IPv6 address that was moved meanwhile.
            raise LookAgain(str(error)) if isinstance(address, IPv6Address) else error from error
        owner = self.state.owner(address)
        rivals = {owner.id if owner is not None else "", self._heir(address)} - {"", eni_id}
        if rivals and not (reassign and isinstance(address, IPv4Address)):
            raise LookAgain(f"Resource.AlreadyAssigned: {address} is already assigned to {rivals}")
        if owner is not None and owner.id in rivals and owner.address == address:
            raise CloudError(f"InvalidParameterValue: {address} is the primary address of {owner.id}")
        self._require_room(eni, address)
        if self._heir(address) != eni_id:
            self._begin(_Move(address, eni_id), self.delays.assign)

    def assign_any(self, eni_id: str) -> None:
        """AssignPrivateIpAddresses with a count of one."""
        address = self._free_address(self.subnets[self.state.eni(eni_id).subnet_id])
        self.assign(eni_id, address, reassign=False)

    def unassign(self, eni_id: str, address: Address) -> None:
        """UnassignPrivateIpAddresses or UnassignIpv6Addresses."""
        if self._heir(address) != eni_id or address == self.state.eni(eni_id).address:
            raise LookAgain(f"InvalidParameterValue: {address} is not assigned to {eni_id}")
        self._begin(_Move(address), self.delays.unassign)

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """AssociateAddress without reassociation."""
        if allocation_id not in self.state.allocations:
            raise CloudError(f"InvalidAllocationID.NotFound: {allocation_id}")
        allocation, eni = self.state.allocations[allocation_id], self.state.eni(eni_id)
        if address != eni.address and address not in eni.secondary:
            raise CloudError(f"InvalidParameterValue: {address} is not an address of {eni_id}")
        if allocation.border_group != eni.zone[:-1]:
            raise CloudError(f"InvalidParameterValue: {allocation_id} is in {allocation.border_group}, {eni_id} not")
        if eni.elastic.get(address) == allocation_id:
            return
        if allocation.eni_id or address in eni.elastic:
            raise AddressTaken(f"Resource.AlreadyAssociated: {allocation_id} or {address} of {eni_id}")
        self._put_allocation(replace(allocation, eni_id=eni_id))
        self._put(replace(eni, elastic={**eni.elastic, address: allocation_id}))

    def disassociate(self, allocation_id: str) -> None:
        """DisassociateAddress: what the product never does, but somebody else may."""
        allocation = self.state.allocations[allocation_id]
        self._put_allocation(replace(allocation, eni_id=""))
        self.modify(allocation.eni_id, lambda eni: replace(eni, elastic=without(eni.elastic, allocation_id)))

    # What happens later.

    def _begin(self, move: _Move, delay: float) -> None:
        self._moves[move.address] = move
        self._after(delay, lambda: self._finish(move))

    def _finish(self, move: _Move) -> None:
        if self._moves.get(move.address) is not move:
            return  # a later call about this address has replaced this one
        del self._moves[move.address]
        address, owner = move.address, self.state.owner(move.address)
        allocation_id = ""
        if owner is not None and owner.id != move.eni_id:
            allocation_id = owner.elastic.get(address, "") if isinstance(address, IPv4Address) else ""
            self._put(parted(owner, address))
        if owner is None or owner.id != move.eni_id:
            if move.eni_id:
                self._put(joined(self.state.enis[move.eni_id], address, allocation_id))
            if allocation_id:
                self._put_allocation(replace(self.state.allocations[allocation_id], eni_id=move.eni_id))

    def _attached(self, attachment: Attachment) -> None:
        for eni in self.state.enis.values():
            if eni.attachment == attachment:
                self._put(replace(eni, attachment=replace(attachment, status=AttachmentStatus.ATTACHED)))

    def _detached_unless_hung(self, attachment: Attachment) -> None:
        if attachment.instance_id not in self._hung:
            self._detached(attachment.id)

    def _detached(self, attachment_id: str) -> None:
        for eni in self.state.enis.values():
            if eni.attachment is not None and eni.attachment.id == attachment_id:
                self._put(replace(eni, attachment=None, delete_on_termination=False))

    def _release(self, instance_id: str) -> None:
        for eni in tuple(self.state.enis.values()):
            if eni.attachment is not None and eni.attachment.instance_id == instance_id:
                self._detached(eni.attachment.id)
                if eni.delete_on_termination:
                    self._delete(eni.id)

    def _stopped(self, instance_id: str) -> None:
        if self.state.instances[instance_id].state is InstanceState.STOPPING:
            self._turn(instance_id, InstanceState.STOPPED)

    def _turn(self, instance_id: str, state: InstanceState) -> None:
        instance = replace(self.state.instances[instance_id], state=state)
        self._set(instances={**self.state.instances, instance_id: instance})

    def _after(self, delay: float, action: Callable[[], None]) -> None:
        if delay <= 0:
            action()
        else:
            heapq.heappush(self._due, (self.now + delay, next(self._order), action))

    # State.

    def _new_eni(self, subnet: Subnet, address: IPv4Address) -> Eni:
        number = next(self._ids)
        mac = ":".join(f"{byte:02x}" for byte in (0x02 << 40 | number).to_bytes(6))
        return Eni(f"eni-{number:017x}", mac, address, subnet.id, subnet.zone)

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._ids):017x}"

    def _heir(self, address: Address) -> str:
        """The ENI that will have the address once all accepted calls have taken effect; empty if none will."""
        if address in self._moves:
            return self._moves[address].eni_id
        owner = self.state.owner(address)
        return owner.id if owner is not None else ""

    def _require_free(self, address: Address, subnet: Subnet) -> None:
        require_usable(address, subnet)
        if address in self._moves or self.state.owner(address) is not None:
            raise LookAgain(f"InvalidIPAddress.InUse: {address}")

    def _require_room(self, eni: Eni, address: Address) -> None:
        if eni.attachment is None:
            return
        coming = {move.address for move in self._moves.values() if move.eni_id == eni.id}
        total = {eni.address, *eni.secondary, *eni.ipv6s, *coming, address}
        limit = ADDRESSES[self.state.instances[eni.attachment.instance_id].type]
        if len([other for other in total if other is not None and other.version == address.version]) > limit:
            raise NoFreeSlot(f"PrivateIpAddressLimitExceeded: {eni.id} may have {limit}")

    def _free_address(self, subnet: Subnet) -> IPv4Address:
        taken = {address for eni in self.state.enis.values() for address in (eni.address, *eni.secondary)}
        [network] = [network for network in subnet.networks if isinstance(network, IPv4Network)]
        for address in itertools.islice(network, 4, network.num_addresses - 1):
            if address not in taken | self._moves.keys():
                return address
        raise CloudError(f"InsufficientFreeAddressesInSubnet: {subnet.id}")

    def _put(self, eni: Eni) -> None:
        self._set(enis={**self.state.enis, eni.id: eni})

    def _put_allocation(self, allocation: AllocationFacts) -> None:
        self._set(allocations={**self.state.allocations, allocation.id: allocation})

    def _delete(self, eni_id: str) -> None:
        for address, move in list(self._moves.items()):
            if move.eni_id == eni_id:
                del self._moves[address]  # a move to the deleted ENI is dropped
            elif self.state.enis[eni_id].occupies(address):
                self._finish(move)  # a move away from the deleted ENI is finished now
        for allocation in tuple(self.state.allocations.values()):
            if allocation.eni_id == eni_id:
                self._put_allocation(replace(allocation, eni_id=""))
        self._set(enis={id_: eni for id_, eni in self.state.enis.items() if id_ != eni_id})

    def _set(self, **parts: Mapping[str, Any]) -> None:
        self.state = replace(self.state, **parts)
        self._past.append((self.now, self.state))
        while len(self._past) > 1 and self._past[1][0] < self.now - MEMORY:
            self._past.popleft()
