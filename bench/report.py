"""
The tables, from the files of bench/results: in the terminal, and in docs/benchmarks.md between two marks.

Pure but for `rewrite`.  A percentile is by nearest rank, so it is an outage that was measured.  Runs that failed are
counted and shown; what they measured, if anything, is in the percentiles like the rest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.cells import DRY

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Found = Mapping[str, Any]
"""The content of one file of the results (results.py)."""

MISSED = "**"
"""Markdown around a figure that misses its goal."""


@dataclass(frozen=True)
class Goal:
    """The largest value that a column may have, in the cells with these parameters."""

    column: str
    most: float
    cells: Mapping[str, object]


GOALS = (
    Goal("p90", 3.0, {"failure": "power-cut", "carry": "address", "ec2": "typical"}),
    Goal("p90", 1.8, {"failure": "power-cut", "carry": "address", "ec2": "instant"}),
    Goal("p90", 1.5, {"failure": "handover", "carry": "address", "ec2": "typical"}),
    Goal("own p90", 0.3, {"kind": "failover", "carry": "eni"}),
    Goal("own p90", 0.3, {"kind": "failover", "carry": "address"}),
    Goal("CPU %", 1.0, {"kind": "peace", "addresses": 1}),
    Goal("CPU %", 10.0, {"kind": "peace", "addresses": 50}),
    Goal("MiB", 100.0, {"kind": "peace"}),
)


@dataclass(frozen=True)
class Grid:
    """A table: its columns, and its rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The smallest value that `percent` of the values do not exceed; None if there are no values."""
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def failovers(found: Sequence[Found]) -> Grid:
    """The table of outages in seconds, a row for each cell."""
    columns = (
        "failure",
        "carried by",
        "EC2",
        "runs",
        "p50",
        "p90",
        "max",
        "floor",
        "own p90",
        "detection p90",
        "faulty",
    )
    rows = []
    for file in found:
        cell = file["cell"]
        if cell["kind"] != "failover":
            continue
        measured = {
            key: [float(run[key]) for run in file["runs"] if run.get(key) is not None]
            for key in ("total_outage_s", "own_s", "detection_s")
        }
        outages = measured["total_outage_s"]
        figures = {
            "p50": percentile(outages, 50),
            "p90": percentile(outages, 90),
            "max": max(outages, default=None),
            "floor": float(cell["floor_s"]),
            "own p90": percentile(measured["own_s"], 90),
            "detection p90": percentile(measured["detection_s"], 90),
        }
        faulty = sum(run["verdict"] != "ok" for run in file["runs"])
        rows.append(
            (
                cell["failure"],
                carrier(cell),
                cell["ec2"],
                str(len(file["runs"])),
                *(shown(cell, column, value) for column, value in figures.items()),
                str(faulty) if not faulty else f"{MISSED}{faulty}{MISSED}",
            )
        )
    return Grid("Outage of clients, in seconds", columns, tuple(rows))


def carrier(cell: Mapping[str, Any]) -> str:
    """How the address is carried, and by whom: `address`, `address (Elastic IP)`, `keepalived`."""
    return f"{cell['carry']} (Elastic IP)" if cell["ip"] == "eip" else str(cell["carry"])


def costs(found: Sequence[Found]) -> Grid:
    """The table of what agents cost in peace, a row for each agent."""
    columns = ("carried by", "addresses", "of these held", "CPU %", "MiB", "threads", "start s", "EC2 calls an hour")
    rows = []
    for file in found:
        cell = file["cell"]
        if cell["kind"] != "peace":
            continue
        for run in file["runs"]:
            if "agents" not in run:
                rows.append((cell["carry"], str(cell["addresses"]), *["-"] * 5, f"{MISSED}{run['verdict']}{MISSED}"))
                continue
            for agent in sorted(run["agents"], key=lambda agent: -int(agent["holds"])):
                calls = ", ".join(f"{action} {count:g}" for action, count in in_short(agent["calls_per_hour"]).items())
                rows.append(
                    (
                        cell["carry"],
                        str(cell["addresses"]),
                        str(agent["holds"]),
                        shown(cell, "CPU %", agent["cpu_percent"]),
                        shown(cell, "MiB", agent["rss_mib"], digits=0),
                        str(agent["threads"]),
                        shown(cell, "start s", run["start_s"]),
                        calls or "none",
                    )
                )
    return Grid("An agent in peace", columns, tuple(rows))


def in_short(calls: Mapping[str, float]) -> dict[str, float]:
    """Calls by action, with all dry runs as one action."""
    dry = sum(count for action, count in calls.items() if action.endswith(DRY))
    real = {action: count for action, count in calls.items() if not action.endswith(DRY)}
    return {**real, "dry runs": dry} if dry else real


def shown(cell: Mapping[str, Any], column: str, value: float | None, digits: int = 2) -> str:
    """A figure as text, marked if it misses its goal."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return f"{MISSED}{text}{MISSED}" if misses(cell, column, value) else text


def misses(cell: Mapping[str, Any], column: str, value: float) -> bool:
    """Whether the value is more than a goal allows."""
    return any(
        value > goal.most
        for goal in GOALS
        if goal.column == column and all(cell.get(key) == wanted for key, wanted in goal.cells.items())
    )


def machines(found: Sequence[Found]) -> list[str]:
    """The machine and the version of the code, in words; one line for each pair that occurs."""
    lines = {
        "{cpu}, {cores} cores, {memory_gib:g} GiB, Linux {kernel}, Python {python}; code {version}".format(
            **file["machine"], version=file["version"]
        )
        for file in found
    }
    return sorted(lines)


def markdown(found: Sequence[Found]) -> str:
    """Both tables and the machine, in Markdown."""
    parts = [f"- {line}" for line in machines(found)]
    for grid in (failovers(found), costs(found)):
        if grid.rows:
            parts += ["", f"**{grid.title}**", "", *(_line(row) for row in (grid.columns, ["---"] * len(grid.columns)))]
            parts += [_line(row) for row in grid.rows]
    return "\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(found: Sequence[Found]) -> list[Table]:
    """Both tables, for the terminal."""
    return [_table(grid) for grid in (failovers(found), costs(found)) if grid.rows]


def _table(grid: Grid) -> Table:
    table = Table(title=grid.title, header_style="bold")
    for column in grid.columns:
        table.add_column(column, overflow="fold")
    for row in grid.rows:
        table.add_row(*(f"[red]{cell.strip('*')}[/]" if cell.startswith(MISSED) else cell for cell in row))
    return table


def replaced(document: str, measured: str) -> str:
    """The document with `measured` between its two marks.  Raises ValueError if it has not both, in order."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not both there, in this order")
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def rewrite(path: Path, found: Sequence[Found]) -> None:
    """Put the tables into the document.  Raises OSError, and ValueError as `replaced`."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), markdown(found)), encoding="utf-8")
