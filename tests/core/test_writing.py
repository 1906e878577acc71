"""One EC2 write at a time: what was accepted, what came of the rest, and when it is time for the next one."""

import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.agent.effects import Making
from floatingip.agent.writing import Writing
from floatingip.core import timing, writes
from floatingip.core.ec2 import STANDING_TAG, Eni
from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    Exhausted,
    LookAgain,
    NoFreeSlot,
    TokenSpent,
)
from floatingip.core.model import Target
from floatingip.core.writes import Assign, AssignAny, Associate, Attach, Create, Delete, Detach, Tag, Unassign, Write
from floatingip.runtime import performing
from floatingip.runtime.calls import Calls
from tests.core.told import Told
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import FakeEc2

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100")


class Failing(FakeCloud):
    """An EC2 that answers what the test says."""

    error: CloudError | None = None

    def _call(self, action: str) -> None:
        super()._call(action)
        if self.error is not None:
            raise self.error


class Desk:
    """What a worker of a small VPC writes; each write takes a tenth of a second."""

    def __init__(self) -> None:
        self.ec2 = FakeEc2()
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.me = self.ec2.add_instance("10.0.0.10", self.subnet)
        self.cloud = Failing(self.ec2, ("sg-1",))
        self.eni = self.cloud.create_eni(None, self.subnet, {STANDING_TAG: self.me}, "standing")
        self.told = Told()
        self.now = 100.0
        self.full_at: list[float] = []
        self.writer = Writing("10.0.0.100", self.told.out, self.full_at.append, random.Random(1).uniform)

    def write(self, write: Write, target: Target | None = ADDRESS, error: CloudError | None = None) -> None:
        """Make the write, and take what came of it."""
        making = Making(target, self.subnet, {STANDING_TAG: self.me}, "token", frozenset({0, 1}))
        self.writer.begin(write, making, self.now)
        under_way = [self.writer.written.under_way]
        (asked,) = self.told.performs()
        self.cloud.error = error
        wrote = performing.wrote(self.cloud, self.me, asked, Calls(), lambda: self.now)
        self.cloud.error = None
        self.now += 0.1
        self.writer.wrote(wrote, self.now)
        assert [*under_way, self.writer.written.under_way] == [True, False]

    def waits(self, write: Write) -> float:
        """Seconds after the last write until the next one of that kind should be made."""
        return max(0.0, self.writer.retry_at.get(type(write), float("-inf")) - self.writer.wrote_at)

    def shown(self) -> Eni:
        """The ENI as EC2 shows it."""
        return self.ec2.state.enis[self.eni.id]


@pytest.fixture(name="desk")
def _desk() -> Desk:
    return Desk()


def test_each_write_is_the_call_that_it_names(desk: Desk) -> None:
    """With what it names; the device index is one that is not taken."""
    eni_id = desk.eni.id
    allocation_id = desk.ec2.allocate("203.0.113.100")
    desk.write(Attach(eni_id))
    attachment = desk.shown().attachment
    assert attachment is not None
    assert (attachment.instance_id, attachment.device_index) == (desk.me, 2)
    desk.write(Assign(eni_id, ADDRESS))
    desk.write(Assign(eni_id, IPV6))
    desk.write(AssignAny(eni_id))
    assert (desk.shown().secondary[0], desk.shown().ipv6s) == (ADDRESS, (IPV6,))
    private = desk.shown().secondary[1]
    desk.write(Associate(allocation_id, eni_id, private))
    assert desk.shown().elastic == {private: allocation_id}
    desk.write(Unassign(eni_id, ADDRESS))
    desk.write(Unassign(eni_id, IPV6))
    assert (desk.shown().secondary, desk.shown().ipv6s) == ((private,), ())
    desk.write(Tag(eni_id, "floatingip/moves", "R4@1/a"))
    assert desk.shown().tags["floatingip/moves"] == "R4@1/a"
    desk.write(writes.SetGroups(eni_id, ("sg-2",)))
    assert desk.shown().security_groups == ("sg-2",)
    desk.ec2.modify(eni_id, lambda eni: replace(eni, source_check=False, delete_on_termination=True))
    desk.write(writes.CheckSource(eni_id))
    assert desk.shown().source_check
    desk.write(writes.KeepAfterTermination(eni_id, attachment.id))
    assert not desk.shown().delete_on_termination
    desk.write(Detach(attachment.id))
    desk.write(Delete(eni_id))
    assert eni_id not in desk.ec2.state.enis


def test_a_reassignment_is_one_only_if_the_write_says_so(desk: Desk) -> None:
    """Otherwise what another ENI has stays there."""
    other = desk.cloud.create_eni(None, desk.subnet, {}, "other")
    desk.ec2.assign(other.id, ADDRESS, reassign=False)
    desk.write(Assign(desk.eni.id, ADDRESS))
    assert desk.shown().secondary == ()
    desk.write(Assign(desk.eni.id, ADDRESS, reassign=True))
    assert desk.shown().secondary == (ADDRESS,)


def test_what_is_created_for_no_target_has_some_address_and_its_tags(desk: Desk) -> None:
    desk.write(Create(), target=None)
    (made,) = (eni for eni in desk.ec2.state.enis.values() if eni.tags and eni.id != desk.eni.id)
    assert made.tags == {STANDING_TAG: desk.me}
    assert made.address is not None
    assert desk.subnet.network_of(made.address) is not None


def test_the_last_write_that_ec2_accepted_is_remembered_until_the_next_one_begins(desk: Desk) -> None:
    """One that fails is not accepted, nor is the one before any more; but it counts as written: it may have been."""
    claim = Assign(desk.eni.id, ADDRESS, reassign=True)
    desk.write(claim)
    assert desk.writer.accepted == claim
    assert desk.writer.wrote_at == desk.now
    assert "seconds=0.100" in desk.told.log
    for error in (CloudUnavailable("throttled"), LookAgain("moved"), Denied("ec2:AssignPrivateIpAddresses")):
        desk.write(claim, error=error)
        assert desk.writer.wrote_at == desk.now
        assert desk.writer.accepted is None


@pytest.mark.parametrize(
    ("error", "write", "pause", "is_final"),
    [
        (CloudUnavailable("throttled"), Assign("eni-1", ADDRESS), timing.BACKOFF_FIRST, False),
        (LookAgain("moved"), Assign("eni-1", ADDRESS), 0.0, False),
        (LookAgain("in use"), Create(), timing.BACKOFF_FIRST, False),
        (TokenSpent("spent"), Create(), 0.0, False),
        (AddressTaken("associated"), Associate("eipalloc-1", "eni-1", ADDRESS), timing.BACKOFF_FIRST, False),
        (NoFreeSlot("full"), Assign("eni-1", ADDRESS), 0.0, False),
        (Denied("ec2:CreateNetworkInterface"), Create(), timing.BACKOFF_FIRST, True),
        (Denied("ec2:AttachNetworkInterface"), Attach("eni-1"), timing.BACKOFF_FIRST, False),
        (CloudError("bad input"), Attach("eni-1"), timing.BACKOFF_FIRST, True),
        (Exhausted("no address left"), Create(), timing.BACKOFF_FIRST, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_next_write_waits_as_long_as_the_error_asks_for(
    desk: Desk, error: CloudError, write: Write, pause: float, is_final: bool
) -> None:
    """A lost race not at all: the next look shows it.  What waiting does not mend is kept, and told."""
    desk.write(write, error=error)
    waits = desk.waits(write)
    assert 0.8 * pause <= waits <= 1.2 * pause
    assert desk.writer.final == (error if is_final else None)


def test_failures_in_a_row_wait_longer_and_longer_until_one_succeeds(desk: Desk) -> None:
    """Agents that failed together do not hammer EC2 together."""
    waits = []
    for error in (CloudUnavailable("throttled"), CloudUnavailable("throttled"), None, CloudUnavailable("throttled")):
        desk.write(Assign(desk.eni.id, ADDRESS), error=error)
        waits.append(desk.waits(Assign(desk.eni.id, ADDRESS)))
    assert waits[1] > 1.2 * timing.BACKOFF_FIRST
    assert waits[3] <= 1.2 * timing.BACKOFF_FIRST


def test_what_is_refused_again_and_again_waits_longer_and_longer(desk: Desk) -> None:
    """The first time it is a lost race, which the next look shows; another kind of write hurries nothing."""
    waits = []
    for _ in range(8):
        desk.write(Assign(desk.eni.id, ADDRESS), error=LookAgain("in use"))
        waits.append(desk.waits(Assign(desk.eni.id, ADDRESS)))
        desk.write(Tag(desk.eni.id, "floatingip/moves", "R4@1/a"))
    assert waits[0] == 0.0
    assert 0.8 * timing.BACKOFF_FIRST <= waits[1] <= 1.2 * timing.BACKOFF_FIRST
    assert waits[7] > 10.0


def test_what_is_denied_is_tried_again_within_a_quarter_of_a_minute(desk: Desk) -> None:
    """For as long as it lasts; and nothing else waits for it."""
    claim = Assign(desk.eni.id, ADDRESS)
    for _ in range(8):
        desk.write(claim, error=Denied("ec2:AssignPrivateIpAddresses"))
    assert 10.0 < desk.waits(claim) <= 1.2 * timing.BACKOFF_LAST
    assert desk.waits(Detach("eni-attach-1")) == 0.0


def test_what_is_refused_again_is_warned_of_once(desk: Desk) -> None:
    """And not at all loudly when it was only a lost race."""
    for _ in range(5):
        desk.write(Attach(desk.eni.id), error=LookAgain("in use"))
    levels = [line.split()[1] for line in desk.told.log.splitlines()]
    assert levels == ["level=info", "level=warning"]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (CloudUnavailable("throttled"), "warning"),
        (NoFreeSlot("AttachmentLimitExceeded"), "warning"),
        (TokenSpent("IdempotentParameterMismatch"), "warning"),
        (Exhausted("InsufficientFreeAddressesInSubnet"), "warning"),
        (CloudError("InvalidParameterValue"), "error"),
        (Denied("ec2:AttachNetworkInterface"), "info"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else "",
)
def test_only_what_somebody_must_mend_is_an_error(desk: Desk, error: CloudError, level: str) -> None:
    """What passes by itself, or moves to another node, is a warning."""
    desk.write(Attach(desk.eni.id), error=error)
    (line,) = desk.told.log.splitlines()
    assert f"level={level} " in line


def test_a_claim_that_is_refused_as_taken_is_remembered_with_what_ec2_said(desk: Desk) -> None:
    """Of other writes, and of other errors, it says nothing."""
    for write, error in (
        (Detach("eni-attach-1"), LookAgain("gone")),
        (Create(), TokenSpent("spent")),
        (Assign(desk.eni.id, ADDRESS), CloudUnavailable("throttled")),
    ):
        desk.write(write, error=error)
        assert desk.writer.taken_at == float("-inf")
    desk.write(Assign(desk.eni.id, ADDRESS), error=LookAgain("Address 10.0.0.100 is in use."))
    assert desk.writer.taken_at == desk.writer.wrote_at
    assert desk.writer.taken == "Address 10.0.0.100 is in use."


def test_a_spent_token_has_made_its_eni(desk: Desk) -> None:
    """As good as created: when no answer shows that one, the next generation is used."""
    desk.write(Create(), error=TokenSpent("IdempotentParameterMismatch"))
    assert desk.writer.accepted == Create()


def test_a_full_instance_is_told_to_the_node(desk: Desk) -> None:
    """It concerns all of its addresses."""
    desk.write(Attach(desk.eni.id), error=NoFreeSlot("AttachmentLimitExceeded"))
    assert len(desk.full_at) == 1


def test_a_denial_is_said_once_whatever_it_is_for(desk: Desk) -> None:
    """As where the tags of one interface after the other are denied."""
    for number in range(6):
        desk.write(Create(), error=Denied("ec2:CreateTags", resource=f"network-interface/eni-{number % 2}"))
    assert desk.told.log.count("event=denied") == 1


def test_what_does_not_change_is_said_once(desk: Desk) -> None:
    """Not with each retry, and again after a success."""
    claim, told = Assign(desk.eni.id, ADDRESS), CloudUnavailable("throttled")
    for error in (told, told, None, told):
        desk.write(claim, error=error)
    assert desk.told.log.count("throttled") == 2
    denied = Denied("ec2:AssignPrivateIpAddresses")
    for _ in range(5):
        desk.write(claim, error=denied)
    levels = [line.split()[1] for line in desk.told.log.splitlines() if "IAM denies" in line]
    assert levels == ["level=info", "level=error"]


def test_a_success_ends_what_was_final(desk: Desk) -> None:
    """The permission came meanwhile."""
    for _ in range(2):
        desk.write(Assign(desk.eni.id, ADDRESS), error=Denied("ec2:AssignPrivateIpAddresses"))
    assert desk.writer.final is not None
    desk.write(Assign(desk.eni.id, ADDRESS))
    assert desk.writer.final is None
