"""
Changes of holder, as the log, Kubernetes and people are told of them.

Of a move to this node they are told why it began, what came of it, and how long each phase took; of a move between
other nodes, that it happened.

A failover has one id in the logs of all nodes, though no node tells it to another: the id of the attachment that the
address leaves.  The node that takes the address has judged that attachment, and the node that loses the address had it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

from floatingip.agent.effects import Moved
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.ec2 import Attachment
from floatingip.core.model import Target
from floatingip.core.move import NOBODY, PHASES, SHOWN_AT_MOST, Move, Result
from floatingip.core.news import Remark

WHY_AT_MOST = 300
"""Characters of a move's reason that are kept, at most."""

PLANNED = frozenset({Reason.FREE, Reason.CREATE, Reason.HOLDER_LEAVING, Reason.HANDOVER_ASKED})
"""Reasons of moves that nobody has to look into."""


@dataclass
class _UnderWay:
    """A move to this node that has begun, and when each of its phases ended (``reached``)."""

    rule: Rule
    reason: Reason
    why: str
    source: str
    failover: str
    began_at: float
    reached: dict[str, float] = field(default_factory=dict)

    def reach(self, phase: str, at: float) -> None:
        """The phase ended ``at`` this time; only the first time counts."""
        self.reached.setdefault(phase, at)

    def durations(self) -> dict[str, float]:
        """Seconds of all phases together (``duration``), and of each that took place, in order."""
        previous = self.began_at
        spans: dict[str, float] = {}
        for phase in PHASES:
            if phase in self.reached:
                spans[phase] = self.reached[phase] - previous
                previous = self.reached[phase]
        return {"duration": previous - self.began_at, **spans}


class Moves:
    """The moves of one address, as this node makes or sees them.

    ``failover`` is the id of a failover that begins now, away from where EC2 last showed the address; ``loss`` that of
    the one by which this node loses the address, or has lost it.

    ``last`` are the last moves.  ``since`` is when this node first saw the present holder, None while there is none.
    ``was_first``: the present holder is the first that this node saw, so it may have had the address for longer.
    """

    def __init__(self, target: Target, shared: Shared, out: Outbox) -> None:
        self._target = target
        self._address = str(target)
        self._me = shared.me.instance_id
        self._shared = shared
        self._out = out
        self._move: _UnderWay | None = None
        self.failover = self.loss = NOBODY
        self._holder = self._holder_before = ""
        self.last: deque[Move] = deque(maxlen=SHOWN_AT_MOST)
        self.since: float | None = None
        self.was_first = False

    @property
    def is_under_way(self) -> bool:
        """A move to this node has begun, and has not ended."""
        return self._move is not None

    def shown(self, attachment: Attachment | None, now: float) -> None:
        """EC2 shows the address under this attachment, or under none (None): then it has left its last holder."""
        if attachment is None:
            self._detached(now)
            return
        self.failover = self._shared.way.of_one(attachment.id, self._target)
        if attachment.instance_id == self._me:
            self.loss = self.failover

    def begin(self, decision: Decision, judged: Attachment | None, lost_at: float | None, now: float) -> None:
        """A move begins, away from the attachment ``judged``, None if nobody has the address.

        ``lost_at`` is when the first probe was lost, None if none was.
        """
        if self._move is not None:
            return
        source = judged.instance_id if judged is not None else NOBODY
        began_at = now if judged is None or lost_at is None else lost_at
        self._move = _UnderWay(decision.rule, decision.reason, decision.sentence, source, self.failover, began_at)
        self._move.reach("detect", now)
        about: dict[str, object] = {
            "rule": decision.rule,
            "attachment": judged.id if judged is not None else NOBODY,
            **self._named("source", source),
            "detect": now - began_at,
            "failover": self.failover,
        }
        if judged is None:
            self._out.info("claim", decision.sentence, **about)
        else:
            self._out.warning("takeover", decision.sentence, **about)

    def attached(self, now: float) -> None:
        """The address is on this node."""
        if self._move is not None:
            self._move.reach("attach", now)

    def follow(self, decision: Decision, holder: str, now: float, wall: float) -> None:
        """After each decision: note the ``holder`` that EC2 shows (empty: none), and tell how a move to here ended."""
        self._see(holder, now, wall)
        move = self._move
        if move is None:
            return
        if decision.reason is Reason.HELD_HERE:
            move.reach("plumb", now)
            ends = self._named("source", move.source) | self._named("to", self._me)
            self._out.info("failover", rule=move.rule, **ends, **move.durations(), failover=move.failover)
            self._end(move, Result.MOVED, move.why, now, wall)
        elif decision.state in (State.STANDBY, State.REFUSED) and decision.reason is not Reason.TAKEN:
            about = {"rule": move.rule, **self._named("source", move.source), "failover": move.failover}
            if holder in ("", self._me):
                self._out.warning("not-moved", decision.sentence, **about)
                self._end(move, Result.FAILED, decision.sentence, now, wall)
            elif holder == move.source:
                self._out.info("not-moved", f"{holder} has kept the address", **about)
                self._end(move, Result.KEPT, move.why, now, wall)
            else:
                self._out.info("lost-race", f"{holder} has the address now", **about)
                self._end(move, Result.LOST_RACE, move.why, now, wall)

    def _detached(self, now: float) -> None:
        if self._move is not None and self._move.source != NOBODY:
            self._move.reach("detach", now)

    def _end(self, move: _UnderWay, result: Result, why: str, now: float, wall: float) -> None:
        """The move has ended: have it counted, kept in the history, and shown in Kubernetes and to people."""
        self._move = None
        ended = self._ended(move, result, why[:WHY_AT_MOST], now, wall)
        self.last.append(ended)
        self._out.add(Moved(ended))
        if result is Result.LOST_RACE:
            # The winner keeps its own move in the history.
            return
        self._out.tell_kubernetes(ended)
        if result is Result.MOVED:
            where = f"from {ended.source} to {self._me}" if ended.source else f"to {self._me}, from nobody"
            note = f"{self._address} moved {where} by {move.rule} in {ended.seconds['duration']:.1f} s: {ended.why}"
            self._out.tell_kubernetes(Remark(ended.id, wall, move.reason not in PLANNED, "Moved", "Move", note))
        elif result is Result.FAILED:
            note = f"{self._address} did not move to {self._me} by {move.rule}: {ended.why}"
            self._out.tell_kubernetes(Remark(note, wall, True, "NotMoved", "Move", note))

    def _ended(self, move: _UnderWay, result: Result, why: str, now: float, wall: float) -> Move:
        said = "\0".join((self._address, self._me, f"{wall:.3f}"))
        return Move(
            id=hashlib.sha256(said.encode()).hexdigest()[:12],
            began_at=wall - (now - move.began_at),
            ended_at=wall,
            address=self._address,
            rule=move.rule,
            why=why,
            source="" if move.source == NOBODY else move.source,
            to=self._me,
            result=result,
            seconds={phase: round(seconds, 3) for phase, seconds in move.durations().items()},
            failover=move.failover,
        )

    def _see(self, holder: str, now: float, wall: float) -> None:
        """Remember who has the address now, and note a move between others; this node's own is noted when it ends."""
        if holder == self._holder:
            return
        before, self._holder = self._holder_before, holder
        if not holder:
            self.since = None
            return
        self._holder_before, self.since, self.was_first = holder, now, not before
        is_own = self._move is not None and holder == self._me
        if before not in ("", holder) and not is_own:
            self.last.append(Move("", wall, wall, self._address, "", "", before, holder, Result.SEEN))

    def _named(self, field_name: str, instance_id: str) -> dict[str, str]:
        """Fields of the log: the instance's id as ``FIELD_NAME``, its node's name as ``FIELD_NAME_node``, if known."""
        node = self._shared.node_of(instance_id)
        return {field_name: instance_id, **({f"{field_name}_node": node} if node else {})}
