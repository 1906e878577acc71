"""What a newer version's observer says, during a rollout: what is not known is passed over, and the rest is heard.

Were the whole word silence, an older standby would take each newer holder for one whose observer is dead.
"""

import json
from dataclasses import replace
from typing import Any

import pytest

from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.word import RESERVED, Answer, Held, Status, parse, to_peer, word_on

TARGET = "10.0.0.100"
STATUS = Status("cluster", "i-a", holds={TARGET: Held("a1")})
DEEP = {"of": {"one": {"that": [{"is": {"deep": [1]}}]}}}


def newer(**changes: Any) -> bytes:
    """The word with these differences."""
    return json.dumps(json.loads(to_peer(STATUS, {}, {})) | changes).encode()


@pytest.mark.parametrize("value", ["half-seen", ""])
def test_a_sight_of_an_unknown_kind_is_neither_seen_nor_unseen(value: str) -> None:
    """The holder is heard, and called sound; that it reaches the asker is not believed, nor that it does not."""
    status = parse(newer(sights={TARGET: value, "10.0.0.101": "unseen"}))
    assert status == replace(STATUS, sights={"10.0.0.101": Sight.UNSEEN})
    attachment = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
    word = word_on(Answer(0.0, 0.0, status), "cluster", TARGET, attachment, unreachable=False)
    assert word == Word(WordState.SOUND)
    assert not word.vouches


def test_what_is_new_in_a_word_may_be_of_any_depth() -> None:
    """Nothing of it is looked at; how much may come at all is bounded."""
    holds = {TARGET: {"attachment": "a1", "problem": "", "newer": DEEP}}
    assert parse(newer(newer=DEEP, holds=holds)) == STATUS


@pytest.mark.parametrize("said", [{"ready": True, "newer": DEEP}, {"ready": False, "version": "9"}])
def test_a_stranger_that_is_told_more_than_today_still_knows_that_somebody_is_there(said: dict[str, Any]) -> None:
    """And nothing else: what names an instance is a word, and has to be a whole one."""
    assert parse(json.dumps(said).encode()) == RESERVED
    assert parse(json.dumps(said | {"instance_id": "i-a"}).encode()) is None
