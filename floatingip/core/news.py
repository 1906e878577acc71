"""What Kubernetes is told of an observer, for people to find there: never anything that an observer goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What an observer's node is, as the pod's label says it: the holder of an address at least, or of none."""

    HOLDER = "holder"
    STANDBY = "standby"


class Result(StrEnum):
    """What came of a move: the address is on the node that took it, was left to whoever had it, got by a third one, or
    is on none.
    """

    MOVED = "moved"
    KEPT = "kept"
    LOST_RACE = "lost-race"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Move:
    """
    One change of holder, as the node made or tried it that wanted the address.

    ``ended_at`` is in Unix seconds; ``source`` and ``to`` are instance ids, ``source`` empty for what nobody had; the
    nodes' names are empty while they are not known; ``why`` is the sentence that it began with; ``seconds`` are those
    of each phase by its name, in order, and of all together (``duration``); ``failover`` is its id in all nodes' logs.
    """

    id: str
    ended_at: float
    address: str
    rule: str
    why: str
    source: str
    to: str
    result: Result
    seconds: Mapping[str, float] = field(default_factory=dict)
    source_node: str = ""
    to_node: str = ""
    failover: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """
    A Kubernetes Event about the observer's own pod.

    ``reason`` and ``action`` are words in CamelCase, ``note`` a sentence of at most 1 kB, ``at`` Unix seconds.  The
    same ``key`` is the same Event: it is not made twice.
    """

    key: str
    at: float
    is_warning: bool
    reason: str
    action: str
    note: str


News = Role | Move | Remark
