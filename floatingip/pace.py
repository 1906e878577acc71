"""
How often EC2 is asked, and the same write made again, while nothing changes.

Pure.  A Describe's token bucket refills at 20 a second for the whole account, and a view that stays as it is will not
be better for being asked about: so whatever a rule would like, in every state it is this that bounds it.
"""

from __future__ import annotations

QUICKEST = 0.5
"""Seconds between two questions while something has just changed, and most is still to come."""

QUICK_FOR = 20.0
"""Seconds for which that is so."""

SLOWEST = 15.0
"""Seconds between two questions at most, however long nothing has changed."""


def pause(unchanged_for: float) -> float:
    """Seconds to leave before the same is asked or written again, when nothing has changed for ``unchanged_for``."""
    return min(SLOWEST, max(QUICKEST, (unchanged_for - QUICK_FOR) / 2))
