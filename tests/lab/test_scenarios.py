"""Scenarios with an EC2 that takes no time: what remains is the product's own time, and its mistakes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from floatingip.model import Carry
from lab.ec2 import PROFILES
from lab.region import ELASTIC_IP, FLOATING_IP
from lab.scenarios import SCENARIOS, Scenario, run
from tests.lab.test_ipv6 import FLOATING as FLOATING_IPV6

MIX = (FLOATING_IP, FLOATING_IPV6, ELASTIC_IP)
"""One address of each kind."""


BOTH = pytest.mark.parametrize("carry", Carry)


def survive(scenario: Scenario, addresses: Sequence[str], carry: Carry, history: Path) -> None:
    """Run it, and fail with what the checker says."""
    verdict = run(scenario, PROFILES["instant"], seed=1, addresses=addresses, carry=carry, record_to=history)
    assert verdict.ok, "\n".join([*verdict.faults, f"outage {verdict.outage_s:.2f} s; see {history}"])


@BOTH
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_scenario_is_survived(in_sandbox: None, scenario: Scenario, carry: Carry, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    survive(scenario, [FLOATING_IP], carry, tmp_path / "history.jsonl")


@BOTH
@pytest.mark.parametrize("name", ["power-cut", "link-flap", "address-removed", "rules-flushed"])
def test_scenario_is_survived_with_an_address_of_each_kind(
    in_sandbox: None, name: str, carry: Carry, tmp_path: Path
) -> None:
    """Each that is hit stays within the same bounds; one that is not hit does not notice."""
    survive(SCENARIOS[name], MIX, carry, tmp_path / "history.jsonl")
