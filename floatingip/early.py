"""
End at once while a command is loaded, which takes long: nothing was begun yet.

This file can be read by the Pythons that are too old for the others (__main__.py).
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


def end(number: int, _frame: object) -> None:
    """The handler of a signal that ends the process by the exit code that a shell would give it."""
    os._exit(128 + number)


@contextmanager
def ended_by_ctrl_c() -> "Iterator[None]":
    """While modules are imported in this context, Ctrl-C ends the process without a word.

    Where Ctrl-C is ignored, as for jobs that a script runs in the background, it stays so.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    yield
    signal.signal(signal.SIGINT, interrupt)
