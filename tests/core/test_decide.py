"""The rules R1 to R14 as claims about what one observer decides, in transcripts where time matters."""

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from floatingip.core import timing
from floatingip.core.decision import order, ration
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Decision, Reason, State
from floatingip.core.ec2 import ALLOCATION_TAG, Attachment, AttachmentStatus, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.peer import Sight, Word, WordState
from floatingip.core.plumbing import Extent
from floatingip.core.timing import LOOK_IN_PEACE, REPEAT_AFTER
from floatingip.core.writes import (
    Associate,
    Attach,
    CheckSource,
    Create,
    Detach,
    KeepAfterTermination,
    SetGroups,
    Tag,
    Write,
)
from tests.core.deciders import ADDRESS, ENI, WALL, Observer, eni, replay, shown


def fallen(observer: Observer, word: str = "word:silent") -> Observer:
    """It saw i-a hold the address by a1 and answer; from 10.0 on the probes were lost; EC2 was not asked since."""
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(10.0, f"probe:LLLLL {word}")
    return observer


# R1: a free ENI, or none.


def test_nothing_is_done_before_ec2_has_answered() -> None:
    """The link is carried wherever it is, though: a restart during an outage of EC2 drops nothing."""
    decision = Observer().see(0.0)
    assert shown(decision) == "start EC2_SILENT R9"
    assert decision.extent is Extent.ALL


def test_nothing_is_done_before_the_name_is_known() -> None:
    """Whose ENIs are ours cannot be guessed."""
    decision = Observer().see(0.0, "ec2:free", name="")
    assert shown(decision) == "start NAME_UNKNOWN R9"


def test_an_observer_that_is_alone_claims_a_free_eni_at_once() -> None:
    """Rank 0 waits for nobody."""
    assert shown(Observer().see(0.0, "ec2:free")) == "claiming FREE R1 attach"


def test_the_first_in_rank_claims_at_once() -> None:
    """The living peers' order is that of their instance ids."""
    assert shown(Observer(me="i-a").see(0.0, "ec2:free peer:i-b peer:i-c")) == "claiming FREE R1 attach"


def test_the_third_in_rank_waits_four_seconds_and_looks_again() -> None:
    """Rank k waits k x 2 s, and claims only on an answer that was asked for after that."""
    observer = Observer(me="i-c")
    first = observer.see(0.0, "ec2:free peer:i-a peer:i-b")
    assert shown(first) == "claiming FREE_BUT_LATER R1"
    assert first.look_at == 4.0
    replay(
        """
        2.0  ec2:free peer:i-a peer:i-b  -> claiming FREE_BUT_LATER R1
        3.9  ec2:free peer:i-a peer:i-b  -> claiming FREE_BUT_LATER R1
        4.1  peer:i-a peer:i-b           -> claiming FREE_BUT_LATER R1   # the time has come, but EC2's answer is old
        4.2  ec2:free peer:i-a peer:i-b  -> claiming FREE R1 attach
        """,
        observer,
    )


def test_a_peer_that_is_not_heard_any_more_is_not_waited_for() -> None:
    """The first in rank may be the dead one."""
    observer = Observer(me="i-b")
    observer.see(0.0, "ec2:free peer:i-a")
    assert shown(observer.see(2.5)) == "claiming FREE R1 attach"


def test_who_had_the_eni_last_comes_last_in_rank() -> None:
    """It may be about to end: its node was drained, or its detach was somebody's wish."""
    former, other = Observer("i-a"), Observer("i-b")
    for observer, peer in ((former, "i-b"), (other, "i-a")):
        observer.see(0.0, "ec2:a1@i-a")
        decision = observer.see(10.0, f"ec2:free peer:{peer}")
        assert (decision.write == Attach(ENI)) == (observer is other)


def test_whoever_waits_gives_way_to_who_claimed() -> None:
    """The look after the wait shows the new holder."""
    replay(
        """
        0.0  ec2:free peer:i-a            -> claiming FREE_BUT_LATER R1
        2.1  ec2:a1@i-a/attaching         -> standby SETTLING R6
        """
    )


def test_an_absent_eni_is_created_by_any_observer() -> None:
    """Two at once are sorted out by EC2: an address is unique in its VPC."""
    assert shown(Observer(me="i-z").see(0.0, "ec2:absent peer:i-a")) == "claiming CREATE R1 create"


# What EC2 refuses as taken, while it shows nobody who has it.


def refuse(observer: Observer, at: float) -> None:
    """What EC2 makes of the last write, if there was one at that time."""
    if observer.view.wrote_at == at:
        observer.view = replace(observer.view, accepted=None, taken_at=at, taken="Address 10.0.0.100 is in use.")


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


def test_an_address_that_is_freed_meanwhile_is_refused_no_more() -> None:
    """EC2 takes the next claim, or shows who has it."""
    for words in ("ec2:absent", "ec2:a1@i-a word:sound"):
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


def test_an_address_outside_of_every_subnet_is_told_and_not_created() -> None:
    """EC2 would refuse it for ever."""
    decision = Observer().see(0.0, "ec2:absent", obstacle="no subnet of vpc-1 contains 10.0.0.100")
    assert shown(decision) == "standby NO_SUBNET R1"
    assert decision.sentence == "no subnet of vpc-1 contains 10.0.0.100"


def test_an_eni_of_somebody_else_is_never_touched() -> None:
    """Neither attached when it is free, nor detached when it does not answer."""
    replay(
        """
        0.0   ec2:free name:other                                     -> refused NOT_OURS R1
        60.0  ec2:a1@i-x name:other probe:LLLLL word:silent           -> refused NOT_OURS R1
        200   ec2:a1@i-x/attached/terminated name:other probe:LLLLL   -> refused NOT_OURS R1
        300   ec2:a1@i-x/detaching name:other                         -> refused NOT_OURS R1
        400   ec2:a1@i-x/detaching name:other                         -> refused NOT_OURS R1
        """
    )


def test_an_eni_with_the_address_as_a_secondary_one_is_not_ours() -> None:
    """Its primary address is another one: taking it along would break that."""
    observer = Observer()
    theirs = replace(eni(), address=IPv4Address("10.0.0.7"))
    owner = observer._owner(0.0, "free", "", "cluster")
    assert observer.see(0.0, owner=replace(owner, eni=theirs)).reason is Reason.NOT_OURS


def test_the_refusal_names_the_eni() -> None:
    """A person has to look at it."""
    assert "eni-1 (tag floatingip=other)" in Observer().see(0.0, "ec2:free name:other").sentence


def test_a_node_that_cannot_take_the_eni_leaves_it_to_others() -> None:
    """No slot, or another zone."""
    assert shown(Observer().see(0.0, "ec2:free full")) == "standby CANNOT_CLAIM R1"


# R2: EC2 announces the holder's death.


@pytest.mark.parametrize("state", ["shutting-down", "terminated", "stopping", "stopped"])
def test_two_answers_that_the_instance_ended_are_a_verdict(state: str) -> None:
    """Even while the address still answers: it soon will not."""
    replay(
        f"""
        0.0  ec2:a1@i-a word:sound probe:AA    -> standby ANSWERS R10
        1.0  ec2:a1@i-a/attached/{state}       -> standby ANSWERS R10
        2.0                                    -> standby ANSWERS R10   # the same answer counts once
        3.0  ec2:a1@i-a/attached/{state}       -> takeover INSTANCE_ENDED R2 detach:a1
        """
    )


def test_a_silent_observer_has_ec2_asked_soon_and_again_though_the_address_answers() -> None:
    """A node that shuts down ends its pods first; that its observer is dead alone moves nothing."""
    observer = Observer()
    looks, now, seen = [], 0.0, "ec2:a1@i-a/attached/running word:silent probe:AA"
    while now < 100:
        decision = observer.see(now, seen)
        assert decision.write is None
        now += 0.25
        is_due = now >= decision.look_at
        looks += [now] if is_due else []
        seen = "ec2:a1@i-a/attached/running probe:A" if is_due else "probe:A"
    assert looks[0] == 2.0
    assert looks[1] <= 4.0
    assert sum(at < 20.0 for at in looks) <= 8, "most of all observers that are silent are about to be back"
    assert 10.0 < max(later - sooner for sooner, later in pairwise(looks)) <= 15.25


def test_an_observer_that_ends_has_ec2_asked_at_once() -> None:
    """It says so itself."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(3.0, "ec2:a1@i-a")
    assert observer.see(30.0).look_at == 3.0 + LOOK_IN_PEACE
    assert observer.see(30.0, word=Word(WordState.SOUND, 30.0, ending=True)).look_at <= 30.0


def test_an_instance_that_ends_is_confirmed_at_once() -> None:
    """While the address still answers, and whatever its observer says."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    assert observer.see(30.0, "ec2:a1@i-a/attached/stopping").look_at <= 31.0


def test_one_answer_that_the_instance_ended_counts_with_one_lost_probe() -> None:
    """Two witnesses of different kinds."""
    replay(
        """
        0.0  ec2:a1@i-a word:sound probe:AA              -> standby ANSWERS R10
        1.0  probe:L                                     -> doubt PROBE_LOST R3
        1.1  ec2:a1@i-a/attached/shutting-down           -> takeover INSTANCE_ENDED R2 detach:a1
        """
    )


def test_a_wrong_answer_that_is_taken_back_counts_no_more() -> None:
    """EC2 once reported running instances as not running."""
    replay(
        """
        0.0  ec2:a1@i-a word:sound probe:AA      -> standby ANSWERS R10
        1.0  ec2:a1@i-a/attached/stopped         -> standby ANSWERS R10
        2.0  ec2:a1@i-a/attached/running         -> standby ANSWERS R10
        3.0  ec2:a1@i-a/attached/stopped         -> standby ANSWERS R10
        4.0  ec2:a1@i-a/attached/running probe:L -> doubt PROBE_LOST R3
        """
    )


def test_a_running_or_pending_instance_is_no_reason_to_move() -> None:
    """However often EC2 says so."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    for now in range(1, 5):
        assert observer.see(now, "ec2:a1@i-a/attached/pending").write is None


def test_a_dead_instance_is_fenced_while_attaching_too() -> None:
    """A node may be terminated in the very second in which it claims."""
    replay(
        """
        0.0  ec2:a1@i-a/attaching/shutting-down   -> standby SETTLING R6
        1.0  ec2:a1@i-a/attaching/terminated      -> takeover INSTANCE_ENDED R2 detach:a1
        """
    )


def test_the_death_of_one_holder_says_nothing_of_the_next() -> None:
    """The count belongs to the attachment."""
    replay(
        """
        0.0  ec2:a1@i-a/attached/shutting-down word:sound probe:AA   -> standby ANSWERS R10
        1.0  ec2:a2@i-c/attached/running word:sound probe:AA         -> standby ANSWERS R10
        2.0  ec2:a2@i-c/attached/stopped                             -> standby ANSWERS R10
        """
    )


def test_an_ended_instance_is_never_rationed() -> None:
    """EC2's word is no misconfiguration of ours."""
    moves = " ".join(f"R4@{WALL}/x{number}" for number in range(8))
    observer = Observer()
    owner = replace(observer._owner(0.0, "a1@i-a/attached/stopped", "", "cluster"))
    assert owner.eni is not None
    tagged = replace(owner.eni, tags={**owner.eni.tags, ration.TAG: moves})
    observer.see(0.0, owner=replace(owner, eni=tagged))
    decision = observer.see(1.0, owner=replace(owner, asked_at=1.0, eni=tagged))
    assert shown(decision) == "takeover INSTANCE_ENDED R2 detach:a1"


# R3: it answered, it stopped, and its holder is silent.


@pytest.mark.parametrize("began", [0.0, 0.5, 3e8])
def test_a_silent_holder_whose_address_stopped_answering_is_fenced_and_the_eni_claimed(began: float) -> None:
    """The whole of a failover, as a standby decides it, on a clock that has just begun, and on one ten years old."""
    replay(
        """
        0.0   ec2:a1@i-a word:sound probe:AA               -> standby ANSWERS R10
        10.0  probe:L                                      -> doubt PROBE_LOST R3
        10.1  ec2:a1@i-a/attached/running                  -> doubt PROBE_LOST R3
        10.6  ec2:a1@i-a/attached/running probe:LLL word:silent -> doubt PROBE_LOST R3
        11.2  probe:L                                      -> takeover SILENT_HOLDER R3 detach:a1
        11.4  ec2:a1@i-a/detaching                         -> takeover DETACHING R11
        13.9  ec2:free                                     -> takeover FREE_AFTER_FENCING R3 attach
        14.1  ec2:a2@i-b/attaching link:none               -> claiming ATTACHING_HERE R1
        17.1  ec2:a2@i-b link:none                         -> claiming ATTACHING_HERE R1
        18.0  link:sound                                   -> holder HELD_HERE R10 tag:R3@0/a1
        """.replace("R3@0", f"R3@{WALL + 18}"),
        Observer(began=began),
    )


def test_one_lost_probe_does_not_start_a_failover() -> None:
    """It asks EC2, at once."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:silent probe:AA")
    decision = observer.see(10.0, "probe:L")
    assert shown(decision) == "doubt PROBE_LOST R3"
    assert decision.look_at <= 10.0
    assert shown(observer.see(10.2, "ec2:a1@i-a/attached/running probe:A")) == "standby ANSWERS R10"


def test_silence_alone_moves_nothing_while_the_address_answers() -> None:
    """An observer may be restarted at any time: the address is what counts."""
    replay(
        """
        0.0     ec2:a1@i-a word:sound probe:AA                -> standby ANSWERS R10
        10.0    word:silent                                   -> standby ANSWERS R10
        9999.0  ec2:a1@i-a/attached/running probe:A           -> standby ANSWERS R10
        """
    )


@pytest.mark.parametrize("word", ["word:unasked", "word:other", "word:sound", "word:unsound"])
def test_no_holder_is_convicted_by_r3_that_was_not_found_silent(word: str) -> None:
    """Not yet asked is no silence."""
    observer = fallen(Observer(), word)
    decision = observer.see(10.1, "ec2:a1@i-a/attached/running probe:L")
    assert decision.state is State.DOUBT
    assert decision.write is None


def test_a_refused_connection_is_silence_too() -> None:
    """Where no observer runs, nobody repairs the node: peers.py reports it as silent, and here it convicts."""
    assert shown(fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L")) == "takeover SILENT_HOLDER R3 detach:a1"


def test_what_was_seen_of_an_earlier_attachment_convicts_nobody() -> None:
    """The new holder gets its own time."""
    observer = fallen(Observer())
    assert shown(observer.see(10.1, "ec2:a2@i-c word:silent")) == "standby SETTLING R6"


def test_a_takeover_detaches_only_the_attachment_that_was_judged() -> None:
    """Its id is the fencing token: EC2 refuses it once somebody else holds the ENI."""
    decision = fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L")
    assert decision.write == Detach("a1", force=False)
    assert decision.attachment_id == "a1"


def test_a_stale_attachment_id_never_evicts_a_newer_holder() -> None:
    """After the detach was refused, the next look shows the other claimer, who is left alone."""
    observer = fallen(Observer())
    assert observer.see(10.1, "ec2:a1@i-a probe:L").write == Detach("a1")
    decision = observer.see(10.3, "ec2:a2@i-c/attaching")
    assert shown(decision) == "standby SETTLING R6"
    assert decision.attachment_id == "a2"


# R3, R4 and R6 need evidence that this node itself is not the one that is cut off.


def test_a_standby_does_not_take_over_when_its_own_network_is_down() -> None:
    """EC2 does not answer it either."""
    decision = fallen(Observer()).see(30.0)
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "EC2 has not answered since the first lost probe" in decision.sentence


def test_a_standby_whose_network_comes_back_does_not_move_a_healthy_holder() -> None:
    """The first answered probe arrives before the holder's word and EC2's answer: the old silence proves nothing."""
    observer = fallen(Observer())
    assert shown(observer.see(30.0, "probe:LLLL")) == "doubt NO_EVIDENCE R3"
    decision = observer.see(30.1, "probe:A")
    assert decision.write is None, shown(decision)


def test_an_address_that_answers_again_is_not_taken_away() -> None:
    """One answer, while the holder's word is late: it is not down any more, only not yet up."""
    observer = fallen(Observer())
    decision = observer.see(10.1, "ec2:a1@i-a/attached/running probe:A")
    assert decision.write is None, shown(decision)


def test_an_answer_of_ec2_is_evidence_only_with_a_probe_lost_after_it() -> None:
    """A question that hung through this node's own outage is answered at its end, a moment before the next probe is."""
    observer = fallen(Observer())
    assert shown(observer.see(30.0, "probe:LLLL")) == "doubt NO_EVIDENCE R3"
    decision = observer.see(30.1, "ec2:a1@i-a/attached/running")
    assert decision.write is None, shown(decision)
    assert shown(observer.see(30.2, "probe:L")) == "takeover SILENT_HOLDER R3 detach:a1"


def test_a_standby_that_hears_no_other_observer_does_not_take_over() -> None:
    """There is one, it was heard some seconds ago, and now it is not: the fault may be here."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA peer:i-c")
    observer.see(5.0, "probe:LLLLL word:silent")
    decision = observer.see(5.1, "ec2:a1@i-a probe:L")
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "no other observer has answered since the first lost probe" in decision.sentence


def test_a_standby_that_hears_another_observer_takes_over() -> None:
    """Heard within two seconds."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(5.0, "probe:LLLLL word:silent peer:i-c")
    assert observer.see(6.9, "ec2:a1@i-a probe:L").write == Detach("a1")


def test_the_judged_holder_is_no_witness_of_this_nodes_network() -> None:
    """It is silent, so it would be the one that is missing."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA peer:i-a")
    observer.see(5.0, "probe:LLLLL word:silent")
    assert observer.see(5.1, "ec2:a1@i-a probe:L").write == Detach("a1")


def test_an_address_that_another_observer_sees_up_is_not_moved() -> None:
    """One witness that it works is worth more than one that it does not."""
    observer = fallen(Observer())
    decision = observer.see(10.1, "ec2:a1@i-a probe:L peer:i-c=a1")
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "i-c sees the address UP" in decision.sentence
    assert observer.see(10.2, "peer:i-c").write == Detach("a1")


def test_a_peer_that_saw_an_earlier_attachment_up_is_no_witness() -> None:
    """It just has not noticed yet."""
    assert fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L peer:i-c=a0").write == Detach("a1")


def test_a_node_that_cannot_take_the_address_does_not_evict_its_holder() -> None:
    """It would leave nobody."""
    decision = fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L full")
    assert shown(decision) == "doubt CANNOT_CLAIM R3"
    assert "no free ENI slot" in decision.sentence


# R4: it does not answer here, but its holder is well.


def test_a_blocked_probe_never_moves_the_address() -> None:
    """A security group that closes ICMP: the holder serves, and sees us through the floating address."""
    observer = fallen(Observer(), "word:sound/seen")
    for now in range(11, 4000, 7):
        decision = observer.see(now, "ec2:a1@i-a/attached/running probe:L word:sound/seen")
        assert shown(decision) == "standby PROBE_BLOCKED R4"


def test_an_address_that_answers_tcp_alone_moves_nothing_though_its_observer_stands_still() -> None:
    """ICMP is closed: the holder's kernel goes on refusing connections, and that it is so is said."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    assert observer.see(1.0, "ec2:a1@i-a probe:L word:sound").write is None
    assert shown(observer.see(1.2, "probe:T word:sound")) == "standby PING_BLOCKED R4"
    for now in range(2, 200):
        decision = observer.see(
            now, f"ec2:a1@i-a/attached/running probe:TTTT word:{'silent' if now < 100 else 'sound'}"
        )
        assert shown(decision) == "standby PING_BLOCKED R4"
    assert shown(observer.see(201.0, "probe:A")) == "standby ANSWERS R10"


def test_a_holder_that_answered_tcp_alone_dies_like_any_other() -> None:
    """Silent by both ways, it is dead."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:TT")
    observer.see(9.0, "word:silent probe:LLLLL")
    assert shown(observer.see(10.1, "ec2:a1@i-a probe:L")) == "takeover SILENT_HOLDER R3 detach:a1"


def test_a_blocked_probe_does_not_move_the_address_while_the_holder_checks_anew() -> None:
    """Every five seconds the holder has one answer without a sight, since its last check is old by then."""
    observer = fallen(Observer(), "word:sound/seen")
    for now in range(11, 200):
        sight = "untried" if now % 5 == 0 else "seen"
        decision = observer.see(now, f"ec2:a1@i-a/attached/running probe:L word:sound/{sight}")
        assert decision.write is None, shown(decision)


def test_a_sight_that_is_lost_after_an_hour_is_waited_for_as_well() -> None:
    """Patience begins when the holder cannot see us, not when the probes were lost."""
    observer = fallen(Observer(), "word:sound/seen")
    observer.see(3600.0, "ec2:a1@i-a/attached/running probe:L word:sound/seen")
    decision = observer.see(3601.0, "ec2:a1@i-a/attached/running probe:L word:sound/unseen")
    assert decision.write is None, shown(decision)
    assert observer.see(3630.9, "ec2:a1@i-a/attached/running probe:L").write is None
    assert observer.see(3631.1, "ec2:a1@i-a/attached/running probe:L").reason is Reason.HOLDER_WRONG


def test_a_holder_that_cannot_see_this_node_either_is_relieved_after_patience() -> None:
    """It is wrong about itself, or the network between is broken for good."""
    observer = fallen(Observer(), "word:sound/unseen")
    assert shown(observer.see(12.0, "ec2:a1@i-a probe:L word:sound/unseen")) == "doubt NOT_VOUCHED R4"
    assert shown(observer.see(39.9, "ec2:a1@i-a word:sound/unseen")) == "doubt NOT_VOUCHED R4"
    decision = observer.see(40.1, "ec2:a1@i-a word:sound/unseen")
    assert decision.reason is Reason.HOLDER_WRONG
    assert isinstance(decision.write, Tag)


def test_an_answer_within_patience_ends_it() -> None:
    """The next fall is waited for anew."""
    observer = fallen(Observer(), "word:sound/unseen")
    observer.see(35.0, "ec2:a1@i-a probe:AA")
    observer.see(36.0, "probe:LLLLL")
    assert shown(observer.see(45.0, "ec2:a1@i-a word:sound/unseen")) == "doubt NOT_VOUCHED R4"


# R5: the holder knows that it does not carry the address.


def test_a_holder_that_is_unsound_for_three_seconds_is_relieved() -> None:
    """Not sooner: a flushed rule is back within one."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    assert observer.see(10.0, "word:unsound").write is None
    assert observer.see(12.9, "word:unsound").write is None
    assert shown(observer.see(13.1, "word:unsound")) == "doubt STALE R5"
    assert shown(observer.see(13.2, "ec2:a1@i-a")) == f"doubt HOLDER_UNSOUND R5 tag:R5@{WALL + 13}/a1"
    assert shown(observer.see(13.3, f"ec2:a1@i-a tag:R5@{WALL + 13}/a1")) == "takeover HOLDER_UNSOUND R5 detach:a1"


def test_a_holder_that_mends_itself_keeps_the_address() -> None:
    """Level-triggered: what counts is what it says now."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(10.0, "word:unsound")
    observer.see(12.0, "word:sound")
    assert observer.see(14.0, "word:unsound").write is None
    assert observer.see(16.0, "word:unsound").write is None


def test_the_address_never_goes_to_a_node_that_was_itself_unsound_under_its_last_attachment() -> None:
    """A broken setting is broken everywhere: the first that had it is no better."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:none")
    observer.see(1.0, "link:unsound")
    observer.see(10.0, "ec2:a2@i-a link:none word:unsound")
    assert shown(observer.see(14.0, "word:unsound")) == "standby ALSO_UNSOUND R5"


def test_a_holder_that_is_leaving_is_relieved_even_by_a_node_that_was_unsound_once() -> None:
    """Its node ends in any case."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:none")
    observer.see(1.0, "link:unsound")
    observer.see(10.0, "ec2:a2@i-a link:none word:sound")
    assert shown(observer.see(14.0, "ec2:a2@i-a word:leaving")) == "takeover HOLDER_LEAVING R5 detach:a2"


def test_a_node_that_was_sound_again_may_relieve_another() -> None:
    """Only the last attachment counts, and how it ended."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:none")
    observer.see(1.0, "link:unsound")
    observer.see(5.0, "ec2:a1@i-b link:sound")
    observer.see(10.0, "ec2:a2@i-a link:none word:unsound")
    assert observer.see(14.0, "ec2:a2@i-a word:unsound").reason is Reason.HOLDER_UNSOUND


def test_a_holder_whose_marks_nobody_knows_of_keeps_the_address() -> None:
    """nft is slow on a node with a big ruleset: that alone must not move anything."""
    observer = Observer()
    assert observer.see(0.0, "ec2:a1@i-b link:uncertain").reason is Reason.HELD_HERE
    observer.see(10.0, "ec2:a2@i-a link:none word:unsound")
    assert observer.see(14.0, "ec2:a2@i-a word:unsound").reason is Reason.HOLDER_UNSOUND


def test_the_holder_tells_what_is_wrong_with_it() -> None:
    """Its sentence is what its word to the others consists of."""
    decision = Observer().see(0.0, "ec2:a1@i-b link:unsound")
    assert shown(decision) == "holder UNSOUND_HERE R5"
    assert "nft" in decision.sentence


# R6: it never answered.


def test_an_address_that_never_answered_is_given_time_to_settle() -> None:
    """A node that boots takes about a minute."""
    replay(
        f"""
        0.0   ec2:a1@i-a word:silent                                   -> standby SETTLING R6
        5.0   ec2:a1@i-a/attached/running word:silent probe:LLLLL      -> standby SETTLING R6
        59.0  ec2:a1@i-a/attached/running word:silent probe:L          -> standby SETTLING R6
        60.1  ec2:a1@i-a/attached/running word:silent probe:L          -> doubt NEVER_ANSWERED R6 tag:R6@{WALL + 60}/a1
        60.3  ec2:a1@i-a/attached/running tag:R6@{WALL + 60}/a1        -> takeover NEVER_ANSWERED R6 detach:a1
        """
    )


def test_the_time_to_settle_begins_when_the_silence_does() -> None:
    """A holder that was heard a moment ago is not one that never came up."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:LLLLL")
    observer.see(100.0, "ec2:a1@i-a word:silent probe:L")
    assert observer.see(159.0, "ec2:a1@i-a probe:L").write is None
    assert observer.see(160.1, "ec2:a1@i-a probe:L").reason is Reason.NEVER_ANSWERED


def test_silence_is_no_evidence_while_ec2_does_not_answer_this_node() -> None:
    """Probes that cannot even be sent are not lost ones: after a minute of an unplugged network nothing is known."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:silent")
    for now in range(1, 120):
        decision = observer.see(now, "word:silent probe:F")
        assert decision.write is None, f"at {now}: {shown(decision)}"


# R8: writes.


def test_no_write_is_made_on_an_answer_older_than_the_last_write() -> None:
    """It cannot show what the write did."""
    observer = fallen(Observer())
    assert observer.see(10.1, "ec2:a1@i-a probe:L").write == Detach("a1")
    asked = replace(observer._owner(10.05, "free", "", "cluster"))
    decision = observer.see(10.3, owner=asked, wrote_at=10.2)
    assert decision.write is None
    assert decision.look_at == 10.3


def test_after_a_write_ec2_is_asked_at_once() -> None:
    """Whatever the state would otherwise allow."""
    observer = Observer()
    observer.see(0.0, "ec2:free")
    assert observer.see(0.5, wrote_at=0.4).look_at == 0.5


def test_no_second_write_is_made_while_one_is_under_way() -> None:
    """Not even another one."""
    observer = Observer()
    assert observer.see(0.0, "ec2:free", writing=True).write is None
    assert observer.see(0.1, writing=False).write == Attach(ENI)


def test_no_write_is_made_before_its_backoff_ends() -> None:
    """EC2 throttled or denied the last one."""
    observer = Observer()
    assert observer.see(0.0, "ec2:free", retry_at={Attach: 5.0}).write is None
    assert observer.see(4.9, "ec2:free").write is None
    assert observer.see(5.0, "ec2:free").write == Attach(ENI)


def test_a_write_that_was_refused_puts_off_no_other_one() -> None:
    """IAM denies the tags, for example: the address is claimed nevertheless."""
    assert Observer().see(0.0, "ec2:free", retry_at={Tag: 60.0}).write == Attach(ENI)


def test_the_same_write_is_not_repeated_within_a_second() -> None:
    """Describes lag: the first one's effect may only not be visible yet."""
    observer = fallen(Observer())
    assert observer.see(10.1, "ec2:a1@i-a probe:L").write == Detach("a1")
    assert observer.see(10.1 + REPEAT_AFTER - 0.01, "ec2:a1@i-a probe:L").write is None
    assert observer.see(10.1 + REPEAT_AFTER, "ec2:a1@i-a probe:L").write == Detach("a1")


def test_another_write_need_not_wait() -> None:
    """The attach follows the detach as soon as EC2 shows the ENI free."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    assert observer.see(10.2, "ec2:free").write == Attach(ENI)


def test_an_answer_counts_once() -> None:
    """The loop judges the same view several times a second."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a/attached/stopped probe:AA word:sound")
    for now in range(1, 20):
        assert observer.see(now / 10).write is None


# R9: EC2 fails.


def test_an_api_outage_leaves_a_healthy_holder_alone() -> None:
    """The holder goes on carrying, the standby goes on watching."""
    standby, holder = Observer("i-b"), Observer("i-a")
    standby.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    holder.see(0.0, "ec2:a1@i-a link:sound")
    for now in range(1, 4000, 60):
        assert shown(standby.see(now, "probe:A")) == "standby ANSWERS R10"
        decision = holder.see(now)
        assert shown(decision) == "holder HELD_HERE R10"
        assert decision.extent is Extent.ALL


def test_a_holder_that_restarts_while_ec2_is_down_still_carries() -> None:
    """The link with the ENI's MAC is there, so the address belongs here."""
    assert Observer().see(0.0, "link:sound").extent is Extent.ALL


# R10: no failback, and when the address is lost.


def test_a_healthy_holder_is_never_relieved_by_one_that_comes_back() -> None:
    """The former holder has no claim."""
    replay(
        """
        0.0     ec2:a1@i-b link:sound                     -> holder HELD_HERE R10
        60.0    ec2:a2@i-c word:sound probe:A link:none   -> standby SETTLING R6
        61.0    probe:A word:sound                        -> standby ANSWERS R10
        5000.0  ec2:a2@i-c/attached/running probe:A       -> standby ANSWERS R10
        """
    )


def test_the_address_is_dropped_after_two_answers_two_seconds_apart_that_name_another_owner() -> None:
    """One answer may be a lagging one."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    first = observer.see(60.0, "ec2:a2@i-a word:sound")
    assert first.extent is Extent.ALL
    assert first.look_at == 62.0
    assert observer.see(61.9, "ec2:a2@i-a").extent is Extent.ALL
    assert observer.see(63.0).extent is Extent.ALL, "time alone is no second answer"
    assert observer.see(63.1, "ec2:a2@i-a").extent is Extent.NOTHING


def test_one_answer_that_names_this_node_again_takes_the_suspicion_away() -> None:
    """The count begins anew."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    observer.see(60.0, "ec2:a2@i-a")
    observer.see(61.0, "ec2:a1@i-b")
    assert observer.see(63.0, "ec2:a2@i-a").extent is Extent.ALL
    assert observer.see(65.0, "ec2:a2@i-a").extent is Extent.NOTHING


def test_one_answer_with_a_foreign_tag_does_not_drop_a_working_address() -> None:
    """Describes are eventually consistent: lost means two answers, and a tag that is missing in one is not it."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    assert observer.see(60.0, "ec2:a1@i-b name:").extent is Extent.ALL


def test_a_lost_link_asks_ec2_at_once_and_writes_nothing() -> None:
    """Somebody detached it by hand, or it flaps: EC2 knows."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    decision = observer.see(30.0, "link:none")
    assert shown(decision) == "holder LINK_GONE R10"
    assert decision.look_at == 30.0


def test_an_eni_detached_by_hand_is_claimed_again() -> None:
    """By the former holder, if it is the first in rank or alone."""
    replay(
        """
        0.0   ec2:a1@i-b link:sound       -> holder HELD_HERE R10
        30.0  ec2:a1@i-b/detaching        -> holder DETACHING_HERE R11
        32.0  ec2:free link:none          -> claiming FREE R1 attach
        """
    )


def test_a_link_that_is_there_before_ec2_says_so_is_carried() -> None:
    """The kernel is ahead of EC2's Describe now and then."""
    assert shown(Observer().see(0.0, "ec2:a1@i-b/attaching link:sound")) == "holder HELD_HERE R10"


def test_a_node_that_held_the_address_before_gives_the_device_time_to_appear_again() -> None:
    """`attached` comes seconds before the link; that a former link went away says nothing of this attachment."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    observer.see(60.0, "ec2:free link:none")
    decision = observer.see(64.0, "ec2:a2@i-b link:none")
    assert shown(decision) == "claiming ATTACHING_HERE R1"


# R14: EC2 says attached, but the device never comes.


def test_an_eni_whose_device_never_comes_is_given_up_once_it_is_recorded() -> None:
    """A slow device takes 20 s; meanwhile the node claims nothing, and then it calls itself unsound."""
    replay(
        """
        0.0   ec2:a1@i-b/attaching link:none -> claiming ATTACHING_HERE R1
        5.0   ec2:a1@i-b                     -> claiming ATTACHING_HERE R1   # from here on the device is late
        26.0  ec2:a1@i-b                     -> claiming ATTACHING_HERE R1   # 21 s: a slow one may still come
        27.2  ec2:a1@i-b                     -> holder NO_DEVICE R14 tag:R14@1764000027/a1
        27.7  ec2:a1@i-b tag:R14@1764000027/a1 -> holder NO_DEVICE R14 detach:a1
        28.2  ec2:a1@i-b/detaching           -> holder DETACHING_HERE R11
        29.0  ec2:free                       -> claiming FREE R1 attach      # nobody else is there: again
        """
    )


def test_who_gave_an_eni_up_leaves_it_to_those_that_are_there() -> None:
    """For five seconds; it is not between its fence and its claim, so it may end."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:none")
    observer.see(22.0, "ec2:a1@i-b", records={})
    decision = observer.see(22.5, "ec2:a1@i-b tag:R14@1764000022/a1 peer:i-c")
    assert decision.write == Detach("a1")
    assert not decision.obliged
    assert shown(observer.see(23.0, "ec2:free peer:i-c")) == "claiming FREE_BUT_LATER R1"
    assert shown(observer.see(39.9, "ec2:free peer:i-c")) == "claiming FREE_BUT_LATER R1"
    assert shown(observer.see(40.1, "ec2:free peer:i-c")) == "claiming FREE R1 attach"


def test_a_device_that_does_not_come_again_and_again_is_rationed() -> None:
    """The node stays, and calls itself unsound, which others may relieve."""
    observer = Observer()
    observer.see(0.0, "ec2:a2@i-b link:none", wall=WALL)
    for now in (30.0, 59.0):
        assert shown(observer.see(now, f"ec2:a2@i-b tag:R14@{WALL}/a1")) == "holder NO_DEVICE R14"
    assert observer.see(60.5, f"ec2:a2@i-b tag:R14@{WALL}/a1").write is not None


def test_a_device_that_is_gone_for_good_is_as_one_that_never_came() -> None:
    """Pulled by hand, or a driver that crashed: at first the holder is only unsound."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound")
    observer.see(100.0, "link:none")
    for now in (101.0, 121.0):
        assert shown(observer.see(now, "ec2:a1@i-b")) == "holder LINK_GONE R10"
    assert observer.see(122.5, "ec2:a1@i-b").rule == "R14"


# R11: crashes between any two calls.


def test_a_detach_that_somebody_else_began_is_finished() -> None:
    """The claimer died between detach and attach: whoever sees the ENI free claims it."""
    replay(
        """
        0.0   ec2:a1@i-a word:sound probe:AA  -> standby ANSWERS R10
        10.0  ec2:a1@i-a/detaching            -> standby DETACHING R11
        12.5  ec2:free                        -> claiming FREE R1 attach
        """
    )


def test_an_attach_that_hangs_on_a_silent_node_is_judged_after_a_minute() -> None:
    """As R3: fence and claim."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a/attaching word:silent probe:L")
    assert observer.see(59.0, "ec2:a1@i-a/attaching").write is None
    decision = observer.see(60.5, "ec2:a1@i-a/attaching")
    assert shown(decision) == "takeover ATTACHING_TOO_LONG R3 detach:a1"


def test_an_attach_that_hangs_on_a_node_that_is_heard_is_left_alone() -> None:
    """EC2's tail is minutes; the node waits for it itself."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a/attaching word:other probe:L")
    assert observer.see(300.0, "ec2:a1@i-a/attaching word:other").write is None


def test_an_observer_that_restarts_between_detach_and_attach_goes_on() -> None:
    """It remembers nothing, and need not."""
    replay(
        """
        0.0  ec2:a1@i-a/detaching  -> standby DETACHING R11
        2.0  ec2:free              -> claiming FREE R1 attach
        """
    )


def test_an_observer_is_obliged_between_its_detach_and_its_attach() -> None:
    """SIGTERM waits that long: ending now would strand the address."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    assert observer.see(10.2, writing=True).obliged
    assert observer.see(10.4, "ec2:a1@i-a/detaching", writing=False).obliged
    assert observer.see(12.9, "ec2:free").obliged
    assert observer.see(13.0, writing=True).obliged
    assert not observer.see(13.2, "ec2:a2@i-b/attaching link:none", writing=False).obliged


def test_an_observer_is_obliged_from_the_moment_of_its_detach() -> None:
    """The runner asks right after the decision that issued it: SIGTERM then must not come in between."""
    decision = fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L")
    assert decision.write == Detach("a1")
    assert decision.obliged


def test_an_observer_that_only_watches_is_not_obliged() -> None:
    """Neither for the detach of somebody else, nor in doubt, nor as holder."""
    observer = Observer()
    assert not observer.see(0.0, "ec2:a1@i-a word:sound probe:AA").obliged
    assert not observer.see(1.0, "probe:L").obliged
    assert not observer.see(2.0, "ec2:a1@i-a/detaching").obliged
    assert not observer.see(3.0, "ec2:a2@i-b link:sound").obliged


def test_an_observer_that_lost_the_race_is_not_obliged() -> None:
    """The address is not stranded: another one has it."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(10.3, "ec2:a1@i-a/detaching")
    assert not observer.see(13.0, "ec2:a2@i-c/attaching").obliged


def test_who_fenced_claims_before_those_of_lower_rank() -> None:
    """No wait between detach and attach."""
    observer = fallen(Observer("i-z"))
    observer.see(10.1, "ec2:a1@i-a probe:L peer:i-c")
    observer.see(10.3, "ec2:a1@i-a/detaching peer:i-c")
    assert shown(observer.see(12.9, "ec2:free peer:i-c")) == "takeover FREE_AFTER_FENCING R3 attach"


# R12: the ration.


def test_a_rationed_move_is_recorded_before_it_is_made() -> None:
    """Whoever dies in between has still counted."""
    observer = fallen(Observer(), "word:sound/unseen")
    first = observer.see(41.0, "ec2:a1@i-a probe:L word:sound/unseen")
    assert shown(first) == f"doubt HOLDER_WRONG R4 tag:R4@{WALL + 41}/a1"
    assert observer.see(41.2, "word:sound/unseen").write is None, "not before EC2 shows it"
    assert observer.see(41.4, f"ec2:a1@i-a tag:R4@{WALL + 41}/a1").write == Detach("a1")


def test_a_rationed_move_waits_for_its_turn() -> None:
    """60 s after the first one."""
    moves = f"R4@{WALL}/a0"
    observer = fallen(Observer(), "word:sound/unseen")
    assert shown(observer.see(41.0, f"ec2:a1@i-a probe:L tag:{moves}")) == "doubt RATIONED R4"
    assert shown(observer.see(59.0, f"ec2:a1@i-a tag:{moves}")) == "doubt RATIONED R4"
    assert isinstance(observer.see(60.0, f"ec2:a1@i-a tag:{moves}").write, Tag)


def test_the_third_takeover_from_silent_holders_within_ten_minutes_is_rationed() -> None:
    """The second is not; the tag is what every observer sees, so restarts do not help."""
    once, twice = f"R3@{WALL - 100}/x1", f"R3@{WALL - 100}/x1 R3@{WALL - 50}/x2"
    assert fallen(Observer()).see(10.1, f"ec2:a1@i-a probe:L tag:{once}").write == Detach("a1")

    observer = fallen(Observer())
    owner = observer._owner(10.1, "a1@i-a", twice, "cluster")
    third = observer.see(10.1, "probe:L", owner=owner)
    assert isinstance(third.write, Tag), "recorded first, for it is the first rationed one"
    thrice = f"{twice} R3@{WALL - 30}/x3"
    observer = fallen(Observer())
    owner = observer._owner(10.1, "a1@i-a", thrice, "cluster")
    assert shown(observer.see(10.1, "probe:L", owner=owner)) == "doubt RATIONED R3"


def test_a_takeover_that_was_not_rationed_is_recorded_by_the_new_holder() -> None:
    """Not before: a failover does not wait for a tag."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(12.0, "ec2:free")
    decision = observer.see(13.0, "ec2:a2@i-b link:sound")
    assert decision.write == Tag(ENI, ration.TAG, f"R3@{WALL + 13}/a1")
    assert observer.see(14.5, f"ec2:a2@i-b tag:R3@{WALL + 13}/a1").write is None


def test_a_recorded_takeover_is_not_recorded_again_after_the_tag_was_cleared() -> None:
    """Five minutes of UP clear it for good: otherwise holder and standby write against each other for ever."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(12.0, "ec2:free")
    assert isinstance(observer.see(13.0, "ec2:a2@i-b link:sound").write, Tag)
    assert observer.see(14.0, f"ec2:a2@i-b tag:R3@{WALL + 13}/a1").write is None
    decision = observer.see(400.0, "ec2:a2@i-b")
    assert decision.write is None, shown(decision)


def test_a_takeover_that_another_node_won_is_not_recorded_by_a_later_claim() -> None:
    """An hour later this node claims a free ENI: that is no move from a silent holder."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(12.0, "ec2:a2@i-c word:sound probe:AA")
    observer.see(3600.0, "ec2:free")
    decision = observer.see(3605.0, "ec2:a3@i-b link:sound")
    assert decision.write is None, shown(decision)


def test_an_ended_instance_is_not_recorded() -> None:
    """R2 is EC2's own word; it is never rationed."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a/attached/stopped")
    assert observer.see(1.0, "ec2:a1@i-a/attached/stopped").write == Detach("a1")
    observer.see(3.0, "ec2:free")
    assert observer.see(4.0, "ec2:a2@i-b link:sound").write is None


def test_five_minutes_of_up_seen_by_a_standby_clear_the_ration() -> None:
    """Not earlier; and a doubt that passes changes nothing."""
    observer = Observer()
    moves = f"R4@{WALL}/a0"
    observer.see(0.0, f"ec2:a1@i-a tag:{moves} word:sound probe:AA")
    observer.see(1.0, "probe:AA")
    assert observer.see(299.0, f"ec2:a1@i-a tag:{moves} probe:A").write is None
    decision = observer.see(301.5, f"ec2:a1@i-a tag:{moves} probe:A")
    assert decision.write == Tag(ENI, ration.TAG, "")
    assert observer.see(303.0, "ec2:a1@i-a probe:A").write is None


def test_a_holder_does_not_clear_the_ration_itself() -> None:
    """It cannot see whether it is reached."""
    observer = Observer()
    observer.see(0.0, f"ec2:a1@i-b tag:R4@{WALL}/a0 link:sound")
    assert observer.see(1000.0, f"ec2:a1@i-b tag:R4@{WALL}/a0 link:sound").write is None


# R13: a detach that hangs.


@pytest.mark.parametrize(("word", "seconds"), [("word:silent", 5.0), ("word:sound", 20.0), ("word:unasked", 20.0)])
def test_a_detach_that_hangs_is_forced(word: str, seconds: float) -> None:
    """After force_after where the word is silent, four times as long otherwise; by whoever sees it."""
    observer = Observer()
    observer.see(0.0, f"ec2:a1@i-a/detaching {word}")
    assert shown(observer.see(seconds - 0.1, "ec2:a1@i-a/detaching")) == "standby DETACHING R11"
    decision = observer.see(seconds, "ec2:a1@i-a/detaching")
    assert shown(decision) == "takeover DETACHING_TOO_LONG R13 force:a1"


def test_the_holder_itself_forces_its_own_hanging_detach_after_the_longer_time() -> None:
    """It is alive, so it is heard."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b/detaching link:sound")
    assert observer.see(19.9, "ec2:a1@i-b/detaching").write is None
    assert observer.see(20.0, "ec2:a1@i-b/detaching").write == Detach("a1", force=True)


def test_a_normal_detach_is_not_forced() -> None:
    """2 to 3 s, by a takeover from a silent holder."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L")
    for now in (10.3, 11.0, 12.0, 13.2):
        assert observer.see(now, "ec2:a1@i-a/detaching word:silent").write is None


def test_the_time_of_one_detach_is_not_added_to_the_next() -> None:
    """Another attachment, another clock."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a/detaching word:silent")
    observer.see(4.0, "ec2:a2@i-c word:silent")
    observer.see(6.0, "ec2:a2@i-c/detaching word:silent")
    assert observer.see(10.0, "ec2:a2@i-c/detaching").write is None
    assert observer.see(11.0, "ec2:a2@i-c/detaching").write == Detach("a2", force=True)


def test_who_forced_its_own_detach_stays_obliged_and_claims_first() -> None:
    """A forced detach is still the same takeover."""
    observer = fallen(Observer("i-z"))
    observer.see(10.1, "ec2:a1@i-a probe:L")
    observer.see(10.3, "ec2:a1@i-a/detaching word:silent peer:i-c")
    forced = observer.see(15.4, "ec2:a1@i-a/detaching peer:i-c")
    assert forced.write == Detach("a1", force=True)
    assert forced.obliged
    assert shown(observer.see(16.0, "ec2:free peer:i-c")) == "takeover FREE_AFTER_FENCING R3 attach"


# Asking EC2: gently in peace, at once in doubt.


def test_in_peace_ec2_is_asked_once_a_minute() -> None:
    """By standby and holder alike."""
    assert Observer("i-a").see(0.0, "ec2:a1@i-a link:sound").look_at == 60.0
    standby = Observer()
    standby.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    standby.see(2.5, "ec2:a1@i-a probe:AA")
    assert standby.see(3.0, "probe:A").look_at == 62.5


def test_in_doubt_ec2_is_asked_twice_a_second_after_the_first_answer() -> None:
    """The first question is due at once; and none that a verdict rests on is older than a second."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(2.5, "ec2:a1@i-a probe:A")
    assert observer.see(10.0, "probe:L").look_at == 10.0
    assert observer.see(10.1, "ec2:a1@i-a/attached/running probe:L").look_at == pytest.approx(10.6)


# Whatever is seen.


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


def test_health_and_word_are_taken_as_they_are_given() -> None:
    """A view that was built by hand, without the helpers above, is judged the same."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a")
    health = Health("a1", HealthState.DOWN, 5, first_lost_at=10.0, changed_at=11.25, ever_up=True)
    owner = observer._owner(10.5, "a1@i-a", "", "cluster")
    observer.see(10.6, owner=owner)
    decision = observer.see(11.3, health=health, word=Word(WordState.SILENT, 10.6))
    assert shown(decision) == "takeover SILENT_HOLDER R3 detach:a1"


# The ENI is created once, whoever asks: a token for each generation.


def test_the_same_generation_is_created_again_while_it_may_only_not_be_shown_yet() -> None:
    """Describes lag; EC2 makes one interface of a token, however often it is asked."""
    observer = Observer()
    assert observer.see(0.0, "ec2:absent").write == Create(0)
    for now in (1.1, 5.0, 9.9):
        assert observer.see(now, "ec2:absent").write == Create(0)


def test_an_eni_that_was_deleted_meanwhile_is_created_by_the_next_generation_of_the_token() -> None:
    """The old token's answer would be the deleted one for ever; each generation gets its time to be shown."""
    observer = Observer()
    observer.see(0.0, "ec2:absent")
    assert observer.see(timing.FORGOTTEN_AFTER + 0.1, "ec2:absent").write == Create(1)
    assert observer.see(timing.FORGOTTEN_AFTER + 5.0, "ec2:absent").write == Create(1)
    assert observer.see(2 * timing.FORGOTTEN_AFTER + 0.2, "ec2:absent").write == Create(2)


def test_an_eni_that_was_shown_is_created_anew_soon_when_it_is_deleted() -> None:
    """An hour later somebody deletes it: its own token is tried first, until a second answer says the same."""
    observer = Observer()
    observer.see(0.0, "ec2:absent")
    observer.see(1.1, "ec2:a1@i-b link:sound")
    assert observer.see(3600.0, "ec2:absent link:none").write == Create(0)
    assert observer.see(3601.5, "ec2:absent").write == Create(0)
    assert observer.see(3602.6, "ec2:absent").write == Create(1)


def test_an_eni_that_was_shown_for_long_and_then_is_not_is_created_anew_at_once() -> None:
    """Two answers tell that it is gone, whatever becomes of the calls: EC2 may lose every one."""
    observer = Observer()
    for now in (0.0, 60.0):
        observer.see(now, "ec2:free", accepted=None)
    for now in (100.0, 101.0, 101.9):
        assert observer.see(now, "ec2:absent", accepted=None).write in (None, Create(0))
    observer.see(101.95, accepted=None)
    assert observer.see(103.1, "ec2:absent", accepted=None).write == Create(1)
    observer.see(103.2, accepted=None)
    assert observer.see(130.0, "ec2:absent").write == Create(1)


def test_a_generation_is_not_passed_over_because_nothing_could_be_written() -> None:
    """EC2 throttled or denied the first try for a minute: nothing was created, so nothing was deleted."""
    observer = Observer()
    observer.see(0.0, "ec2:absent", retry_at={Create: 60.0})
    assert observer.see(61.0, "ec2:absent").write == Create(0)


def test_a_creation_that_ec2_refused_does_not_count_as_forgotten() -> None:
    """Denied or throttled for a minute: observers that started at other times must go on with the same token."""
    observer = Observer()
    assert observer.see(0.0, "ec2:absent").write == Create(0)
    observer.see(0.5, "ec2:absent", retry_at={Create: 60.0}, accepted=None)
    assert observer.see(60.1, "ec2:absent").write == Create(0)


def test_a_creation_that_failed_in_between_does_not_give_a_spent_token_more_time() -> None:
    """EC2 has said once that it made the ENI: the calls that it did not answer since change nothing about that."""
    observer = Observer()
    observer.see(0.0, "ec2:absent")
    for now in (3.0, 6.0, 9.0):
        observer.see(now, "ec2:absent")
        observer.see(now + 0.1, accepted=None, retry_at={Create: now + 2.0})
    assert observer.see(timing.FORGOTTEN_AFTER + 1.5, "ec2:absent").write == Create(1)


# What the holder mends of its ENI, whoever or whatever changed it.

ELASTIC = Allocation("eipalloc-0123abcd")
WANTED = {"tags": {"floatingip": "cluster", ALLOCATION_TAG: ELASTIC.id}, "security_groups": ("sg-1", "sg-2")}
MENDED = {**WANTED, "elastic": {ADDRESS: ELASTIC.id}}


def holding(
    now: float = 0.0, observer: Observer | None = None, *, link: str = "sound", **eni_changes: object
) -> Decision:
    """What i-b decides as the holder of an Elastic IP's ENI with these properties."""
    observer = observer or Observer()
    bound = Attachment("a1", "i-b", 1, AttachmentStatus.ATTACHED)
    shown_eni = replace(eni(bound), **{**MENDED, **eni_changes})  # type: ignore[arg-type]  # the test names fields
    owner = Owner(now, shown_eni)
    return observer.see(now, f"link:{link}", owner=owner, target=ELASTIC, groups=("sg-2", "sg-1"))


def test_an_eni_that_is_as_it_should_be_is_left_alone() -> None:
    """In whatever order EC2 names the groups."""
    assert shown(holding()) == "holder HELD_HERE R10"
    assert shown(holding(security_groups=("sg-2", "sg-1"))) == "holder HELD_HERE R10"


def test_the_holder_associates_the_elastic_ip() -> None:
    """With the first answer after the link is there, and again whenever somebody took it off."""
    observer = Observer()
    assert holding(0.0, observer, elastic={}).write == Associate(ELASTIC.id, ENI, ADDRESS)
    assert holding(2.0, observer).write is None
    assert holding(3600.0, observer, elastic={}).write == Associate(ELASTIC.id, ENI, ADDRESS)


def test_another_elastic_ip_on_our_eni_is_not_ours() -> None:
    """What counts is that it is this one."""
    assert holding(elastic={ADDRESS: "eipalloc-0fffffff"}).write == Associate(ELASTIC.id, ENI, ADDRESS)


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


def test_the_holder_lets_its_eni_outlive_its_instance() -> None:
    """Otherwise a terminated node takes the reserved address along; it is said of one attachment."""
    assert holding(delete_on_termination=True).write == KeepAfterTermination(ENI, "a1")


@pytest.mark.parametrize("groups", [(), ("sg-1",), ("sg-1", "sg-2", "sg-3"), ("sg-1", "sg-9")])
def test_the_holder_reconciles_the_security_groups(groups: tuple[str, ...]) -> None:
    """A CNI's upgrade once overwrote those of everybody's interfaces."""
    assert holding(security_groups=groups).write == SetGroups(ENI, ("sg-2", "sg-1"))


def test_unknown_security_groups_are_not_taken_for_none() -> None:
    """An ENI without any is impossible anyway."""
    observer = Observer()
    assert observer.see(0.0, "ec2:a1@i-b link:sound", groups=()).write is None


def test_the_holder_switches_the_source_check_on() -> None:
    """What it carries is its own address: the check costs nothing, and protects the neighbours."""
    assert holding(source_check=False).write == CheckSource(ENI)


def test_one_thing_is_mended_at_a_time_and_the_elastic_ip_first() -> None:
    """What is missing longest for the users comes first; then survival, groups, source check, and the ration's tag."""
    observer = fallen(Observer())
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
        Associate(ELASTIC.id, ENI, ADDRESS),
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


# Several addresses: the first placement spreads them.


@pytest.mark.parametrize(("burden", "seconds"), [(1, 2.0), (2, 4.0), (3, 6.0), (9, 6.0)])
def test_a_node_with_addresses_lets_others_claim_a_free_eni_first(burden: int, seconds: float) -> None:
    """Two seconds for each it has, at most three times: an address is never stranded for its sake."""
    observer = Observer(me="i-a")
    first = observer.see(0.0, "ec2:free", burden=burden)
    assert shown(first) == "claiming FREE_FOR_OTHERS R1"
    assert first.look_at == seconds
    assert observer.see(seconds - 0.1, "ec2:free").write is None
    assert observer.see(seconds, "ec2:free").write == Attach(ENI)


def test_a_node_without_addresses_claims_at_once() -> None:
    """So that the first address of a new deployment does not wait."""
    assert Observer(me="i-a").see(0.0, "ec2:free", burden=0).write == Attach(ENI)


def test_a_node_that_lets_others_claim_first_gives_way_to_who_did() -> None:
    """The look after the wait shows the new holder."""
    observer = Observer(me="i-a")
    observer.see(0.0, "ec2:free", burden=1)
    assert shown(observer.see(2.1, "ec2:a1@i-b/attaching")) == "standby SETTLING R6"


def test_who_fenced_never_waits_for_others() -> None:
    """However much it has already: nobody else is going to claim it at once."""
    observer = fallen(Observer())
    observer.see(10.1, "ec2:a1@i-a probe:L", burden=9)
    assert shown(observer.see(12.0, "ec2:free")) == "takeover FREE_AFTER_FENCING R3 attach"


def test_a_burden_does_not_keep_a_node_from_fencing() -> None:
    """A dead holder's address goes to whoever finds out first."""
    assert fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L", burden=9).write == Detach("a1")


def test_a_lower_rank_and_a_burden_are_waited_for_at_once_not_one_after_the_other() -> None:
    """The longer of both decides."""
    observer = Observer(me="i-c")
    observer.see(0.0, "ec2:free peer:i-a peer:i-b", burden=1)
    assert observer.see(3.9, "ec2:free peer:i-a peer:i-b").write is None
    assert observer.see(4.1, "ec2:free peer:i-a peer:i-b").write == Attach(ENI)


# Each kind of address.


@pytest.mark.parametrize(
    ("target", "changes", "ours"),
    [
        (IPv6Address("2001:db8::64"), {"ipv6s": (IPv6Address("2001:db8::64"),)}, True),
        (IPv6Address("2001:db8::64"), {"ipv6s": (IPv6Address("2001:db8::65"),)}, False),
        (ELASTIC, {"tags": {"floatingip": "cluster", ALLOCATION_TAG: ELASTIC.id}}, True),
        (ELASTIC, {"tags": {"floatingip": "cluster", ALLOCATION_TAG: "eipalloc-0fffffff"}}, False),
        (ELASTIC, {"elastic": {ADDRESS: ELASTIC.id}}, False),
    ],
    ids=["its IPv6 address", "another IPv6 address", "its tag", "another's tag", "the association alone"],
)
def test_an_eni_is_claimed_only_if_it_is_there_for_the_target(
    target: Target, changes: dict[str, object], ours: bool
) -> None:
    """By its IPv6 address, or by the tag of the allocation: an association can be anybody's."""
    free = replace(eni(), **changes)  # type: ignore[arg-type]  # the test names fields
    decision = Observer().see(0.0, owner=Owner(0.0, free), target=target)
    assert decision.reason is (Reason.FREE if ours else Reason.NOT_OURS)
    assert (decision.write == Attach(ENI)) is ours


# R5: planned moves.


def test_a_leaving_holder_is_relieved_at_its_word() -> None:
    """It knows best, and the attachment that it names is the one that was judged."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    assert observer.see(30.0, "word:leaving").look_at <= 30.0
    assert shown(observer.see(30.1, "ec2:a1@i-a")) == "takeover HOLDER_LEAVING R5 detach:a1"


OFF = Word(WordState.LEAVING, 30.0, detail="Kubernetes has written this node off", written_off=True)


@pytest.mark.parametrize(("ready_at", "moves"), [(None, False), (19.0, False), (20.0, True), (30.0, True)])
def test_a_written_off_holder_is_relieved_by_who_is_ready_to_kubernetes(ready_at: float | None, *, moves: bool) -> None:
    """Ten seconds ago at most: where all are written off, or nothing is known, nobody is better."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    decision = observer.see(30.0, "ec2:a1@i-a", word=OFF, ready_at=ready_at)
    assert (observer.memory.last_write is not None) is moves
    assert (decision.reason is Reason.WRITTEN_OFF) is moves


def test_a_written_off_holder_is_left_alone_just_after_the_api_server_was_away() -> None:
    """All nodes are written off then until their kubelets are heard again; this one is only not the first."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA", ready_at=0.0)
    observer.see(20.0, "ec2:a1@i-a", ready_at=0.0)
    for now in (21.0, 28.0, 35.0):
        assert observer.see(now, "ec2:a1@i-a", word=OFF, ready_at=now).reason is not Reason.WRITTEN_OFF
    assert observer.see(35.1, "ec2:a1@i-a", word=OFF, ready_at=35.0).reason is Reason.WRITTEN_OFF


def test_moves_from_written_off_holders_are_rationed() -> None:
    """Recorded before the move, and a second one within a minute waits: it may be Kubernetes that is wrong."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    decision = observer.see(30.0, "ec2:a1@i-a", word=OFF, ready_at=30.0)
    assert shown(decision).startswith("doubt WRITTEN_OFF R5 tag:R5@")
    moved = f"tag:R5@{WALL + 30}/a1"
    assert shown(observer.see(31.1, f"ec2:a1@i-a {moved}", ready_at=31.0)) == "takeover WRITTEN_OFF R5 detach:a1"
    observer.see(60.0, f"ec2:a2@i-c word:sound probe:AA {moved}", ready_at=60.0)
    assert shown(observer.see(70.0, f"ec2:a2@i-c {moved}", word=OFF, ready_at=70.0)) == "doubt RATIONED R5"


def test_a_written_off_node_relieves_no_other_one() -> None:
    """Its own pod may still be called ready, by an answer from before."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    assert observer.see(30.0, word=OFF, ready_at=30.0, leaving="written off").write is None


def test_a_written_off_holder_vouches_for_its_address() -> None:
    """Where pings are closed, and nobody is better, it is left alone for as long as that lasts."""
    observer = fallen(Observer())
    word = replace(OFF, sight=Sight.SEEN)
    for now in range(11, 120):
        decision = observer.see(float(now), "ec2:a1@i-a probe:L", word=word)
        assert shown(decision) == "standby PROBE_BLOCKED R4"


def ordered(now: float, to: str, holder: str = "i-a") -> Owner:
    """The ENI, attached by a1, with an order for a handover that is valid for a minute."""
    shown_eni = eni(Attachment("a1", holder, 1, AttachmentStatus.ATTACHED))
    assert shown_eni.address is not None
    tags = {
        **shown_eni.tags,
        way_to(Carry.ENI).of_one(order.TAG, shown_eni.address): order.render("a1", to, WALL + now + 60),
    }
    return Owner(now, replace(shown_eni, tags=tags))


@pytest.mark.parametrize(("to", "detaches"), [("*", True), ("i-b", True), ("i-c", False)])
def test_an_order_is_obeyed_by_whom_it_names(to: str, detaches: bool) -> None:
    """Though the address answers, and though the holder itself asks everybody to be relieved."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(29.0, "word:leaving", owner=ordered(29.0, to))
    decision = observer.see(30.1, owner=ordered(30.1, to))
    assert (observer.memory.last_write == Detach("a1")) == detaches
    assert decision.state is (State.TAKEOVER if detaches else State.STANDBY)


def test_an_ordered_holder_serves_on_until_it_is_relieved() -> None:
    """It does not call itself leaving: a standby that has not seen yet whom the order names would take over."""
    decision = Observer().see(0.0, "link:sound", owner=ordered(0.0, "*", "i-b"))
    assert (decision.state, decision.extent, decision.leaving) == (State.HOLDER, Extent.ALL, "")


def test_a_leaving_node_leaves_what_is_free_to_others() -> None:
    """Whoever relieves it has detached the ENI, and may be slow to answer just then."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-b link:sound", leaving="drained")
    observer.see(20.0, "peer:i-c", leaving="drained")
    assert observer.see(23.0, "ec2:free link:none", leaving="drained").write is None
    assert observer.see(27.9, "ec2:free", leaving="drained").write is None
    assert observer.see(28.1, "ec2:free", leaving="drained").write == Attach(ENI)


def test_a_leaving_node_relieves_nobody_but_judges_the_dead() -> None:
    """Two nodes of the same drain would hand the address to and fro; but it is better than nobody."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(29.0, "ec2:a1@i-a word:leaving", leaving="drained")
    assert observer.see(30.1, "ec2:a1@i-a", leaving="drained").write is None
    assert shown(fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L", leaving="drained")) == (
        "takeover SILENT_HOLDER R3 detach:a1"
    )


def test_interfaces_of_the_other_way_to_carry_are_refused() -> None:
    """Half of the agents would move what the others detach."""
    decision = fallen(Observer()).see(10.1, "ec2:a1@i-a probe:L", mixed="eni-9")
    assert shown(decision) == "refused MIXED R1"


def test_a_free_eni_is_left_to_the_node_that_an_order_names() -> None:
    """For ten seconds: should that node not take it after all, it is claimed as any other."""
    free = replace(eni(), tags={"floatingip": "cluster", "floatingip/to": f"a1>i-b@{WALL + 120}"})
    other, named = Observer(me="i-a"), Observer(me="i-b")
    decision = other.see(0.0, owner=Owner(0.0, free))
    assert (shown(decision), decision.detail) == ("claiming FREE_BUT_LATER R5", "i-b")
    assert named.see(0.0, owner=Owner(0.0, free)).write == Attach(ENI)
    assert other.see(10.1, owner=Owner(10.1, free)).write == Attach(ENI)
