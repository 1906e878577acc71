"""Giving our interfaces back, on the model EC2 in its own time: what is shown first, what is refused, what is left."""

import io
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.commands import release
from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.release import FORCE_AFTER, GIVE_UP_AFTER, Plan, carry_out, plan, refuse_while_observed
from floatingip.core.ec2 import ALLOCATION_TAG, OWNER_TAG, STANDING_TAG, Attachment, AttachmentStatus
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, Throttled
from floatingip.core.model import Allocation, Carry, Target
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

NAME = "cluster"
ADDRESS, OTHER, IPV6 = IPv4Address("10.0.0.100"), IPv4Address("10.0.0.101"), IPv6Address("2001:db8:0:1::100")
WORKER = "127.0.0.11"
"""A worker's address, where the test's own observers answer."""


@dataclass
class Vpc:
    """A model EC2 that takes its time, with one worker; `said` is what a release told."""

    ec2: FakeEc2 = field(default_factory=lambda: FakeEc2(Delays(attach=3.0, detach=2.5, force_detach=1.0)))
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.subnet = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.worker = self.ec2.add_instance(WORKER, self.subnet)
        self.cloud = FakeCloud(self.ec2)
        self.allocation = Allocation(self.ec2.allocate("203.0.113.100"))

    def eni(self, target: Target, name: str = NAME, *, attached: bool = True) -> str:
        """An interface for the target, on the worker; its id."""
        tags = {OWNER_TAG: name} | ({ALLOCATION_TAG: target.id} if isinstance(target, Allocation) else {})
        made = self.cloud.create_eni(target, self.subnet, tags, f"{name} {target}").id
        if isinstance(target, Allocation):
            address = self.ec2.state.eni(made).address
            assert address is not None
            self.cloud.associate(target.id, made, address)
        if attached:
            self.cloud.attach_eni(made, self.worker, frozenset())
            self.ec2.advance(self.ec2.now + 3)
        return made

    def plan(self, *targets: Target, unused: bool = False) -> Plan:
        """What would be released."""
        return plan(self.ours(), targets or (ADDRESS,), unused=unused)

    def ours(self, cloud: FakeCloud | None = None, port: int = 9807, me: str = "") -> Deployment:
        """What the command has found out."""
        return Deployment(cloud or self.cloud, NAME, "vpc-1", Carry.ENI, port, me)

    @property
    def console(self) -> Console:
        """Whoever waits for it, in EC2's own time."""
        return Console(self.said.append, now=lambda: self.ec2.now, sleep=self.sleep)

    def carry_out(self, chosen: Plan, cloud: FakeCloud | None = None) -> list[str]:
        """Release it, in EC2's own time; what was said."""
        self.said.clear()
        carry_out(self.ours(cloud), chosen, self.console)
        return list(self.said)

    def release(self, *targets: Target, unused: bool = False, cloud: FakeCloud | None = None) -> list[str]:
        """Plan and carry out; what was said."""
        return self.carry_out(self.plan(*targets, unused=unused), cloud)

    def refuse(self, chosen: Plan, port: int, me: str = "") -> tuple[str, ...]:
        """Look whether observers that listen there run; those of which that is not known."""
        return refuse_while_observed(self.ours(None, port, me), chosen)

    def attachment(self, eni_id: str) -> Attachment:
        """How the worker has it."""
        found = self.ec2.state.enis[eni_id].attachment
        assert found is not None
        return found

    def sleep(self, seconds: float) -> None:
        """As far as EC2 is concerned."""
        self.ec2.advance(self.ec2.now + seconds)

    def there(self) -> set[str]:
        """All interfaces but the worker's primary one."""
        shown = self.ec2.state.enis.values()
        return {eni.id for eni in shown if eni.attachment is None or eni.attachment.device_index != 0}


class Terminal(io.StringIO):
    """Somebody types this."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("typed", "agreed"), [("y\n", True), ("no\n", False), ("", False)])
def test_only_a_yes_is_an_agreement(monkeypatch: pytest.MonkeyPatch, typed: str, agreed: bool) -> None:
    """Ctrl-D, which types nothing, is none, and no defect."""
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert release._agreed("") is agreed


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


# The plan.


def test_the_plan_is_what_the_settings_name(vpc: Vpc) -> None:
    """Of every kind; what they do not name is left for --unused."""
    named = {vpc.eni(target, attached=False) for target in (ADDRESS, IPV6, vpc.allocation)}
    orphan = vpc.eni(OTHER, attached=False)
    targets = (ADDRESS, IPV6, vpc.allocation)
    assert {eni.id for eni in vpc.plan(*targets).enis} == named
    assert {eni.id for eni in vpc.plan(*targets, unused=True).enis} == {orphan}


def test_what_is_not_ours_is_in_no_plan(vpc: Vpc) -> None:
    """Another cluster's interface with that address, one without our tag, an orphan of somebody else."""
    vpc.eni(ADDRESS, "other", attached=False)
    vpc.eni(vpc.allocation, "other", attached=False)
    vpc.cloud.create_eni(OTHER, vpc.subnet, {}, "untagged")
    for unused in (False, True):
        assert vpc.plan(ADDRESS, OTHER, vpc.allocation, unused=unused).enis == ()


def test_a_plan_says_what_happens_to_each_interface(vpc: Vpc) -> None:
    """Its addresses, from where it is detached, and that the Elastic IP stays."""
    held, free, elastic = vpc.eni(ADDRESS), vpc.eni(IPV6, attached=False), vpc.eni(vpc.allocation, attached=False)
    lines = list(vpc.plan(ADDRESS, IPV6, vpc.allocation).lines())
    assert lines == [
        f"{held} (10.0.0.100): detach from {vpc.worker}, delete",
        f"{free} (10.0.0.4, 2001:db8:0:1::100): delete",
        f"{elastic} (10.0.0.5): delete; {vpc.allocation} stays allocated",
    ]


def standing(vpc: Vpc, target: IPv4Address | None = None, *, attached: bool = True) -> str:
    """A standing interface of the worker, or of one that ended; its id."""
    owner = vpc.worker if attached else "i-00000000000000fff"
    made = vpc.cloud.create_eni(None, vpc.subnet, {OWNER_TAG: NAME, STANDING_TAG: owner}, f"standing {owner} {target}")
    if target is not None:
        vpc.cloud.assign(made.id, target, reassign=False)
    if attached:
        vpc.cloud.attach_eni(made.id, vpc.worker, frozenset())
        vpc.ec2.advance(vpc.ec2.now + 3)
    return made.id


def test_standing_interfaces_are_released_with_or_without_an_address(vpc: Vpc) -> None:
    """They are there for all of what the settings name; each is told with its addresses."""
    enis = {standing(vpc, ADDRESS), standing(vpc), standing(vpc, attached=False)}
    chosen = vpc.plan()
    assert {eni.id for eni in chosen.enis} == enis
    assert any("10.0.0.100)" in line for line in chosen.lines())


def test_of_standing_interfaces_only_free_ones_without_an_address_are_unused(vpc: Vpc) -> None:
    """The orphan of an ended worker; one that has an address keeps it from being handed out."""
    standing(vpc)
    standing(vpc, ADDRESS, attached=False)
    orphan = standing(vpc, attached=False)
    assert {eni.id for eni in vpc.plan(unused=True).enis} == {orphan}


def test_a_plan_changes_nothing(vpc: Vpc) -> None:
    """A dry run ends here."""
    vpc.eni(ADDRESS)
    before, asked = vpc.ec2.state, len(vpc.cloud.calls)
    list(vpc.plan().lines())
    assert vpc.ec2.state == before
    assert vpc.cloud.calls[asked:] == ["DescribeNetworkInterfaces"]


# Carrying it out.


def test_an_attached_interface_is_detached_and_then_deleted(vpc: Vpc) -> None:
    """Each step is said when it is done."""
    held = vpc.eni(ADDRESS)
    assert vpc.release(ADDRESS) == [f"{held}: detaching from {vpc.worker}", f"{held}: deleted"]
    assert vpc.there() == set()


def test_several_are_detached_at_the_same_time(vpc: Vpc) -> None:
    held = [vpc.eni(target) for target in (ADDRESS, IPV6)]
    began = vpc.ec2.now
    assert vpc.release(ADDRESS, IPV6)[:2] == [f"{eni_id}: detaching from {vpc.worker}" for eni_id in held]
    assert vpc.there() == set()
    assert vpc.ec2.now - began < 2 * vpc.ec2.delays.detach


def test_an_elastic_ip_stays_allocated(vpc: Vpc) -> None:
    """And is free for the next interface."""
    vpc.eni(vpc.allocation)
    vpc.release(vpc.allocation)
    facts = vpc.cloud.describe_allocation(vpc.allocation.id)
    assert facts is not None
    assert facts.eni_id == ""
    assert vpc.there() == set()


def test_what_nothing_uses_ends_and_what_is_named_stays(vpc: Vpc) -> None:
    """After an address was taken out of the settings."""
    named, _ = vpc.eni(ADDRESS), vpc.eni(OTHER)
    vpc.release(ADDRESS, unused=True)
    assert vpc.there() == {named}
    assert vpc.attachment(named).status is AttachmentStatus.ATTACHED


def test_foreign_interfaces_are_never_touched(vpc: Vpc) -> None:
    foreign = {vpc.eni(OTHER, "other"), vpc.cloud.create_eni(IPV6, vpc.subnet, {}, "untagged").id}
    vpc.eni(ADDRESS)
    before = {eni_id: vpc.ec2.state.enis[eni_id] for eni_id in foreign}
    vpc.release(ADDRESS, OTHER, IPV6)
    vpc.release(ADDRESS, unused=True)
    assert {eni_id: vpc.ec2.state.enis[eni_id] for eni_id in vpc.there()} == before


def test_one_that_loses_our_tag_meanwhile_is_let_go(vpc: Vpc) -> None:
    """Somebody gave it to another cluster between the plan and its end."""
    held = vpc.eni(ADDRESS)
    chosen = vpc.plan()
    vpc.cloud.tag_eni(held, {OWNER_TAG: "other"})
    vpc.carry_out(chosen)
    assert vpc.there() == {held}
    assert vpc.said == []


def test_a_release_can_be_repeated(vpc: Vpc) -> None:
    """From wherever the first one stopped; at the end there is nothing left to do."""
    held = vpc.eni(ADDRESS)
    vpc.cloud.detach_eni(vpc.attachment(held).id, force=False)
    assert vpc.release(ADDRESS)[-1] == f"{held}: deleted"
    assert vpc.plan().enis == ()
    assert vpc.release(ADDRESS) == []


def test_one_that_somebody_else_deletes_meanwhile_is_fine(vpc: Vpc) -> None:
    """Two people release at once."""
    free = vpc.eni(ADDRESS, attached=False)
    chosen = vpc.plan()
    vpc.cloud.delete_eni(free)
    vpc.carry_out(chosen)
    assert vpc.there() == set()


def test_a_detach_that_hangs_is_forced_once_and_not_too_early(vpc: Vpc) -> None:
    """The guest is dead: half a minute is far more than a detach takes."""
    held = vpc.eni(ADDRESS)
    vpc.ec2.hang(vpc.worker)
    began = vpc.ec2.now
    assert vpc.release(ADDRESS) == [
        f"{held}: detaching from {vpc.worker}",
        f"{held}: still detaching, forced",
        f"{held}: deleted",
    ]
    assert FORCE_AFTER < vpc.ec2.now - began < FORCE_AFTER + 5
    assert vpc.cloud.calls.count("DetachNetworkInterface") == 2


def test_a_detach_that_somebody_else_began_and_that_hangs_is_forced_too(vpc: Vpc) -> None:
    """A release that was interrupted, repeated: EC2 refuses a second detach, but not a forced one."""
    held = vpc.eni(ADDRESS)
    vpc.ec2.hang(vpc.worker)
    vpc.cloud.detach_eni(vpc.attachment(held).id, force=False)
    assert vpc.release(ADDRESS)[-2:] == [f"{held}: still detaching, forced", f"{held}: deleted"]


def test_what_does_not_end_is_told_with_the_reason(vpc: Vpc) -> None:
    """After five minutes, naming the interface; the others are gone by then."""
    stuck, free = vpc.eni(ADDRESS), vpc.eni(OTHER, attached=False)
    vpc.ec2.hang(vpc.worker)
    vpc.ec2.delays = Delays(detach=2.5, force_detach=2 * GIVE_UP_AFTER)
    with pytest.raises(CloudError, match=f"not released after 300 s: {stuck}: still detaching; run release again"):
        vpc.release(ADDRESS, OTHER)
    assert free not in vpc.there()


def test_a_denied_release_ends_at_once_and_names_the_permission(vpc: Vpc) -> None:
    """Waiting would not help."""
    vpc.eni(ADDRESS)
    vpc.cloud.denied.add("DetachNetworkInterface")
    began = vpc.ec2.now
    with pytest.raises(Denied, match="ec2:DetachNetworkInterface"):
        vpc.release(ADDRESS)
    assert vpc.ec2.now == began


class ThrottledOnce(FakeCloud):
    """EC2 that throttles the first detach."""

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See :class:`floatingip.core.ports.Cloud`."""
        if "DetachNetworkInterface" not in self.calls:
            self.calls.append("DetachNetworkInterface")
            raise CloudUnavailable("DetachNetworkInterface: RequestLimitExceeded")
        super().detach_eni(attachment_id, force=force)


def test_a_detach_that_was_throttled_is_tried_again_and_not_forced(vpc: Vpc) -> None:
    """Nothing hangs: a guest that is well should let go by itself."""
    held = vpc.eni(ADDRESS)
    began = vpc.ec2.now
    said = vpc.release(ADDRESS, cloud=ThrottledOnce(vpc.ec2))
    assert said[-2:] == [f"{held}: detaching from {vpc.worker}", f"{held}: deleted"]
    assert vpc.ec2.now - began < FORCE_AFTER


def test_an_outage_of_ec2_in_between_is_waited_for(vpc: Vpc) -> None:
    """A single Describe that is not answered must not leave the work half done."""
    held = vpc.eni(ADDRESS)
    chosen = vpc.plan()

    def sleep(seconds: float) -> None:
        vpc.cloud.reachable = not vpc.cloud.reachable
        vpc.ec2.advance(vpc.ec2.now + seconds)

    vpc.sleep = sleep  # type: ignore[method-assign]  # EC2 comes and goes
    vpc.carry_out(chosen)
    assert held not in vpc.there()


def test_the_pause_between_two_looks_spares_ec2(vpc: Vpc) -> None:
    """One Describe a second, whatever the number of interfaces."""
    vpc.eni(ADDRESS)
    asked = len(vpc.cloud.calls)
    vpc.release(ADDRESS)
    looks = vpc.cloud.calls[asked:].count("DescribeNetworkInterfaces")
    assert looks <= 2 + vpc.ec2.delays.detach / release.LOOK_EVERY + 1


def test_what_others_make_while_the_unused_go_is_theirs(vpc: Vpc) -> None:
    """Observers run then, and may need a new interface, for an address of the settings or for a new worker."""
    orphan = vpc.eni(OTHER, attached=False)
    chosen = vpc.plan(unused=True)
    made = {vpc.eni(ADDRESS), standing(vpc)}
    vpc.carry_out(chosen)
    assert vpc.said == [f"{orphan}: deleted"]
    assert vpc.there() == made


class ThrottledFor(FakeCloud):
    """EC2 that throttles detaches for so many seconds."""

    def __init__(self, ec2: FakeEc2, seconds: float) -> None:
        super().__init__(ec2)
        self.model, self.until = ec2, ec2.now + seconds
        self.detached: list[bool] = []

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See :class:`floatingip.core.ports.Cloud`."""
        if self.model.now < self.until:
            raise Throttled("DetachNetworkInterface: RequestLimitExceeded")
        self.detached.append(force)
        super().detach_eni(attachment_id, force=force)


def test_a_detach_that_was_begun_late_is_not_forced_for_that(vpc: Vpc) -> None:
    """The guest has had no time yet to let go; why nothing happens is told once."""
    held = vpc.eni(ADDRESS)
    cloud = ThrottledFor(vpc.ec2, 2 * release.FORCE_AFTER)
    said = vpc.release(ADDRESS, cloud=cloud)
    assert cloud.detached == [False]
    assert said == [
        f"{held}: DetachNetworkInterface: RequestLimitExceeded; trying again",
        f"{held}: detaching from {vpc.worker}",
        f"{held}: deleted",
    ]


def test_an_interface_that_ec2_does_not_show_once_is_not_taken_for_gone(vpc: Vpc) -> None:
    """It was shown when the release was planned."""
    held = vpc.eni(ADDRESS)
    chosen = vpc.plan()
    vpc.cloud.omitted.add(held)
    sleep = vpc.sleep

    def shown_again(seconds: float) -> None:
        vpc.cloud.omitted.clear()
        sleep(seconds)

    vpc.sleep = shown_again  # type: ignore[method-assign]  # EC2 is late
    vpc.carry_out(chosen)
    assert held not in vpc.there()
