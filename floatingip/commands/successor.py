"""A node that could take the addresses: whether it can still obey an order, so that none is waited for in vain."""

from __future__ import annotations

from collections.abc import Callable

from floatingip.commands.deployment import Deployment
from floatingip.commands.observers import Observers
from floatingip.core.errors import CloudError

LASTS = 5.0
"""Seconds for which a node must have been unable to obey: it may take back that it ends, and EC2 errs at times."""

ASKED_EVERY = 5.0
"""Seconds between two questions: for the state of a silent node's instance, or why an observer is not ready."""


class Successor:
    """The instance ``to``, as its observer tells of it, or EC2 while its observer is silent; ``say`` is called with why
    it is not ready, None to say nothing.
    """

    def __init__(
        self,
        ours: Deployment,
        observers: Observers,
        to: str,
        say: Callable[[str], None] | None,
        now: Callable[[], float],
    ) -> None:
        self._cloud = ours.cloud
        self._observers = observers
        self.to = to
        self._say = say
        self._now = now
        self._ask_at = now() + ASKED_EVERY
        self._why, self._since = "", now()
        self._lacks = ""

    def gone(self) -> str:
        """Why it will not take the address any more, once that has lasted for a while; empty if it may."""
        status, asks = self._observers.heard.get(self.to), self._now() >= self._ask_at
        why = self._why
        if status is not None:
            why = "its node is about to end" if status.leaving and not status.claiming else ""
        elif asks:
            why = self._ended()
        if asks:
            self._ask_at = self._now() + ASKED_EVERY
            if status is not None and not status.leaving and self._say is not None:
                self._tell(self._observers.not_ready(self.to), self._say)
        if why != self._why:
            self._why, self._since = why, self._now()
        return why if self._now() - self._since >= LASTS else ""

    def _ended(self) -> str:
        """What EC2 says of its instance if that has ended; empty if it has not, or EC2 does not show it."""
        try:
            shown = self._cloud.describe_instances(frozenset((self.to,))).get(self.to)
        except CloudError:
            return self._why
        if shown is None or not shown.state.announces_death:
            return ""
        return f"EC2 says that its instance is {shown.state}"

    def _tell(self, lacks: str, say: Callable[[str], None]) -> None:
        """Say why it is not ready, and wait on: this may pass, and then it obeys."""
        if lacks and lacks != self._lacks:
            say(f"{self._observers.nodes.get(self.to, self.to)}: its observer is not ready: {lacks}")
        self._lacks = lacks
