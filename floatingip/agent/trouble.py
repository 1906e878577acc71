"""When to say that something goes wrong: neither at each moment nor only once."""

from __future__ import annotations

from floatingip.core import timing


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
        """Whether it is to be said now; an empty ``text`` is no trouble, and another text is another trouble."""
        if text != self._text:
            self._text, self._due_at, self.is_told = text, now + self._at_first, False
        if not text or now < self._due_at:
            return False
        self._due_at, self.is_told = now + timing.SAID_AGAIN, True
        return True


class Complaints:
    """What goes wrong in more than one way: each is told at once, and every ten minutes while it goes on, until none
    has come for ``calm`` seconds.
    """

    def __init__(self, calm: float) -> None:
        self._calm = calm
        self._told: dict[str, Trouble] = {}
        self._last_at = float("-inf")

    def is_news(self, problem: str, now: float) -> bool:
        """Whether to tell of this now."""
        self._last_at = now
        return self._told.setdefault(problem, Trouble()).is_due(problem, now)

    @property
    def go_on(self) -> bool:
        """Something has gone wrong, and not all is well again."""
        return bool(self._told)

    def are_over(self, now: float) -> bool:
        """Whether to tell now that all is well again; what goes wrong later is told anew."""
        if not self._told or now - self._last_at < self._calm:
            return False
        self._told.clear()
        return True
