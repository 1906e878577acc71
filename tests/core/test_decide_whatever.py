"""Whatever an observer sees, sense or not: what no write may ever be, and that to decide is pure."""

import random
from itertools import pairwise

import pytest

from floatingip.core.decision.decision import Decision
from floatingip.core.ec2 import AttachmentStatus
from floatingip.core.peer import Sight, WordState
from floatingip.core.timing import REPEAT_AFTER
from floatingip.core.writes import Attach, Create, Detach, Tag
from tests.core.deciders import WALL, Observer


def chances(chance: random.Random, now: float) -> str:
    """Some of what an observer could see next, whether or not it makes sense."""
    attachment = chance.choice(["a1@i-a", "a2@i-a", "a3@i-b", "a4@i-b", "a5@i-c"])
    status = chance.choice(["attaching", "attached", "attached", "detaching", "detached"])
    state = chance.choice(["", "/running", "/running", "/shutting-down", "/terminated"])
    told = [
        (0.4, chance.choice(["ec2:free", "ec2:absent", *[f"ec2:{attachment}/{status}{state}"] * 6])),
        (0.2, f"tag:{chance.choice(['R4', 'R3'])}@{WALL + int(now) - chance.randint(0, 700)}/a{chance.randint(0, 9)}"),
        (0.03, "name:other"),
        (0.5, "probe:" + "".join(chance.choices("AALLLLF", k=chance.randint(1, 6)))),
        (0.3, f"word:{chance.choice(list(WordState))}/{chance.choice(list(Sight))}"),
        (0.2, f"peer:{chance.choice(['i-a', 'i-c', 'i-d'])}{chance.choice(['', '=a1', '=a5'])}"),
        (0.3, f"link:{chance.choice(['none', 'sound', 'unsound'])}"),
    ]
    return " ".join(text for probability, text in told if chance.random() < probability)


def check_writes(observer: Observer, decision: Decision, writing: bool) -> None:
    """What no write may ever be, whatever was seen."""
    owner, write = observer.view.owner, decision.write
    if write is None:
        return
    assert not writing, "one write at a time"
    assert owner is not None
    bound = owner.eni.attachment if owner.eni is not None else None
    if bound is not None and bound.status is AttachmentStatus.DETACHED:
        bound = None
    match write:
        case Create():
            assert owner.eni is None
        case Attach():
            assert owner.eni is not None
            assert bound is None
        case Detach(attachment_id, force):
            assert bound is not None
            assert bound.id == attachment_id
            assert force == (bound.status is AttachmentStatus.DETACHING)
            assert force or bound.instance_id != observer.me
        case Tag(eni_id):
            assert owner.eni is not None
            assert owner.eni.id == eni_id
    if owner.eni is not None:
        assert owner.eni.tags["floatingip"] == "cluster", "not ours"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_seen_no_write_is_unfounded(seed: int) -> None:
    """Random views: never two writes at once, never a detach of another attachment, never an attach of a bound ENI."""
    chance = random.Random(seed)
    observer, now, written_at = Observer(), 0.0, []
    for _ in range(250):
        now += chance.choice([0.01, 0.1, 0.3, 1.0, 5.0, 70.0])
        writing = chance.random() < 0.1
        asked_before = observer.view.owner.asked_at if observer.view.owner is not None else float("-inf")
        decision = observer.see(now, chances(chance, now), writing=writing)
        check_writes(observer, decision, writing)
        assert decision.sentence
        assert decision.look_at >= 0.0
        if decision.write is not None:
            written_at.append((now, decision.write))
            assert observer.view.owner is not None
            assert observer.view.owner.asked_at >= asked_before
    assert written_at, "a fuzz that never writes proves nothing"
    for (earlier, first), (later, second) in pairwise(written_at):
        assert first != second or later - earlier >= REPEAT_AFTER


def test_the_same_view_gives_the_same_decision() -> None:
    """Pure: no clock, no chance, nothing kept outside of the memory that is handed on."""
    chance = random.Random(7)
    words = [chances(chance, number) for number in range(200)]
    first, second = Observer(), Observer()
    for number, told in enumerate(words):
        assert first.see(float(number), told) == second.see(float(number), told)
