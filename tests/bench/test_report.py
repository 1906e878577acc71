"""The tables: percentiles, what is counted, what misses its goal, and the place in the document."""

from typing import Any

import pytest

from bench.cells import Failover, Peace
from bench.report import BEGIN, END, costs, failovers, markdown, percentile, replaced

MACHINE = {"cpu": "A CPU", "cores": 2, "memory_gib": 4.0, "kernel": "6.1", "python": "3.11.2"}


def file_of(cell: Failover | Peace, *runs: dict[str, Any]) -> dict[str, Any]:
    """A file of the results."""
    return {"version": "0123456789ab", "cell": cell.parameters, "machine": MACHINE, "runs": list(runs)}


def run(outage: float, floor: float, verdict: str = "ok") -> dict[str, Any]:
    """One run with this outage."""
    return {"total_outage_s": outage, "own_s": outage - floor, "detection_s": 1.0, "verdict": verdict}


def column(grid: Any, name: str) -> list[str]:
    """The texts of one column."""
    return [row[grid.columns.index(name)] for row in grid.rows]


@pytest.mark.parametrize(("percent", "expected"), [(50, 10.0), (90, 18.0), (100, 20.0)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, expected: float) -> None:
    """By nearest rank: of twenty the 18th is the 90th percentile, in whatever order they came."""
    assert percentile([float(value) for value in range(20, 0, -1)], percent) == expected


def test_of_three_runs_the_ninetieth_percentile_is_the_worst() -> None:
    """Ranks are rounded up: a quick bench does not flatter."""
    assert percentile([1.0, 2.0, 9.0], 90) == 9.0


def test_one_value_is_every_percentile_and_none_has_none() -> None:
    """The ends of the definition."""
    assert percentile([3.0], 1) == percentile([3.0], 99) == 3.0
    assert percentile([], 50) is None


def test_a_faulty_run_is_counted_and_its_outage_too() -> None:
    """Bad runs are not left out of the figures that they spoil."""
    cell = Failover("power-cut", "eni", "instant")
    grid = failovers([file_of(cell, run(1.0, cell.floor), run(9.0, cell.floor, "faulty"))])
    assert column(grid, "max") == ["9.00"]
    assert column(grid, "faulty") == ["**1**"]
    assert column(grid, "runs") == ["2"]


def test_a_run_without_a_figure_is_counted_as_faulty() -> None:
    """It has no outage, but it was run."""
    cell = Failover("power-cut", "eni", "instant")
    grid = failovers([file_of(cell, run(1.0, cell.floor), {"verdict": "failed", "faults": ["no end"]})])
    assert column(grid, "runs") == ["2"]
    assert column(grid, "faulty") == ["**1**"]
    assert column(grid, "p90") == ["1.00"]


@pytest.mark.parametrize(("outage", "shown"), [(1.79, "1.79"), (1.81, "**1.81**")])
def test_what_misses_its_goal_is_marked(outage: float, shown: str) -> None:
    """A power cut with `carry: address`, where EC2 takes no time: 1.8 s at most."""
    cell = Failover("power-cut", "address", "instant")
    assert column(failovers([file_of(cell, run(outage, cell.floor))]), "p90") == [shown]


def test_keepalived_is_held_to_none_of_our_goals() -> None:
    """It stands beside, with its own floor."""
    cell = Failover("power-cut", "keepalived", "instant")
    grid = failovers([file_of(cell, run(9.0, cell.floor))])
    assert not any("**" in cell for cell in grid.rows[0])


def test_each_agent_of_a_pair_has_a_row_of_its_own() -> None:
    """The one that holds more first, with its goals: 1 % of a core for one address, 100 MiB; dry runs are one sum."""
    dry = {"Attach (dry run)": 6.0, "Create (dry run)": 6.0}
    agent = {"cpu_percent": 0.5, "rss_mib": 80.2, "threads": 7, "calls_per_hour": {"Describe": 60.0, **dry}}
    holder = {**agent, "holds": 1, "cpu_percent": 1.2}
    grid = costs([file_of(Peace("eni", 1, 60.0), {"agents": [{**agent, "holds": 0}, holder], "start_s": 2.5})])
    assert column(grid, "of these held") == ["1", "0"]
    assert column(grid, "CPU %") == ["**1.20**", "0.50"]
    assert column(grid, "MiB") == ["80", "80"]
    assert column(grid, "EC2 calls an hour") == ["Describe 60, dry runs 12"] * 2


def test_the_machine_and_the_version_are_said() -> None:
    """Once, however many cells there are."""
    cell = Failover("power-cut", "eni", "instant")
    text = markdown([file_of(cell, run(1.0, 1.5)), file_of(Failover("handover", "eni", "instant"), run(1.0, 1.5))])
    assert text.count("A CPU, 2 cores, 4 GiB, Linux 6.1, Python 3.11.2; code 0123456789ab") == 1


def test_the_tables_stand_between_the_marks_and_nothing_else_changes() -> None:
    """Also the second time."""
    document = f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n"
    once = replaced(document, "new")
    assert once == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nThe end.\n"
    assert replaced(once, "new") == once


@pytest.mark.parametrize("document", ["no marks", f"{BEGIN} only", f"{END} before {BEGIN}"])
def test_a_document_without_both_marks_is_left_alone(document: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="not both there"):
        replaced(document, "new")
