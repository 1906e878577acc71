"""Whether a thread that works now and then goes on with its work, or hangs in the midst of it."""

from __future__ import annotations

from floatingip.edges import clock


class Pulse:
    """Of the thread that does ``what``; it hangs where one piece of work takes longer than ``within`` seconds."""

    def __init__(self, what: str, within: float) -> None:
        self._what = what
        self._within = within
        self._working_since: float | None = None

    def works(self) -> None:
        """A piece of work begins, and so the one before has ended; called by that thread."""
        self._working_since = clock.now()

    def rests(self) -> None:
        """It waits for the next piece, however long; called by that thread."""
        self._working_since = None

    def trouble(self, now: float) -> str:
        """That it hangs, in a sentence; empty where it does not."""
        since = self._working_since
        if since is None or now - since <= self._within:
            return ""
        return f"the thread that {self._what} has hung for {now - since:.0f} s"
