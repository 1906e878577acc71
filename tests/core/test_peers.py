"""The holder's word between real sockets on loopback: asked and given, and what silence is."""

import http.client
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest

from floatingip import peers as module
from floatingip.model import Attachment, AttachmentStatus, Sight, Word, WordState
from floatingip.peers import Held, Peers, Status, StatusServer, ask, word_on

FLOATING, OTHER_FLOATING = IPv4Address("127.0.0.2"), IPv4Address("127.0.0.5")
TARGET, OTHER_TARGET = "10.0.0.100", "10.0.0.101"
HOLDER, ASKER, THIRD = "127.0.0.1", "127.0.0.3", "127.0.0.4"
SOUND = Status("cluster", "i-a", holds={TARGET: Held("a1")})
UNSOUND = replace(SOUND, holds={TARGET: Held("a1", "nft is missing")})
DOUBT = f"/v1/word?asker=i-b&doubt={TARGET}"
ATTACHED = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


def free_port() -> int:
    """A port that is free on every loopback address, as nearly as one can know."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])


@dataclass
class Observer:
    """An observer's status server, and what it says."""

    address: str
    port: int
    status: Status = SOUND
    live: str = ""
    ready: str = ""
    looks: int = 0
    server: StatusServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = StatusServer(
            IPv4Address(self.address),
            self.port,
            lambda: self.status,
            {TARGET: FLOATING, OTHER_TARGET: OTHER_FLOATING}.get,
            lambda: self.live,
            lambda: self.ready,
            lambda: "floatingip_holder 1.0\n",
            self._look,
        )
        self.server.start()

    def _look(self) -> None:
        self.looks += 1


Start = Callable[..., Observer]


@pytest.fixture(name="port")
def _port() -> int:
    return free_port()


@pytest.fixture(name="start")
def _start(port: int) -> Iterator[Start]:
    """Start observers; they are stopped at the end."""
    with ExitStack() as ended:

        def start(address: str = HOLDER, status: Status = SOUND) -> Observer:
            observer = Observer(address, port, status)
            # Not waited for: it takes up to half a second, and every test has a port of its own.
            ended.callback(threading.Thread(target=observer.server.stop, daemon=True).start)
            return observer

        yield start


def fetch(
    port: int, target: str, *, host: str = HOLDER, source: str = HOLDER, method: str = "GET"
) -> tuple[int, str, str]:
    """One request from a chosen local address: status, content type and body."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE, source_address=(source, 0))
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        connection.close()


def word(port: int, target: str = "/v1/word", **how: str) -> dict[str, Any]:
    """The word as it is on the wire."""
    status, kind, body = fetch(port, target, **how)
    assert (status, kind) == (200, "application/json")
    document: dict[str, Any] = json.loads(body)
    return document


def sight(port: int, source: str) -> str:
    """What the holder finds out about an asker in doubt."""
    found = Sight.UNTRIED
    for _ in range(2000):
        found = Sight(word(port, DOUBT, source=source)["sights"][TARGET])
        if found is not Sight.UNTRIED:
            break
    return found


# The server.


def test_the_word_says_who_holds_what_and_how_it_is(port: int, start: Start) -> None:
    """All that an asker needs in order to know whether it counts."""
    holds = {TARGET: Held("a1", "nft is missing"), OTHER_TARGET: Held("a2", leaving="spot")}
    status = replace(
        SOUND, holds=holds, sees_up=("a3",), free_slots=2, serving=("i-c",), leaving=True, claiming=("10.0.0.7",)
    )
    start(status=status)
    assert word(port) == {
        "name": "cluster",
        "instance_id": "i-a",
        "holds": {
            TARGET: {"attachment": "a1", "problem": "nft is missing", "leaving": ""},
            OTHER_TARGET: {"attachment": "a2", "problem": "", "leaving": "spot"},
        },
        "sees_up": ["a3"],
        "free_slots": 2,
        "serving": ["i-c"],
        "leaving": True,
        "claiming": ["10.0.0.7"],
        "peers": {},
        "sights": {},
    }


def test_who_asks_is_told_to_the_others(port: int, start: Start) -> None:
    """By the address that the question came from; nobody is told of itself."""
    observer = start()
    word(port, "/v1/word?asker=i-b", source=ASKER)
    assert word(port, "/v1/word?asker=i-c", source=THIRD)["peers"] == {"i-b": ASKER}
    assert word(port, "/v1/word?asker=i-b", source=ASKER)["peers"] == {"i-c": THIRD}
    assert observer.server.askers() == {"i-b": ASKER, "i-c": THIRD}


def test_who_does_not_say_its_name_is_no_peer(port: int, start: Start) -> None:
    """A person with curl, for example."""
    observer = start()
    word(port)
    assert observer.server.askers() == {}


@pytest.mark.parametrize(("path", "check"), [("/livez", "live"), ("/readyz", "ready")])
def test_the_kubelets_probes_tell_what_is_wrong(port: int, start: Start, path: str, check: str) -> None:
    """200 when all is well, 503 with the reason otherwise, each on its own."""
    observer = start()
    assert fetch(port, path)[0] == 200
    setattr(observer, check, "the deciding thread was last seen 12 s ago")
    status, _, body = fetch(port, path)
    assert (status, body) == (503, "the deciding thread was last seen 12 s ago")
    other = {"/livez": "/readyz", "/readyz": "/livez"}[path]
    assert fetch(port, other)[0] == 200


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/word/", "/metrics/", "/v1/handover", "/../etc/passwd"])
def test_an_unknown_path_is_not_found(port: int, start: Start, path: str) -> None:
    """And the answer says which ones there are."""
    start()
    status, _, body = fetch(port, path)
    assert status == 404
    assert "/v1/word" in body


def test_the_metrics_are_served_as_text(port: int, start: Start) -> None:
    """For Prometheus."""
    start()
    assert fetch(port, "/metrics") == (200, "text/plain", "floatingip_holder 1.0\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_commanded(port: int, start: Start, method: str) -> None:
    """Whoever may move the address is who IAM says; here everything but GET is refused."""
    start()
    status, _, _ = fetch(port, "/v1/word", method=method)
    assert status in (405, 501)


def test_a_server_starts_without_asking_dns(port: int, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPServer asks for its own name, which can take ten seconds just when the network is broken."""

    def asked(*_: object) -> str:
        raise AssertionError("DNS was asked")

    for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo"):
        monkeypatch.setattr(socket, name, asked)
    start()
    assert word(port)["name"] == "cluster"


def test_a_taken_port_is_an_error_of_the_one_who_starts(port: int, start: Start) -> None:
    """It is told by the runner."""
    start()
    with pytest.raises(OSError, match="Address already in use"):
        start()


def test_a_stopped_server_is_silent_on_open_connections_too(port: int) -> None:
    """An asker keeps its connection: the word of one who stopped must not go on vouching."""
    observer = Observer(HOLDER, port)
    connection = http.client.HTTPConnection(HOLDER, port, timeout=PATIENCE)
    connection.request("GET", "/v1/word")
    connection.getresponse().read()
    observer.server.stop()
    try:
        connection.request("GET", "/v1/word")
        answer = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        answer = None
    connection.close()
    assert answer is None


# Sight: the check through the floating address.


@pytest.fixture(name="visitors")
def _visitors(port: int) -> Iterator["queue.SimpleQueue[tuple[str, str]]"]:
    """A status server on the asker's node that notes who fetches what."""
    seen: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.put((self.client_address[0], self.path))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((ASKER, port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield seen
        server.shutdown()


def test_the_holder_fetches_the_status_of_an_asker_in_doubt_from_the_floating_address(
    port: int, start: Start, visitors: "queue.SimpleQueue[tuple[str, str]]"
) -> None:
    """From that very address: otherwise the check would show the primary addresses' path."""
    start()
    assert sight(port, ASKER) == Sight.SEEN
    assert visitors.get(timeout=PATIENCE) == (str(FLOATING), "/livez")


def test_an_asker_that_cannot_be_reached_from_the_floating_address_is_unseen(port: int, start: Start) -> None:
    """Nobody listens there."""
    start()
    assert sight(port, ASKER) == Sight.UNSEEN


def test_without_doubt_nothing_is_fetched(
    port: int, start: Start, visitors: "queue.SimpleQueue[tuple[str, str]]"
) -> None:
    """Two questions a second are cheap; connections back are not."""
    start()
    assert word(port, "/v1/word?asker=i-b", source=ASKER)["sights"] == {}
    with pytest.raises(queue.Empty):
        visitors.get(timeout=0.2)


def test_a_node_without_the_address_has_no_sight(
    port: int, start: Start, visitors: "queue.SimpleQueue[tuple[str, str]]"
) -> None:
    """It could not send from it."""
    start(status=replace(SOUND, holds={}))
    for _ in range(3):
        assert word(port, DOUBT, source=ASKER)["sights"] == {}
    assert visitors.empty()


def test_each_address_in_doubt_is_checked_from_itself(
    port: int, start: Start, visitors: "queue.SimpleQueue[tuple[str, str]]"
) -> None:
    """One that works says nothing of another; and those that are not doubted are left alone."""
    start(status=replace(SOUND, holds={TARGET: Held("a1"), OTHER_TARGET: Held("a2"), "10.0.0.102": Held("a3")}))
    asked = f"{DOUBT}&doubt={OTHER_TARGET}"
    assert word(port, asked, source=ASKER)["sights"] == {TARGET: "untried", OTHER_TARGET: "untried"}
    assert {visitors.get(timeout=PATIENCE)[0] for _ in range(2)} == {str(FLOATING), str(OTHER_FLOATING)}
    assert visitors.empty()


def test_an_address_without_a_source_is_untried(port: int, start: Start) -> None:
    """An Elastic IP whose interface is not known yet: unseen would speak against the holder."""
    start(status=replace(SOUND, holds={"eipalloc-1": Held("a1")}))
    for _ in range(3):
        assert word(port, "/v1/word?asker=i-b&doubt=eipalloc-1", source=ASKER)["sights"] == {"eipalloc-1": "untried"}


def test_a_sight_is_told_again_while_it_is_checked_anew(
    port: int, start: Start, visitors: "queue.SimpleQueue[tuple[str, str]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder must not seem blind for one answer every few seconds, or that one starts a move."""
    monkeypatch.setattr(module, "SIGHT_CHECKED", 0.0)
    start()
    assert sight(port, ASKER) == Sight.SEEN
    for _ in range(5):
        assert word(port, DOUBT, source=ASKER)["sights"] == {TARGET: "seen"}


# The asking side.


class Asking:
    """The asking side of i-b: what its threads post is received when the test lets time pass."""

    def __init__(self, port: int) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self.peers = Peers("i-b", port, self._inbox.put)
        self.now = 100.0

    def follow(self, holder: str = "i-a", address: str = HOLDER, *, doubt: bool = False, **askers: str) -> None:
        """Follow a holder at an address, and those who asked us (``c="127.0.0.4"`` for i-c)."""
        known = {f"i-{name}": place for name, place in askers.items()}
        holders = {holder: ip_address(address)} if holder else {}
        self.peers.follow(holders, known, frozenset({TARGET} if doubt else ()), self.now)

    def end(self) -> None:
        """Follow nobody."""
        self.peers.follow({}, {}, frozenset(), self.now + 1e6)

    def receive(self) -> bool:
        """Receive the next answer, and tell whether it says anything new."""
        return self._inbox.get(timeout=PATIENCE)()

    def word(self, *, holder: str = "i-a", target: str = TARGET, attachment: str = "a1") -> Word:
        """The holder's word on an address."""
        judged = Attachment(attachment, holder, 1, AttachmentStatus.ATTACHED)
        return word_on(self.peers.answer(holder), "cluster", target, judged, unreachable=False)

    def state(self, *, holder: str = "i-a", target: str = TARGET, attachment: str = "a1") -> WordState:
        """The state of the holder's word."""
        return self.word(holder=holder, target=target, attachment=attachment).state

    def until(self, condition: Callable[[], bool]) -> None:
        """Receive answers until that is so."""
        while not condition():
            self.receive()


@pytest.fixture(name="asking")
def _asking(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    """Ask much more often than twice a second."""
    monkeypatch.setattr(module, "ASK_EVERY", 0.02)
    asking = Asking(port)
    yield asking
    asking.end()


def test_a_holder_that_was_not_asked_yet_is_not_silent(asking: Asking) -> None:
    """Nothing is known."""
    assert asking.state() is WordState.UNASKED


def test_a_holder_that_vouches_for_the_judged_attachment_is_sound(asking: Asking, start: Start) -> None:
    """Our name, its instance id, the attachment that is judged."""
    start()
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SOUND


def test_only_a_word_that_differs_from_the_last_one_is_new(asking: Asking, start: Start) -> None:
    """Twice a second somebody says what was known."""
    server = start()
    asking.follow()
    assert [asking.receive() for _ in range(3)] == [True, False, False]
    server.server.stop()
    asking.until(lambda: asking.state() is WordState.SILENT)
    assert asking.receive() is False


def test_a_holder_that_tells_a_problem_is_unsound(asking: Asking, start: Start) -> None:
    """With the reason."""
    start(status=UNSOUND)
    asking.follow()
    asking.receive()
    told = asking.word()
    assert (told.state, told.detail) == (WordState.UNSOUND, "nft is missing")


@pytest.mark.parametrize(
    "status",
    [
        replace(SOUND, name="other"),
        replace(SOUND, instance_id="i-x"),
        replace(SOUND, holds={TARGET: Held("a0")}),
        replace(SOUND, holds={OTHER_TARGET: Held("a1")}),
        Status("", ""),
    ],
    ids=["other name", "other instance", "other attachment", "other address", "nothing"],
)
def test_a_word_of_something_else_vouches_for_nothing(asking: Asking, start: Start, status: Status) -> None:
    """Nor is it silence: somebody is there."""
    start(status=status)
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.OTHER


def test_a_refused_connection_is_silence(asking: Asking) -> None:
    """No observer runs there, so nobody will repair that node."""
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SILENT


def test_a_node_that_accepts_and_says_nothing_is_silent(
    asking: Asking, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung process: the kernel still shakes hands."""
    monkeypatch.setattr(module, "ASK_TIMEOUT", 0.05)
    with socket.create_server((HOLDER, port)):
        asking.follow()
        asking.receive()
        assert asking.state() is WordState.SILENT


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "null",
        "7",
        "{}",
        '{"peers": []}',
        '{"name": "cluster", "instance_id": "i-a", "holds": "a1"}',
        '{"name": "", "instance_id": "i-a", "holds": ["a1"], "sees_up": [], "free_slots": 1, "peers": {}, '
        '"sights": {}}',
        '{"name": "", "instance_id": "i-a", "holds": {"x": "a1"}, "sees_up": [], "free_slots": 1, "peers": {}, '
        '"sights": {}}',
        '{"name": "", "instance_id": "i-a", "holds": {}, "sees_up": [], "free_slots": "many", "peers": {}, '
        '"sights": {}}',
        '{"name": "", "instance_id": "i-a", "holds": {}, "sees_up": [], "free_slots": 1, "peers": {}, '
        '"sights": {"x": 7}}',
    ],
)
def test_an_answer_that_is_no_word_is_silence(asking: Asking, port: int, body: str) -> None:
    """Something else listens on that port; it does not speak for the node."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((HOLDER, port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        asking.follow()
        asking.receive()
        assert asking.state() is WordState.SILENT
        server.shutdown()


def test_a_holder_without_an_address_is_silent(asking: Asking) -> None:
    """EC2 shows none for a terminated instance: it cannot be asked."""
    assert word_on(None, "cluster", TARGET, ATTACHED, unreachable=True).state is WordState.SILENT


def test_while_nobody_holds_the_address_there_is_no_word_on_it(asking: Asking, start: Start) -> None:
    """Silence would speak against the next holder before it was asked."""
    assert word_on(None, "cluster", TARGET, None, unreachable=True).state is WordState.UNASKED
    start()
    asking.follow()
    asking.receive()
    assert word_on(asking.peers.answer("i-a"), "cluster", TARGET, None, unreachable=False).state is WordState.UNASKED


def test_each_address_of_a_holder_has_its_own_word(asking: Asking, start: Start) -> None:
    """One question for all of them; one that is sick says nothing of another."""
    start(status=replace(UNSOUND, holds={**UNSOUND.holds, OTHER_TARGET: Held("a2")}))
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.UNSOUND
    assert asking.state(target=OTHER_TARGET, attachment="a2") is WordState.SOUND
    assert asking.state(target="10.0.0.102", attachment="a3") is WordState.OTHER


def test_an_asker_in_doubt_is_told_the_sight(asking: Asking, port: int, start: Start) -> None:
    """On loopback the question comes from the holder's own address, where its own status answers."""
    start()
    asking.follow(doubt=True)
    asking.until(lambda: asking.word().sight is Sight.SEEN)


def test_those_of_whom_the_holder_tells_are_asked_too(asking: Asking, port: int, start: Start) -> None:
    """So that observers know each other without a list of nodes."""
    start()
    third = start(THIRD, Status("cluster", "i-c", sees_up=("a1",)))
    word(port, "/v1/word?asker=i-c", source=THIRD)
    asking.follow()
    asking.receive()
    asking.follow()
    asking.until(lambda: bool([peer for peer in asking.peers.others("cluster") if peer.instance_id == "i-c"]))
    (peer,) = [peer for peer in asking.peers.others("cluster") if peer.instance_id == "i-c"]
    assert peer.sees_up == ("a1",)
    assert "i-b" in third.server.askers()


def test_what_an_observer_of_another_name_sees_up_does_not_count(asking: Asking, start: Start) -> None:
    """It watches another address."""
    start(THIRD, Status("other", "i-c", sees_up=("a1",)))
    asking.follow("", c=THIRD)
    asking.receive()
    assert [peer.sees_up for peer in asking.peers.others("cluster")] in ([], [()])


def test_a_peer_that_never_answered_is_none(asking: Asking) -> None:
    """It is not waited for, and its silence proves nothing."""
    asking.follow("", c=THIRD)
    asking.receive()
    assert asking.peers.others("cluster") == ()


def test_a_peer_that_falls_silent_keeps_the_time_when_it_was_heard(asking: Asking, start: Start) -> None:
    """That time is the evidence of this node's own network."""
    observer = start(THIRD, Status("cluster", "i-c"))
    asking.follow("", c=THIRD)
    asking.receive()
    (heard,) = asking.peers.others("cluster")
    observer.status = Status("cluster", "i-other")
    asking.until(lambda: asking.state(holder="i-c") is WordState.OTHER)
    (later,) = asking.peers.others("cluster")
    assert later.heard_at >= heard.heard_at
    asking.receive()
    assert asking.peers.others("cluster")[0].heard_at == later.heard_at


def test_who_is_not_followed_any_more_says_nothing(asking: Asking, start: Start) -> None:
    """A holder of yesterday cannot vouch for today's."""
    start()
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SOUND
    asking.end()
    assert asking.state() is WordState.UNASKED


def test_this_node_never_asks_itself(asking: Asking, port: int, start: Start) -> None:
    """Neither as holder nor because somebody tells of it."""
    observer = start()
    asking.follow("i-b", HOLDER, b=HOLDER)
    word(port)
    assert observer.server.askers() == {}


def test_a_peer_tells_how_many_more_enis_its_node_could_take(asking: Asking, start: Start) -> None:
    """What the survivors of this node could do; None while a node does not know itself."""
    observer = start(THIRD, Status("cluster", "i-c", free_slots=3))
    asking.follow("", c=THIRD)
    asking.until(lambda: [peer.free_slots for peer in asking.peers.others("cluster")] == [3])
    observer.status = Status("cluster", "i-c")
    asking.until(lambda: [peer.free_slots for peer in asking.peers.others("cluster")] == [None])


# One question, by a person's command.


def test_one_question_is_answered_with_the_status(port: int, start: Start) -> None:
    """And makes nobody a peer."""
    observer = start(status=UNSOUND)
    assert ask(HOLDER, port) == UNSOUND
    assert observer.server.askers() == {}


def test_one_question_to_nobody_has_no_answer(port: int) -> None:
    """A node without an observer."""
    assert ask(HOLDER, port) is None
