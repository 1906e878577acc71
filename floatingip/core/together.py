"""Combine several observers' reports of one address: each function combines one fact.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from floatingip.core.move import SHOWN_AT_MOST, Move, Result
from floatingip.core.report import AddressReport, HealthReport

TOLD_APART = 120.0
"""Two moves to one node that begin less than this many seconds apart are one move that two observers tell of: EC2 takes
a minute for a move at most, and clocks differ."""

OLD = 120.0
"""Seconds from which on an answer of EC2 counts as old: twice the age that it may have in peace."""


def since(holder: str, everybody: Sequence[AddressReport]) -> AddressReport | None:
    """The report of the observer that first saw the address on its ``holder``; the others noticed later.

    Observers whose answer of EC2 is old do not count: the address may have been elsewhere meanwhile.
    """
    seen = [each for each in everybody if each.holder == holder and each.since is not None and age(each) < OLD]
    return min(seen, key=lambda each: each.since or 0.0, default=None)


def age(each: AddressReport) -> float:
    """How old the observer's answer of EC2 is, in seconds; infinite if it has none."""
    return float("inf") if each.answer_age is None else each.answer_age


def health(seen: Collection[HealthReport]) -> HealthReport:
    """UP if any observer sees the address UP; UNPROBED if there is no observer to see it."""
    told = (each for each in (HealthReport.UP, HealthReport.DOWN, HealthReport.UNKNOWN) if each in seen)
    return next(told, HealthReport.UNPROBED)


def wrong_since(own: AddressReport | None, others: Sequence[AddressReport]) -> float | None:
    """See `overview.Picture`.  The observer that lost the address last counts: the others were only cut off before."""
    if health([each.health for each in others]) is HealthReport.DOWN and (
        lost := [each.down_since for each in others if each.down_since is not None]
    ):
        return max(lost)
    if own is None or not own.problem or own.unready_since is None:
        return None
    return max(own.unready_since, own.since or own.unready_since)


def node_ports(others: Iterable[AddressReport]) -> dict[str, bool | None]:
    """For each NodePort, whether it answers any observer at the address; None if that is not known.

    If the address itself does not answer an observer, what that one says of NodePorts is older, and does not count.
    """
    found: dict[str, bool | None] = {}
    told = ((port, answers, each.health) for each in others for port, answers in each.node_ports.items())
    for port, last, seen in told:
        answers = None if last and seen is HealthReport.DOWN else last
        found[port] = True if answers or found.get(port) else found.get(port) if answers is None else False
    return found


def moves(views: Iterable[AddressReport]) -> tuple[Move, ...]:
    """All moves that any observer tells of, each once: as told by the node that made it, or else as others saw it."""
    told = sorted((move for each in views for move in each.moves), key=lambda move: move.began_at)
    made = [move for move in told if move.result is not Result.SEEN]
    seen: list[Move] = []
    for move in (move for move in told if move.result is Result.SEEN):
        known = [*(each for each in made if each.result is Result.MOVED), *seen]
        if not any(each.to == move.to and abs(each.began_at - move.began_at) < TOLD_APART for each in known):
            seen.append(move)
    return tuple(sorted((*made, *seen), key=lambda move: move.began_at)[-SHOWN_AT_MOST:])
