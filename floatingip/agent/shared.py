"""What an agent knows that concerns all of its floating addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from floatingip.agent.looks import Seen, cluster_name
from floatingip.agent.standing import Standing
from floatingip.core import timing
from floatingip.core.decision.carry import Way, way_to
from floatingip.core.ec2 import NAME_BEGINS, NO_MANAGE_TAG, OWNER_TAG, Eni, Instance, InstanceState, Subnet
from floatingip.core.errors import Denied
from floatingip.core.model import Target
from floatingip.core.node import Identity
from floatingip.core.probe import NodePort, Served
from floatingip.core.settings import Settings


@dataclass
class Shared:
    """Facts about this node, its VPC, the other instances and Kubernetes.  The agent's parts keep them up to date."""

    me: Identity

    settings: Settings
    """The settings in use.  Those that may change while the agent runs (`settings.LIVE`) are read anew each time."""

    name: str = field(init=False)
    """The deployment's name, by which our ENIs are tagged; empty while it is unknown."""

    # What EC2 says.

    instances: dict[str, Instance] = field(default_factory=dict)
    """The instances that EC2 has described to this agent, by id, each as it was described last; see `forget`."""

    subnets: tuple[Subnet, ...] | None = None
    """The VPC's subnets, None until EC2 has told them."""

    slots: int | None = None
    """How many ENIs this instance may have, None while that is unknown."""

    slots_changed_at: float | None = None
    """When an ENI came to this instance or left it; None once EC2, asked later than that, has described it."""

    described_at: float = float("-inf")
    """When EC2 was asked for the answer from which this instance's used slots are known."""

    _needed_at: dict[str, float] = field(default_factory=dict)
    """When each other instance was last described, or last had an address, whichever was later."""

    coming: dict[Target, str] = field(default_factory=dict)
    """By address, the ENI that this node has fenced or claimed and that is not known to be attached here; empty if
    there is none."""

    full_until: float = float("-inf")
    """Until when this instance counts as full, since EC2 said that it is."""

    ours: frozenset[str] = frozenset()
    """The ids of all ENIs of ours."""

    orphans: frozenset[str] = frozenset()
    """The ids of our ENIs that carry no address of FLOATING_IP."""

    mixed: str = ""
    """Interfaces of ours that belong to the other way to carry, empty where there are none."""

    standings: dict[str, Standing] = field(default_factory=dict)
    """This node's standing ENIs, by subnet."""

    neighbours: frozenset[str] = frozenset()
    """The other instances to which EC2 last showed standing ENIs attached: they may have observers."""

    informed_at: float = float("-inf")
    """When EC2 first told ``neighbours``; minus infinity before it did."""

    denied: tuple[str, ...] = ()
    """The IAM actions that dry runs showed denied."""

    unanswered: str = ""
    """Why EC2's last answer did not come, or could not be read; empty if it came and could be read."""

    # What AWS and Kubernetes say of this node.

    leaving: str = ""
    """Why this node is about to end, empty while it is not."""

    written_off: bool = False
    """The only reason for ``leaving`` is that Kubernetes has given this node up."""

    witness_at: float | None = None
    """When the API server was asked the last question that it answered, None if it never answered."""

    ready_at: float | None = None
    """When the API server was asked the question of its last answer, if that calls this observer's pod Ready; None if
    it does not."""

    told_at: float = float("-inf")
    """Kubernetes and AWS both tell whether this node is to end: when the older one of their last answers was asked
    for; minus infinity while one of them has told nothing."""

    # NodePorts.

    node_ports: tuple[NodePort, ...] = ()
    """The NodePorts that are checked."""

    wants_node_ports: bool = True
    """As far as is known, there are NodePorts that should answer at the addresses."""

    served: Served = field(default_factory=dict)
    """On which nodes which NodePorts answered this node's last checks."""

    def __post_init__(self) -> None:
        self.name = self.settings.name

    @property
    def way(self) -> Way:
        """The way in which addresses are carried."""
        return way_to(self.settings.carry)

    def free_slots(self, besides: str = "") -> int | None:
        """How many more ENIs this instance has room for, None while that is unknown.  Those that are coming count as
        here, but for the ENI ``besides``.

        With `carry: address` it is 0 while this node's standing ENI or its device is not there, and None after that,
        since EC2 does not tell how many more addresses an ENI takes.
        """
        mine, slots = self.instances.get(self.me.instance_id), None
        if self.slots is not None and mine is not None:
            coming = set(self.coming.values()) - {"", besides}
            slots = max(0, self.slots - len(mine.device_indexes) - len(coming))
        return self.way.room(slots, (standing.problem for standing in self.standings.values()))

    def slots_change(self, now: float) -> None:
        """An ENI comes to this instance, or leaves it."""
        self.slots_changed_at = now

    def looked(self, seen: Seen, now: float) -> Mapping[str, Instance]:
        """EC2 answered; return the instances that it described, as far as they could be read."""
        me, described = self.me.instance_id, self.describe(seen.instances, seen.asked_at)
        if seen.subnets is not None:
            self._found_subnets(seen.subnets, (*seen.enis.values(), *seen.standing))
        if not self.name and me in self.instances:
            self.name = cluster_name(self.instances[me].tags)
        self.orphans, self.mixed, self.ours = seen.orphans, seen.mixed, seen.ours
        attachments = (eni.attachment for eni in seen.standing if eni.attachment is not None)
        self.neighbours = frozenset(attachment.instance_id for attachment in attachments) - {me}
        self.informed_at = now if self.informed_at == float("-inf") else self.informed_at
        return described

    def describe(self, instances: Mapping[str, Instance], asked_at: float) -> Mapping[str, Instance]:
        """Take up EC2's description of instances, asked for at ``asked_at``; return those that could be read.

        The description does not know of changes after ``asked_at``.
        """
        me, changed_at = self.me.instance_id, self.slots_changed_at
        read = {key: instance for key, instance in instances.items() if instance.state is not InstanceState.UNREAD}
        told = {key: self._told(instance) for key, instance in read.items()}
        others = {key: instance for key, instance in told.items() if key != me}
        self.instances.update(others)
        self._needed_at.update(dict.fromkeys(others, asked_at))
        if me not in told or asked_at < self.described_at:
            return told
        if changed_at is None or asked_at > changed_at:
            self.slots_changed_at = None
        elif me in self.instances:
            return told
        self.instances[me], self.described_at = told[me], asked_at
        return told

    def forget(self, holders: Collection[str], now: float) -> None:
        """Forget instances that were neither described nor holders for long: EC2 is asked anew if they come back."""
        self._needed_at.update({key: now for key in holders if key in self._needed_at})
        for key in [key for key, at in self._needed_at.items() if now - at > timing.INSTANCE_KEPT]:
            del self._needed_at[key], self.instances[key]

    def _told(self, instance: Instance) -> Instance:
        """The instance; if it is alive and EC2 did not tell its address, with the address that is known from before."""
        before = self.instances.get(instance.id)
        if instance.address is not None or before is None or instance.state.announces_death:
            return instance
        return replace(instance, address=before.address)

    def _found_subnets(self, subnets: tuple[Subnet, ...], enis: Iterable[Eni]) -> None:
        """EC2 showed these subnets.  A known one is kept if EC2 showed an interface in it: then it was not deleted."""
        shown, used = {subnet.id for subnet in subnets}, {eni.subnet_id for eni in enis}
        kept = (each for each in self.subnets or () if each.id in used - shown)
        self.subnets = (*subnets, *kept)

    def found_full(self, now: float) -> None:
        """EC2 has just said that this instance has no room: nothing is attached to it for a while."""
        self.full_until = now + timing.FULL_FOR

    def taken(self) -> frozenset[int]:
        """Device indexes of this instance that a new attachment must not use."""
        mine = self.instances.get(self.me.instance_id)
        return frozenset(range(self.settings.device_index)) | (mine.device_indexes if mine is not None else frozenset())

    def groups_of(self, eni: Eni | None) -> tuple[str, ...]:
        """The security groups that the ENI should have; empty if it keeps those that it has.

        An adopted ENI keeps those that its maker chose, unless the settings name others.
        """
        named = self.settings.security_groups
        if named or eni is None or not eni.is_adopted:
            return named or self.me.security_groups
        return ()

    def tags(self, what: str) -> dict[str, str]:
        """The tags with which every ENI of ours is created; ``what`` it is for becomes part of its name."""
        return {
            "Name": f"{NAME_BEGINS}{self.name} {what}",
            OWNER_TAG: self.name,
            # The VPC CNI leaves an interface alone only if it is created with this tag.
            NO_MANAGE_TAG: "true",
        }

    def token(self, what: str, generation: int) -> str:
        """A client token that is the same for every observer, so that two of them at once make one ENI.

        A digest, since EC2 takes at most 64 characters.
        """
        said = "\0".join((self.me.vpc_id, self.name, what, str(generation)))
        return hashlib.sha256(said.encode()).hexdigest()

    def node_of(self, instance_id: str) -> str:
        """The name of this instance's node; empty while it is not known."""
        instance = self.instances.get(instance_id)
        return instance.node if instance is not None else ""

    def denial(self) -> str:
        """A sentence on the actions that a takeover needs and IAM denies; empty if IAM denies none."""
        return str(Denied(*self.denied)) if self.denied else ""

    def outpost(self) -> str:
        """The ARN of the Outpost that this node is on, empty where it is on none."""
        mine = self.instances.get(self.me.instance_id)
        return mine.outpost if mine is not None else ""
