"""R10, R14 and what a holder mends: the address on this node, until it is lost, or its device never comes."""

from dataclasses import replace
from typing import Any

import pytest

from floatingip.core.decision import ration
from floatingip.core.decision.decision import Decision
from floatingip.core.ec2 import ALLOCATION_TAG, Attachment, AttachmentStatus, Owner
from floatingip.core.model import Allocation
from floatingip.core.plumbing import Extent
from floatingip.core.timing import REPEAT_AFTER
from floatingip.core.writes import Associate, CheckSource, KeepAfterTermination, SetGroups, Tag, Write
from tests.core.deciders import ADDRESS, ENI, WALL, Observer, eni, shown
from tests.core.scenes import scenes

test_the_address_on_this_node = scenes(
    """
    a healthy holder is never relieved by one that comes back: the former holder has no claim
        0.0     ec2:a1@i-b link:sound                     -> holder HELD_HERE R10
        60.0    ec2:a2@i-c word:sound probe:A link:none   -> standby SETTLING R6
        61.0    probe:A word:sound                        -> standby ANSWERS R10
        5000.0  ec2:a2@i-c/attached/running probe:A       -> standby ANSWERS R10

    the address is dropped after two answers two seconds apart that name another owner: one may be a lagging one
        0.0   ec2:a1@i-b link:sound
        60.0  ec2:a2@i-a word:sound  -> ; carries ALL; look 62.0
        61.9  ec2:a2@i-a             -> ; carries ALL
        63.0                         -> ; carries ALL     # time alone is no second answer
        63.1  ec2:a2@i-a             -> ; carries NOTHING

    one answer that names this node again takes the suspicion away: the count begins anew
        0.0   ec2:a1@i-b link:sound
        60.0  ec2:a2@i-a
        61.0  ec2:a1@i-b
        63.0  ec2:a2@i-a             -> ; carries ALL
        65.0  ec2:a2@i-a             -> ; carries NOTHING

    one answer with a foreign tag does not drop a working address: Describes are eventually consistent
        0.0   ec2:a1@i-b link:sound
        60.0  ec2:a1@i-b name:       -> ; carries ALL

    a lost link asks EC2 at once and writes nothing: it was detached by hand, or it flaps, and EC2 knows
        0.0   ec2:a1@i-b link:sound
        30.0  link:none              -> holder LINK_GONE R10; look 30.0

    an ENI detached by hand is claimed again by the former holder, if it is the first in rank or alone
        0.0   ec2:a1@i-b link:sound  -> holder HELD_HERE R10
        30.0  ec2:a1@i-b/detaching   -> holder DETACHING_HERE R11
        32.0  ec2:free link:none     -> claiming FREE R1 attach

    a link that is there before EC2 says so is carried: the kernel is ahead of EC2's Describe now and then
        0.0  ec2:a1@i-b/attaching link:sound  -> holder HELD_HERE R10

    a node that held the address before gives the device time again: a former link says nothing of this attachment
        0.0   ec2:a1@i-b link:sound
        60.0  ec2:free link:none
        64.0  ec2:a2@i-b link:none            -> claiming ATTACHING_HERE R1

    an ENI whose device never comes is given up once that is recorded: a slow device takes 20 s
        0.0   ec2:a1@i-b/attaching link:none  -> claiming ATTACHING_HERE R1
        5.0   ec2:a1@i-b                      -> claiming ATTACHING_HERE R1   # from here on the device is late
        26.0  ec2:a1@i-b                      -> claiming ATTACHING_HERE R1   # 21 s: a slow one may still come
        27.2  ec2:a1@i-b                      -> holder NO_DEVICE R14 tag:R14@27/a1
        27.7  ec2:a1@i-b tag:R14@27/a1        -> holder NO_DEVICE R14 detach:a1
        28.2  ec2:a1@i-b/detaching            -> holder DETACHING_HERE R11
        29.0  ec2:free                        -> claiming FREE R1 attach      # nobody else is there: again

    an ENI that EC2 does not finish attaching is given up like one whose device never comes
        0.0   ec2:a1@i-b/attaching link:none     -> claiming ATTACHING_HERE R1
        59.5  ec2:a1@i-b/attaching               -> claiming ATTACHING_HERE R1   # it may only be slow
        60.5  ec2:a1@i-b/attaching               -> holder NO_DEVICE R14 tag:R14@60/a1; about eni-1 attaching
        61.0  ec2:a1@i-b/attaching tag:R14@60/a1 -> holder NO_DEVICE R14 detach:a1
        64.0  ec2:free peer:i-c                  -> claiming FREE_BUT_LATER R1

    a slow attach leaves its device the time that it takes
        0.0   ec2:a1@i-b/attaching link:none     -> claiming ATTACHING_HERE R1
        59.0  ec2:a1@i-b                         -> claiming ATTACHING_HERE R1
        80.0  ec2:a1@i-b                         -> claiming ATTACHING_HERE R1
        81.5  ec2:a1@i-b                         -> ; rule R14

    a device that came while EC2 goes on attaching is carried, however long that takes
        0.0   ec2:a1@i-b/attaching link:none
        90.0  ec2:a1@i-b/attaching link:sound    -> holder HELD_HERE R10

    who gave an ENI up leaves it to those that are there; it is not between its fence and its claim, so it may end
        0.0   ec2:a1@i-b link:none
        22.0  ec2:a1@i-b
        22.5  ec2:a1@i-b tag:R14@22/a1 peer:i-c  -> detach:a1; obliged no
        23.0  ec2:free peer:i-c                  -> claiming FREE_BUT_LATER R1
        39.9  ec2:free peer:i-c                  -> claiming FREE_BUT_LATER R1
        40.1  ec2:free peer:i-c                  -> claiming FREE R1 attach

    a device that does not come again and again is rationed: the node calls itself unsound, which others may relieve
        0.0   ec2:a2@i-b link:none
        30.0  ec2:a2@i-b tag:R14@0/a1            -> holder NO_DEVICE R14
        59.0  ec2:a2@i-b tag:R14@0/a1            -> holder NO_DEVICE R14
        60.5  ec2:a2@i-b tag:R14@0/a1            -> holder NO_DEVICE R14 tag:R14@0/a1 R14@60/a2

    a device that is gone for good is as one that never came: at first the holder is only unsound
        0.0    ec2:a1@i-b link:sound
        100.0  link:none
        101.0  ec2:a1@i-b                        -> holder LINK_GONE R10
        121.0  ec2:a1@i-b                        -> holder LINK_GONE R10
        122.5  ec2:a1@i-b                        -> ; rule R14
    """
)


# What the holder mends of its ENI, whoever or whatever changed it.

ELASTIC = Allocation("eipalloc-0123abcd")
WANTED = {"tags": {"floatingip": "cluster", ALLOCATION_TAG: ELASTIC.id}, "security_groups": ("sg-1", "sg-2")}
MENDED = {**WANTED, "elastic": {ADDRESS: ELASTIC.id}}
ASSOCIATE = Associate(ELASTIC.id, ENI, ADDRESS)


def holding(
    now: float = 0.0, observer: Observer | None = None, *, link: str = "sound", **eni_changes: object
) -> Decision:
    """What i-b decides as the holder of an Elastic IP's ENI with these properties."""
    observer = observer or Observer()
    bound = Attachment("a1", "i-b", 1, AttachmentStatus.ATTACHED)
    shown_eni = replace(eni(bound), **{**MENDED, **eni_changes})  # type: ignore[arg-type]  # the test names fields
    owner = Owner(now, shown_eni)
    return observer.see(now, f"link:{link}", owner=owner, target=ELASTIC, groups=("sg-2", "sg-1"))


GROUPS = SetGroups(ENI, ("sg-2", "sg-1"))
MENDING: dict[str, tuple[dict[str, object], Write | None]] = {
    "it is as it should be": ({}, None),
    "EC2 names its groups in another order": ({"security_groups": ("sg-2", "sg-1")}, None),
    "another Elastic IP than ours is associated": ({"elastic": {ADDRESS: "eipalloc-0fffffff"}}, ASSOCIATE),
    "it would end with its instance": ({"delete_on_termination": True}, KeepAfterTermination(ENI, "a1")),
    "it has no groups": ({"security_groups": ()}, GROUPS),
    "a group is missing": ({"security_groups": ("sg-1",)}, GROUPS),
    "it has a group too many": ({"security_groups": ("sg-1", "sg-2", "sg-3")}, GROUPS),
    "a CNI's upgrade set another group": ({"security_groups": ("sg-1", "sg-9")}, GROUPS),
    "its source check, which protects the neighbours, is off": ({"source_check": False}, CheckSource(ENI)),
}


@pytest.mark.parametrize(("changes", "write"), MENDING.values(), ids=MENDING)
def test_the_holder_mends_its_eni_where(changes: dict[str, Any], write: Write | None) -> None:
    """By one write, and it is the holder all the same."""
    decision = holding(**changes)
    assert (decision.reason.name, decision.rule, decision.write) == ("HELD_HERE", "R10", write)


def test_the_holder_associates_the_elastic_ip() -> None:
    """With the first answer after the link is there, and again whenever somebody took it off."""
    observer = Observer()
    assert holding(0.0, observer, elastic={}).write == ASSOCIATE
    assert holding(2.0, observer).write is None
    assert holding(3600.0, observer, elastic={}).write == ASSOCIATE


def test_the_elastic_ip_is_associated_even_while_the_plumbing_is_unsound() -> None:
    """The next holder then has it already."""
    assert shown(holding(link="unsound", elastic={})) == f"holder UNSOUND_HERE R5 associate:{ELASTIC.id}"


def test_an_address_needs_no_association() -> None:
    """Whatever public address somebody gave its ENI is their business."""
    observer = Observer()
    owner = observer._owner(0.0, "a1@i-b", "", "cluster")
    assert owner.eni is not None
    shown_eni = replace(owner.eni, elastic={ADDRESS: "eipalloc-1"})
    decision = observer.see(0.0, "link:sound", owner=replace(owner, eni=shown_eni))
    assert shown(decision) == "holder HELD_HERE R10"


def test_unknown_security_groups_are_not_taken_for_none() -> None:
    """An ENI without any is impossible anyway."""
    observer = Observer()
    assert observer.see(0.0, "ec2:a1@i-b link:sound", groups=()).write is None


def test_one_thing_is_mended_at_a_time_and_the_elastic_ip_first() -> None:
    """What is missing longest for the users comes first; then survival, groups, source check, and the ration's tag."""
    observer = Observer().fall()
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(12.0, "ec2:free")
    broken = {
        "elastic": ({}, {ADDRESS: ELASTIC.id}),
        "delete_on_termination": (True, False),
        "security_groups": ((), ("sg-1", "sg-2")),
        "source_check": (False, True),
    }
    bound = Attachment("a2", "i-b", 1, AttachmentStatus.ATTACHED)
    writes: list[Write | None] = []
    for step in range(len(broken) + 1):
        values = {name: pair[number < step] for number, (name, pair) in enumerate(broken.items())}
        shown_eni = replace(eni(bound), **{**MENDED, **values})  # type: ignore[arg-type]  # the test names fields
        now = 13.0 + 2 * step
        owner = Owner(now, shown_eni)
        writes.append(observer.see(now, "link:sound", owner=owner, target=ELASTIC, groups=("sg-1", "sg-2")).write)
    assert writes == [
        ASSOCIATE,
        KeepAfterTermination(ENI, "a2"),
        SetGroups(ENI, ("sg-1", "sg-2")),
        CheckSource(ENI),
        Tag(ENI, ration.TAG, f"R3@{WALL + 21}/a1"),
    ]


def test_only_the_holder_mends() -> None:
    """Neither a standby, nor whoever is being detached, nor before the link is there."""
    broken = {"elastic": {}, "delete_on_termination": True, "security_groups": (), "source_check": False}
    for bound, link in (
        (Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED), "none"),
        (Attachment("a1", "i-b", 1, AttachmentStatus.DETACHING), "sound"),
        (Attachment("a1", "i-b", 1, AttachmentStatus.ATTACHING), "none"),
    ):
        shown_eni = replace(eni(bound), **{**MENDED, **broken})  # type: ignore[arg-type]  # the test names fields
        seen = f"link:{link} word:sound probe:AA"
        decision = Observer().see(0.0, seen, owner=Owner(0.0, shown_eni), target=ELASTIC, groups=("sg-1",))
        assert decision.write is None, shown(decision)


def test_what_ec2_does_not_take_is_tried_again_by_its_own_backoff() -> None:
    """While the address is carried all the same."""
    observer = Observer()
    holding(0.0, observer, source_check=False)
    assert holding(0.5, observer, source_check=False).write is None
    decision = holding(REPEAT_AFTER + 0.1, observer, source_check=False)
    assert decision.write == CheckSource(ENI)
    assert decision.extent is Extent.ALL
