"""
What the world tells the agent, as values: they can be printed, compared and replayed.

Each says what was found, and, where that matters, when it was asked for; when it came the agent is told beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from floatingip.agent.effects import Part, Probing
from floatingip.agent.looks import Seen
from floatingip.core.ec2 import Instance, Subnet
from floatingip.core.errors import CloudError
from floatingip.core.model import Address, Network, Target
from floatingip.core.news import News
from floatingip.core.node import Interface, Notice, OwnPod
from floatingip.core.plumbing import PlumbingReport
from floatingip.core.probe import NodePort, ProbeResult
from floatingip.core.report import Report
from floatingip.core.settings import Settings
from floatingip.core.word import Answer
from floatingip.core.writes import Write


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of one probe."""

    probing: Probing
    result: ProbeResult


@dataclass(frozen=True, slots=True)
class Asking:
    """These observers are asked from now on, and nobody else; primary addresses by instance id."""

    addresses: Mapping[str, Address]


@dataclass(frozen=True, slots=True)
class PeersJudged:
    """EC2 has told who is a peer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one question to the observer on an instance."""

    instance_id: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Reported:
    """What the observer on an instance reported of itself, for people to read."""

    instance_id: str
    report: Report


@dataclass(frozen=True, slots=True)
class Looked:
    """EC2 answered."""

    seen: Seen


@dataclass(frozen=True, slots=True)
class LookFailed:
    """EC2 did not, in so many ``calls``; ``interfaces`` are the links with our addresses, as IMDS shows them, where it
    was asked as well.
    """

    error: CloudError
    interfaces: Mapping[Target, Interface]
    calls: int = 1


@dataclass(frozen=True, slots=True)
class ShownByMetadata:
    """What IMDS shows of our addresses while EC2 has never answered."""

    interfaces: Mapping[Target, Interface]


@dataclass(frozen=True, slots=True)
class Wrote:
    """What came of a write: None, or why EC2 did not do it; ``writer`` is who asked for it, and ``calls`` how often it
    was made.
    """

    writer: str
    write: Write
    error: CloudError | None = None
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The kernel was brought to what it should be for one address, and read back."""

    target: Target
    report: PlumbingReport


@dataclass(frozen=True, slots=True)
class AddressesShown:
    """IMDS says what the interface with this MAC has; None: there is none such."""

    mac: str
    addresses: frozenset[Address] | None
    asked_at: float


@dataclass(frozen=True, slots=True)
class Noticed:
    """What IMDS announces to the instance, None where it announces nothing."""

    notice: Notice | None


@dataclass(frozen=True, slots=True)
class MetadataTroubled:
    """IMDS gave no answer, or none that can be read."""

    problem: str


@dataclass(frozen=True, slots=True)
class PodShown:
    """What the API server says of the observer's own pod."""

    pod: OwnPod


@dataclass(frozen=True, slots=True)
class NodePortsListed:
    """Which NodePorts there are."""

    node_ports: tuple[NodePort, ...]


@dataclass(frozen=True, slots=True)
class NodePortsUnknown:
    """Why that is not known."""

    problem: str


@dataclass(frozen=True, slots=True)
class NewsTold:
    """News of this kind arrived at the API server, or not: ``problem``; ``refused``: since it does not want them.

    ``dropped`` is how many of any kind were lost since the last that arrived.
    """

    kind: type[News]
    problem: str = ""
    refused: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SlotsRehearsed:
    """How many ENIs this instance may have, and those that it has."""

    slots: int
    me: Mapping[str, Instance]
    asked_at: float


@dataclass(frozen=True, slots=True)
class PermissionsRehearsed:
    """The IAM actions that dry runs showed denied."""

    denied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReservationsRehearsed:
    """What is reserved in the subnet."""

    subnet: Subnet
    reserved: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class RehearsalFailed:
    """One part of a rehearsal; the others are told apart from it."""

    part: Part
    error: CloudError


@dataclass(frozen=True, slots=True)
class RehearsalEnded:
    """All parts were tried."""


@dataclass(frozen=True, slots=True)
class LookWanted:
    """A peer says that EC2 has news."""


@dataclass(frozen=True, slots=True)
class SettingsFound:
    """The ConfigMap has changed, and holds these settings now; None where a start would refuse them: ``problem`` says
    why, in a line for each.
    """

    settings: Settings | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Terminated:
    """SIGTERM came."""


Event = (
    Probed
    | Asking
    | PeersJudged
    | Heard
    | Reported
    | Looked
    | LookFailed
    | ShownByMetadata
    | Wrote
    | Reconciled
    | AddressesShown
    | Noticed
    | MetadataTroubled
    | PodShown
    | NodePortsListed
    | NodePortsUnknown
    | NewsTold
    | SlotsRehearsed
    | PermissionsRehearsed
    | ReservationsRehearsed
    | RehearsalFailed
    | RehearsalEnded
    | LookWanted
    | SettingsFound
    | Terminated
)
