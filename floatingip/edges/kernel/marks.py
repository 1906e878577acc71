"""
The marks' nft tables, kept beside the rest of the plumbing: whoever asks for them never waits long for nft.

nft is a command, and the kernel lets one transaction after the other in: while kube-proxy loads a big ruleset, nft
stands still for half a minute, and cannot even be killed.  So a thread of this module runs it, one at a time, and what
is known meanwhile is what it answered last.  Such an answer holds until something touches the table, which the kernel
tells (:meth:`Marks.doubt`); that nft is silent is no evidence of anything.

This is the only module that knows nft.  Without it there are no marks, since only nft makes them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from floatingip.core.errors import HostError
from floatingip.core.model import Address, Plumbing
from floatingip.edges import background

NFT_SECONDS = 5.0
"""How long one nft may take before it is killed; it usually takes 5 ms."""

NFT_BYTES = 1 << 20
"""How much of what nft prints is read before it is killed; our table is 3 kB."""

KILLED_AT_MOST = 3
"""How many killed nfts may be stuck in the kernel until no other one is started."""

PATIENCE = 0.5
"""Seconds for which whoever asks waits for nft; once it was slower nobody does, until it has answered again."""

UNKNOWN_FOR = 45.0
"""Seconds for which marks may be unknown, as nft is silent, before they count as missing: kube-proxy's sync of 4,000
Services kept nft silent for 35 s.
"""

ASKED_AGAIN_AFTER = 0.9
"""Seconds until nft is asked anew after it was silent, or refused something."""

BELIEVED_FOR = 10.0
"""Seconds for which an answer is not asked for again, while nothing touches the table."""

LOOKS_AT_MOST = 3
"""How often nft is asked in a row, when something has touched the table meanwhile, as bringing it about does."""

NODE_PORTS_BELIEVED_FOR = 10.0
"""Seconds for which it is not asked again at which addresses kube-proxy serves NodePorts."""

PREFIX = "floatingip_"
"""What the names of our tables, and of nobody else's, begin with."""

# By vfork all threads of this process would stand still until nft begins to run: for seconds on a node whose kernel is
# busy with a big ruleset.  Python's documentation names this switch, which its type stubs call final.
subprocess._USE_VFORK = False  # type: ignore[misc]

_Listing = list[Any]


class Known(Enum):
    """What is known of a table: it is as it should be, or not, or nobody knows."""

    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known; `changed`: it was brought about since the last verdict; `problem` is what to tell the user."""

    known: Known
    changed: bool = False
    problem: str = ""


@dataclass
class _Table:
    """One table.  `wanted` is how nft should list it; None: not at all.

    `unknown_since` is when something touched it, or it was wanted first, without an answer since; `touched_at` when
    something touched it last; `refusal` what nft answered when it could not be brought about.  `silence` says why there
    was no answer the last time, `silent_since` since when there has been none; `needs_hands`: waiting will not help.
    """

    wanted: _Listing | None
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
        """The last answer is too old, or speaks of a time before something touched the table."""
        if self.touched_at > self.asked_at:
            return True
        settled = self.unknown_since is None and not self.refusal and not self.silence
        return now - self.asked_at >= (BELIEVED_FOR if settled else ASKED_AGAIN_AFTER)

    def answered(self, asked_at: float, refusal: str = "", *, changed: bool = False) -> None:
        """nft has told how the table is."""
        self.refusal, self.silence, self.silent_since = refusal, "", None
        self.changed = self.changed or changed
        if not refusal:
            self.ever_known = True
            self.unknown_since = self.touched_at if self.touched_at > asked_at else None

    def unanswered(self, now: float, error: HostError) -> None:
        """nft has told nothing."""
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
    """Tables of family inet, by name.  `touched` is for any thread, all else for one; nft runs in the namespace of that
    one.
    """

    def __init__(self, nft: str) -> None:
        """`nft`: the command's name or path."""
        self._nft = _Nft(nft)
        self._tables: dict[str, _Table] = {}
        self._told = threading.Condition()
        self._works = self._awaited = self._slow = False
        self._node_ports_due: set[int] = set()
        self._node_ports_at: dict[int, frozenset[str] | None] = {}
        self._node_ports_asked_at: dict[int, float] = {}
        self._wake: Callable[[], None] | None = None

    def follow(self, wake: Callable[[], None]) -> None:
        """From now on `touched` is called for whatever touches a table; an answer nobody waits for calls `wake`."""
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

    def want(self, name: str, wanted: _Listing | None) -> None:
        """Begin to bring the table to this, unless it is known to be so.  Never waits."""
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
        """Raises RuntimeError when there can be no more threads."""
        background.start("nft", self._work)
        self._works = True

    def node_ports_at(self, version: int) -> frozenset[str] | None:
        """At which addresses of this IP version kube-proxy serves NodePorts, in nftables mode; None: at all, or nobody
        knows.  Waits for a moment the first time.
        """
        with self._told:
            now = time.monotonic()
            if now - self._node_ports_asked_at.get(version, float("-inf")) >= NODE_PORTS_BELIEVED_FOR:
                self._node_ports_due.add(version)
                self._node_ports_asked_at[version] = now
                if not self._works:
                    with contextlib.suppress(RuntimeError):  # then it is asked the next time
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
            found = self._nft.node_ports_at(version)
        except HostError:
            found = self._node_ports_at.get(version)  # still the best that is known
        with self._told:
            is_news = self._node_ports_at.get(version) != found
            self._node_ports_at[version] = found
            self._told.notify_all()
            wake = self._wake if is_news else None
        if wake is not None:
            wake()


class NftMissing(HostError):
    """There is no nft command."""


class NftSilent(HostError):
    """nft did not come to an answer."""


class _Nft:
    """The command: one at a time."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._killed: list[subprocess.Popen[bytes]] = []

    def bring_about(self, name: str, wanted: _Listing | None) -> tuple[bool, str]:
        """Whether the table had to be changed, and what nft answered if it is not as wanted all the same.

        Raises HostError when nft does not tell how the table is.
        """
        try:
            there = self._list(name)
        except NftMissing:
            if wanted is None:
                return False, ""
            raise
        if there == wanted:
            return False, ""
        table = {"table": {"family": "inet", "name": name}}
        # One transaction, so that no packet meets half of it.  Replacing takes the kernel 15 ms, adding 1 ms.
        commands = [{"add": table}, {"delete": table}] if there is not None else []
        commands += [{"add": entry} for entry in wanted or ()]
        try:
            self._run("-f", "-", script=json.dumps({"nftables": commands}))
        except NftSilent:
            raise
        except HostError as error:
            return False, str(error)
        if self._list(name) != wanted:
            return False, "still not as they should be, though nft reported no error"
        return True, ""

    def node_ports_at(self, version: int) -> frozenset[str] | None:
        """The addresses in the set by which kube-proxy in nftables mode serves NodePorts; it has none if it serves all
        (kubernetes, pkg/proxy/nftables/proxier.go).  Raises HostError.
        """
        family = "ip" if version == 4 else "ip6"
        for entry in _read(self._run("list", "set", family, "kube-proxy", "nodeport-ips")) or ():
            shown = entry.get("set") if isinstance(entry, dict) else None
            if isinstance(shown, dict) and shown.get("name") == "nodeport-ips":
                elements = shown.get("elem", [])
                is_plain = isinstance(elements, list) and all(isinstance(each, str) for each in elements)
                return frozenset(elements) if is_plain else None
        return None

    def _list(self, name: str) -> _Listing | None:
        return _read(self._run("list", "table", "inet", name))

    def _run(self, *arguments: str, script: str = "") -> str | None:
        """What nft prints; None when what it is asked for is not there.  Raises HostError with nft's first line."""
        self._killed = [process for process in self._killed if process.poll() is None]
        if len(self._killed) >= KILLED_AT_MOST:
            raise NftSilent(f"nft: {KILLED_AT_MOST} of them were killed, and have not ended yet")
        try:
            process = subprocess.Popen(
                [self._command, "-j", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError as error:
            raise NftMissing(f"{self._command}: command not found", "the image must contain nftables") from error
        except OSError as error:
            raise HostError(f"{self._command}: {error.strerror or error}") from error
        try:
            output, errors, code = _finish(process, script.encode())
        except OSError as error:
            raise HostError(f"nft: {error.strerror or error}") from error
        finally:
            self._let_go(process)
        if code == 0:
            return output
        if code < 0:
            raise NftSilent(f"nft: ended by signal {-code}")
        line = (errors.strip().splitlines() or [f"exit code {code}"])[0][:200]
        if not script and os.strerror(errno.ENOENT) in line:
            return None
        raise HostError(f"nft: {line}")

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it with all that it has started, if it goes on, but never wait for it: the kernel may not let it end."""
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._killed.append(process)


def _finish(process: subprocess.Popen[bytes], script: bytes) -> tuple[str, str, int]:
    """What it prints on both ways, and its exit code; of too much only the beginning, which is no JSON."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + NFT_SECONDS
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(script)  # less than a pipe holds
    process.stdin.close()
    printed = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    output, errors = printed.values()
    poll, awaited = select.poll(), set(printed)
    for file in awaited:
        poll.register(file, select.POLLIN)
    while awaited:
        if time.monotonic() >= deadline:
            raise NftSilent(f"nft: no answer within {NFT_SECONDS:g} s")
        for file, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            chunk = os.read(file, 65536)
            printed[file] += chunk
            if not chunk:
                poll.unregister(file)
                awaited.remove(file)
            if len(printed[file]) > NFT_BYTES:
                return output.decode(errors="replace"), "", 0
    try:
        code = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise NftSilent(f"nft: no answer within {NFT_SECONDS:g} s") from error
    return output.decode(errors="replace"), errors.decode(errors="replace"), code


def table_name(address: Address) -> str:
    """The nft table of a floating address, family inet."""
    return f"{PREFIX}{address.packed.hex()}"


def wanted_marks(plumbing: Plumbing, link_index: int) -> _Listing:
    """An address' own nft table in nft's JSON, as it is both added and listed.

    A connection whose first packets come in by our link to the address is marked in conntrack, before they are sent on
    to a pod; the mark is put on packets of the reply direction only, or the floating address would leak to remote pods
    as a source.  The output chain is for pods on the host's network; its type `route` makes the kernel route again
    after the mark.
    """
    name, mark, mask = table_name(plumbing.address), plumbing.mark, plumbing.mark_mask
    connection, packet = {"ct": {"key": "mark"}}, {"meta": {"key": "mark"}}

    def match(left: Any, right: Any) -> Any:
        return {"match": {"op": "==", "left": left, "right": right}}

    def add_mark(key: Any) -> Any:
        return {"mangle": {"key": key, "value": {"|": [key, mark]}}}

    def chain(hook: str, kind: str) -> Any:
        # Priority -150 (mangle): after conntrack at -200, before NAT at -100 and the routing decision.
        base = {"type": kind, "hook": hook, "prio": -150, "policy": "accept"}
        return {"chain": {"family": "inet", "table": name, "name": hook, **base}}

    def rule(hook: str, *expressions: Any) -> Any:
        return {"rule": {"family": "inet", "table": name, "chain": hook, "expr": list(expressions)}}

    direction = {"ct": {"key": "direction"}}
    family = "ip" if plumbing.address.version == 4 else "ip6"
    destination = {"payload": {"protocol": family, "field": "daddr"}}
    remember = (
        match({"meta": {"key": "iif"}}, link_index),
        match(destination, str(plumbing.address)),
        match(direction, "original"),
        add_mark(connection),
    )
    restore = match(direction, "reply"), match({"&": [connection, mask]}, mark), add_mark(packet)
    return [
        {"table": {"family": "inet", "name": name}},
        chain("prerouting", "filter"),
        chain("output", "route"),
        rule("prerouting", *remember),
        rule("prerouting", *restore),
        rule("output", *restore),
    ]


def _read(answer: str | None) -> _Listing | None:
    """A table as nft lists it, without handles and with links as indexes; None when there is none.

    What is no such listing is none of a table that anybody wants.  nft 1.0.6 prints what is in memory for a table's
    flags, which may be no JSON.
    """
    if answer is None:
        return None
    try:
        listing = json.loads(answer)
    except (ValueError, RecursionError):
        return []
    entries = listing.get("nftables") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        return []
    shown = [entry for entry in entries if not (isinstance(entry, dict) and "metainfo" in entry)]
    for entry in shown:
        for thing in entry.values() if isinstance(entry, dict) else ():
            if isinstance(thing, dict):
                thing.pop("handle", None)
                expressions = thing.get("expr")
                for expression in expressions if isinstance(expressions, list) else ():
                    _name_to_index(expression)
    return shown


def _name_to_index(expression: Any) -> None:
    """nft shows `iif` by the link's name of the moment, or by its index, as a string, when the link is gone."""
    match = expression.get("match") if isinstance(expression, dict) else None
    if isinstance(match, dict) and match.get("left") == {"meta": {"key": "iif"}}:
        shown = str(match.get("right"))
        with contextlib.suppress(OSError, ValueError):  # then it is not as wanted
            match["right"] = int(shown) if shown.isdecimal() else socket.if_nametoindex(shown)
