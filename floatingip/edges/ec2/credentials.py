"""
Keep the credentials for AWS: found as soon as there are some, and renewed before they end, beside the calls that need
them.

A part of ``ec2``.  The SDK looks for credentials only once, and renews them within whatever call comes next, with its
own timeouts.  So a pod that starts before its role exists would never get any, and an STS that hangs would hold up
EC2's answers while the credentials are still good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from floatingip.core.errors import CloudUnavailable, NoCredentials
from floatingip.edges import background
from floatingip.edges.ec2.asking import Asking

AHEAD = 900.0
"""Seconds before their end at which credentials are renewed, as in the SDK."""

AGAIN_AFTER, RENEWED_AGAIN_AFTER = 2.0, 30.0
"""Seconds between two tries to get credentials: while there are none, and while the present ones are still good."""

WAITED_FOR = 4.0
"""Seconds for which a call waits for credentials: a little less than it has, so that it can say what is missing."""

BESIDE_AFTER, GIVEN_UP_AFTER = 4.0, 20.0
"""Seconds after which a second try is begun beside one that hangs, and after which both are given up."""

Keys_co = TypeVar("Keys_co", covariant=True)


class Found(Protocol[Keys_co]):
    """Credentials that were found."""

    @property
    def keys(self) -> Keys_co:
        """What requests are signed with."""

    def lasts(self, seconds: float) -> bool:
        """Whether they will still be good after so many seconds."""


class Keeper(Generic[Keys_co]):
    """Keeps credentials, if there are any; its methods may be called from any thread.

    ``find`` gets new ones; it may block, and raises ``CloudUnavailable`` with the cause and a hint.  ``found`` are
    those to begin with, None for none.
    """

    def __init__(self, find: Callable[[], Found[Keys_co]], found: Found[Keys_co] | None = None) -> None:
        self._find = find
        self._asking = Asking(GIVEN_UP_AFTER, GIVEN_UP_AFTER, BESIDE_AFTER)
        self._news = threading.Condition()
        self._found = found
        self._finding = False
        self._failure: CloudUnavailable = NoCredentials("no AWS credentials yet: what gives them out does not answer")
        self._tried_at = float("-inf")

    def keys(self) -> Keys_co:
        """The present credentials; without good ones, wait for a try to get some.  Raises ``CloudUnavailable``."""
        with self._news:
            if not self._finding and (self._found is None or not self._found.lasts(AHEAD)):
                self._begin()
            if self._good() is None:
                self._news.wait_for(lambda: not self._finding, WAITED_FOR)
            good = self._good()
            if good is None:
                raise self._failure
            return good.keys

    def refused(self) -> None:
        """AWS does not accept the present ones: look for others, unless that has just been done."""
        with self._news:
            if time.monotonic() - self._tried_at >= AGAIN_AFTER:
                self._found = None

    def _good(self) -> Found[Keys_co] | None:
        return self._found if self._found is not None and self._found.lasts(0) else None

    def _begin(self) -> None:
        now = time.monotonic()
        if now - self._tried_at < (AGAIN_AFTER if self._good() is None else RENEWED_AGAIN_AFTER):
            return
        self._tried_at = now
        self._finding = True
        background.start("credentials", self._renew)

    def _renew(self) -> None:
        found, failure = None, self._failure
        try:
            found = self._asking.ask("AWS credentials", self._find, repeatable=True)
        except CloudUnavailable as error:
            failure = error
        with self._news:
            self._found, self._failure = found or self._found, failure
            self._finding = False
            self._news.notify_all()
