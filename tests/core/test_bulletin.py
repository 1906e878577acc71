"""What of the agent's news Kubernetes is told, and when."""

from dataclasses import replace

import pytest

from floatingip.agent.bulletin import REMARKS_AN_HOUR, WAITING_AT_MOST, Bulletin
from floatingip.agent.effects import TellKubernetes
from floatingip.agent.events import NewsTold
from floatingip.core import timing
from floatingip.core.move import Move, Result
from floatingip.core.news import News, Remark, Role
from tests.core.told import Told

MOVE = Move("1a", 1_763_999_996.0, 1_764_000_000.0, "10.0.0.100", "R3", "it is silent", "i-a", "i-b", Result.MOVED)
REMARK = Remark("why", 1_764_000_000.0, True, "CannotTakeOver", "TakeOver", "why")


class Board:
    """A bulletin, and what is told by it."""

    def __init__(self, *, shows_role: bool = True) -> None:
        self.told = Told()
        self.bulletin = Bulletin(self.told.out, shows_role=shows_role)

    def follow(self, *news: News, at: float, role: Role | None = None, moving: bool = False) -> list[News]:
        """The agent has these news; what Kubernetes is told now."""
        for each in news:
            self.told.out.tell_kubernetes(each)
        self.bulletin.follow(role, at, moving=moving)
        return [effect.news for effect in self.told.take() if isinstance(effect, TellKubernetes)]


@pytest.fixture
def board() -> Board:
    """An observer's."""
    return Board()


def test_news_wait_for_the_end_of_a_move(board: Board) -> None:
    """But not for ever: EC2 may refuse what it takes."""
    assert board.follow(REMARK, at=0.0, moving=True) == []
    assert board.follow(at=5.0) == [REMARK]
    assert board.follow(MOVE, at=6.0, moving=True, role=Role.HOLDER) == []
    assert board.follow(at=6.0 + timing.NEWS_WAIT, moving=True, role=Role.HOLDER) == [Role.HOLDER, MOVE]


def test_a_role_is_told_when_it_changes(board: Board) -> None:
    """And who holds nothing for a moment is no standby."""
    assert board.follow(at=0.0) == []
    assert board.follow(at=1.0, role=Role.STANDBY) == []
    assert board.follow(at=1.5, role=Role.HOLDER) == [Role.HOLDER]
    assert board.follow(at=2.0, role=Role.STANDBY) == []
    assert board.follow(at=3.0, role=Role.HOLDER) == []
    assert board.follow(at=4.0, role=Role.STANDBY) == []
    assert board.follow(at=4.0 + timing.STANDBY_FOR, role=Role.STANDBY) == [Role.STANDBY]
    assert board.follow(at=9.0, role=Role.STANDBY) == []


def test_a_pod_that_does_not_observe_yet_has_no_role() -> None:
    """The init container moves addresses all the same."""
    assert Board(shows_role=False).follow(MOVE, at=0.0, role=Role.HOLDER) == [MOVE]


def test_the_same_is_told_once_in_an_hour(board: Board) -> None:
    """Which is when Kubernetes has forgotten it; moves are never the same."""
    failed = replace(MOVE, result=Result.FAILED)
    assert board.follow(REMARK, failed, MOVE, at=0.0) == [REMARK, failed, MOVE]
    for at in (1.0, timing.NEWS_AGAIN - 1.0):
        assert board.follow(REMARK, replace(failed, id="1b", ended_at=at), replace(MOVE, id="1c"), at=at) == [
            replace(MOVE, id="1c")
        ]
    assert board.follow(REMARK, failed, at=timing.NEWS_AGAIN) == [REMARK, failed]


def test_there_are_only_so_many_events_an_hour(board: Board) -> None:
    """Though each of them says something else."""
    many = [replace(REMARK, key=str(number)) for number in range(2 * REMARKS_AN_HOUR)]
    told = [news for number, each in enumerate(many) for news in board.follow(each, at=float(number))]
    assert told == many[:REMARKS_AN_HOUR]
    assert board.follow(REMARK, at=timing.NEWS_AGAIN) == [REMARK]


def test_the_oldest_that_wait_go_first(board: Board) -> None:
    """Nothing grows without an end."""
    many = [replace(MOVE, id=str(number)) for number in range(2 * WAITING_AT_MOST)]
    assert board.follow(*many, at=0.0, moving=True) == []
    assert board.follow(at=1.0) == many[-WAITING_AT_MOST:]


@pytest.mark.parametrize(("refused", "level"), [(True, "info"), (False, "warning")])
def test_what_kubernetes_does_not_take_is_logged_once(board: Board, level: str, *, refused: bool) -> None:
    """Each kind apart; a Role that was taken away is no trouble.  Nor is it told again before that is over."""
    for problem in ("403", "404"):
        board.bulletin.told(NewsTold(Move, problem, refused=refused))
        board.bulletin.told(NewsTold(Role))
    board.bulletin.told(NewsTold(Move, dropped=3))
    board.bulletin.told(NewsTold(Move))
    first, second = board.told.log.splitlines()
    assert f"level={level} event=news" in first
    assert 'msg="moves are not written to the history: 403"' in first
    assert 'level=info event=news msg="over: moves are not written to the history; 3 of all news were dropped' in second
