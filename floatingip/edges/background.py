"""Threads for what may block."""

from __future__ import annotations

import threading
from collections.abc import Callable


def start(name: str, job: Callable[[], None]) -> threading.Thread:
    """Do the job in a thread of its own, a daemon: none can hold up the end, as an executor's would, whose calls that
    hang are waited for at exit.
    """
    thread = threading.Thread(target=job, name=name, daemon=True)
    thread.start()
    return thread
