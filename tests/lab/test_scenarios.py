"""Scenarios with an EC2 that takes no time: what remains is the product's own time, and its mistakes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES, Profile
from lab.run.floating import ELASTIC_IP, FLOATING_IP
from lab.run.hardships import HARDSHIPS
from lab.run.ordeals import ORDEALS
from lab.run.play import run
from lab.run.scenario import Scenario
from lab.run.scenarios import SCENARIOS
from tests.lab.test_ipv6 import FLOATING as FLOATING_IPV6

MIX = (FLOATING_IP, FLOATING_IPV6, ELASTIC_IP)
"""One address of each kind."""


HARD = (*HARDSHIPS, *ORDEALS)
"""What goes wrong for long, or at several places."""

BOTH = {"kernel-hang", "node-terminated", "power-cut", "rolling-restart"} | {
    name for name in SCENARIOS if name.startswith("hostile-")
}
"""Where the two ways to carry the address differ most in what they do, and what a stranger in the VPC must not be able
to do in either; tests/sim has more of both.
"""

BY_ADDRESS = {
    "announcements-lost",
    "endpoint-moves",
    "ec2-unreadable",
    "eviction",
    "handover",
    "imds-drips",
    "partition",
    "service-down",
    "service-gone-everywhere",
    "spot-notice",
}
"""Where carrying an ENI has nothing of its own to show, or one way stands for both."""

SLOW = {"announcements-lost", "named-service-down"}
"""A neighbour forgets after most of a minute; tests/lab/test_announcements.py shows as much in seconds.  A service that
the settings name is judged as those that are found.
"""

BAD_ANSWERS = {name for name in SCENARIOS if name.startswith(("ec2-", "imds-"))} - BY_ADDRESS
"""Each takes half a minute, so one of EC2's and one of IMDS' run with all other tests; tests/edges/test_ec2_answers.py
and test_imds_answers.py have all that there are.
"""

ALONE = {"busy"}
"""Nothing else is to run on the machine meanwhile."""

FIRST = {
    ("handover", Carry.ADDRESS),
    ("hostile-words", Carry.ADDRESS),
    ("kernel-hang", Carry.ENI),
    ("pod-delete", Carry.ENI),
    ("spot-notice", Carry.ADDRESS),
}
"""Which scenarios run with all other tests: one of each kind, and of those that do not take long.  That an ENI's holder
loses power, tests/lab/test_region.py runs by the command line; that the holder of an address of each kind does, is the
first of those that are MIXED.
"""

SURVIVED = [("prefix-routed-elsewhere", Carry.ADDRESS)]
"""Which of the hardships `make test-more` has: each takes most of a minute."""

MORE = {
    ("ec2-drips", Carry.ENI),
    ("ec2-slow", Carry.ADDRESS),
    ("imds-in-trouble", Carry.ADDRESS),
    ("terminate-1", Carry.ENI),
    ("young-observers", Carry.ADDRESS),
    ("claims-denied", Carry.ADDRESS),
}
"""Of those that take longer still one of each kind, which `make test-more` has as well."""

RUNS = [
    (name, carry)
    for name, scenario in SCENARIOS.items()
    for carry in Carry
    if scenario not in HARD
    and name not in SLOW | BAD_ANSWERS
    and (name in BOTH or (name in BY_ADDRESS) == (carry is Carry.ADDRESS))
]

LONG = sorted(
    ((name, carry) for name in SCENARIOS for carry in Carry if (name, carry) not in [*RUNS, *SURVIVED]),
    key=lambda run: SCENARIOS[run[0]].takes,
    reverse=True,
)
"""All others, by `make test-long`, some by `make test-more`: the longest first, so that no lane is left with one of
these in the end.
"""

MIXED = [
    ("power-cut", Carry.ENI),
    ("power-cut", Carry.ADDRESS),
    ("link-flap", Carry.ADDRESS),
    ("address-removed", Carry.ENI),
    ("rules-flushed", Carry.ADDRESS),
]


def each(
    runs: Sequence[tuple[str, Carry]], length: Callable[[str, Carry], str] = lambda _name, _carry: ""
) -> pytest.MarkDecorator:
    """Parameters for all of these; ``length`` names the mark of one that `make test` leaves out."""

    def marks(name: str, carry: Carry) -> list[pytest.MarkDecorator]:
        named = [length(name, carry), "alone" if name in ALONE else ""]
        return [getattr(pytest.mark, mark) for mark in named if mark]

    return pytest.mark.parametrize(
        ("name", "carry"),
        [pytest.param(name, carry, marks=marks(name, carry), id=f"{name}-{carry}") for name, carry in runs],
    )


def survive(
    scenario: Scenario, addresses: Sequence[str], carry: Carry, history: Path, ec2: Profile = PROFILES["instant"]
) -> None:
    """Run it, and fail with what the checker says."""
    verdict = run(scenario, ec2, seed=1, addresses=addresses, carry=carry, record_to=history)
    assert verdict.ok, "\n".join([*verdict.faults, f"outage {verdict.outage_s:.2f} s; see {history}"])


@each(RUNS, lambda *run: "" if run in FIRST else "more")
def test_scenario_is_survived(in_sandbox: None, name: str, carry: Carry, tmp_path: Path) -> None:
    """Outage, moves and leftovers are within the scenario's own bounds, and no agent has died."""
    survive(SCENARIOS[name], [FLOATING_IP], carry, tmp_path / "history.jsonl")


@pytest.mark.more
@each(SURVIVED)
def test_hardship_is_survived(in_sandbox: None, name: str, carry: Carry, tmp_path: Path) -> None:
    """With an EC2 that takes its time: what happens meanwhile is what these are about."""
    survive(SCENARIOS[name], (), carry, tmp_path / "history.jsonl", PROFILES["typical"])


@each(LONG, lambda *run: "more" if run in MORE else "long")
def test_long_scenario_is_survived(in_sandbox: None, name: str, carry: Carry, tmp_path: Path) -> None:
    """The same, with all that is left; of the hardships, each outlasts the rule that it is about."""
    ec2 = PROFILES["typical" if SCENARIOS[name] in HARD else "instant"]
    survive(SCENARIOS[name], (), carry, tmp_path / "history.jsonl", ec2)


@each(MIXED, lambda *run: "" if run == ("power-cut", Carry.ADDRESS) else "more")
def test_scenario_is_survived_with_an_address_of_each_kind(
    in_sandbox: None, name: str, carry: Carry, tmp_path: Path
) -> None:
    """Each that is hit stays within the same bounds; one that is not hit does not notice."""
    survive(SCENARIOS[name], MIX, carry, tmp_path / "history.jsonl")
