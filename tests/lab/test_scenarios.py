"""Scenarios with an EC2 that takes no time: what remains is the product's own time, and its mistakes."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from floatingip.model import Carry
from lab.ec2 import PROFILES, Profile
from lab.hardships import HARDSHIPS
from lab.imds import Trouble
from lab.region import ELASTIC_IP, FLOATING_IP
from lab.scenario import Scenario
from lab.scenarios import SCENARIOS, run
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

BY_ADDRESS = {
    "announcements-lost",
    "ec2-slow",
    "endpoint-moves",
    "ec2-unreadable",
    "eviction",
    "handover",
    "imds-drips",
    "imds-in-trouble",
    "partition",
    "service-down",
    "service-gone-everywhere",
    "spot-notice",
}
"""Where carrying an ENI has nothing of its own to show."""

SLOW = {
    "announcements-lost",
    *("ec2-cut-off", "ec2-hangs", "ec2-overloaded", "ec2-page"),
    "named-service-down",
    *(f"imds-{trouble}" for trouble in Trouble if trouble is not Trouble.DRIPS),
}
"""A neighbour forgets after most of a minute; tests/lab/test_announcements.py shows as much in seconds.  Of the ways in
which EC2 and IMDS answer badly, the worst stand for all during a power cut: each takes 20 s.  A service that the
settings name is judged as those that are found.
tests/core/test_ec2_answers.py and test_imds_answers.py have all of them.
"""

SURVIVED = [
    ("prefix-routed-elsewhere", Carry.ADDRESS),
]
"""
Which of the hardships run with all other tests, and by which way to carry; those that take longer than a minute run by
`make test-long`, both ways.
"""

LONG = [(scenario, carry) for scenario in HARDSHIPS if scenario.is_long for carry in Carry]

RUNS = [
    (scenario, carry)
    for name, scenario in SCENARIOS.items()
    for carry in Carry
    if scenario not in HARDSHIPS
    and name not in SLOW
    and (name in BOTH or (name in BY_ADDRESS) == (carry is Carry.ADDRESS))
]


def survive(
    scenario: Scenario, addresses: Sequence[str], carry: Carry, history: Path, ec2: Profile = PROFILES["instant"]
) -> None:
    """Run it, and fail with what the checker says."""
    verdict = run(scenario, ec2, seed=1, addresses=addresses, carry=carry, record_to=history)
    assert verdict.ok, "\n".join([*verdict.faults, f"outage {verdict.outage_s:.2f} s; see {history}"])


@pytest.mark.parametrize(("scenario", "carry"), RUNS, ids=[f"{scenario.name}-{carry}" for scenario, carry in RUNS])
def test_scenario_is_survived(in_sandbox: None, scenario: Scenario, carry: Carry, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    survive(scenario, [FLOATING_IP], carry, tmp_path / "history.jsonl")


@pytest.mark.parametrize(("name", "carry"), SURVIVED, ids=[f"{name}-{carry}" for name, carry in SURVIVED])
def test_hardship_is_survived(in_sandbox: None, name: str, carry: Carry, tmp_path: Path) -> None:
    """With an EC2 that takes its time: what happens meanwhile is what these are about."""
    survive(SCENARIOS[name], (), carry, tmp_path / "history.jsonl", PROFILES["typical"])


@pytest.mark.long
@pytest.mark.parametrize(("scenario", "carry"), LONG, ids=[f"{scenario.name}-{carry}" for scenario, carry in LONG])
def test_long_hardship_is_survived(in_sandbox: None, scenario: Scenario, carry: Carry, tmp_path: Path) -> None:
    """The same, with those that outlast long rules."""
    survive(scenario, (), carry, tmp_path / "history.jsonl", PROFILES["typical"])


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
