"""R1: what is free is claimed, what does not exist is created, and what is not ours is left alone."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core import timing
from floatingip.core.decision.decision import Reason, State
from floatingip.core.ec2 import ALLOCATION_TAG, Owner
from floatingip.core.model import Allocation, Target
from floatingip.core.writes import Attach, Create, Written
from tests.core.deciders import ADDRESS, ENI, WALL, Observer, eni, shown
from tests.core.scenes import scenes

ELASTIC = Allocation("eipalloc-0123abcd")


test_what_is_free = scenes(
    """
    nothing is done before EC2 has answered; what is on a link stays there: a restart then drops nothing
        0.0                 -> start EC2_SILENT R9; carries AS_LEFT

    but where it is found on a link of ours, that is mended
        0.0                 -> start EC2_SILENT R9; carries AS_LEFT
        0.1  link:sound     -> start EC2_SILENT R9; carries AS_FOUND

    only once EC2 was asked in vain is an address put on the link by IMDS' word alone: it may be none of ours
        0.0                      -> start EC2_SILENT R9; carries AS_LEFT
        1.0  shown_by_imds=True  -> start EC2_SILENT R9; carries ALL

    an answer that shows nobody takes the address off no link, and puts back none that was taken off: IMDS lacked it
        0.0  ec2:absent link:sound  -> ; carries ALL
        1.0  ec2:absent link:ahead  -> ; carries AS_FOUND

    nothing is done before the name is known: whose ENIs are ours cannot be guessed
        0.0  ec2:free name=''  -> start NAME_UNKNOWN R9

    an observer that is alone claims a free ENI at once: rank 0 waits for nobody
        0.0  ec2:free       -> claiming FREE R1 attach

    the first in rank claims at once: the order of the living peers is that of their instance ids  [i-a]
        0.0  ec2:free peer:i-b peer:i-c  -> claiming FREE R1 attach

    the third in rank waits four seconds, and claims only on an answer that was asked for after that  [i-c]
        0.0  ec2:free peer:i-a peer:i-b  -> claiming FREE_BUT_LATER R1; look 4.0
        2.0  ec2:free peer:i-a peer:i-b  -> claiming FREE_BUT_LATER R1
        3.9  ec2:free peer:i-a peer:i-b  -> claiming FREE_BUT_LATER R1
        4.1  peer:i-a peer:i-b           -> claiming FREE_BUT_LATER R1   # the time has come, but EC2's answer is old
        4.2  ec2:free peer:i-a peer:i-b  -> claiming FREE R1 attach

    a peer that is not heard any more is not waited for: the first in rank may be the dead one
        0.0  ec2:free peer:i-a
        2.5                 -> claiming STALE R1
        2.6  ec2:free       -> claiming FREE R1 attach

    who had the ENI last comes last in rank: its node was drained, or its detach was somebody's wish  [i-a]
        0.0   ec2:a1@i-a
        10.0  ec2:free peer:i-b  -> no write

    who did not have it last comes before who had  [i-b]
        0.0   ec2:a1@i-a
        10.0  ec2:free peer:i-a  -> attach

    whoever waits gives way to who claimed: the look after the wait shows the new holder
        0.0  ec2:free peer:i-a            -> claiming FREE_BUT_LATER R1
        2.1  ec2:a1@i-a/attaching         -> standby SETTLING R6

    an absent ENI is created by any observer: two at once are sorted out by EC2  [i-z]
        0.0  ec2:absent peer:i-a          -> claiming CREATE R1 create

    an ENI of somebody else is never touched, but asked about again within 15 s, as it may be given back
        0.0   ec2:free name:other  -> refused NOT_OURS R1; says eni-1 (tag floatingip=other)
        60.0  ec2:a1@i-x name:other probe:LLLLL word:silent           -> refused NOT_OURS R1
        200   ec2:a1@i-x/attached/terminated name:other probe:LLLLL   -> refused NOT_OURS R1
        300   ec2:a1@i-x/detaching name:other                         -> refused NOT_OURS R1
        400   ec2:a1@i-x/detaching name:other                         -> refused NOT_OURS R1; look-by 415

    a node that cannot take the ENI leaves it to others: no slot, or another zone
        0.0  ec2:free full  -> standby CANNOT_CLAIM R1

    interfaces of the other way to carry are refused: half of the agents would move what the others detach
        fallen
        10.1  ec2:a1@i-a probe:L mixed=eni-9  -> refused MIXED R1

    a node without addresses claims at once, so that the first one of a new deployment does not wait  [i-a]
        0.0  ec2:free burden=0  -> attach

    a node that lets others claim first gives way to who did: the look after the wait shows the new holder  [i-a]
        0.0  ec2:free burden=1
        2.1  ec2:a1@i-b/attaching  -> standby SETTLING R6

    who fenced never waits for others, however much it has: nobody else is going to claim it at once
        fallen
        10.1  ec2:a1@i-a probe:L burden=9  -> detach:a1
        12.0  ec2:free      -> takeover FREE_AFTER_FENCING R3 attach

    a lower rank and a burden are waited for at once, not one after the other: the longer of both decides  [i-c]
        0.0  ec2:free peer:i-a peer:i-b burden=1
        3.9  ec2:free peer:i-a peer:i-b  -> no write
        4.1  ec2:free peer:i-a peer:i-b  -> attach

    a leaving node leaves what is free to others: whoever relieved it may be slow to answer just then
        0.0   ec2:a1@i-b link:sound leaving=drained
        20.0  peer:i-c leaving=drained
        23.0  ec2:free link:none leaving=drained  -> no write
        27.9  ec2:free leaving=drained            -> no write
        28.1  ec2:free leaving=drained            -> attach
    """
)


def test_an_address_outside_of_every_subnet_is_told_and_not_created() -> None:
    """EC2 would refuse it for ever."""
    decision = Observer().see(0.0, "ec2:absent", obstacle="no subnet of vpc-1 contains 10.0.0.100")
    assert shown(decision) == "standby NO_SUBNET R1"
    assert decision.sentence == "no subnet of vpc-1 contains 10.0.0.100"


@pytest.mark.parametrize(
    ("target", "changes", "ours"),
    [
        (ADDRESS, {"address": IPv4Address("10.0.0.7"), "secondary": (ADDRESS,)}, False),
        (IPv6Address("2001:db8::64"), {"ipv6s": (IPv6Address("2001:db8::64"),)}, True),
        (IPv6Address("2001:db8::64"), {"ipv6s": (IPv6Address("2001:db8::65"),)}, False),
        (ELASTIC, {"tags": {"floatingip": "cluster", ALLOCATION_TAG: ELASTIC.id}}, True),
        (ELASTIC, {"tags": {"floatingip": "cluster", ALLOCATION_TAG: "eipalloc-0fffffff"}}, False),
        (ELASTIC, {"elastic": {ADDRESS: ELASTIC.id}}, False),
    ],
    ids=["a secondary one", "its IPv6", "another IPv6", "its tag", "another's tag", "the association alone"],
)
def test_an_eni_is_claimed_only_if_it_is_there_for_the_target(
    target: Target, changes: dict[str, object], ours: bool
) -> None:
    """By its primary or IPv6 address, or the allocation's tag: an association can be anybody's."""
    free = replace(eni(), **changes)  # type: ignore[arg-type]  # the test names fields
    decision = Observer().see(0.0, owner=Owner(0.0, free), target=target)
    assert decision.reason is (Reason.FREE if ours else Reason.NOT_OURS)
    assert (decision.write == Attach(ENI)) is ours


def test_a_free_eni_is_left_to_the_node_that_an_order_names() -> None:
    """For ten seconds: should that node not take it after all, it is claimed as any other."""
    free = replace(eni(), tags={"floatingip": "cluster", "floatingip/to": f"a1>i-b@{WALL + 120}"})
    other, named = Observer(me="i-a"), Observer(me="i-b")
    decision = other.see(0.0, owner=Owner(0.0, free))
    assert (shown(decision), decision.detail) == ("claiming FREE_BUT_LATER R5", "i-b")
    assert named.see(0.0, owner=Owner(0.0, free)).write == Attach(ENI)
    assert other.see(10.1, owner=Owner(10.1, free)).write == Attach(ENI)


@pytest.mark.parametrize(("burden", "seconds"), [(1, 2.0), (2, 4.0), (3, 6.0), (9, 6.0)])
def test_a_node_with_addresses_lets_others_claim_a_free_eni_first(burden: int, seconds: float) -> None:
    """Two seconds for each it has, at most three times: an address is never stranded for its sake."""
    observer = Observer(me="i-a")
    first = observer.see(0.0, "ec2:free", burden=burden)
    assert shown(first) == "claiming FREE_FOR_OTHERS R1"
    assert first.look_at == seconds
    assert observer.see(seconds - 0.1, "ec2:free").write is None
    assert observer.see(seconds, "ec2:free").write == Attach(ENI)


# What EC2 refuses as taken, while it shows nobody who has it.


def refuse(observer: Observer, at: float) -> None:
    """What EC2 makes of the last write, if there was one at that time."""
    if observer.view.written.ended_at == at:
        observer.view = replace(
            observer.view, written=Written(ended_at=at), taken_at=at, taken="Address 10.0.0.100 is in use."
        )


def test_an_address_that_nobody_is_shown_to_have_but_ec2_refuses_is_taken() -> None:
    """A shared subnet, a delegated prefix: after twenty seconds, for a lost race is shown sooner; it goes on trying."""
    observer, tries = Observer(), []
    for now in range(60):
        decision = observer.see(float(now), "ec2:absent")
        tries += [now] if decision.write is not None else []
        assert decision.reason is (Reason.CREATE if now < 20 else Reason.TAKEN)
        refuse(observer, now)
    assert decision.state is State.REFUSED
    assert "Address 10.0.0.100 is in use." in decision.sentence
    assert any(at > 20 for at in tries)


@pytest.mark.parametrize("words", ["ec2:absent", "ec2:a1@i-a word:sound"])
def test_an_address_that_is_freed_meanwhile_is_refused_no_more(words: str) -> None:
    """EC2 takes the next claim, or shows who has it."""
    observer = Observer()
    for now in (0.0, 10.0, 20.5):
        observer.see(now, "ec2:absent")
        refuse(observer, now)
    assert observer.see(26.0, "ec2:absent").reason is Reason.TAKEN
    assert observer.see(33.0, words).reason is not Reason.TAKEN


def test_a_race_that_was_lost_long_ago_does_not_count() -> None:
    """Others had it for an hour; now nobody has it, and EC2 has refused nothing since."""
    observer = Observer()
    observer.see(0.0, "ec2:absent")
    refuse(observer, 0.0)
    observer.see(2.0, "ec2:a1@i-a word:sound")
    assert observer.see(3600.0, "ec2:absent").reason is Reason.CREATE
    assert observer.see(3601.5, "ec2:absent").reason is Reason.CREATE


# The ENI is created once, whoever asks: a token for each generation.

LATE = timing.FORGOTTEN_AFTER


test_generations_of_the_token = scenes(
    f"""
    the same generation is created again while it may only not be shown yet: EC2 makes one interface of a token
        0.0  ec2:absent  -> create
        1.1  ec2:absent  -> create
        5.0  ec2:absent  -> create
        9.9  ec2:absent  -> create

    an ENI that was deleted meanwhile is created by the next generation: the old token's answer would be the deleted one
        0.0               ec2:absent
        {LATE + 0.1}      ec2:absent  -> create:1
        {LATE + 5.0}      ec2:absent  -> create:1
        {2 * LATE + 0.2}  ec2:absent  -> create:2

    an ENI that was shown is created anew soon when it is deleted: its own token first, until a second answer agrees
        0.0     ec2:absent
        1.1     ec2:a1@i-b link:sound
        3600.0  ec2:absent link:none  -> create
        3601.5  ec2:absent            -> create
        3602.6  ec2:absent            -> create:1

    one that was shown for long and then is not is created anew at once, whatever becomes of the calls: all may be lost
        0.0..60/60  ec2:free accepted=None
        100.0       ec2:absent accepted=None  -> create
        101.0       ec2:absent accepted=None  -> create
        101.9       ec2:absent accepted=None  -> no write
        101.95      accepted=None
        103.1       ec2:absent accepted=None  -> create:1
        103.2       accepted=None
        130.0       ec2:absent                -> create:1

    a generation is not passed over because nothing could be written: EC2 throttled or denied the first try for a minute
        0.0   ec2:absent retry:create@60
        61.0  ec2:absent              -> create

    nor because a creation was refused: observers that started at other times must go on with the same token
        0.0   ec2:absent              -> create
        0.5   ec2:absent retry:create@60 accepted=None
        60.1  ec2:absent              -> create
    """
)


def test_a_creation_that_failed_in_between_does_not_give_a_spent_token_more_time() -> None:
    """EC2 has said once that it made the ENI: the calls that it did not answer since change nothing about that."""
    observer = Observer()
    observer.see(0.0, "ec2:absent")
    for now in (3.0, 6.0, 9.0):
        observer.see(now, "ec2:absent")
        observer.see(now + 0.1, accepted=None, retry_at={Create: now + 2.0})
    assert observer.see(LATE + 1.5, "ec2:absent").write == Create(1)
