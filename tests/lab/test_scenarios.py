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


BOTH = {
    *(name for name in SCENARIOS if name.startswith("hostile-")),
    "kernel-hang",
    "node-terminated",
    "power-cut",
    "rolling-restart",
}
"""Where the two ways to carry the address differ most in what they do; tests/agents has more of both."""

BY_ADDRESS = {"announcements-lost", "eviction", "handover", "partition", "service-down", "spot-notice"}
"""Where carrying an ENI has nothing of its own to show."""

SLOW = {"announcements-lost"}
"""A neighbour forgets after most of a minute; tests/lab/test_announcements.py shows as much in seconds."""

RUNS = [
    (scenario, carry)
    for name, scenario in SCENARIOS.items()
    for carry in Carry
    if name not in SLOW and (name in BOTH or (name in BY_ADDRESS) == (carry is Carry.ADDRESS))
]


def survive(scenario: Scenario, addresses: Sequence[str], carry: Carry, history: Path) -> None:
    """Run it, and fail with what the checker says."""
    verdict = run(scenario, PROFILES["instant"], seed=1, addresses=addresses, carry=carry, record_to=history)
    assert verdict.ok, "\n".join([*verdict.faults, f"outage {verdict.outage_s:.2f} s; see {history}"])


@pytest.mark.parametrize(("scenario", "carry"), RUNS, ids=[f"{scenario.name}-{carry}" for scenario, carry in RUNS])
def test_scenario_is_survived(in_sandbox: None, scenario: Scenario, carry: Carry, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    survive(scenario, [FLOATING_IP], carry, tmp_path / "history.jsonl")


@pytest.mark.parametrize(
    ("name", "carry"),
    [
        ("power-cut", Carry.ENI),
        ("power-cut", Carry.ADDRESS),
        ("link-flap", Carry.ADDRESS),
        ("address-removed", Carry.ENI),
        ("rules-flushed", Carry.ADDRESS),
    ],
)
def test_scenario_is_survived_with_an_address_of_each_kind(
    in_sandbox: None, name: str, carry: Carry, tmp_path: Path
) -> None:
    """Each that is hit stays within the same bounds; one that is not hit does not notice."""
    survive(SCENARIOS[name], MIX, carry, tmp_path / "history.jsonl")
