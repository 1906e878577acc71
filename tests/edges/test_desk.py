"""What is answered to whom: a peer, this node itself, and anybody else."""

import json
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any

import pytest

from floatingip.core.word import Held, Status
from floatingip.runtime.desk import LOOPBACK
from tests.edges.observers import (
    ASKER,
    FLOATING,
    HOLDER,
    OTHER_FLOATING,
    OTHER_TARGET,
    SOUND,
    STRANGER,
    TARGET,
    THIRD,
    Observer,
    Start,
)
from tests.waiting import until

FULL = "eni-0123 is full"
SECRET = f"{TARGET}: {FULL}"
IPV6 = IPv6Address("::1")


def word(observer: Observer, asker: str, source: str, more: str = "") -> dict[str, Any]:
    """What one who asks is told."""
    status, text = observer.desk.answer(f"/v1/word?asker={asker}{more}", source)
    assert status is HTTPStatus.OK
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture(name="observer")
def _observer(start: Start) -> Observer:
    observer = start()
    observer.meet(b=ASKER, c=THIRD)
    return observer


def test_a_peer_and_this_node_itself_are_told_all(observer: Observer) -> None:
    """A peer by its instance and its address together; this node, as a command in its own pod asks it."""
    told = word(observer, "i-b", ASKER)
    assert (told["name"], told["instance_id"]) == ("cluster", "i-a")
    assert told["holds"] == {TARGET: {"attachment": "a1", "problem": "", "leaving": "", "written_off": False}}
    assert word(observer, "", HOLDER)["name"] == "cluster"
    assert word(observer, "i-a", HOLDER)["name"] == "cluster"


@pytest.mark.parametrize(
    ("asker", "source"), [("", STRANGER), ("i-b", STRANGER), ("i-b", THIRD), ("i-d", ASKER), ("i-a", STRANGER)]
)
def test_anybody_else_is_told_whether_it_is_ready_and_nothing_more(observer: Observer, asker: str, source: str) -> None:
    """No name, no attachment, no address; and cannot have EC2 looked at, nor a connection made."""
    told = word(observer, asker, source, f"&look=soon&doubt={TARGET}")
    assert told == {"ready": True}
    observer.not_ready = FULL
    assert word(observer, asker, source) == {"ready": False}
    assert observer.looks == 0
    assert {*observer.roster.askers(0.0)} <= {"i-b", "i-c"}


@pytest.mark.parametrize(
    ("path", "what", "value", "reason"),
    [
        ("/livez", "stalled_for", 60.0, "the deciding thread was last seen 60 s ago"),
        ("/readyz", "not_ready", FULL, SECRET),
    ],
)
def test_the_reason_is_told_to_the_kubelet_and_to_peers(
    observer: Observer, path: str, what: str, value: object, reason: str
) -> None:
    """To others only that there is one; each check is its own."""
    for source in (HOLDER, ASKER, STRANGER):
        assert observer.desk.answer(path, source) == (HTTPStatus.OK, "ok")
    setattr(observer, what, value)
    for source in (HOLDER, ASKER):
        assert observer.desk.answer(path, source) == (HTTPStatus.SERVICE_UNAVAILABLE, reason)
    assert observer.desk.answer(path, STRANGER)[0] is HTTPStatus.SERVICE_UNAVAILABLE
    assert observer.desk.answer(path, STRANGER)[1] in ("not live", "not ready")
    assert (observer.desk.answer("/livez", STRANGER)[0] is HTTPStatus.OK) == (path == "/readyz")


def test_what_a_hanging_thread_has_published_is_told_to_nobody_as_if_it_were_so(observer: Observer) -> None:
    """It is not ready, whatever it said; and who asks for its word hears what a dead observer says: nothing.

    A holder would vouch for its address for ever, and a standby tell that it sees a dead one UP.
    """
    observer.stalled_for = 9.0
    assert observer.desk.answer("/readyz", HOLDER)[0] is HTTPStatus.OK
    assert word(observer, "i-b", ASKER)["holds"]
    observer.stalled_for = 11.0
    hangs = (HTTPStatus.SERVICE_UNAVAILABLE, "the deciding thread was last seen 11 s ago")
    assert observer.desk.answer("/readyz", HOLDER) == hangs
    assert observer.desk.answer("/readyz", STRANGER) == (HTTPStatus.SERVICE_UNAVAILABLE, "not ready")
    assert observer.desk.answer("/", STRANGER) == (HTTPStatus.FORBIDDEN, "not ready")
    for source in (HOLDER, ASKER, STRANGER):
        assert observer.desk.answer("/v1/word?asker=i-b", source)[0] is HTTPStatus.SERVICE_UNAVAILABLE


def test_another_thread_that_hangs_has_it_restarted(observer: Observer) -> None:
    """It is neither alive nor ready; but what the deciding thread says counts."""
    observer.hangs = "the thread that probes has hung for 12 s"
    for path in ("/livez", "/readyz"):
        assert observer.desk.answer(path, HOLDER) == (HTTPStatus.SERVICE_UNAVAILABLE, observer.hangs)
    assert word(observer, "i-b", ASKER)["holds"]
    assert word(observer, "i-b", STRANGER) == {"ready": False}


def test_what_else_should_be_known_is_told_beside_that_it_is_ready(observer: Observer) -> None:
    """To the kubelet and to peers: it is no reason not to be ready, nor to be restarted, and nobody else's business."""
    observer.note = "no other observer answers"
    for source in (HOLDER, ASKER):
        assert observer.desk.answer("/readyz", source) == (HTTPStatus.OK, "ok; no other observer answers")
        assert observer.desk.answer("/livez", source) == (HTTPStatus.OK, "ok")
    assert observer.desk.answer("/readyz", STRANGER) == (HTTPStatus.OK, "ok")
    observer.not_ready = FULL
    told = f"{SECRET}; no other observer answers"
    assert observer.desk.answer("/readyz", HOLDER) == (HTTPStatus.SERVICE_UNAVAILABLE, told)
    assert observer.desk.answer("/readyz", STRANGER)[1] == "not ready"


def test_who_asks_is_told_to_the_others(observer: Observer) -> None:
    """By the address that EC2 shows; nobody is told of itself."""
    word(observer, "i-b", ASKER)
    assert word(observer, "i-c", THIRD)["peers"] == {"i-b": ASKER}
    assert word(observer, "i-b", ASKER)["peers"] == {"i-c": THIRD}
    assert word(observer, "", HOLDER)["peers"] == {"i-b": ASKER, "i-c": THIRD}


def test_a_peer_has_ec2_looked_at(observer: Observer) -> None:
    """It has written an order there."""
    word(observer, "i-b", ASKER, "&look=soon")
    assert observer.looks == 1


@pytest.mark.parametrize("path", ["/v1", "/v1/word/", "/metrics/", "/v1/handover", "/../etc/passwd", "", "*"])
def test_an_unknown_path_is_not_found(observer: Observer, path: str) -> None:
    """And the answer says which ones there are."""
    status, text = observer.desk.answer(path, STRANGER)
    assert status is HTTPStatus.NOT_FOUND
    assert "/v1/word" in text


@pytest.mark.parametrize("target", ["//[", "http://[::1/v1/word", "/v1/word?" + "a=b&" * 1000, "/v1/word?asker=%ff%00"])
def test_no_question_raises(observer: Observer, target: str) -> None:
    for source in (ASKER, HOLDER, STRANGER):
        assert observer.desk.answer(target, source)[0] in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST)


def test_the_metrics_are_gathered_once_a_second_at_most(observer: Observer) -> None:
    """For Prometheus, which is a pod like any other."""
    answers = {observer.desk.answer("/metrics", STRANGER) for _ in range(100)}
    assert answers == {(HTTPStatus.OK, "floatingip_holder 1.0\n")}


def test_those_who_are_known_have_places_of_their_own(observer: Observer) -> None:
    """The kubelet, the peers, and the floating addresses: by these, holders check how this node sees them."""
    assert all(map(observer.desk.knows, (HOLDER, ASKER, THIRD, str(FLOATING))))
    assert not observer.desk.knows(STRANGER)


# The whole report, and the page.


@pytest.mark.parametrize("path", ["/v1/status", "/v1/status?asker=i-b", "/"])
def test_this_node_loopback_and_peers_may_read_everything(observer: Observer, path: str) -> None:
    """`kubectl port-forward` comes from loopback."""
    for source in (HOLDER, LOOPBACK, THIRD):
        status, text = observer.desk.answer(path, source)
        assert (status, "i-a" in text) == (HTTPStatus.OK, True)


def test_the_page_reloads_itself_where_it_is_asked_to(observer: Observer) -> None:
    pages = [observer.desk.answer(path, LOOPBACK)[1] for path in ("/", "/?", "/?reload")]
    assert ['http-equiv="refresh"' in each for each in pages] == [False, False, True]


@pytest.mark.parametrize("path", ["/v1/status", "/v1/status?asker=i-b", "/v1/status?asker=i-a", "/", "/?reload"])
def test_strangers_may_not_and_are_told_its_health_alone(observer: Observer, path: str) -> None:
    """As with the word: no name, no address, no reason."""
    observer.not_ready = FULL
    status, text = observer.desk.answer(path, STRANGER)
    assert (status, text) == (HTTPStatus.FORBIDDEN, "not ready" if path in ("/", "/?reload") else '{"ready": false}')


def test_a_peer_that_ec2_has_not_shown_yet_is_asked_about(observer: Observer) -> None:
    """So that `floatingip status` on a new node is told a moment later."""
    assert observer.desk.answer("/v1/status?asker=i-d", STRANGER)[0] is HTTPStatus.FORBIDDEN
    assert observer.claims.get(timeout=1.0) is None


# Sight: what is asked for, and for whom.


def sights(observer: Observer, doubted: str, asker: str = "i-b", source: str = ASKER) -> dict[str, str]:
    """What one who doubts these is told."""
    found: dict[str, str] = word(observer, asker, source, doubted)["sights"]
    return found


def test_there_is_no_sight_without_doubt_nor_for_this_node_itself(observer: Observer) -> None:
    """Two questions a second are cheap; connections back are not."""
    assert sights(observer, "") == sights(observer, f"&doubt={TARGET}", "", HOLDER) == {}


def test_a_node_without_the_address_has_no_sight(start: Start) -> None:
    """It could not send from it."""
    observer = start(status=Status("cluster", "i-a"))
    observer.meet(b=ASKER)
    assert sights(observer, f"&doubt={TARGET}") == {}


def test_an_address_without_a_source_is_untried(start: Start) -> None:
    """An Elastic IP whose interface is not known yet: unseen would speak against the holder."""
    observer = start(status=Status("cluster", "i-a", holds={"eipalloc-1": Held("a1")}))
    observer.meet(b=ASKER)
    for _ in range(3):
        assert sights(observer, "&doubt=eipalloc-1") == {"eipalloc-1": "untried"}


def test_each_address_in_doubt_is_checked_from_itself(start: Start) -> None:
    """One that works says nothing of another; and those that are not doubted are left alone."""
    holds = {TARGET: Held("a1"), OTHER_TARGET: Held("a2"), "10.0.0.102": Held("a3")}
    observer = start(status=Status("cluster", "i-a", holds=holds))
    observer.meet(b=ASKER)
    start(ASKER, SOUND)
    doubted = f"&doubt={TARGET}&doubt={OTHER_TARGET}"
    assert sights(observer, doubted) == {TARGET: "untried", OTHER_TARGET: "untried"}
    until(lambda: sights(observer, doubted) == {TARGET: "seen", OTHER_TARGET: "seen"})
    assert OTHER_FLOATING != FLOATING


@pytest.mark.parametrize(("ipv6", "sight"), [(IPV6, "seen"), (None, "untried")])
def test_an_ipv6_address_reaches_the_asker_by_ipv6(start: Start, ipv6: IPv6Address | None, sight: str) -> None:
    """Though peers ask each other by IPv4, and nobody listens there by IPv6: the asker's kernel answers.  Where EC2
    shows no such address of the asker nothing is known; unseen would speak against the holder (R4).
    """
    target = "2001:db8:0:1::100"
    observer = start(status=Status("cluster", "i-a", holds={target: Held("a1")}), sources={target: IPV6})
    observer.meet(ipv6, b=ASKER)
    sights(observer, f"&doubt={target}")
    until(lambda: sights(observer, f"&doubt={target}") == {target: sight})
