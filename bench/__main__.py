"""
The bench's command line.

    python -m bench                       run what has no results yet, show the tables
    python -m bench --quick               three runs a cell and 20 s of peace, into runs/quick
    python -m bench --only 'power-cut-*'  some cells
    python -m bench report                write the tables into docs/benchmarks.md

Each run is a process of its own in a sandbox of its own.  Runs that have results for the same code and parameters are
not repeated, so an interrupted bench goes on where it was.  A run that failed is kept and counted, and leaves its
history in runs/failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench import report, results
from bench.cells import RUN_WITHIN, Cell, Failover, cells, missing
from floatingip.cli import Parser
from floatingip.commands.ending import lose_no_interrupt
from floatingip.commands.progress import Progress
from lab.command_line import count, end_of
from lab.console import Console

RUNS, QUICK_RUNS = 20, 3
PEACE, QUICK_PEACE = 120.0, 20.0
"""Seconds for which the cost of peace is measured: PEACE has two looks at EC2, which are a minute apart."""

QUICK_DIRECTORY = results.ROOT / "runs" / "quick"
FAILED_DIRECTORY = results.ROOT / "runs" / "failed"
DOCUMENT = results.ROOT / "docs" / "benchmarks.md"

PLAIN_WIDTH = 140
"""Columns if there is no terminal to ask."""

TOLD_EVERY = 60.0
"""Seconds between two lines of progress, if there is no terminal."""

LOOK = 0.5
"""Seconds between two checks whether a run has ended."""

console = Console(PLAIN_WIDTH)


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 1 if a run failed or had a fault."""
    options = _parser().parse_args(arguments)
    directory = QUICK_DIRECTORY if options.quick else results.DIRECTORY
    chosen = [cell for cell in cells(QUICK_PEACE if options.quick else PEACE) if fnmatch(cell.name, options.only)]
    if not chosen:
        print(f"bench: no cell is called {options.only!r}; `python -m bench list` names them", file=sys.stderr)
        return 2
    if options.command == "list":
        for cell in chosen:
            print(cell.name)
        return 0
    if options.command == "report":
        found = [file for cell in chosen if (file := results.read(cell, directory)) is not None]
        report.rewrite(DOCUMENT, found)
        return 0
    if said := missing({cell.program for cell in chosen if cell.program is not None}):
        print(said, file=sys.stderr)
        return 2
    if options.again:
        results.forget(chosen, directory)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    found = []
    for number, cell in enumerate(chosen, 1):
        complete(cell, runs, directory, f"cell {number} of {len(chosen)}")
        found += [file for file in [results.read(cell, directory)] if file is not None]
    for table in report.tables(found):
        console.print(table)
    return 0 if all(run["verdict"] == "ok" for file in found for run in file["runs"]) else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m bench", description="Failover and cost, measured in the lab.")
    parser.add_argument(
        "command", nargs="?", choices=("run", "report", "list"), default="run", help="what to do (default: run)"
    )
    parser.add_argument("--only", default="*", metavar="PATTERN", help="the cells of these names, such as 'peace-*'")
    parser.add_argument("--runs", type=count, metavar="N", help=f"how often each cell is run (default: {RUNS})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs, kept apart from the others")
    parser.add_argument("--again", action="store_true", help="forget what there is of these cells")
    return parser


def complete(cell: Cell, runs: int, directory: Path, place: str) -> None:
    """Make the missing runs of a cell, one after the other; ``place`` is the cell's number among those to measure."""
    code = results.version()
    seeds = results.missing(results.read(cell, directory), cell, runs, code)
    progress, began = Progress(sys.stdout, every=TOLD_EVERY), time.monotonic()
    for number, seed in enumerate(seeds, 1):
        with closing(progress):
            run = once(cell, seed, waiting(progress, f"{place}, {cell.name}: run {number} of {len(seeds)}", began))
        if results.version() != code:
            raise SystemExit("bench: the code has changed meanwhile: what was measured belongs to neither")
        results.add(cell, run, code, directory)
        outage = run.get("total_outage_s")
        shown = f", outage {outage:.2f} s" if outage is not None else ""
        said = "; ".join([run["verdict"], *run.get("faults", [])])
        console.print(
            f"{cell.name} {seed}: {said}{shown}", style=None if run["verdict"] == "ok" else "red", soft_wrap=True
        )


def waiting(progress: Progress, what: str, began: float) -> Callable[[], None]:
    """A function to call again and again during a run, to show progress; the cell's runs began at ``began``."""
    since = time.monotonic()

    def wait() -> None:
        now = time.monotonic()
        progress.wait(f"{what}, {now - since:.0f} s so far, {(now - began) / 60:.0f} min for all of the cell's")

    return wait


def once(cell: Cell, seed: int, wait: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """
    Make one run; return its result, or why it has none, and the machine's load before it, on which latency depends.

    ``wait`` is called every half second while the run lasts.
    """
    about: dict[str, Any] = {"seed": seed, "load": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory() as directory:
        history = Path(directory) / "history.jsonl"
        run = {**about, **_run(cell, seed, Path(directory) / "result.json", history, wait)}
        if run["verdict"] != "ok" and history.exists():
            FAILED_DIRECTORY.mkdir(parents=True, exist_ok=True)
            shutil.copy(history, FAILED_DIRECTORY / f"{cell.name}-{seed}.jsonl")
    return run


def _run(cell: Cell, seed: int, result: Path, history: Path, wait: Callable[[], None]) -> dict[str, Any]:
    command = cell.command(seed, result)
    if isinstance(cell, Failover):
        command += ["--history", str(history)]
    deadline = time.monotonic() + RUN_WITHIN
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        with subprocess.Popen(command, cwd=results.ROOT, stdout=subprocess.DEVNULL, stderr=said) as process:
            try:
                while not _has_ended(process):
                    wait()
                    if time.monotonic() > deadline:
                        return {"verdict": "failed", "faults": [f"no end within {RUN_WITHIN:g} s"]}
            finally:
                process.kill()
        if not result.exists():
            said.seek(0)
            last = (said.read().strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            return {"verdict": "failed", "faults": [last]}
    return {"verdict": "ok", **cell.outcome(json.loads(result.read_text(encoding="utf-8")))}


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended; waits half a second for that."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(LOOK)
    return process.returncode is not None


if __name__ == "__main__":
    lose_no_interrupt()
    sys.exit(end_of("bench", lambda: main(sys.argv[1:]), sys.stdout))
