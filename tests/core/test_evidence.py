"""What an observer must know before it convicts: who else was asked, and when; and who was ever reached at all."""

from dataclasses import replace

import pytest

from floatingip.core.decision.decision import Decision, Reason
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.ec2 import Attachment, AttachmentStatus, Owner
from floatingip.core.timing import ALONE_FOR, CUT_OFF_FOR, UNREACHED_TOLD
from floatingip.core.writes import Detach, Tag
from tests.core.deciders import WALL, Observer, eni, instance, peer, shown

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


def test_an_observer_that_was_asked_before_the_loss_says_nothing_of_it() -> None:
    """Its answer may have been the last thing that came through: this node may be cut off since."""
    observer = fell(Observer(), "peer:i-c")
    observer.view = replace(observer.view, peers=(peer("i-c", 9.9),))
    decision = lost(observer, 11.3)
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "no other observer has answered since the doubt began" in decision.sentence


def test_an_observer_that_answers_a_question_asked_after_the_loss_is_evidence() -> None:
    """Then the holder is dead, and not this node cut off."""
    assert lost(fell(Observer(), "peer:i-c"), 11.3, "peer:i-c").write == Detach("a1")


@pytest.mark.parametrize("seconds", [8.0, CUT_OFF_FOR - 0.3])
def test_a_node_that_is_cut_off_for_eight_seconds_convicts_nobody(seconds: float) -> None:
    """With a third worker or with the API server alone: all fell silent at once."""
    for others in ("peer:i-c", ""):
        observer = fell(Observer(), others, since="api:silent")
        for tenth in range(1, int(seconds * 10)):
            decision = lost(observer, 10.1 + tenth / 10)
            assert decision.write is None, shown(decision)
        assert observer.see(10.1 + seconds, "probe:AA word:sound").write is None


def test_where_all_fell_silent_at_once_the_holder_is_convicted_in_the_end() -> None:
    """It may have taken the others along."""
    observer = fell(Observer(), "peer:i-c", since="api:silent")
    assert lost(observer, 10.0 + CUT_OFF_FOR + 0.1).write == Detach("a1")


def test_a_silence_lasts_as_long_as_the_last_lost_probe_shows() -> None:
    """The API server answers all the time; when the group is open again, probes that are under way are still lost."""
    observer = fell(Observer(), "peer:i-c")
    for tenth in range(1, int(ALONE_FOR * 10)):
        assert lost(observer, 10.0 + tenth / 10).write is None
    assert observer.see(10.0 + ALONE_FOR + 0.05, "ec2:a1@i-a/attached/running").write is None
    assert lost(observer, 10.0 + ALONE_FOR + 0.1).write == Detach("a1")


# With two workers the API server is asked, from within the VPC.


def test_the_api_servers_answer_is_evidence_where_there_is_no_other_observer() -> None:
    """It is asked at once when doubt begins."""
    assert lost(fell(Observer()), 11.3).write == Detach("a1")


def test_an_answer_of_the_api_server_from_before_the_loss_is_none() -> None:
    """It, too, must have been asked since."""
    observer = fell(Observer(), since="api:silent")
    decision = lost(observer, 11.3)
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert "the API server has not answered since the doubt began" in decision.sentence


def test_where_nobody_can_be_asked_a_longer_span_convicts() -> None:
    """Two workers, and no API server that the pod knows of: within the five seconds that a takeover may take longer."""
    observer = fell(Observer(api="none"))
    decision = lost(observer, 10.0 + ALONE_FOR - 0.1)
    assert shown(decision) == "doubt NO_EVIDENCE R3"
    assert lost(observer, 10.0 + ALONE_FOR + 0.1).write == Detach("a1")
    assert ALONE_FOR <= 5.0


def test_two_workers_that_die_at_once_are_convicted_by_the_api_servers_answer() -> None:
    """The other observer is silent, too, but this node is not cut off."""
    observer = fell(Observer(), "peer:i-c")
    assert shown(lost(observer, 11.3)) == "doubt NO_EVIDENCE R3"
    assert lost(observer, 10.0 + ALONE_FOR + 0.1).write == Detach("a1")


# R6: what is known of an attachment that this observer never saw answer.


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


def test_an_observer_that_has_just_begun_convicts_a_holder_that_was_dead_before() -> None:
    """The attachment is old enough to have answered: it need not settle anew for each observer that is restarted."""
    observer = young(age=HOUR, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL")
    decision = at(observer, 1.0)
    assert decision.reason is Reason.NEVER_ANSWERED
    assert isinstance(decision.write, Tag)


def test_a_move_is_made_once_it_is_recorded() -> None:
    """Its own record is not one of a move since which nobody was reached."""
    observer = young(age=HOUR, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL")
    record = at(observer, 1.0).write
    assert isinstance(record, Tag)
    owner = observer.view.owner
    assert owner is not None
    assert owner.eni is not None
    tagged = replace(owner.eni, tags={**owner.eni.tags, record.key: record.value})
    observer.view = replace(observer.view, owner=replace(owner, eni=tagged))
    assert at(observer, 2.0).write == Detach("a1")


def test_an_attachment_that_is_young_is_given_its_time() -> None:
    """Its node may be plumbing it, or booting."""
    observer = young(age=3.0, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL")
    assert at(observer, 30.0).reason is Reason.SETTLING
    assert at(observer, 58.0).reason is Reason.NEVER_ANSWERED


@pytest.mark.parametrize(
    ("reached", "moves", "convicts"),
    [(-2, "", True), (-4, "", False), (-2, f"R3@{WALL - 1}/a0", False)],
    ids=["since it came", "before it came", "before the last move"],
)
def test_a_young_attachment_that_has_answered_somebody_is_not_waited_for(
    reached: int, moves: str, convicts: bool
) -> None:
    """It was UP for another observer, or for this one before it was restarted: the tag tells."""
    observer = young(age=3.0, reached=str(WALL + reached), moves=moves)
    observer.see(0.5, "probe:LLLLL")
    assert (at(observer, 2.0).reason is Reason.NEVER_ANSWERED) == convicts


def test_one_lost_probe_convicts_nobody_that_an_observer_has_just_begun_to_watch() -> None:
    """However long the attachment has had: its network may have stood still for a moment."""
    observer = young(age=HOUR, reached=str(WALL - 60))
    observer.see(0.5, "probe:L")
    assert at(observer, 1.0).reason is Reason.SETTLING


def test_a_young_attachment_whose_observer_was_heard_and_fell_silent_is_not_waited_for() -> None:
    """The node came up, and died before the address answered."""
    observer = young(age=3.0, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL peer:i-a")
    assert at(observer, 5.0).reason is Reason.NEVER_ANSWERED
    observer.see(5.1, word=replace(observer.view.word, refused=True))
    assert observer.see(5.2, "probe:L").reason is Reason.SETTLING, "its node refuses, so it is alive"


def test_an_observer_that_another_one_tells_of_an_address_up_does_not_take_it() -> None:
    """It may never have seen it answer itself."""
    observer = young(age=HOUR, reached=str(WALL - 60))
    observer.see(0.5, "probe:LLLLL")
    observer.view = replace(observer.view, peers=(peer("i-c", 0.9, ("a1",)),))
    decision = at(observer, 1.0)
    assert "i-c sees the address UP" in decision.sentence


# Nobody was ever reached: a security group that is closed looks like that, and a move does not open it.


def test_where_nobody_was_ever_reached_that_is_told_and_one_node_is_tried() -> None:
    """After the time to settle; the holder may be dead, or the security group closed."""
    observer = young(age=HOUR, reached="")
    observer.see(0.5, "probe:LLLLL")
    assert at(observer, UNREACHED_TOLD + 1).reason is Reason.UNREACHED
    assert "does the security group admit ICMP and TCP 9807" in at(observer, 59.0).sentence
    assert at(observer, 61.0).reason is Reason.NEVER_ANSWERED


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


def test_a_move_after_which_nobody_was_reached_is_not_repeated() -> None:
    """Whatever its rule: another one would be as vain."""
    for rule in ("R3", "R6"):
        observer = young(age=HOUR, reached=str(WALL - 600), moves=f"{rule}@{WALL - 300}/a0")
        observer.see(0.5, "probe:LLLLL")
        for now in (70.0, HOUR, 24 * HOUR):
            assert at(observer, now).reason is Reason.UNREACHED


def test_a_closed_group_moves_the_address_once() -> None:
    """The address fell, so it is moved; its new holder never answers either, and that is the end of it."""
    observer, moved = fell(Observer()), f"R3@{WALL + 20}/a1"
    observer.see(20.0, f"ec2:a2@i-c tag:{moved} word:silent probe:LLLLL")
    bound = Attachment("a2", "i-c", 1, AttachmentStatus.ATTACHED)
    observer.view = replace(observer.view, owner=Owner(20.1, eni(bound, moves=moved, reached=str(WALL))))
    for now in (90.0, 300.0, HOUR):
        assert at(observer, now).reason is Reason.UNREACHED


def test_a_move_recorded_by_a_fast_clock_is_not_later_than_it_was_seen() -> None:
    """Its holder was heard after that, and then died: the next one need not wait until that clock is right."""
    observer, moved = fell(Observer(), "peer:i-c"), f"R3@{WALL + 620}/a1"
    observer.see(20.0, f"ec2:a2@i-c tag:{moved} word:silent probe:LLLLL")
    observer.see(22.0, "peer:i-c api:silent")
    bound = Attachment("a2", "i-c", 1, AttachmentStatus.ATTACHED)
    observer.view = replace(observer.view, owner=Owner(22.1, eni(bound, moves=moved, reached=str(WALL))))
    assert at(observer, 90.0).reason is Reason.NEVER_ANSWERED


def test_that_workers_reach_each_other_is_remembered_for_those_that_begin() -> None:
    """In a tag: once, and again after the next move."""
    observer = Observer()
    bound = Attachment("a1", "i-a", 1, AttachmentStatus.ATTACHED)
    for now, moves, reached, told in (
        (0.0, "", "", False),
        (40.0, "", "", True),
        (80.0, "", str(WALL + 40), False),
        (120.0, f"R3@{WALL + 100}/a0", str(WALL + 40), True),
        (160.0, f"R3@{WALL + 100}/a0", str(WALL + 120), False),
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
    [
        ("word:unsound probe:A", "R5"),
        ("word:leaving probe:A", "R5"),
        ("word:silent probe:LLLLL", "R3"),
    ],
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


def test_an_attachment_that_is_being_made_is_looked_at_again_and_again() -> None:
    """Not after a minute: what is judged of it is that it takes too long."""
    decision = Observer().see(0.0, "ec2:a1@i-a/attaching word:silent")
    assert decision.look_at <= 1.0


def test_a_ration_that_says_wait_is_believed_though_it_is_old() -> None:
    """Records only grow: EC2 is not asked each second for an hour to hear it again."""
    observer = Observer()
    observer.see(0.0, f"ec2:a1@i-a tag:R5@{WALL - 5}/a0 word:sound probe:AA")
    observer.see(10.0, "word:unsound")
    decision = observer.see(20.0, "word:unsound")
    assert decision.reason is Reason.RATIONED


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
