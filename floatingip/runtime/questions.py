"""Asks IMDS and the API server again and again, each from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from floatingip.core.errors import MetadataError
from floatingip.core.model import Address, Notice, OwnPod
from floatingip.core.ports import Metadata, Orders
from floatingip.edges import background

METADATA_EVERY = 1.0
"""Seconds between two questions to IMDS whether the address is still here."""

NOTICE_EVERY = 5.0
"""Seconds between two questions to IMDS for notices; the shortest of them, spot's, comes two minutes ahead."""

METADATA_CALM = 12.0
"""Seconds without an error after which IMDS counts as well: it was asked for notices twice."""


class MetadataLoop:
    """Asks IMDS, every second what addresses the interfaces with ``macs()`` have, and now and then for notices.

    ``found`` gets each answer, by MAC and with the time it was asked at: None for an interface that IMDS does not show.
    Errors are no answers, and none keeps another question from being asked.  Each is told once by ``failed``, and by
    ``recovered`` that there have been none for a while; after that, what fails is told anew.
    """

    def __init__(
        self,
        metadata: Metadata,
        macs: Callable[[], frozenset[str]],
        found: Callable[[str, frozenset[Address] | None, float], None],
        noticed: Callable[[Notice | None], None],
        failed: Callable[[MetadataError], None],
        recovered: Callable[[], None],
    ) -> None:
        self._metadata = metadata
        self._macs = macs
        self._found = found
        self._noticed = noticed
        self._failed = failed
        self._recovered = recovered
        self._told: set[str] = set()
        self._failed_at = float("-inf")

    def start(self) -> None:
        """Begin to ask."""
        background.start("imds", self._run)

    def complain(self, error: MetadataError) -> None:
        """Tell of an error of IMDS, unless that was told already; for any thread."""
        self._failed_at = time.monotonic()
        if str(error) not in self._told:
            self._told.add(str(error))
            self._failed(error)

    def _run(self) -> None:
        notice_at = float("-inf")
        while True:
            began = time.monotonic()
            for mac in self._macs():
                self._ask_addresses(mac)
            if began >= notice_at:
                notice_at = began + NOTICE_EVERY
                self._ask_notice()
            if self._told and time.monotonic() - self._failed_at >= METADATA_CALM:
                self._told.clear()
                self._recovered()
            time.sleep(max(0.0, began + METADATA_EVERY - time.monotonic()))

    def _ask_addresses(self, mac: str) -> None:
        asked_at = time.monotonic()
        try:
            self._found(mac, self._metadata.addresses_of(mac), asked_at)
        except MetadataError as error:
            self.complain(error)

    def _ask_notice(self) -> None:
        try:
            self._noticed(self._metadata.notice())
        except MetadataError as error:
            self.complain(error)


class PodLoop:
    """Asks the API server about the own pod again and again; ``found`` gets each answer."""

    def __init__(self, orders: Orders, found: Callable[[OwnPod], None]) -> None:
        self._orders = orders
        self._found = found
        self._every = float("inf")
        self._wake = threading.Event()

    def ask(self, *, every: float) -> None:
        """From now on ask every so many seconds, and at once when that is more often; for the deciding thread."""
        before, self._every = self._every, every
        if before == float("inf"):
            background.start("pod", self._run)
        elif every < before:
            self._wake.set()

    def _run(self) -> None:
        while True:
            # Cleared before the question: who asks for more while it is under way wants one that is asked later.
            self._wake.clear()
            began = time.monotonic()
            self._found(self._orders.own_pod())
            self._wake.wait(max(0.0, began + self._every - time.monotonic()))
