"""Tell the API server the news, one after the other, from a thread of its own, so that nothing else waits for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from floatingip.agent.events import NewsTold
from floatingip.core import pace, timing
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move
from floatingip.core.news import News, Remark, Role
from floatingip.core.ports import Board
from floatingip.edges import background, clock

NEWS_AT_MOST = 64
"""At most this many news wait for an API server that does not answer; the oldest are dropped first."""


class Reporter:
    """Puts news on the ``board``; ``told`` is called with what came of each, in the reporter's thread.

    A role that waits is replaced by the next one; all other news are kept in their order.  News that are refused are
    not tried again, except the role.
    """

    def __init__(self, board: Board, told: Callable[[NewsTold], None], now: Callable[[], float] = clock.now) -> None:
        self._board = board
        self._told = told
        self._now = now
        self._changed = threading.Condition()
        self._role: Role | None = None
        self._role_at = float("-inf")
        self._news: deque[Move | Remark] = deque()
        self._dropped = 0
        self._failures = 0
        self._not_before = float("-inf")
        self._is_busy = self._is_started = False

    def tell(self, news: News) -> None:
        """Have the news told soon; never waits."""
        with self._changed:
            if isinstance(news, Role):
                self._role, self._role_at = news, float("-inf")
            else:
                if len(self._news) >= NEWS_AT_MOST:
                    self._news.popleft()
                    self._dropped += 1
                self._news.append(news)
            self._changed.notify_all()
            self._is_started = self._is_started or background.starts("reporter", self._run)

    def end(self, within: float) -> None:
        """Wait until all is told: at most ``within`` seconds, and not once the API server has failed to answer."""
        with self._changed:
            self._changed.wait_for(lambda: self._failures or not (self._is_busy or self._news), timeout=within)

    def _run(self) -> None:
        while True:
            self._report(self._next())

    def _next(self) -> News:
        """Wait until there is something to tell, and return it."""
        with self._changed:
            while True:
                now = self._now()
                due_at = self._due_at()
                if due_at <= now:
                    self._is_busy = True
                    return self._news[0] if self._role is None or self._role_at > now else self._role
                self._changed.wait(None if due_at == float("inf") else due_at - now)

    def _due_at(self) -> float:
        role_at = self._role_at if self._role is not None else float("inf")
        return max(self._not_before, float("-inf") if self._news else role_at)

    def _report(self, news: News) -> None:
        problem, refused = "", False
        try:
            self._board.put_up(news)
        except KubernetesError as error:
            problem, refused = str(error), error.refused
        with self._changed:
            self._is_busy = False
            dropped = 0
            if problem and not refused:
                pause = pace.doubled(timing.NEWS_AGAIN_FIRST, self._failures, timing.NEWS_AGAIN_LAST)
                self._failures, self._not_before = self._failures + 1, self._now() + pause
            else:
                self._failures = 0
                self._settle(news, refused=refused)
                if not problem:
                    dropped, self._dropped = self._dropped, 0
            self._changed.notify_all()
        self._told(NewsTold(type(news), problem, refused, dropped))

    def _settle(self, news: News, *, refused: bool) -> None:
        """Take the news off the list: they were told or refused.  They may have been replaced or dropped already."""
        if isinstance(news, Role):
            if news is self._role:
                self._role_at = self._now() + timing.NEWS_REFUSED_AGAIN
                self._role = self._role if refused else None
        elif self._news and self._news[0] is news:
            self._news.popleft()
