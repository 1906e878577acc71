"""How a command ends that has begun what nobody may wait for any more: it takes that back, or says how far it came."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Those of a script's time limit, and of a terminal that is closed."""

AGAIN_AFTER = 0.02
"""Seconds until a Ctrl-C that Python dropped is raised again: what dropped it is over by then, or drops it anew."""


@contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """Have these signals do what Ctrl-C does, which names them: a KeyboardInterrupt.  One that is ignored, as by nohup,
    stays so.
    """
    before = {number: found for number in SIGNALS if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    handler = partial(_interrupt, [fd for fd in (1, 2) if os.isatty(fd)])
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _interrupt(terminals: Collection[int], number: int, _frame: object) -> None:
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # both the shell and the kernel send it: the second breaks nothing off
        for fd in terminals:  # it is closed, and a word that cannot be written there would hide this
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
    raise KeyboardInterrupt(number)


def lose_no_interrupt() -> None:
    """
    Have no Ctrl-C be lost, nor a signal that does the same, as long as this process lives.

    What is raised in a destructor, or in a callback of a weak reference such as ends each import, Python can only print
    (`sys.unraisablehook`): the command would go on as if nobody had asked it to end.
    """
    sys.unraisablehook = _come_again


def _come_again(lost: sys.UnraisableHookArgs) -> None:
    interrupt = lost.exc_value
    if not isinstance(interrupt, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return

    def again(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt(*interrupt.args)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_AFTER)
