"""Where one floating address is, by EC2 and IMDS; whether this node could carry it, and by which ENI."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from floatingip.agent import obstacles
from floatingip.agent.looks import Seen
from floatingip.agent.shared import Shared
from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision import ration
from floatingip.core.decision.evidence import reached_by_tag
from floatingip.core.decision.room import Room
from floatingip.core.decision.view import attachment_of
from floatingip.core.ec2 import OWNER_TAG, AllocationFacts, Attachment, Eni, Owner, Subnet
from floatingip.core.lack import Lack, Shortcoming
from floatingip.core.model import Address, Allocation, Target
from floatingip.core.node import Interface
from floatingip.core.plumbing import Plumbing
from floatingip.core.settings import mark_values

ROUTER_V6 = IPv6Address("fe80:ec2::1")
"""The VPC router's address for IPv6, the same on every link."""


class Whereabouts:
    """Where ``target`` is, which is the ``index``-th of the settings.

    ``owner`` is what EC2 last said of who has it, None before EC2 said anything.  ``records`` has the values of the
    ration's tag for this target on the standing ENIs, by ENI id.  ``reached_by_tags`` is as in `View`.  ``allocation``
    is what EC2 tells of an Elastic IP.  Once ``allocation_known``, None means that there is no such Elastic IP.
    """

    def __init__(self, target: Target, index: int, shared: Shared) -> None:
        self.target = target
        self._index = index
        self._mark = mark_values(shared.settings.mark)[index]
        self._shared = shared
        self._way = shared.way
        self.owner: Owner | None = None
        self.records: Mapping[str, str] = {}
        self.reached_by_tags = float("-inf")
        self.allocation: AllocationFacts | None = None
        self.allocation_known = False
        self._associated: tuple[str, float] = ("", float("-inf"))
        self._interface: Interface | None = None
        self._subnet: tuple[Owner | None, tuple[Subnet, ...] | None, Subnet | None] = (None, None, None)
        self._held: Owner | None = None
        self._was_ours = ""
        self._private: Address | None = None

    # What is told.

    def looked(self, seen: Seen) -> None:
        """EC2 answered."""
        target, key = self.target, self._way.of_one(ration.TAG, self.target)
        if target in seen.allocations:
            self.found_allocation(seen.allocations[target], seen.asked_at)
        owner = self.owner = Owner(seen.asked_at, seen.enis.get(target), seen.instances, seen.calls)
        self.records = {eni.id: eni.tags[key] for eni in seen.standing if eni.tags.get(key)}
        reached = (reached_by_tag(eni, self._way, target) for eni in seen.standing)
        self.reached_by_tags = max(reached, default=float("-inf"))
        if owner.eni is not None:
            if not self.is_foreign():
                self._was_ours = owner.eni.id
            self._held = owner if self.holder() == self._shared.me.instance_id else None
            self._private = owner.eni.address_of(self.target)

    def found_allocation(self, facts: AllocationFacts | None, asked_at: float = float("-inf")) -> None:
        """EC2, asked at ``asked_at``, told of the Elastic IP, or that there is none (None)."""
        self.allocation, self.allocation_known = facts, True
        eni_id = facts.eni_id if facts is not None else ""
        if eni_id != self._associated[0]:
            self._associated = eni_id, asked_at

    def expect_at(self, interface: Interface) -> None:
        """IMDS shows the address on a link of this node: this counts until EC2 has answered for the first time."""
        if self.owner is None:
            self.found_interface(interface)

    def found_interface(self, interface: Interface) -> bool:
        """IMDS shows the address on a link of this node: enough to plumb it while EC2 cannot be asked (R9).

        Return whether it counts.  It does not on the primary interface, nor, with `carry: eni`, as an added address of
        another interface: then the address is the node's own or a pod's.
        """
        if interface.mac == self._shared.me.mac or not (interface.as_primary or self._way.has_standing_enis):
            return False
        self._interface = interface
        return True

    def is_expected(self) -> bool:
        """IMDS shows the address on a link of this node, and EC2 has told nothing of it yet."""
        return self._expected() is not None

    def _expected(self) -> Interface | None:
        return self._interface if self.owner is None else None

    # What follows.

    def attachment(self) -> Attachment | None:
        """The attachment by which EC2 last showed the address as held; None where it showed none."""
        return attachment_of(self.owner) if self.owner is not None else None

    def _eni(self) -> Eni | None:
        """The ENI on which EC2's last answer shows the address; None where it shows none."""
        return self.owner.eni if self.owner is not None else None

    def is_foreign(self) -> bool:
        """EC2's last answer shows the address on an ENI that is not ours."""
        eni = self._eni()
        return eni is not None and eni.tags.get(OWNER_TAG) != self._shared.name

    def unshown(self) -> str:
        """The attachment by which EC2 last showed the address here, if EC2 now shows neither that ENI nor anybody who
        has the address; otherwise empty.
        """
        held = self._held
        if held is None or held.eni is None or held.eni.id in self._shared.ours:
            return ""
        attachment = attachment_of(held)
        return attachment.id if attachment is not None else ""

    def holder(self) -> str:
        """The instance that EC2's last answer shows as the holder; empty if it shows none."""
        attachment = self.attachment()
        return attachment.instance_id if attachment is not None else ""

    def coming(self) -> str:
        """The ENI that has the address, if EC2 has not described it as attached to this instance; otherwise empty."""
        eni = self._eni()
        if eni is None:
            return ""
        mine, bound = self._shared.instances.get(self._shared.me.instance_id), eni.attachment
        if mine is not None and bound is not None and bound.instance_id == mine.id:
            return "" if bound.device_index in mine.device_indexes else eni.id
        return eni.id

    def address(self) -> Address | None:
        """The address that a node carries and others probe; None while it is not known.

        For an Elastic IP that is its private address, also the last one if EC2 shows no ENI with it any more.
        """
        return self._private if isinstance(self.target, Allocation) else self.target

    def is_known(self) -> bool:
        """Whether EC2 has told all that is needed to say what keeps this node from carrying the address."""
        is_told = not isinstance(self.target, Allocation) or (self.allocation_known and not self.awaits_tags())
        return self.owner is not None and self._shared.subnets is not None and is_told

    def awaits_tags(self) -> bool:
        """The Elastic IP is associated with an interface that may prove to be ours: EC2 shows tags late."""
        eni_id, since = self._associated
        if self.owner is None or self.owner.eni is not None or not eni_id or eni_id in self._shared.ours:
            return False
        return self.owner.asked_at - since < timing.TAGGED_WITHIN

    def subnet(self) -> Subnet | None:
        """The subnet of the address' ENI, or the one in which it would be created; None if none is known.

        An ENI for an Elastic IP is created in this node's own subnet.
        """
        owner, subnets, found = self._subnet
        if owner is not self.owner or subnets is not self._shared.subnets:
            # Kept, as it is asked for several times at each decision, and stays the same until EC2 answers again.
            found = self._find_subnet()
            self._subnet = self.owner, self._shared.subnets, found
        return found

    def _find_subnet(self) -> Subnet | None:
        subnets = self._shared.subnets or ()
        if self.owner is not None and self.owner.eni is not None:
            return next((s for s in subnets if s.id == self.owner.eni.subnet_id), None)
        if isinstance(self.target, Allocation):
            return next((s for s in subnets if s.id == self._shared.me.subnet_id), None)
        return next((s for s in subnets if s.network_of(self.target) is not None), None)

    def obstacle(self, now: float) -> Shortcoming:
        """Why this node could not carry the address at all, or not now."""
        if self._shared.subnets is None:
            return Shortcoming(Lack.SUBNET_UNKNOWN, "its subnet is not known yet")
        if impossible := self.impossible():
            return Shortcoming(Lack.IMPOSSIBLE, impossible)
        if self.holder() == self._shared.me.instance_id:
            return Shortcoming()
        if self._way.needs(self.target).intersection(self._shared.denied):
            return Shortcoming(Lack.DENIED, self._shared.denial())
        no_room = self._no_room(now)
        return Shortcoming(Lack.NO_ROOM, no_room) if no_room else Shortcoming()

    def _no_room(self, now: float) -> str:
        """Why this node has no room for the address now, though it may have later; empty if it has."""
        shared, me = self._shared, self._shared.me
        standing = self.standing()
        eni = self._eni()
        room = Room(
            me.instance_id,
            free_slots=shared.free_slots(besides=eni.id if eni is not None else ""),
            is_full=now < shared.full_until,
            standing=standing.eni if standing is not None else None,
            problem=standing.problem if standing is not None else "its standing ENI is not known yet",
            elsewhere=self._elsewhere(),
        )
        return self._way.obstacle(room)

    def _elsewhere(self) -> str:
        """Why the address cannot be had now although nobody serves it; empty if no reason is known."""
        if self.owner is None:
            return ""
        eni = self.owner.eni
        if eni is not None and eni.withholds(self.target):
            return f"EC2 gave {self.target} to {eni.id}, a standing ENI, as its own; another one takes its place"
        if eni is not None and eni.standing_for and self._is_on_primary(eni):
            return (
                f"somebody associated {self.target} with the primary address of {eni.id}, which cannot move;"
                " disassociate it, and it is associated anew"
            )
        if eni is None and self.allocation and self.allocation.eni_id:
            return f"EC2 is about to show {self.target} on {self.allocation.eni_id}"
        return ""

    def _is_on_primary(self, eni: Eni) -> bool:
        """The target is an Elastic IP that is associated with the ENI's own address."""
        return eni.address is not None and eni.elastic.get(eni.address) == str(self.target)

    def standing(self) -> Standing | None:
        """The standing ENI of this node in the address' subnet; None if no standing ENI is kept there."""
        subnet = self.subnet()
        return self._shared.standings.get(subnet.id) if subnet is not None else None

    def impossible(self) -> str:
        """Why the address can never be on this node, however long it waits; empty if it can."""
        eni = self._eni()
        if isinstance(self.target, Allocation) and not (eni is not None and self.target.id in eni.elastic.values()):
            if not self.allocation_known:
                return f"{self.target} is not known yet"
            if self.awaits_tags():
                return f"{self.target} is associated with {self._associated[0]}, and it is not known yet whose that is"
            if unusable := obstacles.unusable(self.target, self.allocation, eni, self._shared):
                return unusable
        return obstacles.misplaced(self.target, self.subnet(), self._shared)

    def plumbing(self) -> Plumbing | None:
        """What this node needs in its kernel to carry the address; None while that is not known."""
        settings, subnet, address = self._shared.settings, self.subnet(), self.address()
        if address is None:
            return None
        expected, mac = self._expected(), self.mac()
        network = subnet.network_of(address) if subnet is not None else None
        network = expected.network if expected is not None else network
        if network is None or not mac:
            return None
        return Plumbing(
            address=address,
            mac=mac,
            # The VPC router has the second address of the subnet's network, and for IPv6 a link-local address.
            gateway=network[1] if isinstance(address, IPv4Address) else ROUTER_V6,
            primary_mac=self._shared.me.mac,
            table=settings.table + self._index,
            priority=settings.priority + 2 * self._index,
            mark=self._mark,
            mark_mask=settings.mark,
        )

    def own_eni(self) -> Eni | None:
        """The ENI by which this node would carry the address: the address' own one, or the node's standing one."""
        standing = self.standing()
        return self._way.own(self.owner, standing.eni if standing is not None else None)

    def bound_eni(self) -> Eni | None:
        """The ENI by which this node carries the address, or last carried it: also while that ENI is being detached,
        and after EC2 has begun to show nobody with the address.

        None if the ENI was never ours: nothing is put on its link or taken off it, even if it is attached to this node.
        """
        standing, owner = self.standing(), self.owner
        if self._held is not None and owner is not None and owner.eni is None:
            owner = self._held
        if owner is not None and owner.eni is not None and owner.eni.id != self._was_ours:
            owner = None
        return self._way.own(owner, standing.bound if standing is not None else None)

    def mac(self) -> str:
        """The MAC of `bound_eni`, or of the link that IMDS shows while EC2 has not answered; empty if none is known."""
        found = self._expected() or self.bound_eni()
        return found.mac if found is not None else ""
