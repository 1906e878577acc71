"""
Which misfortunes follow each other: composed at random from the scenarios, by a seed.  Pure.

A round is one misfortune of the holder, alone or together with others that move nothing by themselves and leave a
healthy candidate; or one of those others alone.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

BESIDE = ("icmp-closed", "imds-in-trouble", "link-flap", "loss", "pod-delete", "rules-flushed", "standby-cut-off")
"""Misfortunes that may last while another one happens."""

ALONE = (
    "address-removed",
    "cordon-delete",
    "icmp-closed-restart",
    "icmp-closed-stall",
    "observer-killed",
    "observers-killed",
    "observer-frozen",
    "rolling-restart",
    "stalls",
    "standby-killed",
)
"""Misfortunes that move nothing, but stop or end what another one needs."""

STRIKES = (
    "claimer-killed",
    "ec2-cut-off",
    "ec2-down",
    "ec2-drips",
    "ec2-hangs",
    "ec2-overloaded",
    "ec2-page",
    "ec2-slow",
    "ec2-unreadable",
    "eni-deleted",
    "eni-detached",
    "eni-moved",
    "eviction",
    "handover",
    "hang-heals",
    "imds-down",
    "imds-empty",
    "imds-hangs",
    "kernel-hang",
    "late-describe",
    "out-of-service",
    "partition",
    "partition-heals",
    "power-cut",
    "reboot-and-back",
    "rollout-power-cut",
    "service-down",
    "spot-notice",
    "stale-describes",
    "standby-frozen",
    "stop-and-start",
    "stuck-detaching",
    "throttled",
    "two-die",
    "two-die-at-once",
    "writes-unanswered",
    "young-observers",
)
"""Misfortunes of the holder, which may move the address."""

APART = frozenset(
    {
        ("icmp-closed", "stuck-detaching"),  # the second closes ICMP itself, and opens it again
        ("pod-delete", "rollout-power-cut"),  # the second deletes all pods
        ("pod-delete", "claimer-killed"),  # this and the next two need an observer that is there
        ("pod-delete", "standby-frozen"),
        ("pod-delete", "young-observers"),
        ("pod-delete", "eviction"),  # a budget allows no second one at once
        ("standby-cut-off", "two-die"),  # leaves no healthy candidate, as do the following
        ("standby-cut-off", "two-die-at-once"),
        ("standby-cut-off", "standby-frozen"),
        ("standby-cut-off", "handover"),  # ordered from that standby
        ("standby-cut-off", "eni-moved"),  # moved to that standby
        ("imds-in-trouble", "imds-down"),  # one trouble at a time
        ("imds-in-trouble", "imds-empty"),
        ("imds-in-trouble", "imds-hangs"),
        ("imds-in-trouble", "spot-notice"),  # which IMDS tells
        ("imds-in-trouble", "claimer-killed"),  # a pod that starts asks IMDS which node this is
        ("imds-in-trouble", "handover"),  # so does the command
        ("imds-in-trouble", "late-describe"),
        ("imds-in-trouble", "reboot-and-back"),
        ("imds-in-trouble", "rollout-power-cut"),
        ("imds-in-trouble", "stop-and-start"),
        ("imds-in-trouble", "young-observers"),
    }
)
"""Pairs that cannot be together, and why."""

TOGETHER = 0.4
"""The share of rounds with several at a time."""

CALM = 0.25
"""The share of rounds in which nothing is to move."""

PAUSE = (0.5, 4.0)
"""Seconds, at least and at most, between the beginnings of two that are together."""


@dataclass(frozen=True)
class Round:
    """
    The misfortunes that are together; the last one is the strike.

    pause: seconds from the beginning of each to the beginning of the next.
    """

    number: int
    names: tuple[str, ...]
    pause: float

    def __str__(self) -> str:
        return " + ".join(self.names)


def compose(seed: int) -> Iterator[Round]:
    """The rounds of this seed, without end: the same for the same seed.  Each deck is dealt out before it is shuffled
    anew, so that in a long run all are tried, and about as often.
    """
    chance = random.Random(seed)
    decks = {kind: _deal(chance, kind) for kind in (STRIKES, BESIDE, ALONE)}
    number = 0
    while True:
        number += 1
        pause = round(chance.uniform(*PAUSE), 1)
        if chance.random() < CALM:
            yield Round(number, (next(decks[chance.choice((ALONE, BESIDE))]),), pause)
            continue
        strike = next(decks[STRIKES])
        beside: list[str] = []
        if chance.random() < TOGETHER:
            wanted = {next(decks[BESIDE]) for _ in range(chance.choice((1, 1, 2)))}
            beside = sorted(name for name in wanted if (name, strike) not in APART)
        yield Round(number, (*beside, strike), pause)


def _deal(chance: random.Random, kind: tuple[str, ...]) -> Iterator[str]:
    while True:
        deck = list(kind)
        chance.shuffle(deck)
        yield from deck
