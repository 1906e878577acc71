"""
Two or three misfortunes in a row, drawn at random but repeatably: afterwards a dead holder's address is served again as
soon as ever, and never have two nodes carried it for longer than it takes to let go.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.core.deciders import ADDRESS
from tests.core.movers import IPV6, Carrier, Plane, plane

DETECTED, SERVED_AGAIN, LETS_GO = 2.0, 5.0, 8.0
"""Seconds until a dead holder is noticed, that a failover takes besides EC2's time, and for which two may carry it."""

SEEDS = 10

Misfortune = Callable[[Plane, Carrier], None]


def restarts(_: Plane, carrier: Carrier) -> None:
    """Its observer ends, and begins anew."""
    carrier.restart()


def hangs(land: Plane, carrier: Carrier) -> None:
    """Its kernel stands still for ten seconds, and goes on as it was."""
    carrier.alive = False
    land.run(10)
    carrier.alive = True


def loses_power(_: Plane, carrier: Carrier) -> None:
    """For good."""
    carrier.alive = False


def is_cut_off(land: Plane, carrier: Carrier) -> None:
    """From everybody but IMDS."""
    carrier.cut_off_until = carrier.alone_until = land.now + 12


def restarts_while_cut_off(land: Plane, carrier: Carrier) -> None:
    """So that it knows nothing but what is on its link."""
    is_cut_off(land, carrier)
    land.run(2)
    carrier.restart()


def loses_ec2(land: Plane, carrier: Carrier) -> None:
    """The others hear it still."""
    carrier.cut_off_until = land.now + 12


def loses_peers(land: Plane, carrier: Carrier) -> None:
    """EC2 answers it still."""
    carrier.alone_until = land.now + 6


def is_unsound(land: Plane, carrier: Carrier) -> None:
    """For long enough to be relieved."""
    carrier.sound = False
    land.run(6)
    carrier.sound = True


def ec2_refuses(land: Plane, _: Carrier) -> None:
    """Nothing can be written for a while."""
    land.refuses_until = land.now + 8


def ec2_throttles(land: Plane, _: Carrier) -> None:
    """Every second call."""
    land.throttles_until = land.now + 12


def ec2_is_late(land: Plane, _: Carrier) -> None:
    """Describes are up to two and a half seconds old for a while."""
    land.lag = 2.5
    land.run(5)
    land.lag = 0.0


def somebody_moves_it(land: Plane, carrier: Carrier) -> None:
    """By hand, to this worker's interface."""
    land.heir, land.due = carrier.id, land.now + land.takes


MOVING = (hangs, loses_power, is_cut_off, restarts_while_cut_off, is_unsound)
"""Those of a holder end in a move: the third one within ten minutes would be rationed, rightly."""

OTHERS = (restarts, loses_ec2, loses_peers, ec2_refuses, ec2_throttles, ec2_is_late, somebody_moves_it)


def suffer(land: Plane, chance: random.Random) -> list[str]:
    """Two or three misfortunes, mostly a moment after each other; and what they were."""
    misfortunes: list[Misfortune] = [chance.choice(MOVING), *chance.choices(OTHERS, k=chance.choice((1, 2)))]
    chance.shuffle(misfortunes)
    told = []
    for misfortune in misfortunes:
        living = [carrier for carrier in land.carriers if carrier.alive]
        holders = [carrier for carrier in living if carrier.id == land.owner]
        struck = chance.choice(holders if holders and chance.random() < 0.7 else living)
        told.append(f"{land.now:.1f}: {struck.id} {misfortune.__name__}")
        misfortune(land, struck)
        land.run(chance.choice((0.3, 1.0, 3.0, 8.0)))
    return told


@pytest.mark.parametrize("target", [ADDRESS, IPV6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_dead_holders_address_is_served_again_as_soon_as_ever(target: object, seed: int) -> None:
    """EC2 answers again, and there are healthy candidates."""
    land, chance = plane("i-a", "i-b", "i-c", "i-d", seed=seed, target=target), random.Random(seed)
    land.until(lambda: land.at_peace, 20)
    land.run(6)
    told = suffer(land, chance)
    healed_at = max(land.refuses_until, land.throttles_until, land.now)
    healed_at = max([healed_at, *(max(c.cut_off_until, c.alone_until) for c in land.carriers)])
    land.run(max(0.0, healed_at - land.now))
    bound = DETECTED + land.takes + SERVED_AGAIN
    # Shown where it fails.
    print("; ".join(told))
    land.until(lambda: bool(land.serving), bound)
    land.run(chance.choice((1.0, 6.0, 30.0)))
    land.until(lambda: bool(land.serving), bound)
    land.carrier(land.serving).alive = False
    land.until(lambda: bool(land.serving), bound)
    land.until(lambda: land.at_peace, 30)
    assert land.doubled <= LETS_GO
