"""A fault that somebody could write is found by a history: each mutation of the product, by the seed that caught it."""

import multiprocessing
from pathlib import Path

import pytest

from tests.sim.mutations import MUTATIONS, Mutation, caught, look_for

FOREIGN = ["boto3", "prometheus_client"]
"""What takes most of the time until a process can play: it is imported once, for all that follow."""

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mutation_is_caught(mutation: Mutation) -> None:
    """In a process of its own, as the product is another one there; the product itself is sound in that history."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(FOREIGN)
    with server.Pool(1) as pool:
        assert pool.apply(look_for, (mutation, *mutation.caught_within)), "not caught"
    assert caught(mutation, [mutation.caught_at]) is None


def test_all_are_told() -> None:
    """With the seeds that caught them."""
    rows = [mutation.row for mutation in MUTATIONS]
    assert [line for line in PAGE.read_text().splitlines() if line in rows] == rows
