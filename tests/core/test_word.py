"""The word as JSON, both ways: what a peer says arrives as it was said, and whatever else comes is silence.

Of what a newer version says during a rollout only what is not known is passed over: were the whole word silence, an
older standby would take each newer holder for one whose observer is dead.
"""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.word import (
    LONGEST,
    MOST,
    PEERS_AT_MOST,
    RESERVED,
    SENTENCE_LONGEST,
    Answer,
    Held,
    Status,
    is_instance_id,
    parse,
    to_peer,
    to_stranger,
    word_on,
)

PEERS = {"i-b": IPv4Address("10.0.0.11"), "i-c": IPv4Address("10.0.0.12")}
STATUS = Status(
    "cluster",
    "i-a",
    holds={"10.0.0.100": Held("a1", "nft is missing"), "10.0.0.101": Held("a2", leaving="spot", written_off=True)},
    sees_up=("a3", "eni-attach-1/10.0.0.7"),
    free_slots=2,
    served={"i-c": {30007: True, 30008: False}},
    leaving=True,
    claiming=("10.0.0.7",),
    ending=True,
    unsure=("a4",),
)
DOCUMENT: dict[str, Any] = {
    "name": "cluster",
    "instance_id": "i-a",
    "holds": {
        "10.0.0.100": {"attachment": "a1", "problem": "nft is missing", "leaving": "", "written_off": False},
        "10.0.0.101": {"attachment": "a2", "problem": "", "leaving": "spot", "written_off": True},
    },
    "sees_up": ["a3", "eni-attach-1/10.0.0.7"],
    "free_slots": 2,
    "served": {"i-c": {"30007": True, "30008": False}},
    "leaving": True,
    "claiming": ["10.0.0.7"],
    "peers": {"i-b": "10.0.0.11", "i-c": "10.0.0.12"},
    "sights": {"10.0.0.100": "seen"},
    "ending": True,
    "unsure": ["a4"],
}


def said(**changes: object) -> bytes:
    """A word with these differences."""
    return json.dumps({**DOCUMENT, **changes}).encode()


def test_a_word_without_what_older_versions_do_not_say_is_one() -> None:
    """Two versions are there during a rollout."""
    holds = {"10.0.0.100": {"attachment": "a1", "problem": ""}}
    older = {key: value for key, value in DOCUMENT.items() if key not in ("ending", "unsure")} | {"holds": holds}
    status = parse(json.dumps(older).encode())
    assert status is not None
    assert (status.ending, status.unsure, status.holds["10.0.0.100"]) == (False, (), Held("a1"))


def test_the_word_says_who_holds_what_and_how_it_is() -> None:
    """All that an asker needs in order to know whether it counts, in the form that observers of all versions share."""
    assert json.loads(to_peer(STATUS, PEERS, {"10.0.0.100": Sight.SEEN})) == DOCUMENT


def test_a_word_arrives_as_it_was_said() -> None:
    """But for the peers' addresses, which EC2 says."""
    heard = replace(STATUS, peers=("i-b", "i-c"), sights={"10.0.0.100": Sight.SEEN})
    assert parse(to_peer(STATUS, PEERS, {"10.0.0.100": Sight.SEEN}).encode()) == heard


@pytest.mark.parametrize("ready", [True, False])
def test_what_a_stranger_is_told_says_that_somebody_is_there(ready: bool) -> None:
    """No name, no attachment; and no silence either."""
    text = to_stranger(ready=ready)
    assert json.loads(text) == {"ready": ready}
    assert parse(text.encode()) == RESERVED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"peers": ' * 10_000,
        b'{"name": "\\ud800"}',
        said(name=7),
        said(name="x" * 1000),
        said(name="\ud800"),
        said(instance_id="a"),
        said(instance_id="i-x; rm"),
        said(instance_id="i-" + "0" * 1000),
        said(holds="a1"),
        said(holds=["a1"]),
        said(holds={"x": "a1"}),
        said(holds={"x": {"attachment": ["a1"], "problem": ""}}),
        said(holds={"x": {"attachment": "a1", "problem": {}}}),
        said(holds={"x": {"problem": ""}}),
        said(holds={"x" * 1000: {"attachment": "a1", "problem": ""}}),
        said(holds={str(n): {"attachment": "a1", "problem": ""} for n in range(MOST + 1)}),
        said(sees_up="a1"),
        said(sees_up={"a1": "a1"}),
        said(sees_up=[["a1"]]),
        said(sees_up=["a1"] * (MOST + 1)),
        said(free_slots="many"),
        said(free_slots=True),
        said(free_slots=-1),
        said(free_slots=1.5),
        said(free_slots=10**18),
        json.dumps({**DOCUMENT, "free_slots": 0}).encode().replace(b'"free_slots": 0', b'"free_slots": 1e999'),
        json.dumps({**DOCUMENT, "free_slots": 0}).encode().replace(b'"free_slots": 0', b'"free_slots": NaN'),
        json.dumps({**DOCUMENT, "free_slots": 0}).encode().replace(b'"free_slots": 0', b'"free_slots": ' + b"9" * 5000),
        said(served=["i-c"]),
        said(served={"i-c": 30007}),
        said(served={"i-c": {"30007": "yes"}}),
        said(served={"i-c": {"0": True}}),
        said(served={"i-c": {"3e4": True}}),
        said(served={"i-c": {"\u0663": True}}),
        said(served={"i-c": {"30007": {}}}),
        said(leaving="no"),
        said(leaving=None),
        said(claiming=[None]),
        said(unsure="a4"),
        said(peers=[]),
        said(peers=["i-b"]),
        said(sights={"x": 7}),
        said(sights={"x": ["seen"]}),
        said(sights=[]),
        said(name={"deep": {"deeper": {"deepest": {}}}}),
    ],
)
def test_what_is_no_word_is_silence(body: bytes) -> None:
    """Something else listens there; it does not speak for the node, and nothing is raised by it."""
    assert parse(body) is None


def test_peers_are_told_by_their_instances_alone() -> None:
    """An address with a blank, or somebody's name, went into a connection once; what is no id is passed over."""
    told = {"i-b": "a b", "i-c": 7, "i-d": "[", "worker": "10.0.0.9", "i-": "10.0.0.9", "i-x": "10.0.0.9"}
    heard = parse(said(peers=told))
    assert heard is not None
    assert heard.peers == ("i-b", "i-c", "i-d")


def test_no_word_tells_of_more_peers_than_there_may_be() -> None:
    """Each would be asked of EC2."""
    heard = parse(said(peers={f"i-{number:x}": "10.0.0.9" for number in range(MOST)}))
    assert heard is not None
    assert len(heard.peers) == PEERS_AT_MOST


def test_a_long_problem_is_cut() -> None:
    """It goes into a log; the kernel's words may be long, and whoever sends them is a peer."""
    heard = parse(said(holds={"10.0.0.100": {"attachment": "a1", "problem": "x" * 10_000}}))
    assert heard is not None
    assert heard.holds["10.0.0.100"].problem == "x" * SENTENCE_LONGEST


def test_as_much_as_an_observer_can_have_to_say_is_a_word() -> None:
    """127 addresses, each with a problem: the firewall's mark has no values for more."""
    targets = [f"eipalloc-{number:017x}" for number in range(127)]
    attachments = [f"eni-attach-{number:017x}" for number in range(127)]
    status = Status(
        "n" * 100,
        f"i-{7:017x}",
        holds={t: Held(a, "x" * SENTENCE_LONGEST) for t, a in zip(targets, attachments, strict=True)},
        sees_up=tuple(f"{a}/{t}" for a, t in zip(attachments, targets, strict=True)),
        claiming=tuple(targets),
    )
    text = to_peer(status, {}, dict.fromkeys(targets, Sight.UNSEEN))
    assert len(text) < LONGEST
    heard = parse(text.encode())
    assert heard is not None
    assert heard.holds == status.holds


@pytest.mark.parametrize("text", ["", "i-", "i-g", "I-0a", "i-0a ", "i-0a\n", "i-" + "a" * 33, "10.0.0.9", "i-0a/../x"])
def test_an_instance_id_has_one_form(text: str) -> None:
    """It goes into questions to EC2."""
    assert is_instance_id("i-0123456789abcdef0")
    assert not is_instance_id(text)


TARGET = "10.0.0.100"
HELD = Status("cluster", "i-a", holds={TARGET: Held("a1")})
DEEP = {"of": {"one": {"that": [{"is": {"deep": [1]}}]}}}


def newer(**changes: Any) -> bytes:
    """The word with these differences."""
    return json.dumps(json.loads(to_peer(HELD, {}, {})) | changes).encode()


@pytest.mark.parametrize("value", ["half-seen", ""])
def test_a_sight_of_an_unknown_kind_is_neither_seen_nor_unseen(value: str) -> None:
    """The holder is heard, and called sound; that it reaches the asker is not believed, nor that it does not."""
    status = parse(newer(sights={TARGET: value, "10.0.0.101": "unseen"}))
    assert status == replace(HELD, sights={"10.0.0.101": Sight.UNSEEN})
    attachment = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
    word = word_on(Answer(0.0, 0.0, status), "cluster", TARGET, attachment, unreachable=False)
    assert word == Word(WordState.SOUND)
    assert not word.vouches


def test_what_is_new_in_a_word_may_be_of_any_depth() -> None:
    """Nothing of it is looked at; how much may come at all is bounded."""
    holds = {TARGET: {"attachment": "a1", "problem": "", "newer": DEEP}}
    assert parse(newer(newer=DEEP, holds=holds)) == HELD


@pytest.mark.parametrize("said", [{"ready": True, "newer": DEEP}, {"ready": False, "version": "9"}])
def test_a_stranger_that_is_told_more_than_today_still_knows_that_somebody_is_there(said: dict[str, Any]) -> None:
    """And nothing else: what names an instance is a word, and has to be a whole one."""
    assert parse(json.dumps(said).encode()) == RESERVED
    assert parse(json.dumps(said | {"instance_id": "i-a"}).encode()) is None
