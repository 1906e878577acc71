"""The address moves between standing ENIs: A1, A2, A5, the ranks, and what a claim must know of EC2."""

from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import pytest

from floatingip.core.decision.decision import Decision, Reason, State
from floatingip.core.ec2 import OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.peer import Peer
from floatingip.core.plumbing import Extent
from floatingip.core.timing import CLAIM_SHOWN, LOOK_BEFORE_TAKING
from floatingip.core.writes import Assign, AssignAny, Associate, Written
from tests.core.deciders import ADDRESS, WALL, ZONE, peer, shown
from tests.core.movers import ELASTIC, IPV6, PRIVATE, Mover, standing
from tests.core.scenes import replay, scenes

HERE = f"at-a/{ADDRESS}"
"""What an observer calls what it sees UP while i-a has the address."""


# A1, A2: one call, on what EC2 has just said.


@pytest.mark.parametrize("began", [0.0, 0.5, 3e8])
def test_a_dead_holders_address_is_moved_by_one_call(began: float) -> None:
    """As soon as EC2 was asked after the first lost probe; nobody is detached, and nothing is written twice."""
    replay(
        """
        0.0   ec2:i-a word:sound probe:AA link:ahead -> standby ANSWERS R10
        10.0  probe:LLLLL word:silent                -> doubt NO_EVIDENCE R3
        10.1  ec2:i-a probe:L                        -> takeover SILENT_HOLDER R3 move:eni-b
        10.3  ec2:i-a probe:L                        -> takeover ASSIGNING R3
        11.2  ec2:i-b                                -> claiming PLUMBING A3
        11.3  link:sound                             -> holder HELD_HERE R10 tag:R3@11/at-a
        """,
        Mover(began=began),
    )


test_a_claim = scenes(
    f"""
    an address is not taken on an answer that is older than a second: somebody else may have it since
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL
        10.1  ec2:i-a probe:L
        11.2  probe:L word:silent        -> doubt STALE R3; look 11.2
        11.3  ec2:i-a probe:L            -> takeover SILENT_HOLDER R3 move:eni-b

    an answer that shows another owner stops the takeover: who was faster is not judged by what its predecessor did
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL
        10.1  ec2:i-a probe:L
        11.2  probe:L word:silent
        11.3  ec2:i-c word:unasked       -> no write; state standby

    in doubt EC2 is asked often enough for a fresh answer: before the verdict is due, not after it
        0.0   ec2:i-a word:sound probe:AA
        10.0  ec2:i-a probe:L            -> ; state doubt; look {10.0 + LOOK_BEFORE_TAKING}

    what nobody has is assigned without reassignment: EC2 refuses all but the first of those who try
        0.0  ec2:absent                  -> claiming FREE R1 assign:eni-b

    an orphan's address is moved from it: the standing ENI of an instance that ended keeps it until it is taken over
        0.0  ec2:i-a/free                -> claiming FREE R1 move:eni-b

    an orphan's address is not taken on an old answer after waiting for others: they may have it, and EC2 says nothing
        0.0  ec2:i-a/free burden=1       -> claiming FREE_FOR_OTHERS R1
        2.1                              -> no write; reason STALE; look 2.1
        2.2  ec2:i-a/free                -> claiming FREE R1 move:eni-b

    an orphan's address is not taken on an old answer when the first in rank falls silent: it may just have claimed
        0.0   ec2:i-0/free peer:i-a
        2.05                             -> no write; reason STALE

    the address of a standing ENI that is being detached is moved from it: its node loses it in any case
        0.0   ec2:i-a word:sound probe:AA link:ahead
        60.0  ec2:i-a/detaching          -> claiming FREE R1 move:eni-b
        61.5  ec2:i-b link:sound         -> holder HELD_HERE R10   # no takeover: the ration does not count it

    a claim is not made again while Describes may lag; then it is, and refused if somebody else has the address
        0.0                  ec2:absent  -> assign:eni-b
        0.3                  ec2:absent  -> no write; reason ASSIGNING; state takeover
        2.0                  ec2:absent  -> no write; reason ASSIGNING; state takeover
        {CLAIM_SHOWN - 0.1}  ec2:absent  -> no write; reason ASSIGNING; state takeover
        {CLAIM_SHOWN + 0.1}  ec2:absent  -> assign:eni-b

    a claim that EC2 did not accept is made again after its backoff: throttled once costs half a second, and no more
        fallen
        10.1  ec2:i-a probe:L  -> move:eni-b
        10.3  probe:L accepted=None wrote_at=10.3 retry:assign@10.8  -> not ASSIGNING
        10.5  ec2:i-a probe:L  -> no write
        11.2  ec2:i-a probe:L  -> move:eni-b

    what was taken in vain and is being detached is this node's to claim, but not on an old answer: others may have it
        fallen
        10.1  ec2:i-a probe:L  -> move:eni-b
        10.3  accepted=None wrote_at=10.3 retry:assign@12.5
        11.5  ec2:i-a/detaching  -> no write
        12.6                     -> claiming STALE R1; obliged yes
        12.7  ec2:i-a/detaching  -> takeover FREE_AFTER_FENCING R3 move:eni-b

    a claim that was not accepted plumbs nothing: a node with an address that EC2 leads elsewhere only hears itself
        fallen
        10.1  ec2:i-a probe:L  -> ; carries AHEAD
        10.3  probe:L accepted=None wrote_at=10.3 retry:assign@10.8  -> ; carries AHEAD

    a standing ENI of another deployment is not ours, whatever else it looks like
        0.0  ec2:i-a name:other          -> refused NOT_OURS R1

    an orphan of another deployment is not ours either
        0.0  ec2:i-a/free name:other     -> refused NOT_OURS R1

    interfaces of the other way to carry are refused: half of the agents would detach what the others move
        fallen
        10.1  ec2:i-a probe:L mixed=eni-9  -> refused MIXED R1; says eni-9; says floatingip release
    """,
    Mover,
)


def test_an_answer_that_took_long_will_do_when_it_was_asked_for_since_the_move_is_due() -> None:
    """Where EC2 takes four seconds no answer is ever a second old; one that was asked for before will not do."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(10.0, "probe:LLLLL word:silent")
    answer = Owner(10.1, standing("i-a", ADDRESS))
    assert shown(mover.see(14.1, "probe:L", owner=answer)) == "doubt STALE R3"
    answer = Owner(14.2, standing("i-a", ADDRESS))
    assert shown(mover.see(18.2, "probe:L", owner=answer)) == "takeover SILENT_HOLDER R3 move:eni-b"


@pytest.mark.parametrize("seen", ["ec2:absent", "ec2:i-a/free"])
def test_nothing_is_claimed_before_the_own_standing_eni_is_there(seen: str) -> None:
    """It is on its way: told as the obstacle that it is, and looked at again soon."""
    decision = Mover().see(0.0, seen, mine=None, obstacle="its standing ENI is being attached")
    assert decision.write is None
    assert decision.sentence.endswith("its standing ENI is being attached")
    assert decision.look_at <= 1.0


# A2: what is not ours.


def foreign(instance_id: str, name: str = "") -> Eni:
    """The primary ENI of a worker, with the address as a secondary one: the VPC CNI gave it to a pod."""
    bound = Attachment("at-0", instance_id, 0, AttachmentStatus.ATTACHED, since_wall=WALL - 3600.0)
    tags = {OWNER_TAG: name} if name else {}
    own = IPv4Address("10.0.0.11")
    return Eni("eni-0", "02:00:00:00:00:0b", own, "subnet-1", ZONE, bound, tags, secondary=(ADDRESS,))


@pytest.mark.parametrize("holder", ["i-b", "i-x"], ids=["of this node", "of another node"])
@pytest.mark.parametrize("name", ["", "other", "cluster"], ids=["nobody's", "another cluster's", "ours, not standing"])
def test_an_address_that_something_else_has_is_never_touched(holder: str, name: str) -> None:
    """Whatever is wrong with it; and this node's own primary ENI is no standing one, so nothing is plumbed for it."""
    mover = Mover()
    for now, seen in ((0.0, "probe:AA"), (10.0, "probe:LLLLL word:silent"), (20.0, "probe:L"), (90.0, "probe:L")):
        decision = mover.see(now, f"{seen} link:ahead", owner=Owner(now, foreign(holder, name)))
        assert (decision.state, decision.reason, decision.write) == (State.REFUSED, Reason.NOT_OURS, None)
        assert decision.extent is not Extent.ALL


# A5: IPv6 and Elastic IPs.


test_an_ipv6_address = scenes(
    """
    it is unassigned from the judged ENI and then assigned: in between this node must not end, and waits for nobody
        fallen
        10.1  ec2:i-a probe:L          -> takeover SILENT_HOLDER R3 unassign:eni-a; obliged yes
        10.3  ec2:i-a probe:L          -> no write; obliged yes
        10.7  ec2:absent peer:i-0      -> takeover FREE_AFTER_FENCING R3 assign:eni-b; obliged yes
        10.9  ec2:absent               -> no write; reason ASSIGNING
        12.0  ec2:i-b                  -> claiming PLUMBING A3
        12.1  link:sound               -> holder HELD_HERE R10 tag:R3@12/at-a

    in between this node must not end where EC2 is slow: what it was asked before still shows the judged ENI
        fallen
        10.1  ec2:i-a probe:L          -> unassign:eni-a; obliged yes
        11.6  writing=True probe:L     -> STALE; obliged yes
        11.7  probe:L writing=False    -> STALE; obliged yes

    left between the two calls it is claimed by another: nobody has it, and that is all that anybody needs to know
        0.0   ec2:i-a word:sound probe:AA
        12.0  ec2:absent               -> claiming FREE R1 assign:eni-b

    a refused fence claims nothing: another observer was faster, and EC2 shows at the next look who has it now
        fallen
        10.1  ec2:i-a probe:L
        10.2  probe:L accepted=None
        10.8  ec2:i-c                  -> no write; state standby; obliged no
    """,
    partial(Mover, target=IPV6),
)


def test_an_elastic_ip_is_given_a_private_address_then_associated_and_moves_with_it_ever_after() -> None:
    """The first two calls are made once in its life; a failover is the same one call as for an address."""
    mover = Mover(target=ELASTIC)
    spare = replace(standing("i-b"), secondary=(PRIVATE,))
    assert mover.see(0.0, "ec2:absent").write == AssignAny("eni-b")
    assert mover.see(2.0, "ec2:absent", mine=spare).write == Associate(ELASTIC.id, "eni-b", PRIVATE)
    assert mover.see(3.0, "ec2:i-b link:ahead").reason is Reason.PLUMBING
    other = Mover(me="i-c", target=ELASTIC).fall()
    assert other.see(10.1, "ec2:i-a probe:L").write == Assign("eni-c", PRIVATE, reassign=True)


def test_a_floating_address_is_no_spare_for_an_elastic_ip() -> None:
    """Nor is one that has an Elastic IP already."""
    used = replace(standing("i-b"), secondary=(ADDRESS, PRIVATE), elastic={PRIVATE: "eipalloc-0fffffff"})
    assert Mover(target=ELASTIC).see(0.0, "ec2:absent", mine=used).write == AssignAny("eni-b")


# Ranks: EC2 does not tell the second of two thieves that it is late.


test_a_rank = scenes(
    """
    the second in rank takes over four seconds after the first could have, if EC2 still shows the same owner  [i-c]
        0.0   ec2:i-a word:sound probe:AA peer:i-b
        10.0  probe:LLLLL word:silent peer:i-b
        10.1  ec2:i-a probe:L peer:i-b   -> doubt LATER R3; about i-b
        13.9  ec2:i-a probe:L peer:i-b   -> doubt LATER R3
        14.15  probe:L peer:i-b          -> doubt STALE R3
        14.2  ec2:i-a probe:L peer:i-b   -> takeover SILENT_HOLDER R3 move:eni-c

    one that came first is waited for though it says no more that it would: restarted, it forgot its claim  [i-c]
        0.0   ec2:i-a word:sound probe:AA peer:i-b peer:i-e
        10.0  probe:LLLLL word:silent peer:i-b peer:i-e
        10.1  ec2:i-a probe:L peer:i-b peer:i-e  -> doubt LATER R3; about i-b
        11.0  ec2:i-a probe:L gone:i-b peer:i-e  -> doubt LATER R3; about i-b
        14.0  ec2:i-a probe:L peer:i-e           -> doubt LATER R3
        14.2  ec2:i-a probe:L peer:i-e           -> takeover SILENT_HOLDER R3 move:eni-c

    the third in rank waits eight seconds: four for each before it  [i-d]
        0.0   ec2:i-a word:sound probe:AA peer:i-b peer:i-c
        10.0  probe:LLLLL word:silent peer:i-b peer:i-c
        10.1  ec2:i-a probe:L peer:i-b peer:i-c
        17.9  ec2:i-a probe:L peer:i-b peer:i-c  -> no write
        18.2  ec2:i-a probe:L peer:i-b peer:i-c  -> move:eni-d

    a peer that was there a moment ago is waited for: its last word may have been lost with its claim under way  [i-c]
        0.0   ec2:i-a word:sound probe:AA
        6.0   peer:i-b peer:i-d
        10.0  probe:LLLLL word:silent peer:i-d
        10.1  ec2:i-a probe:L peer:i-d   -> doubt LATER R3

    one that has just begun waits for whom it has not met yet, but may be before it: it knows no more than ids  [i-c]
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        10.1  ec2:i-a probe:L peer:i-e informed_at=6.0 neighbours={'i-b','i-d'}  -> doubt LATER R3; about i-b
        14.0  ec2:i-a probe:L peer:i-e           -> doubt LATER R3; about i-b
        14.2  ec2:i-a probe:L peer:i-e           -> takeover SILENT_HOLDER R3 move:eni-c

    however many it has not met, it waits no longer than until they should have been heard  [i-c]
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        10.1  ec2:i-a probe:L peer:i-e informed_at=6.0 neighbours={'i-b','i-b1','i-b2'}  -> doubt LATER R3
        15.9  ec2:i-a probe:L peer:i-e           -> doubt LATER R3
        16.1  ec2:i-a probe:L peer:i-e           -> takeover SILENT_HOLDER R3 move:eni-c

    whom it has not met yet does not keep it waiting while it comes before that, nor by having been the holder  [i-c]
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        10.1  ec2:i-a probe:L peer:i-e informed_at=1.0 neighbours={'i-a','i-d'}  -> takeover SILENT_HOLDER R3 move:eni-c

    nor does one that has not met it yet go by the API server's word alone: it may see the address UP  [i-c]
        0.0   ec2:i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        10.1  ec2:i-a probe:L informed_at=6.0 neighbours={'i-a','i-d'}  -> doubt NO_EVIDENCE R3
        13.9  ec2:i-a probe:L           -> doubt NO_EVIDENCE R3
        14.1  ec2:i-a probe:L           -> takeover SILENT_HOLDER R3 move:eni-c

    a leaving node comes last, but it comes: better than nobody
        fallen
        10.1  ec2:i-a probe:L peer:i-z leaving=spot  -> LATER
        14.2  ec2:i-a probe:L peer:i-z leaving=spot  -> move:eni-b

    the judged holder is no rank to wait for: it answered a moment ago, so it was alive then
        9.0   ec2:i-a word:sound probe:AA peer:i-a
        9.9   probe:LLLLL word:silent peer:i-a
        10.1  ec2:i-a probe:L peer:i-z   -> move:eni-b
    """,
    Mover,
)


RANKED = {
    "before": (peer("i-a9", 10.1), "LATER"),
    "leaving": (peer("i-a9", 10.1, leaving=True), ""),
    "no standing ENI": (peer("i-a9", 10.1, free_slots=0), ""),
    "burdened": (peer("i-a9", 10.1, holds={"10.0.0.101": "at-9"}), ""),
    "behind": (peer("i-z", 10.1), ""),
    "behind, but served": (peer("i-z", 10.1, served={"i-z": {30007: True}}), "LATER"),
    "before, but not served": (peer("i-a9", 10.1, served={"i-b": {30007: True}}), ""),
    # What it sees is told with the address, since an attachment of a standing ENI may have several.
    "sees the address UP": (peer("i-z", 10.1, (HERE,)), "NO_EVIDENCE"),
    "sees another address UP there": (peer("i-z", 10.1, ("at-a/10.0.0.101",)), ""),
    # By another attachment than the judged one: it moved after this node's question to EC2.
    "says that it has the address": (peer("i-z", 10.1, holds={str(ADDRESS): "at-z"}), "LATER"),
    "says that it has another one": (peer("i-z", 10.1, holds={"10.0.0.101": "at-z"}), ""),
    "was promised another one": (peer("i-z", 10.1, claiming=(str(IPV6),)), ""),
}


@pytest.mark.parametrize(("other", "waits"), RANKED.values(), ids=RANKED)
def test_whether_another_observer_is_waited_for_that(other: Peer, waits: str) -> None:
    """Nodes that stay, on which the service was seen, with fewer addresses, then in the order of their ids."""
    decision = Mover().fall().see(10.1, "ec2:i-a probe:L", peers=(other,))
    assert shown(decision) == (f"doubt {waits} R3" if waits else "takeover SILENT_HOLDER R3 move:eni-b")


def test_one_that_came_first_and_has_got_another_address_since_is_waited_for_no_more() -> None:
    """It waits for this node by then, as it has more addresses now: both would wait, and then both take it."""
    mover, burden = Mover().fall(), {"10.0.0.101": "at-9"}

    def seen(now: float, **first: Any) -> Decision:
        return mover.see(now, "ec2:i-a probe:L", peers=(peer("i-a9", now, **first), peer("i-z", now)))

    assert (seen(10.1).reason, seen(10.2).detail) == (Reason.LATER, "i-a9")
    assert seen(10.6, holds=burden, unsure=(HERE,)).detail == "i-a9", "restarted: it does not know what it has claimed"
    assert shown(seen(11.1, holds=burden)) == "takeover SILENT_HOLDER R3 move:eni-b"


# Promises: EC2 accepted the address for somebody, but nobody sees it there yet.


def promised(now: float) -> tuple[Peer, ...]:
    """A peer behind this node in rank that EC2 has promised the address to."""
    return (peer("i-z", now, claiming=(str(ADDRESS),)),)


def test_whoever_was_promised_the_address_is_waited_for() -> None:
    """Also by those who come first: EC2 would take it away from there again.  The wait for ranks begins after it."""
    mover = Mover().fall()
    decision = mover.see(10.1, "ec2:i-a probe:L", peers=promised(10.1))
    assert (shown(decision), decision.detail) == ("doubt LATER R3", "i-z")
    assert not decision.due
    silent = (*promised(10.1), peer("i-y", 12.2))
    assert mover.see(12.2, "ec2:i-a probe:L", peers=silent).write is not None, "it was not heard of for two seconds"


def test_what_nobody_has_but_somebody_was_promised_is_not_claimed() -> None:
    """EC2 would refuse it."""
    decision = Mover().see(0.0, "ec2:absent", peers=promised(0.0))
    assert (shown(decision), decision.detail) == ("claiming FREE_BUT_LATER R1", "i-z")


def test_an_address_that_ec2_refuses_while_it_shows_nobody_is_taken() -> None:
    """It is said, and tried again; meanwhile it is put on no link."""
    mover = Mover()
    for now in (0.0, 10.0, 21.0):
        decision = mover.see(now, "ec2:absent")
        at = mover.view.written.ended_at
        mover.view = replace(mover.view, written=Written(ended_at=at), taken_at=at, taken="Address is in use.")
    assert shown(decision).startswith("refused TAKEN R1 assign:")
    assert decision.extent is Extent.AS_FOUND
