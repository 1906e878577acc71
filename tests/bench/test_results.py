"""The files of a bench: what is run again, what is kept, and what a run leaves behind that did not work."""

import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench import results
from bench.__main__ import main, once
from bench.cells import Failover, Peace
from floatingip.commands.progress import Progress

CELL = Failover("power-cut", "address", "typical")
CODE = "0123456789ab"


def held(cell: Failover | Peace, *seeds: int, code: str = CODE, verdict: str = "ok") -> dict[str, Any]:
    """A file with runs of these seeds."""
    runs = [{"seed": seed, "verdict": verdict} for seed in seeds]
    return {"version": code, "cell": cell.parameters, "runs": runs}


QUICK, LONG = Peace("eni", 1, 20.0), Peace("eni", 1, 120.0)


@pytest.mark.parametrize(
    ("kept", "cell", "runs", "missing"),
    [
        (None, CELL, 3, [1, 2, 3]),
        (held(CELL, 1, 3), CELL, 4, [2, 4]),
        (held(CELL, 1, 2, verdict="failed"), CELL, 2, []),
        (held(CELL, 1, 2, code="another"), CELL, 2, [1, 2]),
        (held(QUICK, 1), LONG, 20, [1]),
        (held(LONG, 1), LONG, 20, []),
    ],
    ids=["no file", "interrupted", "failed", "other code", "a quick measurement for a long one", "a long one"],
)
def test_runs_that_are_missing_are_made(
    kept: dict[str, Any] | None, cell: Failover | Peace, runs: int, missing: list[int]
) -> None:
    """By their seeds, from one on.  One that failed counts like any other; those of other code or parameters do not."""
    assert results.missing(kept, cell, runs, CODE) == missing


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    """Runs are in the order of their seeds, and a seed has one run."""
    for seed, outage in ((2, 1.0), (1, 2.0), (2, 3.0)):
        results.add(CELL, {"seed": seed, "total_outage_s": outage}, CODE, tmp_path)
    found = results.read(CELL, tmp_path)
    assert found is not None
    assert [(run["seed"], run["total_outage_s"]) for run in found["runs"]] == [(1, 2.0), (2, 3.0)]
    assert results.is_about(found, CELL, CODE)


def test_a_run_of_new_code_replaces_those_of_old(tmp_path: Path) -> None:
    """One file never mixes two versions."""
    results.add(CELL, {"seed": 1}, "old", tmp_path)
    results.add(CELL, {"seed": 2}, "new", tmp_path)
    found = results.read(CELL, tmp_path)
    assert found is not None
    assert (found["version"], [run["seed"] for run in found["runs"]]) == ("new", [2])


def test_the_version_follows_what_is_measured(tmp_path: Path) -> None:
    """A change of the product is a new version; one of its documents, or of the report, is not."""
    product, manifest = tmp_path / "floatingip" / "host.py", tmp_path / "floating-ip.yaml"
    document, report = tmp_path / "docs" / "benchmarks.md", tmp_path / "bench" / "report.py"
    for path in (product, manifest, document, report):
        path.parent.mkdir(exist_ok=True)
        path.write_text("one")
    seen = [results.version(tmp_path)]
    for path in (document, report, product, manifest):
        path.write_text("two")
        seen.append(results.version(tmp_path))
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[2:])) == 3


@dataclass(frozen=True)
class Scripted:
    """A cell whose runs are a piece of Python with the result's path as its argument."""

    script: str
    name: str = "scripted"
    runs: int | None = None
    program: str | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """Just so that two differ."""
        return {"script": self.script}

    def command(self, seed: int, result: Path) -> list[str]:
        """Run it."""
        return [sys.executable, "-c", self.script, str(result), str(seed)]

    def outcome(self, found: dict[str, object]) -> dict[str, object]:
        """As it is."""
        return found


def test_a_run_without_a_result_failed_and_says_why() -> None:
    """The last thing that the process said is kept."""
    run = once(Scripted("import sys; sys.exit('lab: no standby sees the address UP')"), 7)
    assert (run["seed"], run["verdict"]) == (7, "failed")
    assert run["faults"] == ["lab: no standby sees the address UP"]


@pytest.mark.parametrize(("code", "kept"), [(1, ["power-cut-address-typical-7.jsonl"]), (0, [])])
def test_a_run_that_failed_leaves_its_history(
    code: int, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can make it fail again at will."""
    figures = '{"outage_s": 1, "total_outage_s": 1, "detection_s": 1, "ec2_s": 1, "verdict": "ok", "faults": []}'
    script = "import sys; open(sys.argv[4], 'w').write('{}'); sys.argv[1] == '1' and sys.exit(1)"
    script += f"; open(sys.argv[2], 'w').write('{figures}')"
    command = [sys.executable, "-c", script, str(code)]
    monkeypatch.setattr(Failover, "command", lambda _self, _seed, result: [*command, str(result)])
    monkeypatch.setattr(bench, "FAILED_DIRECTORY", tmp_path / "failed")
    once(CELL, 7)
    assert [file.name for file in tmp_path.glob("failed/*")] == kept


def test_a_faulty_run_keeps_its_verdict() -> None:
    """The lab ends with 1 for a fault, and has written its verdict all the same."""
    script = 'import sys; open(sys.argv[1], \'w\').write(\'{"verdict": "faulty", "faults": []}\'); sys.exit(1)'
    assert once(Scripted(script), 1)["verdict"] == "faulty"


def test_while_a_run_lasts_it_is_told_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for how long so far; a run that does not end is given up."""
    stream = io.StringIO()
    monkeypatch.setattr(bench, "LOOK", 0.05)
    monkeypatch.setattr(bench, "RUN_WITHIN", 0.5)
    wait = bench.waiting(Progress(stream, every=0.0), "cell 1 of 2, x: run 1 of 3", time.monotonic())
    run = once(Scripted("import time; time.sleep(60)"), 1, wait)
    assert run["faults"] == ["no end within 0.5 s"]
    assert stream.getvalue().startswith("cell 1 of 2, x: run 1 of 3, 0 s so far, ")


def test_a_name_that_no_cell_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a typing error would be a bench without a fault."""
    assert main(["--only", "power-cutt*"]) == 2
    assert "power-cutt*" in capsys.readouterr().err


def test_what_a_cell_needs_is_missed_before_anything_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All the other cells take a quarter of an hour, after which nobody wants to hear it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bench, "once", lambda *_: pytest.fail("it was run"))
    assert main(["--quick", "--only", "*keepalived*"]) == 2
    assert "apt-get install keepalived" in capsys.readouterr().err
