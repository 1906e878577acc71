"""
What the agent asks for, as values: the runtime does it, and reports what came of it by events (events.py).

``Probe``, ``Keep``, ``AskPeers``, ``AskPod`` and ``Publish`` hold until the next of their kind; the others are done
once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from floatingip.agent.looks import Question
from floatingip.core.ec2 import Eni, Instance, Subnet
from floatingip.core.errors import FloatingIPError
from floatingip.core.model import Address, Target
from floatingip.core.move import Move
from floatingip.core.news import News
from floatingip.core.plumbing import Extent, Plumbing
from floatingip.core.probe import NodePort
from floatingip.core.snapshot import Snapshot
from floatingip.core.writes import Write


class Part(Enum):
    """One part of what a rehearsal finds out; each part succeeds or fails independently of the others."""

    PERMISSIONS = auto()
    RESERVATIONS = auto()
    SLOTS = auto()


class Level(StrEnum):
    """The level of a line of the log."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Probing:
    """
    Probes of one place: one every ``interval`` seconds, or every ``fast_interval`` seconds while they are lost.

    ``whose`` says whose answers they are: a floating address as the settings have it, or a node's instance id.
    ``address`` is where they are sent.  Without a ``node_port`` they are pings.
    """

    whose: str
    address: Address
    interval: float
    fast_interval: float
    node_port: NodePort | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Run these probes from now on, and no others."""

    probings: frozenset[Probing]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the kernel should have for one address: the part ``extent`` of this plumbing, if the link is there."""

    plumbing: Plumbing
    extent: Extent


@dataclass(frozen=True, slots=True)
class Keep:
    """From now on keep the kernel for the target as ``wanted``."""

    target: Target
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Clear:
    """Remove this plumbing from the kernel: its address is given back to EC2, and a pod of this node may get it."""

    plumbing: Plumbing


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the neighbours, for a while, where the target is now."""

    target: Target


@dataclass(frozen=True, slots=True)
class AskPeers:
    """
    From now on ask the holders' observers, and all peers, for their word.

    ``holders`` has the holders' primary addresses by instance id.  ``known`` are ids of instances that may have an
    observer, each of which becomes a peer once EC2 confirms it.  ``doubted`` are the floating addresses whose last
    probe was lost.
    """

    holders: Mapping[str, Address]
    known: frozenset[str]
    doubted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Described:
    """EC2, asked at ``asked_at``, described these instances; for the roster, which judges who is a peer (roster.py)."""

    asked_at: float
    instances: Mapping[str, Instance]


@dataclass(frozen=True, slots=True)
class AskPod:
    """From now on ask the API server about this pod every ``every`` seconds."""

    every: float


@dataclass(frozen=True, slots=True)
class AskNotice:
    """Ask IMDS now whether AWS announces the end of this node; without this effect it is asked every few seconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """Ask EC2; with ``metadata`` also ask IMDS, at the same time, where our addresses are."""

    question: Question
    metadata: bool


@dataclass(frozen=True, slots=True)
class Making:
    """What creating and attaching an ENI takes, beside the write itself.

    ``target`` is what the ENI is for, None for a standing ENI.  ``token`` is EC2's client token, empty to create it
    without one.  ``taken`` are the device indexes of this instance that must not be used.
    """

    target: Target | None
    subnet: Subnet | None
    tags: Mapping[str, str]
    token: str
    taken: frozenset[int]


@dataclass(frozen=True, slots=True)
class Perform:
    """Make this write once, and only if ``decided_at`` is not long ago; the event `Wrote` names the same ``writer``."""

    writer: str
    write: Write
    making: Making
    decided_at: float


@dataclass(frozen=True, slots=True)
class Rehearse:
    """
    Find out whether a takeover by this node, the instance ``me``, would be possible, as far as these ``parts`` tell.

    ``eni`` is the ENI in ``subnet`` by which one of ``targets`` would move, None while there is none.  ``tags`` are
    those by which an ENI is ours.  ``slots`` is how many ENIs the instance may have, None while that is not known.
    ``needed`` are the IAM actions without which no takeover is possible.
    """

    parts: tuple[Part, ...]
    eni: Eni | None
    targets: tuple[Target, ...]
    subnet: Subnet
    me: Instance
    tags: Mapping[str, str]
    slots: int | None
    needed: frozenset[str]
    asked_at: float


@dataclass(frozen=True, slots=True)
class ListNodePorts:
    """Ask the API server which NodePorts there are."""


@dataclass(frozen=True, slots=True)
class Publish:
    """From now on tell others what this snapshot says."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Tell:
    """Write a line to the log."""

    level: Level
    event: str
    message: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moved:
    """A move to this node has ended; for the metrics, which count moves."""

    move: Move


@dataclass(frozen=True, slots=True)
class TellKubernetes:
    """Tell the API server as soon as possible; of several roles only the last is told.  Nothing depends on it."""

    news: News


@dataclass(frozen=True, slots=True)
class End:
    """End the process: with this exit code, or with this ``error`` if it cannot do what it was started for."""

    code: int
    error: FloatingIPError | None = None


Effect = (
    Probe
    | Keep
    | Clear
    | Announce
    | AskPeers
    | Described
    | AskPod
    | AskNotice
    | Look
    | Perform
    | Rehearse
    | ListNodePorts
    | Publish
    | Tell
    | Moved
    | TellKubernetes
    | End
)
