"""
How often EC2 is asked, and the same write is made again, while nothing changes; and how the pause grows after each
failure, of whatever it is.

Pure.  All agents of an account share a token bucket for Describes, which refills at 20 a second, and asking again does
not change a view that stays the same.  So this bounds all questions, in every state and whatever a rule would like.  In
the first twenty seconds after a change it allows two Describes a second, most of them at the beginning, when a detach
may end.
"""

from __future__ import annotations

QUICKEST = 0.25
QUICKEST_FOR = 3.0
"""Seconds for each Describe after something has changed, and for how long that holds: EC2 takes 2 to 3 s for a detach,
and nobody has the address meanwhile."""

QUICK = 0.5
QUICK_FOR = 16.0
"""Seconds for each Describe after that, and until when."""

SLOWEST = 15.0
"""Seconds between two questions at most, however long nothing has changed."""

AT_ONCE, FOR_EACH = 50.0, 10.0
"""Calls to EC2 that an observer may make one after the other, and so many more for each address: a start and a failover
within the same minute take less."""

A_SECOND = 1.25
"""Calls that are added to these with time, whatever happens: where something changes again and again, as packets are
lost while several addresses move, it makes 75 a minute.  Sixteen observers, as many as know of each other, then make as
many as the bucket refills.
"""


def pause(unchanged_for: float, calls: int = 1) -> float:
    """Seconds to wait before the same is asked or written again.

    ``unchanged_for`` is for how many seconds nothing has changed; ``calls`` is how many calls the question takes.
    """
    each = QUICKEST if unchanged_for < QUICKEST_FOR else max(QUICK, (unchanged_for - QUICK_FOR) / 2)
    return min(SLOWEST, calls * each)


def doubled(first: float, times: int, longest: float) -> float:
    """Seconds to wait after the ``first`` pause was doubled so many ``times``, the ``longest`` at most."""
    # After a thousand more it would be no number: an API server may be silent for days.
    return min(longest, first * 2.0 ** min(times, 1000))
