"""A node's standing ENI: there is one, attached and as it should be, and what is of no use any more is given back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any

import pytest

from floatingip.agent.standing import Standing, StandingMemory, StandingView, keep
from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance
from floatingip.core.writes import (
    Attach,
    CheckSource,
    Create,
    Delete,
    Detach,
    KeepAfterTermination,
    SetGroups,
    Unassign,
    Write,
)
from tests.core.deciders import instance
from tests.core.movers import PRIVATE, standing

ME, MINE = "i-b", standing("i-b")
FREE = standing("i-b", status=None)
SECOND = replace(MINE, id="eni-0", attachment=Attachment("at-0", ME, 2, AttachmentStatus.ATTACHED))
ORPHAN = standing("i-a", status=None)
SPARE = Unassign(MINE.id, PRIVATE)


@dataclass
class Keeper:
    """The deciding part of the node i-b, to which EC2 accepts every write at once."""

    memory: StandingMemory = field(default_factory=StandingMemory)
    wrote_at: float = float("-inf")
    accepted: Write | None = None

    def see(
        self,
        now: float,
        *standing: Eni,
        asked_at: float | None = None,
        instances: Mapping[str, Instance] | None = MappingProxyType({}),
        **known: object,
    ) -> Standing:
        """Decide on what EC2 shows now, or showed when it was asked."""
        view = StandingView(
            now=now,
            me=ME,
            asked_at=now if asked_at is None else asked_at,
            standing=standing,
            instances=instances,
            wrote_at=self.wrote_at,
            accepted=self.accepted,
        )
        self.memory, decided = keep(self.memory, replace(view, **known))  # type: ignore[arg-type]  # names its fields
        if decided.write is not None:
            self.wrote_at, self.accepted = now, decided.write
        return decided


def test_nothing_is_done_before_ec2_has_answered() -> None:
    """It may be there since the node's last start, so EC2 is asked at once."""
    decided = Keeper().see(0.0, asked_at=float("-inf"), standing=None)
    assert (decided.write, decided.eni) == (None, None)
    assert decided.look_at <= 0.0
    assert decided.problem == "EC2 has not answered yet"


def test_ec2_that_has_answered_is_not_asked_at_once_again_for_what_is_not_to_be_kept() -> None:
    """As where the other way to carry is in use: the addresses say when to look."""
    assert Keeper().see(1.5, asked_at=1.0, standing=None).look_at == 1.0 + timing.STANDING_LOOK_IN_PEACE


def test_a_node_without_a_standing_eni_creates_it_attaches_it_and_has_it() -> None:
    """Each step when EC2 shows the last one; until then, and not later, it says what is missing."""
    keeper = Keeper()
    created = keeper.see(0.0)
    assert (created.write, created.eni, created.look_at) == (Create(0), None, timing.STANDING_LOOK_SOON)
    attached = keeper.see(0.5, FREE)
    assert (attached.write, attached.eni) == (Attach("eni-b"), None)
    waiting = keeper.see(1.0, standing("i-b", status=AttachmentStatus.ATTACHING))
    assert (waiting.write, waiting.eni, waiting.look_at) == (None, None, 1.0 + timing.STANDING_LOOK_SOON)
    there = keeper.see(4.0, MINE)
    assert there == Standing(4.0 + timing.STANDING_LOOK_IN_PEACE, eni=MINE, bound=MINE)
    assert all(decided.problem for decided in (created, attached, waiting))


@pytest.mark.parametrize("status", [AttachmentStatus.ATTACHING, AttachmentStatus.DETACHING, AttachmentStatus.DETACHED])
def test_an_eni_that_is_not_attached_is_no_standing_eni_yet(status: AttachmentStatus) -> None:
    """No address can be led there."""
    decided = Keeper().see(0.0, standing("i-b", status=status))
    assert decided.eni is None
    assert "standing ENI eni-b is being" in decided.problem


def test_a_node_knows_its_standing_eni_by_the_tag() -> None:
    """Whatever it is attached to; after a restart, too, so there is never a second one."""
    foreign = replace(standing("i-c"), attachment=Attachment("at-9", ME, 2, AttachmentStatus.ATTACHED))
    assert Keeper().see(0.0, foreign).write == Create(0)
    assert Keeper().see(0.0, MINE, standing("i-a")).eni == MINE
    assert Keeper().see(0.0, FREE).write == Attach("eni-b")


def test_of_two_the_attached_one_counts_and_the_free_one_is_given_back() -> None:
    """They were made by two generations of a token, since a Describe lagged for very long."""
    second = replace(FREE, id="eni-0")
    keeper = Keeper()
    assert keeper.see(0.0, second, MINE) == Standing(timing.STANDING_LOOK_IN_PEACE, eni=MINE, bound=MINE)
    assert keeper.see(timing.STANDING_UNUSED_FOR, second, MINE).write == Delete("eni-0")


def test_a_second_one_that_is_attached_too_is_detached_before_it_is_given_back() -> None:
    """An operator took its tags, so that another one was made, and gave them back."""
    keeper = Keeper()
    keeper.see(0.0, MINE)
    assert keeper.see(1.0, SECOND, MINE).eni == MINE
    later = 1.0 + timing.STANDING_UNUSED_FOR
    assert keeper.see(later, SECOND, MINE).write == Detach("at-0")
    assert keeper.memory.vain == 0
    free = replace(SECOND, attachment=None)
    assert keeper.see(later + 1.0, free, MINE).write is None
    assert keeper.see(later + 1.0 + timing.STANDING_UNUSED_FOR, free, MINE).write == Delete("eni-0")


def test_of_two_that_are_attached_the_one_with_a_floating_address_counts() -> None:
    """Whatever their ids, and whichever it was before."""
    keeper, in_use = Keeper(), frozenset({MINE.id})
    keeper.see(0.0, SECOND)
    assert keeper.see(1.0, SECOND, MINE, in_use=in_use).eni == MINE
    assert keeper.see(1.0 + timing.STANDING_UNUSED_FOR, SECOND, MINE, in_use=in_use).write == Detach("at-0")


def test_the_same_generation_is_created_again_while_it_may_only_not_be_shown_yet() -> None:
    """EC2 makes one interface of a token; but not with every look."""
    keeper = Keeper()
    assert keeper.see(0.0).write == Create(0)
    assert keeper.see(timing.STANDING_REPEAT_AFTER - 0.1).write is None
    assert keeper.see(timing.STANDING_REPEAT_AFTER).write == Create(0)
    assert keeper.see(timing.FORGOTTEN_AFTER).write == Create(0)


def test_one_that_was_deleted_meanwhile_is_created_by_the_next_generation_of_the_token() -> None:
    """The old token's answer would be the deleted one for ever."""
    keeper = Keeper()
    keeper.see(0.0)
    assert keeper.see(timing.FORGOTTEN_AFTER + 0.1).write == Create(1)
    assert keeper.see(2 * timing.FORGOTTEN_AFTER).write == Create(1)
    assert keeper.see(2 * timing.FORGOTTEN_AFTER + 2 * timing.STANDING_REPEAT_AFTER).write == Create(2)


def test_a_creation_that_failed_burns_no_token() -> None:
    """EC2 is down for an hour: whatever was tried meanwhile, nothing was made by the first token."""
    keeper = Keeper()
    for now in range(0, 3600, 60):
        assert keeper.see(float(now)).write == Create(0)
        keeper.accepted = None


def test_one_that_was_shown_starts_the_wait_anew_when_it_is_deleted() -> None:
    """Its own token is given its time first."""
    keeper = Keeper()
    keeper.see(0.0)
    keeper.see(5.0, MINE)
    assert keeper.see(3600.0, device=False).write == Create(0)
    assert keeper.see(3600.0 + timing.FORGOTTEN_AFTER + 0.1, device=False).write == Create(1)


@pytest.mark.parametrize(("device", "said"), [(True, ", whose device is here"), (None, "; is its device here?")])
def test_one_whose_device_may_be_here_is_not_made_anew_because_ec2_does_not_show_it(
    device: bool | None, said: str
) -> None:
    """A second one would take its place, and its addresses off the link; but it may be a device that stayed behind."""
    keeper = Keeper()
    keeper.see(0.0, MINE)
    unshown = keeper.see(3600.0, device=device)
    assert (unshown.write, unshown.bound) == (None, MINE)
    assert unshown.problem == f"EC2 does not show its standing ENI eni-b{said}"
    assert keeper.see(3600.0 + timing.STANDING_UNSHOWN_FOR, device=device).write == Create(1)


def test_nothing_is_written_on_top_of_another_write_or_on_an_answer_that_is_older() -> None:
    """Nor while EC2 is given time after a failure (R8, R9)."""
    for known in ({"writing": True}, {"wrote_at": 0.0}, {"retry_at": {Create: 0.1}}):
        decided = Keeper().see(0.0, **known)
        assert decided.write is None
        assert decided.problem == "its standing ENI is being created"


@pytest.mark.parametrize("barrier", ["this node is in zone us-west-2-lax-1b", "i-b has no free ENI slot"])
@pytest.mark.parametrize("shown", [(), (FREE,)], ids=["none yet", "a free one"])
def test_a_node_that_can_have_none_says_why_and_asks_no_more_than_in_peace(
    barrier: str, shown: tuple[Eni, ...]
) -> None:
    """It writes nothing, and there is nothing to wait for that EC2 would show soon."""
    decided = Keeper().see(0.0, *shown, barrier=barrier)
    assert (decided.write, decided.eni, decided.problem) == (None, None, barrier)
    assert decided.look_at >= 10.0


def test_a_standing_eni_that_is_attached_elsewhere_is_left_there() -> None:
    """Somebody did that by hand: it is told where."""
    elsewhere = replace(MINE, attachment=Attachment("at-9", "i-x", 1, AttachmentStatus.ATTACHED))
    decided = Keeper().see(0.0, elsewhere)
    assert (decided.write, decided.eni) == (None, None)
    assert decided.problem == "its standing ENI eni-b is attached to i-x; detach it there"


@pytest.mark.parametrize(
    ("changes", "write"),
    [
        ({"delete_on_termination": True}, KeepAfterTermination("eni-b", "at-b")),
        ({"security_groups": ("sg-9",)}, SetGroups("eni-b", ("sg-2", "sg-1"))),
        ({"source_check": False}, CheckSource("eni-b")),
        ({}, None),
    ],
    ids=["survival", "security groups", "source check", "nothing"],
)
def test_the_standing_eni_is_kept_as_it_should_be(changes: Mapping[str, object], write: Write | None) -> None:
    """It outlives its instance (A4), and has the groups of the settings; meanwhile it does its work."""
    shown = replace(MINE, **{"security_groups": ("sg-1", "sg-2"), **changes})  # type: ignore[arg-type]  # fields of Eni
    decided = Keeper().see(0.0, shown, groups=("sg-2", "sg-1"))
    assert (decided.write, decided.eni, decided.problem) == (write, shown, "")


# EC2 says attached, but the device never comes.


def test_a_standing_eni_without_its_device_is_of_no_use_yet() -> None:
    """Whoever looks at it says so; before anybody has looked for the device, that it is not known."""
    for device, said in ((False, "is not there yet"), (None, "is here is not known")):
        decided = Keeper().see(0.0, MINE, device=device)
        assert decided.eni == MINE
        assert f"the device of its standing ENI eni-b {said}" in decided.problem


def test_a_standing_eni_whose_device_never_comes_is_detached_and_attached_anew() -> None:
    """A slow device takes 20 s; each further try is given twice as long, until one comes."""
    keeper = Keeper()
    assert all(keeper.see(now, MINE, device=False).write is None for now in (0.0, 10.0, 21.5))
    assert keeper.see(22.0, MINE, device=False).write == Detach("at-b")
    assert keeper.see(23.0, FREE, device=False).write == Attach("eni-b")
    assert all(keeper.see(now, MINE, device=False).write is None for now in (24.0, 46.5, 67.5))
    assert keeper.see(68.0, MINE, device=False).write == Detach("at-b")
    keeper.see(70.0, MINE, device=True)
    keeper.see(100.0, MINE, device=False)
    assert keeper.see(122.0, MINE, device=False).write == Detach("at-b")


def test_a_standing_eni_that_ec2_does_not_finish_attaching_is_detached_and_attached_anew() -> None:
    """Mostly that takes seconds, at worst a minute; each further try is given twice as long, until one succeeds."""
    keeper, hanging = Keeper(), standing("i-b", status=AttachmentStatus.ATTACHING)
    assert all(keeper.see(now, hanging).write is None for now in (0.0, 30.0, 59.5))
    assert keeper.see(60.0, hanging).write == Detach("at-b")
    assert keeper.see(63.0, FREE).write == Attach("eni-b")
    assert all(keeper.see(now, hanging).write is None for now in (64.0, 183.5))
    assert keeper.see(184.0, hanging).write == Detach("at-b")
    keeper.see(190.0, MINE, device=True)
    assert keeper.memory.vain == 0


@pytest.mark.parametrize(
    "known", [{"in_use": frozenset({MINE.id})}, {"device": True, "holds": True}], ids=["it has one", "it carries one"]
)
def test_a_standing_eni_with_a_floating_address_stays_though_ec2_goes_on_attaching_it(known: dict[str, Any]) -> None:
    """Another node is to take the address over first; what EC2 shows of one whose device is here may be of before."""
    keeper, hanging = Keeper(), standing("i-b", status=AttachmentStatus.ATTACHING)
    assert all(keeper.see(now, hanging, **known).write is None for now in (0.0, 100.0, 300.0))


def test_a_standing_eni_that_stays_detaching_is_forced() -> None:
    """Whoever began it: the guest may never let go of a device that it never got."""
    keeper, detaching = Keeper(), standing("i-b", status=AttachmentStatus.DETACHING)
    assert all(keeper.see(now, detaching).write is None for now in (0.0, 10.0, 19.5))
    assert keeper.see(20.0, detaching).write == Detach("at-b", force=True)
    keeper.see(21.0, MINE)
    assert keeper.see(60.0, detaching).write is None


def test_what_was_attached_here_is_looked_after_until_another_one_is() -> None:
    """Its address has to be dropped, whatever its attachment is."""
    keeper, detaching = Keeper(), standing("i-b", status=AttachmentStatus.DETACHING)
    assert keeper.see(0.0, FREE).bound is None
    assert keeper.see(10.0, detaching).bound == detaching
    assert keeper.see(20.0, FREE).bound == detaching
    assert keeper.see(30.0, MINE).bound == MINE


def test_a_standing_eni_with_a_floating_address_is_not_detached_for_want_of_its_device() -> None:
    """Whoever takes the address over comes first; nor is it for a device that nobody has looked for."""
    for known in ({"in_use": frozenset({MINE.id}), "device": False}, {"device": None}):
        keeper = Keeper()
        assert all(keeper.see(now, MINE, **known).write is None for now in (0.0, 30.0, 3600.0))


# What is of no use any more.


def test_a_spare_address_is_given_back_after_two_answers_half_a_minute_apart() -> None:
    """One is needed for a moment whenever an Elastic IP is new; while EC2 does not answer, time alone shows nothing."""
    keeper = Keeper()
    for now, write in ((0.0, None), (29.9, None), (30.0, SPARE)):
        assert keeper.see(now, MINE, spares=(SPARE,)).write == write
    keeper = Keeper()
    keeper.see(0.0, MINE, spares=(SPARE,))
    assert keeper.see(300.0, MINE, asked_at=0.0, spares=(SPARE,)).write is None


def test_a_spare_address_that_was_of_use_in_between_is_not_given_back() -> None:
    """The wait begins anew."""
    keeper = Keeper()
    keeper.see(0.0, MINE, spares=(SPARE,))
    keeper.see(20.0, MINE)
    assert keeper.see(40.0, MINE, spares=(SPARE,)).write is None
    assert keeper.see(70.0, MINE, spares=(SPARE,)).write == SPARE


ENDED: tuple[dict[str, Instance], ...] = ({}, {"i-a": instance("i-a", "terminated")})


@pytest.mark.parametrize("instances", ENDED, ids=["gone", "terminated"])
def test_an_ended_instances_standing_eni_is_deleted_by_a_holder(instances: dict[str, Instance]) -> None:
    """Whoever took over cleans up (A4), once."""
    keeper = Keeper()
    for now, write in ((0.0, None), (timing.STANDING_UNUSED_FOR, Delete("eni-a"))):
        assert keeper.see(now, MINE, ORPHAN, instances=instances, holds=True).write == write


MAY_COME_BACK = ("pending", "running", "shutting-down", "stopping", "stopped")
"""A stopped instance finds its standing ENI again, and one that starts has just created it."""


@pytest.mark.parametrize(
    ("shown", "known"),
    [
        *((ORPHAN, {"instances": {"i-a": instance("i-a", state)}}) for state in MAY_COME_BACK),
        (ORPHAN, {"instances": None}),
        (ORPHAN, {"holds": False}),
        (ORPHAN, {"in_use": frozenset({"eni-a"})}),
        (standing("i-a"), {}),
    ],
    ids=[*MAY_COME_BACK, "not described: throttled, not gone", "by a standby", "with a floating address", "attached"],
)
def test_another_nodes_standing_eni_that_may_be_of_use_is_not_deleted(shown: Eni, known: dict[str, Any]) -> None:
    """One with an address keeps that from being handed out to a pod; and of all nodes the holder alone deletes."""
    keeper = Keeper()
    for now in (0.0, timing.STANDING_UNUSED_FOR, 2 * timing.STANDING_UNUSED_FOR, 3600.0):
        assert keeper.see(now, MINE, shown, **{"holds": True, **known}).write is None


def test_what_is_broken_is_mended_before_anything_is_given_back() -> None:
    """The own ENI comes first."""
    keeper, broken = Keeper(), replace(MINE, source_check=False)
    keeper.see(0.0, MINE, spares=(SPARE,))
    assert keeper.see(60.0, broken, spares=(SPARE,)).write == CheckSource("eni-b")
    assert keeper.see(61.0, MINE, spares=(SPARE,)).write == SPARE


def test_a_node_without_a_standing_eni_gives_nothing_back() -> None:
    """It has more urgent things to do."""
    keeper = Keeper()
    second = replace(standing("i-a", status=None), address=IPv4Address("10.0.0.9"))
    for now in (0.0, timing.STANDING_UNUSED_FOR, 3600.0):
        assert not isinstance(keeper.see(now, second, holds=True).write, Delete)
