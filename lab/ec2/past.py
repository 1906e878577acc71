"""
What EC2 knew a while ago, for Describes that lag: they are eventually consistent (EC2 developer guide).

A state is a deep copy of moto's backend and of what a World adds to it, so states are kept only while somebody wants
stale answers, from the moment that they are first wanted.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.ec2.world import World

State = tuple[dict[str, Any], ...]


class Past:
    """
    The states of one world; all of it runs under the endpoint's lock.

    `wanted` says how many seconds back states must be known; None if none need be.
    """

    def __init__(self, world: World, wanted: Callable[[], float | None]) -> None:
        self._world = world
        self._wanted = wanted
        self._states: deque[tuple[float, State]] = deque()

    def note(self) -> None:
        """Remember the state as it is from now on; to be called after every change."""
        seconds = self._wanted()
        if seconds is None:
            self._states.clear()
            return
        now = time.monotonic()
        self._states.append((now, self._world.copy_state()))
        while len(self._states) > 1 and self._states[1][0] <= now - seconds:
            self._states.popleft()

    @contextmanager
    def as_of(self, seconds: float) -> Iterator[None]:
        """In the block the world is as it was so many seconds ago, or, if later, when the past was first wanted."""
        at = time.monotonic() - seconds
        past = [state for since, state in self._states if since <= at] or [state for _, state in self._states][:1]
        present = self._world.state
        if past:
            self._world.state = past[-1]
        try:
            yield
        finally:
            self._world.state = present
