"""
The holder's word, asked and given: read-only HTTP between the observers, on the nodes' primary addresses.

Nothing can be commanded here: whoever may move the address is who IAM says.  The same server answers the kubelet's
probes.  A question tells who asks, so the askers are the peers; one that is in doubt about the floating address is
checked from that very address, which shows whether it works between these two nodes.
"""

from __future__ import annotations

import http.client
import json
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from floatingip.model import Address, Attachment, Peer, Sight, Word, WordState

ASK_EVERY = 0.5
"""Seconds between two questions to one observer."""

ASK_TIMEOUT = 0.5
"""Seconds for a connection, and again for the answer."""

PEER_KEPT = 60.0
"""Seconds for which an asker is told to others as a peer."""

SIGHT_CHECKED = 5.0
"""Seconds after which the check from the floating address is made anew for an asker in doubt."""

SIGHT_KEPT = 15.0
"""Seconds for which a check answers questions at all."""


@dataclass(frozen=True, slots=True)
class Held:
    """How a node holds one floating address: by which attachment, why it does not carry it, or nothing, and why it asks
    to be relieved, or nothing.
    """

    attachment: str
    problem: str = ""
    leaving: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What an observer says of itself.

    ``holds`` are the addresses that its node holds, by the settings' text; ``sees_up`` are the attachments under
    which its own probes are answered; ``free_slots`` is how many ENIs it could take over, None while it does not
    know; ``serving`` are the instances on which it saw the service answer lately; ``leaving``: its node is about to
    end; ``claiming`` are addresses that EC2 has accepted for it but does not show there yet; ``peers`` are the
    primary addresses of those who asked lately, by instance id; ``sights`` are about the asker, by address.
    """

    name: str
    instance_id: str
    holds: Mapping[str, Held] = field(default_factory=dict)
    sees_up: tuple[str, ...] = ()
    free_slots: int | None = None
    serving: tuple[str, ...] = ()
    leaving: bool = False
    claiming: tuple[str, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)
    sights: Mapping[str, Sight] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question: ``status`` is None when there was no answer."""

    asked_at: float
    known_at: float
    status: Status | None


class StatusServer:
    """Answers ``/v1/word``, ``/livez`` and ``/readyz`` on the node's primary address.

    ``tell`` gives the present status without peers and sights, ``source`` the address on this node that a floating
    address of that text is carried by, or None; ``live`` and ``ready`` say what is wrong, or nothing; ``metrics`` is
    for Prometheus.
    """

    def __init__(
        self,
        address: Address,
        port: int,
        tell: Callable[[], Status],
        source: Callable[[str], Address | None],
        live: Callable[[], str],
        ready: Callable[[], str],
        metrics: Callable[[], str],
        look: Callable[[], None],
    ) -> None:
        self._port = port
        self._tell = tell
        self._source = source
        self._metrics = metrics
        self._look = look
        self._checks = {"/livez": live, "/readyz": ready}
        self._askers: dict[str, tuple[str, float]] = {}
        self._sights: dict[tuple[str, str], tuple[Sight, float]] = {}
        self._checking: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.stopped = False
        self._http = _Server((str(address), port), self)

    def start(self) -> None:
        """Serve from a daemon thread."""
        threading.Thread(target=self._http.serve_forever, name="status", daemon=True).start()

    def stop(self) -> None:
        """Stop answering, on open connections too: from here on, this node's word is silent."""
        self.stopped = True
        self._http.shutdown()
        self._http.server_close()

    def answer(self, target: str, asker_address: str) -> tuple[HTTPStatus, str]:
        """The answer to a GET of ``target``."""
        url = urlsplit(target)
        check = self._checks.get(url.path)
        if check is not None:
            wrong = check()
            return (HTTPStatus.SERVICE_UNAVAILABLE, wrong) if wrong else (HTTPStatus.OK, "ok")
        if url.path == "/metrics":
            return HTTPStatus.OK, self._metrics()
        if url.path != "/v1/word":
            return HTTPStatus.NOT_FOUND, "see /v1/word, /livez, /readyz, /metrics"
        query = parse_qs(url.query)
        if "look" in query:
            self._look()
        return HTTPStatus.OK, json.dumps(self._word(query.get("asker", [""])[0], asker_address, query.get("doubt", [])))

    def askers(self) -> dict[str, str]:
        """Who asked lately: primary addresses by instance id."""
        with self._lock:
            recent = time.monotonic() - PEER_KEPT
            self._askers = {asker: (address, at) for asker, (address, at) in self._askers.items() if at > recent}
            return {asker: address for asker, (address, _) in self._askers.items()}

    def _word(self, asker: str, asker_address: str, doubted: Sequence[str]) -> dict[str, object]:
        status = self._tell()
        if asker:
            with self._lock:
                self._askers[asker] = (asker_address, time.monotonic())
        peers = {other: address for other, address in self.askers().items() if other != asker}
        sights = {target: self._sight(target, asker_address) for target in doubted if target in status.holds}
        return {**asdict(status), "peers": peers, "sights": sights}

    def _sight(self, target: str, asker_address: str) -> Sight:
        """What is known of the asker through the floating address; checked anew in the background when that is old."""
        key = (target, asker_address)
        with self._lock:
            sight, at = self._sights.get(key, (Sight.UNTRIED, float("-inf")))
            age = time.monotonic() - at
            if age > SIGHT_CHECKED and key not in self._checking:
                self._checking.add(key)
                threading.Thread(target=self._check, args=key, name="sight", daemon=True).start()
        return sight if age <= SIGHT_KEPT else Sight.UNTRIED

    def _check(self, target: str, asker_address: str) -> None:
        source = self._source(target)
        sight = Sight.UNTRIED
        if source is not None:
            sight = Sight.SEEN if self._reaches(asker_address, source) else Sight.UNSEEN
        with self._lock:
            self._sights[target, asker_address] = (sight, time.monotonic())
            self._checking.discard((target, asker_address))

    def _reaches(self, asker_address: str, source: Address) -> bool:
        line = _Line(asker_address, self._port, 2 * ASK_TIMEOUT, source)
        try:
            line.get("/livez")
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, bind: tuple[str, int], status: StatusServer) -> None:
        self.status = status
        super().__init__(bind, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for this address' name as HTTPServer does: that can take ten seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a peer that hung up; whatever else comes here is a defect, and told in full."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typed as a socket or a pair


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.server.status.stopped:
            self.close_connection = True
            return
        code, text = self.server.status.answer(self.path, self.client_address[0])
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: two questions a second are no news."""


class Asker:
    """Asks one observer for its word, again and again, from a daemon thread of its own.

    ``heard`` is called from that thread with each answer.
    """

    def __init__(self, address: str, port: int, me: str, heard: Callable[[Answer], None]) -> None:
        self._line = _Line(address, port, ASK_TIMEOUT)
        self._me = me
        self._heard = heard
        self._doubted: frozenset[str] = frozenset()
        self._hurry = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="asker", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; an answer under way is not told."""
        self._stopped = True
        self._hurry.set()

    def doubt(self, targets: frozenset[str]) -> None:
        """Tell with each question which floating addresses do not answer; ask at once when that changed."""
        if targets - self._doubted:
            self._hurry.set()
        self._doubted = targets

    def _run(self) -> None:
        while not self._stopped:
            answer = self._ask()
            if not self._stopped:
                self._heard(answer)
            self._hurry.wait(max(0.0, answer.asked_at + ASK_EVERY - time.monotonic()))
            self._hurry.clear()
        self._line.close()

    def _ask(self) -> Answer:
        asked_at = time.monotonic()
        status = _question(self._line, {"asker": self._me, "doubt": sorted(self._doubted)})
        return Answer(asked_at, time.monotonic(), status)


def ask(address: str, port: int, *, look: bool = False) -> Status | None:
    """Ask one observer once, and, with ``look``, to ask EC2 soon; None when there is no answer."""
    line = _Line(address, port, ASK_TIMEOUT)
    try:
        return _question(line, {"look": "soon"} if look else {})
    finally:
        line.close()


def _question(line: _Line, query: Mapping[str, str | list[str]]) -> Status | None:
    try:
        code, body = line.get(f"/v1/word?{urlencode(query, doseq=True)}")
        return _status(json.loads(body)) if code == HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError, ArithmeticError, KeyError, TypeError, AttributeError):
        # Whatever is not a word is silence: only what an observer of ours says can speak for its node.
        return None


class _Line:
    """A connection to one observer, kept open: asked twice a second, `requests` would take most of an agent's time."""

    def __init__(self, address: str, port: int, timeout: float, source: Address | None = None) -> None:
        leaves_from = (str(source), 0) if source is not None else None
        self._connection = http.client.HTTPConnection(address, port, timeout=timeout, source_address=leaves_from)

    def close(self) -> None:
        """Hang up; the next question connects again."""
        self._connection.close()

    def get(self, target: str) -> tuple[int, bytes]:
        """The status and body that are answered.  Raises OSError or HTTPException."""
        kept = self._connection.sock is not None
        try:
            return self._get(target)
        except (ConnectionError, http.client.RemoteDisconnected):
            # An observer that was started again has closed the old connection: that is not its answer.
            if not kept:
                raise
            return self._get(target)

    def _get(self, target: str) -> tuple[int, bytes]:
        try:
            self._connection.request("GET", target)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self._connection.close()
            raise


class Peers:
    """Asks the holders and all other observers that anybody told of, and keeps what they said last.

    Everything but ``post`` runs on one thread.  ``post`` hands an answer's reception to that thread; it tells
    whether anything new was said.
    """

    def __init__(self, me: str, port: int, post: Callable[[Callable[[], bool]], None]) -> None:
        self._me = me
        self._port = port
        self._post = post
        self._askers: dict[str, tuple[str, Asker]] = {}
        self._answers: dict[str, Answer] = {}
        self._told: dict[str, str] = {}
        self._heard_at: dict[str, float] = {}

    def follow(
        self, holders: Mapping[str, Address], askers: Mapping[str, str], doubted: frozenset[str], now: float
    ) -> None:
        """Ask the holders, those who asked us, and those of whom these told; each once for all addresses."""
        self._told = {**self._recently_told(now), **askers}
        wanted = {**self._told, **{holder: str(address) for holder, address in holders.items()}}
        wanted.pop(self._me, None)
        for instance_id, (address, asker) in list(self._askers.items()):
            if wanted.get(instance_id) != address:
                asker.stop()
                del self._askers[instance_id]
                self._answers.pop(instance_id, None)
        for instance_id, address in wanted.items():
            if instance_id not in self._askers:
                asker = Asker(address, self._port, self._me, self._receive(instance_id))
                self._askers[instance_id] = (address, asker)
                asker.start()
            self._askers[instance_id][1].doubt(doubted)

    def others(self, name: str) -> tuple[Peer, ...]:
        """The other observers of ours that ever answered, and are still asked."""
        found = []
        for instance_id, heard_at in self._heard_at.items():
            answer = self._answers.get(instance_id)
            status = answer.status if answer is not None else None
            if answer is not None and status is None:
                found.append(Peer(instance_id, heard_at))
            elif status is not None and status.name == name:
                found.append(
                    Peer(
                        instance_id,
                        heard_at,
                        status.sees_up,
                        status.free_slots,
                        {target: held.attachment for target, held in status.holds.items()},
                        status.serving,
                        status.leaving,
                        status.claiming,
                    )
                )
        return tuple(found)

    def addresses(self) -> dict[str, str]:
        """The primary addresses of all who are asked, by instance id."""
        return {instance_id: address for instance_id, (address, _) in self._askers.items()}

    def answer(self, instance_id: str) -> Answer | None:
        """What came of the last question to this node; None before the first."""
        return self._answers.get(instance_id)

    def _recently_told(self, now: float) -> dict[str, str]:
        """Peers that a living observer names, and those that answered lately themselves."""
        told: dict[str, str] = {}
        for answer in self._answers.values():
            if answer.status is not None:
                told.update(answer.status.peers)
        recent = now - PEER_KEPT
        told.update({i: address for i, address in self._told.items() if self._heard_at.get(i, recent) > recent})
        return told

    def _receive(self, instance_id: str) -> Callable[[Answer], None]:
        def receive(answer: Answer) -> None:
            self._post(lambda: self._heard(instance_id, answer))

        return receive

    def _heard(self, instance_id: str, answer: Answer) -> bool:
        if instance_id not in self._askers:
            return False
        before = self._answers.get(instance_id)
        self._answers[instance_id] = answer
        if answer.status is not None and answer.status.instance_id == instance_id:
            self._heard_at[instance_id] = answer.known_at
        return before is None or answer.status != before.status


def word_on(answer: Answer | None, name: str, target: str, attachment: Attachment | None, *, unreachable: bool) -> Word:
    """The holder's word on one attachment, with ``since`` still open.

    It counts only with our name, its instance id and the attachment that is judged.  ``unreachable``: EC2 shows no
    address where the holder could be asked.
    """
    status = answer.status if answer is not None else None
    if attachment is None or (answer is None and not unreachable):
        return Word(WordState.UNASKED)
    if status is None:
        return Word(WordState.SILENT)
    held = status.holds.get(target)
    sight = status.sights.get(target, Sight.UNTRIED)
    if (status.name, status.instance_id) != (name, attachment.instance_id) or held is None:
        return Word(WordState.OTHER, sight=sight)
    if held.attachment != attachment.id:
        return Word(WordState.OTHER, sight=sight)
    if held.leaving:
        return Word(WordState.LEAVING, sight=sight, detail=held.leaving)
    return Word(WordState.UNSOUND if held.problem else WordState.SOUND, sight=sight, detail=held.problem)


def _status(document: Mapping[str, Any]) -> Status:
    return Status(
        name=str(document["name"]),
        instance_id=str(document["instance_id"]),
        holds={
            str(target): Held(str(held["attachment"]), str(held["problem"]), str(held.get("leaving", "")))
            for target, held in dict(document["holds"]).items()
        },
        sees_up=tuple(str(attachment) for attachment in document["sees_up"]),
        free_slots=None if document["free_slots"] is None else int(document["free_slots"]),
        serving=tuple(str(instance_id) for instance_id in document.get("serving", [])),
        leaving=bool(document.get("leaving", False)),
        claiming=tuple(str(target) for target in document.get("claiming", [])),
        peers={str(instance_id): str(address) for instance_id, address in dict(document["peers"]).items()},
        sights={str(target): Sight(str(sight)) for target, sight in dict(document["sights"]).items()},
    )
