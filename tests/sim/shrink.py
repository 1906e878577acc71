"""Reduce a history that has a fault to few misfortunes."""

from __future__ import annotations

from tests.sim.history import Outcome, suffer


def shrink(seed: int, rounds: int = 1) -> Outcome:
    """The reduced history of a seed.

    Each misfortune in turn is left out, and stays out if the history still has a fault, be it another one.
    """
    outcome, spared = suffer(seed, rounds=rounds), frozenset[int]()
    if not outcome.faults:
        return outcome
    for number in range(outcome.strokes):
        without = suffer(seed, spared | {number}, rounds=rounds)
        if without.faults:
            outcome, spared = without, spared | {number}
    return outcome
