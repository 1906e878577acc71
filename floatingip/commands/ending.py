"""
How a command ends that has begun what nobody may wait for any more: it takes that back, or says how far it came; and
how one ends that nobody knows of any more.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Those of a script's time limit, and of a terminal that is closed."""

AGAIN_AFTER = 0.02
"""Seconds until a Ctrl-C that Python dropped is raised again: what dropped it is over by then, or drops it anew."""

FORGOTTEN_AFTER = 3600
"""Seconds after which nobody waits any more for a command that `kubectl exec` has begun in a pod."""

CONTAINERS = ("attach", "observe")
"""The commands that nobody waits for: a container runs each."""


def is_a_persons(command: str, environ: Mapping[str, str]) -> bool:
    """Whether this is what a person runs in a pod, beside its observer."""
    return command not in CONTAINERS and "KUBERNETES_SERVICE_HOST" in environ


def end_in_time(command: str, environ: Mapping[str, str]) -> None:
    """In a pod: have this process, which runs a person's command, end when it is forgotten.

    Where `kubectl exec` ends without it, as with its terminal or its connection, the container runtime tells the
    process nothing, and leaves it at a prompt, or at a write that nobody reads, with its share of the memory.  A Ctrl-C
    that is about to be raised again has the timer before, and ends it sooner.
    """
    if is_a_persons(command, environ) and not any(signal.getitimer(signal.ITIMER_REAL)):
        signal.signal(signal.SIGALRM, _forgotten)
        signal.alarm(FORGOTTEN_AFTER)


def _forgotten(number: int, _frame: object) -> None:
    with suppress(OSError):
        os.set_blocking(2, False)
        os.write(2, b"floatingip: in a pod a command ends after an hour; run it again\n")
    os._exit(128 + number)


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
