"""
Keep the credentials for AWS: find them as soon as there are some, and renew them before they expire, in the background.

A part of ``ec2``.  The SDK itself looks for credentials only once, and renews them within the next call, with its own
timeouts.  With that, a pod that starts before its role exists would never get any, and an STS that hangs would delay
EC2's answers while the credentials are still good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from floatingip.core.errors import CloudUnavailable, NoCredentials
from floatingip.edges import background, clock
from floatingip.edges.ec2.asking import Asking

AHEAD = 900.0
"""Seconds before they expire at which credentials are renewed, as in the SDK."""

AGAIN_AFTER, RENEWED_AGAIN_AFTER = 2.0, 30.0
"""Seconds between two tries to get credentials: while there are none, and while the present ones are still good."""

DOUBTED_AFTER = 60.0
"""Seconds after the last search for credentials after which a denial is a reason to search again: the node or the pod's
service account may have got another role since, and credentials of the former role are good for up to six hours.
"""

WAITED_FOR, REPLACED_WITHIN = 4.0, 1.0
"""Seconds for which a question waits for credentials: if there are none, a little less than the question may take, so
that its error can name the cause; if the present ones were refused, counted from when the search for others began."""

BESIDE_AFTER, GIVEN_UP_AFTER = 4.0, 20.0
"""Seconds after which a second search begins beside one that hangs, and after which both are given up."""

FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
"""The files with profiles, by the variables that may name other ones."""

Keys_co = TypeVar("Keys_co", covariant=True)


def may_be_a_persons(environment: Mapping[str, str]) -> bool:
    """Whether there is a file with profiles, as on a person's machine; in a pod there is none.

    This is found out without the SDK, which takes a while to load.
    """
    with suppress(RuntimeError, OSError):  # There is no home directory, or it is another user's.
        return any(Path(environment.get(key) or file).expanduser().exists() for key, file in FILES.items())
    return False


class Found(Protocol[Keys_co]):
    """Credentials that were found."""

    @property
    def keys(self) -> Keys_co:
        """What requests are signed with."""

    def lasts(self, seconds: float) -> bool:
        """Whether the credentials will still be good after ``seconds``."""


class Keeper(Generic[Keys_co]):
    """Keeps credentials, if there are any; its methods may be called from any thread.

    ``find`` gets new ones; it may block, and raises ``NoCredentials`` with the cause and a hint.  ``found`` are the
    credentials to begin with, None if there are none.  ``hint`` says what to do if a search does not end.
    """

    def __init__(self, find: Callable[[], Found[Keys_co]], found: Found[Keys_co] | None = None, hint: str = "") -> None:
        self._find = find
        self._asking = Asking(GIVEN_UP_AFTER, GIVEN_UP_AFTER, BESIDE_AFTER)
        self._news = threading.Condition()
        self._found = found
        self._refused = self._doubted = self._finding = False
        self._hint = hint
        self._failure = self._silence()
        self._tried_at = float("-inf")

    def keys(self) -> Keys_co:
        """The present credentials; if they are not good, wait for a search.  Raises ``CloudUnavailable``."""
        with self._news:
            if self._refused or self._doubted or self._found is None or not self._found.lasts(AHEAD):
                self._begin()
            wait = WAITED_FOR
            if self._good() is not None:
                wait = self._tried_at + REPLACED_WITHIN - clock.now() if self._refused else 0.0
            self._news.wait_for(lambda: not self._finding, wait)
            good = self._good()
            if good is None:
                raise self._failure
            return good.keys

    def refused(self) -> None:
        """AWS does not accept the present credentials: look for others, unless that has just been done.

        Until there are others they are still used: the fault may be AWS', or AWS may not know them yet.
        """
        with self._news:
            if clock.now() - self._tried_at >= AGAIN_AFTER:
                self._refused = True

    def doubted(self) -> None:
        """AWS accepts the credentials, but denied a call: look for others now and then, in the background."""
        with self._news:
            if clock.now() - self._tried_at >= DOUBTED_AFTER:
                self._doubted = True

    def _silence(self) -> NoCredentials:
        return NoCredentials("no AWS credentials: what gives them out does not answer", self._hint)

    def _good(self) -> Found[Keys_co] | None:
        return self._found if self._found is not None and self._found.lasts(0) else None

    def _begin(self) -> None:
        now, is_urgent = clock.now(), self._refused or self._good() is None
        if self._finding or now - self._tried_at < (AGAIN_AFTER if is_urgent else RENEWED_AGAIN_AFTER):
            return
        self._tried_at = now
        try:
            background.start("credentials", self._renew)
        except RuntimeError as error:  # The system allows no more threads.
            self._failure = NoCredentials(f"no AWS credentials: not looked for: {error}")
        else:
            self._finding = True

    def _renew(self) -> None:
        found, failure = None, self._failure
        try:
            found = self._asking.ask("AWS credentials", self._find, repeatable=True)
        except NoCredentials as error:
            failure = error
        except CloudUnavailable:
            failure = self._silence()
        with self._news:
            if found is not None:
                self._found, self._refused, self._doubted = found, False, False
            self._failure, self._finding = failure, False
            self._news.notify_all()
