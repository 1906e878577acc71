"""
The history of moves, as a ConfigMap keeps it: one key for each move, so that two observers never write the same one.

A key begins with the time of its move, so that sorted keys are in the order of the moves.  Entries that cannot be read
are skipped: somebody may have edited the ConfigMap by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from floatingip.core.bounded_json import as_number, as_object, as_text, read_json
from floatingip.core.move import Move, Result

NAME = "floating-ip-history"
"""The ConfigMap's name."""

MOVES_AT_MOST = 200
"""At most this many moves are kept; the oldest are deleted first."""

BYTES_AT_MOST = 131072
"""Bytes of all entries, at most: an eighth of what a ConfigMap may have."""

TEXT_AT_MOST = 1000
"""Characters of any text in an entry, at most."""

LATEST = 253_402_300_799.0
"""Unix seconds of the last second of the year 9999: a calendar has no later one."""

_KEY = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{1,64}")


def key(move: Move, stamp: str) -> str:
    """The move's key; ``stamp`` is when it ended, such as 20261128T101500.123Z."""
    return f"{stamp}-{move.id}"


def document(move: Move, when: str) -> dict[str, object]:
    """The move as JSON; ``when`` is when it ended, for people."""
    return {
        "id": move.id,
        "when": when,
        "ended_at": round(move.ended_at, 3),
        "address": move.address,
        "rule": move.rule,
        "why": move.why,
        "from": {"instance": move.source, "node": move.source_node},
        "to": {"instance": move.to, "node": move.to_node},
        "seconds": dict(move.seconds),
        "result": move.result,
        "failover": move.failover,
    }


def entry(move: Move, when: str) -> str:
    """The move as its key's value."""
    return json.dumps(document(move, when))


def read(data: Mapping[str, object]) -> tuple[Move, ...]:
    """All moves that can be read, the oldest first; a missing node's name is taken from other moves to its instance."""
    moves = [move for name in sorted(data) if _KEY.fullmatch(name) and (move := _read(data[name]))]
    names = {move.to: move.to_node for move in moves if move.to_node}
    return tuple(named(move, names) for move in moves)


def named(move: Move, names: Mapping[str, str]) -> Move:
    """The move, with missing names of its nodes taken from ``names``, which has them by instance id."""
    source_node, to_node = move.source_node or names.get(move.source, ""), move.to_node or names.get(move.to, "")
    return replace(move, source_node=source_node, to_node=to_node)


def surplus(data: Mapping[str, object], name: str, value: str) -> tuple[str, ...]:
    """The keys of ours to delete, the oldest first, to make room for one more entry; keys of others stay."""
    sizes = {each: len(each) + len(str(data[each]).encode()) for each in data if _KEY.fullmatch(each)}
    sizes[name] = len(name) + len(value.encode())
    kept, left = sorted(sizes), sum(sizes.values())
    gone = []
    while len(kept) > MOVES_AT_MOST or left > BYTES_AT_MOST:
        gone.append(kept.pop(0))
        left -= sizes[gone[-1]]
    return tuple(each for each in gone if each != name)


def _read(value: object) -> Move | None:
    try:
        return _move(read_json(str(value).encode(), depth=4))
    except (ValueError, LookupError):
        return None


def _move(document: object) -> Move:
    """The move that the document describes.  Raises ValueError or LookupError if it describes none."""
    found, source, to = (
        as_object(document),
        as_object(as_object(document)["from"]),
        as_object(as_object(document)["to"]),
    )
    seconds = {_text(phase): _number(span) for phase, span in as_object(found["seconds"]).items()}
    ended_at = _number(found["ended_at"])
    return Move(
        _text(found["id"]),
        ended_at - seconds.get("duration", 0.0),
        ended_at,
        _text(found["address"]),
        _text(found["rule"]),
        _text(found["why"]),
        _text(source["instance"]),
        _text(to["instance"]),
        Result(_text(found["result"])),
        seconds,
        _text(source["node"]),
        _text(to["node"]),
        _text(found.get("failover", "")),
    )


def _text(value: object) -> str:
    text = as_text(value, TEXT_AT_MOST)
    if not text.isprintable():
        raise ValueError("what it has cannot be printed")
    return text


def _number(value: object) -> float:
    number = as_number(value)
    if not 0 <= number <= LATEST:
        raise ValueError("not a number of seconds that a date has")
    return number
