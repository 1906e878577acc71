"""The thread that tells the API server the news: in order, each until it is told or refused; nobody waits for it."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from queue import SimpleQueue

import pytest

from floatingip.agent.events import NewsTold
from floatingip.core import timing
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move, Result
from floatingip.core.news import News, Remark, Role
from floatingip.runtime.reporting import NEWS_AT_MOST, Reporter

MOVE = Move("1a", 1_763_999_996.0, 1_764_000_000.0, "10.0.0.100", "R3", "it is silent", "i-a", "i-b", Result.MOVED)
REMARK = Remark("why", 1_764_000_000.0, True, "CannotTakeOver", "TakeOver", "why")
SILENT, REFUSED = KubernetesError("no answer in time"), KubernetesError("403", refused=True)


class Board:
    """`ports.Board`: it lets the test see each attempt, and say what comes of it."""

    def __init__(self) -> None:
        self.tried: SimpleQueue[News] = SimpleQueue()
        self.answers: SimpleQueue[KubernetesError | None] = SimpleQueue()
        self.told: SimpleQueue[NewsTold] = SimpleQueue()
        self.reporter = Reporter(self, self.told.put)

    def put_up(self, news: News) -> None:
        self.tried.put(news)
        answer = self.answers.get()
        if answer is not None:
            raise answer

    def tries(self, news: News, answer: KubernetesError | None = None, *, dropped: int = 0) -> None:
        """The next attempt is about this, and so much comes of it, which is told."""
        assert self.tried.get(timeout=10) == news
        self.answers.put(answer)
        problem, refused = (str(answer), answer.refused) if answer else ("", False)
        assert self.told.get(timeout=10) == NewsTold(type(news), problem, refused, dropped)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """One that is told again at once."""
    monkeypatch.setattr(timing, "NEWS_AGAIN_FIRST", 0.0)
    monkeypatch.setattr(timing, "NEWS_REFUSED_AGAIN", 0.05)
    board = Board()
    yield board
    for _ in range(100):
        board.answers.put(None)


def test_news_are_told_in_their_order(board: Board) -> None:
    """What does not arrive is told until it does, before the next one; what is refused holds nothing up."""
    for news in (MOVE, REMARK):
        board.reporter.tell(news)
    board.tries(MOVE, SILENT)
    board.tries(MOVE, SILENT)
    board.tries(MOVE)
    board.tries(REMARK)
    for news in (MOVE, REMARK):
        board.reporter.tell(news)
    board.tries(MOVE, REFUSED)
    board.tries(REMARK)


def test_an_api_server_that_is_silent_for_days_is_told_at_last(board: Board) -> None:
    """A pause that doubles a thousand times is no number any more."""
    board.reporter.tell(MOVE)
    for _ in range(1100):
        board.tries(MOVE, SILENT)
    board.tries(MOVE)


def test_a_role_that_was_refused_is_told_again_some_time(board: Board) -> None:
    """What it says is still so, and the Role may be there by then."""
    board.reporter.tell(Role.HOLDER)
    board.tries(Role.HOLDER, REFUSED)
    board.tries(Role.HOLDER)


def test_of_roles_the_last_one_counts(board: Board) -> None:
    """What has not been told is outdated, also while it is being told."""
    board.reporter.tell(Role.HOLDER)
    assert board.tried.get(timeout=10) is Role.HOLDER
    board.reporter.tell(Role.STANDBY)
    board.answers.put(SILENT)
    assert board.told.get(timeout=10) == NewsTold(Role, str(SILENT))
    board.tries(Role.STANDBY)


def test_the_oldest_are_dropped_and_that_is_told(board: Board) -> None:
    """Never is more kept than so many, however long nobody answers."""
    first = replace(MOVE, id="0")
    board.reporter.tell(first)
    assert board.tried.get(timeout=10) == first
    many = [replace(MOVE, id=str(number)) for number in range(1, NEWS_AT_MOST + 3)]
    for move in many:
        board.reporter.tell(move)
    board.answers.put(SILENT)
    assert board.told.get(timeout=10).problem
    board.tries(many[2], dropped=3)
    board.tries(many[3])


def test_who_tells_never_waits_nor_does_the_end_longer_than_it_may(board: Board) -> None:
    """The API server has not answered the first of them yet; `attach` has served the address by then."""
    board.reporter.tell(MOVE)
    board.tried.get(timeout=10)
    for _ in range(1000):
        board.reporter.tell(REMARK)
    assert board.told.empty()
    board.reporter.end(0.1)
    assert board.told.empty()


def test_the_end_waits_until_all_is_told(board: Board) -> None:
    """So long as an answer can be hoped for."""
    board.reporter.end(10.0)
    board.reporter.tell(MOVE)
    board.reporter.tell(REMARK)
    ended = threading.Thread(target=board.reporter.end, args=(60.0,))
    ended.start()
    board.tries(MOVE)
    assert ended.is_alive()
    board.tries(REMARK)
    ended.join(10)
    assert not ended.is_alive()


def test_the_end_does_not_wait_for_who_does_not_answer(monkeypatch: pytest.MonkeyPatch, board: Board) -> None:
    """It is tried again later, when this process is gone."""
    monkeypatch.setattr(timing, "NEWS_AGAIN_FIRST", 60.0)
    board.reporter.tell(MOVE)
    board.tries(MOVE, SILENT)
    began = time.monotonic()
    board.reporter.end(60.0)
    assert time.monotonic() - began < 30
