"""What an observer must know before it convicts: who else was asked, and when; and who was ever reached at all."""

from dataclasses import replace

import pytest

from floatingip.core.decision.decision import Decision, Reason
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.ec2 import Attachment, AttachmentStatus, Owner
from floatingip.core.timing import ALONE_FOR, CUT_OFF_FOR, UNREACHED_TOLD
from floatingip.core.writes import Detach, Tag
from tests.core.deciders import WALL, Observer, eni, instance, shown
from tests.core.scenes import scenes

HOUR = 3600.0


def fell(observer: Observer, words: str = "", since: str = "") -> Observer:
    """It saw i-a hold the address by a1 and answer, and what the words say; from 10.0 on probes are lost, the holder
    is silent, and so it is ``since``.
    """
    observer.see(0.0, f"ec2:a1@i-a word:sound probe:AA {words}")
    observer.see(9.0, words)
    observer.see(10.0, f"probe:LLLLL word:silent {since}")
    return observer


def lost(observer: Observer, now: float, words: str = "") -> Decision:
    """One more probe is lost, and EC2 has just answered."""
    return observer.see(now, f"ec2:a1@i-a/attached/running probe:L {words}")


# Another observer's answer counts from when it was asked.


test_who_else_was_asked_since_the_loss = scenes(
    f"""
    an observer that was asked before the loss says nothing of it: its answer may have been the last that came through
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.9   peer:i-c
        10.0  probe:LLLLL word:silent
        11.3  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3; says no other observer has answered since

    an observer that answers a question asked after the loss is evidence: the holder is dead, and not this node cut off
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent
        11.3  ec2:a1@i-a/attached/running probe:L peer:i-c  -> detach:a1

    who said, asked since the loss, that it sees the address, and fell silent, has told nothing against the holder
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        10.1  peer:i-c=a1 probe:L
        11.3  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3; says i-c sees the address UP
        12.2  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3; says no other observer has answered since
        {10.0 + ALONE_FOR + 0.1}  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    where all fell silent at once the holder is convicted in the end: it may have taken the others along
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent api:silent
        {10.0 + CUT_OFF_FOR + 0.1}  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    nor is the API server's answer enough where the only other one has ended since all fell silent
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent
        10.8  ec2:a1@i-a/attached/running probe:L peers=()  -> doubt NO_EVIDENCE R3
        {10.0 + ALONE_FOR + 0.1}  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    with two workers the API server's answer is evidence: it is asked at once when doubt begins
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        11.3  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    an answer of the API server from before the loss is none
        9.0   ec2:a1@i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent api:silent
        11.3  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3; says the API server has not answered since

    where nobody can be asked a longer span convicts, within the five seconds that a takeover may take longer
        0.0   ec2:a1@i-a word:sound probe:AA api:none
        10.0  probe:LLLLL word:silent
        {10.0 + ALONE_FOR - 0.1}  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3
        14.1  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    two workers that die at once are convicted by the API server's answer: this node is not cut off
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent
        11.3  ec2:a1@i-a/attached/running probe:L  -> doubt NO_EVIDENCE R3
        {10.0 + ALONE_FOR + 0.1}  ec2:a1@i-a/attached/running probe:L  -> detach:a1

    a silence lasts as long as the last lost probe shows: some are still under way when the group is open again
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent
        10.1..{10.0 + ALONE_FOR - 0.1}/0.1  ec2:a1@i-a/attached/running probe:L  -> no write
        {10.0 + ALONE_FOR + 0.05}  ec2:a1@i-a/attached/running                   -> no write
        {10.0 + ALONE_FOR + 0.1}   ec2:a1@i-a/attached/running probe:L           -> detach:a1
    """
)


@pytest.mark.parametrize("seconds", [8.0, CUT_OFF_FOR - 0.3])
def test_a_node_that_is_cut_off_for_eight_seconds_convicts_nobody(seconds: float) -> None:
    """With a third worker or with the API server alone: all fell silent at once."""
    for others in ("peer:i-c", ""):
        observer = fell(Observer(), others, since="api:silent")
        for tenth in range(1, int(seconds * 10)):
            decision = lost(observer, 10.1 + tenth / 10)
            assert decision.write is None, shown(decision)
        assert observer.see(10.1 + seconds, "probe:AA word:sound").write is None


# R3 and R6: what is known of an attachment that this observer never saw answer.


def young(age: float, *, reached: str, moves: str = "") -> Observer:
    """It has just begun, and EC2 shows an attachment that is so many seconds old."""
    observer = Observer()
    bound = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED, since_wall=WALL - age)
    observer.view = replace(observer.view, owner=Owner(0.0, eni(bound, reached=reached, moves=moves)))
    observer.see(0.0, "word:silent")
    return observer


def at(observer: Observer, now: float) -> Decision:
    """EC2 answers the same as before, and one more probe is lost."""
    owner = observer.view.owner
    assert owner is not None
    observer.view = replace(observer.view, owner=replace(owner, asked_at=now))
    return observer.see(now, "probe:L word:silent")


test_an_attachment_that_this_observer_never_saw_answer = scenes(
    f"""
    a holder that was dead before is convicted by one that has just begun: by the tag it has answered there
        0.0  ec2:a1@i-a age:3600 reached:-60 word:silent
        0.5  probe:LLLLL
        1.0  ec2:a1@i-a age:3600 reached:-60 probe:L             -> takeover SILENT_HOLDER R3 detach:a1

    so it is right after a move that is rationed
        0.0  ec2:a1@i-a age:30 reached:-20 tag:R4@-30/a0 word:silent
        0.5  probe:LLLLL
        1.0  ec2:a1@i-a age:30 reached:-20 tag:R4@-30/a0 probe:L  -> takeover SILENT_HOLDER R3 detach:a1

    one that had time enough to answer, by EC2's word, is convicted as well, but such a move is recorded first
        0.0  ec2:a1@i-a age:120 reached:-180 word:silent
        0.5  probe:LLLLL
        1.0  ec2:a1@i-a age:120 reached:-180 probe:L             -> tag:R6@1/a1; reason NEVER_ANSWERED
        2.0  ec2:a1@i-a age:120 reached:-180 probe:L tag:R6@1/a1  -> detach:a1

    one that is young is given its time: its node may be plumbing it, or booting
        0.0   ec2:a1@i-a age:3 reached:-60 word:silent
        0.5   probe:LLLLL
        30.0  ec2:a1@i-a age:3 reached:-60 probe:L               -> SETTLING
        58.0  ec2:a1@i-a age:3 reached:-60 probe:L               -> ; reason NEVER_ANSWERED

    a young one that has answered somebody since it came is not waited for: it was UP for another one, as the tag tells
        0.0  ec2:a1@i-a age:3 reached:-2 word:silent
        0.5  probe:LLLLL
        2.0  ec2:a1@i-a age:3 reached:-2 probe:L                 -> ; reason SILENT_HOLDER

    a young one that answered only before it came is waited for
        0.0  ec2:a1@i-a age:3 reached:-4 word:silent
        0.5  probe:LLLLL
        2.0  ec2:a1@i-a age:3 reached:-4 probe:L                 -> SETTLING

    a young one that answered only before the last move is waited for
        0.0  ec2:a1@i-a age:3 reached:-2 tag:R3@-1/a0 word:silent
        0.5  probe:LLLLL
        2.0  ec2:a1@i-a age:3 reached:-2 tag:R3@-1/a0 probe:L    -> SETTLING

    one lost probe convicts nobody that was not watched before: its network may have stood still for a moment
        0.0  ec2:a1@i-a age:3600 reached:-60 word:silent
        0.5  probe:L
        1.0  ec2:a1@i-a age:3600 reached:-60 probe:L             -> SETTLING

    one that another observer sees UP is not taken, though this one never saw it answer
        0.0  ec2:a1@i-a age:3600 reached:-60 word:silent
        0.5  probe:LLLLL
        0.9  peer:i-c=a1
        1.0  ec2:a1@i-a age:3600 reached:-60 probe:L             -> no write; says i-c sees the address UP

    where nobody was ever reached that is told, and one node is tried: the holder may be dead, or the group closed
        0.0   ec2:a1@i-a age:3600 reached:never word:silent
        0.5   probe:LLLLL
        {UNREACHED_TOLD + 1}  ec2:a1@i-a age:3600 reached:never probe:L  -> UNREACHED
        59.0  ec2:a1@i-a age:3600 reached:never probe:L  -> ; says does the security group admit ICMP and TCP 9807
        61.0  ec2:a1@i-a age:3600 reached:never probe:L          -> ; reason NEVER_ANSWERED

    a holder that nobody has reached since it took the address may have died while no other observer was there
        0.0     ec2:a1@i-a age:3600 reached:-600 tag:R3@-300/a0 word:silent
        0.5     probe:LLLLL
        58.0    ec2:a1@i-a age:3600 reached:-600 tag:R3@-300/a0 probe:L  -> UNREACHED
        61.0    ec2:a1@i-a age:3600 reached:-600 tag:R3@-300/a0 probe:L -> NEVER_ANSWERED
        61.5    ec2:a1@i-a age:3600 reached:-600 tag:R3@-300/a0,R6@61/a1 probe:L  -> detach:a1

    one that was relieved, as its node was drained, may have come back as the only one
        0.0     ec2:a1@i-a age:3600 reached:-600 tag:R5@-300/a0 word:silent
        0.5     probe:LLLLL
        61.0    ec2:a1@i-a age:3600 reached:-600 tag:R5@-300/a0 probe:L  -> ; reason NEVER_ANSWERED

    that is tried once: where nobody was reached since either, another move would be as vain
        0.0     ec2:a1@i-a age:3600 reached:-600 tag:R3@-500/a8,R6@-300/a0 word:silent
        0.5     probe:LLLLL
        70.0    ec2:a1@i-a age:3600 reached:-600 tag:R3@-500/a8,R6@-300/a0 probe:L  -> UNREACHED
        3600    ec2:a1@i-a age:3600 reached:-600 tag:R3@-500/a8,R6@-300/a0 probe:L  -> UNREACHED
        86400   ec2:a1@i-a age:3600 reached:-600 tag:R3@-500/a8,R6@-300/a0 probe:L  -> UNREACHED

    a try from before somebody was reached does not count
        0.0     ec2:a1@i-a age:3600 reached:-400 tag:R6@-500/a8,R3@-300/a0 word:silent
        0.5     probe:LLLLL
        70.0    ec2:a1@i-a age:3600 reached:-400 tag:R6@-500/a8,R3@-300/a0 probe:L  -> ; reason NEVER_ANSWERED

    a closed group moves the address once: its new holder never answers either, and that is the end of it
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  probe:LLLLL word:silent
        20.0  ec2:a2@i-c tag:R3@20/a1 word:silent probe:LLLLL
        90..300/210  ec2:a2@i-c tag:R3@20/a1 reached:0 probe:L word:silent      -> UNREACHED
        3600  ec2:a2@i-c tag:R3@20/a1 reached:0 probe:L word:silent  -> UNREACHED

    a move recorded by a fast clock is not later than it was seen: its holder was heard after that, and then died
        0.0   ec2:a1@i-a word:sound probe:AA peer:i-c
        9.0   peer:i-c
        10.0  probe:LLLLL word:silent
        20.0  ec2:a2@i-c tag:R3@620/a1 word:silent probe:LLLLL
        22.0  peer:i-c api:silent
        90.0  ec2:a2@i-c tag:R3@620/a1 reached:0 probe:L word:silent     -> ; reason NEVER_ANSWERED
    """
)


def test_a_young_attachment_whose_observer_was_heard_and_fell_silent_is_not_waited_for() -> None:
    """The node came up, and died before the address answered."""
    observer = young(age=3.0, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL peer:i-a")
    assert at(observer, 5.0).reason is Reason.NEVER_ANSWERED
    observer.see(5.1, word=replace(observer.view.word, refused=True))
    assert observer.see(5.2, "probe:L").reason is Reason.SETTLING, "its node refuses, so it is alive"


# Nobody was ever reached: a security group that is closed looks like that, and a move does not open it.


@pytest.mark.parametrize("port", [9807, 19807])
def test_what_was_not_reached_is_named_with_where_it_was_tried(port: int) -> None:
    """The address, the instance and its port, and what EC2 says of it: all that somebody needs who looks into it."""
    observer = young(age=HOUR, reached="")
    observer.settings = replace(observer.settings, port=port)
    observer.see(0.5, "probe:LLLLL")
    assert observer.view.owner is not None
    owner = replace(observer.view.owner, instances={"i-a": instance("i-a")})
    observer.view = replace(observer.view, owner=owner)
    assert at(observer, UNREACHED_TOLD + 1).sentence == (
        f"nobody was reached: neither 10.0.0.100 nor i-a (10.0.0.10:{port}) ever answered, though EC2 says it is"
        f" running: does the security group admit ICMP and TCP {port} among the workers?"
    )


def test_that_workers_reach_each_other_is_remembered_for_those_that_begin() -> None:
    """In a tag: once, and again after the next move, but not while that may have been made a moment ago."""
    observer = Observer()
    bound = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
    for now, moves, reached, told in (
        (0.0, "", "", False),
        (40.0, "", "", True),
        (80.0, "", str(WALL + 40), False),
        (120.0, f"R3@{WALL + 100}/a0", str(WALL + 40), False),
        (160.0, f"R3@{WALL + 100}/a0", str(WALL + 40), True),
        (200.0, f"R3@{WALL + 100}/a0", str(WALL + 160), False),
    ):
        observer.view = replace(observer.view, owner=Owner(now, eni(bound, moves=moves, reached=reached)))
        write = observer.see(now, "word:sound probe:AA").write
        assert (isinstance(write, Tag) and write.key == REACHED_TAG) == told, now


def test_a_clock_that_is_behind_writes_no_tag_that_is_of_before() -> None:
    """It would be written again and again."""
    observer = Observer()
    bound = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED, since_wall=WALL + 100.5)
    observer.view = replace(observer.view, owner=Owner(0.0, eni(bound, reached="")))
    observer.see(0.0, "word:sound probe:AA")
    observer.view = replace(observer.view, owner=Owner(40.0, eni(bound, reached="")))
    write = observer.see(40.0, "word:sound probe:AA").write
    assert isinstance(write, Tag)
    assert float(write.value) > WALL + 100.5


# No verdict, and no leave of the ration, is read from an answer that is older than a second.


@pytest.mark.parametrize(
    ("seen", "rule"),
    [("word:unsound probe:A", "R5"), ("word:leaving probe:A", "R5"), ("word:silent probe:LLLLL", "R3")],
)
def test_no_verdict_rests_on_an_old_answer(seen: str, rule: str) -> None:
    """EC2 was asked a minute ago, in peace: it is asked anew, and what it says then counts."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(50.0, seen)
    decision = observer.see(57.0, seen.replace("LLLLL", "L"))
    assert decision.write is None
    assert decision.look_at <= 57.0
    assert observer.see(57.1, "ec2:a2@i-c/attaching").write is None
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a word:sound probe:AA")
    observer.see(50.0, seen)
    decision = observer.see(57.1, f"ec2:a1@i-a {seen.replace('LLLLL', 'L')}")
    assert (decision.rule, decision.write is not None) == (rule, True)


test_how_old_an_answer_may_be = scenes(
    """
    an attachment that is being made is looked at again and again: what is judged of it is that it takes too long
        0.0   ec2:a1@i-a/attaching word:silent  -> ; look-by 1.0

    a ration that says wait is believed though it is old: records only grow
        0.0   ec2:a1@i-a tag:R5@-5/a0 word:sound probe:AA
        10.0  word:unsound
        20.0  word:unsound                      -> RATIONED
    """
)


@pytest.mark.parametrize("who", ["peer:i-c", "api:ready"])
def test_an_answer_that_comes_with_the_end_of_a_partition_is_no_evidence_before_the_next_probe(who: str) -> None:
    """It answers a question asked since the first loss; but the next probe may be answered, too."""
    observer = fell(Observer(), "peer:i-c" if who.startswith("peer") else "", since="api:silent")
    for tenth in range(1, 13):
        assert lost(observer, 10.1 + tenth / 10).write is None
    decision = observer.see(11.35, f"ec2:a1@i-a/attached/running {who}")
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "no probe was lost since" in decision.sentence
    assert lost(observer, 11.45, who).write == Detach("a1")
