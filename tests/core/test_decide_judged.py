"""R2, R3, R4 and R6: what convicts a holder that has ended, fell silent, or does not answer, and what does not; and
whose an ENI is that has no tags yet.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from floatingip.core.decision.decision import Reason
from floatingip.core.ec2 import Attachment, AttachmentStatus, Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.peer import Word, WordState
from floatingip.core.timing import LOOK_IN_PEACE
from tests.core.deciders import ENI, WALL, Observer, eni, shown
from tests.core.scenes import replay, scenes

ATTACHED = AttachmentStatus.ATTACHED


# Whose ENI it is: EC2 may show a new one before its tags.


def test_a_new_eni_without_tags_in_the_place_of_another_one_may_be_ours() -> None:
    """Somebody deleted the one that had the address, and another observer made this one between two looks."""
    observer = Observer()
    observer.see(0.0, observer.began_by)
    new = replace(eni(Attachment("a2", "i-c", 1, ATTACHED, WALL + 58.0)), id="eni-2", tags={})
    assert shown(observer.see(60.0, owner=Owner(60.0, new))) == "claiming UNTAGGED R1"
    assert shown(observer.see(69.9, owner=Owner(69.9, new))) == "claiming UNTAGGED R1"
    assert shown(observer.see(70.1, owner=Owner(70.1, new))) == "refused NOT_OURS R1"


@pytest.mark.parametrize(
    ("eni_id", "age"), [(ENI, 1.0), ("eni-2", 11.0)], ids=["its tags were taken off", "an old one"]
)
def test_an_eni_without_tags_that_cannot_be_new_is_not_ours(eni_id: str, age: float) -> None:
    """At once: what was there before has had its tags shown."""
    observer = Observer()
    observer.see(0.0, observer.began_by)
    bare = replace(eni(Attachment("a1", "i-c", 1, ATTACHED, WALL + 60.0 - age)), id=eni_id, tags={})
    assert observer.see(60.0, owner=Owner(60.0, bare)).reason is Reason.NOT_OURS


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


test_an_instance_that_ended = scenes(
    """
    an instance that ends is confirmed at once, while the address still answers, whatever its observer says
        0.0   ec2:a1@i-a word:sound probe:AA
        30.0  ec2:a1@i-a/attached/stopping             -> ; look-by 31.0

    one answer that the instance ended counts with one lost probe: two witnesses of different kinds
        0.0  ec2:a1@i-a word:sound probe:AA            -> standby ANSWERS R10
        1.0  probe:L                                   -> doubt PROBE_LOST R3
        1.1  ec2:a1@i-a/attached/shutting-down         -> takeover INSTANCE_ENDED R2 detach:a1

    a wrong answer that is taken back counts no more: EC2 once reported running instances as not running
        0.0  ec2:a1@i-a word:sound probe:AA            -> standby ANSWERS R10
        1.0  ec2:a1@i-a/attached/stopped               -> standby ANSWERS R10
        2.0  ec2:a1@i-a/attached/running               -> standby ANSWERS R10
        3.0  ec2:a1@i-a/attached/stopped               -> standby ANSWERS R10
        4.0  ec2:a1@i-a/attached/running probe:L       -> doubt PROBE_LOST R3

    a running or pending instance is no reason to move, however often EC2 says so
        0.0         ec2:a1@i-a word:sound probe:AA
        1.0..4.0/1  ec2:a1@i-a/attached/pending        -> no write

    a dead instance is fenced while attaching too: it may end in the very second in which it claims
        0.0  ec2:a1@i-a/attaching/shutting-down        -> standby SETTLING R6
        1.0  ec2:a1@i-a/attaching/terminated           -> takeover INSTANCE_ENDED R2 detach:a1

    the death of one holder says nothing of the next: the count belongs to the attachment
        0.0  ec2:a1@i-a/attached/shutting-down word:sound probe:AA   -> standby ANSWERS R10
        1.0  ec2:a2@i-c/attached/running word:sound probe:AA         -> standby ANSWERS R10
        2.0  ec2:a2@i-c/attached/stopped                             -> standby ANSWERS R10

    an answer counts once, though the loop judges the same view several times a second
        0.0           ec2:a1@i-a/attached/stopped probe:AA word:sound
        0.1..1.9/0.1                                   -> no write

    an instance that ended is never rationed: EC2's word is no misconfiguration of ours
        0.0  ec2:a1@i-a/attached/stopped tag:R4@0/x0,R4@0/x1,R4@0/x2,R4@0/x3
        1.0  ec2:a1@i-a/attached/stopped tag:R4@0/x0,R4@0/x1,R4@0/x2,R4@0/x3 -> takeover INSTANCE_ENDED R2 detach:a1
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
        18.0  link:sound                                   -> holder HELD_HERE R10 tag:R3@18/a1
        """,
        Observer(began=began),
    )


@pytest.mark.parametrize("word", ["word:unasked", "word:other", "word:sound", "word:unsound"])
def test_no_holder_is_convicted_by_r3_that_was_not_found_silent(word: str) -> None:
    """Not yet asked is no silence."""
    replay(f"10.1  {word} ec2:a1@i-a/attached/running probe:L  -> no write; state doubt", Observer().fall(word))


test_a_silent_holder = scenes(
    """
    one lost probe does not start a failover: it asks EC2, at once
        0.0   ec2:a1@i-a word:silent probe:AA
        10.0  probe:L                              -> doubt PROBE_LOST R3; look-by 10.0
        10.2  ec2:a1@i-a/attached/running probe:A  -> standby ANSWERS R10

    silence alone moves nothing while the address answers: an observer may be restarted at any time
        0.0     ec2:a1@i-a word:sound probe:AA       -> standby ANSWERS R10
        10.0    word:silent                          -> standby ANSWERS R10
        9999.0  ec2:a1@i-a/attached/running probe:A  -> standby ANSWERS R10

    what was seen of an earlier attachment convicts nobody: the new holder gets its own time
        fallen
        10.1  ec2:a2@i-c word:silent               -> standby SETTLING R6

    a takeover detaches only the attachment that was judged: its id is the fencing token, which EC2 compares
        fallen
        10.1  ec2:a1@i-a probe:L                   -> takeover SILENT_HOLDER R3 detach:a1; judged a1

    a stale attachment id never evicts a newer holder: after the detach was refused, the other claimer is left alone
        fallen
        10.1  ec2:a1@i-a probe:L                   -> detach:a1
        10.3  ec2:a2@i-c/attaching                 -> standby SETTLING R6; judged a2

    a leaving node judges the dead all the same: it is better than nobody
        fallen
        10.1  ec2:a1@i-a probe:L leaving=drained   -> takeover SILENT_HOLDER R3 detach:a1

    an address that answers again is not taken away, while the holder's word is late: it is not down any more
        fallen
        10.1  ec2:a1@i-a/attached/running probe:A  -> no write

    a node that cannot take the address does not evict its holder: that would leave nobody
        fallen
        10.1  ec2:a1@i-a probe:L full              -> doubt CANNOT_CLAIM R3; says no free ENI slot

    an attach that hangs on a silent node is judged after a minute: fence and claim
        0.0   ec2:a1@i-a/attaching word:silent probe:L
        59.0  ec2:a1@i-a/attaching                 -> no write
        60.5  ec2:a1@i-a/attaching                 -> takeover ATTACHING_TOO_LONG R3 detach:a1

    an attach that hangs on a node that is heard is left alone: EC2's tail is minutes, and the node waits for it itself
        0.0    ec2:a1@i-a/attaching word:other probe:L
        300.0  ec2:a1@i-a/attaching word:other     -> no write

    an attach that hangs on a node that calls itself unsound for that is ended by whoever could have the address
        0.0   ec2:a1@i-a/attaching word:other probe:L
        70.0  ec2:a1@i-a/attaching word:unsound probe:L
        73.5  ec2:a1@i-a/attaching word:unsound probe:L -> doubt HOLDER_UNSOUND R5 tag:R5@73/a1
    """
)


test_evidence_that_not_this_node_is_cut_off = scenes(
    """
    a standby does not take over when its own network is down: EC2 does not answer it either
        fallen
        30.0                        -> doubt NO_EVIDENCE R3; says EC2 has not answered since the doubt began

    a standby whose network comes back moves no healthy holder: the first answered probe comes before word and EC2
        fallen
        30.0  probe:LLLL            -> doubt NO_EVIDENCE R3
        30.1  probe:A               -> no write

    an answer of EC2 is evidence only with a probe lost after it: it may have hung through this node's own outage
        fallen
        30.0  probe:LLLL            -> doubt NO_EVIDENCE R3
        30.1  ec2:a1@i-a/attached/running  -> no write
        30.2  probe:L               -> takeover SILENT_HOLDER R3 detach:a1

    a standby that hears no other observer does not take over: there was one some seconds ago, so the fault may be here
        0.0  ec2:a1@i-a word:sound probe:AA peer:i-c
        5.0  probe:LLLLL word:silent
        5.1  ec2:a1@i-a probe:L  -> doubt NO_EVIDENCE R3; says no other observer has answered since the doubt began

    a standby that hears another observer takes over: heard within two seconds
        0.0  ec2:a1@i-a word:sound probe:AA
        5.0  probe:LLLLL word:silent peer:i-c
        6.9  ec2:a1@i-a probe:L     -> detach:a1

    the judged holder is no witness of this node's network: it is silent, so it would be the one that is missing
        0.0  ec2:a1@i-a word:sound probe:AA peer:i-a
        5.0  probe:LLLLL word:silent
        5.1  ec2:a1@i-a probe:L     -> detach:a1

    an address that another observer sees UP is not moved: one witness that it works is worth more
        fallen
        10.1  ec2:a1@i-a probe:L peer:i-c=a1  -> doubt NO_EVIDENCE R3; says i-c sees the address UP
        10.2  peer:i-c              -> detach:a1

    a peer that saw an earlier attachment UP is no witness: it just has not noticed yet
        fallen
        10.1  ec2:a1@i-a probe:L peer:i-c=a0  -> detach:a1
    """
)


def test_health_and_word_are_taken_as_they_are_given() -> None:
    """A view that was built by hand, without the helpers of `Observer`, is judged the same."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a")
    health = Health("a1", HealthState.DOWN, 5, first_lost_at=10.0, changed_at=11.25, ever_up=True)
    observer.see(10.6, owner=observer._owner(10.5, "a1@i-a", "", "cluster"))
    decision = observer.see(11.3, health=health, word=Word(WordState.SILENT, 10.6))
    assert shown(decision) == "takeover SILENT_HOLDER R3 detach:a1"


# R4: it does not answer here, but its holder is well.


test_a_holder_that_is_well = scenes(
    """
    a blocked probe never moves the address: ICMP is closed, but the holder serves, and sees us through the address
        fallen word:sound/seen
        11..3999/7  ec2:a1@i-a/attached/running probe:L word:sound/seen      -> standby PROBE_BLOCKED R4

    an address that answers TCP alone moves nothing though its observer stands still: its kernel refuses connections
        0.0      ec2:a1@i-a word:sound probe:AA
        1.0      ec2:a1@i-a probe:L word:sound                               -> no write
        1.2      probe:T word:sound                                          -> standby PING_BLOCKED R4
        2..99/1  ec2:a1@i-a/attached/running probe:TTTT word:silent          -> standby PING_BLOCKED R4
        100..199/1  ec2:a1@i-a/attached/running probe:TTTT word:sound        -> standby PING_BLOCKED R4
        201.0    probe:A                                                     -> standby ANSWERS R10

    a holder that answered TCP alone dies like any other: silent by both ways, it is dead
        0.0   ec2:a1@i-a word:sound probe:TT
        9.0   word:silent probe:LLLLL
        10.1  ec2:a1@i-a probe:L                                             -> takeover SILENT_HOLDER R3 detach:a1

    one answer is not enough to call a blocked address UP: what the holder said of it before still counts
        fallen word:sound/seen
        60.0  ec2:a1@i-a/attached/running probe:L word:sound/seen            -> standby PROBE_BLOCKED R4
        61.0  probe:A
        61.1  probe:L word:silent
        61.2  ec2:a1@i-a/attached/running probe:L peer:i-c                   -> doubt NOT_VOUCHED R4

    a sight that is lost after an hour is waited for as well: patience begins when the holder cannot see us
        fallen word:sound/seen
        3600.0  ec2:a1@i-a/attached/running probe:L word:sound/seen
        3601.0  ec2:a1@i-a/attached/running probe:L word:sound/unseen        -> no write
        3630.9  ec2:a1@i-a/attached/running probe:L                          -> no write
        3631.1  ec2:a1@i-a/attached/running probe:L                          -> HOLDER_WRONG

    nor does it begin anew with each question that is lost: where one in twenty is, it would never end
        fallen word:sound/seen
        60.0  ec2:a1@i-a/attached/running probe:L word:sound/unseen          -> no write
        70.0  word:silent                                                    -> no write
        71.9  probe:L                                                        -> no write
        71.95 ec2:a1@i-a/attached/running probe:L word:sound/unseen          -> no write
        89.9  ec2:a1@i-a/attached/running probe:L                            -> no write
        90.1  ec2:a1@i-a/attached/running probe:L                            -> HOLDER_WRONG

    a holder that cannot see this node either is relieved after patience: it is wrong, or the network between is broken
        fallen word:sound/unseen
        12.0  ec2:a1@i-a probe:L word:sound/unseen                           -> doubt NOT_VOUCHED R4
        39.9  ec2:a1@i-a word:sound/unseen                                   -> doubt NOT_VOUCHED R4
        40.1  ec2:a1@i-a word:sound/unseen                                   -> tag:R4@40/a1; reason HOLDER_WRONG

    where it came after two moves in vain it is missed if the tag tells that it has answered since it was seen to come
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  ec2:a2@i-c word:sound/unseen probe:LLLLL
        20.0  ec2:a3@i-a age:-12 reached:25 word:sound/unseen probe:LLLLL
        75.0  ec2:a3@i-a age:-12 reached:25 word:sound/unseen probe:L        -> tag:R4@75/a3; reason HOLDER_WRONG

    and not if that was before: who wrote it may have seen it elsewhere
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  ec2:a2@i-c word:sound/unseen probe:LLLLL
        20.0  ec2:a3@i-a age:-12 reached:15 word:sound/unseen probe:LLLLL
        75.0  ec2:a3@i-a age:-12 reached:15 word:sound/unseen probe:L        -> no write

    an answer within patience ends it: the next fall is waited for anew
        fallen word:sound/unseen
        35.0  ec2:a1@i-a probe:AA
        36.0  probe:LLLLL
        45.0  ec2:a1@i-a word:sound/unseen                                   -> doubt NOT_VOUCHED R4
    """
)


def test_a_blocked_probe_does_not_move_the_address_while_the_holder_checks_anew() -> None:
    """Every five seconds the holder has one answer without a sight, since its last check is old by then."""
    observer = Observer().fall("word:sound/seen")
    for now in range(11, 200):
        sight = "untried" if now % 5 == 0 else "seen"
        decision = observer.see(now, f"ec2:a1@i-a/attached/running probe:L word:sound/{sight}")
        assert decision.write is None, shown(decision)


# R3 and R6: it never answered.


test_a_holder_that_never_answered = scenes(
    """
    an address that never answered is given time to settle: a node that boots takes about a minute
        0.0   ec2:a1@i-a word:silent                               -> standby SETTLING R6
        5.0   ec2:a1@i-a/attached/running word:silent probe:LLLLL  -> standby SETTLING R6
        59.0  ec2:a1@i-a/attached/running word:silent probe:L      -> standby SETTLING R6
        60.1  ec2:a1@i-a/attached/running word:silent probe:L      -> doubt NEVER_ANSWERED R6 tag:R6@60/a1
        60.3  ec2:a1@i-a/attached/running tag:R6@60/a1             -> takeover NEVER_ANSWERED R6 detach:a1

    the time to settle begins when the silence does: who was heard a moment ago is not one that never came up
        0.0    ec2:a1@i-a word:sound probe:LLLLL
        100.0  ec2:a1@i-a word:silent probe:L                      -> no write
        159.0  ec2:a1@i-a probe:L                                  -> no write
        160.1  ec2:a1@i-a probe:L                                  -> NEVER_ANSWERED

    one that fell silent as it took the address from another one had time enough: it lived when it claimed it
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        10.0  word:silent probe:LLLLL peer:i-c
        13.9  ec2:a2@i-c word:silent                               -> standby SETTLING R6
        15.0  ec2:a2@i-c/attached/running probe:LLLLL              -> no write
        19.1  ec2:a2@i-c/attached/running probe:L                  -> takeover NEVER_ANSWERED R3 detach:a2

    nor does the ration hold that up, whatever it took the address for: it has died
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        10.0  word:sound probe:LLLLL peer:i-c
        13.9  ec2:a2@i-c tag:R4@13/a1 word:silent                  -> standby SETTLING R6
        15.0  ec2:a2@i-c/attached/running tag:R4@13/a1 probe:LLLLL  -> no write
        19.1  ec2:a2@i-c/attached/running tag:R4@13/a1 probe:L      -> takeover NEVER_ANSWERED R3 detach:a2

    and not one that was silent for longer before: if it took the address as it was cut off, it waited
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        10.0  word:silent probe:LLLLL peer:i-c
        14.1  ec2:a2@i-c word:silent                               -> standby SETTLING R6
        19.1  ec2:a2@i-c/attached/running probe:LLLLL              -> no write
        74.0  ec2:a2@i-c/attached/running probe:L                  -> no write
        74.2  ec2:a2@i-c/attached/running probe:L                  -> NEVER_ANSWERED

    whoever lost it to a node that it does not reach gives that its time: both are well, if only the path between is not
        0.0   ec2:a1@i-b link:sound peer:i-c
        10.0  peer:i-c
        11.9  ec2:a2@i-c link:none word:silent                     -> standby SETTLING R6
        17.1  ec2:a2@i-c/attached/running probe:LLLLL              -> no write
        71.8  ec2:a2@i-c/attached/running probe:L                  -> no write
        72.0  ec2:a2@i-c/attached/running probe:L                  -> NEVER_ANSWERED

    silence is no evidence while EC2 does not answer this node: probes that cannot even be sent are not lost ones
        0.0         ec2:a1@i-a word:silent
        1.0..119/1  word:silent probe:F                            -> no write
    """
)
