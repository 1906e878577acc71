"""R12: which record tells of which move, while EC2 shows late what was written, and where attachments outlast moves."""

from __future__ import annotations

from dataclasses import replace

from floatingip.core.decision import ration
from floatingip.core.decision.carry_address import ByAddress
from floatingip.core.decision.decision import Rule
from floatingip.core.decision.remember import remember
from floatingip.core.decision.view import Memory
from tests.core.deciders import ENI, NAME, WALL, Observer
from tests.core.scenes import scenes

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
    memory = Memory(unrecorded="a1", unrecorded_since=moved_at)
    view = replace(observer.view, name=NAME, owner=owner)

    def after(recorded_at: float) -> str:
        records = {ENI: ration.record("", Rule.R3, recorded_at, "a1")}
        return remember(memory, replace(view, records=records), ByAddress()).unrecorded

    assert after(moved_at - 300.0) == "a1"
    assert after(moved_at + 1.0) == ""
