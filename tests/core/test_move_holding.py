"""The address moves between standing ENIs: A3, who has it and for how long (R10), planned moves, and their ration."""

from dataclasses import replace

from floatingip.core import timing
from floatingip.core.decision.decision import Reason, State
from floatingip.core.decision.ration import TAG
from floatingip.core.ec2 import Owner
from floatingip.core.health import Health, HealthState
from floatingip.core.pace import SLOWEST
from floatingip.core.peer import Peer
from floatingip.core.plumbing import Extent
from floatingip.core.timing import CLAIM_SHOWN
from floatingip.core.writes import Tag
from tests.core.deciders import ADDRESS, WALL, peer, shown
from tests.core.movers import Mover, standing
from tests.core.scenes import replay, scenes

HERE = f"at-a/{ADDRESS}"
"""What an observer calls what it sees UP while i-a has the address."""


test_who_has_it_and_how_much_is_plumbed = scenes(
    f"""
    a new owner is not judged for five seconds: the neighbours, and EC2 itself, may still be on the way to it
        0.0   ec2:i-a word:sound probe:AA link:ahead
        10.0  ec2:i-c
        10.5  probe:AA word:sound
        11.0  probe:LLLLL word:silent  -> doubt NOT_VOUCHED R4
        11.2  ec2:i-c probe:L          -> doubt NOT_VOUCHED R4
        14.9  ec2:i-c probe:L          -> doubt NOT_VOUCHED R4
        15.1  ec2:i-c probe:L          -> takeover SILENT_HOLDER R3 move:eni-b

    a new owner whose instance ended is relieved at once: EC2 itself says so
        0.0   ec2:i-a word:sound probe:AA link:ahead
        10.0  ec2:i-c
        10.5  probe:AA word:sound
        11.0  ec2:i-c//terminated
        11.2  ec2:i-c//terminated      -> takeover INSTANCE_ENDED R2 move:eni-b

    a new owner that asks for it is relieved at once: it is leaving, too
        0.0   ec2:i-a word:sound probe:AA link:ahead
        10.0  ec2:i-c
        10.5  probe:AA word:sound
        11.0  ec2:i-c word:leaving     -> takeover HOLDER_LEAVING R5 move:eni-b

    whoever has the address when an observer begins may have had it for long: a restart makes nobody wait
        0.0  ec2:i-a word:sound probe:AA
        1.0  probe:LLLLL word:silent
        1.1  ec2:i-a probe:L           -> takeover SILENT_HOLDER R3 move:eni-b

    a standby is plumbed ahead of the address once it is sure: until a second answer all stays as it is found
        0.0  ec2:i-a                   -> ; carries AS_FOUND
        1.9  ec2:i-a                   -> ; carries AS_FOUND
        2.0  ec2:i-a                   -> ; carries AHEAD

    nothing is taken off before EC2 has answered: a restart during an outage of EC2 drops nothing
        0.0                            -> ; carries AS_LEFT

    but where the address is found on a link of ours, that is mended
        0.0  link:sound                -> ; carries AS_FOUND

    what IMDS shows is plumbed before EC2 has answered
        0.0  shown_by_imds=True        -> ; carries ALL

    what IMDS lost is not plumbed before EC2 has answered
        0.0  shown_by_imds=False lost_until_asked_at=0.0  -> ; carries AHEAD

    the new holder is plumbed as soon as EC2 accepted its claim: the data path is often there before the Describe
        fallen
        9.0    ec2:i-a
        10.1   ec2:i-a probe:L
        10.15  probe:L                 -> ; carries ALL
        10.4   ec2:i-a probe:L         -> ; carries ALL
        11.4   ec2:i-b                 -> ; carries ALL

    a claim that is never shown is not plumbed for long: EC2 accepted it, but somebody overtook it
        fallen
        10.1                        ec2:i-a probe:L
        {10.1 + CLAIM_SHOWN + 0.1}  ec2:i-a probe:L  -> ; carries AHEAD

    a claim that EC2 accepted outlasts its silence: what it said before, or so soon after, may show the old holder
        fallen
        10.1                        ec2:i-a probe:L
        10.4                        ec2:i-a probe:L  -> ; carries ALL
        {10.1 + CLAIM_SHOWN + 0.1}  probe:L          -> ; carries AS_FOUND

    a claim of a moment ago does not bring back what IMDS has shown since, and then no more: somebody unseen has it
        fallen
        10.1   ec2:i-a probe:L
        10.2   ec2:i-b link:sound carried_since=10.2 shown_by_imds=True
        13.3   ec2:absent shown_by_imds=False   -> ; carries ALL
        13.4   ec2:absent lost_until_asked_at=13.3  -> claiming FREE R1 assign:eni-b; carries AHEAD

    a rival that is shown ends a claim at once
        fallen
        10.1  ec2:i-a probe:L
        10.2  probe:L                  -> ; carries ALL
        10.4  ec2:i-c                  -> ; carries AHEAD

    the holder carries all of it, whatever EC2 says later of anything else
        0.0   ec2:i-b link:sound       -> ; carries ALL
        60.0  ec2:i-b link:sound       -> ; carries ALL

    a holder that IMDS says lost the address drops it without EC2; of newer answers of EC2's two count more
        0.0   ec2:i-b link:sound shown_by_imds=True
        60.0  shown_by_imds=False      -> ; carries ALL
        62.0  lost_until_asked_at=62.0     -> standby LOST R10; carries AHEAD; look 62.0
        62.5  ec2:i-b link:ahead       -> ; carries AHEAD
        64.5  ec2:i-b                  -> ; carries ALL

    one late answer does not bring back what was dropped: a second one, asked later, would be no late one any more
        0.0   ec2:i-b link:sound carried_since=-60.0
        10.0  ec2:i-c
        12.0  ec2:i-c                  -> ; carries AHEAD
        12.3  ec2:i-b link:ahead carried_since=None  -> ; carries AHEAD; reason PLUMBING; look 13.3
        13.3  ec2:i-c                  -> ; carries AS_FOUND
        20.0  ec2:i-b                  -> ; carries AHEAD
        22.0  ec2:i-b                  -> ; carries ALL

    an answer from before the drop is none of the two: EC2 called it this node's all along, and IMDS lacked it
        0.0   ec2:i-b link:sound
        60.0  ec2:i-b link:sound
        62.0  lost_until_asked_at=62.0
        63.0  ec2:i-b link:ahead       -> ; carries AHEAD
        65.0  ec2:i-b                  -> ; carries ALL

    what was dropped comes back at once by an own claim: the next holder died, and EC2 accepted the claim
        0.0   ec2:i-b link:sound carried_since=-60.0
        10.0  ec2:i-c
        12.0  ec2:i-c                  -> ; carries AHEAD
        13.0  ec2:i-c word:sound probe:AA link:ahead carried_since=None
        29.0  probe:LLLLL word:silent
        30.1  ec2:i-c probe:L          -> move:eni-b
        30.2  probe:L                  -> ; carries ALL
        31.5  ec2:i-b link:sound carried_since=30.3
        50.0                           -> ; carries ALL

    what is configured here is asked about until a newer answer calls it ours: in between it may have gone
        0.0   ec2:i-b link:sound carried_since=0.1  -> claiming CONFIRMING R10; look 0.25; carries ALL
        0.25  ec2:i-b                  -> HELD_HERE; look 60.25

    what this node has just claimed is told at once: EC2 shows it as this node's before it is on the link
        fallen
        10.1  ec2:i-a probe:L
        11.4  ec2:i-b link:sound carried_since=11.5  -> HELD_HERE

    a holder whose address IMDS never showed goes on asking EC2: less and less often, but never only after a minute
        0.0    ec2:i-b link:sound carried_since=-1.0 shown_by_imds=False
        1.0    ec2:i-b                 -> ; look-by {1.0 + SLOWEST}
        60.0   ec2:i-b                 -> ; look-by {60.0 + SLOWEST}
        120.0  ec2:i-b                 -> ; look-by {120.0 + SLOWEST}

    a holder that IMDS lacks looks at EC2 soon, not only after a minute
        0.0   ec2:i-b link:sound shown_by_imds=True
        60.0  ec2:i-b shown_by_imds=False  -> ; look-by 61.0

    a holder that EC2 says lost the address drops it after two answers: then it is as ready as any other standby
        0.0   ec2:i-b link:sound
        10.0  ec2:i-c                  -> ; carries AS_FOUND; look 12.0
        12.0  ec2:i-c                  -> ; carries AHEAD

    a leaving node relieves nobody: two nodes of the same drain would hand the address to and fro
        0.0   ec2:i-a word:sound probe:AA
        30.0  ec2:i-a word:leaving leaving=drained  -> no write

    without the address the plumbing is no holding: who is ready ahead of it is no holder when EC2 gives it the address
        0.0  ec2:i-b link:ahead        -> claiming PLUMBING A3
        0.1  link:sound                -> holder HELD_HERE R10
    """,
    Mover,
)


# R5, R7: planned moves.


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
    mover = Mover().fall("word:sound")
    mover.see(10.2, "ec2:i-a probe:L word:sound")
    decision = mover.see(41.0, "ec2:i-a probe:L word:sound")
    record = f"R4@{WALL + 41}/at-a"
    assert decision.write == Tag("eni-b", f"{TAG}/{ADDRESS}", record)
    taking = mover.see(42.1, "ec2:i-a probe:L word:sound", records={"eni-b": record})
    assert shown(taking) == "takeover HOLDER_WRONG R4 move:eni-b"


def test_the_records_of_all_standing_enis_count_together() -> None:
    """Whoever made the last move wrote it on its own."""
    records = {"eni-a": f"R4@{WALL - 30}/at-c", "eni-c": f"R4@{WALL - 20}/at-a"}
    mover = Mover().fall("word:sound")
    decision = mover.see(41.0, "ec2:i-a probe:L word:sound", records=records)
    assert (decision.reason, decision.write) == (Reason.RATIONED, None)


def test_an_earlier_move_away_from_the_same_standing_eni_is_not_this_one() -> None:
    """Its attachment lasts as long as its node."""
    mover = Mover().fall("word:sound")
    recent = mover.see(41.0, "ec2:i-a probe:L word:sound", records={"eni-c": f"R4@{WALL + 11}/at-a"})
    assert (recent.reason, recent.write) == (Reason.RATIONED, None)
    later = mover.see(72.0, "ec2:i-a probe:L word:sound", records={"eni-c": f"R4@{WALL + 11}/at-a"})
    assert later.write == Tag("eni-b", f"{TAG}/{ADDRESS}", f"R4@{WALL + 11}/at-a R4@{WALL + 72}/at-a")


def test_five_minutes_of_up_clear_one_record_after_the_other() -> None:
    """Each is a write of its own."""
    mover = Mover()
    records = {"eni-a": "R4@1/at-c", "eni-c": "R4@2/at-a"}
    mover.see(0.0, "ec2:i-a word:sound probe:AA", records=records)
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
