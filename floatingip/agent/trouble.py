"""When to log that something is wrong: at its start, and now and then while it lasts."""

from __future__ import annotations

from floatingip.core import timing


class Trouble:
    """Something that may go wrong, and when to log that: once it has lasted for ``at_first`` seconds, and then every
    ten minutes while it goes on.  ``is_told``: it goes on, and was logged.  ``is_over``: it was logged, and has just
    ended.
    """

    def __init__(self, at_first: float = 0.0) -> None:
        self._at_first = at_first
        self._text = ""
        self._due_at = float("inf")
        self.is_told = self.is_over = False

    def is_due(self, text: str, now: float) -> bool:
        """Whether to log ``text`` now; an empty text is no trouble, and another text is another trouble."""
        self.is_over = self.is_told and not text
        if text != self._text:
            self._text, self._due_at, self.is_told = text, now + self._at_first, False
        if not text or now < self._due_at:
            return False
        self._due_at, self.is_told = now + timing.SAID_AGAIN, True
        return True


class Complaints:
    """Something that may go wrong in several ways: each is logged at once, and then every ten minutes while it goes on.

    All is well again once nothing has gone wrong for ``calm`` seconds.
    """

    def __init__(self, calm: float) -> None:
        self._calm = calm
        self._told: dict[str, float] = {}
        self._last_at = float("-inf")

    def is_news(self, problem: str, now: float) -> bool:
        """Something went wrong: whether to log that now."""
        self._last_at = now
        # Keep only what was told lately: some problems name things that come and go, such as pods, so that their number
        # has no end.
        self._told = {told: at for told, at in self._told.items() if now - at < timing.SAID_AGAIN}
        if problem in self._told:
            return False
        self._told[problem] = now
        return True

    @property
    def go_on(self) -> bool:
        """Something has gone wrong, and it is not yet over."""
        return bool(self._told)

    def are_over(self, now: float) -> bool:
        """Whether to log now that all is well again; then what goes wrong later is news again."""
        if not self._told or now - self._last_at < self._calm:
            return False
        self._told.clear()
        return True
