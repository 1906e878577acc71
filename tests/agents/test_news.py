"""Kubernetes is told the news by a thread of its own: whatever the API server does, no agent waits for it."""

import threading
import time

from floatingip.core.move import Move
from floatingip.core.news import News, Role
from floatingip.runtime.loop import REPORTS_WITHIN
from tests.agents.world import World, wait


class Board:
    """`ports.Board`: it answers after so many seconds, or never."""

    def __init__(self, takes: float = 0.0) -> None:
        self.tried: list[News] = []
        self.there: list[News] = []
        self._takes = takes

    def put_up(self, news: News) -> None:
        """See `ports.Board`."""
        self.tried.append(news)
        if self._takes == float("inf"):
            threading.Event().wait()
        time.sleep(self._takes)
        self.there.append(news)


def test_attach_ends_when_its_move_is_told() -> None:
    """Nobody else would tell of it."""
    with World(workers=1) as world:
        [machine] = world.machines
        machine.board = board = Board(0.2)
        attach = world.run(machine, "attach")
        assert attach.ended(10)
        assert attach.code == 0
        assert [type(news).__name__ for news in board.there] == ["Move", "Remark"]


def test_attach_ends_though_nobody_answers() -> None:
    """A second later at most: the address is served by then."""
    with World(workers=1) as world:
        [machine] = world.machines
        machine.board = board = Board(float("inf"))
        attach = world.run(machine, "attach")
        wait(lambda: bool(board.tried), 10, "it tells")
        assert attach.ended(REPORTS_WITHIN + 2)
        assert attach.code == 0


def test_a_failover_and_the_end_do_not_wait_for_the_api_server() -> None:
    """It hangs from the first word on."""
    with World() as world:
        boards = [Board(float("inf")) for _ in world.machines]
        for machine, board in zip(world.machines, boards, strict=True):
            machine.board = board
        holder, standby = world.observers()
        wait(lambda: all(board.tried for board in boards), 10, "both have something to tell")
        world.cut_power(holder)
        wait(lambda: standby.machine.serves, 20, "the address is served again")
        assert all(isinstance(board.tried[0], Role | Move) and board.there == [] for board in boards)
        standby.delete()
        assert standby.ended(2)
        assert standby.code == 0
