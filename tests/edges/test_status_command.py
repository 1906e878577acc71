"""`floatingip status`: whom it asks, and what it makes of who does not answer; observers on loopback, a fake EC2 that
may answer some questions only, or that cannot be asked at all.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from floatingip.commands import status
from floatingip.core.decision import order, pause, ration
from floatingip.core.ec2 import ALLOCATION_TAG, OWNER_TAG, Instance, InstanceState
from floatingip.core.errors import (
    CloudError,
    CloudUnavailable,
    Denied,
    FloatingIPError,
    MetadataError,
    NoCredentials,
    Throttled,
)
from floatingip.core.model import Allocation
from floatingip.core.node import Identity
from floatingip.core.overview import NO_EC2, Overview, Verdict
from floatingip.core.ports import Cloud
from floatingip.core.settings import Settings
from floatingip.core.word import Held, Status
from tests.edges.observers import HOLDER, TARGET, THIRD, Start
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

NAME = "cluster"


@dataclass
class Vpc:
    """Two workers at addresses of loopback, the first of which has the address by its ENI."""

    port: int
    ec2: FakeEc2 = field(default_factory=FakeEc2)

    def __post_init__(self) -> None:
        subnet = self.ec2.add_subnet("10.0.0.0/24")
        self.cloud = FakeCloud(self.ec2)
        self.holder, self.other = (self.ec2.add_instance(address, subnet) for address in (HOLDER, THIRD))
        eni = self.cloud.create_eni(IPv4Address(TARGET), subnet, {OWNER_TAG: NAME}, "token")
        self.eni = eni.id
        self.attachment = self.cloud.attach_eni(eni.id, self.holder, frozenset((0,)))
        self.ec2.advance(60.0)

    def look(self, address: str = HOLDER, instance: str | None = None, cloud: Callable[[], Cloud] | None = None
             ) -> Overview:  # fmt: skip
        """From a worker."""
        here = status.Here(self.holder if instance is None else instance, IPv4Address(address))
        settings = Settings((IPv4Address(TARGET),), name=NAME, port=self.port)
        return status.look(settings, here, cloud or (lambda: self.cloud))

    def said(self, instance: str) -> Status:
        """The word of an observer there."""
        return Status(NAME, instance, holds={TARGET: Held(self.attachment)} if instance == self.holder else {})


@pytest.fixture(name="vpc")
def _vpc(port: int) -> Vpc:
    return Vpc(port)


def test_the_observers_that_ec2_names_are_asked(vpc: Vpc, start: Start) -> None:
    """Also where this node's own knows of none: one holds it, as EC2 says."""
    start(HOLDER, vpc.said(vpc.holder))
    shown = vpc.look()
    assert [(each.instance, each.problem) for each in shown.observers] == [(vpc.holder, "")]
    assert (shown.addresses[0].holder, shown.addresses[0].answer_age) == (vpc.holder, 0.0)


def test_they_are_asked_from_this_node_s_primary_address(
    vpc: Vpc, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may prefer another one of its addresses, by which nobody knows who asks: here one that all know."""
    monkeypatch.setattr(status, "ANSWERED_WITHIN", 0.2)
    start(HOLDER, vpc.said(vpc.holder))
    told = {each.instance: each.problem for each in vpc.look(THIRD, vpc.other).observers}
    assert told[vpc.holder].startswith("it tells only peers")


def test_from_a_node_without_an_observer_the_holders_is_asked(vpc: Vpc, start: Start) -> None:
    """And that there is none here is said."""
    start(HOLDER, vpc.said(vpc.holder)).meet(**{vpc.other.removeprefix("i-"): THIRD})
    shown = vpc.look(THIRD, vpc.other)
    told = {each.instance: each.problem for each in shown.observers}
    assert told == {vpc.holder: "", vpc.other: "no connection (Connection refused)"}
    assert shown.verdict is Verdict.DEGRADED


def test_another_one_that_answers_in_an_observers_place_is_not_believed(vpc: Vpc, start: Start) -> None:
    """EC2 says whose address it is."""
    start(HOLDER, vpc.said("i-0bad")).meet(**{vpc.other.removeprefix("i-"): THIRD})
    shown = vpc.look(THIRD, vpc.other)
    told = {each.instance: each.problem for each in shown.observers}
    assert told[vpc.holder] == "another one answers in its place"


def test_a_holder_that_was_never_heard_is_named_by_ec2(vpc: Vpc) -> None:
    """It is its node that one goes and looks after."""
    shown = vpc.look(THIRD, vpc.other)
    named = vpc.cloud.describe_instances(frozenset({vpc.holder}))[vpc.holder].node
    assert shown.addresses[0].node == named != ""


def test_without_ec2_what_the_observers_know_is_shown(vpc: Vpc, start: Start) -> None:
    """With what was not learned."""
    start(HOLDER, vpc.said(vpc.holder))
    vpc.cloud.reachable = False
    shown = vpc.look()
    assert shown.addresses[0].holder == vpc.holder
    assert shown.unknown[0].startswith("what EC2 says now: ")
    assert shown.verdict is Verdict.DEGRADED


def test_an_ec2_that_hangs_is_not_waited_for(vpc: Vpc, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given its time; that the SDK was late says nothing of EC2."""
    start(HOLDER, vpc.said(vpc.holder))
    monkeypatch.setattr(status, "EC2_WITHIN", 0.1)

    def hang() -> Cloud:
        time.sleep(1.0)
        return vpc.cloud

    shown = vpc.look(cloud=hang)
    assert shown.unknown[0] == "what EC2 says now: no answer within 0.1 s"
    assert "EC2 does not answer" not in " ".join(shown.addresses[0].findings)


def test_without_imds_this_nodes_observer_says_which_node_it_is(
    vpc: Vpc, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What EC2 says cannot be asked then."""
    # Where tests run there may be no way to anywhere else.
    monkeypatch.setattr(status, "ANYWHERE", ("127.0.0.1", 9))
    start(HOLDER, vpc.said(vpc.holder))

    def silent() -> Identity:
        raise MetadataError("IMDS is silent")

    here, cloud = status.inside(silent, lambda me: vpc.cloud)
    assert here.instance == ""
    shown = vpc.look(HOLDER, "", cloud)
    assert shown.unknown[0] == "what EC2 says now: which EC2 is to be asked is not known: IMDS is silent"
    assert shown.addresses[0].holder == vpc.holder
    with pytest.raises(MetadataError, match="give --region and --vpc-id"):
        vpc.look(THIRD, "", cloud)


def test_what_ec2s_tags_say_is_shown_without_any_observer(vpc: Vpc) -> None:
    """From a workstation: an order, the ration, a pause, and since when."""
    wall = 1_764_324_000.0
    tags = {order.TAG: order.render(vpc.attachment, "*", wall + 60.0), ration.TAG: f"R6@{int(wall) - 10}/a0"}
    tags |= {pause.TAG: str(int(wall) + 90)}
    vpc.cloud.tag_eni(vpc.eni, tags)
    settings = Settings((IPv4Address(TARGET),), name=NAME)
    shown = status.look(settings, None, lambda: vpc.cloud, lambda: wall)
    address = shown.addresses[0]
    assert (shown.verdict, address.holder, address.moves_in_ten_minutes) == (Verdict.DEGRADED, vpc.holder, 1)
    assert address.findings == (pause.told(wall + 90.0),)
    assert address.order is not None
    assert (address.order.to, address.order.until, address.rationed_until) == ("*", wall + 60.0, wall + 50.0)
    vpc.ec2.terminate(vpc.holder)
    vpc.ec2.advance(vpc.ec2.now + 0.1)
    assert status.look(settings, None, lambda: vpc.cloud, lambda: wall).verdict is Verdict.DOWN
    vpc.cloud.reachable = False
    with pytest.raises(CloudError):
        status.look(settings, None, lambda: vpc.cloud, lambda: wall)


def test_while_ec2_moves_it_the_address_is_not_served(vpc: Vpc) -> None:
    """From a workstation that was healthy: attached to an instance that lives."""
    settings = Settings((IPv4Address(TARGET),), name=NAME)
    vpc.ec2.delays = Delays(detach=2.5)
    vpc.cloud.detach_eni(vpc.attachment, force=False)
    shown = status.look(settings, None, lambda: vpc.cloud)
    assert shown.verdict is Verdict.DOWN
    assert f"EC2 says: detaching from {shown.addresses[0].node} ({vpc.holder})" in shown.addresses[0].findings[0]


def test_an_elastic_ip_that_somebody_has_taken_is_down(vpc: Vpc) -> None:
    """Its interface is on a node that lives; clients are led elsewhere."""
    allocation = Allocation(vpc.ec2.allocate("203.0.113.100"))
    vpc.cloud.tag_eni(vpc.eni, {ALLOCATION_TAG: allocation.id})
    vpc.cloud.associate(allocation.id, vpc.eni, IPv4Address(TARGET))
    settings = Settings((allocation,), name=NAME)
    assert status.look(settings, None, lambda: vpc.cloud).verdict is Verdict.HEALTHY
    vpc.ec2.disassociate(allocation.id)
    shown = status.look(settings, None, lambda: vpc.cloud)
    assert shown.verdict is Verdict.DOWN
    said = f"no node holds it: EC2 says: {vpc.eni}, which is for it, is not associated with it"
    assert shown.addresses[0].findings == (said,)


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
