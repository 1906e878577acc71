"""What a node lacks to serve a floating address, or to take it over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """Why a node could neither serve an address nor take it over, if the decision's own reason does not say it."""

    SUBNET_UNKNOWN = "SUBNET_UNKNOWN"
    IMPOSSIBLE = "IMPOSSIBLE"
    DENIED = "DENIED"
    NO_ROOM = "NO_ROOM"
    BLIND = "BLIND"
    UNSOUND = "UNSOUND"
    KEPT_OFF = "KEPT_OFF"
    CLAIM_REFUSED = "CLAIM_REFUSED"
    EC2_UNANSWERED = "EC2_UNANSWERED"
    STALLED = "STALLED"


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """Why a node could neither serve an address nor take it over: a ``name`` for metrics, and ``words`` for people.

    The name is that of a decision's reason, or a `Lack`.  Both are empty if nothing is missing.
    """

    name: str = ""
    words: str = ""
