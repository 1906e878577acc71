"""
docs/failure-scenarios.md with its pictures, from runs that were kept: NAME-CARRY.json and NAME-CARRY.jsonl for each.

    python -m lab.pages.failures run DIR [NAME ...]    run scenarios, all by default, and keep them
    python -m lab.pages.failures write DIR             write the page and its pictures anew
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floatingip.core.model import Carry
from lab.pages import lanes
from lab.run.scenario import Scenario
from lab.run.scenarios import SCENARIOS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "failure-scenarios.md"
PICTURES = DOCS / "failures"

ORIGINALS = ("pod-delete", "cordon-delete", "node-terminated")
"""The three scenarios that the original sample's README shows; in the first two the address stays."""

MEASURED = {"node-terminated": "The original's README measured about 64 s, and in another run 2 min 14 s."}

SEEN_FROM = 0.15
"""Seconds of outage from which a run is worth a picture: a shorter one could not be seen in it."""

HEAD = """# Failure scenarios

What happens, what clients see of it, and why: each scenario of the lab, run with `--ec2 typical` (detach 2.5 s, attach
3 s, the device 1 s later; assign 1.2 s), in both ways to carry the address. An outage is all that the unluckiest client
missed, who asks fifty times a second; the rules are those of [how it works](how-it-works.md#what-it-decides). Second 0
is the misfortune; a dot is a decision of that node's agent, and says more when it is pointed at.

```sh
.venv/bin/python -m lab.pages.failures run runs/failures
.venv/bin/python -m lab.pages.failures write runs/failures
```

runs them and writes this page; `.venv/bin/python -m lab run NAME --carry CARRY` shows one of them live, and
`.venv/bin/python -m lab report HISTORY` makes such a picture, with all that happened, of what
`lab run --history HISTORY` wrote.
"""


@dataclass(frozen=True)
class Run:
    """A run that was kept: the checker's verdict, and the history."""

    verdict: Mapping[str, Any]
    events: Sequence[lanes.Event]


def read(folder: Path, name: str, carry: Carry) -> Run | None:
    """A run that was kept; None if it was not, or if it did not pass.  Raises OSError, ValueError."""
    verdict, history = folder / f"{name}-{carry}.json", folder / f"{name}-{carry}.jsonl"
    if not (verdict.exists() and history.exists()):
        return None
    judged = json.loads(verdict.read_text(encoding="utf-8"))
    if judged["verdict"] != "ok":
        return None
    return Run(judged, [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()])


def page(folder: Path) -> tuple[str, dict[str, str]]:
    """The page's text, and its pictures (name -> SVG).  Raises OSError, ValueError."""
    parts, pictures = [HEAD], dict[str, str]()
    for heading, names in (
        ("The original's three", list(ORIGINALS)),
        ("All others", [name for name in SCENARIOS if name not in ORIGINALS]),
    ):
        parts.append(f"## {heading}\n")
        for name in names:
            runs = {carry: run for carry in Carry if (run := read(folder, name, carry)) is not None}
            if not runs:
                continue
            parts += [f"### {name}\n", f"{_capital(SCENARIOS[name].title)}. {MEASURED.get(name, '')}".rstrip() + "\n"]
            parts.append("".join(f"- `{carry}`: {told(run)}\n" for carry, run in runs.items()))
            if any(run.verdict["outage_s"] >= SEEN_FROM for run in runs.values()):
                stories = {f"carry: {carry}": lanes.story(run.events) for carry, run in runs.items()}
                pictures[name] = lanes.svg(SCENARIOS[name].title, stories)
                parts.append(f"![Who had the address, and what clients got]({PICTURES.name}/{name}.svg)\n")
    return "\n".join(parts), pictures


def told(run: Run) -> str:
    """A sentence about the outage, and what was decided, in the agents' own words."""
    outage, moves = run.verdict["total_outage_s"], run.verdict["moves"]
    seen = f"clients were out for {outage:.1f} s" if outage >= SEEN_FROM else "no client noticed"
    if not moves:
        return f"{seen}; nothing moved."
    whys = dict.fromkeys(_reasons(run.events))
    return f"{seen}; {'one move' if moves == 1 else f'{moves} moves'}. {' '.join(f'{why}.' for why in whys)}".rstrip()


def _reasons(events: Sequence[lanes.Event]) -> Iterator[str]:
    struck, names = lanes.struck_at(events), lanes.node_names(events)
    for event in events:
        if event["source"] == "agent" and event["t"] >= struck and event["fields"].get("event") == "takeover":
            said = str(event["fields"]["msg"])
            for instance, name in names.items():
                said = said.replace(instance, name)
            yield f"{event['fields']['rule']}: {said}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _run(folder: Path, chosen: Iterable[Scenario]) -> int:
    """Run each scenario in both ways to carry, each as a process of its own; runs that were kept are not repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for scenario in chosen:
        for carry in Carry:
            kept = folder / f"{scenario.name}-{carry}"
            if kept.with_suffix(".json").exists():
                continue
            print(f"{scenario.name}, carry {carry}", flush=True)
            command = [sys.executable, "-m", "lab", "run", scenario.name, "--carry", carry, "--quiet"]
            command += ["--json", f"{kept}.json", "--history", f"{kept}.jsonl"]
            failed |= subprocess.run(command, check=False).returncode
    return failed


def main() -> int:
    """Run scenarios or write the page; the exit code is 1 if a scenario failed."""
    parser = argparse.ArgumentParser(prog="python -m lab.pages.failures", description=__doc__)
    parser.add_argument("command", choices=("run", "write"))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in SCENARIOS]:
        parser.error(f"no scenario {', '.join(unknown)}; see `python -m lab list`")
    if options.command == "run":
        return _run(options.folder, [SCENARIOS[name] for name in options.names or SCENARIOS])
    text, pictures = page(options.folder)
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for name, picture in pictures.items():
        (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
