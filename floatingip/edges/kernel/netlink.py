"""
The kernel's netlink (rtnetlink and nftables') as far as this package needs it: a request and its whole answer within a
deadline, or an OSError.

It is written by hand, since that takes less code than guarding a library would: nothing is left unread, nothing waits
for ever, and every reply of the kernel is an answer or an OSError.  Numbers and layouts are those of linux/netlink.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from floatingip.core.errors import HostError

ANSWER_WITHIN = 2.0
"""Seconds within which the kernel must have answered a request: it usually takes less than a millisecond."""

DUMPS = 5
"""How often a dump is tried: the kernel marks it as interrupted if something changes meanwhile."""

ADD = 0x600
"""Flags of a request (NLM_F_CREATE | NLM_F_EXCL): add; fail if it is there already."""

NETFILTER = 12
"""The protocol of nft's netlink, beside rtnetlink's."""

REPLACE = 0x500
"""Flags of a request (NLM_F_CREATE | NLM_F_REPLACE): add; change it if it is there already."""

_REQUEST = 0x1
_ACK = 0x4
_DUMP_INTERRUPTED = 0x10
_DUMP = 0x300

_ERROR = 2
_DONE = 3

# Errors by which there was no answer, or nothing was even asked as the node is short of files or memory.
_NO_ANSWER = frozenset({errno.ETIMEDOUT, errno.EINTR, errno.ENOBUFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_HEADER = struct.Struct("=IHHII")
_SOL_NETLINK = 270
_GET_STRICT_CHECK = 12
_BUFFER = 65536


@dataclass(frozen=True, slots=True)
class Message:
    """One answer.  `content` is all of it without the netlink header: sent back, it deletes what it shows.
    `attributes` has the attributes by type, still packed.
    """

    content: bytes
    attributes: Mapping[int, bytes]

    def number(self, kind: int) -> int | None:
        """The value of an attribute of 32 bits; None if there is none."""
        value = self.attributes.get(kind)
        return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else None


Wanted = Callable[[Message], object]
"""Whether a message is to be kept."""


def everything(_message: Message) -> bool:
    """`Wanted` for all messages."""
    return True


class NetlinkSilent(HostError):
    """The kernel did not answer in time, or not completely, so that the state of things is not known."""


class Netlink:
    """A netlink socket in the network namespace of the thread that first uses it; for one thread at a time.

    After an error a new socket is opened, so that a late answer is not taken for the answer to another request.
    """

    def __init__(self, protocol: int = socket.NETLINK_ROUTE, within: float | None = None) -> None:
        """``within``: seconds within which each answer must have come; None for `ANSWER_WITHIN`."""
        self._protocol = protocol
        self._told_within = within
        self._socket: socket.socket | None = None
        self._sequence = 0

    @property
    def _within(self) -> float:
        return ANSWER_WITHIN if self._told_within is None else self._told_within

    def close(self) -> None:
        """Close the socket; the next request opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def change(self, kind: int, content: bytes, flags: int = 0) -> None:
        """Send a request that changes something.  Raises OSError with the kernel's error."""
        self._ask(kind, _REQUEST | _ACK | flags, content, 0)

    def get(self, kind: int, content: bytes, head: int) -> Message:
        """Ask for one thing; `head` is the length of the header before the attributes.  Raises OSError."""
        answers, _ = self._ask(kind, _REQUEST, content, head)
        return answers[0]

    def dump(self, kind: int, content: bytes, head: int, wanted: Wanted = everything) -> list[Message]:
        """Ask for all things of a kind, as they were at one moment; keep those that are ``wanted``, or all.

        Raises OSError.
        """
        for _ in range(DUMPS):
            answers, interrupted = self._ask(kind, _REQUEST | _DUMP, content, head, wanted)
            if not interrupted:
                return answers
        raise OSError(errno.EINTR, f"the kernel interrupted {DUMPS} dumps in a row")

    def _ask(
        self, kind: int, flags: int, content: bytes, head: int, wanted: Wanted = everything
    ) -> tuple[list[Message], bool]:
        """All messages of the answer, and whether it may be incomplete."""
        try:
            self._send(kind, flags, content)
            return self._receive_all(flags, head, wanted)
        except TimeoutError as error:
            self.close()
            raise TimeoutError(errno.ETIMEDOUT, f"netlink: no answer within {self._within:g} s") from error
        except _Refused as refused:
            raise OSError(refused.code, os.strerror(refused.code)) from refused
        except OSError:
            self.close()
            raise
        except struct.error as error:
            self.close()
            raise OSError(errno.EBADMSG, f"netlink: an answer that cannot be read ({error})") from error

    def _send(self, kind: int, flags: int, content: bytes) -> None:
        if self._socket is None:
            self._socket = _open(self._protocol)
            self._socket.settimeout(self._within)
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._socket.send(_HEADER.pack(16 + len(content), kind, flags, self._sequence, 0) + content)

    def _receive_all(self, flags: int, head: int, wanted: Wanted) -> tuple[list[Message], bool]:
        deadline, answers, interrupted = time.monotonic() + self._within, list[Message](), False
        while time.monotonic() < deadline:
            for answered, said, body in self._messages(self._receive()):
                interrupted = interrupted or bool(said & _DUMP_INTERRUPTED)
                if answered in (_ERROR, _DONE):
                    code = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                    if code:
                        raise _Refused(-code)
                    return answers, interrupted
                message = Message(body, dict(attributes(body[head:])))
                if wanted(message):
                    answers.append(message)
                if not flags & (_ACK | _DUMP):
                    return answers, interrupted
        raise TimeoutError

    def _receive(self) -> bytes:
        assert self._socket is not None
        return self._socket.recv(_BUFFER)

    def _messages(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Type, flags and content of each message that answers the current request."""
        while data:
            length, kind, flags, sequence, _ = _HEADER.unpack_from(data)
            if not _HEADER.size <= length <= len(data):
                raise struct.error(f"{length} bytes of {len(data)}")
            if sequence == self._sequence:
                yield kind, flags, data[_HEADER.size : length]
            data = data[_aligned(length) :]


class _Refused(Exception):
    """The kernel answered with this error."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def family(version: int) -> int:
    """The kernel's number for the address family of this IP version."""
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def attribute(kind: int, content: bytes | int) -> bytes:
    """An attribute, packed and padded; an int becomes one of 32 bits."""
    if isinstance(content, int):
        content = struct.pack("=I", content)
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each attribute's type, without the flags of its upper bits, and content.  Raises struct.error."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            raise struct.error(f"an attribute of {length} bytes in {len(data)}")
        yield kind & 0x3FFF, data[4:length]
        data = data[_aligned(length) :]


@contextmanager
def mapped(what: str = "") -> Iterator[None]:
    """Turn errors of netlink and the system, and answers that cannot be read, into a HostError of one line.

    It is a NetlinkSilent if there was no complete answer.  ``what`` names the thing in the message.
    """
    prefix = f"{what}: " if what else ""
    try:
        yield
    except OSError as error:
        kind = NetlinkSilent if error.errno in _NO_ANSWER else HostError
        raise kind(f"{prefix}{error.strerror or error}") from error
    except (struct.error, LookupError, ValueError) as error:
        raise HostError(f"{prefix}netlink: an answer that cannot be read ({str(error)[:100]})") from error
    except RuntimeError as error:  # No thread can be started.
        raise HostError(f"{prefix}{error}") from error


@contextmanager
def tolerated(code: int) -> Iterator[None]:
    """Ignore this error number: a thing that is to be removed may be gone already."""
    try:
        yield
    except OSError as error:
        if error.errno != code:
            raise


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _open(protocol: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    try:
        # With this the kernel filters dumps of routes by table, which leaves out the CNI's; one before 4.20 does not.
        with contextlib.suppress(OSError):
            made.setsockopt(_SOL_NETLINK, _GET_STRICT_CHECK, 1)
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made
