"""What a node asks of an address, by a probe or at a NodePort, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


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
class NodePort:
    """A port by which every node leads to a service.

    ``path`` is what is asked for there by HTTP; without one, a TCP connection that stands is an answer.  ``service`` is
    the Service's name, empty where the settings name the port; ``versions`` are the IP versions that it serves.
    """

    port: int
    path: str = ""
    service: str = ""
    versions: frozenset[int] = frozenset((4, 6))


Served = Mapping[str, Mapping[int, bool]]
"""Where one observer asked for NodePorts lately, and whether they answered: by an instance's id at its primary address,
by a sighting (view.py) at a floating one.  What is not in it was not asked."""
