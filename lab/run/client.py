"""
Measure an outage from a client's point of view: start an attempt every 20 ms, whatever the results of earlier ones.

Each attempt is one TCP connection and one small HTTP GET with one deadline over both.  Attempts run concurrently: a
client that waits for the answer before it tries again measures its own timeout, not the outage.  Only the first SYN of
an attempt counts: the kernel repeats a lost one after a second (RFC 6298), and an answer after the deadline is none.

Writes one JSON line per attempt to stdout, in the format of history.py.  Ends on SIGTERM or SIGINT, once the attempts
under way have ended.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_TIMEOUT = 1.0
MAX_ANSWER = 4096


@dataclass(frozen=True)
class Target:
    """What to ask: a numeric address, since resolving a name would be measured too."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Target":
        """Raises ValueError unless the URL is http:// with a numeric address."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// URL")
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        try:
            socket.inet_pton(family, parts.hostname)
        except OSError as error:
            raise ValueError(f"{parts.hostname!r} is not a numeric address") from error
        return cls(parts.hostname, parts.port or 80, parts.path or "/")

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def request(self) -> bytes:
        # HTTP/1.0: the server closes after the answer, so that its end is seen without parsing the length.
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"GET {self.path} HTTP/1.0\r\nHost: {host}:{self.port}\r\n\r\n".encode()


class HttpError(Exception):
    """An answer came, but its status is not 2xx."""


async def ask(target: Target) -> str:
    """One attempt: the first line of the answer's body.  Raises OSError or HttpError."""
    loop = asyncio.get_running_loop()
    with socket.socket(target.family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (target.host, target.port))
        await loop.sock_sendall(connection, target.request)
        answer = b""
        while len(answer) < MAX_ANSWER and (chunk := await loop.sock_recv(connection, MAX_ANSWER)):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].split()[1:2]
    if not status or not status[0].startswith(b"2"):
        raise HttpError(f"http {status[0].decode(errors='replace')}" if status else "empty")
    return body.partition(b"\n")[0].decode(errors="replace").strip()


def error_name(error: Exception) -> str:
    """The word for a failed attempt in the history."""
    match error:
        case TimeoutError():
            return "timeout"
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case HttpError():
            return str(error)
        case OSError(errno=int(), strerror=str(text)):
            return text.lower()
        case _:
            return type(error).__name__


class Client:
    """Starts attempts on a fixed schedule and gives each one's outcome to `write`."""

    def __init__(self, target: Target, name: str, every: float, timeout: float, write: Callable[[str], object]) -> None:
        self._target = target
        self._name = name
        self._every = every
        self._timeout = timeout
        self._write = write

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`; slots that were missed because this process did not run are skipped, not caught up."""
        loop = asyncio.get_running_loop()
        attempts: set[asyncio.Task[None]] = set()
        base, slot = loop.time(), 0
        while not stop.is_set():
            attempt = loop.create_task(self._attempt())
            attempts.add(attempt)
            attempt.add_done_callback(attempts.discard)
            slot = max(slot + 1, int((loop.time() - base) / self._every))
            await asyncio.sleep(base + slot * self._every - loop.time())
        await asyncio.gather(*attempts)

    async def _attempt(self) -> None:
        loop = asyncio.get_running_loop()
        started, began = time.time(), loop.time()
        answer: str | None = None
        error: str | None = None
        try:
            async with asyncio.timeout_at(began + self._timeout):
                answer = await ask(self._target)
        except (OSError, HttpError) as problem:
            error = error_name(problem)
        took = loop.time() - began
        # The answer and the deadline can come in the same turn of the loop: only the clock tells which was first.
        if error is None and took >= self._timeout:
            answer, error = None, "timeout"
        event = {
            "t": started + took,
            "source": "client",
            "event": "attempt",
            "client": self._name,
            "started": started,
            "ok": error is None,
            "error": error,
            "answer": answer,
        }
        self._write(json.dumps(event) + "\n")


async def _main(client: Client) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await client.run(stop)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lab.run.client", description="Measure an outage over HTTP.")
    parser.add_argument("--url", type=Target.of, required=True, help="http://ADDRESS:PORT/PATH")
    parser.add_argument("--name", required=True, help="the client's name in the history")
    parser.add_argument("--every", type=float, default=0.02, help="seconds between the starts of two attempts")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds for one attempt, at most 1")
    options = parser.parse_args(arguments)
    if not 0 < options.timeout <= MAX_TIMEOUT:
        parser.error("--timeout must be above 0 and at most 1: after one second the kernel sends a second SYN")
    if options.every <= 0:
        parser.error("--every must be above 0")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # stdout is a TextIOWrapper when it is a process's own
    asyncio.run(_main(Client(options.url, options.name, options.every, options.timeout, sys.stdout.write)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
