"""
The glossary: what the agent knows, as frozen values without behaviour beyond reading themselves.

Terms:

- **floating address**: the reserved VPC address that this project keeps on a live worker.
- **ENI**: the elastic network interface that has the floating address.  With ``carry: eni`` each address has one of its
  own, which moves with it; with ``carry: address`` each node has a **standing ENI**, and the address moves between
  them.
- **attachment**: one binding of the ENI to one instance.  EC2 gives each its own id, so the id is the fencing token:
  whoever detaches names the attachment that was judged, and can never evict a newer holder.
- **holder**: the worker that the ENI is attached to.  **Standby**: any other worker with an observer.
- **failover**, seen by the new holder a **takeover**: an unplanned move.  **Handover**: a planned one.
- **fencing**: taking the address from the judged attachment before it is claimed: by detaching it, or from its ENI.
- **word**: what the holder's observer says of itself when it is asked.

Times are seconds: ``*_at`` on the agent's own clock, which never jumps, unless the name says ``wall``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, order=True)
class Allocation:
    """An Elastic IP, or an Outpost's customer-owned IP, by its allocation id: it is associated with the ENI."""

    id: str

    def __str__(self) -> str:
        return self.id


Target = IPv4Address | IPv6Address | Allocation
"""What the user reserved, one of ``FLOATING_IP``: it has an ENI of its own."""

Network = IPv4Network | IPv6Network


def subnets_network(network: Network) -> Network:
    """The same.  Raises ValueError for one without room for the VPC's router, which is at its second address."""
    if network.num_addresses < 4:
        raise ValueError(f"{network} is no network of a subnet")
    return network


OWNER_TAG = "floatingip"
"""The tag that makes an ENI ours: its value is the settings' ``name``."""

ALLOCATION_TAG = "floatingip/allocation"
"""The tag of an ENI that is there for an Elastic IP: its value is the allocation id."""


NO_MANAGE_TAG = "node.k8s.amazonaws.com/no_manage"
"""The tag by which the VPC CNI leaves an interface alone: its value is `true`."""

NAME_BEGINS = "floatingip "
"""How the tag ``Name`` begins that an ENI has from the first moment if it is of our own making."""

STANDING_TAG = "floatingip/standing"
"""The tag of a standing ENI: its value is the instance that it belongs to."""


class Carry(StrEnum):
    """What moves at a failover: an ENI with the address, or the address between ENIs that are there already."""

    ENI = "eni"
    ADDRESS = "address"


class Extent(StrEnum):
    """How much of its plumbing a node should have: nothing, all that can be there ahead of the address, all, or what
    can be ahead and the rest as it is found.
    """

    NOTHING = "nothing"
    AHEAD = "ahead"
    ALL = "all"
    AS_FOUND = "as-found"


class AttachmentStatus(StrEnum):
    """EC2's ``Attachment.Status``; ``NetworkInterface.Status`` is no evidence of an attachment's state."""

    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"


class InstanceState(StrEnum):
    """EC2's ``Instance.State.Name``; ``UNREAD`` for a word that is none of these."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNREAD = "unread"

    @property
    def announces_death(self) -> bool:
        """EC2 itself says that this instance serves nobody any more, or soon will not."""
        return self not in (InstanceState.PENDING, InstanceState.RUNNING, InstanceState.UNREAD)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One binding of an ENI to an instance; ``since_wall`` is when EC2 made it, in Unix seconds, None if not known."""

    id: str
    instance_id: str
    device_index: int
    status: AttachmentStatus
    since_wall: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Eni:
    """An ENI as DescribeNetworkInterfaces shows it; ``attachment`` is None when it is free.

    ``address`` is its primary private IPv4 address, None in an IPv6-only subnet, ``secondary`` are the others;
    ``elastic`` are the allocation ids of the Elastic IPs that are associated with it, by private address.  ``unread``
    says what of EC2's answer could not be read: then nothing may be concluded from what is not there.
    """

    id: str
    mac: str
    address: IPv4Address | None
    subnet_id: str
    zone: str
    attachment: Attachment | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    secondary: tuple[IPv4Address, ...] = ()
    ipv6s: tuple[IPv6Address, ...] = ()
    elastic: Mapping[IPv4Address, str] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ()
    source_check: bool = True
    delete_on_termination: bool = False
    unread: str = ""

    @property
    def standing_for(self) -> str:
        """The instance whose standing ENI this is, or nothing when it is none."""
        return self.tags.get(STANDING_TAG, "")

    @property
    def is_adopted(self) -> bool:
        """Somebody else made it, and gave it to us by its tags."""
        return not self.tags.get("Name", "").startswith(NAME_BEGINS)

    def occupies(self, address: Address) -> bool:
        """Does it have the address at all, as whatever?"""
        return address in (self.address, *self.secondary, *self.ipv6s)

    def carries(self, target: Target) -> bool:
        """Does it have the target now, or, as an ENI of its own, is it there for it?

        A standing ENI has it as a secondary address, or as the Elastic IP of one; another ENI as its primary address,
        an IPv6 address, or by its tag for an allocation.
        """
        match target:
            case IPv4Address():
                return target in self.secondary if self.standing_for else target == self.address
            case IPv6Address():
                return target in self.ipv6s
            case Allocation() if self.standing_for:
                return target.id in self.elastic.values()
            case Allocation():
                return self.tags.get(ALLOCATION_TAG) == target.id

    def address_of(self, target: Target) -> Address | None:
        """The address by which a node carries the target that this ENI carries: for an Elastic IP a private one, which
        it lacks in an IPv6-only subnet.
        """
        if not isinstance(target, Allocation):
            return target
        private = (address for address, allocation_id in self.elastic.items() if allocation_id == target.id)
        return next(private, self.address)


@dataclass(frozen=True, slots=True)
class AllocationFacts:
    """An Elastic IP as DescribeAddresses shows it; ``eni_id`` is what it is associated with, or nothing."""

    id: str
    public_address: str
    border_group: str
    eni_id: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as DescribeInstances shows it; ``address`` is its primary private IPv4 address, ``node`` its private
    DNS name, by which EKS calls its node.
    """

    id: str
    state: InstanceState
    address: Address | None
    zone: str
    device_indexes: frozenset[int]
    tags: Mapping[str, str] = field(default_factory=dict)
    type: str = ""
    outpost: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of the worker's VPC, with all of its networks; ``outpost`` is the ARN of the Outpost it is on, or
    nothing; ``unread`` says what of EC2's answer could not be read.
    """

    id: str
    networks: tuple[Network, ...]
    zone: str
    outpost: str = ""
    unread: str = ""

    def network_of(self, address: Address) -> Network | None:
        """Its network that contains the address, or None."""
        return next((network for network in self.networks if address in network), None)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, by IMDS.  ``address`` and ``mac`` are the primary interface's; ``node`` is Kubernetes' name for
    it, which IMDS does not know, or nothing.
    """

    instance_id: str
    region: str
    zone: str
    vpc_id: str
    subnet_id: str
    mac: str
    address: IPv4Address
    security_groups: tuple[str, ...]
    node: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """One of this node's interfaces as IMDS shows it, with its subnet's addresses."""

    mac: str
    network: Network


@dataclass(frozen=True, slots=True)
class Plumbing:
    """Everything a node needs so that connections to ``address`` arrive and their replies leave by the same ENI.

    ``gateway`` is the VPC router in the ENI's subnet; ``table`` the routing table for the way back; ``priority`` that
    of the rule ``from address``, the mark's rule comes right behind it; ``mark`` the value, within
    the bits of ``mark_mask``, that carries the decision from the arriving packet to its reply; ``primary_mac`` the
    interface whose MTU is copied.
    """

    address: Address
    mac: str
    gateway: Address
    primary_mac: str
    table: int
    priority: int
    mark: int
    mark_mask: int


class PlumbingState(StrEnum):
    """How much of a :class:`Plumbing` the kernel has.

    ``UNCERTAIN``: nothing is known to be missing, but nft has not said yet, for less than a minute, whether the marks
    are there.
    """

    NO_LINK = "no-link"
    SOUND = "sound"
    UNCERTAIN = "uncertain"
    UNSOUND = "unsound"


@dataclass(frozen=True, slots=True)
class PlumbingReport:
    """What was found after plumbing and reading back.

    ``repaired`` names what had been missing, ``removed`` what had been too much, ``problem`` what the user should know
    to be wrong, even if it is sound; ``extent`` is what was asked for; ``kept_off`` is why no NodePort can answer at
    the address, whatever is plumbed, or nothing; ``blind`` is why the address cannot be probed from here, where it is
    not carried.
    """

    state: PlumbingState
    repaired: tuple[str, ...] = ()
    problem: str = ""
    removed: tuple[str, ...] = ()
    extent: Extent = Extent.ALL
    kept_off: str = ""
    blind: str = ""

    @property
    def carries(self) -> bool:
        """The link is there, with the address."""
        return self.state is not PlumbingState.NO_LINK and self.extent is Extent.ALL


class ProbeOutcome(StrEnum):
    """What came of one probe.  ``FAILED_HERE``: this node could not even send it, which says nothing of the holder."""

    ANSWERED = "answered"
    LOST = "lost"
    FAILED_HERE = "failed-here"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe: when it was sent, when that was known, and what came of it.  ``by_tcp``: it was answered by TCP alone,
    where a ping was not.
    """

    sent_at: float
    known_at: float
    outcome: ProbeOutcome
    detail: str = ""
    by_tcp: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """What EC2 said last of the floating address.

    ``asked_at`` is when the question was asked: an answer speaks of no later time.  ``eni`` is None when no ENI has the
    address; ``instances`` are those that were asked about with it, which may be none; ``calls`` is how many it took.
    """

    asked_at: float
    eni: Eni | None
    instances: Mapping[str, Instance] = field(default_factory=dict)
    calls: int = 1


class WordState(StrEnum):
    """What the judged holder's observer says of itself.

    ``UNASKED``: nobody asked yet.  ``SILENT``: no answer, which a refused connection is too.  ``OTHER``: an answer,
    but not of the judged attachment, so that it vouches for nothing.  ``LEAVING``: it asks to be relieved.
    """

    UNASKED = "unasked"
    SILENT = "silent"
    OTHER = "other"
    SOUND = "sound"
    UNSOUND = "unsound"
    LEAVING = "leaving"


class Sight(StrEnum):
    """Whether the holder could fetch the asker's status from the floating address."""

    UNTRIED = "untried"
    SEEN = "seen"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Word:
    """The holder's word on the judged attachment; ``since`` is when it began to be in this state, infinite while that
    is open: what has not begun has lasted no time; ``refused``: the node itself said that no observer is there, so the
    node is alive; ``written_off``: it asks to be relieved for nothing but what Kubernetes thinks of its node;
    ``ending``: it is its observer's last.
    """

    state: WordState = WordState.UNASKED
    since: float = float("inf")
    sight: Sight = Sight.UNTRIED
    detail: str = ""
    refused: bool = False
    written_off: bool = False
    ending: bool = False

    @property
    def vouches(self) -> bool:
        """The holder serves, and reaches this node from the address; that it would rather not changes nothing."""
        return self.state in (WordState.SOUND, WordState.LEAVING) and self.sight is Sight.SEEN

    @property
    def is_quiet(self) -> bool:
        """Nobody tells, or soon will, how the holder is."""
        return self.state is WordState.SILENT or self.ending


@dataclass(frozen=True, slots=True)
class NodePort:
    """A port by which every node leads to a service.

    ``path`` is what is asked for there by HTTP; without one, a TCP connection that stands is an answer.  ``service`` is
    the Service's name, or nothing where the settings name the port; ``versions`` are the IP versions that it serves.
    """

    port: int
    path: str = ""
    service: str = ""
    versions: frozenset[int] = frozenset((4, 6))


Served = Mapping[str, Mapping[int, bool]]
"""Where one observer asked for NodePorts lately, and whether they answered: by an instance's id at its primary address,
by a sighting (view.py) at a floating one.  What is not in it was not asked."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's observer: when it answered last, under which attachments it sees addresses UP, how many more
    ENIs its node could take, which targets it holds by which attachment, what NodePorts answered it where, whether its
    own node is leaving, and which targets EC2 has accepted for it but does not show there yet.

    ``asked_at`` is when the last question was asked that it answered: it says nothing of what happened later.
    """

    instance_id: str
    heard_at: float
    sees_up: tuple[str, ...] = ()
    free_slots: int | None = None
    holds: Mapping[str, str] = field(default_factory=dict)
    served: Served = field(default_factory=dict)
    leaving: bool = False
    claiming: tuple[str, ...] = ()
    asked_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Notice:
    """AWS announces the end of this node: ``kind`` names the announcement, ``detail`` what it says."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class OwnPod:
    """What came of one question to the Kubernetes API server about the pod that this observer runs in.

    ``answered``: the API server did, with whatever status, so this node reaches it.  ``problem`` says why nothing of
    the pod is known, or nothing; then the rest says nothing.  ``gone``: there is no such pod (any more).  ``deleted``:
    somebody has deleted it, and its grace period runs.  ``disruption`` is the reason of its condition
    `DisruptionTarget`, or nothing.

    ``ready`` is what the condition `Ready` says, which kubelet writes, and the control plane when it gives the node up;
    ``containers_ready`` is `ContainersReady`, which kubelet alone writes.  None where there is no such condition.
    """

    asked_at: float
    answered: bool = False
    problem: str = ""
    gone: bool = False
    deleted: bool = False
    disruption: str = ""
    ready: bool | None = None
    containers_ready: bool | None = None
