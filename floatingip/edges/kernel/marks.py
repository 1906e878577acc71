"""
Keep the nft tables that make the marks, beside the rest of the plumbing, such that no caller waits for nft for long.

nft is a command, and the kernel takes one transaction after the other: while kube-proxy loads a big ruleset, nft stands
still for half a minute, and cannot even be killed.  So a thread of this module runs nft, one process at a time, and
meanwhile nft's last answer counts.  That answer holds until something touches the table, which the kernel tells
(:meth:`Marks.touched`).  That nft is silent proves nothing.

If there is no nft command there are no marks, since nothing else makes them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from floatingip.core.errors import HostError
from floatingip.edges import background
from floatingip.edges.kernel import kube_proxy
from floatingip.edges.kernel.nft import Listing, Nft, NftSilent

PATIENCE = 0.5
"""Seconds for which a caller waits for nft.  Once nft was slower, no caller waits until it has answered fast again."""

UNKNOWN_FOR = 45.0
"""Seconds for which marks may be unknown while nft is silent, before they count as missing: kube-proxy's sync of 4,000
Services kept nft silent for 35 s.
"""

ASKED_AGAIN_AFTER = 0.9
"""Seconds until nft is asked again after it was silent, or refused something."""

BELIEVED_FOR = 10.0
"""Seconds until nft is asked again although nothing has touched the table."""

LOOKS_AT_MOST = 3
"""How often nft is asked in a row while something, such as our own change, touches the table meanwhile."""

NODE_PORTS_BELIEVED_FOR = 10.0
"""Seconds until nft is asked again for the addresses at which kube-proxy serves NodePorts."""


class Known(Enum):
    """What is known of a table: it is as it should be, it is not, or that is not known."""

    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a table; `changed`: nft has changed it since the last verdict; `problem` is for the user."""

    known: Known
    changed: bool = False
    problem: str = ""


@dataclass
class _Table:
    """One table.  `wanted` is how nft should list it; None: there should be no such table.

    `unknown_since` is since when the table's state has not been known: something touched it, or it was wanted anew, and
    nft has not answered since; None if it is known.  `touched_at` is when something last touched it, `asked_at` when
    nft was last asked; `looks_due` is how often nft may still be asked in a row.  `ever_known`: the table was once as
    wanted.  `changed`: nft has changed it since the last verdict.  `refusal` is nft's error if it could not make the
    table as wanted.  `silence` says why nft did not answer the last time, and `silent_since` is since when it has not.
    `needs_hands`: waiting will not help.
    """

    wanted: Listing | None
    unknown_since: float | None
    touched_at: float = float("-inf")
    asked_at: float = float("-inf")
    looks_due: int = 0
    ever_known: bool = False
    changed: bool = False
    refusal: str = ""
    silence: str = ""
    silent_since: float | None = None
    needs_hands: bool = False

    def should_be_asked(self, now: float) -> bool:
        """Whether nft's last answer is too old, or something has touched the table since nft was asked."""
        if self.touched_at > self.asked_at:
            return True
        settled = self.unknown_since is None and not self.refusal and not self.silence
        return now - self.asked_at >= (BELIEVED_FOR if settled else ASKED_AGAIN_AFTER)

    def answered(self, asked_at: float, refusal: str = "", *, changed: bool = False) -> None:
        """nft has answered: the table is as wanted, or (``refusal``) nft refuses to make it so."""
        self.refusal, self.silence, self.silent_since = refusal, "", None
        self.changed = self.changed or changed
        if not refusal:
            self.ever_known = True
            self.unknown_since = self.touched_at if self.touched_at > asked_at else None

    def unanswered(self, now: float, error: HostError) -> None:
        """nft has not answered."""
        self.silence, self.needs_hands = str(error), not isinstance(error, NftSilent)
        self.silent_since = now if self.silent_since is None else self.silent_since

    def verdict(self, now: float) -> Verdict:
        """What is known by now."""
        changed, self.changed = self.changed, False
        if self.refusal:
            return Verdict(Known.NOT_AS_WANTED, changed, self.refusal)
        silence = self.silence or "nft has not answered yet"
        if self.unknown_since is None:
            lasting = self.silent_since is not None and now - self.silent_since > UNKNOWN_FOR
            return Verdict(Known.AS_WANTED, changed, f"{silence}; nothing has touched them since" if lasting else "")
        hopeless = self.needs_hands and not self.ever_known
        if hopeless or now - self.unknown_since > UNKNOWN_FOR:
            return Verdict(Known.NOT_AS_WANTED, changed, silence)
        return Verdict(Known.UNKNOWN, changed, silence)


class Marks:
    """The nft tables of family inet, by name.

    `touched` may be called from any thread, everything else from one, in whose network namespace nft runs.
    """

    def __init__(self, nft: str) -> None:
        """`nft`: the command's name or path."""
        self._nft = Nft(nft)
        self._tables: dict[str, _Table] = {}
        self._told = threading.Condition()
        self._works = self._awaited = self._slow = False
        self._node_ports_due: set[int] = set()
        self._node_ports_at: dict[int, frozenset[str] | None] = {}
        self._node_ports_asked_at: dict[int, float] = {}
        self._wake: Callable[[], None] | None = None

    def follow(self, wake: Callable[[], None]) -> None:
        """From now on `touched` is called for each change, and ``wake`` is to be called for each unawaited answer."""
        self._wake = wake
        self.touched(None)

    def touched(self, names: Collection[str] | None) -> None:
        """Something has touched these tables; None: perhaps any, since events were lost."""
        with self._told:
            now = time.monotonic()
            for name, table in self._tables.items():
                if names is None or name in names:
                    table.touched_at = now
                    table.unknown_since = now if table.unknown_since is None else table.unknown_since

    def want(self, name: str, wanted: Listing | None) -> None:
        """Begin to make the table as wanted, unless it is known to be so.  Never waits."""
        with self._told:
            now, table = time.monotonic(), self._tables.get(name)
            if table is None or table.wanted != wanted:
                table = self._tables[name] = _Table(wanted, now)
            if not table.looks_due and (self._wake is None or table.should_be_asked(now)):
                table.looks_due = LOOKS_AT_MOST
            if not table.looks_due or self._works:
                return
            try:
                self._begin()
            except RuntimeError as error:
                table.unanswered(now, HostError(f"nft: {error}"))

    def _begin(self) -> None:
        """Start the thread that runs nft.  Raises RuntimeError if there can be no more threads."""
        background.start("nft", self._work)
        self._works = True

    def node_ports_at(self, version: int) -> frozenset[str] | None:
        """The addresses of this IP version at which kube-proxy serves NodePorts; None: at all, or it is not known.

        The first call waits for a moment.
        """
        with self._told:
            now = time.monotonic()
            if now - self._node_ports_asked_at.get(version, float("-inf")) >= NODE_PORTS_BELIEVED_FOR:
                self._node_ports_due.add(version)
                self._node_ports_asked_at[version] = now
                if not self._works:
                    with contextlib.suppress(RuntimeError):  # No thread can be started: the next call tries again.
                        self._begin()
                if version not in self._node_ports_at and not self._slow:
                    self._told.wait_for(lambda: version in self._node_ports_at, PATIENCE)
            return self._node_ports_at.get(version)

    def verdict(self, name: str) -> Verdict:
        """What is known of a table that is wanted, after a moment of patience."""
        with self._told:
            table = self._tables[name]
            if table.looks_due and self._works and not self._slow:
                self._awaited = True
                self._slow = not self._told.wait_for(lambda: not table.looks_due, PATIENCE)
                self._awaited = False
            return table.verdict(time.monotonic())

    def _work(self) -> None:
        while True:
            with self._told:
                due = [name for name, table in self._tables.items() if table.looks_due]
                version = self._node_ports_due.pop() if self._node_ports_due and not due else None
                if not due and version is None:
                    self._works = False
                    return
            if version is not None:
                self._ask_node_ports(version)
                continue
            with self._told:
                name = min(due, key=lambda name: self._tables[name].asked_at)
                table = self._tables[name]
                table.asked_at = asked_at = time.monotonic()
                wanted = table.wanted
            changed, refusal, silence = False, "", None
            try:
                changed, refusal = self._nft.bring_about(name, wanted)
            except HostError as error:
                silence = error
            with self._told:
                if silence is None:
                    table.answered(asked_at, refusal, changed=changed)
                else:
                    table.unanswered(time.monotonic(), silence)
                table.looks_due = table.looks_due - 1 if silence is None and table.touched_at > asked_at else 0
                self._slow = self._slow and time.monotonic() - asked_at > PATIENCE
                self._told.notify_all()
                wake = None if self._awaited else self._wake
            if wake is not None:
                wake()

    def _ask_node_ports(self, version: int) -> None:
        found: frozenset[str] | None
        try:
            found = kube_proxy.node_ports_at(self._nft, version)
        except HostError:
            found = self._node_ports_at.get(version)  # The old answer is still the best that is known.
        with self._told:
            is_news = self._node_ports_at.get(version) != found
            self._node_ports_at[version] = found
            self._told.notify_all()
            wake = self._wake if is_news else None
        if wake is not None:
            wake()
