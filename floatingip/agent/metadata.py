"""Whether IMDS answers as it should: log it when it does not, and when it does again."""

from __future__ import annotations

from floatingip.agent.outbox import Outbox
from floatingip.agent.trouble import Complaints
from floatingip.core import timing


class Metadata:
    """How well IMDS answers; ``problem`` is what went wrong last, empty once nothing has gone wrong for a while."""

    def __init__(self, out: Outbox) -> None:
        self.problem = ""
        self._out = out
        self._complaints = Complaints(timing.METADATA_CALM)

    @property
    def is_well(self) -> bool:
        """Nothing has been wrong lately."""
        return not self._complaints.go_on

    def troubled(self, problem: str, now: float) -> None:
        """IMDS gave no answer, or none that can be read, for this reason."""
        self.problem = problem
        if self._complaints.is_news(problem, now):
            self._out.warning("imds", problem)

    def follow(self, now: float) -> None:
        """Log that IMDS works again, once nothing has gone wrong for a while."""
        if self._complaints.are_over(now):
            self.problem = ""
            self._out.info("imds", "IMDS answers again")
