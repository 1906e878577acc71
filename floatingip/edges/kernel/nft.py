"""
Run the command nft, within a deadline, and read what it lists.

Only this module and mark_table.py know nft's JSON.  An nft process that does not end is killed, but never waited for.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from floatingip.core.errors import HostError

NFT_SECONDS = 5.0
"""Seconds that one run of nft may take before it is killed; it usually takes 5 ms."""

NFT_BYTES = 1 << 20
"""Bytes that are read of nft's output before it is killed; our table has 3 kB."""

NFT_MEMORY = 48 << 20
"""Bytes that nft may take to list what others have: `NFT_BYTES` of output take 30 MiB.  The rules of 10,000 Services
take 500, and the kernel would end all of the container, observer and all.  (What is of ours takes 35 then.)
"""

KILLED_AT_MOST = 3
"""While this many killed nft processes are stuck in the kernel, no other one is started."""

_NO_MEMORY = "Memory allocation failure"

_starting = threading.Lock()

Listing = list[Any]
"""The objects that nft lists, for example of one table or one set, without handles."""


class NftMissing(HostError):
    """There is no nft command."""


class NftSilent(HostError):
    """nft gave no answer."""


class NftTooLong(HostError):
    """nft's output is longer than `NFT_BYTES`, or takes more than `NFT_MEMORY`."""

    def __init__(self) -> None:
        super().__init__(f"nft lists more than {NFT_BYTES >> 20} MiB", "look through `nft list ruleset` yourself")


class Nft:
    """The command nft; runs one process at a time."""

    def __init__(self, command: str, *, in_bounds: bool = False) -> None:
        """``in_bounds``: it may take `NFT_MEMORY` at most."""
        self._command = command
        self._in_bounds = in_bounds
        self._killed: list[subprocess.Popen[bytes]] = []

    def bring_about(self, name: str, wanted: Listing | None) -> tuple[bool, str]:
        """Make the table as wanted (None: there should be none).

        Return whether it was changed, and why it is still not as wanted (empty if it is).  Raises HostError if nft does
        not tell how the table is.
        """
        try:
            there = self.list_table(name)
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
            if there is not None and os.strerror(errno.EPERM) in str(error):
                return False, f"another process owns the table inet {name}; end that one"
            return False, str(error)
        if self.list_table(name) != wanted:
            return False, "still not as they should be, though nft reported no error"
        return True, ""

    def list_table(self, name: str) -> Listing | None:
        """A table of family inet; None when there is none.  Raises HostError."""
        return _read(self._run("list", "table", "inet", name))

    def list_set(self, family: str, table: str, name: str) -> Listing | None:
        """A set; None when there is none.  Raises HostError."""
        return _read(self._run("list", "set", family, table, name))

    def list_chain(self, family: str, table: str, name: str) -> Listing | None:
        """A chain with its rules; empty if it is too long, None if there is none.  Raises HostError."""
        try:
            return _read(self._run("list", "chain", family, table, name))
        except NftTooLong:
            return []

    def list_ruleset(self, *table: str) -> Listing:
        """All tables of everybody, or one table, given by family and name.  Raises HostError, also `NftTooLong`."""
        answer = self._run("list", *(("table", *table) if table else ("ruleset",))) or ""
        if len(answer.encode()) > NFT_BYTES:
            raise NftTooLong
        entries = _entries(answer)
        if entries is None:
            raise HostError("nft's listing cannot be read", "look through `nft list ruleset` yourself")
        return _plain(entries)

    def _run(self, *arguments: str, script: str = "") -> str | None:
        """nft's output; None if the thing it is asked for does not exist.  Raises HostError with nft's first line."""
        self._killed = [process for process in self._killed if process.poll() is None]
        if len(self._killed) >= KILLED_AT_MOST:
            raise NftSilent(f"nft: {KILLED_AT_MOST} of them were killed, and have not ended yet")
        process = self._start("-j", *arguments)
        try:
            output, errors, code = _finish(process, script.encode())
        except OSError as error:
            raise HostError(f"nft: {error.strerror or error}") from error
        finally:
            self._let_go(process)
        if code == 0:
            return output
        # It aborts where a library of its own got no memory.
        if code == -signal.SIGABRT or _NO_MEMORY in errors:
            raise NftTooLong
        if code < 0:
            raise NftSilent(f"nft: ended by signal {-code}")
        line = (errors.strip().splitlines() or [f"exit code {code}"])[0][:200]
        if not script and os.strerror(errno.ENOENT) in line:
            return None
        raise HostError(f"nft: {line}")

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        try:
            with _by_fork():
                process = subprocess.Popen(
                    [self._command, *arguments],
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
        if self._in_bounds:
            with contextlib.suppress(OSError):  # A profile of seccomp's may forbid it.
                resource.prlimit(process.pid, resource.RLIMIT_DATA, (NFT_MEMORY, NFT_MEMORY))
        return process

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process and its children if it still runs, but do not wait: the kernel may not let it end."""
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._killed.append(process)


@contextlib.contextmanager
def _by_fork() -> Iterator[None]:
    """Start a process by fork: with vfork all threads of this process would stand still until nft begins to run, which
    takes seconds on a node whose kernel is busy with a big ruleset.

    It is switched back at once: other code that starts programs keeps vfork, which copies no page tables.
    """
    # Python's documentation names this switch, which its type stubs call final.
    with _starting:
        subprocess._USE_VFORK = False  # type: ignore[misc]
        try:
            yield
        finally:
            subprocess._USE_VFORK = True  # type: ignore[misc]


def _finish(process: subprocess.Popen[bytes], script: bytes) -> tuple[str, str, int]:
    """The output on stdout and stderr, and the exit code; output that is too long is cut, and so is no JSON."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    deadline = time.monotonic() + NFT_SECONDS
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(script)  # It fits into the pipe, so this does not block.
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


def _entries(answer: str) -> list[Any] | None:
    """All that nft lists, including its version; None if the answer is no listing."""
    try:
        listing = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    entries = listing.get("nftables") if isinstance(listing, dict) else None
    return entries if isinstance(entries, list) else None


def _read(answer: str | None) -> Listing | None:
    """A table as nft lists it, without handles and with links as indexes; None if there is no such table.

    If the answer is no listing, the result is empty, which equals no wanted table.  (nft 1.0.6 prints uninitialised
    memory for a table's flags, which may be no JSON.)
    """
    return None if answer is None else _plain(_entries(answer) or [])


def _plain(entries: list[Any]) -> Listing:
    """The objects that nft lists, without its version and handles, and with links as indexes."""
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
    """Replace a link's name by its index.  For `iif` nft shows the link's present name, which may be a number; for a
    link that is gone it shows the index as a string.
    """
    match = expression.get("match") if isinstance(expression, dict) else None
    if isinstance(match, dict) and match.get("left") == {"meta": {"key": "iif"}}:
        shown = str(match.get("right"))
        try:
            match["right"] = socket.if_nametoindex(shown)
        except (OSError, ValueError):
            if shown.isdecimal():  # Otherwise it stays, and so differs from what is wanted.
                match["right"] = int(shown)
