"""What somebody says who is asked for an observer's word; and JSON as any of those say it who are asked for some."""

import json
import math
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatingip.core import word
from floatingip.core.bounded_json import read_json
from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.peer import Sight, WordState
from floatingip.core.word import RESERVED, Answer, Held, Status, parse, to_peer, word_on
from tests.hostile.cheap import cheap
from tests.hostile.strategies import as_json, documents, mutations, several, texts, values

NAME, TARGET, BOUND = "cluster", "10.0.0.100", Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
PEER = IPv4Address("10.0.0.11")
SOUND = Status(
    NAME,
    "i-a",
    holds={TARGET: Held("a1", "", "spot", written_off=True), "10.0.0.101": Held("a2", "nft is missing")},
    sees_up=("a3",),
    free_slots=2,
    served={"i-b": {30007: True}, "a3": {30008: False}},
    leaving=True,
    claiming=(TARGET,),
    ending=True,
)
SAID = to_peer(SOUND, {"i-b": PEER}, {TARGET: Sight.SEEN})

short = st.text(st.characters(codec="utf-8"), max_size=word.NAME_LONGEST)
ports = st.dictionaries(st.integers(1, 65535), st.booleans(), max_size=4)
statuses = st.builds(
    Status,
    short,
    st.from_regex(r"i-[0-9a-f]{1,32}", fullmatch=True),
    st.dictionaries(short, st.builds(Held, short, short, short, st.booleans()), max_size=3),
    st.lists(short, max_size=3).map(tuple),
    st.one_of(st.none(), st.integers(0, 256)),
    st.dictionaries(short, ports, max_size=3),
    st.booleans(),
    st.lists(short, max_size=3).map(tuple),
    st.just(()),
    st.just({}),
    st.booleans(),
)
anything = st.one_of(
    documents(json.loads(SAID)).map(as_json), mutations(SAID.encode()), values.map(as_json), st.binary(max_size=50)
)


@several(2)
@given(statuses, st.dictionaries(short, st.sampled_from(Sight), max_size=3))
def test_a_word_is_read_as_it_was_said(said: Status, sights: dict[str, Sight]) -> None:
    """All of it, whatever characters are in it; of whom it tells, the instances only."""
    found = parse(to_peer(said, {"i-b": PEER}, sights).encode())
    assert found is not None
    assert found == Status(**{**{f: getattr(said, f) for f in Status.__slots__}, "peers": ("i-b",), "sights": sights})


@several(2)
@given(anything)
def test_whatever_comes_is_a_word_within_its_limits_or_silence(body: bytes) -> None:
    """Nothing is raised; what is taken says the same when it is said again, and no more of it than its limits."""
    found = parse(body)
    if found is None or found is RESERVED:
        return
    assert word.is_instance_id(found.instance_id)
    assert len(found.peers) <= word.PEERS_AT_MOST
    assert all(map(word.is_instance_id, found.peers))
    assert all(0 < port < 100_000 for answers in found.served.values() for port in answers)
    assert all(len(each.problem) <= word.SENTENCE_LONGEST for each in found.holds.values())
    again = parse(to_peer(found, dict.fromkeys(found.peers, PEER), found.sights).encode())
    assert again == found


@several(2)
@given(anything)
def test_a_word_counts_for_its_own_instance_and_the_judged_attachment_only(body: bytes) -> None:
    """Whoever says anything else vouches for nothing, and charges nobody."""
    status = parse(body)
    found = word_on(Answer(0.0, 0.0, status), NAME, TARGET, BOUND, unreachable=False)
    if found.state not in (WordState.SILENT, WordState.OTHER):
        assert status is not None
        assert (status.name, status.instance_id) == (NAME, BOUND.instance_id)
        assert status.holds[TARGET].attachment == BOUND.id
    assert found.written_off <= (found.state is WordState.LEAVING)
    assert not found.refused


def is_usable(value: Any) -> bool:
    """What every reader of JSON can use: finite numbers of 64 bits, and text that is Unicode."""
    match value:
        case float():
            return math.isfinite(value)
        case int():
            return len(str(value)) <= 20
        case str():
            return value.isprintable() or bool(value.encode("utf-8", "ignore").decode() == value)
        case list():
            return all(map(is_usable, value))
        case dict():
            return all(is_usable(key) and is_usable(entry) for key, entry in value.items())
    return True


def depth(value: Any) -> int:
    """How deep it is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@several(2)
@given(values, st.integers(0, 5))
def test_json_is_read_as_deep_as_it_may_be_and_as_far_as_it_is_of_use(value: Any, deepest: int) -> None:
    """All else is a ValueError."""
    try:
        found = read_json(as_json(value), depth=deepest)
    except ValueError:
        assert depth(value) > deepest or not is_usable(value)
    else:
        assert found == value
        assert depth(value) <= deepest


@pytest.mark.parametrize(
    "body",
    [
        65_000 * b"[",
        13_000 * b'{"a":',
        b'"' + 65_000 * b"\\",
        21_000 * b'"a"',
        b"9" * 65_000,
        b"[" + 16_000 * b"1e9," + b"1]",
    ],
)
def test_json_of_any_shape_is_read_or_refused_at_once(body: bytes) -> None:
    """As long as a word may be."""
    with cheap(), suppress(ValueError):
        read_json(body, depth=word.DEEPEST)


@given(texts, texts)
def test_a_reason_in_somebodys_words_is_cut_to_a_sentence(problem: str, leaving: str) -> None:
    """It goes into the log of whoever heard it."""
    said = json.dumps(
        {**json.loads(SAID), "holds": {TARGET: {"attachment": "a1", "problem": problem, "leaving": leaving}}}
    )
    found = parse(said.encode())
    assert found is None or all(
        len(text) <= word.SENTENCE_LONGEST for text in (found.holds[TARGET].problem, found.holds[TARGET].leaving)
    )
