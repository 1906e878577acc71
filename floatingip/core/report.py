"""
What an observer reports of itself and of the addresses, to its own node, to peers and to people.

Times are Unix seconds by the reporting node's clock; ages and durations are in seconds.  status.py makes a report from
a snapshot, and converts it to JSON and back; overview.py makes one overview of several reports.  docs/status.md says
what each field means to a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from floatingip.core.move import Move


class HealthReport(StrEnum):
    """Whether an address answers an observer's probes.

    ``UNPROBED``: the observer's node holds the address, so its probes would be answered by itself.  ``UNKNOWN``: there
    were too few probes so far, or the observer cannot send any.
    """

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    UNPROBED = "unprobed"


@dataclass(frozen=True, slots=True)
class OrderReport:
    """A handover that was asked for: to which instance, or ``*`` for any, and until when."""

    to: str
    until: float


@dataclass(frozen=True, slots=True)
class AddressReport:
    """One floating address as an observer sees it.

    ``address`` is the settings' text.  ``holder`` is the instance that EC2 showed last, empty if none; it has had the
    address since ``since``, or for longer (``since_at_least``).  ``answer_age`` is how old EC2's last answer is.
    ``state``, ``rule``, ``reason`` and ``sentence`` are the last decision's.

    ``down_since`` is when the address stopped answering, None if it answers or never did.  ``round_trip`` is that of
    the last answered probe.  ``node_ports`` says for each NodePort whether it answers at the address, None while that
    is not known.  ``word`` is the state of the word of the holder's observer.

    ``problem`` is why this node, as the holder, does not serve the address.  ``why_not`` is why this node, as a
    standby, could not take it over.  Both are empty if nothing is wrong; otherwise one of them has said something since
    ``unready_since``.  ``order`` is a handover that was asked for.  ``rationed_until`` is when the next rationed move
    may be made, None for at once; ``paused_until`` is the end of a pause, None if there is none.
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
    health: HealthReport = HealthReport.UNKNOWN
    down_since: float | None = None
    round_trip: float | None = None
    node_ports: Mapping[str, bool | None] = field(default_factory=dict)
    word: str = ""
    problem: str = ""
    why_not: str = ""
    unready_since: float | None = None
    order: OrderReport | None = None
    moves: tuple[Move, ...] = ()
    moves_in_ten_minutes: int = 0
    rationed_until: float | None = None
    paused_until: float | None = None


@dataclass(frozen=True, slots=True)
class PeerReport:
    """Another observer, as this one knows it.

    ``heard_age`` is how long ago it answered last, None if it never did.  ``silent``: it did not answer the last
    question.  ``why_not`` has each address that it could not take over by its last report, with the reason.
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

    ``name`` is the deployment's name, by which our interfaces are tagged.  ``instance``, ``node`` and ``node_address``
    say where the observer runs.  ``starting``: it has not decided yet.  ``leaving`` is why its node is about to end,
    empty while it is not.  ``answer_age`` is how old EC2's last answer is, and ``ec2_problem`` why EC2 has not answered
    since, empty if it has.  ``unknown`` says in sentences what the observer could not find out, or that it hangs.
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
