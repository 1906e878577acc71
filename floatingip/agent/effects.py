"""
What the agent asks for, as values: the runtime does it, and tells by an event (events.py) what came of it.

``Probe``, ``Keep``, ``AskPeers`` and ``AskPod`` say how it should be from now on; the others are done once.
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
    """What a rehearsal finds out; each part fails by itself."""

    PERMISSIONS = auto()
    RESERVATIONS = auto()
    SLOTS = auto()


class Level(StrEnum):
    """How much a line of the log matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Probing:
    """
    Probes of one place: each ``interval`` seconds, or ``fast_interval`` once one was lost.

    ``whose``: the floating address, or the instance id of the node, that they tell of; ``address`` is where they go;
    without a ``node_port`` they are pings.
    """

    whose: str
    address: Address
    interval: float
    fast_interval: float
    node_port: NodePort | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Probe these, and nothing else."""

    probings: frozenset[Probing]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the kernel should be like for one address: so much of the plumbing, wherever the link is."""

    plumbing: Plumbing
    extent: Extent


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep the kernel like this for the target."""

    target: Target
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the neighbours, for a while, where the target is now."""

    target: Target


@dataclass(frozen=True, slots=True)
class AskPeers:
    """
    Ask the observers of the holders, and all peers, for their word.

    ``holders`` are primary addresses by instance id; ``known`` are instances that observers name, of which EC2 has to
    say who is a peer; ``doubted`` are the floating addresses that do not answer.
    """

    holders: Mapping[str, Address]
    known: frozenset[str]
    doubted: frozenset[str]


@dataclass(frozen=True, slots=True)
class Described:
    """EC2 described these instances when it was asked at that time: whoever judges who is a peer should know."""

    asked_at: float
    instances: Mapping[str, Instance]


@dataclass(frozen=True, slots=True)
class AskPod:
    """Ask the API server about the own pod each ``every`` seconds."""

    every: float


@dataclass(frozen=True, slots=True)
class Look:
    """Ask EC2; ``metadata``: and meanwhile IMDS, where our addresses are."""

    question: Question
    metadata: bool


@dataclass(frozen=True, slots=True)
class Making:
    """What creating and attaching an ENI needs to know: for what, where, with which tags and client token; and which of
    this instance's device indexes are not to be used.
    """

    target: Target | None
    subnet: Subnet | None
    tags: Mapping[str, str]
    token: str
    taken: frozenset[int]


@dataclass(frozen=True, slots=True)
class Perform:
    """Make this write, once; ``writer`` is told what came of it."""

    writer: str
    write: Write
    making: Making


@dataclass(frozen=True, slots=True)
class Rehearse:
    """
    Find out whether a takeover by this node would be possible; ``slots`` is how many ENIs it may have, if known.

    ``eni`` is what would be moved, if that is known, for ``target``; ``tags`` are what an ENI of ours has, and
    ``needed`` the IAM actions without which there is no takeover.
    """

    parts: tuple[Part, ...]
    eni: Eni | None
    target: Target
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
    """Let others know this, and nothing else, from now on."""

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
    """A move to this node has ended: whoever counts moves should know."""

    move: Move


@dataclass(frozen=True, slots=True)
class TellKubernetes:
    """Let the API server know, when that is possible; of several roles the last one counts.  Nothing depends on it."""

    news: News


@dataclass(frozen=True, slots=True)
class End:
    """The process has done what it was started for, with this exit code, or cannot do it: ``error`` says why."""

    code: int
    error: FloatingIPError | None = None


Effect = (
    Probe
    | Keep
    | Announce
    | AskPeers
    | Described
    | AskPod
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
