"""Threads for what may block: daemons, so that none of them can hold up the end of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start(name: str, job: Callable[[], None]) -> threading.Thread:
    """Do the job in a thread of its own.  An executor would wait at exit for its calls, also for those that hang."""
    thread = threading.Thread(target=job, name=name, daemon=True)
    thread.start()
    return thread


def begin(name: str, ask: Callable[[], T]) -> Future[T]:
    """Begin to ask, in a thread of its own: the answer, or whatever was raised, can be waited for."""
    answer: Future[T] = Future()

    def job() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for whoever waits for the answer
            answer.set_exception(error)

    start(name, job)
    return answer
