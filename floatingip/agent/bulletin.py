"""
What Kubernetes is told, and when: not while an address is moving to this node, and never too much.

The parts of the agent put news into the outbox, and this module takes them out.  The same warning, or failed move, is
told once an hour.  Kubernetes keeps an Event for that long, so there is always one while the cause lasts.
"""

from __future__ import annotations

from collections.abc import Mapping

from floatingip.agent.effects import TellKubernetes
from floatingip.agent.events import NewsTold
from floatingip.agent.outbox import Outbox
from floatingip.core import timing
from floatingip.core.move import Move, Result
from floatingip.core.news import News, Remark, Role

REMARKS_AN_HOUR = 30
"""At most this many Events go to Kubernetes from one observer within an hour."""

WAITING_AT_MOST = 32
"""At most this many news wait for the end of a move; beyond that the oldest are dropped."""

LOST: Mapping[type[News], str] = {
    Role: "this pod's label floatingip/role is not kept up",
    Remark: "Kubernetes gets no Events of this pod",
    Move: "moves are not written to the history",
}
"""What is missing when news of this kind do not arrive."""


class Bulletin:
    """Decides what Kubernetes is told; ``shows_role``: the pod is an observer's, so its label shows its node's role."""

    def __init__(self, out: Outbox, *, shows_role: bool) -> None:
        self._out = out
        self._shows_role = shows_role
        self._role: Role | None = None
        self._standby_since = float("inf")
        self._waiting: list[News] = []
        self._moving_since = float("inf")
        self._told: dict[str, float] = {}
        self._remarked: list[float] = []
        self._problems: dict[type[News], str] = {}

    def follow(self, role: Role | None, now: float, *, moving: bool) -> None:
        """Hand over all news; but while an address is ``moving`` to this node, only once that has lasted some seconds.

        ``role`` is None while it is not known.
        """
        self._standby_since = min(self._standby_since, now) if role is Role.STANDBY else float("inf")
        self._moving_since = min(self._moving_since, now) if moving else float("inf")
        self._waiting += (news for news in self._out.take_news() if self._is_new(news, now))
        del self._waiting[:-WAITING_AT_MOST]
        if moving and now - self._moving_since < timing.NEWS_WAIT:
            return
        if self._shows_role and role is not None and role is not self._role and self._lasts(role, now):
            self._role = role
            self._waiting.insert(0, role)
        for news in self._waiting:
            self._out.add(TellKubernetes(news))
        self._waiting.clear()

    def _lasts(self, role: Role, now: float) -> bool:
        """Whether the role has lasted: a holder whose observer has just started looks like a standby for a moment."""
        return role is Role.HOLDER or now - self._standby_since >= timing.STANDBY_FOR

    def _is_new(self, news: News, now: float) -> bool:
        self._told = {key: at for key, at in self._told.items() if now - at < timing.NEWS_AGAIN}
        self._remarked = [at for at in self._remarked if now - at < timing.NEWS_AGAIN]
        match news:
            case Move(result=Result.MOVED):
                return True
            case Move():
                return self._is_first(f"{news.address} {news.rule} {news.source} {news.result}", now)
            case Remark():
                if len(self._remarked) >= REMARKS_AN_HOUR or not self._is_first(news.key, now):
                    return False
                self._remarked.append(now)
        return True

    def _is_first(self, key: str, now: float) -> bool:
        is_first = key not in self._told
        self._told.setdefault(key, now)
        return is_first

    def told(self, what: NewsTold) -> None:
        """News of one kind arrived, or did not; log it when that changes."""
        before = self._problems.get(what.kind, "")
        self._problems[what.kind] = what.problem
        lost = LOST[what.kind]
        if what.problem and not before and what.refused:
            # Only an info: whoever removed the permission from the Role did so on purpose.
            self._out.info("news", f"{lost}: {what.problem}")
        elif what.problem and not before:
            self._out.warning("news", f"{lost}: {what.problem}")
        elif before and not what.problem:
            self._out.info("news", f"over: {lost}; {what.dropped} of all news were dropped meanwhile")
