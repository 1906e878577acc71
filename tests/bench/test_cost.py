"""What is made of a run's events: calls an hour, and the time of a start."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bench.cost import per_hour, starts

DESCRIBE, CREATE = "DescribeNetworkInterfaces", "CreateNetworkInterface"


def call(action: str, began: float, *, dry: bool = False) -> dict[str, Any]:
    """A call as EC2 records it."""
    return {"action": action, "began": began, "params": {"DryRun": "true"} if dry else {}}


def test_calls_in_peace_are_extrapolated_to_an_hour() -> None:
    """Those of the start are not."""
    calls = [call(DESCRIBE, 10.0), call(DESCRIBE, 110.0), call(DESCRIBE, 170.0)]
    assert per_hour(calls, began=100.0, seconds=120.0) == {DESCRIBE: 60.0}


def test_a_round_of_dry_runs_counts_as_often_as_it_comes() -> None:
    """Every ten minutes: whether one falls into a minute of peace is chance."""
    calls = [call(CREATE, 10.0, dry=True), call(CREATE, 150.0, dry=True)]
    assert per_hour(calls, began=100.0, seconds=60.0) == {f"{CREATE} (dry run)": 6.0}


def line(node: str, at: float, **fields: str) -> dict[str, Any]:
    """An agent's line of the history."""
    time = datetime.fromtimestamp(at, UTC).isoformat()
    return {"t": at, "source": "agent", "event": "log", "node": node, "fields": {"time": time, **fields}}


def begins(node: str, at: float) -> dict[str, Any]:
    """The start of `attach` on a node."""
    return {"t": at, "source": "kubelet", "event": "pod", "node": node, "phase": "Init", "detail": "attach"}


def test_a_start_lasts_until_the_first_plumbing() -> None:
    """On the node that carries the address; a later repair is none."""
    events = [
        begins("worker-a", 100.0),
        begins("worker-b", 101.0),
        line("worker-b", 103.5, event="plumbed", address="10.0.0.100"),
        line("worker-b", 130.0, event="plumbed", address="10.0.0.100"),
    ]
    assert starts(events, ["10.0.0.100"]) == pytest.approx(2.5)


def test_without_plumbing_there_is_no_figure() -> None:
    """None is not zero."""
    assert starts([begins("worker-a", 100.0)], ["10.0.0.100"]) is None
