"""What a snapshot has for those who count and compare: names out of small sets, and times, but no sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Lack(StrEnum):
    """Why a node could neither serve an address nor take it over, where that is no decision's reason."""

    SUBNET_UNKNOWN = "SUBNET_UNKNOWN"
    IMPOSSIBLE = "IMPOSSIBLE"
    DENIED = "DENIED"
    NO_ROOM = "NO_ROOM"
    BLIND = "BLIND"
    UNSOUND = "UNSOUND"
    KEPT_OFF = "KEPT_OFF"


@dataclass(frozen=True, slots=True)
class AddressFigures:
    """One floating address on this node.

    ``state`` is the last decision's; ``lack`` is the name of its reason, or of a `Lack`, for which this node is not
    ready, empty where it is; ``asked_at`` is when EC2 was asked for the last answer that says who has the address, or
    when this process began where there was none; ``records`` are the values of the ration's tags (ration.py).
    """

    state: str = ""
    lack: str = ""
    asked_at: float = 0.0
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """All of this node.

    ``heard_at`` is when each other observer's last word was known, by instance id; ``imds_up``: nothing has been wrong
    with IMDS lately; ``denied`` are the IAM actions that the last rehearsal, or the last question, showed denied.
    """

    heard_at: Mapping[str, float] = field(default_factory=dict)
    imds_up: bool = True
    denied: frozenset[str] = frozenset()
