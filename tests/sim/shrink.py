"""A history that has a fault, with as few misfortunes as it takes."""

from __future__ import annotations

from tests.sim.history import Outcome, suffer


def shrink(seed: int, rounds: int = 1) -> Outcome:
    """What is left of a seed's history.

    One after the other is left out, and stays out while there is a fault; it need not be the same one.
    """
    outcome, spared = suffer(seed, rounds=rounds), frozenset[int]()
    if not outcome.faults:
        return outcome
    for number in range(outcome.strokes):
        without = suffer(seed, spared | {number}, rounds=rounds)
        if without.faults:
            outcome, spared = without, spared | {number}
    return outcome
