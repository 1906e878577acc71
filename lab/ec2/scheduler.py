"""What EC2 does later."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

logger = logging.getLogger(__name__)


class Scheduler:
    """
    A heap of actions, performed in order of time by one thread under the lock.  `changed` is
    called under the lock after each.

    An action that raises is a defect of the lab.  It is logged, and `stop` raises the first such exception.
    """

    def __init__(self, lock: AbstractContextManager[object], changed: Callable[[], None]) -> None:
        self._lock = lock
        self._changed = changed
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="ec2-scheduler", daemon=True)
        self._thread.start()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Perform the action `delay` seconds later; with zero at once, in the calling thread, which holds the lock."""
        if delay <= 0:
            action()
            return
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), action))
            self._wake.notify()

    def stop(self) -> None:
        """Forget what is still to come; raises the first exception that an action raised."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                with self._lock:
                    action()
                    self._changed()
            except Exception as error:  # raised by stop(); the world must go on until then
                logger.exception("a transition failed")
                self._failure = self._failure or error

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next action; None after `stop`."""
        with self._wake:
            while not self._stopped:
                if not self._due:
                    self._wake.wait()
                elif (wait := self._due[0][0] - time.monotonic()) > 0:
                    self._wake.wait(wait)
                else:
                    return heapq.heappop(self._due)[2]
        return None
