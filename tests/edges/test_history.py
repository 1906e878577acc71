"""The history of moves: what is kept of them and for how long, what is read of it, and how it is told."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from floatingip.commands import history as command
from floatingip.core import history
from floatingip.core.move import Move, Result

WHEN = 1_764_324_900.25
MOVE = Move(
    "0a1b2c",
    WHEN - 4.25,
    WHEN,
    "10.0.0.100",
    "R3",
    "the address stopped answering, and i-a is silent",
    "i-a",
    "i-b",
    Result.MOVED,
    {"duration": 4.25, "detect": 1.25, "attach": 3.0},
    to_node="node-b",
)
STAMP = "20251128T101500.250Z"
KEY = history.key(MOVE, STAMP)


def kept(*moves: Move, **more: str) -> dict[str, str]:
    """A ConfigMap's data with these moves, one a second, and whatever else is in it."""
    return {
        history.key(m, f"20251128T10{i // 60:02}{i % 60:02}.000Z"): history.entry(m, "") for i, m in enumerate(moves)
    } | more


def test_what_is_kept_is_read_again() -> None:
    """With every field, the oldest first, whatever their order in the document."""
    first, second = replace(MOVE, id="1", source="", result=Result.FAILED), replace(MOVE, id="2", source_node="node-a")
    data = kept(first, second)
    assert history.read(dict(reversed(data.items()))) == (first, second)


def test_an_entry_is_what_the_document_says_and_one_without_what_came_later_is_read() -> None:
    """A ConfigMap may have been written by any version."""
    entry = {
        "id": "0a1b2c",
        "when": "2025-11-28T10:15:00Z",
        "ended_at": WHEN,
        "address": "10.0.0.100",
        "rule": "R3",
        "why": "the address stopped answering, and i-a is silent",
        "from": {"instance": "i-a", "node": ""},
        "to": {"instance": "i-b", "node": "node-b"},
        "seconds": {"duration": 4.25, "detect": 1.25, "attach": 3.0},
        "result": "moved",
    }
    assert history.document(MOVE, "2025-11-28T10:15:00Z") == {**entry, "failover": ""}
    assert history.read({KEY: json.dumps(entry)}) == (MOVE,)


def test_a_node_is_named_by_the_move_that_it_made_itself() -> None:
    """Who takes an address over knows its own name only."""
    back = replace(MOVE, id="2", source="i-b", to="i-a", to_node="node-a")
    assert [(m.source_node, m.to_node) for m in history.read(kept(MOVE, back))] == [
        ("node-a", "node-b"),
        ("node-b", "node-a"),
    ]


BROKEN: Mapping[str, object] = {
    "no JSON": "{",
    "no object": "[]",
    "no string": 5,
    "nested": "[" * 100_000,
    "without a field": json.dumps({"id": "1"}),
    "another result": history.entry(MOVE, "").replace('"moved"', '"mooved"'),
    "a time that is none": history.entry(MOVE, "").replace("1764324900.25", "NaN"),
    "a time that is a truth": history.entry(MOVE, "").replace("1764324900.25", "true"),
    "a time that no calendar has": history.entry(replace(MOVE, ended_at=1e12), ""),
    "words for a terminal": history.entry(replace(MOVE, why="\x1b[2J"), ""),
    "endless words": history.entry(replace(MOVE, why="a" * 5000), ""),
    "a list of phases": history.entry(MOVE, "").replace('"seconds": {', '"seconds": [], "others": {'),
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_what_is_no_move_is_passed_over(value: object) -> None:
    """Whoever may edit the ConfigMap may have done so; all else is told."""
    assert history.read({KEY: value, **kept(MOVE)}) == (MOVE,)


def test_what_is_somebody_elses_stays() -> None:
    others = {"notes": "x" * history.BYTES_AT_MOST, "20251128T101500Z": "y"}
    assert history.read({**others, **kept(MOVE)}) == (MOVE,)
    assert history.surplus(others, KEY, history.entry(MOVE, "")) == ()


def test_the_oldest_give_way_to_a_new_one() -> None:
    """As many as there are too many, or too many bytes of, whatever is in a key that looks like a move's."""
    data = kept(*(replace(MOVE, id=f"{n:x}") for n in range(history.MOVES_AT_MOST + 2)))
    assert history.surplus(data, KEY, "new") == tuple(sorted(data)[:3])
    assert history.surplus(dict(list(data.items())[3:]), KEY, "new") == ()
    data = {history.key(replace(MOVE, id=str(n)), STAMP): "x" * (history.BYTES_AT_MOST // 3) for n in range(3)}
    assert history.surplus(data, history.key(replace(MOVE, id="9"), STAMP), "new") == tuple(sorted(data)[:1])


def test_a_move_that_was_written_already_is_not_removed_by_itself() -> None:
    """A write without an answer is made again."""
    data = kept(*(replace(MOVE, id=f"{n:x}") for n in range(history.MOVES_AT_MOST)))
    oldest = min(data)
    assert history.surplus(data, oldest, data[oldest]) == ()


def test_the_table_has_a_line_for_each_move() -> None:
    """Nodes by their names, as far as they are known; the columns are aligned."""
    head, first, second = command.table([replace(MOVE, source=""), MOVE]).splitlines()
    assert head.split("  ")[0] == "WHEN (UTC)"
    assert " ".join(first.split()).startswith("2025-11-28T10:15:00Z 10.0.0.100 - node-b (i-b) R3 moved 4.2 (detect ")
    assert "4.2 (detect 1.2, attach 3.0)  the address stopped answering" in second
    assert second.index("node-b") == first.index("node-b") == head.index("TO")


@pytest.mark.parametrize(("number", "said"), [(0, "no move is kept yet"), (7, "none of the 7 moves that are kept ")])
def test_a_history_without_such_a_move_says_whether_there_are_others(number: int, said: str) -> None:
    """A typing error in the address must not look like peace."""
    assert command.nothing(number).startswith(said)


def test_the_document_is_what_is_kept() -> None:
    [told] = json.loads(command.document([MOVE]))
    assert told == json.loads(history.entry(MOVE, "2025-11-28T10:15:00Z"))
    assert (told["from"], told["to"]) == ({"instance": "i-a", "node": ""}, {"instance": "i-b", "node": "node-b"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", WHEN - 5400),
        ("3d", WHEN - 259200),
        ("2w", WHEN - 1209600),
        ("2025-11-28", 1_764_288_000.0),
        ("2025-11-28T10:15", 1_764_324_900.0),
        ("2025-11-28T12:15:00+02:00", 1_764_324_900.0),
    ],
)
def test_since_is_a_span_or_a_time(text: str, expected: float) -> None:
    """UTC, as the table has it, unless it says otherwise."""
    assert command.since(text, WHEN) == expected


@pytest.mark.parametrize("text", ["", "3", "d", "-3d", "3y", "yesterday", "٣d", "9999999d"])
def test_since_is_nothing_else(text: str) -> None:
    """The command line says what it may be."""
    with pytest.raises(ValueError, match=r".*"):
        command.since(text, WHEN)
