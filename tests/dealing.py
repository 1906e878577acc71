"""
Which lane runs which test.

Tests of the lab wait for real time, those of the simulation only compute: each gets in the way of its own kind, and
little of the other.  So ordinary lanes begin with what waits; one that `nice` has started, which gives way to all
others, begins with what computes; and they meet at what is short, so that none works on when all others have ended.
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

WAITING = ("tests/lab/", "tests/kubernetes/")
"""Where tests are about time, which a lane that gives way has not."""

SHORT = ("tests/core/", "tests/edges/", "tests/contract/")

COMPUTING = ("tests/sim/",)

SHARED = 'scope="module"'
"""What a file has, or the conftest.py beside it, whose tests share what takes long to make."""


class Dealing(LoadFileScheduling):  # type: ignore[misc]  # xdist is not typed
    """Gives tests out: one by one where each takes long, and by the file where they are short or share something."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        is_long = file.startswith(WAITING + COMPUTING)
        return nodeid if is_long and not shares(self.config.rootpath / file) else file

    def _reschedule(self, node: WorkerController) -> None:
        if self._has_nothing_for(node):
            if not node.shutting_down:
                node.shutdown()
        else:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self._has_nothing_for(node):
            return
        choose = max if gives_way(node) else min
        self.workqueue.move_to_end(choose(self.workqueue, key=place), last=False)
        super()._assign_work_unit(node)

    def _has_nothing_for(self, node: WorkerController) -> bool:
        return gives_way(node) and all(unit.startswith(WAITING) for unit in self.workqueue)


def place(unit: str) -> int:
    """Where ordinary lanes begin is 0, where one that gives way begins is 3."""
    kinds = (WAITING, None, SHORT, COMPUTING)
    return next((number for number, kind in enumerate(kinds) if kind and unit.startswith(kind)), 1)


def gives_way(node: WorkerController) -> bool:
    """Whether its lane was started by `nice`."""
    return str(node.gateway.spec.python).startswith("nice ")


@cache
def shares(file: Path) -> bool:
    """Whether the tests of a file share something."""
    return any(SHARED in each.read_text() for each in (file, file.with_name("conftest.py")) if each.exists())
