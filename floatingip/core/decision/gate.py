"""
R8: whether a write to EC2 may be made now, for all who decide to write.

A write that failed, or whose answer was lost, is never sent again blindly: EC2 has to be asked after it, and the answer
has to show that the write is still wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol

from floatingip.core.writes import Write, aim


class Present(Protocol):
    """What the one who decides knows of its writes; see :class:`~floatingip.core.decision.view.View`."""

    @property
    def now(self) -> float:
        """The time."""

    @property
    def writing(self) -> bool:
        """A write is under way."""

    @property
    def wrote_at(self) -> float:
        """When the last one ended."""

    @property
    def retry_at(self) -> Mapping[type[Write], float]:
        """Before this time no write of that kind is made, since the last one failed."""


class Past(Protocol):
    """What the one who decides remembers of its writes."""

    @property
    def last_write(self) -> Write | None:
        """The last one."""

    @property
    def last_write_at(self) -> float:
        """When it was decided."""


def write_at(write: Write, past: Past, present: Present, *, repeat_after: float) -> float:
    """From when on the write may be made: once its kind may be tried again, and, if it is the same as the last one,
    ``repeat_after`` seconds after that.
    """
    retry_at = present.retry_at.get(type(write), -inf)
    is_repeated = past.last_write is not None and aim(write) == aim(past.last_write)
    return max(retry_at, past.last_write_at + repeat_after) if is_repeated else retry_at


def may_write(write: Write, past: Past, present: Present, *, asked_at: float, repeat_after: float) -> bool:
    """Whether the write may be made now.

    Not while another write is under way; nor by an answer of EC2 that was asked for (``asked_at``) before the last
    write ended; nor before its time (`write_at`).
    """
    if present.writing or asked_at <= present.wrote_at:
        return False
    return present.now >= write_at(write, past, present, repeat_after=repeat_after)
