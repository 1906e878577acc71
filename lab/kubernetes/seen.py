"""
What scenarios showed on the real Kubernetes and on the small one, side by side: the table in docs/lab-kubernetes.md.

    python -m lab.kubernetes.seen      write it there anew

`make test-kubernetes-all` keeps its results in runs/kubernetes, a file for each run; a scenario's last run counts.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.kubernetes import build
from lab.kubernetes.cluster import Kind

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "runs" / "kubernetes"
DOCUMENT = ROOT / "docs" / "lab-kubernetes.md"
BEGIN, END = "<!-- seen: begin -->", "<!-- seen: end -->"

CARRIES = ("address", "eni")
APART = 1.0
"""Seconds by which the two outages may differ without a reason being given."""

FAULTY = "**"
"""Markdown around the outage of a run whose verdict was not ok."""

_SERVICE_ENDS = "kubelet ends the service's pod at the same moment as the observer, before the address has moved"
_ASKED = "an observer asks how Kubernetes sees its pod every 2 s, on either one"
_DROPPED = "without a local endpoint kube-proxy drops, so each check takes its whole timeout; the small one refuses"

WHY: Mapping[str, str] = {
    "drain": "the service's pod is evicted at the same moment as the observer, and ends before the address has moved",
    "endpoint-moves": _DROPPED,
    "kubelet-hung": _ASKED,
    "kubelet-killed": _ASKED,
    "named-service-down": _DROPPED,
    "node-terminated": _SERVICE_ENDS,
    "out-of-service": "the service's pod is deleted at the same moment as the observer; the small one's backends stay",
    "policy-cluster": "until the dead node is not ready, 40 s after a lease that was then 0 to 10 s old, in either one",
    "rollout-power-cut": "the power goes once the standby's pod is Running; the small one's observer only begins then",
    "service-down": _DROPPED,
    "terminate-1": _SERVICE_ENDS,
    "terminate-45": _SERVICE_ENDS,
}
"""For each scenario whose two outages differ by more than APART: why."""


@dataclass(frozen=True)
class Seen:
    """
    One run.

    outage_s: all outages of the unluckiest client together, in seconds; None if no client asked.
    at: the day of the run, such as 2026-11-28.
    """

    scenario: str
    carry: str
    kubernetes: str
    outage_s: float | None
    ok: bool
    at: str


def keep(scenario: str, carry: str, kubernetes: Kind, outage_s: float | None, *, ok: bool) -> None:
    """Keep the result of a run of today.  Raises OSError."""
    seen = Seen(scenario, carry, str(kubernetes), outage_s, ok, datetime.now(UTC).date().isoformat())
    KEPT.mkdir(parents=True, exist_ok=True)
    place = KEPT / f"{scenario}-{carry}-{kubernetes}.json"
    place.write_text(json.dumps(asdict(seen)) + "\n", encoding="utf-8")


def kept() -> list[Seen]:
    """All results that were kept.  Raises OSError, ValueError."""
    return [Seen(**json.loads(file.read_text(encoding="utf-8"))) for file in sorted(KEPT.glob("*.json"))]


def table(seen: Sequence[Seen], reasons: Mapping[str, str] = WHY) -> str:
    """
    A row for each scenario, in Markdown, with the reason if the two outages differ.

    Raises ValueError, which names the scenarios whose outages differ without a reason.
    """
    found = {(one.scenario, one.carry, one.kubernetes): one for one in seen}
    rows = ["| scenario | `address`, real | small | `eni`, real | small | |", "|---|---|---|---|---|---|"]
    unexplained = []
    for name in sorted({one.scenario for one in seen}):
        runs = [found.get((name, carry, kind)) for carry in CARRIES for kind in (Kind.REAL, Kind.SMALL)]
        why = ""
        if any(_differ(real, small) for real, small in zip(runs[::2], runs[1::2], strict=True)):
            why = reasons.get(name, "")
            if not why:
                unexplained.append(name)
        rows.append(f"| `{name}` | {' | '.join(map(_figure, runs))} | {why} |")
    if unexplained:
        raise ValueError(f"the two differ by more than {APART:g} s, and nothing says why: {', '.join(unexplained)}")
    return "\n".join(rows)


def _differ(real: Seen | None, small: Seen | None) -> bool:
    outages = [one.outage_s for one in (real, small) if one is not None and one.outage_s is not None]
    return len(outages) > 1 and abs(outages[0] - outages[1]) > APART


def _figure(one: Seen | None) -> str:
    if one is None:
        return "-"
    if one.outage_s is None:
        return "ok" if one.ok else f"{FAULTY}faulty{FAULTY}"
    figure = f"{one.outage_s:.1f} s"
    return figure if one.ok else f"{FAULTY}{figure}{FAULTY}"


def replaced(document: str, seen: Sequence[Seen]) -> str:
    """The document with this table between its marks.  Raises ValueError as `table` does, or if a mark is missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} are not both there, in this order")
    days = " to ".join(sorted({min(one.at for one in seen), max(one.at for one in seen)}))
    told = f"With `--ec2 typical`, Kubernetes {build.version().removeprefix('v')}, {days}:"
    return f"{before}{BEGIN}\n{told}\n\n{table(seen)}\n{END}{after}"


def main() -> int:
    """Rewrite the document; returns the exit code."""
    try:
        text = replaced(DOCUMENT.read_text(encoding="utf-8"), kept())
    except ValueError as error:
        print(f"seen: {error}", file=sys.stderr)
        return 1
    DOCUMENT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
