"""One change of holder at a time, as the log and Kubernetes tell it: why it begins, what came of it, and how long each
phase took.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from floatingip.agent.outbox import Outbox
from floatingip.core import news
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.model import Attachment
from floatingip.core.news import Remark, Result

NOBODY = "none"
"""What is told as the source of a move of what nobody had."""


WHY_AT_MOST = 300
"""Characters of the sentence that a move is remembered with."""

PLANNED = frozenset({Reason.FREE, Reason.CREATE, Reason.HOLDER_LEAVING, Reason.HANDOVER_ASKED})
"""Reasons of moves that nobody has to look into."""


@dataclass
class Move:
    """When each phase of a move to this node was reached, for the one line that sums it up."""

    rule: Rule
    reason: Reason
    why: str
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
    """Of one ``address``, to the instance ``me``."""

    def __init__(self, address: str, me: str, out: Outbox) -> None:
        self._address = address
        self._me = me
        self._out = out
        self._move: Move | None = None

    def begin(self, decision: Decision, judged: Attachment | None, lost_at: float | None, now: float) -> None:
        """Take it, from whoever ``judged`` is, if anybody; ``lost_at`` is when the first probe was lost, if any was."""
        if self._move is not None:
            return
        source = judged.instance_id if judged is not None else NOBODY
        began_at = now if judged is None or lost_at is None else lost_at
        self._move = Move(decision.rule, decision.reason, decision.sentence, source, began_at)
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

    @property
    def is_under_way(self) -> bool:
        """Something is written to EC2 because of it, or its end is awaited."""
        return self._move is not None

    def follow(self, decision: Decision, holder: str, now: float, wall: float) -> None:
        """Tell what came of the move, once that is decided; ``holder`` is the instance that EC2 showed last."""
        move = self._move
        if move is None:
            return
        if decision.reason is Reason.HELD_HERE:
            move.reach("plumb", now)
            self._out.info("failover", rule=move.rule, source=move.source, to=self._me, **move.durations())
            self._remember(move, Result.MOVED, move.why, wall)
            self._move = None
        elif decision.state in (State.STANDBY, State.REFUSED) and decision.reason is not Reason.TAKEN:
            if holder in ("", self._me):
                self._out.warning("not-moved", decision.sentence, rule=move.rule, source=move.source)
                self._remember(move, Result.FAILED, decision.sentence, wall)
            elif holder == move.source:
                self._out.info("not-moved", f"{holder} has kept the address", rule=move.rule, source=move.source)
                self._remember(move, Result.KEPT, move.why, wall)
            else:
                # Whoever has it remembers that.
                self._out.info("lost-race", f"{holder} has the address now", rule=move.rule, source=move.source)
            self._move = None

    def _remember(self, move: Move, result: Result, why: str, wall: float) -> None:
        """Keep it in the history, and have Kubernetes show it."""
        why, source = why[:WHY_AT_MOST], "" if move.source == NOBODY else move.source
        spans = move.durations()
        said = "\0".join((self._address, self._me, f"{wall:.3f}"))
        kept = news.Move(
            hashlib.sha256(said.encode()).hexdigest()[:12],
            wall,
            self._address,
            move.rule,
            why,
            source,
            self._me,
            result,
            {phase: round(seconds, 3) for phase, seconds in spans.items()},
        )
        self._out.tell_kubernetes(kept)
        if result is Result.MOVED:
            where = f"from {source} to {self._me}" if source else f"to {self._me}, from nobody"
            note = f"{self._address} moved {where} by {move.rule} in {spans['duration']:.1f} s: {why}"
            remark = Remark(kept.id, wall, move.reason not in PLANNED, "Moved", "Move", note)
            self._out.tell_kubernetes(remark)
        elif result is Result.FAILED:
            note = f"{self._address} did not move to {self._me} by {move.rule}: {why}"
            self._out.tell_kubernetes(Remark(note, wall, True, "NotMoved", "Move", note))
