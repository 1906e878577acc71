"""R12: moves that a misconfiguration could cause are recorded before they are made, and wait for their turn."""

from __future__ import annotations

from dataclasses import replace

from floatingip.core.decision import ration
from floatingip.core.decision.carry_address import ByAddress
from floatingip.core.decision.decision import Rule
from floatingip.core.decision.remember import remember
from floatingip.core.decision.view import Memory
from tests.core.deciders import ENI, NAME, SETTINGS, WALL, Observer
from tests.core.scenes import scenes

test_a_move_that_is_rationed = scenes(
    """
    a rationed move is recorded before it is made, and EC2 must show that: whoever dies in between has still counted
        fallen word:sound/unseen
        41.0  ec2:a1@i-a probe:L word:sound/unseen  -> doubt HOLDER_WRONG R4 tag:R4@41/a1
        41.2  word:sound/unseen                     -> no write
        41.4  ec2:a1@i-a tag:R4@41/a1               -> detach:a1

    a rationed move waits for its turn: 60 s after the first one
        fallen word:sound/unseen
        41.0  ec2:a1@i-a probe:L tag:R4@0/a0        -> doubt RATIONED R4
        59.0  ec2:a1@i-a tag:R4@0/a0                -> doubt RATIONED R4
        60.0  ec2:a1@i-a tag:R4@0/a0                -> doubt HOLDER_WRONG R4 tag:R4@0/a0 R4@60/a1

    the second takeover from a silent holder within ten minutes is not rationed
        fallen
        10.1  ec2:a1@i-a probe:L tag:R3@-100/x1     -> detach:a1

    the third one is recorded first: restarts do not help, for the tag is what every observer sees
        fallen
        10.1  ec2:a1@i-a probe:L tag:R3@-100/x1,R3@-50/x2  -> doubt SILENT_HOLDER R3 tag:R3@-100/x1 R3@-50/x2 R3@10/a1

    the fourth one waits
        fallen
        10.1  ec2:a1@i-a probe:L tag:R3@-100/x1,R3@-50/x2,R3@-30/x3  -> doubt RATIONED R3

    a takeover that was not rationed is recorded by the new holder, not before: a failover does not wait for a tag
        fallen
        10.1  ec2:a1@i-a probe:L
        12.0  ec2:free
        13.0  ec2:a2@i-b link:sound                 -> tag:R3@13/a1
        14.5  ec2:a2@i-b tag:R3@13/a1               -> no write

    a planned move is recorded as one: where the address came from, it says nothing of what is wrong
        0.0   ec2:a1@i-a word:sound probe:AA
        10.0  ec2:a1@i-a word:leaving               -> detach:a1
        12.0  ec2:free
        13.0  ec2:a2@i-b link:sound                 -> tag:R5p@13/a1
        14.5  ec2:a2@i-b tag:R5p@13/a1              -> no write

    planned moves make none wait, as where one node after the other is drained and the last one cannot carry it
        0.0   ec2:a1@i-a tag:R5p@-60/x1,R5p@-5/x2 word:sound probe:AA
        10.0  word:unsound
        13.1  ec2:a1@i-a tag:R5p@-60/x1,R5p@-5/x2   -> doubt HOLDER_UNSOUND R5 tag:R5p@-60/x1 R5p@-5/x2 R5@13/a1

    nor do they make one wait for longer that waits for another cause
        fallen word:sound/unseen
        41.0  ec2:a1@i-a probe:L tag:R4@0/x1,R5p@30/a0  -> doubt RATIONED R4
        60.0  ec2:a1@i-a tag:R4@0/x1,R5p@30/a0      -> doubt HOLDER_WRONG R4 tag:R4@0/x1 R5p@30/a0 R4@60/a1

    a recorded takeover is not recorded again after the tag was cleared: holder and standby would write for ever
        fallen
        10.1   ec2:a1@i-a probe:L
        12.0   ec2:free
        13.0   ec2:a2@i-b link:sound                -> tag:R3@13/a1
        14.0   ec2:a2@i-b tag:R3@13/a1              -> no write
        400.0  ec2:a2@i-b                           -> no write

    a takeover that another node won is not recorded by a later claim: that is no move from a silent holder
        fallen
        10.1    ec2:a1@i-a probe:L
        12.0    ec2:a2@i-c word:sound probe:AA
        3600.0  ec2:free
        3605.0  ec2:a3@i-b link:sound               -> no write

    an ended instance is not recorded: R2 is EC2's own word, and never rationed
        0.0  ec2:a1@i-a/attached/stopped
        1.0  ec2:a1@i-a/attached/stopped            -> detach:a1
        3.0  ec2:free
        4.0  ec2:a2@i-b link:sound                  -> no write

    five minutes of UP seen by a standby clear the ration, and not earlier
        0.0    ec2:a1@i-a tag:R4@0/a0 word:sound probe:AA
        1.0    probe:AA
        299.0  ec2:a1@i-a tag:R4@0/a0 probe:A       -> no write
        301.5  ec2:a1@i-a tag:R4@0/a0 probe:A       -> tag:
        303.0  ec2:a1@i-a probe:A                   -> no write

    nor is a move that was recorded a moment ago, by who has not noticed yet that it was made
        0.0    ec2:a1@i-a tag:R4@0/a0 word:sound probe:AA
        301.5  ec2:a1@i-a tag:R4@0/a0,R5@301/a1 probe:A   -> no write
        303.0  ec2:a1@i-a tag:R5@301/a1 probe:A           -> no write
        601.0  ec2:a1@i-a tag:R5@301/a1 probe:A           -> no write
        602.0  ec2:a1@i-a tag:R5@301/a1 probe:A           -> tag:

    a holder does not clear the ration itself: it cannot see whether it is reached
        0.0     ec2:a1@i-b tag:R4@0/a0 link:sound
        1000.0  ec2:a1@i-b tag:R4@0/a0 link:sound   -> no write
    """
)


test_a_record_that_is_on_its_way = scenes(
    """
    a record that EC2 has accepted, but does not show yet, is written again as it is, and not each second
        fallen
        10.1  ec2:a1@i-a probe:L
        12.0  ec2:free
        13.0  ec2:a2@i-b link:sound                 -> tag:R3@13/a1
        14.5  ec2:a2@i-b                            -> no write
        20.5  ec2:a2@i-b                            -> no write
        22.0  ec2:a2@i-b                            -> tag:R3@13/a1

    what EC2 has accepted of another move is no record of this one
        fallen word:sound/unseen
        41.0  ec2:a1@i-a probe:L word:sound/unseen  -> tag:R4@41/a1
        41.2  ec2:a2@i-a probe:AA
        41.8  probe:LLLLL word:sound/unseen
        72.0  ec2:a2@i-a probe:L word:sound/unseen  -> tag:R4@72/a2
    """
)


def test_an_older_record_of_the_same_standing_eni_does_not_stand_for_a_move_that_is_not_recorded_yet() -> None:
    """Otherwise a node that loses the address again and again would count once, and never be rationed."""
    observer = Observer()
    observer.see(0.0, "ec2:a2@i-b")
    owner = observer.view.owner
    moved_at = WALL + 600.0
    view = replace(observer.view, name=NAME, owner=owner)
    memory = Memory(unrecorded="a1", unrecorded_since=moved_at, unrecorded_at=view.now + moved_at - view.wall)

    def after(recorded_at: float) -> str:
        records = {ENI: ration.record("", Rule.R3, recorded_at, "a1")}
        return remember(memory, replace(view, records=records), ByAddress(), SETTINGS).unrecorded

    assert after(moved_at - 300.0) == "a1"
    assert after(moved_at + 1.0) == ""
