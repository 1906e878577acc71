"""
A token bucket: what may be done so often on average, and for a while at once.

Pure: the time is an argument.  What a token stands for is its user's: a call to EC2, a question, a second of work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """``most`` tokens fit in it, and ``a_second`` are added each second; ``left`` were in it at the time ``at``, fewer
    than none if more were taken than there were.  A new one is full.
    """

    most: float
    a_second: float
    left: float = 0.0
    at: float = float("-inf")

    def held(self, now: float) -> float:
        """So many are in it now."""
        return min(self.most, self.left + self.a_second * (now - self.at))

    def take(self, tokens: float, now: float) -> TokenBucket:
        """The bucket after so many were taken, whether or not they were there."""
        return replace(self, left=self.held(now) - tokens, at=now)

    def due(self, tokens: float) -> float:
        """When so many are in it."""
        return self.at + max(0.0, tokens - self.left) / self.a_second
