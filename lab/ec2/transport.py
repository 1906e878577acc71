"""
How calls reach the EC2 endpoint, or fail to: latency, errors, lost answers, outages, and the record of every call.

A WSGI application around moto's.  moto is not thread-safe, so one lock is held while it works, never while a call
waits.  Faults can begin and end at any time; a call meets those that are on when it arrives.
"""

import contextlib
import io
import itertools
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from lab.ec2.account import Record
from lab.ec2.past import Past
from lab.ec2.profiles import Profile


class Effect(StrEnum):
    """What a fault does to a call.  Only LOSE, STALE, CUT, DRIP and SLOW let the call take effect."""

    DENY = "deny"  # UnauthorizedOperation
    THROTTLE = "throttle"  # RequestLimitExceeded
    FAIL = "fail"  # InternalError
    HANG = "hang"  # the connection stays open, no answer comes while the fault lasts
    REFUSE = "refuse"  # the connection is closed without an answer
    LOSE = "lose"  # the call takes effect, then the connection is closed without an answer
    STALE = "stale"  # a Describe is answered as of `seconds` ago
    TEXT = "text"  # a proxy answers in EC2's place, with 503 and plain text
    PAGE = "page"  # the same, with 200 and a page
    EMPTY = "empty"  # a load balancer answers 429 and nothing else
    CUT = "cut"  # the answer breaks off in its middle
    DRIP = "drip"  # the answer comes one byte a second, and breaks off when the fault ends
    SLOW = "slow"  # the answer comes `seconds` late


@dataclass(eq=False)
class Fault(AbstractContextManager["Fault"]):
    """
    One fault, on until it has hit `count` calls or `end` is called; as a context manager it ends with the block.

    actions: the EC2 actions that it hits; None: every action.
    caller: the instance whose calls it hits; None: everybody's.
    count: how many calls it hits; None: any number.
    every: of the calls that it fits, it hits one in so many; the others go well.
    seconds: with STALE, how old the answers are, but never older than the fault; with SLOW, how late they come.
    """

    effect: Effect
    actions: frozenset[str] | None = None
    caller: str | None = None
    count: int | None = None
    seconds: float = 0.0
    every: int = 1
    hits: int = 0
    fitted: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Turn the fault off; calls that hang because of it are closed without an answer."""
        self.ended.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the fault."""
        self.end()


class Faults:
    """
    The faults of one endpoint.  Where several fit a call, the first to have begun hits it.

    `remember` is called before and after answers begin to be stale: they will need the state of that moment.
    """

    def __init__(self, remember: Callable[[], None]) -> None:
        self._remember = remember
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def begin(
        self,
        effect: Effect,
        actions: Collection[str] | None = None,
        caller: str | None = None,
        count: int | None = None,
        seconds: float = 0.0,
        every: int = 1,
    ) -> Fault:
        """Turn a fault on; see Fault for the parameters."""
        if isinstance(actions, str):
            raise TypeError(f"actions are a collection, not the string {actions!r}")
        fault = Fault(effect, None if actions is None else frozenset(actions), caller, count, seconds, every)
        with self._lock:
            self._faults.append(fault)
        return fault

    def deny(self, actions: Collection[str], caller: str | None = None) -> Fault:
        """Let IAM refuse these actions."""
        return self.begin(Effect.DENY, actions, caller)

    def throttle(self, actions: Collection[str] | None = None, count: int | None = None, every: int = 1) -> Fault:
        """Answer RequestLimitExceeded."""
        return self.begin(Effect.THROTTLE, actions, count=count, every=every)

    def fail(self, actions: Collection[str] | None = None, count: int | None = None) -> Fault:
        """Answer InternalError."""
        return self.begin(Effect.FAIL, actions, count=count)

    def hang(self, actions: Collection[str] | None = None, count: int | None = None) -> Fault:
        """Give no answer; nothing takes effect."""
        return self.begin(Effect.HANG, actions, count=count)

    def refuse(self, actions: Collection[str] | None = None, count: int | None = None) -> Fault:
        """Close the connection without an answer; nothing takes effect."""
        return self.begin(Effect.REFUSE, actions, count=count)

    def lose_answers(self, actions: Collection[str], count: int | None = None) -> Fault:
        """Let the calls take effect, and close the connection without an answer."""
        return self.begin(Effect.LOSE, actions, count=count)

    def partition(self, caller: str) -> Fault:
        """Cut one instance off from EC2: its calls vanish."""
        return self.begin(Effect.HANG, caller=caller)

    def stale(self, seconds: float, caller: str | None = None, count: int | None = None) -> Fault:
        """Answer Describes as of so many seconds ago, but never as of a time before the fault began."""
        self._remember()  # forgets what was remembered for a fault that has ended
        fault = self.begin(Effect.STALE, caller=caller, count=count, seconds=seconds)
        self._remember()
        return fault

    def staleness(self) -> float | None:
        """By how many seconds answers can be stale now, at most; None if none can be."""
        with self._lock:
            return max(
                (fault.seconds for fault in self._faults if fault.effect is Effect.STALE and not fault.ended.is_set()),
                default=None,
            )

    def begun(self) -> frozenset[Fault]:
        """The faults that are on now."""
        with self._lock:
            return frozenset(fault for fault in self._faults if not fault.ended.is_set())

    def clear(self, but: Collection[Fault] = ()) -> None:
        """End all faults, save these."""
        with self._lock:
            faults, self._faults = self._faults, [fault for fault in self._faults if fault in but]
        for fault in faults:
            if fault not in but:
                fault.end()

    def strike(self, action: str, caller: str) -> Fault | None:
        """The fault that hits this call, which counts as a hit; None for a call that goes well."""
        with self._lock:
            self._faults = [fault for fault in self._faults if not fault.ended.is_set()]
            for fault in self._faults:
                if fault.effect is Effect.STALE and not action.startswith("Describe"):
                    continue
                if fault.actions is not None and action not in fault.actions:
                    continue
                if fault.caller is not None and fault.caller != caller:
                    continue
                if fault.count is not None and fault.hits >= fault.count:
                    continue
                fault.fitted += 1
                if fault.fitted % fault.every:
                    continue
                fault.hits += 1
                return fault
        return None


TAKES_EFFECT = frozenset({Effect.LOSE, Effect.STALE, Effect.CUT, Effect.DRIP, Effect.SLOW})


class Transport:
    """
    The WSGI application that the endpoint serves.

    `caller_of` names the owner of an access key id.  Each call becomes one event of the history; its `error` is EC2's
    code, or `hung`, `refused` or `lost` where no answer was given.
    """

    def __init__(
        self,
        *,
        app: WSGIApplication,
        account: str,
        region: str,
        lock: AbstractContextManager[object],
        past: Past,
        profile: Profile,
        faults: Faults,
        record: Record,
        caller_of: Callable[[str], str],
        rng: random.Random,
    ) -> None:
        self._app = app
        self._account = account
        self._region = region
        self._lock = lock
        self._past = past
        self._profile = profile
        self._faults = faults
        self._record = record
        self._caller_of = caller_of
        self._rng = rng
        self._ids = itertools.count(1)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one call."""
        began = time.time()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        params = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = params.pop("Action", environ["PATH_INFO"])
        params.pop("Version", None)
        caller = self._caller_of(_access_key(environ))
        fault = self._faults.strike(action, caller)

        def record(error: str | None) -> None:
            call = {"action": action, "caller": caller, "began": began, "error": error, "params": params}
            self._record({"t": time.time(), "source": "ec2", "event": "call", **call})

        match fault and fault.effect:
            case Effect.HANG:
                assert fault is not None, "it has an effect"
                record("hung")
                fault.ended.wait()
                raise _closed(environ)
            case Effect.REFUSE:
                record("refused")
                raise _closed(environ)

        half = self._rng.uniform(*self._profile.answer) / 2
        time.sleep(half)
        answer = (
            self._apply(environ, body, action, fault)
            if fault is None or fault.effect in TAKES_EFFECT
            else self._failure(fault.effect, action, caller)
        )
        time.sleep(half)
        if fault is not None and fault.effect is Effect.LOSE:
            record("lost")
            raise _closed(environ)
        if fault is not None and fault.effect is Effect.SLOW:
            fault.ended.wait(fault.seconds)
        record(answer.error)
        start_response(answer.status, answer.headers)
        if fault is not None and fault.effect in (Effect.CUT, Effect.DRIP):
            return _in_part(environ, answer.body, fault)
        return [answer.body]

    def _apply(self, environ: WSGIEnvironment, body: bytes, action: str, fault: Fault | None) -> "_Answer":
        """Let moto answer, in the account of this endpoint."""
        answer = _Answer("500 no answer", [], b"")

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
            answer.status, answer.headers = status, headers

        environ = {**environ, "wsgi.input": io.BytesIO(body), "HTTP_X_MOTO_ACCOUNT_ID": self._account}
        stale = fault is not None and fault.effect is Effect.STALE
        with self._lock, self._past.as_of(fault.seconds) if fault and stale else contextlib.nullcontext():
            answer.body = b"".join(self._app(environ, start_response))
            if not action.startswith("Describe"):
                self._past.note()
        return answer

    def _failure(self, effect: Effect, action: str, caller: str) -> "_Answer":
        """An error in EC2's own words, or the answer of a proxy or load balancer in EC2's place."""
        match effect:
            case Effect.TEXT:
                return _Answer.of(
                    "503 Service Unavailable", "text/plain", b"upstream connect error or disconnect/reset"
                )
            case Effect.PAGE:
                return _Answer.of("200 OK", "text/html", b"<html><body>Welcome to this network.</body></html>")
            case Effect.EMPTY:
                return _Answer.of("429 Too Many Requests", "text/plain", b"")
            case Effect.DENY:
                status, code = "403 Forbidden", "UnauthorizedOperation"
                message = (
                    "You are not authorized to perform this operation. User: "
                    f"arn:aws:sts::{self._account}:assumed-role/lab-worker/{caller} is not authorized to perform: "
                    f"ec2:{action} on resource: arn:aws:ec2:{self._region}:{self._account}:network-interface/* because "
                    f"no identity-based policy allows the ec2:{action} action"
                )
            case Effect.THROTTLE:
                status, code, message = "503 Service Unavailable", "RequestLimitExceeded", "Request limit exceeded."
            case _:
                status, code = "500 Internal Server Error", "InternalError"
                message = "An internal error has occurred"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>00000000-0000-4000-8000-{next(self._ids):012x}</RequestID></Response>"
        ).encode()
        return _Answer(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))], body)


@dataclass
class _Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, status: str, kind: str, body: bytes) -> "_Answer":
        """The answer with this body, and the headers that belong to it."""
        return cls(status, [("Content-Type", kind), ("Content-Length", str(len(body)))], body)

    @property
    def error(self) -> str | None:
        """The error code in the answer, None for a success."""
        if self.status.startswith("2"):
            return None
        code = re.search(rb"<Code>([^<]+)</Code>", self.body)
        return code[1].decode() if code else self.status


def _access_key(environ: WSGIEnvironment) -> str:
    """The access key id of a request signed with version 4: `Credential=AKID/date/region/ec2/aws4_request`."""
    found = re.search(r"Credential=([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return found[1] if found else ""


def _in_part(environ: WSGIEnvironment, body: bytes, fault: Fault) -> Iterator[bytes]:
    """The first half of the body, at once or byte by byte while the fault lasts; then the connection is closed."""
    half = body[: len(body) // 2]
    if fault.effect is Effect.CUT:
        yield half
    for byte in half if fault.effect is Effect.DRIP else b"":
        yield bytes([byte])
        if fault.ended.wait(1.0):
            break
    raise _closed(environ)


def _closed(environ: WSGIEnvironment) -> ConnectionAbortedError:
    """Close the connection; raising the result keeps werkzeug from answering."""
    connection: socket.socket = environ["werkzeug.socket"]
    with contextlib.suppress(OSError):  # the caller may have hung up first
        connection.shutdown(socket.SHUT_RDWR)
    return ConnectionAbortedError("closed without an answer")
