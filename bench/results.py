"""
The files of bench/results: one for each cell, with all its runs so far, so that a bench can be interrupted.

A file is about one version of the code and one set of parameters; if either has changed, its runs no longer count.  A
run that failed is kept and counted like any other; only `--again` repeats it.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.cells import Cell

ROOT = Path(__file__).parent.parent
DIRECTORY = Path(__file__).parent / "results"
MEASURED_CODE = (
    *("floatingip/**/*.py", "lab/**/*.py", "bench/cells.py", "bench/cost.py", "bench/keepalived.py", "bench/notify.py"),
    *("floating-ip.yaml", "sample-service.yaml"),
)
"""The files that an outcome depends on, from the repository's root."""


def version(root: Path = ROOT) -> str:
    """A fingerprint of the code that is measured and of the code that measures."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MEASURED_CODE for path in root.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    names = {line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")}
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": ", ".join(sorted(names)) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def missing(found: dict[str, Any] | None, cell: Cell, wanted: int, code: str) -> list[int]:
    """Those of the seeds 1 to `wanted` that have no run yet in what a file holds."""
    seeds = range(1, (wanted if cell.runs is None else cell.runs) + 1)
    if found is None or not is_about(found, cell, code):
        return list(seeds)
    made = {run["seed"] for run in found["runs"]}
    return [seed for seed in seeds if seed not in made]


def is_about(found: dict[str, Any], cell: Cell, code: str) -> bool:
    """Whether it was measured with this code and the cell's parameters."""
    return bool(found["version"] == code and found["cell"] == cell.parameters)


def read(cell: Cell, directory: Path = DIRECTORY) -> dict[str, Any] | None:
    """The content of a cell's file, None if there is none.  Raises ValueError if it is not JSON."""
    try:
        found: dict[str, Any] = json.loads(_path(cell, directory).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def add(cell: Cell, run: dict[str, Any], code: str, directory: Path = DIRECTORY) -> None:
    """Add a run to a cell's file; readers never see it half written."""
    found = read(cell, directory)
    if found is None or not is_about(found, cell, code):
        found = {"cell": cell.parameters, "version": code, "machine": machine(), "runs": []}
    runs = [*(other for other in found["runs"] if other["seed"] != run["seed"]), run]
    found["runs"] = sorted(runs, key=lambda run: int(run["seed"]))
    path = _path(cell, directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def forget(cells: Iterable[Cell], directory: Path = DIRECTORY) -> None:
    """Remove the files of these cells."""
    for cell in cells:
        _path(cell, directory).unlink(missing_ok=True)


def _path(cell: Cell, directory: Path) -> Path:
    return directory / f"{cell.name}.json"
