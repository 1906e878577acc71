"""What the other observers say, asked between real sockets on loopback; and what silence is."""

import queue
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from floatingip.agent.events import Event, Heard, Reported
from floatingip.agent.peers import Peers
from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.model import Address
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.report import Report
from floatingip.core.word import RESERVED, Answer, Held, Status, to_peer, word_on
from floatingip.edges import clock
from floatingip.runtime.peers import Askers, Contact
from tests.edges.observers import ASKER, HOLDER, OTHER_TARGET, PATIENCE, SOUND, TARGET, THIRD, UNSOUND, Observer, Start
from tests.edges.strangers import saying, stranger

ATTACHED = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)


@pytest.fixture(name="meet")
def _meet(start: Start) -> Start:
    """Start observers to which EC2 has shown the asker."""

    def meet(address: str = HOLDER, status: Status = SOUND) -> Observer:
        observer = start(address, status)
        observer.meet(b=ASKER)
        return observer

    return meet


class Asking:
    """The asking side of i-b: what its threads hear is received when the test lets time pass."""

    def __init__(self, port: int, own: str = ASKER) -> None:
        self._inbox: queue.SimpleQueue[tuple[str, Answer]] = queue.SimpleQueue()
        self.reports: queue.SimpleQueue[tuple[str, Report]] = queue.SimpleQueue()
        self._askers = Askers("i-b", ip_address(own), port, self._post)
        self.peers = Peers()

    def _post(self, event: Event) -> None:
        match event:
            case Heard(instance_id, answer):
                self._inbox.put((instance_id, answer))
            case Reported(instance_id, report):
                self.reports.put((instance_id, report))

    def follow(self, holder: str = "i-a", address: str = HOLDER, *, doubt: bool = False, **peers: str) -> None:
        """Follow a holder at an address, and those peers (``c="127.0.0.4"`` for i-c)."""
        known = {f"i-{name}": ip_address(place) for name, place in peers.items()}
        holders = {holder: ip_address(address)} if holder else {}
        self._ask({**known, **holders}, frozenset({TARGET} if doubt else ()))

    def end(self) -> None:
        """Follow nobody."""
        self._ask({}, frozenset())

    def _ask(self, addresses: Mapping[str, Address], doubted: frozenset[str]) -> None:
        self.peers.ask(addresses)
        self._askers.follow(addresses, doubted)

    def receive(self) -> bool:
        """Receive the next answer, and tell whether it says anything new."""
        return self.peers.heard(*self._inbox.get(timeout=PATIENCE))

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
    monkeypatch.setattr(timing, "ASK_EVERY", 0.02)
    asking = Asking(port)
    yield asking
    asking.end()


def test_an_observer_asks_from_its_instance_s_primary_address(port: int, start: Start) -> None:
    """The kernel may prefer another one, as after a DHCP lease has ended and come back beside other addresses: by that
    one nobody would know who asks, and a holder that asks to be relieved would not be heard.
    """
    own = "127.0.0.9"
    start(HOLDER, SOUND).meet(b=own)
    asking = Asking(port, own)
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SOUND
    asking.end()


WORDS = {
    "our name, its instance, the judged attachment": (SOUND, WordState.SOUND, ""),
    "a problem": (UNSOUND, WordState.UNSOUND, "nft is missing"),
    "another name": (replace(SOUND, name="other"), WordState.OTHER, ""),
    "another instance": (replace(SOUND, instance_id="i-d"), WordState.OTHER, ""),
    "another attachment": (replace(SOUND, holds={TARGET: Held("a0")}), WordState.OTHER, ""),
    "another address": (replace(SOUND, holds={OTHER_TARGET: Held("a1")}), WordState.OTHER, ""),
}


@pytest.mark.parametrize(("status", "state", "problem"), WORDS.values(), ids=WORDS)
def test_what_a_holder_says_of_the_judged_attachment(
    asking: Asking, meet: Start, status: Status, state: WordState, problem: str
) -> None:
    """A word of something else vouches for nothing; nor is it silence: somebody is there."""
    meet(status=status)
    asking.follow()
    asking.receive()
    told = asking.word()
    assert (told.state, told.detail) == (state, problem)


def test_only_a_word_that_differs_from_the_last_one_is_new(asking: Asking, meet: Start) -> None:
    """Twice a second somebody says what was known."""
    server = meet()
    asking.follow()
    assert [asking.receive() for _ in range(3)] == [True, False, False]
    server.server.stop()
    asking.until(lambda: asking.state() is WordState.SILENT)
    assert asking.receive() is False


def test_a_refused_connection_is_silence(asking: Asking) -> None:
    """No observer runs there, so nobody will repair that node."""
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SILENT


def test_a_node_that_accepts_and_says_nothing_is_silent(
    asking: Asking, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hung process: the kernel still shakes hands."""
    monkeypatch.setattr(timing, "ASK_TIMEOUT", 0.05)
    with socket.create_server((HOLDER, port)):
        asking.follow()
        asking.receive()
        assert asking.state() is WordState.SILENT


def http(body: bytes) -> bytes:
    """An answer with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


WORD = to_peer(SOUND, {}, {}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        http(b"hello"),
        http(b"[" * 100_000),
        http(b'{"peers": ' * 10_000),
        http(WORD[:-1]),
        http(WORD).replace(b"200 OK", b"404 Not Found"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + WORD,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + WORD,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"y" * 65_000 + b"\r\n") * 99 + b"\r\n" + WORD,
        b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"\x16\x03\x01" * 100,
    ],
)
def test_an_answer_that_is_no_word_is_silence(answer: bytes) -> None:
    """Something else listens on that port; it does not speak for the node, and ends nothing here."""
    with stranger(saying(answer, hangs_up=True)) as server:
        assert Contact("127.0.0.1", server.port).ask().status is None


def test_an_answer_that_drips_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all of it, not for each byte."""
    monkeypatch.setattr(timing, "ASK_TIMEOUT", 0.1)
    with stranger(lambda connection, _: server.drip(connection, http(WORD))) as server:
        began = clock.now()
        assert Contact("127.0.0.1", server.port).ask().status is None
        assert clock.now() - began < PATIENCE


def test_while_nobody_holds_the_address_there_is_no_word_on_it(asking: Asking, meet: Start) -> None:
    """Silence would speak against the next holder before it was asked."""
    assert word_on(None, "cluster", TARGET, None, unreachable=True).state is WordState.UNASKED
    meet()
    asking.follow()
    asking.receive()
    assert word_on(asking.peers.answer("i-a"), "cluster", TARGET, None, unreachable=False).state is WordState.UNASKED


def test_each_address_of_a_holder_has_its_own_word(asking: Asking, meet: Start) -> None:
    """One question for all of them; one that is sick says nothing of another."""
    meet(status=replace(UNSOUND, holds={**UNSOUND.holds, OTHER_TARGET: Held("a2")}))
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.UNSOUND
    assert asking.state(target=OTHER_TARGET, attachment="a2") is WordState.SOUND
    assert asking.state(target="10.0.0.102", attachment="a3") is WordState.OTHER


def test_an_asker_in_doubt_is_told_the_sight(asking: Asking, meet: Start, start: Start) -> None:
    """The holder fetches its status from the floating address."""
    meet()
    start(ASKER, Status("cluster", "i-b"))
    asking.follow(doubt=True)
    asking.until(lambda: asking.word().sight is Sight.SEEN)


def test_an_asker_that_cannot_be_reached_from_the_floating_address_is_unseen(asking: Asking, meet: Start) -> None:
    meet()
    asking.follow(doubt=True)
    asking.until(lambda: asking.word().sight is Sight.UNSEEN)


def test_a_sight_is_told_again_while_it_is_checked_anew(
    asking: Asking, meet: Start, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder must not seem blind for one answer every few seconds, or that one starts a move."""
    monkeypatch.setattr(timing, "SIGHT_CHECKED_EVERY", 0.0)
    meet()
    start(ASKER, Status("cluster", "i-b"))
    asking.follow(doubt=True)
    asking.until(lambda: asking.word().sight is Sight.SEEN)
    for _ in range(5):
        asking.receive()
        assert asking.word().sight is Sight.SEEN


def test_an_observer_that_does_not_know_us_yet_vouches_for_nothing(asking: Asking, start: Start) -> None:
    """Nor is it silent: that would convict the holder of a new observer.  Once EC2 has shown us it says all."""
    holder = start()
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.OTHER
    assert asking.peers.others("cluster") == ()
    assert holder.claims.get(timeout=PATIENCE) is None
    holder.meet(b=ASKER)
    asking.until(lambda: asking.state() is WordState.SOUND)


def test_those_of_whom_the_holder_tells_are_known(asking: Asking, meet: Start) -> None:
    """So that observers know each other without a list of nodes; by their instances, which EC2 is asked about."""
    holder = meet()
    holder.meet(b=ASKER, c=THIRD)
    assert holder.roster.is_peer("i-c", THIRD, clock.now())
    asking.follow()
    asking.until(lambda: "i-c" in asking.peers.known(clock.now()))
    assert asking.peers.known(clock.now()) == {"i-a", "i-c"}
    assert asking.peers.addresses == {"i-a": ip_address(HOLDER)}


def test_who_answered_lately_is_known_whether_or_not_anybody_tells_of_it(asking: Asking, meet: Start) -> None:
    """Its silence is what matters then."""
    meet()
    asking.follow()
    asking.until(lambda: asking.state() is WordState.SOUND)
    heard = clock.now()
    assert asking.peers.known(heard + timing.HEARD_KEPT / 2) == {"i-a"}
    assert asking.peers.known(heard + timing.HEARD_KEPT + 1.0) == frozenset()


def test_who_speaks_for_another_instance_is_no_peer(asking: Asking, meet: Start) -> None:
    """A word is its own node's: that of i-c is not to be had at i-a's address, whoever listens there by now."""
    observer = meet(THIRD, Status("cluster", "i-c", sees_up=("a1",)))
    asking.follow("", c=THIRD)
    asking.until(lambda: bool(asking.peers.others("cluster")))
    observer.status = Status("cluster", "i-d", sees_up=("a1",), claiming=(TARGET,))
    asking.until(lambda: asking.peers.others("cluster") == ())


def test_an_observer_of_another_name_is_none_that_could_take_over(asking: Asking, meet: Start) -> None:
    """Of several deployments in one cluster: people and metrics are told of this one's only."""
    meet(THIRD, Status("other", "i-c"))
    asking.follow("", c=THIRD)
    assert [each.instance_id for each in asking.peers.shown(lambda _: "", "cluster")] == ["i-c"], "not known yet"
    asking.receive()
    assert asking.peers.shown(lambda _: "", "cluster") == ()
    assert [each.instance_id for each in asking.peers.shown(lambda _: "", "other")] == ["i-c"]


def test_a_peer_that_never_answered_is_none(asking: Asking) -> None:
    """It is not waited for, and its silence proves nothing."""
    asking.follow("", c=THIRD)
    asking.receive()
    assert asking.peers.others("cluster") == ()


def test_a_peer_that_falls_silent_keeps_the_time_when_it_was_heard(asking: Asking, meet: Start) -> None:
    """That time is the evidence of this node's own network."""
    observer = meet(THIRD, Status("cluster", "i-c"))
    asking.follow("", c=THIRD)
    asking.receive()
    (heard,) = asking.peers.others("cluster")
    observer.server.stop()
    asking.until(lambda: asking.state(holder="i-c") is WordState.SILENT)
    (silent,) = asking.peers.others("cluster")
    assert silent.heard_at >= heard.heard_at
    asking.receive()
    (later,) = asking.peers.others("cluster")
    assert later.heard_at == silent.heard_at


def test_who_is_not_followed_yet_or_any_more_says_nothing(asking: Asking, meet: Start) -> None:
    """That is no silence; and a holder of yesterday cannot vouch for today's."""
    assert asking.state() is WordState.UNASKED
    meet()
    asking.follow()
    asking.receive()
    assert asking.state() is WordState.SOUND
    asking.end()
    assert asking.state() is WordState.UNASKED


def test_a_peer_tells_how_many_more_enis_its_node_could_take(asking: Asking, meet: Start) -> None:
    """What the survivors of this node could do; None while a node does not know itself."""
    observer = meet(THIRD, Status("cluster", "i-c", free_slots=3))
    asking.follow("", c=THIRD)
    asking.until(lambda: [peer.free_slots for peer in asking.peers.others("cluster")] == [3])
    observer.status = Status("cluster", "i-c")
    asking.until(lambda: [peer.free_slots for peer in asking.peers.others("cluster")] == [None])


# One question, by a person's command.


def test_one_question_is_answered_with_the_status_to_a_peers_node_and_to_others_too(port: int, start: Start) -> None:
    """`floatingip handover`, in a pod; `floatingip release`, at home: an observer is there, unless nobody is."""
    assert Contact(HOLDER, port).ask().status is None
    start(status=UNSOUND).meet(b=ASKER)
    assert Contact(HOLDER, port, "i-b").ask().status == UNSOUND
    assert Contact(HOLDER, port).ask().status == RESERVED


# Reports, for people.


def test_a_peer_is_asked_for_its_report_as_well(asking: Asking, meet: Start) -> None:
    """Now and then, and without what it knows of others."""
    server = meet()
    server.not_ready = "no free slot"
    asking.follow()
    instance_id, report = asking.reports.get(timeout=PATIENCE)
    assert (instance_id, report.instance, report.peers) == ("i-a", "i-a", ())
    assert [each.problem for each in report.addresses if each.address == TARGET] == ["no free slot"]
    asking.peers.reported(instance_id, report, 5.0)
    assert [(each.report, each.reported_at) for each in asking.peers.shown(lambda _: "", "cluster")] == [(report, 5.0)]
    assert asking.reports.empty()


def test_nobody_is_asked_for_a_report_while_an_address_is_in_doubt(asking: Asking, meet: Start) -> None:
    """The next word is what counts."""
    meet()
    asking.follow(doubt=True)
    for _ in range(5):
        asking.receive()
    assert asking.reports.empty()


def test_a_report_of_somebody_else_is_not_taken_for_a_peers(asking: Asking) -> None:
    """Nor one of whom nobody asks any more."""
    asking.peers.ask({"i-a": ip_address(HOLDER)})
    asking.peers.reported("i-a", Report(0.0, "i-d"), 5.0)
    asking.peers.reported("i-d", Report(0.0, "i-d"), 5.0)
    assert [each.report for each in asking.peers.shown(lambda _: "", "cluster")] == [None]
    asking.peers.reported("i-a", Report(0.0, "i-a"), 5.0)
    asking.peers.ask({"i-a": ip_address(THIRD)})
    assert [each.report for each in asking.peers.shown(lambda _: "", "cluster")] == [None]
