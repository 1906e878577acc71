"""
R8: whether a write may be made now, for everything that decides to write to EC2.

A write that failed, or whose answer was lost, is never sent again blindly: an answer of EC2 that was asked for since
has to show that it is still wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol

from floatingip.core.writes import Write, aim


class Present(Protocol):
    """What is known of the writes of whoever decides: see :class:`~floatingip.core.decision.view.View`."""

    @property
    def now(self) -> float:
        """The time."""

    @property
    def writing(self) -> bool:
        """One is under way."""

    @property
    def wrote_at(self) -> float:
        """When the last one ended."""

    @property
    def retry_at(self) -> Mapping[type[Write], float]:
        """Before which none of that kind is made, since the last such one failed."""


class Past(Protocol):
    """What whoever decides remembers of its writes."""

    @property
    def last_write(self) -> Write | None:
        """The last one."""

    @property
    def last_write_at(self) -> float:
        """When it was decided."""


def write_at(write: Write, past: Past, present: Present, *, repeat_after: float) -> float:
    """From when on it may be made: none before its kind may be tried again, nor the same again within ``repeat_after``
    seconds.
    """
    retry_at = present.retry_at.get(type(write), -inf)
    is_repeated = past.last_write is not None and aim(write) == aim(past.last_write)
    return max(retry_at, past.last_write_at + repeat_after) if is_repeated else retry_at


def may_write(write: Write, past: Past, present: Present, *, asked_at: float, repeat_after: float) -> bool:
    """Never on top of another write, nor on an answer that was asked for, at ``asked_at``, before the last one ended,
    nor before its time.
    """
    if present.writing or asked_at <= present.wrote_at:
        return False
    return present.now >= write_at(write, past, present, repeat_after=repeat_after)
