"""
Judge an address by its probes: ``rise`` answers in a row make it UP, ``fall`` losses in a row make it DOWN.

Pure: a :class:`Health` and one probe's result give the next :class:`Health`.  A health belongs to one attachment: what
was seen of an earlier holder says nothing of the present one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from floatingip.core import timing
from floatingip.core.probe import ProbeOutcome, ProbeResult

STRAY_LOSSES = 3
"""This many losses in a row, or more, are not taken for stray ones."""


class HealthState(StrEnum):
    """``INIT`` until enough probes in a row agree for the first time: neither good nor bad."""

    INIT = "INIT"
    UP = "UP"
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes under one attachment say.

    ``streak`` counts the last results in a row that agree; answers are counted only as long as they can change the
    state.  ``first_lost_at`` and ``last_lost_at`` are when the first and the last probe of the present losses were
    sent, None while probes are answered.  ``changed_at`` is when the present state was reached, None in the first
    state.  ``ever_up``: the address was UP at least once.  ``recovered_at`` is when probes were answered again after
    more than stray losses: the address may be on another node since then.  ``by_tcp``: the last answer counts as
    TCP's (`ProbeResult`); ``by_ping``: as a ping's.
    """

    attachment_id: str = ""
    state: HealthState = HealthState.INIT
    streak: int = 0
    first_lost_at: float | None = None
    last_lost_at: float | None = None
    changed_at: float | None = None
    ever_up: bool = False
    recovered_at: float | None = None
    by_tcp: bool = False
    by_ping: bool = False

    @property
    def in_doubt(self) -> bool:
        """The last probe was lost."""
        return self.first_lost_at is not None

    @property
    def fell(self) -> bool:
        """The address answered under this attachment, and does not any more."""
        return self.state is HealthState.DOWN and self.ever_up


def under(health: Health, attachment_id: str) -> Health:
    """The health to go on with while the address is held by ``attachment_id``: a new one for another attachment."""
    return health if health.attachment_id == attachment_id else Health(attachment_id)


def counted(health: Health, result: ProbeResult) -> ProbeResult:
    """The result as it counts: if this node itself rejects TCP, a lost ping is a loss only where the last answer under
    this attachment was a ping's; else it is no evidence.
    """
    return replace(result, outcome=ProbeOutcome.LOST) if result.ping_lost and health.by_ping else result


def is_news(before: Health, after: Health) -> bool:
    """Whether something has changed that decisions depend on: every loss has, one more answered probe has not."""
    return before.in_doubt or after.in_doubt or before.state is not after.state or before.by_tcp is not after.by_tcp


def observe(health: Health, result: ProbeResult, *, rise: int, fall: int, timeout: float) -> Health:
    """The health after one more probe.

    Two kinds of results are no evidence, and change nothing: a probe that this node could not send, and a loss that was
    noticed so late that this observer itself must have been stalled.
    """
    stalled = result.known_at - result.sent_at > timeout + timing.STALL
    if result.outcome is ProbeOutcome.FAILED_HERE or (result.outcome is ProbeOutcome.LOST and stalled):
        return health
    if result.outcome is ProbeOutcome.ANSWERED:
        if health.state is HealthState.UP and not health.in_doubt and health.by_tcp is result.by_tcp:
            return health  # One more answer changes nothing.
        streak = 1 if health.in_doubt else health.streak + 1
        recovered = health.in_doubt and health.streak >= STRAY_LOSSES
        after = replace(
            health,
            streak=streak,
            first_lost_at=None,
            last_lost_at=None,
            recovered_at=result.known_at if recovered else health.recovered_at,
            by_tcp=result.by_tcp,
            by_ping=not result.by_tcp,
        )
        if streak >= rise and health.state is not HealthState.UP:
            after = replace(after, state=HealthState.UP, ever_up=True, changed_at=result.known_at)
        return after
    streak = health.streak + 1 if health.in_doubt else 1
    first_lost_at = health.first_lost_at if health.in_doubt else result.sent_at
    after = replace(health, streak=streak, first_lost_at=first_lost_at, last_lost_at=result.sent_at)
    if streak >= fall and health.state is not HealthState.DOWN:
        after = replace(after, state=HealthState.DOWN, changed_at=result.known_at)
    return after
