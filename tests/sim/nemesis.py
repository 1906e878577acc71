"""
Misfortunes, one after the other and several at a time: whatever has happened, in the end all addresses are served
again.

    python -m tests.sim --seeds 0..999 --nemesis

Each lasts for a while and then is over, which leaves a healthy network, an EC2 that answers, and at least two workers
that were not terminated.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from tests.sim.fleet import Fleet
from tests.sim.misfortunes import MISFORTUNES
from tests.sim.misfortunes.misfortune import Misfortune

MOST, WITHIN = 5, 40.0
"""How many misfortunes befall a fleet in one round, at most, and the seconds within which they begin."""

REST = (20.0, 900.0)
"""Seconds from one round to the next, at least and at most: long enough that observers forget what happened, or not."""


@dataclass(frozen=True)
class Stroke:
    """``what`` begins ``begins_in`` seconds after the nemesis does, and ``lasts`` so many; ``seed`` decides whom it
    hits.
    """

    what: Misfortune
    begins_in: float
    lasts: float
    seed: int


def plan(draw: random.Random, only: Collection[str] = (), rounds: int = 1) -> tuple[Stroke, ...]:
    """The strokes of one history; if ``only`` is given, of these misfortunes only.  Each has its own seed, so that it
    stays the same without the others.
    """
    strokes, possible = [], [each for each in MISFORTUNES if not only or each.what in only]
    begins_at = 0.0
    for _ in range(rounds):
        for _ in range(draw.randint(1, MOST)):
            what = draw.choice(possible)
            lasts = draw.uniform(what.shortest, what.longest)
            strokes.append(Stroke(what, begins_at + draw.uniform(0.0, WITHIN), lasts, draw.randrange(1 << 30)))
        begins_at += WITHIN + draw.uniform(*REST)
    return tuple(strokes)


def strike(fleet: Fleet, strokes: Collection[Stroke]) -> float:
    """Schedule the strokes; return when the last one is over and observers have noticed that, by the fleet's clock."""
    for stroke in strokes:
        fleet.after(stroke.begins_in, partial(_befall, fleet, stroke))
    ends = (stroke.begins_in + stroke.lasts + stroke.what.noticed for stroke in strokes)
    return fleet.now + max(ends, default=0.0)


def _befall(fleet: Fleet, stroke: Stroke) -> None:
    fleet.tell("", f"for {stroke.lasts:.1f} s: {stroke.what.what}")
    end = stroke.what.begin(fleet, random.Random(stroke.seed))

    def over() -> None:
        fleet.tell("", f"over: {stroke.what.what}")
        end()

    fleet.after(stroke.lasts, over)
