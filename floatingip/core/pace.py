"""
How often EC2 is asked, and the same write is made again, while nothing changes; and how the pause grows after each
failure of any kind.

Pure.  All agents of an account share a token bucket for Describes, which refills at 20 a second; and asking again is of
no use while nothing changes.  So this pace bounds all questions, in every state and whatever a rule asks for.  In the
first twenty seconds after a change it allows two Describes a second on average, most of them at the beginning, when a
detach may end.
"""

from __future__ import annotations

QUICKEST = 0.25
QUICKEST_FOR = 3.0
"""Seconds between Describes after something has changed, and for how many seconds that holds: EC2 takes 2 to 3 s for a
detach, and nobody has the address meanwhile."""

QUICK = 0.5
QUICK_FOR = 16.0
"""Seconds between Describes after that, and until how many seconds after the change."""

SLOWEST = 15.0
"""The longest pause between two questions, in seconds, however long nothing has changed."""

AT_ONCE, FOR_EACH = 50.0, 10.0
"""Calls to EC2 that an observer may make without a pause, and how many more for each address: a start and a failover
within the same minute take less."""

A_SECOND = 1.25
"""Calls that are added to that allowance in each second.  So an observer makes at most 75 calls a minute when something
changes again and again, such as when packets are lost while several addresses move.  Sixteen observers, the most that
know of each other, then make as many calls as the account's bucket refills.
"""


def pause(unchanged_for: float, calls: int = 1) -> float:
    """Seconds to wait before the same is asked or written again.

    ``unchanged_for``: for how many seconds nothing has changed.  ``calls``: how many calls the question takes.
    """
    each = QUICKEST if unchanged_for < QUICKEST_FOR else max(QUICK, (unchanged_for - QUICK_FOR) / 2)
    return min(SLOWEST, calls * each)


def doubled(first: float, times: int, longest: float) -> float:
    """Seconds to wait: the ``first`` pause, doubled this many ``times``, but at most ``longest``."""
    # More than a thousand doublings would overflow: an API server may be silent for days.
    return min(longest, first * 2.0 ** min(times, 1000))
