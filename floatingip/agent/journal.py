"""How this observer's own log fares: where nobody sees it, that has to be told elsewhere."""

from __future__ import annotations

from floatingip.agent.outbox import Outbox


class Journal:
    """``note`` says that nobody sees the log, and why; empty where somebody does."""

    def __init__(self, out: Outbox) -> None:
        self.note = ""
        self._out = out
        self._lost = 0

    def troubled(self, problem: str, lost: int) -> None:
        """It is not written for this reason, empty if it is again; ``lost`` lines in all are lost."""
        self.note = (
            f"this observer's log is not kept: {problem}; is its node's container runtime well?" if problem else ""
        )
        if not problem and lost > self._lost:
            self._out.warning("log", f"the log was not kept for a while; {lost - self._lost} lines are lost")
            self._lost = lost
