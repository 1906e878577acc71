"""
A pytest plugin for tests that run beside each other, each lane in a sandbox of its own (`make test`).

In place of dots it shows which tests run, how far all are, and how long they may take, by what they took last time: on
a terminal in a live line, elsewhere by a line a minute.  Whoever interrupts it ends all lanes, which leave nothing.
"""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

import pytest
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from floatingip.commands.progress import Progress
from tests.dealing import Dealing

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""

LOOK = 1.0
"""Seconds between two changes of the live line."""

END_WITHIN = 1.0
"""Seconds that a lane is given to end by itself, once all is interrupted; xdist gives it ten."""

TOOK = "lanes/took"
"""Where pytest's cache has the seconds that each test took."""

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Cache(Protocol):
    """pytest's, as far as it is needed."""

    def get(self, key: str, default: dict[str, float]) -> dict[str, float]: ...

    def set(self, key: str, value: object) -> None: ...


class Tally:
    """How far the tests are; ``took`` are the seconds that they took before, ``lanes`` how many run at a time."""

    def __init__(self, took: Mapping[str, float], lanes: int, now: Callable[[], float] = time.monotonic) -> None:
        self._took = took
        self._lanes = lanes
        self._now = now
        self._began = now()
        self._running: dict[str, float] = {}
        self.tests: frozenset[str] = frozenset()
        self.taken: dict[str, float] = {}
        self.failed = 0

    def start(self, test: str) -> None:
        """It runs from now on."""
        self._running[test] = self._now()

    def end(self, test: str) -> None:
        """It has ended."""
        self.taken[test] = round(self._now() - self._running.pop(test, self._now()), 2)

    def left(self) -> float | None:
        """In about how many seconds all have ended, or None if that cannot be known yet."""
        # The longest come first, so those that have run say little of the others but for those beside them.
        known: dict[str, list[float]] = {}
        for test in self.tests:
            if (took := self.taken.get(test, self._took.get(test))) is not None:
                known.setdefault(_directory(test), []).append(took)
        open_ = self.tests - set(self.taken)
        if any(_directory(test) not in known for test in open_):
            return None
        usual = {directory: sum(each) / len(each) for directory, each in known.items()}
        now = self._now()
        run_for = {test: now - since for test, since in self._running.items()}
        each = [max(0.0, self._took.get(test, usual[_directory(test)]) - run_for.get(test, 0.0)) for test in open_]
        return max(sum(each) / self._lanes, max(each, default=0.0))

    def text(self) -> str:
        """All of it, in a line: what runs for longest comes first."""
        so_far = spent(self._now() - self._began)
        if not self.tests:
            return f"collecting the tests, {so_far} so far"
        percent = 100 * len(self.taken) // len(self.tests)
        left = self.left()
        about = "" if left is None else f", about {spent(left)} left"
        failed = f", {self.failed} failed" if self.failed else ""
        running = "".join(f"; {short(test)} {spent(self._now() - at)}" for test, at in self._running.items())
        return f"{percent}%, {len(self.taken)} of {len(self.tests)} tests{failed}, {so_far}{about}{running}"


def _directory(test: str) -> str:
    """That of its file."""
    return test.partition("::")[0].rpartition("/")[0]


def spent(seconds: float) -> str:
    """Such as `12 s` and `3 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def short(test: str) -> str:
    """A test's name without its file's."""
    return test.rpartition("::")[2].removeprefix("test_")


class Lanes:
    """The plugin's hooks; its thread keeps the line alive while a test takes long."""

    def __init__(self, config: pytest.Config, cache: Cache) -> None:
        self._config = config
        self._cache = cache
        self._took = cache.get(TOOK, {})
        self._tally = Tally(self._took, len(config.getoption("tx")))
        self._progress = Progress(sys.stdout, every=EVERY)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="lanes", daemon=True)

    def pytest_sessionstart(self) -> None:
        """Begin to show, and to listen to interrupts."""
        for number in INTERRUPTS:
            signal.signal(number, self._interrupt)
        self._thread.start()

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Only once: what is done then takes a moment, in which somebody may be impatient."""
        for each in INTERRUPTS:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGHUP:
            # The terminal is gone: writing to it fails, which must not keep anything from its end.
            for descriptor in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        self._config.pluginmanager.getplugin("dsession").nodemanager.EXIT_TIMEOUT = END_WITHIN
        raise KeyboardInterrupt

    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """A lane knows its tests, which are every lane's."""
        with self._lock:
            if not self._tally.tests:
                self._tally.tests = frozenset(ids)
                left = self._tally.left()
                self._progress.say(f"{len(ids)} tests{'' if left is None else f', which take about {spent(left)}'}")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A lane has begun with a test."""
        with self._lock:
            self._tally.start(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A lane is through with it."""
        with self._lock:
            self._tally.end(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One that fails is told at once; why, in the end."""
        if report.failed:
            with self._lock:
                self._tally.failed += 1
                self._progress.say(f"FAILED {report.nodeid}")

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> Scheduling | None:
        """`--dist loadfile` is ours, with which other tests are given out in another way."""
        return Dealing(config, log) if config.getoption("dist") == "loadfile" else None

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """No dot and no percentage from pytest itself, as long as tests run."""
        category, letter, word = yield
        return (category, letter, word) if self._over.is_set() else (category, "", "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """The rest is pytest's to tell."""
        self._over.set()
        self._thread.join()
        self._progress.close()
        self._cache.set(TOOK, {**self._took, **self._tally.taken})

    def _show(self) -> None:
        while not self._over.wait(LOOK):
            try:
                with self._lock:
                    self._progress.wait(self._tally.text())
            except OSError:
                # The terminal is gone, and make, which alone was told, waits for us.
                os.kill(os.getpid(), signal.SIGHUP)
                return


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is collected stays to the end: nothing of it is garbage, which takes each lane seconds to find out."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Only where the lanes come together."""
    if not hasattr(config, "workerinput") and config.cache is not None:
        config.pluginmanager.register(Lanes(config, config.cache), "lanes")
