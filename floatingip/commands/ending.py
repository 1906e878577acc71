"""
How a command ends before it is done.  If it is interrupted, it takes back what it began, or says how far it came.  If
it runs in a pod and its user has gone, it ends by itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""The signals sent by a script's time limit, and when a terminal is closed."""

AGAIN_AFTER = 0.02
"""Seconds until a Ctrl-C that Python dropped is raised again.  If it is dropped once more, this repeats."""

FORGOTTEN_AFTER = 3600
"""Seconds after which a command that `kubectl exec` started in a pod is taken as forgotten: nobody waits for it."""

LOG_ENDS_WITHIN = 0.5
"""Seconds for which a container's process waits, at its end, for its last lines to be written."""

CONTAINERS = ("attach", "observe")
"""The commands that a container runs, so that no person waits for them."""


def is_a_persons(command: str, environ: Mapping[str, str]) -> bool:
    """Whether a person runs this command in a pod, beside its observer."""
    return command not in CONTAINERS and "KUBERNETES_SERVICE_HOST" in environ


def end_in_time(command: str, environ: Mapping[str, str]) -> None:
    """In a pod: have this process end after a while if it runs a person's command, which may be forgotten by then.

    If `kubectl exec` ends first, as when its terminal or its connection is closed, the container runtime tells the
    process nothing: it would wait forever at a prompt, or at a write that nobody reads, and keep its memory.  A Ctrl-C
    that is about to be raised again takes over the same timer, and ends the process sooner.
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
    """Have these signals raise KeyboardInterrupt, as Ctrl-C does, with the signal as its argument.  A signal that is
    ignored, as by nohup, stays ignored.
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
        signal.signal(number, signal.SIG_IGN)  # shell and kernel both send it: the second must not break the clean-up
        for fd in terminals:  # it is closed: the error of a write to it would hide this interrupt
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
    raise KeyboardInterrupt(number)


def lose_no_interrupt() -> None:
    """
    Make sure that no Ctrl-C, nor a signal that does the same, is lost as long as this process lives.

    An exception that is raised in a destructor, or in a callback of a weak reference (one runs at the end of each
    import), Python can only print (`sys.unraisablehook`): the command would go on as if nobody had asked it to end.
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
