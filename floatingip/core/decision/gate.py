"""
R8: whether a write to EC2 may be made now.  Every part that decides on writes asks here.

A write that failed, or whose answer was lost, is never sent again blindly: EC2 has to be asked after it, and the answer
has to show that the write is still wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol

from floatingip.core.writes import Write, Written, aim


class Present(Protocol):
    """What a part that decides knows of its own writes; :class:`~floatingip.core.decision.view.View` is one such."""

    @property
    def now(self) -> float:
        """The time."""

    @property
    def written(self) -> Written:
        """What it has written."""

    @property
    def retry_at(self) -> Mapping[type[Write], float]:
        """By kind of write: the time before which none is made, since the last one of that kind failed."""


class Past(Protocol):
    """What a part that decides remembers of its own writes; Memory in view.py is one such."""

    @property
    def last_write(self) -> Write | None:
        """The last write that it decided on, None before the first."""

    @property
    def last_write_at(self) -> float:
        """When that write was decided on."""


def write_at(write: Write, past: Past, present: Present, *, repeat_after: float) -> float:
    """The earliest time for the write: when its kind may be tried again, and, if it repeats the last write, no sooner
    than ``repeat_after`` seconds after that one.
    """
    retry_at = present.retry_at.get(type(write), -inf)
    is_repeated = past.last_write is not None and aim(write) == aim(past.last_write)
    return max(retry_at, past.last_write_at + repeat_after) if is_repeated else retry_at


def may_write(write: Write, past: Past, present: Present, *, asked_at: float, repeat_after: float) -> bool:
    """Whether the write may be made now.

    It may not while another write is under way; nor if EC2's last answer, to a question asked at ``asked_at``, is from
    before the last write ended; nor before its time (`write_at`).
    """
    if present.written.is_unseen(asked_at):
        return False
    return present.now >= write_at(write, past, present, repeat_after=repeat_after)
