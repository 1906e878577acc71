"""
How often EC2 is asked, and the same write made again, while nothing changes.

Pure.  A Describe's token bucket refills at 20 a second for the whole account, and a view that stays as it is will not
be better for being asked about: so whatever a rule would like, in every state it is this that bounds it.  In the first
twenty seconds that is two Describes a second, most of them at the beginning, when a detach is about to end.
"""

from __future__ import annotations

QUICKEST, QUICKEST_FOR = 0.25, 3.0
"""Seconds for each Describe when something has just changed, and for how long that is so: EC2 takes 2 to 3 s for a
detach, and whoever waits for it is without the address."""

QUICK, QUICK_FOR = 0.5, 16.0
"""Seconds for each Describe after that, and until when."""

SLOWEST = 15.0
"""Seconds between two questions at most, however long nothing has changed."""


def pause(unchanged_for: float, calls: int = 1) -> float:
    """Seconds to leave before the same is asked or written again, when nothing has changed for ``unchanged_for``, and
    the question takes so many calls.
    """
    each = QUICKEST if unchanged_for < QUICKEST_FOR else max(QUICK, (unchanged_for - QUICK_FOR) / 2)
    return min(SLOWEST, calls * each)
