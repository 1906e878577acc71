"""A denial of what is done to an interface that may be gone: a policy that goes by tags denies that, too."""

import random
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Making
from floatingip.agent.events import Wrote
from floatingip.agent.writing import Writing
from floatingip.core import timing, writes
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain
from tests.core.told import Told

ADDRESS = IPv4Address("10.0.0.100")
MAKING = Making(None, None, {}, "", frozenset())


class Writer:
    """Writes that end as the test says."""

    def __init__(self) -> None:
        self.told = Told()
        self.writing = Writing("10.0.0.100", self.told.out, lambda _: None, random.Random(1).uniform)
        self.now = 100.0

    def write(self, write: writes.Write, error: CloudError | None) -> str:
        """It ends so; what was logged."""
        before = len(self.told.log)
        self.writing.begin(write, MAKING, self.now)
        self.now += 1.0
        self.writing.wrote(Wrote("10.0.0.100", write, error), self.now)
        return self.told.log[before:]

    def final(self) -> CloudError | None:
        """What waiting does not mend."""
        return self.writing.final


NAMES_WHAT_MAY_BE_GONE: tuple[writes.Write, ...] = (
    writes.Attach("eni-1"),
    writes.Detach("eni-attach-1"),
    writes.Delete("eni-1"),
    writes.Assign("eni-1", ADDRESS),
    writes.AssignAny("eni-1"),
    writes.Unassign("eni-1", ADDRESS),
    writes.Tag("eni-1", "floatingip/moves", "R4@1/a"),
    writes.Associate("eipalloc-1", "eni-1", ADDRESS),
    writes.SetGroups("eni-1", ("sg-1",)),
    writes.KeepAfterTermination("eni-1", "eni-attach-1"),
    writes.CheckSource("eni-1"),
)


@pytest.mark.parametrize("write", NAMES_WHAT_MAY_BE_GONE, ids=lambda write: type(write).__name__)
def test_a_denial_is_no_missing_permission_before_ec2_was_looked_at(write: writes.Write) -> None:
    """Somebody else was quicker, most likely; what is still wanted then, and denied again, the role may not."""
    writer, denied = Writer(), Denied("ec2:DoIt")
    assert "level=info event=write" in writer.write(write, denied)
    assert writer.final() is None
    assert writer.writing.retry_at[type(write)] > writer.now
    assert "level=error event=denied" in writer.write(write, denied)
    assert writer.final() is denied
    assert writer.write(write, denied) == ""


def test_what_names_nothing_that_could_be_gone_is_denied_at_once() -> None:
    writer, denied = Writer(), Denied("ec2:CreateNetworkInterface")
    assert "level=error event=denied" in writer.write(writes.Create(), denied)
    assert writer.final() is denied


def test_a_refusal_of_long_ago_says_nothing_of_another_write_of_its_kind() -> None:
    """Each of the two was a lost race; nor does another kind of refusal make it a denial that lasts."""
    writer, denied = Writer(), Denied("ec2:DetachNetworkInterface")
    writer.write(writes.Detach("eni-attach-1"), denied)
    writer.now += 3600.0
    assert "level=info event=write" in writer.write(writes.Detach("eni-attach-2"), denied)
    assert writer.final() is None
    writer.write(writes.Delete("eni-1"), LookAgain("in use"))
    assert "level=info event=write" in writer.write(writes.Delete("eni-1"), denied)
    assert writer.final() is None


def test_a_role_that_lacks_a_permission_is_told_so_whatever_it_is_that_is_written() -> None:
    """Two within a minute are no two lost races."""
    writer, denied = Writer(), Denied("ec2:DetachNetworkInterface")
    writer.write(writes.Detach("eni-attach-1"), denied)
    assert "level=error event=denied" in writer.write(writes.Detach("eni-attach-2"), denied)


def test_the_same_write_that_is_denied_after_a_long_pause_is_denied_again() -> None:
    """What is gone is not wanted for so long."""
    writer, denied = Writer(), Denied("ec2:CreateTags")
    writer.write(writes.Tag("eni-1", "floatingip/moves", "R4@1/a"), denied)
    writer.now += 3600.0
    assert "level=error event=denied" in writer.write(writes.Tag("eni-1", "floatingip/moves", "R4@3600/b"), denied)


def test_races_that_are_lost_now_and_then_are_no_trouble() -> None:
    """The same interface moves again and again: whoever loses is no slower each time, and is seen to claim."""
    writer, claim = Writer(), writes.Assign("eni-1", ADDRESS)
    for _ in range(6):
        writer.writing.begin(claim, MAKING, writer.now)
        assert not writer.writing.is_tried_again
        assert "level=info event=write" in writer.write(claim, LookAgain("in use"))
        assert type(claim) not in writer.writing.retry_at
        writer.now += 3600.0


def test_a_refusal_of_long_ago_makes_no_later_pause_longer() -> None:
    """Nobody hammers EC2 with one write an hour."""
    writer, claim, pauses = Writer(), writes.Assign("eni-1", ADDRESS), []
    for _ in range(6):
        writer.write(claim, CloudUnavailable("throttled"))
        pauses.append(writer.writing.retry_at[type(claim)] - writer.now)
        writer.now += 3600.0
    assert max(pauses) <= 1.2 * timing.BACKOFF_FIRST
