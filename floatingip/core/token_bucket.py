"""
A token bucket: it limits how often something may be done on average, and how often at once.

Pure: the time is an argument.  Its user says what a token stands for: a call to EC2, a question, a second of work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A bucket that holds ``most`` tokens, and gets ``a_second`` more each second.

    ``left`` tokens were in it at the time ``at``; the number is negative if more were taken than there were.  A new
    bucket is full.
    """

    most: float
    a_second: float
    left: float = 0.0
    at: float = float("-inf")

    def held(self, now: float) -> float:
        """How many tokens are in it now."""
        return min(self.most, self.left + self.a_second * (now - self.at))

    def take(self, tokens: float, now: float) -> TokenBucket:
        """The bucket after ``tokens`` were taken, whether or not there were as many."""
        return replace(self, left=self.held(now) - tokens, at=now)

    def due(self, tokens: float) -> float:
        """When ``tokens`` will be in it."""
        return self.at + max(0.0, tokens - self.left) / self.a_second
