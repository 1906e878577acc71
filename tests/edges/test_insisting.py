"""What a command does when EC2 refuses a call: it waits for what is throttled, says so, and claims nothing else."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.commands import pause
from floatingip.commands.deployment import Deployment
from floatingip.commands.insisting import PAUSES, insist
from floatingip.core.decision import pause as pauses
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.errors import CloudError, CloudUnavailable, ConfigurationError, LookAgain, NoCredentials, Throttled
from floatingip.core.model import Carry
from tests.edges.handed_over import ADDRESS, NAME, Vpc, interrupt
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

THROTTLED = "CreateTags: RequestLimitExceeded: too many"
OTHER = IPv4Address("127.0.0.101")


class Refusing(FakeCloud):
    """EC2 that answers so many calls that write a tag, one after the other, by these errors."""

    def __init__(self, ec2: FakeEc2) -> None:
        super().__init__(ec2)
        self.refusals: list[BaseException | None] = []

    def tag_enis(self, eni_ids: tuple[str, ...], tags: Mapping[str, str]) -> None:
        """See :class:`floatingip.core.ports.Cloud`."""
        if self.refusals and (refusal := self.refusals.pop(0)) is not None:
            raise refusal
        super().tag_enis(eni_ids, tags)


def test_what_is_throttled_is_asked_again_after_longer_and_longer_pauses() -> None:
    """Each is told, with what EC2 says; and there is an end of it."""
    said, slept, left = list[str](), list[float](), [Throttled(THROTTLED)] * len(PAUSES)

    def call() -> str:
        if left:
            raise left.pop()
        return "done"

    assert insist(call, said.append, slept.append) == "done"
    assert tuple(slept) == PAUSES == tuple(sorted(PAUSES))
    assert said == [f"{THROTTLED}; trying again in {seconds:g} s" for seconds in PAUSES]
    left = [Throttled(THROTTLED)] * (len(PAUSES) + 1)
    with pytest.raises(Throttled):
        insist(call, said.append, slept.append)
    assert not left


def test_what_may_have_been_done_is_not_done_again() -> None:
    """An answer that got lost says nothing."""
    made = list[None]()

    def call() -> None:
        made.append(None)
        raise CloudUnavailable("CreateTags: no answer within 5 s")

    with pytest.raises(CloudUnavailable):
        insist(call, pytest.fail, lambda _: pytest.fail("it waits"))
    assert len(made) == 1


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    vpc = Vpc()
    vpc.cloud = Refusing(vpc.ec2)
    return vpc


def refuse(vpc: Vpc, *refusals: BaseException | None) -> None:
    """Have EC2 refuse the next tags so."""
    assert isinstance(vpc.cloud, Refusing)
    vpc.cloud.refusals = list(refusals)


@pytest.mark.parametrize(
    "error",
    [
        CloudError("CreateTags: TagLimitExceeded: 50"),
        CloudError("CreateTags: InvalidParameterValue: no"),
        LookAgain("CreateTags: InvalidNetworkInterfaceID.NotFound: gone"),
        NoCredentials("CreateTags: AuthFailure: no"),
    ],
    ids=str,
)
def test_an_order_that_ec2_refuses_was_never_there(vpc: Vpc, error: CloudError) -> None:
    """So nothing is taken back, nor said to be."""
    refuse(vpc, error)
    with pytest.raises(CloudError, match="CreateTags"):
        vpc.carry_out()
    assert vpc.said == []
    assert vpc.cloud.calls.count("CreateTags") == 0


def test_an_order_whose_answer_got_lost_is_taken_back(vpc: Vpc) -> None:
    refuse(vpc, CloudUnavailable("CreateTags: no answer within 5 s"))
    with pytest.raises(CloudUnavailable):
        vpc.carry_out()
    assert vpc.said == [f"{ADDRESS}: no longer asked for"]
    assert vpc.cloud.calls.count("CreateTags") == 1


def test_an_order_that_is_throttled_is_written_all_the_same_and_taken_back(vpc: Vpc) -> None:
    refuse(vpc, Throttled(THROTTLED), None, Throttled(THROTTLED))
    vpc.then[12.0] = vpc.move
    vpc.carry_out()
    again = f"{THROTTLED}; trying again in 1 s"
    assert [line for line in vpc.said if line == again] == [again, again]
    assert vpc.order() is None


def test_whoever_breaks_off_the_taking_back_is_told_what_may_still_happen(vpc: Vpc) -> None:
    """Ctrl-C twice: while EC2 throttles it takes a while."""
    refuse(vpc, None, KeyboardInterrupt())
    vpc.then[12.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    assert vpc.said[-1].endswith("and may be obeyed until 2025-11-24T16:03:10Z: broken off")


def begin(vpc: Vpc) -> None:
    """Pause for ten minutes."""
    pause.begin(vpc.ours, [ADDRESS], 600.0, vpc.console)


def end(vpc: Vpc, *addresses: IPv4Address) -> bool:
    """Resume."""
    given = addresses or (ADDRESS,)
    return pause.end(vpc.ours, given, vpc.console)


def paused(vpc: Vpc) -> list[str]:
    """The interfaces that have the tag."""
    return sorted(eni.id for eni in vpc.cloud.describe_enis(NAME) if eni.tags.get(pauses.TAG))


def test_a_pause_and_its_end_wait_where_ec2_throttles(vpc: Vpc) -> None:
    """All interfaces are tagged by one call."""
    refuse(vpc, Throttled(THROTTLED), None)
    begin(vpc)
    assert paused(vpc) == sorted(vpc.enis)
    refuse(vpc, Throttled(THROTTLED))
    assert end(vpc)
    assert paused(vpc) == []
    assert vpc.said == [f"{THROTTLED}; trying again in 1 s"] * 2


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_pause_or_its_end_looks_anew_once_an_interface_is_gone(
    vpc: Vpc, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    """As when a node is just replaced: EC2 refuses to tag any of those that are named, since one of them is gone."""
    if is_begun:
        begin(vpc)
    there, describe_enis = vpc.cloud.describe_enis(NAME), vpc.cloud.describe_enis
    late = iter([(*there, replace(there[-1], id="eni-gone"))])
    monkeypatch.setattr(vpc.cloud, "describe_enis", lambda name: next(late, ()) or describe_enis(name))
    (end if is_begun else begin)(vpc)
    assert paused(vpc) == ([] if is_begun else sorted(vpc.enis))
    (told,) = vpc.said
    assert told.endswith("eni-gone; trying again in 1 s")


@pytest.mark.parametrize("broken_off_by", [CloudError("CreateTags: TagLimitExceeded"), KeyboardInterrupt()], ids=repr)
def test_a_pause_is_begun_and_ended_on_all_interfaces_or_on_none(vpc: Vpc, broken_off_by: BaseException) -> None:
    """Or an address would move, or not, where nobody expects it any more."""
    refuse(vpc, broken_off_by)
    with pytest.raises(type(broken_off_by)):
        begin(vpc)
    assert paused(vpc) == []
    refuse(vpc, None, broken_off_by)
    begin(vpc)
    with pytest.raises(type(broken_off_by)):
        end(vpc)
    assert paused(vpc) == sorted(vpc.enis)


def test_a_pause_can_be_ended_though_one_address_has_lost_its_interface(vpc: Vpc) -> None:
    """The others stay paused otherwise; only where there is nothing at all the name may be wrong."""
    begin(vpc)
    assert end(vpc, ADDRESS, OTHER)
    assert paused(vpc) == []
    ec2 = FakeEc2(Delays())
    with pytest.raises(ConfigurationError, match=rf"{NAME} has no interface of {OTHER}; nothing to resume"):
        pause.end(Deployment(FakeCloud(ec2), NAME, "vpc-1", Carry.ADDRESS, 9807), [OTHER])


def test_a_pause_of_a_day_is_one_to_an_observer_whose_clock_is_behind() -> None:
    """By as much as AWS lets it be: else it would be none until both have the same time."""
    day = pause.LONGEST * 60
    ec2 = FakeEc2(Delays())
    subnet, cloud = ec2.add_subnet("127.0.0.0/24"), FakeCloud(ec2)
    cloud.create_eni(ADDRESS, subnet, {OWNER_TAG: NAME}, "one")
    pause.begin(Deployment(cloud, NAME, "vpc-1", Carry.ENI, 9807, wall=lambda: 1_764_000_000.0), [ADDRESS], day)
    (eni,) = cloud.describe_enis(NAME)
    assert pauses.ends_at(eni.tags, 1_764_000_000.0 - 290.0) == 1_764_000_000.0 + day
