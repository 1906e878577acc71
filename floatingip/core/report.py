"""
What an observer reports of itself and of the addresses, to this node, its peers and people: values only.

Times are Unix seconds by the reporting node's clock, ages and spans are seconds.  status.py makes one from a snapshot,
and JSON both ways; overview.py makes one picture of several.  docs/status.md says what each field means to a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from floatingip.core.move import Move


class Health(StrEnum):
    """Whether an address answers an observer's probes.

    ``UNPROBED``: its node holds the address, and would hear itself.  ``UNKNOWN``: too few probes so far, or it cannot
    send any.
    """

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    UNPROBED = "unprobed"


@dataclass(frozen=True, slots=True)
class Order:
    """A handover that was asked for: to which instance, or ``*`` for any, and until when."""

    to: str
    until: float


@dataclass(frozen=True, slots=True)
class AddressReport:
    """One floating address as an observer sees it.

    ``address`` is the settings' text; ``holder`` the instance that EC2 showed last, empty for none, and ``since`` when
    it got the address, None where it has none, ``since_at_least``: or earlier; ``answer_age`` is how old EC2's last
    answer is.  ``state``, ``rule``, ``reason`` and ``sentence`` are the last decision's.  ``round_trip`` is that of the
    last probe that was answered; ``node_ports`` tells whether they answer there, None while that is not known; ``word``
    is what the holder's observer says of itself.  ``problem`` is why this node, which holds it, does not serve it, and
    ``why_not`` why this node, which does not, could not take it over: empty where all is well.  ``rationed_until`` is
    when the next rationed move could be, None for at once.
    """

    address: str
    holder: str = ""
    since: float | None = None
    since_at_least: bool = False
    answer_age: float | None = None
    state: str = ""
    rule: str = ""
    reason: str = ""
    sentence: str = ""
    health: Health = Health.UNKNOWN
    round_trip: float | None = None
    node_ports: Mapping[str, bool | None] = field(default_factory=dict)
    word: str = ""
    problem: str = ""
    why_not: str = ""
    order: Order | None = None
    moves: tuple[Move, ...] = ()
    moves_in_ten_minutes: int = 0
    rationed_until: float | None = None


@dataclass(frozen=True, slots=True)
class PeerReport:
    """Another observer, as this one knows it: ``heard_age`` is since its last answer, None if it never gave one, and
    ``silent``: the last question got none.  ``why_not`` says, as it told last, why it could not take over, by address,
    and nothing of those that it could.
    """

    instance: str
    node: str = ""
    address: str = ""
    heard_age: float | None = None
    silent: bool = False
    leaving: bool = False
    free_slots: int | None = None
    why_not: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """All that one observer reports, at ``time``.

    ``name`` is whose interfaces are its own; ``instance``, ``node`` and ``node_address`` say where it runs;
    ``starting`` before its first decision; ``leaving`` is why its node is about to end, empty while it is not;
    ``answer_age`` is how old EC2's last answer is, ``ec2_problem`` why it gave none since, empty where it did;
    ``unknown`` are sentences: what it could not learn, or somebody should know though it is ready.
    """

    time: float
    instance: str
    version: str = ""
    name: str = ""
    carry: str = ""
    node: str = ""
    node_address: str = ""
    starting: bool = False
    leaving: str = ""
    free_slots: int | None = None
    answer_age: float | None = None
    ec2_problem: str = ""
    unknown: tuple[str, ...] = ()
    addresses: tuple[AddressReport, ...] = ()
    peers: tuple[PeerReport, ...] = ()
