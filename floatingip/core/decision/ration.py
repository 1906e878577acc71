"""
Ration the moves that a misconfiguration could repeat for ever.  They are recorded where every observer sees them: in a
tag of the ENI, or of the standing ENIs.

Pure.  The tag's value lists the last moves, oldest first, as ``RULE@UNIXTIME/ATTACHMENT``: the attachment is the one
that the address was taken from (the end of its id is enough).  A closed security group, ``nft`` missing everywhere or a
broken service make the next move wait longer and longer, across restarts and observers.  Five minutes of a healthy
address clear the tag.  A planned move (`PLANNED`) is recorded as well, since the address has to show anew that it
answers, but it makes no other move wait: a node that was drained is no sign of anything wrong.

A record of the judged attachment that is not older than ``since`` (Unix seconds) is of the move that is being made now,
and does not make that move wait.  With `carry: eni` every record of the attachment is of that move, since the move ends
the attachment; standing ENIs stay attached, so older records are of earlier moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from floatingip.core import pace, timing
from floatingip.core.decision.decision import Rule
from floatingip.core.ec2 import ID_END

TAG = "floatingip/moves"

KEPT = 8
"""Moves kept in the tag: a value has at most 256 characters."""

PLANNED = "R5p"
"""Stands in place of the rule for a move that was asked for, by a person or by a holder whose node ends."""

_MOVE = re.compile(rf"(R\d{{1,2}}|{PLANNED})@(\d{{1,11}})/([\w-]{{1,{ID_END}}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded move away from an attachment, at ``wall`` (Unix seconds)."""

    rule: str
    wall: int
    attachment: str

    @property
    def convicted(self) -> bool:
        """The move was made by R3, away from a silent holder: such moves are rationed only when they happen often."""
        return self.rule == Rule.R3


def parse(value: str) -> tuple[Record, ...]:
    """The moves in a tag's value; what cannot be read, since somebody else wrote it, is skipped."""
    found = (_MOVE.fullmatch(item) for item in value.split())
    return tuple(Record(match[1], int(match[2]), match[3]) for match in found if match is not None)


def render(moves: Iterable[Record]) -> str:
    """The tag's value for these moves, as far as it has room: of all but the last two those go first that make none
    wait, then the oldest, so that many planned moves do not hide what is wrong.
    """
    kept = list(moves)
    while len(kept) > KEPT:
        kept.remove(next((move for move in kept[:-2] if move.rule == PLANNED), kept[0]))
    return " ".join(f"{move.rule}@{move.wall}/{move.attachment}" for move in kept)


def record(value: str, rule: str, wall: float, attachment_id: str) -> str:
    """The tag's value with one more move."""
    return render((*parse(value), Record(rule, int(wall), attachment_id[-ID_END:])))


def merged(values: Iterable[str]) -> str:
    """One value made of those of several ENIs: each move once, the oldest first."""
    moves = {move for value in values for move in parse(value)}
    return render(tuple(sorted(moves, key=lambda move: (move.wall, move.attachment))))


def has_grown(before: str, value: str) -> bool:
    """Whether ``value`` records a move that ``before``, an earlier value of the tag, does not."""
    return value != before and not set(parse(value)) <= set(parse(before))


def recorded(value: str, attachment_id: str, since: float = -inf) -> bool:
    """Whether the move away from this attachment is in the tag, whichever observer wrote it."""
    return any(move.attachment == attachment_id[-ID_END:] and move.wall >= since for move in parse(value))


def is_rationed(value: str, rule: str, wall: float, attachment_id: str, since: float = -inf) -> bool:
    """Whether a move by this rule is rationed: always, but by R3 only from the third within ten minutes on."""
    if rule != Rule.R3:
        return True
    others = _others(value, attachment_id, since, wall)
    recent = [move for move in others if move.convicted and wall - move.wall < timing.CONVICTION_WINDOW]
    return len(recent) >= 2


def wait(value: str, wall: float, attachment_id: str, since: float = -inf) -> float:
    """Seconds until the next rationed move may happen; 0 when it may now."""
    moves = tuple(move for move in _others(value, attachment_id, since, wall) if move.rule != PLANNED)
    rationed = [move for index, move in enumerate(moves) if not move.convicted or _is_third(moves[: index + 1])]
    if not rationed:
        return 0.0
    pause = pace.doubled(timing.RATION_FIRST_WAIT, len(rationed) - 1, timing.RATION_LONGEST_WAIT)
    # A move that seems to be in the future was recorded by a clock that was fast.
    return min(pause, max(0.0, moves[-1].wall + pause - wall))


def last_at(value: str, attachment_id: str, since: float = -inf, *, wall: float) -> float:
    """When the last recorded move before this one was made, in Unix seconds; minus infinity when there is none."""
    return max((float(move.wall) for move in _others(value, attachment_id, since, wall)), default=-inf)


def times_since(time: float, value: str, attachment_id: str, since: float, *, wall: float) -> int:
    """How many moves before this one were recorded after that ``time``, in Unix seconds."""
    return sum(move.wall > time for move in _others(value, attachment_id, since, wall))


def was_moved_by(rule: str, time: float, value: str, attachment_id: str, since: float, *, wall: float) -> bool:
    """Whether a move before this one, by this rule, was recorded after that ``time``, in Unix seconds."""
    return any(move.rule == rule and move.wall > time for move in _others(value, attachment_id, since, wall))


def _others(value: str, attachment_id: str, since: float, wall: float) -> tuple[Record, ...]:
    """The recorded moves without the one that is being made.

    Also without those that are further in the future than the longest wait: no clock is that fast, so a stranger or a
    clock that had jumped wrote them, and moves would be put off until then.
    """
    judged, latest = attachment_id[-ID_END:], wall + timing.RATION_LONGEST_WAIT
    return tuple(
        move for move in parse(value) if (move.attachment != judged or move.wall < since) and move.wall <= latest
    )


def _is_third(moves: tuple[Record, ...]) -> bool:
    last = moves[-1]
    recent = [move for move in moves if move.convicted and last.wall - move.wall < timing.CONVICTION_WINDOW]
    return len(recent) >= 3
