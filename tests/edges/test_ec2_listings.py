"""
Answers of which the first part alone would mislead: further pages, further network cards, a list that lacks.

And what is large: clusters with hundreds of workers, of which EC2 takes and gives only so many at a time, and instances
with more interfaces than most.
"""

from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest

from floatingip.core.ec2 import InstanceState
from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.ec2.inspection import Inspection, seconds_ahead
from tests.edges.ec2_server import Server, answer, listed, subnets
from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]

RESERVATIONS, TYPES, RULES = "GetSubnetCidrReservations", "DescribeInstanceTypes", "DescribeSecurityGroupRules"


def paged(server: Server, action: str, first: bytes, second: bytes) -> None:
    """The first page has a token, by which the second one is asked for."""
    server.replies |= {action: lambda connection: connection.sendall(
        second if "NextToken=more" in server.asked[-1] else first
    )}  # fmt: skip


def reserved(*networks: str, more: str = "") -> bytes:
    """What EC2 says is reserved in a subnet."""
    items = listed(f"<cidr>{network}</cidr><reservationType>explicit</reservationType>" for network in networks)
    return answer(RESERVATIONS, f"<subnetIpv4CidrReservationSet>{items}</subnetIpv4CidrReservationSet>{more}")


def test_reservations_of_all_pages_are_known(server: Server, cloud: Ec2Cloud) -> None:
    """One that is not known would let EC2 hand the floating address out."""
    paged(server, RESERVATIONS, reserved("10.0.0.16/28", more="<nextToken>more</nextToken>"), reserved("10.0.0.96/28"))
    assert cloud.describe_reservations("subnet-1") == (IPv4Network("10.0.0.16/28"), IPv4Network("10.0.0.96/28"))


def test_reservations_that_are_not_told_are_not_none(server: Server, cloud: Ec2Cloud) -> None:
    """An answer without any list of them is no answer, nor is one without an end; an empty list is one."""
    server.replies[RESERVATIONS] = answer(RESERVATIONS, "")
    with pytest.raises(CloudUnavailable, match="no list of reservations"):
        cloud.describe_reservations("subnet-1")
    server.replies[RESERVATIONS] = reserved()
    assert cloud.describe_reservations("subnet-1") == ()
    server.replies[RESERVATIONS] = reserved(more="<nextToken>again</nextToken>")
    with pytest.raises(CloudUnavailable, match="has no end"):
        cloud.describe_reservations("subnet-1")


def most(interfaces: int) -> str:
    """So many interfaces at most, of an instance or a card."""
    return f"<maximumNetworkInterfaces>{interfaces}</maximumNetworkInterfaces>"


def card(index: int, interfaces: int) -> str:
    """One network card of an instance type."""
    return f"<networkCardIndex>{index}</networkCardIndex>{most(interfaces)}"


def instance_type(name: str, *cards: str) -> str:
    """An instance type with these cards, or with no list of them."""
    shown = f"{most(99)}<networkCards>{listed(cards)}</networkCards>" if cards else most(3)
    return f"<instanceType>{name}</instanceType><networkInfo>{shown}</networkInfo>"


def types(*items: str) -> bytes:
    """The answer that shows them."""
    return answer(TYPES, f"<instanceTypeSet>{listed(items)}</instanceTypeSet>")


@pytest.mark.parametrize(
    ("cards", "slots"),
    [((card(1, 2), card(0, 4)), 4), ((most(5), most(10)), 5), ((), 3)],
    ids=["wherever in the list", "the first of a list without numbers", "an older type, without a list"],
)
def test_slots_are_those_of_the_card_that_ours_are_attached_to(
    server: Server, cloud: Ec2Cloud, cards: tuple[str, ...], slots: int
) -> None:
    """The others may have more or fewer."""
    server.replies[TYPES] = types(instance_type("p5.48xlarge", *cards))
    assert cloud.describe_slots("p5.48xlarge") == slots


@pytest.mark.parametrize(
    "shown",
    [(), (instance_type("m5.large", card(0, 3)),), (instance_type("p5.48xlarge", card(1, 2)),)],
    ids=["none", "another type", "another card"],
)
def test_what_does_not_show_that_card_tells_no_slots(server: Server, cloud: Ec2Cloud, shown: tuple[str, ...]) -> None:
    """A node would call itself ready, or unready, by another one's room."""
    server.replies[TYPES] = types(*shown)
    with pytest.raises(CloudUnavailable):
        cloud.describe_slots("p5.48xlarge")


def rules(group: str, network: str, more: str = "") -> bytes:
    """One rule of this group."""
    fields = f"<groupId>{group}</groupId><isEgress>false</isEgress><ipProtocol>icmp</ipProtocol>"
    shown = f"{fields}<fromPort>-1</fromPort><toPort>-1</toPort><cidrIpv4>{network}</cidrIpv4>"
    return answer(RULES, f"<securityGroupRuleSet>{listed([shown])}</securityGroupRuleSet>{more}")


@pytest.mark.usefixtures("cloud")
def test_the_doctor_knows_the_rules_of_all_pages(server: Server, client: Any) -> None:
    """By the first page alone it would call a group closed that is open."""
    paged(server, RULES, rules("sg-1", "10.0.0.0/24", "<nextToken>more</nextToken>"), rules("sg-1", "10.0.1.0/24"))
    found = Inspection(client, "us-west-2", "vpc-1").rules(frozenset({"sg-1"}))
    assert [rule.network for rule in found] == [ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24")]


@pytest.mark.parametrize("took", [0.0, 8.0])
def test_a_slow_answer_makes_no_clock_wrong(took: float) -> None:
    """EC2 wrote its time half way through: by when it came, each slow answer would have a node's clock be ahead."""
    date = "Mon, 23 Nov 2026 00:00:04 GMT"
    assert seconds_ahead(1_795_392_004.5 - took / 2, took, date) == pytest.approx(0.0)
    assert seconds_ahead(1_795_392_304.5 - took / 2, took, date) == pytest.approx(300.0)


MOST = 200
"""Values in a filter, beyond which EC2 says FilterLimitExceeded."""


@pytest.mark.parametrize("many", [MOST, MOST + 1, 2 * MOST + 1])
def test_more_instances_than_a_filter_takes_are_asked_about(endpoint: Endpoint, many: int) -> None:
    """Each is one that has ended and left its standing ENI: EC2 refused the question, and with it every look."""
    ids = [f"i-{number:04}" for number in range(many)]
    for first in range(0, many, MOST):
        part = ids[first : first + MOST]
        shown = [{"InstanceId": each, "State": {"Name": "terminated"}} for each in part]
        asked = {"Filters": [{"Name": "instance-id", "Values": part}]}
        endpoint.answers("DescribeInstances", {"Reservations": [{"Instances": shown}]}, asked)
    found = endpoint.cloud.describe_instances(frozenset(ids))
    assert found.keys() == set(ids)
    assert {instance.state for instance in found.values()} == {InstanceState.TERMINATED}


def test_the_doctor_gets_the_workers_page_by_page(monkeypatch: pytest.MonkeyPatch, stubbed: Any) -> None:
    """What EC2 shows of a worker has all of its pods' addresses: of two hundred in one answer that is too long."""
    told: list[int] = []

    def describe(*, Filters: list[Any], MaxResults: int = 1000, NextToken: str = "0") -> dict[str, Any]:
        first, is_ours = int(NextToken), Filters[1]["Name"] == "tag-key"
        instances = [{"InstanceId": f"i-{number:04}"} for number in range(200 if is_ours else 0)]
        told.append(len(instances[first : first + MaxResults]))
        more = {"NextToken": str(first + MaxResults)} if first + MaxResults < len(instances) else {}
        return {"Reservations": [{"Instances": instances[first : first + MaxResults]}], **more}

    monkeypatch.setattr(stubbed, "describe_instances", describe)
    assert len(Inspection(stubbed, "us-west-2", "vpc-1").workers("lab")) == 200
    assert max(told) <= 25


SLOTS = 24
"""Interfaces on one network card, as a c8i.48xlarge has (EC2 Instance Types Guide)."""


def test_the_last_slot_of_the_largest_instance_is_used(endpoint: Endpoint) -> None:
    """The VPC CNI has all others, for the node's pods."""
    asked = {"NetworkInterfaceId": "eni-1", "InstanceId": "i-0b", "DeviceIndex": SLOTS - 1, "NetworkCardIndex": 0}
    endpoint.answers("AttachNetworkInterface", {"AttachmentId": "eni-attach-1"}, asked)
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset(range(SLOTS - 1))) == "eni-attach-1"


BLOCK = "2001:db8:0:6::/64"
"""An IPv6 network: EC2 goes on showing for a while those that it took off a subnet."""


def subnet(subnet_id: str, state: str) -> str:
    """One whose IPv6 network is in this state."""
    block = f"<ipv6CidrBlock>{BLOCK}</ipv6CidrBlock><ipv6CidrBlockState><state>{state}</state></ipv6CidrBlockState>"
    return (
        f"<subnetId>{subnet_id}</subnetId><availabilityZone>us-west-2a</availabilityZone>"
        f"<ipv6CidrBlockAssociationSet><item>{block}</item></ipv6CidrBlockAssociationSet>"
    )


@pytest.mark.parametrize("state", ["disassociating", "disassociated", "failing", "failed"])
def test_a_network_that_a_subnet_has_no_more_is_another_ones(server: Server, cloud: Ec2Cloud, state: str) -> None:
    """An address of it would be looked for, and made, in the wrong subnet."""
    server.replies[""] = subnets(subnet("subnet-old", state), subnet("subnet-new", "associated"))
    shown = cloud.describe_subnets()
    assert [(each.id, each.networks, each.unread) for each in shown] == [
        ("subnet-old", (), ""),
        ("subnet-new", (ip_network(BLOCK),), ""),
    ]


@pytest.mark.parametrize("state", ["associating", "associated", "what nobody has heard of yet"])
def test_any_other_network_is_the_subnets(server: Server, cloud: Ec2Cloud, state: str) -> None:
    """It has it already, or is about to."""
    server.replies[""] = subnets(subnet("subnet-1", state))
    assert [each.networks for each in cloud.describe_subnets()] == [(ip_network(BLOCK),)]
