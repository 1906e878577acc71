"""A handover in a pause: it is made, as it was asked for, and the address stays where it is then for as long."""

from collections.abc import Mapping

import pytest

from floatingip.commands import pause
from floatingip.core.decision import pause as pauses
from floatingip.core.errors import Denied
from floatingip.core.model import Carry
from tests.edges.handed_over import ADDRESS, WALL, Vpc, interrupt
from tests.fakes.ec2 import Delays


def begin(vpc: Vpc, seconds: float = 600.0) -> None:
    """`floatingip pause`."""
    pause.begin(vpc.ours, [ADDRESS], seconds, vpc.console)


@pytest.mark.parametrize("carry", Carry)
def test_a_pause_goes_along_with_the_address(carry: Carry) -> None:
    """Also to a worker whose standing interface is newer than the pause."""
    vpc = Vpc(carry=carry)
    begin(vpc)
    if carry is Carry.ADDRESS:
        vpc.cloud.tag_eni(vpc.enis[1], {pauses.TAG: ""})
    ends_at = pauses.ends_at(vpc.holder().tags, WALL + vpc.ec2.now)
    vpc.then[12.0] = vpc.move
    vpc.carry_out()
    assert vpc.holder().attachment is not None
    assert vpc.attachment().instance_id == vpc.workers[1]
    assert pauses.ends_at(vpc.holder().tags, WALL + vpc.ec2.now) == ends_at > WALL


def test_a_pause_that_ends_sooner_than_somebody_elses_is_told() -> None:
    """Who counts on the longer one may be in the midst of something; the same or a longer one needs no word."""
    vpc = Vpc()
    begin(vpc, 7200.0)
    begin(vpc, 7260.0)
    assert vpc.said == []
    begin(vpc, 600.0)
    assert vpc.said == [
        "somebody has asked for a pause until 2025-11-24T18:01:10Z; now it is over before that, at 2025-11-24T16:10:10Z"
    ]


@pytest.mark.parametrize("way", ["detaching", "free"])
def test_a_pause_of_what_is_on_no_node_says_so(way: str) -> None:
    """It keeps an address from being taken off its node: one that has left it already is claimed all the same."""
    vpc = Vpc(carry=Carry.ENI)
    vpc.ec2.delays = Delays(detach=5.0)
    vpc.cloud.detach_eni(vpc.attachment().id, force=False)
    where = f"detaching from {vpc.workers[0]}"
    if way == "free":
        vpc.ec2.advance(vpc.ec2.now + 6.0)
        where = "on no node"
    begin(vpc)
    assert len(vpc.said) == 1
    assert vpc.said[0].startswith(f"{ADDRESS}: EC2 shows it {where}; a pause keeps no node from claiming ")


def test_a_longer_pause_that_could_not_be_replaced_is_not_told_as_over() -> None:
    vpc = Vpc()
    begin(vpc, 7200.0)
    vpc.cloud.denied.add("CreateTags")
    with pytest.raises(Denied):
        begin(vpc, 600.0)
    assert vpc.said == []


def test_a_pause_that_was_ended_meanwhile_stays_ended() -> None:
    """What was paused when the handover was asked for need not be any more."""
    vpc = Vpc()
    begin(vpc)

    def resume_and_move() -> None:
        pause.end(vpc.ours, [ADDRESS])
        vpc.move()

    vpc.then[12.0] = resume_and_move
    vpc.carry_out()
    assert pauses.ends_at(vpc.holder().tags, WALL + vpc.ec2.now) < WALL


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_pause_that_is_ended_or_changed_while_it_goes_along_is_so(
    monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """Whoever did was told success; it was between the handover's look at the pause and its write."""
    vpc = Vpc()
    begin(vpc)
    vpc.cloud.tag_eni(vpc.enis[1], {pauses.TAG: ""})
    vpc.then[12.0] = vpc.move
    tag_eni = vpc.cloud.tag_eni

    def after_another(eni_id: str, tags: Mapping[str, str]) -> None:
        if pauses.TAG in tags:
            monkeypatch.setattr(vpc.cloud, "tag_eni", tag_eni)
            if seconds is None:
                assert pause.end(vpc.ours, [ADDRESS])
            else:
                begin(vpc, seconds)
        tag_eni(eni_id, tags)

    monkeypatch.setattr(vpc.cloud, "tag_eni", after_another)
    vpc.carry_out()
    first, second = (vpc.ec2.state.enis[eni].tags.get(pauses.TAG) for eni in vpc.enis)
    assert vpc.holder().id == vpc.enis[1]
    assert second == first
    assert (pauses.ends_at(vpc.holder().tags, WALL + vpc.ec2.now) > WALL) == (seconds is not None)


@pytest.mark.parametrize("carry", Carry)
def test_who_ends_a_handover_in_a_pause_is_told_to_see_to_the_pause(carry: Carry) -> None:
    """The move may be under way, to an interface that is newer than the pause; an address' own one has it along."""
    vpc = Vpc(carry=carry)
    begin(vpc)
    vpc.then[12.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    said = f"{ADDRESS}: does it move all the same, its pause may end; run `floatingip pause` again"
    assert (said in vpc.said) == (carry is Carry.ADDRESS)


def test_a_pause_that_cannot_go_along_is_told() -> None:
    """The address has moved all the same."""
    vpc = Vpc()
    begin(vpc)
    vpc.cloud.tag_eni(vpc.enis[1], {pauses.TAG: ""})

    def move_and_deny() -> None:
        vpc.move()
        vpc.cloud.denied.add("CreateTags")

    vpc.then[12.0] = move_and_deny
    vpc.carry_out()
    assert any(line.startswith(f"{ADDRESS}: its pause ends with this move: IAM denies") for line in vpc.said)
