"""How many calls to EC2 an observer makes at most, whatever changes how often, and whatever a rule would like."""

from __future__ import annotations

from floatingip.core import pace


class Allowance:
    """Of so many ``addresses``.  No write is held up, but the next question is; and without an answer no write follows
    (R8).
    """

    def __init__(self, addresses: int) -> None:
        self._left = self._most = pace.AT_ONCE + pace.FOR_EACH * addresses
        self._at = float("-inf")

    def spend(self, calls: int, now: float) -> None:
        """So many calls were made."""
        self._left = min(self._most, self._left + pace.A_SECOND * (now - self._at)) - calls
        self._at = now

    def due(self) -> float:
        """When the next question may be asked."""
        return self._at + max(0.0, 1.0 - self._left) / pace.A_SECOND
