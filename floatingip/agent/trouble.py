"""When to say that something goes wrong: neither at each moment nor only once."""

from __future__ import annotations

SAID_AGAIN = 600.0
"""Seconds after which what goes on is said again."""


class Trouble:
    """Something that goes wrong, and when to say so: once it has lasted for ``at_first`` seconds, and every ten minutes
    while it goes on.
    """

    def __init__(self, at_first: float = 0.0) -> None:
        self._at_first = at_first
        self._text = ""
        self._due_at = float("inf")
        self.is_told = False

    def is_due(self, text: str, now: float) -> bool:
        """Whether it is to be said now; without a ``text`` there is no trouble, and another one begins anew."""
        if text != self._text:
            self._text, self._due_at, self.is_told = text, now + self._at_first, False
        if not text or now < self._due_at:
            return False
        self._due_at, self.is_told = now + SAID_AGAIN, True
        return True
