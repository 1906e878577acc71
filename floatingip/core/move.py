"""A change of holder as one value, from which status, page, history, Events and counters are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PHASES = ("detect", "detach", "attach", "plumb")
"""The phases of a move, in their order; a move may lack some."""

NOBODY = "none"
"""What the log and reports call the source of a move if nobody had the address."""

SHOWN_AT_MOST = 8
"""How many of an address' last moves people are shown."""


class Result(StrEnum):
    """What came of a move, as told by the node that wanted the address.

    ``MOVED``: the address is on that node.  ``KEPT``: the previous holder still has it.  ``LOST_RACE``: a third node
    got it.  ``FAILED``: no node has it.  ``SEEN``: this node only saw in EC2 that another node has the address now.
    """

    MOVED = "moved"
    KEPT = "kept"
    LOST_RACE = "lost-race"
    FAILED = "failed"
    SEEN = "seen"


@dataclass(frozen=True, slots=True)
class Move:
    """
    One change of holder: made or tried by the node that wanted the address, or seen by another one.

    ``began_at`` and ``ended_at`` are Unix seconds.  ``source`` and ``to`` are instance ids; ``source`` is empty if
    nobody had the address.  ``source_node`` and ``to_node`` are the names of their nodes, empty while not known.
    ``why`` is the sentence of the decision that began the move.  ``seconds`` has the seconds of each phase by its name,
    in order, and of all together (``duration``).  ``failover`` is the failover's id in all nodes' logs.  ``id``,
    ``rule``, ``why`` and ``seconds`` are empty for a move that was only seen.
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
        """Whether the address got another holder by it."""
        return self.result in (Result.MOVED, Result.SEEN)
