"""Threads for jobs that may block: daemon threads, so that none of them can hold up the end of the process.

The system may allow no more threads for a while, for example if another pod of the node uses up all that there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def start(name: str, job: Callable[[], None]) -> threading.Thread:
    """Do the job in a thread of its own.  (At exit an executor would wait for its calls, even for those that hang.)

    Raises RuntimeError if the system allows no more threads.
    """
    thread = threading.Thread(target=job, name=name, daemon=True)
    thread.start()
    return thread


def starts(name: str, job: Callable[[], None]) -> bool:
    """The same; False where the system allows no more threads."""
    try:
        start(name, job)
    except RuntimeError:
        return False
    return True


def begin(name: str, ask: Callable[[], T]) -> Future[T]:
    """Begin to ask, in a thread of its own; the future gets the answer, or the exception that was raised.

    If the system allows no more threads, this thread asks, and the future is done on return.
    """
    answer: Future[T] = Future()

    def job() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for whoever waits for the answer
            answer.set_exception(error)

    if not starts(name, job):
        job()
    return answer


class Spare:
    """A thread for jobs that get none of their own: it does one after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        start("spare", self._run)

    def begin(self, name: str, job: Callable[[], None]) -> None:
        """Do the job in a thread of its own, where the system allows one more; never waits."""
        if not starts(name, job):
            self._jobs.put(job)

    def _run(self) -> None:
        while True:
            self._jobs.get()()
