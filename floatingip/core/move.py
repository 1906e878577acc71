"""A change of holder as one value: status, page, history, Events and counters are views of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Result(StrEnum):
    """What came of a move, as the node tells that wanted the address.

    ``MOVED``: it is on that node.  ``KEPT``: whoever had it has it still.  ``LOST_RACE``: a third one got it.
    ``FAILED``: no node has it.  ``SEEN``: EC2 showed that another node got it, which knows more.
    """

    MOVED = "moved"
    KEPT = "kept"
    LOST_RACE = "lost-race"
    FAILED = "failed"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Move:
    """
    One change of holder, as the node made or tried it that wanted the address, or as another one saw it.

    ``began_at`` and ``ended_at`` are in Unix seconds; ``source`` and ``to`` are instance ids, ``source`` empty for what
    nobody had; the nodes' names are empty while they are not known; ``why`` is the sentence that it began with;
    ``seconds`` are those of each phase by its name, in order, and of all together (``duration``); ``failover`` is its
    id in all nodes' logs.  Of a move that was only seen, ``id``, ``rule``, ``why`` and ``seconds`` are empty.
    """

    id: str
    began_at: float
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

    @property
    def happened(self) -> bool:
        """The holder is another one since."""
        return self.result in (Result.MOVED, Result.SEEN)
