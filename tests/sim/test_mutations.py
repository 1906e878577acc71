"""A fault that somebody could write is found by a history: each mutation of the product, by the seed that caught it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.mutations import MUTATIONS, Mutation, caught

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mutation_is_caught(mutation: Mutation) -> None:
    """In a process of its own, as the product is another one there; the product itself is sound in that history."""
    command = [sys.executable, "-m", "tests.sim.mutations", mutation.name]
    looked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert caught(mutation, [mutation.caught_at]) is None


def test_all_are_told() -> None:
    """With the seeds that caught them."""
    rows = [mutation.row for mutation in MUTATIONS]
    assert [line for line in PAGE.read_text().splitlines() if line in rows] == rows
