"""``floatingip history``: the moves of the last weeks, as the observers have kept them (core/history.py)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from floatingip.core import history
from floatingip.core.news import Move

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_HEADS = ("WHEN (UTC)", "ADDRESS", "FROM", "TO", "RULE", "RESULT", "SECONDS", "WHY")
_NOBODY = "-"


def since(text: str, now: float) -> float:
    """Unix seconds of a time, or of a span before ``now``.  Raises ValueError for anything else."""
    if span := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
        return now - int(span[1]) * _UNITS[span[2]]
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def table(moves: Iterable[Move]) -> str:
    """One line for each, below a head; the columns are as wide as they need be."""
    lines = [_HEADS, *map(_cells, moves)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def document(moves: Iterable[Move]) -> str:
    """The same as JSON: the entries as they are kept."""
    return json.dumps([history.document(move, _time(move)) for move in moves], indent=2)


def _cells(move: Move) -> tuple[str, ...]:
    phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in move.seconds.items() if phase != "duration")
    took = f"{move.seconds.get('duration', 0.0):.1f}" + (f" ({phases})" if phases else "")
    source, to = _node(move.source, move.source_node), _node(move.to, move.to_node)
    return _time(move), move.address, source, to, move.rule, move.result, took, move.why


def _node(instance: str, name: str) -> str:
    return f"{name} ({instance})" if name else instance or _NOBODY


def _time(move: Move) -> str:
    return datetime.fromtimestamp(move.ended_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
