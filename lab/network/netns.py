"""
A named network namespace: commands, sockets, nftables and sysctls inside of it.

Needs a sandbox (sandbox.py), whose /run/netns holds the names.  Commands enter by `nsenter` or `ip -n`; functions of
this process run in a thread of their own that enters: a namespace belongs to a thread, and a socket keeps the namespace
in which it was made.  Namespaces are made and removed as `ip netns` does it, but without a process for each step.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

BACKLOG = 4096
"""Length of a listener's queue: with a short one connections wait until their SYN is repeated, which would look like an
outage.
"""

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(Exception):
    """A command inside of a namespace failed; the message says which one, where and why."""


class Namespace:
    """The network namespace `name`; nothing exists before `create()`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name

    def __repr__(self) -> str:
        return f"Namespace({self.name!r})"

    def create(self) -> None:
        """Make the namespace, with its loopback up.  Raises CommandFailed if the name is taken."""
        try:
            self.path.touch(exist_ok=False)
        except FileExistsError as error:
            raise CommandFailed(f"the namespace {self.name} is there already") from error

        def make() -> None:
            self._check(_libc.unshare(_CLONE_NEWNET))
            self._check(_libc.mount(b"/proc/thread-self/ns/net", os.fsencode(self.path), None, _MS_BIND, None))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                asked = struct.pack("16sh14x", b"lo", 0)
                (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked), 16)
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))

        try:
            _in_thread(self.name, make)
        except OSError:
            self.path.unlink()
            raise

    def delete(self) -> None:
        """Remove the name; every link and rule inside is gone once nothing runs there any more.  Idempotent."""
        _libc.umount2(os.fsencode(self.path), _MNT_DETACH)  # In vain where `create` was interrupted before the mount.
        self.path.unlink(missing_ok=True)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in here, for callers that start processes in their own way."""
        return ["nsenter", f"--net={self.path}", "--", *command]

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start `command` in here, with the `options` of subprocess.Popen; the process id is the command's own."""
        return subprocess.Popen(self.argv(command), text=True, **options)

    def run(self, command: Sequence[str], *, stdin: str = "") -> str:
        """Run `command` in here and return what it printed.  Raises CommandFailed."""
        return _run(self.argv(command), stdin)

    def ip(self, *commands: str) -> None:
        """Run `ip` commands ("link set lo up") in one batch; the first failure ends it.  Raises CommandFailed."""
        _run(["ip", "-n", self.name, "-batch", "-"], "\n".join(commands))

    def ip6(self, *commands: str) -> None:
        """The same by `ip -6`, for commands that do not show their family ("rule", "route flush").  Raises
        CommandFailed.
        """
        _run(["ip", "-n", self.name, "-6", "-batch", "-"], "\n".join(commands))

    def show(self, command: str) -> list[dict[str, Any]]:
        """What `ip` answers to "address show dev eth0" or "-6 rule show", as data.  Raises CommandFailed."""
        answer: list[dict[str, Any]] = json.loads(_run(["ip", "-n", self.name, "-json", *command.split()]) or "[]")
        return answer

    def nft(self, script: str) -> None:
        """Apply an nftables script as one transaction.  Raises CommandFailed."""
        self.run(["nft", "-f", "-"], stdin=script)

    def sysctl(self, values: Mapping[str, int]) -> None:
        """Set sysctls below net, named by their path: {"ipv4/ip_forward": 1}."""

        def write() -> None:
            for key, value in values.items():
                Path("/proc/sys/net", key).write_text(str(value))

        self.call(write)

    def listen(self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket in here, bound, and listening if it is a stream; every thread may use it.  Raises OSError."""

        def bind() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.socket(family, kind)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    # "::" means only IPv6: IPv4 has a socket of its own.
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, port))
                if kind == socket.SOCK_STREAM:
                    listener.listen(BACKLOG)
            except OSError:
                listener.close()
                raise
            return listener

        return self.call(bind)

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread of its own that is in here; return its result, or raise its exception."""

        def enter() -> T:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._check(_libc.setns(handle, _CLONE_NEWNET))
            finally:
                os.close(handle)
            return function()

        return _in_thread(self.name, enter)

    def _check(self, answer: int) -> None:
        """Raise OSError if a function of the C library has failed."""
        if answer:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self.path))


def _in_thread(name: str, function: Callable[[], T]) -> T:
    """Run `function` in a thread of its own; return its result, or raise its exception."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as error:  # noqa: BLE001 - not swallowed: raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name=f"in-{name}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def _run(command: Sequence[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip()}\n{stdin}".strip())
    return done.stdout
