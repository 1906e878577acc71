"""Probes of an address, checks of a NodePort, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ProbeOutcome(StrEnum):
    """What came of one probe.  ``FAILED_HERE``: this node could not send it, which says nothing of the holder."""

    ANSWERED = "answered"
    LOST = "lost"
    FAILED_HERE = "failed-here"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe: when it was sent, what came of it, and when that was known.

    ``detail`` says more in words.  ``by_tcp``: TCP was answered, and the ping beside it or one of the last before was
    not: pings are blocked.  ``ping_lost``: it failed here since this node answers TCP itself, and the ping beside it
    was lost.
    """

    sent_at: float
    known_at: float
    outcome: ProbeOutcome
    detail: str = ""
    by_tcp: bool = False
    ping_lost: bool = False


@dataclass(frozen=True, slots=True)
class NodePort:
    """A port at which every node forwards connections to a Kubernetes Service.

    ``path`` is what a check requests there by HTTP; if it is empty, a check only makes a TCP connection, which counts
    as an answer.  ``service`` is the Service's name, empty if the settings name the port.  ``versions`` are the
    Service's IP versions.
    """

    port: int
    path: str = ""
    service: str = ""
    versions: frozenset[int] = frozenset((4, 6))


Served = Mapping[str, Mapping[int, bool]]
"""Whether NodePorts answered one observer lately, by place and port.  A port that is missing was not checked.

A place is an instance's id, for its primary address, or a sighting (`Way.of_one`), for a floating address."""
