"""What several observers' views of one address come to: pure, and each of one thing only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from floatingip.core.move import SHOWN_AT_MOST, Move, Result
from floatingip.core.report import AddressReport, HealthReport

TOLD_APART = 120.0
"""Seconds by which the beginnings of two moves to one node differ, or they are one move that two observers tell of: EC2
takes a minute for a move at most, and clocks differ."""

OLD = 120.0
"""Seconds from which on an answer of EC2 is older than any in peace, twice over."""


def since(holder: str, everybody: Sequence[AddressReport]) -> AddressReport | None:
    """Whoever saw it first on its holder: others noticed later.  One whose answer of EC2 is old may not know that it
    was elsewhere meanwhile.
    """
    seen = [each for each in everybody if each.holder == holder and each.since is not None and age(each) < OLD]
    return min(seen, key=lambda each: each.since or 0.0, default=None)


def age(each: AddressReport) -> float:
    """How old its answer of EC2 is; infinite where there is none."""
    return float("inf") if each.answer_age is None else each.answer_age


def health(seen: Collection[HealthReport]) -> HealthReport:
    """UP if anybody sees it UP, and UNPROBED if there is nobody to see it."""
    told = (each for each in (HealthReport.UP, HealthReport.DOWN, HealthReport.UNKNOWN) if each in seen)
    return next(told, HealthReport.UNPROBED)


def wrong_since(own: AddressReport | None, others: Sequence[AddressReport]) -> float | None:
    """See `overview.Picture`: one who lost the address before others did was cut off by itself then."""
    if health([each.health for each in others]) is HealthReport.DOWN and (
        lost := [each.down_since for each in others if each.down_since is not None]
    ):
        return max(lost)
    if own is None or not own.problem or own.unready_since is None:
        return None
    return max(own.unready_since, own.since or own.unready_since)


def node_ports(others: Iterable[AddressReport]) -> dict[str, bool | None]:
    """Whether NodePorts answer any observer at the address; None where that is not known.

    An observer that the address itself does not answer heard them before that: its answer does not count.
    """
    found: dict[str, bool | None] = {}
    told = ((port, answers, each.health) for each in others for port, answers in each.node_ports.items())
    for port, last, seen in told:
        answers = None if last and seen is HealthReport.DOWN else last
        found[port] = True if answers or found.get(port) else found.get(port) if answers is None else False
    return found


def moves(views: Iterable[AddressReport]) -> tuple[Move, ...]:
    """All moves that any observer tells of, each once: as its maker tells it, rather than as others saw it."""
    told = sorted((move for each in views for move in each.moves), key=lambda move: move.began_at)
    made = [move for move in told if move.result is not Result.SEEN]
    seen: list[Move] = []
    for move in (move for move in told if move.result is Result.SEEN):
        known = [*(each for each in made if each.result is Result.MOVED), *seen]
        if not any(each.to == move.to and abs(each.began_at - move.began_at) < TOLD_APART for each in known):
            seen.append(move)
    return tuple(sorted((*made, *seen), key=lambda move: move.began_at)[-SHOWN_AT_MOST:])
