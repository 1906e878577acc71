"""The rules where the address moves between standing ENIs: A1 to A5, and R1 to R14 as they are with them."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.core import timing
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Reason, State
from floatingip.core.decision.ration import TAG
from floatingip.core.ec2 import OWNER_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Carry
from floatingip.core.pace import SLOWEST
from floatingip.core.peer import Peer
from floatingip.core.plumbing import Extent
from floatingip.core.timing import CLAIM_SHOWN, LOOK_BEFORE_TAKING
from floatingip.core.writes import Assign, AssignAny, Associate, Tag
from tests.core.deciders import ADDRESS, WALL, ZONE, peer, replay, shown
from tests.core.movers import ELASTIC, IPV6, PRIVATE, Mover, standing

HERE = f"at-a/{ADDRESS}"
"""What an observer calls what it sees UP while i-a has the address."""


def fallen(mover: Mover, word: str = "word:silent") -> Mover:
    """It saw i-a have the address, and it answered; from 10.0 on the probes were lost; EC2 was not asked since."""
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    mover.see(10.0, f"probe:LLLLL {word}")
    return mover


# A1, A2: one call, on what EC2 has just said.


@pytest.mark.parametrize("began", [0.0, 0.5, 3e8])
def test_a_dead_holders_address_is_moved_by_one_call(began: float) -> None:
    """As soon as EC2 was asked after the first lost probe; nobody is detached, and nothing is written twice."""
    replay(
        f"""
        0.0   ec2:i-a word:sound probe:AA link:ahead -> standby ANSWERS R10
        10.0  probe:LLLLL word:silent                -> doubt NO_EVIDENCE R3
        10.1  ec2:i-a probe:L                        -> takeover SILENT_HOLDER R3 move:eni-b
        10.3  ec2:i-a probe:L                        -> takeover ASSIGNING R3
        11.2  ec2:i-b                                -> claiming PLUMBING A3
        11.3  link:sound                             -> holder HELD_HERE R10 tag:R3@{WALL + 11}/at-a
        """,
        Mover(began=began),
    )


def test_the_move_names_the_own_standing_eni_and_allows_reassignment() -> None:
    """Only for an owner that was judged."""
    decision = fallen(Mover()).see(10.1, "ec2:i-a probe:L")
    assert decision.write == Assign("eni-b", ADDRESS, reassign=True)


def test_an_address_is_not_taken_on_an_answer_that_is_older_than_a_second() -> None:
    """Somebody else may have it since: EC2 is asked once more, at once, and then it is taken."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(10.0, "probe:LLLLL")
    mover.see(10.1, "ec2:i-a probe:L")
    late = mover.see(11.2, "probe:L word:silent")
    assert shown(late) == "doubt STALE R3"
    assert late.look_at == 11.2
    assert shown(mover.see(11.3, "ec2:i-a probe:L")) == "takeover SILENT_HOLDER R3 move:eni-b"


def test_an_answer_that_took_long_will_do_when_it_was_asked_for_since_the_move_is_due() -> None:
    """Where EC2 takes four seconds no answer is ever a second old; one that was asked for before will not do."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(10.0, "probe:LLLLL word:silent")
    answer = Owner(10.1, standing("i-a", ADDRESS))
    assert shown(mover.see(14.1, "probe:L", owner=answer)) == "doubt STALE R3"
    answer = Owner(14.2, standing("i-a", ADDRESS))
    assert shown(mover.see(18.2, "probe:L", owner=answer)) == "takeover SILENT_HOLDER R3 move:eni-b"


def test_an_answer_that_shows_another_owner_stops_the_takeover() -> None:
    """Whoever was faster is not judged by what its predecessor did."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(10.0, "probe:LLLLL")
    mover.see(10.1, "ec2:i-a probe:L")
    mover.see(11.2, "probe:L word:silent")
    decision = mover.see(11.3, "ec2:i-c word:unasked")
    assert (decision.state, decision.write) == (State.STANDBY, None)


def test_in_doubt_ec2_is_asked_often_enough_for_a_fresh_answer() -> None:
    """Before the verdict is due, not after it."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    decision = mover.see(10.0, "ec2:i-a probe:L")
    assert decision.state is State.DOUBT
    assert decision.look_at == 10.0 + LOOK_BEFORE_TAKING


def test_what_nobody_has_is_assigned_without_reassignment() -> None:
    """EC2 refuses all but the first of those who try."""
    decision = Mover().see(0.0, "ec2:absent")
    assert shown(decision) == "claiming FREE R1 assign:eni-b"
    assert decision.write == Assign("eni-b", ADDRESS, reassign=False)


def test_an_orphans_address_is_moved_from_it() -> None:
    """The standing ENI of an instance that ended keeps it until somebody takes it over."""
    assert shown(Mover().see(0.0, "ec2:i-a/free")) == "claiming FREE R1 move:eni-b"


def test_an_orphans_address_is_not_taken_on_an_old_answer_after_waiting_for_others() -> None:
    """Whoever was waited for may have it by now, and EC2 would not refuse."""
    mover = Mover()
    assert shown(mover.see(0.0, "ec2:i-a/free", burden=1)) == "claiming FREE_FOR_OTHERS R1"
    late = mover.see(2.1)
    assert (late.reason, late.write, late.look_at) == (Reason.STALE, None, 2.1)
    assert shown(mover.see(2.2, "ec2:i-a/free")) == "claiming FREE R1 move:eni-b"


def test_an_orphans_address_is_not_taken_on_an_old_answer_when_the_first_in_rank_falls_silent() -> None:
    """It may have claimed just before."""
    mover = Mover()
    mover.see(0.0, "ec2:i-0/free peer:i-a")
    late = mover.see(2.05)
    assert (late.reason, late.write) == (Reason.STALE, None)


def test_the_address_of_a_standing_eni_that_is_being_detached_is_moved_from_it() -> None:
    """Somebody detaches it by hand: its node loses the address in any case.  The ration does not count that."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    assert shown(mover.see(60.0, "ec2:i-a/detaching")) == "claiming FREE R1 move:eni-b"
    assert mover.memory.unrecorded == ""


def test_nothing_is_claimed_before_the_own_standing_eni_is_there() -> None:
    """It is on its way: told as the obstacle that it is, and looked at again soon."""
    for seen in ("ec2:absent", "ec2:i-a/free"):
        decision = Mover().see(0.0, seen, mine=None, obstacle="its standing ENI is being attached")
        assert decision.write is None
        assert decision.sentence.endswith("its standing ENI is being attached")
        assert decision.look_at <= 1.0


def test_a_claim_is_not_made_again_while_describes_may_lag() -> None:
    """It takes EC2 a second or two; then it is made anew, and refused if somebody else has the address by then."""
    mover = Mover()
    assert mover.see(0.0, "ec2:absent").write == Assign("eni-b", ADDRESS)
    for now in (0.3, 2.0, CLAIM_SHOWN - 0.1):
        assert shown(mover.see(now, "ec2:absent")) in ("takeover ASSIGNING", "takeover ASSIGNING R1")
    assert mover.see(CLAIM_SHOWN + 0.1, "ec2:absent").write == Assign("eni-b", ADDRESS)


def test_a_claim_that_ec2_did_not_accept_is_made_again_after_its_backoff() -> None:
    """Throttled once costs half a second, not the time that an accepted claim may take to be shown."""
    mover = fallen(Mover())
    assert mover.see(10.1, "ec2:i-a probe:L").write is not None
    failed = mover.see(10.3, "probe:L", accepted=None, wrote_at=10.3, retry_at={Assign: 10.8})
    assert failed.reason is not Reason.ASSIGNING
    assert mover.see(10.5, "ec2:i-a probe:L").write is None
    assert mover.see(11.2, "ec2:i-a probe:L").write == Assign("eni-b", ADDRESS, reassign=True)


def test_a_claim_that_was_not_accepted_plumbs_nothing() -> None:
    """A node with the address that EC2 leads elsewhere would only hear itself."""
    mover = fallen(Mover())
    assert mover.see(10.1, "ec2:i-a probe:L").extent is Extent.AHEAD
    assert mover.see(10.3, "probe:L", accepted=None, wrote_at=10.3, retry_at={Assign: 10.8}).extent is Extent.AHEAD


# A2: what is not ours.


def foreign(instance_id: str, name: str = "") -> Eni:
    """The primary ENI of a worker, with the address as a secondary one: the VPC CNI gave it to a pod."""
    bound = Attachment("at-0", instance_id, 0, AttachmentStatus.ATTACHED)
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


def test_a_standing_eni_of_another_deployment_is_not_ours() -> None:
    """By its tag, whatever else it looks like."""
    assert shown(Mover().see(0.0, "ec2:i-a name:other")) == "refused NOT_OURS R1"
    assert shown(Mover().see(0.0, "ec2:i-a/free name:other")) == "refused NOT_OURS R1"


def test_interfaces_of_the_other_way_to_carry_are_refused() -> None:
    """Half of the agents would detach what the others move."""
    decision = fallen(Mover()).see(10.1, "ec2:i-a probe:L", mixed="eni-9")
    assert shown(decision) == "refused MIXED R1"
    assert "eni-9" in decision.sentence
    assert "floatingip release" in decision.sentence


# A3: a new owner is given time.


def moved(mover: Mover, seen: str = "word:sound") -> Mover:
    """It saw the address move from i-a to i-c at 10.0, and answer there until 11.0, when its probes were lost."""
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    mover.see(10.0, "ec2:i-c")
    mover.see(10.5, f"probe:AA {seen}")
    return mover


def test_a_new_owner_is_not_judged_for_five_seconds() -> None:
    """The neighbours, and EC2 itself, may still be on the way to it."""
    replay(
        """
        11.0  probe:LLLLL word:silent  -> doubt NOT_VOUCHED R4
        11.2  ec2:i-c probe:L          -> doubt NOT_VOUCHED R4
        14.9  ec2:i-c probe:L          -> doubt NOT_VOUCHED R4
        15.1  ec2:i-c probe:L          -> takeover SILENT_HOLDER R3 move:eni-b
        """,
        moved(Mover()),
    )


def test_a_new_owner_whose_instance_ended_is_relieved_at_once() -> None:
    """EC2 itself says so (R2)."""
    mover = moved(Mover())
    mover.see(11.0, "ec2:i-c//terminated")
    assert shown(mover.see(11.2, "ec2:i-c//terminated")) == "takeover INSTANCE_ENDED R2 move:eni-b"


def test_a_new_owner_that_asks_for_it_is_relieved_at_once() -> None:
    """It is leaving, too."""
    assert shown(moved(Mover()).see(11.0, "ec2:i-c word:leaving")) == "takeover HOLDER_LEAVING R5 move:eni-b"


def test_whoever_has_the_address_when_an_observer_begins_may_have_had_it_for_long() -> None:
    """An observer that starts anew while the holder dies does not wait."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(1.0, "probe:LLLLL word:silent")
    assert shown(mover.see(1.1, "ec2:i-a probe:L")) == "takeover SILENT_HOLDER R3 move:eni-b"


# A5: IPv6 and Elastic IPs.


def test_an_ipv6_address_is_unassigned_from_the_judged_eni_and_then_assigned() -> None:
    """EC2 knows no reassignment for it.  In between this node must not end, and waits for nobody."""
    mover = fallen(Mover(target=IPV6))
    fence = mover.see(10.1, "ec2:i-a probe:L")
    assert (shown(fence), fence.obliged) == ("takeover SILENT_HOLDER R3 unassign:eni-a", True)
    lagging = mover.see(10.3, "ec2:i-a probe:L")
    assert (lagging.write, lagging.obliged) == (None, True)
    claim = mover.see(10.7, "ec2:absent peer:i-0")
    assert (shown(claim), claim.obliged) == ("takeover FREE_AFTER_FENCING R3 assign:eni-b", True)
    waiting = mover.see(10.9, "ec2:absent")
    assert (waiting.reason, waiting.write) == (Reason.ASSIGNING, None)
    replay(
        f"""
        12.0  ec2:i-b              -> claiming PLUMBING A3
        12.1  link:sound           -> holder HELD_HERE R10 tag:R3@{WALL + 12}/at-a
        """,
        mover,
    )


def test_an_ipv6_address_that_was_left_between_the_two_calls_is_claimed_by_another() -> None:
    """Whoever fenced it ended: nobody has it, and that is all that anybody needs to know."""
    mover = Mover(target=IPV6)
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    assert shown(mover.see(12.0, "ec2:absent")) == "claiming FREE R1 assign:eni-b"


def test_a_refused_fence_of_an_ipv6_address_claims_nothing() -> None:
    """Another observer was faster; EC2 shows at the next look who has it now."""
    mover = fallen(Mover(target=IPV6))
    mover.see(10.1, "ec2:i-a probe:L")
    mover.see(10.2, "probe:L", accepted=None)
    decision = mover.see(10.8, "ec2:i-c")
    assert (decision.state, decision.write, decision.obliged) == (State.STANDBY, None, False)


def test_an_elastic_ip_is_given_a_private_address_then_associated_and_moves_with_it_ever_after() -> None:
    """The first two calls are made once in its life; a failover is the same one call as for an address."""
    mover = Mover(target=ELASTIC)
    spare = replace(standing("i-b"), secondary=(PRIVATE,))
    assert mover.see(0.0, "ec2:absent").write == AssignAny("eni-b")
    assert mover.see(2.0, "ec2:absent", mine=spare).write == Associate(ELASTIC.id, "eni-b", PRIVATE)
    assert mover.see(3.0, "ec2:i-b link:ahead").reason is Reason.PLUMBING
    other = fallen(Mover(me="i-c", target=ELASTIC))
    assert other.see(10.1, "ec2:i-a probe:L").write == Assign("eni-c", PRIVATE, reassign=True)


def test_a_floating_address_is_no_spare_for_an_elastic_ip() -> None:
    """Nor is one that has an Elastic IP already."""
    used = replace(standing("i-b"), secondary=(ADDRESS, PRIVATE), elastic={PRIVATE: "eipalloc-0fffffff"})
    assert Mover(target=ELASTIC).see(0.0, "ec2:absent", mine=used).write == AssignAny("eni-b")


# A3, R10: how much of the plumbing there is.


def test_a_standby_is_plumbed_ahead_of_the_address_once_it_is_sure() -> None:
    """Before the second answer that names another owner, what is there stays as it is found."""
    mover = Mover()
    assert mover.see(0.0, "ec2:i-a").extent is Extent.AS_FOUND
    assert mover.see(1.9, "ec2:i-a").extent is Extent.AS_FOUND
    assert mover.see(2.0, "ec2:i-a").extent is Extent.AHEAD


def test_nothing_is_taken_off_before_ec2_has_answered() -> None:
    """A restart during an outage of EC2 drops nothing; what IMDS shows is plumbed, what it lost is not."""
    assert Mover().see(0.0).extent is Extent.AS_FOUND
    assert Mover().see(0.0, shown_by_imds=True).extent is Extent.ALL
    assert Mover().see(0.0, shown_by_imds=False, lost_by_imds_at=0.0).extent is Extent.AHEAD


def test_the_new_holder_is_plumbed_as_soon_as_ec2_accepted_its_claim() -> None:
    """Not only when EC2 shows it: the data path is often there before the Describe."""
    mover = fallen(Mover())
    mover.see(9.0, "ec2:i-a")
    mover.see(10.1, "ec2:i-a probe:L")
    assert mover.see(10.15, "probe:L").extent is Extent.ALL
    assert mover.see(10.4, "ec2:i-a probe:L").extent is Extent.ALL, "Describes lag"
    assert mover.see(11.4, "ec2:i-b").extent is Extent.ALL


def test_a_claim_that_is_never_shown_is_not_plumbed_for_long() -> None:
    """EC2 accepted it, but somebody overtook it: the rival, once it is shown, ends it at once."""
    mover = fallen(Mover())
    mover.see(10.1, "ec2:i-a probe:L")
    assert mover.see(10.1 + CLAIM_SHOWN + 0.1, "ec2:i-a probe:L").extent is Extent.AHEAD
    mover = fallen(Mover())
    mover.see(10.1, "ec2:i-a probe:L")
    assert mover.see(10.2, "probe:L").extent is Extent.ALL
    assert mover.see(10.4, "ec2:i-c").extent is Extent.AHEAD


def test_a_claim_that_ec2_accepted_outlasts_its_silence() -> None:
    """What it said before, or so soon after that it may be late, shows the old holder: that takes nothing off."""
    mover = fallen(Mover())
    mover.see(10.1, "ec2:i-a probe:L")
    assert mover.see(10.4, "ec2:i-a probe:L").extent is Extent.ALL
    assert mover.see(10.1 + CLAIM_SHOWN + 0.1, "probe:L").extent is Extent.AS_FOUND


def test_the_holder_carries_all_of_it() -> None:
    """Whatever EC2 says later of anything else."""
    mover = Mover()
    for now in (0.0, 60.0):
        assert mover.see(now, "ec2:i-b link:sound").extent is Extent.ALL


def test_a_holder_that_imds_says_lost_the_address_drops_it_without_ec2() -> None:
    """It may be cut off from everything but IMDS; newer answers of EC2 count more, two of them."""
    mover = Mover()
    mover.see(0.0, "ec2:i-b link:sound", shown_by_imds=True)
    lacking = mover.see(60.0, shown_by_imds=False)
    assert lacking.extent is Extent.ALL
    lost = mover.see(62.0, lost_by_imds_at=62.0)
    assert (shown(lost), lost.extent, lost.look_at) == ("standby LOST R10", Extent.AHEAD, 62.0)
    assert mover.see(62.5, "ec2:i-b link:ahead").extent is Extent.AHEAD
    assert mover.see(64.5, "ec2:i-b").extent is Extent.ALL


def lost(mover: Mover) -> Mover:
    """It let go of the address at 12.0, as two answers named i-c."""
    mover.see(0.0, "ec2:i-b link:sound", carried_since=-60.0)
    mover.see(10.0, "ec2:i-c")
    assert mover.see(12.0, "ec2:i-c").extent is Extent.AHEAD
    return mover


def test_one_late_answer_does_not_bring_back_what_was_dropped() -> None:
    """The node goes on probing the holder; a second answer, asked later, would be no late one any more."""
    mover = lost(Mover())
    late = mover.see(12.3, "ec2:i-b link:ahead", carried_since=None)
    assert (late.extent, late.reason, late.look_at) == (Extent.AHEAD, Reason.PLUMBING, 13.3)
    assert mover.see(13.3, "ec2:i-c").extent is Extent.AS_FOUND
    assert mover.see(20.0, "ec2:i-b").extent is Extent.AHEAD
    assert mover.see(22.0, "ec2:i-b").extent is Extent.ALL


def test_an_answer_from_before_the_drop_is_none_of_the_two() -> None:
    """EC2 called it this node's all along, and IMDS lacked it."""
    mover = Mover()
    for now in (0.0, 60.0):
        mover.see(now, "ec2:i-b link:sound")
    mover.see(62.0, lost_by_imds_at=62.0)
    assert mover.see(63.0, "ec2:i-b link:ahead").extent is Extent.AHEAD
    assert mover.see(65.0, "ec2:i-b").extent is Extent.ALL


def test_what_was_dropped_comes_back_at_once_by_an_own_claim() -> None:
    """The next holder died, and EC2 accepted the claim."""
    mover = lost(Mover())
    mover.see(13.0, "ec2:i-c word:sound probe:AA link:ahead", carried_since=None)
    mover.see(29.0, "probe:LLLLL word:silent")
    assert mover.see(30.1, "ec2:i-c probe:L").write == Assign("eni-b", ADDRESS, reassign=True)
    assert mover.see(30.2, "probe:L").extent is Extent.ALL
    mover.see(31.5, "ec2:i-b link:sound", carried_since=30.3)
    assert mover.see(50.0).extent is Extent.ALL


def test_what_is_configured_here_is_asked_about_until_a_newer_answer_calls_it_ours() -> None:
    """Between that answer and the configuration the address may have gone."""
    mover = Mover()
    early = mover.see(0.0, "ec2:i-b link:sound", carried_since=0.1)
    assert (shown(early), early.look_at) == ("claiming CONFIRMING R10", 0.25)
    assert early.extent is Extent.ALL
    sure = mover.see(0.25, "ec2:i-b")
    assert (sure.reason, sure.look_at) == (Reason.HELD_HERE, 60.25)


def test_what_this_node_has_just_claimed_is_told_at_once() -> None:
    """EC2 shows it as this node's before it is on the link."""
    mover = fallen(Mover())
    mover.see(10.1, "ec2:i-a probe:L")
    assert mover.see(11.4, "ec2:i-b link:sound", carried_since=11.5).reason is Reason.HELD_HERE


def test_a_holder_whose_address_imds_never_showed_goes_on_asking_ec2() -> None:
    """Less and less often, but never only after a minute."""
    mover = Mover()
    mover.see(0.0, "ec2:i-b link:sound", carried_since=-1.0, shown_by_imds=False)
    for now in (1.0, 60.0, 120.0):
        assert mover.see(now, "ec2:i-b").look_at <= now + SLOWEST


def test_a_holder_that_imds_lacks_looks_at_ec2_soon() -> None:
    """Not only after a minute."""
    mover = Mover()
    mover.see(0.0, "ec2:i-b link:sound", shown_by_imds=True)
    assert mover.see(60.0, "ec2:i-b", shown_by_imds=False).look_at <= 61.0


def test_a_holder_that_ec2_says_lost_the_address_drops_it() -> None:
    """After two answers, two seconds apart: then it is as ready as any other standby."""
    mover = Mover()
    mover.see(0.0, "ec2:i-b link:sound")
    first = mover.see(10.0, "ec2:i-c")
    assert (first.extent, first.look_at) == (Extent.AS_FOUND, 12.0)
    assert mover.see(12.0, "ec2:i-c").extent is Extent.AHEAD


def test_without_the_address_the_plumbing_is_no_holding() -> None:
    """A node that is ready ahead of it does not call itself the holder when EC2 gives it the address."""
    mover = Mover()
    assert shown(mover.see(0.0, "ec2:i-b link:ahead")) == "claiming PLUMBING A3"
    assert shown(mover.see(0.1, "link:sound")) == "holder HELD_HERE R10"


# Ranks: EC2 does not tell the second of two thieves that it is late.


def test_the_second_in_rank_takes_over_four_seconds_after_the_first_could_have() -> None:
    """And only if the address still does not answer, and EC2 still shows the same owner."""
    mover = Mover(me="i-c")
    mover.see(0.0, "ec2:i-a word:sound probe:AA peer:i-b")
    mover.see(10.0, "probe:LLLLL word:silent peer:i-b")
    first = mover.see(10.1, "ec2:i-a probe:L peer:i-b")
    assert (shown(first), first.detail) == ("doubt LATER R3", "i-b")
    assert shown(mover.see(13.9, "ec2:i-a probe:L peer:i-b")) == "doubt LATER R3"
    assert shown(mover.see(14.15, "probe:L peer:i-b")) == "doubt STALE R3", "the first one may have taken it since"
    assert shown(mover.see(14.2, "ec2:i-a probe:L peer:i-b")) == "takeover SILENT_HOLDER R3 move:eni-c"


def test_the_third_in_rank_waits_eight_seconds() -> None:
    """Four for each before it."""
    mover = Mover(me="i-d")
    mover.see(0.0, "ec2:i-a word:sound probe:AA peer:i-b peer:i-c")
    mover.see(10.0, "probe:LLLLL word:silent peer:i-b peer:i-c")
    mover.see(10.1, "ec2:i-a probe:L peer:i-b peer:i-c")
    assert mover.see(17.9, "ec2:i-a probe:L peer:i-b peer:i-c").write is None
    assert mover.see(18.2, "ec2:i-a probe:L peer:i-b peer:i-c").write is not None


def test_a_peer_that_was_there_a_moment_ago_is_waited_for() -> None:
    """Its last word may have been lost with its claim under way; after ten seconds it is gone."""
    mover = Mover(me="i-c")
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    mover.see(6.0, "peer:i-b peer:i-d")
    mover.see(10.0, "probe:LLLLL word:silent peer:i-d")
    assert shown(mover.see(10.1, "ec2:i-a probe:L peer:i-d")) == "doubt LATER R3"


@pytest.mark.parametrize(
    ("other", "waits"),
    [
        (peer("i-a9", 10.1), True),
        (peer("i-a9", 10.1, leaving=True), False),
        (peer("i-a9", 10.1, free_slots=0), False),
        (peer("i-a9", 10.1, holds={"10.0.0.101": "at-9"}), False),
        (peer("i-z", 10.1), False),
        (peer("i-z", 10.1, served={"i-z": {30007: True}}), True),
        (peer("i-a9", 10.1, served={"i-b": {30007: True}}), False),
    ],
    ids=["before", "leaving", "no standing ENI", "burdened", "behind", "behind, but served", "before, but not served"],
)
def test_who_takes_over_first(other: Peer, waits: bool) -> None:
    """Nodes that stay, on which the service was seen, with fewer addresses, then in the order of their ids."""
    decision = fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(other,))
    assert (decision.reason is Reason.LATER) == waits


def test_a_leaving_node_comes_last_but_it_comes() -> None:
    """Better than nobody."""
    mover = fallen(Mover())
    peers = (peer("i-z", 10.1),)
    assert mover.see(10.1, "ec2:i-a probe:L", peers=peers, leaving="spot").reason is Reason.LATER
    peers = (peer("i-z", 14.2),)
    assert mover.see(14.2, "ec2:i-a probe:L", peers=peers, leaving="spot").write is not None


def test_the_judged_holder_is_no_rank_to_wait_for() -> None:
    """It answered a moment ago: it was alive then."""
    mover = fallen(Mover())
    assert mover.see(10.1, "ec2:i-a probe:L", peers=(peer("i-a", 9.9), peer("i-z", 10.1))).write is not None


def test_another_observer_that_sees_the_address_up_stops_the_takeover() -> None:
    """What it sees is told with the address, since an attachment of a standing ENI may have several."""
    seen = peer("i-z", 10.1, (HERE,))
    decision = fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(seen,))
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    other = peer("i-z", 10.1, ("at-a/10.0.0.101",))
    assert fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(other,)).write is not None


# R5, R7: planned moves.


def ordered(now: float, to: str, deadline: float, holder: str = "i-a") -> Owner:
    """The standing ENI of the holder with the order for a handover; the deadline is on the observer's own clock."""
    tag = order.render(f"at-{holder[2:]}", to, WALL + deadline)
    shown_eni = standing(holder, ADDRESS)
    return Owner(
        now, replace(shown_eni, tags={**shown_eni.tags, way_to(Carry.ADDRESS).of_one(order.TAG, ADDRESS): tag})
    )


@pytest.mark.parametrize(("to", "takes"), [("*", True), ("i-b", True), ("i-c", False)])
def test_an_order_is_obeyed_by_whom_it_names(to: str, takes: bool) -> None:
    """Though the address answers; the others wait."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    decision = mover.see(10.0, owner=ordered(10.0, to, 100.0))
    assert (decision.write == Assign("eni-b", ADDRESS, reassign=True)) == takes
    assert not takes or shown(decision) == "takeover HANDOVER_ASKED R5 move:eni-b"


def test_an_order_that_is_over_moves_nothing() -> None:
    """By the deadline that stands in it."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA link:ahead")
    assert mover.see(10.0, owner=ordered(10.0, "*", 9.0)).write is None


def test_an_ordered_holder_serves_on_until_it_is_relieved() -> None:
    """It need not even know of the order: whom it names has read it."""
    decision = Mover().see(0.0, "link:sound", owner=ordered(0.0, "*", 100.0, "i-b"))
    assert (decision.state, decision.extent, decision.leaving) == (State.HOLDER, Extent.ALL, "")


def test_a_leaving_holder_is_relieved_and_goes_on_carrying_until_then() -> None:
    """No probe has to be lost, and nothing is rationed."""
    replay(
        """
        0.0   ec2:i-a word:sound probe:AA link:ahead  -> standby ANSWERS R10
        30.0  word:leaving                            -> doubt STALE R5
        30.1  ec2:i-a                                 -> takeover HOLDER_LEAVING R5 move:eni-b
        """,
        Mover(),
    )
    holder = Mover().see(0.0, "ec2:i-b link:sound", leaving="spot: terminate at 12:00")
    assert (holder.state, holder.leaving, holder.extent) == (State.HOLDER, "spot: terminate at 12:00", Extent.ALL)


def test_a_leaving_node_relieves_nobody() -> None:
    """Two nodes of the same drain would hand the address to and fro."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    assert mover.see(30.0, "ec2:i-a word:leaving", leaving="drained").write is None


def served(now: float, *, by: str = "i-b") -> tuple[Peer, ...]:
    """A peer that saw the service answer on this node."""
    return (peer("i-z", now, (HERE,), served={by: {30007: True}}),)


def test_a_service_that_is_down_moves_the_address_to_where_a_peer_saw_it_answer() -> None:
    """The node itself cannot know: kube-proxy leads what comes from the node to pods of the whole cluster."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    down = Health("at-a", HealthState.DOWN, 5, first_lost_at=25.0, last_lost_at=29.0, changed_at=29.0, ever_up=True)
    away = mover.see(30.0, "ec2:i-a probe:A", services={30007: down}, peers=served(30.0, by="i-z"))
    assert (away.reason, away.write) == (Reason.NOT_SERVED_HERE, None)
    here = mover.see(31.0, "ec2:i-a probe:A", services={30007: down}, peers=served(31.0))
    assert shown(here) == f"doubt SERVICE_DOWN R7 tag:R7@{WALL + 31}/at-a"


# R12: the ration is on all standing ENIs together.


def test_a_rationed_move_is_recorded_on_the_own_standing_eni_before_it_is_made() -> None:
    """That of the judged one may go with its instance."""
    mover = fallen(Mover(), "word:sound")
    mover.see(10.2, "ec2:i-a probe:L word:sound")
    decision = mover.see(41.0, "ec2:i-a probe:L word:sound")
    record = f"R4@{WALL + 41}/at-a"
    assert decision.write == Tag("eni-b", f"{TAG}/{ADDRESS}", record)
    taking = mover.see(42.1, "ec2:i-a probe:L word:sound", records={"eni-b": record})
    assert shown(taking) == "takeover HOLDER_WRONG R4 move:eni-b"


def test_the_records_of_all_standing_enis_count_together() -> None:
    """Whoever made the last move wrote it on its own."""
    records = {"eni-a": f"R4@{WALL - 30}/at-c", "eni-c": f"R4@{WALL - 20}/at-a"}
    mover = fallen(Mover(), "word:sound")
    decision = mover.see(41.0, "ec2:i-a probe:L word:sound", records=records)
    assert (decision.reason, decision.write) == (Reason.RATIONED, None)


def test_an_earlier_move_away_from_the_same_standing_eni_is_not_this_one() -> None:
    """Its attachment lasts as long as its node."""
    mover = fallen(Mover(), "word:sound")
    recent = mover.see(41.0, "ec2:i-a probe:L word:sound", records={"eni-c": f"R4@{WALL + 11}/at-a"})
    assert (recent.reason, recent.write) == (Reason.RATIONED, None)
    later = mover.see(72.0, "ec2:i-a probe:L word:sound", records={"eni-c": f"R4@{WALL + 11}/at-a"})
    assert later.write == Tag("eni-b", f"{TAG}/{ADDRESS}", f"R4@{WALL + 11}/at-a R4@{WALL + 72}/at-a")


def test_five_minutes_of_up_clear_one_record_after_the_other() -> None:
    """Each is a write of its own."""
    mover = Mover()
    mover.see(0.0, "ec2:i-a word:sound probe:AA")
    records = {"eni-a": "R4@1/at-c", "eni-c": "R4@2/at-a"}
    for now, eni_id in ((timing.CLEARED_BY_UP + 1, "eni-a"), (timing.CLEARED_BY_UP + 2, "eni-c")):
        decision = mover.see(now, "ec2:i-a probe:A", records=records)
        assert decision.write == Tag(eni_id, f"{TAG}/{ADDRESS}", "")
        del records[eni_id]
    assert mover.see(timing.CLEARED_BY_UP + 3, "ec2:i-a probe:A", records=records).write is None


def test_the_holder_mends_nothing_of_its_standing_eni_for_an_address() -> None:
    """That is done once for all of its addresses (standing.py)."""
    broken = replace(standing("i-b", ADDRESS), source_check=False, security_groups=("sg-9",))
    decision = Mover().see(0.0, "link:sound", owner=Owner(0.0, broken), groups=("sg-1",))
    assert shown(decision) == "holder HELD_HERE R10"


# Promises: EC2 accepted the address for somebody, but nobody sees it there yet.


def promised(now: float) -> tuple[Peer, ...]:
    """A peer behind this node in rank that EC2 has promised the address to."""
    return (peer("i-z", now, claiming=(str(ADDRESS),)),)


def test_whoever_was_promised_the_address_is_waited_for() -> None:
    """Also by those who come first: EC2 would take it away from there again.  The wait for ranks begins after it."""
    mover = fallen(Mover())
    decision = mover.see(10.1, "ec2:i-a probe:L", peers=promised(10.1))
    assert (shown(decision), decision.detail) == ("doubt LATER R3", "i-z")
    assert not decision.due
    silent = (*promised(10.1), peer("i-y", 12.2))
    assert mover.see(12.2, "ec2:i-a probe:L", peers=silent).write is not None, "it was not heard of for two seconds"


def test_whoever_says_that_it_has_the_address_is_waited_for() -> None:
    """By another attachment than the judged one: it moved after this node's question to EC2."""
    winner = peer("i-z", 10.1, holds={str(ADDRESS): "at-z"})
    assert shown(fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(winner,))) == "doubt LATER R3"
    other = peer("i-z", 10.1, holds={"10.0.0.101": "at-z"})
    assert fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(other,)).write is not None


def test_who_was_promised_another_address_is_not_waited_for() -> None:
    """Each is a matter of its own."""
    other = peer("i-z", 10.1, claiming=(str(IPV6),))
    assert fallen(Mover()).see(10.1, "ec2:i-a probe:L", peers=(other,)).write is not None


def test_what_nobody_has_but_somebody_was_promised_is_not_claimed() -> None:
    """EC2 would refuse it."""
    decision = Mover().see(0.0, "ec2:absent", peers=promised(0.0))
    assert (shown(decision), decision.detail) == ("claiming FREE_BUT_LATER R1", "i-z")


def test_an_address_that_ec2_refuses_while_it_shows_nobody_is_taken() -> None:
    """It is said, and tried again; meanwhile it is put on no link."""
    mover = Mover()
    for now in (0.0, 10.0, 21.0):
        decision = mover.see(now, "ec2:absent")
        mover.view = replace(mover.view, accepted=None, taken_at=mover.view.wrote_at, taken="Address is in use.")
    assert shown(decision).startswith("refused TAKEN R1 assign:")
    assert decision.extent is Extent.AS_FOUND
