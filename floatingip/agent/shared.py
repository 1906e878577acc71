"""What all floating addresses of an agent know together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import NAME_BEGINS, NO_MANAGE_TAG, OWNER_TAG, Eni, Instance, InstanceState, Subnet
from floatingip.core.errors import Denied
from floatingip.core.model import Carry
from floatingip.core.node import Identity
from floatingip.core.probe import NodePort, Served
from floatingip.core.settings import Settings


@dataclass
class Shared:
    """About this node, its VPC and the other instances.

    ``name`` is whose ENIs are ours, empty while that is unknown; ``groups`` are the security groups of ENIs that this
    node makes, ``groups_are_set``: by the settings, not its own; ``subnets`` is None until EC2 told them; ``slots`` is
    how many ENIs this instance may have, None while that is unknown; ``denied`` are IAM actions that dry runs showed
    denied; ``slots_changed_at`` is when this instance's slots last changed, None once an answer to a later question has
    shown them, and ``described_at`` when that was asked which is known of them; ``standings`` are this node's standing
    ENIs by subnet; ``ours`` are all ENIs of ours, ``orphans`` those of them that FLOATING_IP does not name; ``mixed``
    are interfaces of the other way to carry; ``unanswered`` is why EC2 last gave no answer that could be read, empty
    once it has; ``leaving`` is why this node is about to end, empty while it is not, and ``written_off``: only since
    Kubernetes has given it up; ``witness_at`` and ``ready_at`` are when the API server answered last, and called the
    own pod Ready; ``node_ports`` are those that are checked, and ``served`` is on which nodes they answered lately,
    asked from here; ``wants_node_ports``: as far as is known, there are some that should answer at the address.
    """

    me: Identity
    name: str
    groups: tuple[str, ...]
    carry: Carry
    groups_are_set: bool = False
    instances: dict[str, Instance] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] | None = None
    slots: int | None = None
    orphans: frozenset[str] = frozenset()
    denied: tuple[str, ...] = ()
    full_until: float = float("-inf")
    slots_changed_at: float | None = None
    described_at: float = float("-inf")
    standings: dict[str, Standing] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    mixed: str = ""
    unanswered: str = ""
    leaving: str = ""
    written_off: bool = False
    witness_at: float | None = None
    ready_at: float | None = None
    node_ports: tuple[NodePort, ...] = ()
    wants_node_ports: bool = True
    served: Served = field(default_factory=dict)

    def free_slots(self) -> int | None:
        """ENIs that this instance has room for, as far as is known; where only addresses move, 0 while its standing ENI
        or that one's device is not there, and then None: room for addresses is not told.
        """
        mine = self.instances.get(self.me.instance_id)
        slots = None if self.slots is None or mine is None else max(0, self.slots - len(mine.device_indexes))
        return way_to(self.carry).room(slots, (standing.problem for standing in self.standings.values()))

    def slots_change(self, now: float) -> None:
        """An ENI comes to this instance, or goes."""
        self.slots_changed_at = now

    def describe(self, instances: Mapping[str, Instance], asked_at: float) -> Mapping[str, Instance]:
        """EC2 described instances when it was asked at that time: it says nothing of what changed since.

        Return what of it could be read.
        """
        me, changed_at = self.me.instance_id, self.slots_changed_at
        read = {key: instance for key, instance in instances.items() if instance.state is not InstanceState.UNREAD}
        told = {key: self._told(instance) for key, instance in read.items()}
        self.instances.update({key: instance for key, instance in told.items() if key != me})
        if me not in told or asked_at < self.described_at:
            return told
        if changed_at is None or asked_at > changed_at:
            self.slots_changed_at = None
        elif me in self.instances:
            return told
        self.instances[me], self.described_at = told[me], asked_at
        return told

    def _told(self, instance: Instance) -> Instance:
        """The instance; where EC2 did not tell its address, with the one that it had before."""
        before = self.instances.get(instance.id)
        if instance.address is not None or before is None or instance.state.announces_death:
            return instance
        return replace(instance, address=before.address)

    def is_full(self, now: float) -> None:
        """EC2 said that this instance has no room."""
        self.full_until = now + timing.FULL_FOR

    def taken(self, settings: Settings) -> frozenset[int]:
        """Device indexes of this instance that a new attachment must not use."""
        mine = self.instances.get(self.me.instance_id)
        return frozenset(range(settings.device_index)) | (mine.device_indexes if mine is not None else frozenset())

    def groups_of(self, eni: Eni | None) -> tuple[str, ...]:
        """The security groups that the ENI should have; none where it keeps those that it has: whoever made it for us
        chose them, and only the settings choose others.
        """
        return () if eni is not None and eni.is_adopted and not self.groups_are_set else self.groups

    def tags(self, what: str) -> dict[str, str]:
        """What every ENI of ours is tagged with from the first moment."""
        return {
            "Name": f"{NAME_BEGINS}{self.name} {what}",
            OWNER_TAG: self.name,
            # The VPC CNI leaves an interface alone only if this tag is there from the first moment.
            NO_MANAGE_TAG: "true",
        }

    def token(self, what: str, generation: int) -> str:
        """A client token that is the same for every observer, so that two of them at once make one ENI.

        EC2 takes 64 characters at most.
        """
        said = "\0".join((self.me.vpc_id, self.name, what, str(generation)))
        return hashlib.sha256(said.encode()).hexdigest()

    def node_of(self, instance_id: str) -> str:
        """The name of this instance's node; empty while it is not known."""
        instance = self.instances.get(instance_id)
        return instance.node if instance is not None else ""

    def denial(self) -> str:
        """What IAM denies that a takeover needs, in words; empty where it denies nothing."""
        return str(Denied(*self.denied)) if self.denied else ""

    def outpost(self) -> str:
        """The ARN of the Outpost that this node is on, empty where it is on none."""
        mine = self.instances.get(self.me.instance_id)
        return mine.outpost if mine is not None else ""
