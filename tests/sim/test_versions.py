"""
A rolling upgrade: observers of two versions, and nothing moves for that; what should move does.

What a newer version says is made up: more on each level than this one knows.  What an older one says is what this one
can do without.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.model import Carry
from floatingip.core.node import Notice
from floatingip.core.word import to_peer
from tests.fakes.ec2 import WALL
from tests.sim import observer
from tests.sim.fleet import ADDRESS, INSTANT, Fleet

NEWS = {"of": {"a newer": ["version", {"there": {"is": 1}}]}}

Word = dict[str, Any]
Of = Callable[[Word], Word]


def of_this(word: Word) -> Word:
    """As it is."""
    return word


def of_newer(word: Word) -> Word:
    """More of everything, and a sight that this version does not know in the place of one that it would miss."""
    holds = {target: held | {"news": NEWS} for target, held in word["holds"].items()}
    return word | {"news": NEWS, "holds": holds, "sights": {"10.0.0.250": "half-seen"} | word["sights"]}


def of_older(word: Word) -> Word:
    """Without what came later."""
    later = ("served", "leaving", "claiming", "ending", "unsure")
    holds = {t: {"attachment": held["attachment"], "problem": held["problem"]} for t, held in word["holds"].items()}
    return {key: said for key, said in word.items() if key not in later} | {"holds": holds}


MIXED = pytest.mark.parametrize(
    ("holders", "standbys"),
    [(of_this, of_newer), (of_newer, of_this), (of_this, of_older), (of_older, of_this), (of_newer, of_older)],
    ids=lambda of: of.__name__.removeprefix("of_"),
)


class Mixed:
    """Two workers, of which the first one holds the address; ``versions`` are by instance, and may change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, carry: Carry, holders: Of, standbys: Of) -> None:
        self.versions = dict[str, Of]()
        monkeypatch.setattr(observer, "to_peer", self._to_peer)
        self.fleet = Fleet(1, profile=INSTANT, carry=carry)
        self.holder, self.standby = self.fleet.observers()
        self.versions |= {self.holder.worker.id: holders, self.standby.worker.id: standbys}
        for each in (self.holder, self.standby):
            each._words.clear()  # what they said before they had versions
        self.fleet.run(self.fleet.now + 30.0)

    def _to_peer(self, *told: Any) -> str:
        word: Word = json.loads(to_peer(*told))
        return json.dumps(self.versions.get(word["instance_id"], of_this)(word))

    def stays(self, seconds: float) -> None:
        """With its holder, who is heard to be sound."""
        self.fleet.holds_for(lambda: self.fleet.serving() is self.holder.worker, seconds, "the holder serves")
        assert len(self.fleet.stays()) == 1

    def moves(self, within: float) -> None:
        """To the standby, once."""
        self.fleet.wait(lambda: self.fleet.serving() is self.standby.worker, within, "the standby serves")
        assert len(self.fleet.stays()) == 2


@pytest.fixture(name="carry", params=Carry)
def _carry(request: pytest.FixtureRequest) -> Carry:
    carry: Carry = request.param
    return carry


@MIXED
def test_two_versions_side_by_side_move_nothing(
    monkeypatch: pytest.MonkeyPatch, carry: Carry, holders: Of, standbys: Of
) -> None:
    """Neither takes the other for silent or unsound, nor for alone."""
    mixed = Mixed(monkeypatch, carry, holders, standbys)
    mixed.stays(180.0)
    for each in (mixed.holder, mixed.standby):
        assert not each.logged("alone")
        assert each.published.not_ready() == ""


@MIXED
def test_an_upgrade_of_one_after_the_other_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, carry: Carry, holders: Of, standbys: Of
) -> None:
    """Each is restarted as what the other one was: there, and back as a rollback is."""
    mixed = Mixed(monkeypatch, carry, holders, standbys)
    for _ in range(2):
        for worker, of in ((mixed.standby.worker, holders), (mixed.holder.worker, standbys)):
            worker.kill()
            mixed.stays(3.0)
            mixed.versions[worker.id] = of
            worker.start()
            mixed.stays(60.0)


@MIXED
def test_a_dead_holder_of_another_version_is_relieved_in_time(
    monkeypatch: pytest.MonkeyPatch, carry: Carry, holders: Of, standbys: Of
) -> None:
    """As it would be by its own."""
    mixed = Mixed(monkeypatch, carry, holders, standbys)
    mixed.holder.worker.cut_power()
    mixed.moves(10.0)


@MIXED
def test_a_handover_is_obeyed_between_versions(
    monkeypatch: pytest.MonkeyPatch, carry: Carry, holders: Of, standbys: Of
) -> None:
    """It is written where both look."""
    mixed = Mixed(monkeypatch, carry, holders, standbys)
    (eni,) = mixed.fleet.enis()
    assert eni.attachment is not None
    asked = order.render(eni.attachment.id, mixed.standby.worker.id, WALL + mixed.fleet.now + 120.0)
    mixed.fleet.cloud.tag_eni(eni.id, {way_to(carry).of_one(order.TAG, ADDRESS): asked})
    mixed.moves(90.0)


@pytest.mark.parametrize("standbys", [of_this, of_older])
def test_a_newer_holder_that_is_leaving_is_relieved(
    monkeypatch: pytest.MonkeyPatch, carry: Carry, standbys: Of
) -> None:
    """What an older version knows of its word, it acts by."""
    mixed = Mixed(monkeypatch, carry, of_newer, standbys)
    mixed.holder.worker.notice = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")
    mixed.moves(20.0)
