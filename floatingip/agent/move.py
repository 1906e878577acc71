"""One change of holder, as the log sums it up."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Move:
    """When each phase of a move to this node was reached, for the one line that sums it up."""

    rule: str
    source: str
    began_at: float
    reached: dict[str, float] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        """The phase ends now, unless it did before."""
        self.reached.setdefault(phase, at)

    def durations(self) -> dict[str, float]:
        """Seconds of each phase that took place, in order, and of all together."""
        previous = self.began_at
        spans: dict[str, float] = {}
        for phase in ("detect", "detach", "attach", "plumb"):
            if phase in self.reached:
                spans[phase] = self.reached[phase] - previous
                previous = self.reached[phase]
        return {"duration": previous - self.began_at, **spans}
