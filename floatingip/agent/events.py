"""
What the agent is told, as values: they can be printed, compared and replayed.

An event says what was found, and, if that matters, when the question was asked.  It does not say when it arrived: the
agent is told the time with each batch of events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from floatingip.agent.effects import Part, Probing
from floatingip.agent.looks import Seen
from floatingip.core.ec2 import Eni, Instance, Subnet
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
class PeersChosen:
    """From now on these observers are asked, and no others; ``addresses`` has primary addresses by instance id."""

    addresses: Mapping[str, Address]


@dataclass(frozen=True, slots=True)
class PeersJudged:
    """EC2 has told who is a peer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one question to the observer on an instance: its answer, or none."""

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
    """EC2 did not answer a question, for which ``calls`` calls were made.

    ``interfaces`` has the links with our addresses, as IMDS shows them; empty if IMDS was not asked as well.
    """

    error: CloudError
    interfaces: Mapping[Target, Interface]
    calls: int = 1


@dataclass(frozen=True, slots=True)
class ShownByMetadata:
    """The links with our addresses, as IMDS shows them; asked for until EC2 has answered once."""

    interfaces: Mapping[Target, Interface]


@dataclass(frozen=True, slots=True)
class Wrote:
    """A write has ended; ``error`` is why EC2 did not do it, None if it did.

    ``writer`` is the one of `Perform`; ``calls`` is how many calls to EC2 it took.
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
    """The addresses that IMDS shows on the interface with this MAC; None if it shows no such interface."""

    mac: str
    addresses: frozenset[Address] | None
    asked_at: float


@dataclass(frozen=True, slots=True)
class Noticed:
    """What AWS announces to the instance through IMDS, None if it announces nothing."""

    notice: Notice | None
    asked_at: float


@dataclass(frozen=True, slots=True)
class MetadataTroubled:
    """IMDS gave no answer, or none that can be read; ``problem`` says why."""

    problem: str


@dataclass(frozen=True, slots=True)
class LogTroubled:
    """Nobody sees what is logged, for this reason, or somebody does again (empty); ``lost`` lines in all are lost."""

    problem: str
    lost: int


@dataclass(frozen=True, slots=True)
class PodShown:
    """What the API server says of the observer's own pod."""

    pod: OwnPod


@dataclass(frozen=True, slots=True)
class NodePortsListed:
    """The API server has told which NodePorts there are."""

    node_ports: tuple[NodePort, ...]


@dataclass(frozen=True, slots=True)
class NodePortsUnknown:
    """The NodePorts could not be listed; ``problem`` says why."""

    problem: str


@dataclass(frozen=True, slots=True)
class NewsTold:
    """News of this kind arrived at the API server, or did not: then ``problem`` says why.

    ``refused``: the API server rejected them.  ``dropped`` is how many news, of any kind, were lost since the last one
    that arrived.
    """

    kind: type[News]
    problem: str = ""
    refused: bool = False
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SlotsRehearsed:
    """How many ENIs this instance may have (``slots``), and how EC2 describes it (``me``, asked at ``asked_at``)."""

    slots: int
    me: Mapping[str, Instance]
    asked_at: float


@dataclass(frozen=True, slots=True)
class PermissionsRehearsed:
    """The IAM actions that dry runs showed as denied; ``eni`` is the ENI that they were tried with, None if without."""

    denied: tuple[str, ...]
    eni: Eni | None = None


@dataclass(frozen=True, slots=True)
class ReservationsRehearsed:
    """The address ranges that are reserved in the subnet."""

    subnet: Subnet
    reserved: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class RehearsalFailed:
    """One part of a rehearsal could not be found out; each other part has an event of its own."""

    part: Part
    error: CloudError


@dataclass(frozen=True, slots=True)
class RehearsalEnded:
    """All parts were tried."""


Rehearsed = SlotsRehearsed | PermissionsRehearsed | ReservationsRehearsed | RehearsalFailed | RehearsalEnded
"""What comes of a rehearsal."""


@dataclass(frozen=True, slots=True)
class LookWanted:
    """Somebody with the right to do so says that EC2 has news: EC2 should be asked soon."""


@dataclass(frozen=True, slots=True)
class SettingsFound:
    """The ConfigMap has changed, and has these settings now.

    ``settings`` is None if a start would refuse them; then ``problem`` has a line for each reason.
    """

    settings: Settings | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Terminated:
    """SIGTERM came."""


Event = (
    Probed
    | PeersChosen
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
    | LogTroubled
    | PodShown
    | NodePortsListed
    | NodePortsUnknown
    | NewsTold
    | Rehearsed
    | LookWanted
    | SettingsFound
    | Terminated
)

Post = Callable[[Event], None]
"""Brings an event to the agent; may be called from any thread."""
