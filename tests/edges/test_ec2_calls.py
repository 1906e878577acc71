"""What `Ec2Cloud` asks of EC2, call by call, and what it makes of what EC2 shows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from botocore.stub import ANY

from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import AllocationFacts, Attachment, AttachmentStatus, Eni, InstanceState
from floatingip.core.errors import CloudUnavailable, LookAgain, NoFreeSlot
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.edges.ec2.cloud import HIGHEST_DEVICE_INDEX, PAGE, Ec2Cloud
from tests.edges.ec2_stub import ADDRESS, INDEX_TAKEN, IPV6, SUBNET, Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]


def interface(**changes: object) -> dict[str, object]:
    """An ENI as EC2 shows it."""
    return {
        "NetworkInterfaceId": "eni-1",
        "MacAddress": "02:00:00:00:00:6A",
        "PrivateIpAddress": "10.0.0.100",
        "SubnetId": "subnet-1",
        "AvailabilityZone": "us-west-2-lax-1a",
        "TagSet": [{"Key": "floatingip", "Value": "cluster"}],
        **changes,
    }


ENI = {"NetworkInterfaceId": "eni-1"}
OURS = {"floatingip": "cluster"}
CREATED = {
    "SubnetId": "subnet-1",
    "Groups": ["sg-1"],
    "Description": ANY,
    "TagSpecifications": [{"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "cluster"}]}],
}
TOKEN, HUNDREDTH, SEVENTH = {"ClientToken": "token"}, {"PrivateIpAddress": "10.0.0.100"}, IPv4Address("10.0.0.7")


SAID: Mapping[str, tuple[str, Callable[[Ec2Cloud], object], Mapping[str, object]]] = {
    "create with tags from the first moment, or the VPC CNI would adopt it, and the node's security groups": (
        "CreateNetworkInterface",
        lambda ec2: ec2.create_eni(ADDRESS, SUBNET, OURS, "token"),
        CREATED | HUNDREDTH | TOKEN,
    ),
    "create for IPv6: EC2 chooses the IPv4 address": (
        "CreateNetworkInterface",
        lambda ec2: ec2.create_eni(IPV6, SUBNET, OURS, "token"),
        CREATED | TOKEN | {"Ipv6Addresses": [{"Ipv6Address": str(IPV6)}]},
    ),
    "create for an Elastic IP, which is associated later": (
        "CreateNetworkInterface",
        lambda ec2: ec2.create_eni(Allocation("eipalloc-1"), SUBNET, OURS, "token"),
        CREATED | TOKEN,
    ),
    "create without a token: an empty one would be an invalid one": (
        "CreateNetworkInterface",
        lambda ec2: ec2.create_eni(ADDRESS, SUBNET, OURS, ""),
        CREATED | HUNDREDTH,
    ),
    "detach names the attachment, which is the fencing token, and never the ENI": (
        "DetachNetworkInterface",
        lambda ec2: ec2.detach_eni("eni-attach-1", force=False),
        {"AttachmentId": "eni-attach-1", "Force": False},
    ),
    "detach by force": (
        "DetachNetworkInterface",
        lambda ec2: ec2.detach_eni("eni-attach-1", force=True),
        {"AttachmentId": "eni-attach-1", "Force": True},
    ),
    "associate with one address of the ENI, and never take the allocation from whoever has it": (
        "AssociateAddress",
        lambda ec2: ec2.associate("eipalloc-1", "eni-1", SEVENTH),
        ENI | {"AllocationId": "eipalloc-1", "PrivateIpAddress": "10.0.0.7", "AllowReassociation": False},
    ),
    "assign what nobody has: EC2's default is to refuse what somebody has": (
        "AssignPrivateIpAddresses",
        lambda ec2: ec2.assign("eni-1", ADDRESS, reassign=False),
        ENI | {"PrivateIpAddresses": ["10.0.0.100"], "AllowReassignment": False},
    ),
    "reassign, which is the difference between a claim and a move": (
        "AssignPrivateIpAddresses",
        lambda ec2: ec2.assign("eni-1", ADDRESS, reassign=True),
        ENI | {"PrivateIpAddresses": ["10.0.0.100"], "AllowReassignment": True},
    ),
    "assign one more address of EC2's choice": (
        "AssignPrivateIpAddresses",
        lambda ec2: ec2.assign_any("eni-1"),
        ENI | {"SecondaryPrivateIpAddressCount": 1},
    ),
    "unassign IPv6 from exactly this ENI: there is no reassignment": (
        "UnassignIpv6Addresses",
        lambda ec2: ec2.unassign("eni-1", IPV6),
        ENI | {"Ipv6Addresses": [str(IPV6)]},
    ),
    "assign IPv6": (
        "AssignIpv6Addresses",
        lambda ec2: ec2.assign("eni-1", IPV6, reassign=False),
        ENI | {"Ipv6Addresses": [str(IPV6)]},
    ),
    "one attribute in a call: security groups": (
        "ModifyNetworkInterfaceAttribute",
        lambda ec2: ec2.set_security_groups("eni-1", ("sg-2", "sg-3")),
        ENI | {"Groups": ["sg-2", "sg-3"]},
    ),
    "one attribute in a call: survival of the instance": (
        "ModifyNetworkInterfaceAttribute",
        lambda ec2: ec2.keep_after_termination("eni-1", "eni-attach-1"),
        ENI | {"Attachment": {"AttachmentId": "eni-attach-1", "DeleteOnTermination": False}},
    ),
    "one attribute in a call: source check": (
        "ModifyNetworkInterfaceAttribute",
        lambda ec2: ec2.check_source("eni-1"),
        ENI | {"SourceDestCheck": {"Value": True}},
    ),
}


@pytest.mark.parametrize("what", SAID)
def test_a_call_says_exactly_this(endpoint: Endpoint, what: str) -> None:
    """Neither more nor less; EC2's defaults are not relied on where they would matter."""
    action, call, asked = SAID[what]
    endpoint.answers(action, {"NetworkInterface": interface()} if action == "CreateNetworkInterface" else {}, asked)
    made = call(endpoint.cloud)
    assert not isinstance(made, Eni) or made.id == "eni-1"


def attach_at(index: int) -> dict[str, Any]:
    """The parameters of an attach at this index."""
    return {"NetworkInterfaceId": "eni-1", "InstanceId": "i-0b", "DeviceIndex": index, "NetworkCardIndex": 0}


def test_an_attach_takes_the_lowest_free_index(endpoint: Endpoint) -> None:
    """Gaps are filled, as the VPC CNI does."""
    endpoint.answers("AttachNetworkInterface", {"AttachmentId": "eni-attach-1"}, attach_at(2))
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset({0, 1, 3})) == "eni-attach-1"


def test_an_index_that_somebody_took_meanwhile_is_passed_over(endpoint: Endpoint) -> None:
    """The VPC CNI attaches interfaces of its own at any time; known ones are not tried.  Codes differ."""
    for index, code in ((1, "InvalidParameterValue"), (3, "InvalidParameterCombination")):
        endpoint.refuses("AttachNetworkInterface", code, INDEX_TAKEN, **attach_at(index))
    endpoint.answers("AttachNetworkInterface", {"AttachmentId": "eni-attach-1"}, attach_at(4))
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset({0, 2})) == "eni-attach-1"


def test_an_instance_whose_indexes_are_all_taken_has_no_free_slot(endpoint: Endpoint) -> None:
    """It ends, instead of trying for ever."""
    for _ in range(HIGHEST_DEVICE_INDEX):
        endpoint.refuses("AttachNetworkInterface", "InvalidParameterValue", INDEX_TAKEN)
    assert isinstance(endpoint.error_of("AttachNetworkInterface"), NoFreeSlot)


def test_a_lost_race_is_not_tried_at_the_next_index(endpoint: Endpoint) -> None:
    """The ENI is in use by then: one call, and look again."""
    endpoint.refuses("AttachNetworkInterface", "InvalidNetworkInterface.InUse")
    assert isinstance(endpoint.error_of("AttachNetworkInterface"), LookAgain)


def test_occupants_are_asked_for_by_address_within_the_vpc_and_shown_with_their_attachment(endpoint: Endpoint) -> None:
    """Another VPC may use the same addresses; the attachment's own status is what counts."""
    attachment = {
        "AttachmentId": "eni-attach-1",
        "InstanceId": "i-0a",
        "DeviceIndex": 2,
        "Status": "detaching",
        "AttachTime": datetime(2026, 11, 23, tzinfo=UTC),
    }
    expected = {
        "Filters": [
            {"Name": "vpc-id", "Values": ["vpc-1"]},
            {"Name": "addresses.private-ip-address", "Values": ["10.0.0.100"]},
        ],
        "MaxResults": PAGE,
    }
    answer = {"NetworkInterfaces": [interface(Status="in-use", Attachment=attachment)]}
    endpoint.answers("DescribeNetworkInterfaces", answer, expected)
    (eni,) = endpoint.cloud.find_occupants(frozenset({ADDRESS}))
    assert (eni.mac, eni.tags) == ("02:00:00:00:00:6a", {"floatingip": "cluster"})
    assert eni.attachment == Attachment("eni-attach-1", "i-0a", 2, AttachmentStatus.DETACHING)


def test_occupants_of_both_families_are_asked_for_separately(endpoint: Endpoint) -> None:
    """EC2 has a filter for each, and several filters mean all of them at once."""
    addresses: frozenset[Address] = frozenset({ADDRESS, IPv6Address("2001:db8:0:1::100"), IPv4Address("10.0.0.101")})
    for name, values in (
        ("addresses.private-ip-address", ["10.0.0.100", "10.0.0.101"]),
        ("ipv6-addresses.ipv6-address", ["2001:db8:0:1::100"]),
    ):
        expected = {
            "Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}, {"Name": name, "Values": values}],
            "MaxResults": PAGE,
        }
        answer = {"NetworkInterfaces": [interface(NetworkInterfaceId=f"eni-{len(values)}")]}
        endpoint.answers("DescribeNetworkInterfaces", answer, expected)
    assert [eni.id for eni in endpoint.cloud.find_occupants(addresses)] == ["eni-2", "eni-1"]


def test_our_enis_of_all_pages_are_found_by_their_tag(endpoint: Endpoint) -> None:
    """Also in a VPC with more of them than fit into one answer."""
    asked = {
        "Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}, {"Name": "tag:floatingip", "Values": ["cluster"]}],
        "MaxResults": PAGE,
    }
    endpoint.answers("DescribeNetworkInterfaces", {"NetworkInterfaces": [interface()], "NextToken": "more"}, asked)
    endpoint.answers(
        "DescribeNetworkInterfaces",
        {"NetworkInterfaces": [interface(NetworkInterfaceId="eni-2")]},
        {**asked, "NextToken": "more"},
    )
    assert [eni.id for eni in endpoint.cloud.describe_enis("cluster")] == ["eni-1", "eni-2"]


@pytest.mark.parametrize("name", ["10.0.0.1?", "ip-10-0-0-*"])
def test_a_node_of_another_name_than_asked_for_is_not_taken(endpoint: Endpoint, name: str) -> None:
    """EC2 takes a filter's value for a pattern, and whoever types it means one node."""
    other = {
        "InstanceId": "i-0a",
        "PrivateIpAddress": "10.0.0.10",
        "PrivateDnsName": "ip-10-0-0-10.us-west-2.compute.internal",
        "State": {"Name": "running"},
        "Placement": {"AvailabilityZone": "us-west-2a"},
    }
    endpoint.answers("DescribeInstances", {"Reservations": [{"Instances": [other]}]})
    assert endpoint.cloud.find_instance(name) is None


def test_an_eni_is_shown_with_all_that_is_kept_in_order(endpoint: Endpoint) -> None:
    """Its other addresses, its Elastic IP, groups, source check, and whether it dies with its instance."""
    attachment = {
        "AttachmentId": "eni-attach-1",
        "InstanceId": "i-0a",
        "Status": "attached",
        "DeleteOnTermination": True,
    }
    shown = interface(
        Attachment=attachment,
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.100", "Primary": True},
            {"PrivateIpAddress": "10.0.0.7", "Primary": False},
        ],
        Ipv6Addresses=[{"Ipv6Address": "2001:db8:0:1::100"}],
        Association={"AllocationId": "eipalloc-1"},
        Groups=[{"GroupId": "sg-2"}, {"GroupId": "sg-1"}],
        SourceDestCheck=False,
    )
    endpoint.answers("DescribeNetworkInterfaces", {"NetworkInterfaces": [shown]})
    (eni,) = endpoint.cloud.describe_enis("cluster")
    assert (eni.address, eni.secondary, eni.ipv6s) == (
        ADDRESS,
        (IPv4Address("10.0.0.7"),),
        (IPv6Address("2001:db8:0:1::100"),),
    )
    assert eni.elastic == {ADDRESS: "eipalloc-1"}
    assert eni.security_groups == ("sg-1", "sg-2")
    assert (eni.source_check, eni.delete_on_termination) == (False, True)


def test_an_allocation_is_shown_with_what_it_is_associated_with(endpoint: Endpoint) -> None:
    """A customer-owned IP is one too; and none is no error."""
    expected = {"Filters": [{"Name": "allocation-id", "Values": ["eipalloc-1"]}]}
    for item in (
        {"PublicIp": "203.0.113.100", "NetworkBorderGroup": "us-west-2-lax-1", "NetworkInterfaceId": "eni-1"},
        {"CustomerOwnedIp": "198.51.100.7"},
        None,
    ):
        shown = [{"AllocationId": "eipalloc-1", **item}] if item is not None else []
        endpoint.answers("DescribeAddresses", {"Addresses": shown}, expected)
    assert endpoint.cloud.describe_allocation("eipalloc-1") == AllocationFacts(
        "eipalloc-1", "203.0.113.100", "us-west-2-lax-1", "eni-1"
    )
    assert endpoint.cloud.describe_allocation("eipalloc-1") == AllocationFacts("eipalloc-1", "198.51.100.7", "")
    assert endpoint.cloud.describe_allocation("eipalloc-1") is None


DRY_RUNS = ("CreateNetworkInterface", "AttachNetworkInterface", "CreateTags", "DetachNetworkInterface")


def test_a_rehearsal_names_what_is_denied_and_changes_nothing(endpoint: Endpoint) -> None:
    """EC2 answers a dry run that would do with an error too; a call that could not succeed is allowed all the same."""
    answers = ("DryRunOperation", "UnauthorizedOperation", "UnauthorizedOperation", "InvalidAttachmentID.NotFound")
    sent: list[object] = []
    for action, code in zip(DRY_RUNS, answers, strict=True):
        endpoint.refuses(action, code)
    events = endpoint.client.meta.events
    events.register_first("provide-client-params.ec2", lambda params, **_: sent.append(params.get("DryRun")), "sent")
    endpoint.ended.callback(events.unregister, "provide-client-params.ec2", unique_id="sent")
    attachment = Attachment("a1", "i-0a", 1, AttachmentStatus.ATTACHED)
    eni = Eni("eni-1", "02:00:00:00:00:64", ADDRESS, "subnet-1", "us-west-2-lax-1a", attachment)
    denied = endpoint.cloud.rehearse(eni, SUBNET, "i-0b", {"floatingip": "lab"}, (ADDRESS,), way_to(Carry.ENI).needed)
    assert denied == ("ec2:AttachNetworkInterface", "ec2:CreateTags")
    assert sent == [True] * len(DRY_RUNS)


UNASSIGNED = ENI | {"PrivateIpAddresses": ["10.0.0.7"], "AllowReassignment": False}
OF_IPV4 = {"AssignPrivateIpAddresses": UNASSIGNED}
OF_IPV6 = {"UnassignIpv6Addresses": ENI | {"Ipv6Addresses": ["2001:db8:0:1::"]}}


@pytest.mark.parametrize(
    ("targets", "moving"),
    [((ADDRESS,), OF_IPV4), ((IPV6,), OF_IPV6), ((ADDRESS, IPV6), OF_IPV4 | OF_IPV6)],
    ids=["IPv4", "IPv6", "both"],
)
def test_a_rehearsal_of_moves_asks_for_what_changes_nothing(
    endpoint: Endpoint, targets: tuple[Target, ...], moving: Mapping[str, Mapping[str, Any]]
) -> None:
    """These calls have no dry run: the ENI's own primary address, or one that none can have, is asked for.

    No floating one: the node may have taken it over when the call comes, and would lose it.  What each family needs is
    tried: a policy may allow one family's moves alone.
    """
    for action in DRY_RUNS[:-1]:
        endpoint.refuses(action, "DryRunOperation")
    for action, asked in moving.items():
        endpoint.refuses(action, "UnauthorizedOperation", "Not authorized.", 403, **asked)
    eni = Eni("eni-1", "02:00:00:00:00:64", SEVENTH, "subnet-1", "us-west-2-lax-1a")
    needed = way_to(Carry.ADDRESS).needed
    denied = endpoint.cloud.rehearse(eni, SUBNET, "i-0b", {"floatingip": "lab"}, targets, needed)
    assert denied == tuple(f"ec2:{action}" for action in moving)


@pytest.mark.parametrize("carry", Carry)
def test_a_rehearsal_without_an_eni_asks_for_its_creation_only(endpoint: Endpoint, carry: Carry) -> None:
    """The others need one; where EC2 does not answer nothing is said to be allowed, nor to be denied."""
    endpoint.refuses("CreateNetworkInterface", "DryRunOperation")
    assert endpoint.cloud.rehearse(None, SUBNET, "i-0b", {"floatingip": "lab"}, (ADDRESS,), way_to(carry).needed) == ()
    endpoint.refuses("CreateNetworkInterface", "RequestLimitExceeded", status=503)
    with pytest.raises(CloudUnavailable):
        endpoint.cloud.rehearse(None, SUBNET, "i-0b", {"floatingip": "lab"}, (ADDRESS,), way_to(carry).needed)


def test_an_instance_shows_its_state_and_the_indexes_of_its_first_card(endpoint: Endpoint) -> None:
    """A terminated one has no address any more."""

    def shown(instance_id: str, state: str, **changes: object) -> dict[str, object]:
        zone = {"AvailabilityZone": "us-west-2-lax-1a"}
        return {"InstanceId": instance_id, "State": {"Name": state}, "Placement": zone, **changes}

    interfaces = [
        {"Attachment": {"DeviceIndex": 0, "NetworkCardIndex": 0}},
        {"Attachment": {"DeviceIndex": 1, "NetworkCardIndex": 1}},
        {"Attachment": {"DeviceIndex": 2}},
    ]
    running = shown("i-0a", "running", PrivateIpAddress="10.0.0.10", NetworkInterfaces=interfaces)
    answer = {"Reservations": [{"Instances": [running]}, {"Instances": [shown("i-0b", "terminated")]}]}
    expected = {"Filters": [{"Name": "instance-id", "Values": ["i-0a", "i-0b"]}]}
    endpoint.answers("DescribeInstances", answer, expected)
    found = endpoint.cloud.describe_instances(frozenset({"i-0b", "i-0a"}))
    assert found["i-0a"].device_indexes == {0, 2}
    assert found["i-0a"].address == IPv4Address("10.0.0.10")
    assert (found["i-0b"].state, found["i-0b"].address) == (InstanceState.TERMINATED, None)


def test_subnets_of_all_pages_are_found(endpoint: Endpoint) -> None:
    """A VPC may have hundreds."""
    for number, token in ((0, "more"), (1, None)):
        zone = {"AvailabilityZone": "us-west-2-lax-1a"}
        subnet = {"SubnetId": f"subnet-{number}", "CidrBlock": f"10.0.{number}.0/24"} | zone
        answer = {"Subnets": [subnet], **({"NextToken": token} if token else {})}
        endpoint.answers("DescribeSubnets", answer)
    assert [subnet.id for subnet in endpoint.cloud.describe_subnets()] == ["subnet-0", "subnet-1"]
