"""
The holder's word, asked and given: read-only HTTP between the observers, on the nodes' primary addresses.

Nothing can be commanded here: whoever may move the address is who IAM says.  The same server answers the kubelet's
probes.  A question tells who asks, so the askers are the peers; one that is in doubt about the floating address is
checked from that very address, which shows whether it works between these two nodes.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import requests
import requests.adapters

from floatingip.model import Address, Peer, Sight, Word, WordState

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
class Status:
    """What an observer says of itself.

    ``holds`` is the attachment by which its node holds the address, or nothing; ``problem`` is why it does not carry
    it, or nothing when all is well; ``sees_up`` is the attachment under which its own probes are answered, or
    nothing; ``peers`` are the primary addresses of those who asked lately, by instance id; ``sight`` is about the
    asker.
    """

    name: str
    instance_id: str
    holds: str = ""
    problem: str = ""
    sees_up: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)
    sight: Sight = Sight.UNTRIED


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question: ``status`` is None when there was no answer."""

    asked_at: float
    known_at: float
    status: Status | None


class StatusServer:
    """Answers ``/v1/word``, ``/livez`` and ``/readyz`` on the node's primary address.

    ``tell`` gives the present status without peers and sight; ``live`` and ``ready`` say what is wrong, or nothing.
    """

    def __init__(
        self,
        address: Address,
        port: int,
        floating_address: Address,
        tell: Callable[[], Status],
        live: Callable[[], str],
        ready: Callable[[], str],
    ) -> None:
        self._port = port
        self._floating_address = floating_address
        self._tell = tell
        self._checks = {"/livez": live, "/readyz": ready}
        self._askers: dict[str, tuple[str, float]] = {}
        self._sights: dict[str, tuple[Sight, float]] = {}
        self._checking: set[str] = set()
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
        if url.path != "/v1/word":
            return HTTPStatus.NOT_FOUND, "see /v1/word, /livez, /readyz"
        query = parse_qs(url.query)
        return HTTPStatus.OK, json.dumps(self._word(query.get("asker", [""])[0], asker_address, "doubt" in query))

    def askers(self) -> dict[str, str]:
        """Who asked lately: primary addresses by instance id."""
        with self._lock:
            recent = time.monotonic() - PEER_KEPT
            self._askers = {asker: (address, at) for asker, (address, at) in self._askers.items() if at > recent}
            return {asker: address for asker, (address, _) in self._askers.items()}

    def _word(self, asker: str, asker_address: str, in_doubt: bool) -> dict[str, object]:
        status = self._tell()
        if asker:
            with self._lock:
                self._askers[asker] = (asker_address, time.monotonic())
        peers = {other: address for other, address in self.askers().items() if other != asker}
        sight = self._sight(asker_address) if in_doubt and status.holds else Sight.UNTRIED
        return {**asdict(status), "peers": peers, "sight": sight}

    def _sight(self, asker_address: str) -> Sight:
        """What is known of the asker through the floating address; checked anew in the background when that is old."""
        with self._lock:
            sight, at = self._sights.get(asker_address, (Sight.UNTRIED, float("-inf")))
            age = time.monotonic() - at
            if age > SIGHT_CHECKED and asker_address not in self._checking:
                self._checking.add(asker_address)
                threading.Thread(target=self._check, args=(asker_address,), name="sight", daemon=True).start()
        return sight if age <= SIGHT_KEPT else Sight.UNTRIED

    def _check(self, asker_address: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", _FromAddress(self._floating_address))
            try:
                session.get(f"http://{asker_address}:{self._port}/livez", timeout=2 * ASK_TIMEOUT)
                sight = Sight.SEEN
            except requests.RequestException:
                sight = Sight.UNSEEN
        with self._lock:
            self._sights[asker_address] = (sight, time.monotonic())
            self._checking.discard(asker_address)


class _FromAddress(requests.adapters.HTTPAdapter):
    """Connections that leave from one local address."""

    def __init__(self, address: Address) -> None:
        self._source = (str(address), 0)
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        """Hand the source address on to urllib3."""
        super().init_poolmanager(connections, maxsize, block, source_address=self._source, **kwargs)


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
        self._url = f"http://{address}:{port}/v1/word"
        self._me = me
        self._heard = heard
        self._in_doubt = False
        self._hurry = threading.Event()
        self._stopped = False

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name="asker", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; an answer under way is not told."""
        self._stopped = True
        self._hurry.set()

    def doubt(self, in_doubt: bool) -> None:
        """Tell with each question whether the floating address answers; ask at once when that began."""
        if in_doubt and not self._in_doubt:
            self._hurry.set()
        self._in_doubt = in_doubt

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._stopped:
                answer = self._ask(session)
                if not self._stopped:
                    self._heard(answer)
                self._hurry.wait(max(0.0, answer.asked_at + ASK_EVERY - time.monotonic()))
                self._hurry.clear()

    def _ask(self, session: requests.Session) -> Answer:
        asked_at = time.monotonic()
        query = {"asker": self._me, **({"doubt": "1"} if self._in_doubt else {})}
        try:
            answer = session.get(self._url, params=query, timeout=ASK_TIMEOUT)
            answer.raise_for_status()
            status = _status(answer.json())
        except (requests.RequestException, ValueError, KeyError, TypeError):
            # Whatever is not a word is silence: only what an observer of ours says can speak for its node.
            status = None
        return Answer(asked_at, time.monotonic(), status)


class Peers:
    """Asks the holder and all other observers that anybody told of, and keeps what they said last.

    Everything but ``post`` runs on one thread.  ``post`` hands an answer's reception to that thread.
    """

    def __init__(self, me: str, port: int, post: Callable[[Callable[[], None]], None]) -> None:
        self._me = me
        self._port = port
        self._post = post
        self._askers: dict[str, tuple[str, Asker]] = {}
        self._answers: dict[str, Answer] = {}
        self._told: dict[str, str] = {}
        self._heard_at: dict[str, float] = {}
        self._word = Word()
        self._word_of = ("", "")

    def follow(
        self, holder: str, holder_address: Address | None, askers: Mapping[str, str], now: float, *, doubt: bool
    ) -> None:
        """Ask the holder (an instance id, or nothing), those who asked us, and those of whom these told."""
        self._told = {**self._recently_told(now), **askers}
        wanted = dict(self._told)
        if holder and holder_address is not None:
            wanted[holder] = str(holder_address)
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
            self._askers[instance_id][1].doubt(doubt)

    def others(self, name: str) -> tuple[Peer, ...]:
        """The other observers of the same floating address that ever answered, and are still asked."""
        found = []
        for instance_id, heard_at in self._heard_at.items():
            answer = self._answers.get(instance_id)
            status = answer.status if answer is not None else None
            if answer is not None and (status is None or status.name == name):
                found.append(Peer(instance_id, heard_at, status.sees_up if status is not None else ""))
        return tuple(found)

    def word(self, name: str, holder: str, attachment_id: str, now: float, *, unreachable: bool) -> Word:
        """The holder's word on one attachment; ``unreachable``: EC2 shows no address where it could be asked."""
        answer = self._answers.get(holder)
        state, sight, detail = WordState.UNASKED, Sight.UNTRIED, ""
        if answer is not None and answer.status is not None:
            sight = answer.status.sight
            if (answer.status.name, answer.status.instance_id, answer.status.holds) != (name, holder, attachment_id):
                state = WordState.OTHER
            elif answer.status.problem:
                state, detail = WordState.UNSOUND, answer.status.problem
            else:
                state = WordState.SOUND
        elif unreachable or answer is not None:
            state = WordState.SILENT
        same = state is self._word.state and (holder, attachment_id) == self._word_of
        self._word = Word(state, self._word.since if same else now, sight, detail)
        self._word_of = (holder, attachment_id)
        return self._word

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

    def _heard(self, instance_id: str, answer: Answer) -> None:
        if instance_id not in self._askers:
            return
        self._answers[instance_id] = answer
        if answer.status is not None and answer.status.instance_id == instance_id:
            self._heard_at[instance_id] = answer.known_at


def _status(document: Mapping[str, object]) -> Status:
    peers = document["peers"]
    if not isinstance(peers, dict):
        raise TypeError(f"peers should be an object, not {peers!r}")
    return Status(
        name=str(document["name"]),
        instance_id=str(document["instance_id"]),
        holds=str(document["holds"]),
        problem=str(document["problem"]),
        sees_up=str(document["sees_up"]),
        peers={str(instance_id): str(address) for instance_id, address in peers.items()},
        sight=Sight(str(document["sight"])),
    )
