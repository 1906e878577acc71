"""Changes of holder: one to this node at a time, as the log tells it (why it begins, what came of it, and how long each
phase took), and the last ones as people are shown them, whoever made them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from floatingip.agent.outbox import Outbox
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.model import Attachment
from floatingip.core.report import Move as Told
from floatingip.core.report import Result

NOBODY = "none"
"""What is told as the source of a move of what nobody had."""

KEPT = 8
"""Moves that people are shown."""


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

    def durations(self) -> dict[str, float]:
        """Seconds of each phase that took place, in order, and of all together."""
        previous = self.began_at
        spans: dict[str, float] = {}
        for phase in ("detect", "detach", "attach", "plumb"):
            if phase in self.reached:
                spans[phase] = self.reached[phase] - previous
                previous = self.reached[phase]
        return {"duration": previous - self.began_at, **spans}


class Moves:
    """Of one address, to the instance ``me``.

    ``last`` are the last ones; the present holder has been seen since ``since_wall`` (Unix seconds), None while there
    is none, and may have had the address for longer where it ``was_first``.
    """

    def __init__(self, me: str, out: Outbox) -> None:
        self._me = me
        self._out = out
        self._move: Move | None = None
        self._holder = self._holder_before = ""
        self.last: deque[Told] = deque(maxlen=KEPT)
        self.since_wall: float | None = None
        self.was_first = False

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
        self._see(holder, wall)
        move = self._move
        if move is None:
            return
        if decision.reason is Reason.HELD_HERE:
            move.reach("plumb", now)
            self._out.info("failover", rule=move.rule, source=move.source, to=self._me, **move.durations())
            self._end(move, Result.DONE, now, wall)
        elif decision.state in (State.STANDBY, State.REFUSED) and decision.reason is not Reason.TAKEN:
            if holder in ("", self._me):
                self._out.warning("not-moved", decision.sentence, rule=move.rule, source=move.source)
            elif holder == move.source:
                self._out.info("not-moved", f"{holder} has kept the address", rule=move.rule, source=move.source)
            else:
                self._out.info("lost-race", f"{holder} has the address now", rule=move.rule, source=move.source)
            is_lost = holder not in ("", self._me, move.source)
            self._end(move, Result.LOST_RACE if is_lost else Result.NOT_MOVED, now, wall)

    def _end(self, move: Move, result: Result, now: float, wall: float) -> None:
        began = wall - (now - move.began_at)
        self.last.append(Told(began, move.rule, move.source, self._me, result, move.durations()))
        self._move = None

    def _see(self, holder: str, wall: float) -> None:
        """Who has it now; this node's own move is told by its end."""
        if holder == self._holder:
            return
        before, self._holder = self._holder_before, holder
        if not holder:
            self.since_wall = None
            return
        self._holder_before, self.since_wall, self.was_first = holder, wall, not before
        is_own = self._move is not None and holder == self._me
        if before not in ("", holder) and not is_own:
            self.last.append(Told(wall, "", before, holder, Result.SEEN))
