"""One change of holder at a time, as the log tells it: why it begins, what came of it, and how long each phase took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.agent.effects import Moved, Result
from floatingip.agent.outbox import Outbox
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.model import Attachment

NOBODY = "none"
"""What is told as the source of a move of what nobody had."""


@dataclass
class Move:
    """When each phase of a move to this node was reached, for the one line that sums it up."""

    rule: Rule
    source: str
    began_at: float
    reached: dict[str, float] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        """The phase ends now, unless it did before."""
        self.reached.setdefault(phase, at)

    def phases(self) -> dict[str, float]:
        """Seconds of each phase that took place, in order."""
        previous = self.began_at
        spans: dict[str, float] = {}
        for phase in ("detect", "detach", "attach", "plumb"):
            if phase in self.reached:
                spans[phase] = self.reached[phase] - previous
                previous = self.reached[phase]
        return spans


class Moves:
    """Of the address ``target``, to the instance ``me``."""

    def __init__(self, target: str, me: str, out: Outbox) -> None:
        self._target = target
        self._me = me
        self._out = out
        self._move: Move | None = None

    def begin(self, decision: Decision, judged: Attachment | None, lost_at: float | None, now: float) -> None:
        """Take it, from whoever ``judged`` is, if anybody; ``lost_at`` is when the first probe was lost, if any was."""
        if self._move is not None:
            return
        source = judged.instance_id if judged is not None else NOBODY
        began_at = now if judged is None or lost_at is None else lost_at
        self._move = Move(decision.rule, source, began_at)
        self._move.reach("detect", now)
        self._out.info(
            "claim" if judged is None else "takeover",
            decision.sentence,
            rule=decision.rule,
            attachment=judged.id if judged is not None else NOBODY,
            source=source,
            detect=now - began_at,
        )

    def detached(self, now: float) -> None:
        """EC2 says that nobody has it any more."""
        if self._move is not None and self._move.source != NOBODY:
            self._move.reach("detach", now)

    def attached(self, now: float) -> None:
        """It is on this node."""
        if self._move is not None:
            self._move.reach("attach", now)

    def follow(self, decision: Decision, holder: str, now: float, wall: float) -> None:
        """Tell what came of the move, once that is decided; ``holder`` is the instance that EC2 showed last."""
        move = self._move
        if move is None:
            return
        if decision.reason is Reason.HELD_HERE:
            move.reach("plumb", now)
            phases = move.phases()
            duration = sum(phases.values())
            self._out.info("failover", rule=move.rule, source=move.source, to=self._me, duration=duration, **phases)
            self._end(move, Result.MOVED, wall, phases)
        elif decision.state in (State.STANDBY, State.REFUSED) and decision.reason is not Reason.TAKEN:
            if holder in ("", self._me):
                self._out.warning("not-moved", decision.sentence, rule=move.rule, source=move.source)
                self._end(move, Result.FAILED, wall)
            elif holder == move.source:
                self._out.info("not-moved", f"{holder} has kept the address", rule=move.rule, source=move.source)
                self._end(move, Result.KEPT, wall)
            else:
                self._out.info("lost-race", f"{holder} has the address now", rule=move.rule, source=move.source)
                self._end(move, Result.LOST_RACE, wall)

    def _end(self, move: Move, result: Result, wall: float, seconds: Mapping[str, float] | None = None) -> None:
        self._out.add(Moved(self._target, move.rule, result, wall, seconds or {}))
        self._move = None
