"""The table of what was seen on both: what it shows, what it refuses, and that the document has all of it."""

import json
from pathlib import Path

import pytest

from lab.kubernetes import seen
from lab.kubernetes.cluster import Kind
from lab.kubernetes.seen import Seen
from tests.kubernetes.test_scenarios import ON_REAL

DAY = "2026-11-28"


def run(scenario: str, kind: Kind, outage_s: float | None, *, ok: bool = True) -> Seen:
    """One that carried the address."""
    return Seen(scenario, "address", str(kind), outage_s, ok, DAY)


def test_both_stand_side_by_side() -> None:
    """What was not run, or has no client, has no figure."""
    runs = [run("cut", Kind.REAL, 2.71), run("cut", Kind.SMALL, 2.66), run("bare", Kind.REAL, None)]
    assert seen.table(runs).splitlines()[2:] == [
        "| `bare` | ok | - | - | - |  |",
        "| `cut` | 2.7 s | 2.7 s | - | - |  |",
    ]


def test_a_run_that_was_faulty_stands_out() -> None:
    """Its figure is in bold."""
    assert "| **0.5 s** |" in seen.table([run("cut", Kind.REAL, 0.5, ok=False)])
    assert "| **faulty** |" in seen.table([run("cut", Kind.REAL, None, ok=False)])


def test_a_difference_of_more_than_a_second_needs_a_reason() -> None:
    """It stands at the end of the row, and nowhere else."""
    runs = [run("cut", Kind.REAL, 3.8), run("cut", Kind.SMALL, 2.7)]
    with pytest.raises(ValueError, match="nothing says why: cut"):
        seen.table(runs, {})
    assert seen.table(runs, {"cut": "so it is"}).endswith("| so it is |")
    assert "so it is" not in seen.table([run("cut", Kind.REAL, 3.8), run("cut", Kind.SMALL, 2.9)], {"cut": "so it is"})


def test_what_is_kept_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several runs of one kind the last one."""
    monkeypatch.setattr(seen, "KEPT", tmp_path / "runs")
    for outage in (1.0, 2.0):
        seen.keep("cut", "eni", Kind.REAL, outage, ok=True)
    [kept] = seen.kept()
    assert (kept.scenario, kept.carry, kept.kubernetes, kept.outage_s, kept.ok) == ("cut", "eni", "real", 2.0, True)
    assert json.loads((tmp_path / "runs" / "cut-eni-real.json").read_text())["at"] == kept.at


def test_the_document_tells_of_every_scenario_on_the_real_kubernetes() -> None:
    """In both ways to carry: a scenario that is new, or renamed, has to be run before it counts."""
    _, _, rest = seen.DOCUMENT.read_text(encoding="utf-8").partition(seen.BEGIN)
    cells = [[cell.strip() for cell in row.split("|")] for row in rest.partition(seen.END)[0].splitlines()]
    told = {
        (row[1].strip("`"), carry)
        for row in cells
        if len(row) > 5
        for carry, figure in (("address", row[2]), ("eni", row[4]))
        if figure != "-"
    }
    scenarios = {(name, carry) for name, carry, _ in ON_REAL}
    assert scenarios == {(name, carry) for name, _ in scenarios for carry in seen.CARRIES}
    assert scenarios <= told, f"not in the table: {sorted(scenarios - told)}"
