"""Histories of whole agents: `python -m tests.sim` plays as many as one likes."""

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sim.history import History, Outcome, play, suffer
from tests.sim.misfortunes import MISFORTUNES
from tests.sim.nemesis import plan
from tests.sim.quick import begin_anew

PLAYED = range(232, 257)
"""Few enough for each run of the tests; `make test-compiled` plays more, also of those that suffer."""

AMONG = range(2000)
"""The seeds among which so few are looked for that every misfortune is in one of their histories."""

FEW = 60
"""Histories of a misfortune, from the one that is known on, within which it must lead to what it can lead to."""

BROUGHT_ABOUT: dict[str, tuple[int, *tuple[str, ...]]] = {
    r" claim: .* rule=R1 ": (0, "somebody detaches an interface"),
    r" takeover: .* rule=R2 ": (1, "a machine is stopped and started"),
    r" takeover: .* rule=R3 ": (1, "a machine is without power"),
    r" takeover: .* rule=R4 ": (1, "a worker is mute"),
    r" takeover: .* rule=R5 ": (1, "the end of a machine is announced"),
    r" takeover: .* handover ": (4, "somebody orders a handover"),
    r" takeover: .* rule=R7 ": (18, "NodePorts do not answer"),
    r" ec2: .*trying again": (4, "EC2 throttles"),
    r" denied: ": (6, "IAM denies something"),
    r" unplumbed: ": (10, "somebody moves an address"),
    r" rule=R11 ": (11, "a machine hangs", "detaches are stuck"),
    r" reason=PAUSED ": (5, "somebody pauses all moves", "a machine is without power"),
    r" reason=RATIONED ": (0, "whoever holds it is written off"),
    r" rule=R13 ": (2, "a machine hangs"),
    r" reassign=True": (1, "a worker is cut off"),
    r" write: .*Assign\(.* reassign=False": (7, "somebody deletes an interface"),
    r" write: .*Unassign\(": (12, "a machine is terminated"),
    r" write: .*Associate\(": (0, "somebody disassociates an Elastic IP"),
}
"""What lines of a history tell that a rule has acted; at which seed it did, and by which misfortunes.  R8 and A3 only
keep from acting; R6 and R14 act where several befall a fleet at once.
"""


def played(one: Callable[[int], Outcome], seeds: Iterable[int]) -> Iterator[Outcome]:
    """What came of these histories, in a process that does nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_anew) as pool:
        yield from pool.map(one, seeds)


def with_every_misfortune(seeds: Iterable[int]) -> list[int]:
    """Few of these seeds: none of all misfortunes is so rare that the tests do without it."""
    planned = {seed: {stroke.what for stroke in plan(random.Random(f"nemesis {seed}"))} for seed in seeds}
    chosen: list[int] = []
    missing = set(MISFORTUNES)
    while missing:
        chosen.append(max(planned, key=lambda seed: len(planned[seed] & missing)))
        assert planned[chosen[-1]] & missing, f"too rare: {missing}"
        missing -= planned[chosen[-1]]
    return chosen


def test_whatever_the_fleet_it_serves_again_after_a_power_cut() -> None:
    """Within detection, EC2's time and five seconds; nothing is left behind, nothing is on two workers."""
    for outcome in played(play, PLAYED):
        assert not outcome.faults, "\n".join(outcome.lines)
        assert outcome.outage > 0
        assert any(" takeover: " in line for line in outcome.lines)


def test_whatever_went_before_all_is_served_in_the_end() -> None:
    """Partitions, losses, deaths and outages, several at a time; then all is well, and nothing moves any more."""
    for outcome in played(suffer, with_every_misfortune(AMONG)):
        assert not outcome.faults, "\n".join(outcome.lines)


@pytest.mark.parametrize("line", BROUGHT_ABOUT)
def test_a_misfortune_brings_about_what_a_rule_is_for(line: str) -> None:
    """It strikes, and the rule acts: histories in which nothing happens would find no fault."""
    first, *misfortunes = BROUGHT_ABOUT[line]
    told = ("\n".join(suffer(seed, only=misfortunes, hasty=True).lines) for seed in range(first, first + FEW))
    assert any(re.search(line, lines[lines.index(" for ") :]) for lines in told)


@pytest.mark.parametrize(("tell", "options"), [(play, []), (suffer, ["--nemesis"])])
def test_a_seed_is_one_history(tell: Callable[[int], Outcome], options: list[str]) -> None:
    """Told twice in this process, and once in another one, where sets have other orders, and values are made faster."""
    lines = tell(11).lines
    assert tell(11).lines == lines
    other = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--trace", "11", *options],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert tuple(other.stdout.splitlines()) == lines
    assert tell(8).lines != lines


def test_it_ends_if_a_process_that_plays_is_ended() -> None:
    """As by a kernel without memory: its histories are lost, and nobody waits for them."""
    command = [sys.executable, "-m", "tests.sim", "--seeds", "0..999999", "--jobs", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as plays:
        children = Path(f"/proc/{plays.pid}/task/{plays.pid}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.05)
        os.kill(int(found[0]), signal.SIGKILL)
        assert "a process that played was ended" in plays.communicate()[1]
    assert plays.returncode == 1


def test_an_agent_that_finds_no_death_would_be_found() -> None:
    """That these histories can fail: with observers that need a minute of lost probes, none is served again."""
    history = History(0)
    history.fleet.settings = replace(history.fleet.settings, fall=600)
    assert any("not served again" in fault for fault in history.play().faults)
