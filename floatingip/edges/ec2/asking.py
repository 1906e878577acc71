"""
Make calls that may hang, such that no caller waits longer than the answer is worth, and hanging calls do not pile up.

A part of ``ec2``.  A socket's timeout ends a silence.  It ends neither an answer that comes one byte a second, nor a
name server that does not answer, nor the work of an SDK before it sends anything.  So each attempt has a thread of its
own.  If it takes too long its connection is ended, and the caller goes on without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

from floatingip.core.errors import CloudUnavailable
from floatingip.edges import clock

AGAIN_AFTER = 2.0
"""Seconds without an answer after which a question that changes nothing is asked a second time, beside the first."""

GIVEN_UP_AFTER = 5.0
"""Seconds without an answer after which a question is given up: EC2 mostly answers in well under one."""

MOST_BESIDE = 3
"""Attempts at one question at the same time, at most.  The oldest is kept, since EC2 may only be slow, and the newest
ones, since the others may have met a dead connection."""

MOST_UNDER_WAY = 24
"""Attempts at the same time, at most, at all questions together; attempts that were given up and still hang count."""

NAMES_HINT = "does this machine's name server answer (/etc/resolv.conf)?"
"""What to do if there was no connection in time: one that is refused or times out fails much sooner."""

T = TypeVar("T")


class _Attempt(threading.Thread):
    """One try to get an answer, in a thread of its own; it sends nothing once ``seconds`` are over."""

    def __init__(self, call: Callable[[], object], ended: Callable[[_Attempt], None], seconds: float) -> None:
        super().__init__(name="ask", daemon=True)
        self._call = call
        self._ended = ended
        self._lock = threading.Lock()
        self.is_cut_off = False
        self.is_unsent = False
        self._interrupts: list[Callable[[], None]] = []
        self.began_at = clock.now()
        self._sends_until = self.began_at + seconds
        self.seconds = 0.0
        self.answer: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the call, and report the end of the attempt."""
        try:
            self.answer = self._call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits for the answer
            self.error = error
        self.seconds = clock.now() - self.began_at
        self._ended(self)

    def interrupt_by(self, interrupt: Callable[[], None]) -> None:
        """See :func:`interrupt_by`."""
        with self._lock:
            # This thread looks at the clock itself: after the process stood still, others may notice that later.
            if self.is_cut_off or clock.now() > self._sends_until:
                self.is_unsent = True
                raise CloudUnavailable("given up before it was sent")
            self._interrupts.append(interrupt)

    @property
    def is_connected(self) -> bool:
        """Whether the attempt had a connection to send its question on."""
        return bool(self._interrupts)

    def cut_off(self) -> None:
        """Give the attempt up: interrupt what it waits for, and let it send nothing more."""
        with self._lock:
            self.is_cut_off = True
            for interrupt in self._interrupts:
                interrupt()

    def result(self) -> object:
        """The answer, or what was raised instead."""
        if self.error is not None:
            raise self.error
        return self.answer


def interrupt_by(interrupt: Callable[[], None]) -> None:
    """Called within an attempt before it does something that may hang; ``interrupt`` would end that.

    Does nothing in a thread that is no attempt.  Raises ``CloudUnavailable`` if the attempt was already given up.
    """
    attempt = threading.current_thread()
    if isinstance(attempt, _Attempt):
        attempt.interrupt_by(interrupt)


@dataclass
class _Pace:
    """How long answers of one kind take.

    ``seconds`` is how long the last one took.  ``late`` is an attempt that goes on although its question was given up:
    its end shows that EC2 has become slow, so that the next question is given more time.
    """

    seconds: float = 0.0
    late: _Attempt | None = None


class Asking:
    """Makes calls that may hang; its methods may be called from any thread.

    A call is given up after ``given_up_after`` seconds, or after up to ``longest`` if answers are seen to take long.  A
    question is asked again, beside the first attempt, after ``again_after`` seconds.
    """

    def __init__(
        self, longest: float, given_up_after: float = GIVEN_UP_AFTER, again_after: float = AGAIN_AFTER
    ) -> None:
        self._longest = max(longest, given_up_after)
        self._given_up_after = given_up_after
        self._again_after = again_after
        self._paces: dict[str, _Pace] = {}
        self._under_way: set[_Attempt] = set()
        self._lock = threading.Lock()

    def ask(self, what: str, call: Callable[[], T], *, repeatable: bool) -> T:
        """Return what ``call`` returns, or raise what it raises; raise ``CloudUnavailable`` if it takes too long.

        Too long is more than five seconds, or twice what the last answer of this kind (``what``) took if that is more,
        but never more than ``longest``.  A ``repeatable`` question is asked again meanwhile, beside the first attempt;
        the first answer counts.
        """
        pace = self._paces.setdefault(what, _Pace())
        patience = min(self._longest, max(self._given_up_after, 2 * pace.seconds))
        again_after = max(self._again_after, 1.5 * pace.seconds) if repeatable else patience
        # Once a write is given up, the caller decides anew: so the write must not be sent after that.
        begin = partial(self._begin, what, call, pace, inf if repeatable else patience)
        told: SimpleQueue[_Attempt] = SimpleQueue()
        attempts = [begin(told)]
        again_at, give_up_at = attempts[0].began_at + again_after, attempts[0].began_at + patience
        while (now := clock.now()) < give_up_at:
            try:
                first = told.get(timeout=max(0.0, min(give_up_at, again_at) - now))
            except Empty:
                if again_at < give_up_at:
                    again_at += again_after
                    if len(attempts) == MOST_BESIDE:
                        attempts.pop(1).cut_off()
                    with suppress(CloudUnavailable):  # No more attempts can be made: those under way must do.
                        attempts.append(begin(told))
                continue
            for attempt in attempts:
                if attempt is not first:
                    attempt.cut_off()
            return cast(T, first.result())
        is_connected = any(attempt.is_connected for attempt in attempts)
        self._leave(attempts, pace)
        said = f"{what}: no answer within {patience:g} s"
        raise CloudUnavailable(said) if is_connected else CloudUnavailable(f"{said}, nor a connection", NAMES_HINT)

    def _begin(
        self, what: str, call: Callable[[], object], pace: _Pace, sends_for: float, told: SimpleQueue[_Attempt]
    ) -> _Attempt:
        def ended(attempt: _Attempt) -> None:
            with self._lock:
                self._under_way.discard(attempt)
            # The time until something could be sent shows as well that the way to EC2 has become slow.
            if attempt.error is None or (attempt.is_unsent and not attempt.is_cut_off):
                pace.seconds = attempt.seconds
            # The result of an attempt that we ended ourselves says nothing of EC2.
            if not attempt.is_cut_off:
                told.put(attempt)

        with self._lock:
            now = clock.now()
            for old in self._under_way:
                if now - old.began_at > self._longest:
                    old.cut_off()
            if len(self._under_way) >= MOST_UNDER_WAY:
                raise CloudUnavailable(f"{what}: not asked, since {len(self._under_way)} earlier calls still hang")
            attempt = _Attempt(call, ended, sends_for)
            self._under_way.add(attempt)
        try:
            attempt.start()
        except RuntimeError as error:  # The system allows no more threads.
            with self._lock:
                self._under_way.discard(attempt)
            raise CloudUnavailable(f"{what}: not asked: {error}") from error
        return attempt

    def _leave(self, attempts: list[_Attempt], pace: _Pace) -> None:
        """Give the question up, but let one attempt go on: it shows whether EC2 has only become slower."""
        if pace.late is None or not pace.late.is_alive():
            pace.late = attempts.pop(0)
        for attempt in attempts:
            attempt.cut_off()
