"""`floatingip status` where EC2 answers some of its questions only, or where it cannot ask EC2 at all."""

import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

import pytest

from floatingip.commands import status
from floatingip.core.decision import order, pause, ration
from floatingip.core.ec2 import ALLOCATION_TAG, Instance, InstanceState
from floatingip.core.errors import CloudUnavailable, Denied, FloatingIPError, MetadataError, NoCredentials, Throttled
from floatingip.core.model import Allocation
from floatingip.core.overview import NO_EC2, Overview, Verdict
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from tests.edges.observers import HOLDER, TARGET, Start
from tests.edges.test_status_command import NAME, Vpc
from tests.fakes.cloud import FakeCloud

SETTINGS = Settings((IPv4Address(TARGET),), name=NAME)
WALL = 1_764_324_000.0


class Silent(FakeCloud):
    """An EC2 that shows interfaces, but to which ``instances`` happens when it is to describe instances."""

    instances: Callable[[], Mapping[str, Instance]]

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See `ports.Cloud`."""
        return self.instances()


def hang() -> Mapping[str, Instance]:
    """For longer than anybody waits."""
    time.sleep(2.0)
    return {}


def deny() -> Mapping[str, Instance]:
    """By IAM."""
    raise Denied("ec2:DescribeInstances")


@pytest.fixture(name="vpc")
def _vpc(port: int) -> Vpc:
    return Vpc(port)


def silent(vpc: Vpc, instances: Callable[[], Mapping[str, Instance]]) -> Silent:
    """The same EC2."""
    cloud = Silent(vpc.ec2)
    cloud.instances = instances
    return cloud


@pytest.mark.parametrize(("instances", "why"), [(hang, "DescribeInstances: no answer within 0."), (deny, "IAM denies")])
def test_where_the_address_is_counts_though_no_instance_is_described(
    vpc: Vpc, start: Start, monkeypatch: pytest.MonkeyPatch, instances: Callable[[], Mapping[str, Instance]], why: str
) -> None:
    """Nor does it speak against EC2, which answers the observers."""
    monkeypatch.setattr(status, "EC2_WITHIN", 0.6)
    start(HOLDER, vpc.said(vpc.holder))
    cloud = silent(vpc, instances)
    shown = vpc.look(cloud=lambda: cloud)
    assert (shown.addresses[0].holder, shown.addresses[0].answer_age) == (vpc.holder, 0.0)
    [unknown] = shown.unknown
    assert unknown.startswith("what EC2 says now: ")
    assert why in unknown
    assert NO_EC2 not in " ".join(shown.addresses[0].findings)


def unread(vpc: Vpc) -> Mapping[str, Instance]:
    """What is said of it is no answer."""
    return {vpc.holder: Instance(vpc.holder, InstanceState.UNREAD, None, "", frozenset())}


@pytest.mark.parametrize("shows", [lambda _: deny(), lambda _: {}, unread], ids=["denied", "not shown", "unread"])
def test_from_a_workstation_a_holder_of_which_nothing_is_known_is_not_called_alive(
    vpc: Vpc, shows: Callable[[Vpc], Mapping[str, Instance]]
) -> None:
    """That it is attached is known, and all that there is from there."""
    cloud = silent(vpc, lambda: shows(vpc))
    shown = status.look(SETTINGS, None, lambda: cloud)
    address = shown.addresses[0]
    assert (shown.verdict, address.holder) == (Verdict.UNKNOWN, vpc.holder)
    assert address.findings[0].startswith("whether its holder lives is not known: ")
    assert "unread" not in address.sentence
    assert status.EXIT_CODES[shown.verdict] == 12


@pytest.mark.parametrize(
    "error",
    [
        MetadataError("which EC2 is to be asked is not known"),
        NoCredentials("no AWS credentials"),
        Throttled("DescribeNetworkInterfaces: RequestLimitExceeded"),
        Denied("ec2:DescribeNetworkInterfaces"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_this_command_cannot_ask_says_nothing_of_what_observers_can(
    vpc: Vpc, start: Start, error: FloatingIPError
) -> None:
    """EC2 answers them, as they tell; that it did not answer here at all, counts."""
    start(HOLDER, vpc.said(vpc.holder))

    def look(error: FloatingIPError) -> Overview:
        def cloud() -> Cloud:
            raise error

        return vpc.look(cloud=cloud)

    shown = look(error)
    assert shown.unknown[0] == f"what EC2 says now: {error}"
    assert NO_EC2 not in " ".join(shown.addresses[0].findings)
    assert f"{NO_EC2}: 503" in look(CloudUnavailable("503")).addresses[0].findings


def test_what_stands_in_the_tags_is_told_though_nobody_has_the_address(vpc: Vpc) -> None:
    """A pause, and the ration; of an interface that is free, and of one from which an Elastic IP was taken."""
    vpc.cloud.tag_eni(vpc.eni, {pause.TAG: str(int(WALL) + 90), ration.TAG: f"R6@{int(WALL) - 10}/a0"})
    vpc.cloud.tag_eni(vpc.eni, {order.TAG: order.render(vpc.attachment, "*", WALL + 60.0)})
    vpc.cloud.tag_eni(vpc.eni, {ALLOCATION_TAG: "eipalloc-1"})
    elastic = Settings((Allocation("eipalloc-1"),), name=NAME)
    [taken] = status.look(elastic, None, lambda: vpc.cloud, lambda: WALL).addresses
    assert (taken.holder, taken.paused_until) == ("", WALL + 90.0)
    assert taken.order is not None
    vpc.cloud.tag_eni(vpc.eni, {ALLOCATION_TAG: ""})
    vpc.cloud.detach_eni(vpc.attachment, force=False)
    vpc.ec2.advance(vpc.ec2.now + 10.0)
    [free] = status.look(SETTINGS, None, lambda: vpc.cloud, lambda: WALL).addresses
    assert (free.holder, free.paused_until, free.rationed_until) == ("", WALL + 90.0, WALL + 50.0)
    assert free.moves_in_ten_minutes == 1
