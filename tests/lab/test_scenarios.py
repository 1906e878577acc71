"""Every scenario, once, with an EC2 that takes no time: what remains is the product's own time, and its mistakes."""

from pathlib import Path

import pytest

from lab.ec2 import PROFILES
from lab.scenarios import SCENARIOS, Scenario, run


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_scenario_is_survived(in_sandbox: None, scenario: Scenario, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    history = tmp_path / "history.jsonl"
    verdict = run(scenario, PROFILES["instant"], seed=1, record_to=history)
    assert verdict.ok, "\n".join([*verdict.faults, f"outage {verdict.outage_s:.2f} s; see {history}"])
