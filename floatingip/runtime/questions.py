"""Ask IMDS, the API server and the ConfigMap's files again and again, each from a thread of its own.

What they answer is posted to the agent as events.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from floatingip.agent.events import AddressesShown, MetadataTroubled, Noticed, PodShown, Post, SettingsFound
from floatingip.core import timing
from floatingip.core.errors import ConfigurationError, MetadataError
from floatingip.core.ports import Metadata, Orders
from floatingip.core.settings import Settings
from floatingip.edges import background, clock


class MetadataLoop:
    """Asks IMDS: every second for the addresses of the interfaces whose MACs are ``macs()``, now and then for notices.

    An error does not stop the other questions.
    """

    def __init__(self, metadata: Metadata, macs: Callable[[], frozenset[str]], post: Post) -> None:
        self._metadata = metadata
        self._macs = macs
        self._post = post
        self._notice_at = float("-inf")
        self._hurried = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        background.start("imds", self._run)

    def hurry(self) -> None:
        """Have notices asked for now; called by the deciding thread."""
        self._hurried.set()

    def ask(self, now: float) -> None:
        """Ask everything that is due now."""
        if self._hurried.is_set():
            # Cleared before any question, as in `PodLoop`: a wish that comes meanwhile needs a later question.
            self._hurried.clear()
            self._notice_at = float("-inf")
        for mac in self._macs():
            try:
                self._post(AddressesShown(mac, self._metadata.addresses_of(mac), now))
            except MetadataError as error:
                self._post(MetadataTroubled(str(error)))
        if now >= self._notice_at:
            self._notice_at = now + timing.NOTICE_EVERY
            try:
                self._post(Noticed(self._metadata.notice(), now))
            except MetadataError as error:
                self._post(MetadataTroubled(str(error)))

    def _run(self) -> None:
        while True:
            began = clock.now()
            self.ask(began)
            self._hurried.wait(max(0.0, began + timing.METADATA_EVERY - clock.now()))


class PodLoop:
    """Asks the API server about this pod again and again."""

    def __init__(self, orders: Orders, post: Post) -> None:
        self._orders = orders
        self._post = post
        self._every = float("inf")
        self._wake = threading.Event()

    def ask(self, *, every: float) -> None:
        """From now on ask every ``every`` seconds, and at once if that is more often; called by the deciding thread."""
        before, self._every = self._every, every
        if before == float("inf"):
            background.start("pod", self._run)
        elif every < before:
            self._wake.set()

    def _run(self) -> None:
        while True:
            # Cleared before the question: a wish that comes while it is under way needs a later question.
            self._wake.clear()
            began = clock.now()
            self._post(PodShown(self._orders.own_pod()))
            self._wake.wait(max(0.0, began + self._every - clock.now()))


class SettingsLoop:
    """Looks now and then whether the settings have changed (``changed``)."""

    def __init__(self, changed: Callable[[], Settings | None], post: Post) -> None:
        self._changed = changed
        self._post = post

    def start(self) -> None:
        """Begin to look."""
        background.start("settings", self._run)

    def look(self) -> None:
        """Look once."""
        try:
            settings = self._changed()
        except ConfigurationError as error:
            self._post(SettingsFound(None, str(error)))
        else:
            if settings is not None:
                self._post(SettingsFound(settings))

    def _run(self) -> None:
        while True:
            time.sleep(timing.SETTINGS_EVERY)
            self.look()
