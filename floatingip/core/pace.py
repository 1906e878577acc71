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

AT_ONCE, FOR_EACH = 50.0, 10.0
"""Calls to EC2 that an observer may make one after the other, and so many more for each address: a start and a failover
within the same minute take less."""

A_SECOND = 1.25
"""Calls that are added to these with time, whatever happens: where something changes again and again, as packets are
lost while several addresses move, it makes 75 a minute.  Sixteen observers, as many as know of each other, then make as
many as the bucket refills.
"""


def pause(unchanged_for: float, calls: int = 1) -> float:
    """Seconds to leave before the same is asked or written again, when nothing has changed for ``unchanged_for``, and
    the question takes so many calls.
    """
    each = QUICKEST if unchanged_for < QUICKEST_FOR else max(QUICK, (unchanged_for - QUICK_FOR) / 2)
    return min(SLOWEST, calls * each)
