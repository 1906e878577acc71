"""How a command ends that has begun what nobody may wait for any more: it takes that back, or says how far it came."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Those of a script's time limit, and of a terminal that is closed."""


@contextmanager
def as_by_ctrl_c() -> Iterator[None]:
    """Have these signals do what Ctrl-C does, which names them: a KeyboardInterrupt.  One that is ignored, as by nohup,
    stays so.
    """
    before = {number: found for number in SIGNALS if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)
