"""Histories of whole agents: `python -m tests.sim` plays as many as one likes."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.sim.history import History, play, suffer

SEEDS = 60
"""Few enough for each run of the tests."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_the_fleet_it_serves_again_after_a_power_cut(seed: int) -> None:
    """Within detection, EC2's time and five seconds; nothing is left behind, nothing is on two workers."""
    outcome = play(seed)
    assert not outcome.faults, "\n".join(outcome.lines)
    assert outcome.outage > 0
    assert any(" takeover: " in line for line in outcome.lines)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_went_before_all_is_served_in_the_end(seed: int) -> None:
    """Partitions, losses, deaths and outages, several at a time; then all is well, and nothing moves any more."""
    outcome = suffer(seed)
    assert not outcome.faults, "\n".join(outcome.lines)


def test_a_seed_is_one_history() -> None:
    """Told twice in this process, and once in another one, where sets have other orders."""
    lines = play(7).lines
    assert play(7).lines == lines
    other = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--trace", "7"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(other.stdout.splitlines()) == lines
    assert play(8).lines != lines


def test_an_agent_that_finds_no_death_would_be_found() -> None:
    """That these histories can fail: with observers that need a minute of lost probes, none is served again."""
    history = History(0)
    history.fleet.settings = replace(history.fleet.settings, fall=600)
    assert any("not served again" in fault for fault in history.play().faults)
