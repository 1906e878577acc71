"""R5: a holder that is unsound, leaving or written off, and orders: moves while the address may still answer."""

from dataclasses import replace

import pytest

from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Reason, State
from floatingip.core.ec2 import Attachment, AttachmentStatus, Owner
from floatingip.core.model import Carry
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.plumbing import Extent
from floatingip.core.timing import TAKING_STEP
from tests.core.deciders import ADDRESS, WALL, Observer, eni, shown
from tests.core.movers import Mover, standing
from tests.core.scenes import scenes

test_a_holder_that_knows_that_it_should_not_have_it = scenes(
    """
    a holder that is unsound for three seconds is relieved, not sooner: a flushed rule is back within one
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  word:unsound                     -> no write
        12.9  word:unsound                     -> no write
        13.1  word:unsound                     -> doubt STALE R5
        13.2  ec2:a1@i-a                       -> doubt HOLDER_UNSOUND R5 tag:R5@13/a1
        13.3  ec2:a1@i-a tag:R5@13/a1          -> takeover HOLDER_UNSOUND R5 detach:a1

    a holder that mends itself keeps the address: what counts is what it says now
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  word:unsound
        12.0  word:sound
        14.0  word:unsound                     -> no write
        16.0  word:unsound                     -> no write

    the address never goes to a node that was itself unsound under its last attachment: what is broken is so everywhere
        0.0   ec2:a1@i-b link:none
        1.0   link:unsound
        10.0  ec2:a2@i-a link:none word:unsound
        14.0  word:unsound                     -> standby ALSO_UNSOUND R5

    but that is forgotten after an hour: what was mended meanwhile nobody can see before the address is there
        0.0     ec2:a1@i-b link:none
        1.0     link:unsound
        10.0    ec2:a2@i-a link:none word:sound
        3590.0  word:unsound
        3600.9  ec2:a2@i-a word:unsound        -> standby ALSO_UNSOUND R5
        3601.0  ec2:a2@i-a word:unsound        -> HOLDER_UNSOUND

    it is an hour since it was last so, not since it began
        0.0     ec2:a1@i-b link:none
        1.0     link:unsound
        3000.0  link:unsound
        3010.0  ec2:a2@i-a link:none word:unsound
        6000.0  ec2:a2@i-a word:unsound        -> standby ALSO_UNSOUND R5

    a holder that is leaving is relieved even by a node that was unsound once: its node ends in any case
        0.0   ec2:a1@i-b link:none
        1.0   link:unsound
        10.0  ec2:a2@i-a link:none word:sound
        14.0  ec2:a2@i-a word:leaving          -> takeover HOLDER_LEAVING R5 detach:a2

    a node that was sound again may relieve another: only the last attachment counts, and how it ended
        0.0   ec2:a1@i-b link:none
        1.0   link:unsound
        5.0   ec2:a1@i-b link:sound
        10.0  ec2:a2@i-a link:none word:unsound
        14.0  ec2:a2@i-a word:unsound          -> HOLDER_UNSOUND

    a holder whose marks nobody knows of keeps the address: nft is slow on a node with a big ruleset
        0.0   ec2:a1@i-b link:uncertain        -> HELD_HERE
        10.0  ec2:a2@i-a link:none word:unsound
        14.0  ec2:a2@i-a word:unsound          -> HOLDER_UNSOUND

    the holder tells what is wrong with it: its sentence is what its word to the others consists of
        0.0   ec2:a1@i-b link:unsound          -> holder UNSOUND_HERE R5; says nft

    a leaving holder is relieved at its word: it knows best, and names the attachment that was judged
        0.0   ec2:a1@i-a word:sound probe:AA
        30.0  word:leaving                     -> ; look-by 30.0
        30.1  ec2:a1@i-a                       -> takeover HOLDER_LEAVING R5 detach:a1

    a leaving node relieves nobody: two nodes of the same drain would hand the address to and fro
        0.0   ec2:a1@i-a word:sound probe:AA
        29.0  ec2:a1@i-a word:leaving leaving=drained
        30.1  ec2:a1@i-a leaving=drained       -> no write
    """
)


OFF = Word(WordState.LEAVING, 30.0, detail="Kubernetes has written this node off", written_off=True)


def beginning(**changes: object) -> Observer:
    """It has seen that all is well."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA", **changes)
    return observer


@pytest.mark.parametrize(("ready_at", "moves"), [(None, False), (19.0, False), (20.0, True), (30.0, True)])
def test_a_written_off_holder_is_relieved_by_who_is_ready_to_kubernetes(ready_at: float | None, *, moves: bool) -> None:
    """Ten seconds ago at most: where all are written off, or nothing is known, nobody is better."""
    observer = beginning()
    decision = observer.see(30.0, "ec2:a1@i-a", word=OFF, ready_at=ready_at)
    assert (observer.memory.last_write is not None) is moves
    assert (decision.reason is Reason.WRITTEN_OFF) is moves


def test_a_written_off_holder_is_left_alone_just_after_the_api_server_was_away() -> None:
    """All nodes are written off then until their kubelets are heard again; this one is only not the first."""
    observer = beginning(ready_at=0.0)
    observer.see(20.0, "ec2:a1@i-a", ready_at=0.0)
    for now in (21.0, 28.0, 35.0):
        assert observer.see(now, "ec2:a1@i-a", word=OFF, ready_at=now).reason is not Reason.WRITTEN_OFF
    assert observer.see(35.1, "ec2:a1@i-a", word=OFF, ready_at=35.0).reason is Reason.WRITTEN_OFF


def test_moves_from_written_off_holders_are_rationed() -> None:
    """Recorded before the move, and a second one within a minute waits: it may be Kubernetes that is wrong."""
    observer = beginning()
    decision = observer.see(30.0, "ec2:a1@i-a", word=OFF, ready_at=30.0)
    assert shown(decision).startswith("doubt WRITTEN_OFF R5 tag:R5@")
    moved = f"tag:R5@{WALL + 30}/a1"
    assert shown(observer.see(31.1, f"ec2:a1@i-a {moved}", ready_at=31.0)) == "takeover WRITTEN_OFF R5 detach:a1"
    observer.see(60.0, f"ec2:a2@i-c word:sound probe:AA {moved}", ready_at=60.0)
    assert shown(observer.see(70.0, f"ec2:a2@i-c {moved}", word=OFF, ready_at=70.0)) == "doubt RATIONED R5"


def test_a_written_off_node_relieves_no_other_one() -> None:
    """Its own pod may still be called ready, by an answer from before."""
    assert beginning().see(30.0, word=OFF, ready_at=30.0, leaving="written off").write is None


def test_a_written_off_holder_vouches_for_its_address() -> None:
    """Where pings are closed, and nobody is better, it is left alone for as long as that lasts."""
    observer = Observer().fall()
    word = replace(OFF, sight=Sight.SEEN)
    for now in range(11, 120):
        decision = observer.see(float(now), "ec2:a1@i-a probe:L", word=word)
        assert shown(decision) == "standby PROBE_BLOCKED R4"


BY = pytest.mark.parametrize("kind", [Observer, Mover], ids=list(Carry))


def ordered(kind: type[Observer], now: float, to: str, *, holder: str = "i-a", until: float = 60.0) -> Owner:
    """The ENI by which the holder has the address, with an order for a handover that is valid for so many seconds."""
    own = eni(Attachment("a1", holder, 1, AttachmentStatus.ATTACHED))
    shown_eni, way = (standing(holder, ADDRESS), Carry.ADDRESS) if kind is Mover else (own, Carry.ENI)
    assert shown_eni.attachment is not None
    tag, value = way_to(way).of_one(order.TAG, ADDRESS), order.render(shown_eni.attachment.id, to, WALL + now + until)
    return Owner(now, replace(shown_eni, tags={**shown_eni.tags, tag: value}))


@BY
@pytest.mark.parametrize(("to", "takes"), [("*", True), ("i-b", True), ("i-c", False)])
@pytest.mark.parametrize("word", ["", "word:leaving"], ids=["in peace", "leaving"])
def test_an_order_is_obeyed_by_whom_it_names(kind: type[Observer], to: str, word: str, *, takes: bool) -> None:
    """Though the address answers, and though the holder itself asks everybody to be relieved; the others wait."""
    observer = kind()
    observer.see(0.0, kind.began_by)
    decision = observer.see(30.0, word, owner=ordered(kind, 30.0, to))
    taking = {Observer: "detach:a1", Mover: "move:eni-b"}[kind]
    assert (shown(decision) == f"takeover HANDOVER_ASKED R5 {taking}") == takes
    assert takes or (decision.state, decision.write) == (State.STANDBY, None)


@BY
def test_an_order_that_is_over_moves_nothing(kind: type[Observer]) -> None:
    """By the deadline that stands in it."""
    observer = kind()
    observer.see(0.0, kind.began_by)
    assert observer.see(10.0, owner=ordered(kind, 10.0, "*", until=-1.0)).write is None


def test_an_order_that_is_not_obeyed_keeps_no_leaving_holder_from_being_relieved() -> None:
    """Whom it names may have died, or be about to end as well: it has its turn, and then the others have theirs."""
    observer = beginning()
    observer.see(29.0, "word:leaving", owner=ordered(Observer, 29.0, "i-c"))
    assert observer.see(29.0 + TAKING_STEP - 0.1, owner=ordered(Observer, 32.9, "i-c")).write is None
    decision = observer.see(29.0 + TAKING_STEP + 0.1, owner=ordered(Observer, 33.1, "i-c"))
    assert shown(decision) == "takeover HOLDER_LEAVING R5 detach:a1"


def test_a_written_off_holder_is_not_left_to_whom_an_order_names_for_ever() -> None:
    """The same, but that the move is recorded first."""
    observer = beginning(ready_at=0.0)
    observer.see(29.0, word=replace(OFF, since=29.0), ready_at=29.0, owner=ordered(Observer, 29.0, "i-c"))
    decision = observer.see(33.1, ready_at=33.1, owner=ordered(Observer, 33.1, "i-c"))
    assert shown(decision).startswith("doubt WRITTEN_OFF R5 tag:R5@")


def test_an_order_alone_is_obeyed_by_nobody_else() -> None:
    """However long whom it names does nothing: the holder serves, and its deadline comes."""
    observer = beginning()
    for now in (30.0, 40.0, 60.0):
        assert observer.see(now, "word:sound probe:A", owner=ordered(Observer, now, "i-c")).write is None


@BY
def test_an_ordered_holder_serves_on_until_it_is_relieved(kind: type[Observer]) -> None:
    """It does not call itself leaving: a standby that has not seen yet whom the order names would take over."""
    decision = kind().see(0.0, "link:sound", owner=ordered(kind, 0.0, "*", holder="i-b"))
    assert (decision.state, decision.extent, decision.leaving) == (State.HOLDER, Extent.ALL, "")
