"""What each of EC2's error codes means to us, and that nothing of botocore gets past ``Ec2Cloud``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.stub import ANY, Stubber

from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import AllocationFacts, Attachment, AttachmentStatus, Eni, InstanceState, Subnet
from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    LookAgain,
    NoCredentials,
    NoFreeSlot,
    Throttled,
    TokenSpent,
)
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.cloud import HIGHEST_DEVICE_INDEX, PAGE, Ec2Cloud
from floatingip.edges.tally import Tally

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100")
SUBNET = Subnet("subnet-1", (ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64")), "us-west-2-lax-1a")

INDEX_TAKEN = "Instance 'i-0b' already has an interface attached at device index '1'."

CALLS: Mapping[str, tuple[str, Callable[[Ec2Cloud], object]]] = {
    "describe_network_interfaces": ("DescribeNetworkInterfaces", lambda cloud: cloud.describe_enis("cluster")),
    "describe_instances": ("DescribeInstances", lambda cloud: cloud.describe_instances(frozenset({"i-0a"}))),
    "describe_subnets": ("DescribeSubnets", lambda cloud: cloud.describe_subnets()),
    "describe_addresses": ("DescribeAddresses", lambda cloud: cloud.describe_allocation("eipalloc-1")),
    "describe_instance_types": ("DescribeInstanceTypes", lambda cloud: cloud.describe_slots("m5.large")),
    "create_network_interface": (
        "CreateNetworkInterface",
        lambda cloud: cloud.create_eni(ADDRESS, SUBNET, {}, "token"),
    ),
    "delete_network_interface": ("DeleteNetworkInterface", lambda cloud: cloud.delete_eni("eni-1")),
    "associate_address": ("AssociateAddress", lambda cloud: cloud.associate("eipalloc-1", "eni-1", ADDRESS)),
    "modify_network_interface_attribute": (
        "ModifyNetworkInterfaceAttribute",
        lambda cloud: cloud.set_security_groups("eni-1", ("sg-1",)),
    ),
    "attach_network_interface": (
        "AttachNetworkInterface",
        lambda cloud: cloud.attach_eni("eni-1", "i-0b", frozenset({0})),
    ),
    "detach_network_interface": ("DetachNetworkInterface", lambda cloud: cloud.detach_eni("eni-attach-1", force=False)),
    "assign_private_ip_addresses": (
        "AssignPrivateIpAddresses",
        lambda cloud: cloud.assign("eni-1", ADDRESS, reassign=True),
    ),
    "unassign_private_ip_addresses": ("UnassignPrivateIpAddresses", lambda cloud: cloud.unassign("eni-1", ADDRESS)),
    "assign_ipv6_addresses": ("AssignIpv6Addresses", lambda cloud: cloud.assign("eni-1", IPV6, reassign=False)),
    "unassign_ipv6_addresses": ("UnassignIpv6Addresses", lambda cloud: cloud.unassign("eni-1", IPV6)),
    "create_tags": ("CreateTags", lambda cloud: cloud.tag_eni("eni-1", {"floatingip/moves": ""})),
}
"""Every call: the client's method, EC2's action, and how we make it."""

every_call = pytest.mark.parametrize("method", sorted(CALLS))


class Endpoint:
    """EC2 that answers what the test says, and the cloud that asks it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.stub = Stubber(client)
        self.tally = Tally()
        self.cloud = Ec2Cloud(client, "vpc-1", ("sg-1",), tally=self.tally)
        self.ended = ExitStack()

    def refuses(self, method: str, code: str, message: str = "It cannot be.", status: int = 400) -> None:
        """Answer the next call with an error."""
        self.stub.add_client_error(method, code, message, status)

    def fails(self, error: Exception) -> None:
        """Raise this instead of sending a request."""

        def fail(**_: object) -> None:
            raise error

        self.stub.deactivate()
        events = self.client.meta.events
        events.register_first("before-send.ec2", fail)
        self.ended.callback(events.unregister, "before-send.ec2", fail)

    def error_of(self, method: str) -> CloudError:
        """What the call raises."""
        with pytest.raises(CloudError) as caught:
            CALLS[method][1](self.cloud)
        return caught.value


@pytest.fixture(name="client", scope="module")
def _client() -> Any:
    """One for all: making it takes longer than all that is done with it."""
    return boto3.session.Session("key", "secret", region_name="us-west-2").client("ec2")


@pytest.fixture(name="endpoint")
def _endpoint(client: Any) -> Iterator[Endpoint]:
    endpoint = Endpoint(client)
    with endpoint.ended, endpoint.stub:
        yield endpoint
        endpoint.stub.assert_no_pending_responses()


def meaning(error: CloudError) -> type[CloudError]:
    """The kind that callers know; ``ec2`` has finer ones of its own."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "floatingip.core.errors")


@pytest.mark.parametrize(
    ("method", "code", "message", "kind"),
    [
        ("attach_network_interface", "InvalidNetworkInterface.InUse", "in use", LookAgain),
        ("attach_network_interface", "InvalidParameterValue", "Interface: [eni-1] in use: currently in use", LookAgain),
        ("attach_network_interface", "AttachmentLimitExceeded", "Interface count 4 exceeds the limit", NoFreeSlot),
        ("attach_network_interface", "InvalidParameterCombination", "not in the same availability zone", CloudError),
        ("attach_network_interface", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("attach_network_interface", "InvalidInstanceID.NotFound", "does not exist", LookAgain),
        ("attach_network_interface", "IncorrectState", "Instance is not 'running' or 'stopped'", LookAgain),
        ("attach_network_interface", "IncorrectInstanceState", "not in a state", LookAgain),
        ("detach_network_interface", "InvalidAttachmentID.NotFound", "does not exist", LookAgain),
        ("detach_network_interface", "OperationNotPermitted", "The primary cannot be detached", CloudError),
        ("detach_network_interface", "IncorrectState", "not attached", LookAgain),
        ("create_network_interface", "InvalidIPAddress.InUse", "The specified address is already in use.", LookAgain),
        ("create_network_interface", "InvalidParameterValue", "invalid value for parameter address", CloudError),
        ("create_network_interface", "InvalidSubnetID.NotFound", "does not exist", CloudError),
        ("create_network_interface", "IdempotentParameterMismatch", "other parameters, same token", TokenSpent),
        ("create_tags", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("delete_network_interface", "InvalidParameterValue", "Network interface is currently in use.", LookAgain),
        ("associate_address", "Resource.AlreadyAssociated", "already associated", AddressTaken),
        ("associate_address", "InvalidIPAddress.AlreadyAssociated", "already associated", AddressTaken),
        ("associate_address", "InvalidAllocationID.NotFound", "does not exist", CloudError),
        ("associate_address", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("assign_private_ip_addresses", "Resource.AlreadyAssigned", "already assigned", LookAgain),
        (
            "assign_private_ip_addresses",
            "InvalidParameterValue",
            "[10.0.0.9] assigned, but move is not allowed",
            LookAgain,
        ),
        ("assign_private_ip_addresses", "InvalidParameterValue", "Address 10.0.0.9 is in use.", LookAgain),
        ("assign_private_ip_addresses", "PrivateIpAddressLimitExceeded", "will exceed limit", NoFreeSlot),
        ("assign_private_ip_addresses", "InvalidParameterValue", "is the primary address", CloudError),
        ("assign_private_ip_addresses", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("assign_ipv6_addresses", "Resource.AlreadyAssigned", "already assigned", LookAgain),
        ("assign_ipv6_addresses", "InvalidParameterValue", "already assigned", LookAgain),
        ("assign_ipv6_addresses", "PrivateIpAddressLimitExceeded", "will exceed limit", NoFreeSlot),
        ("unassign_private_ip_addresses", "InvalidParameterValue", "are not assigned to interface", LookAgain),
        ("unassign_ipv6_addresses", "InvalidParameterValue", "are not assigned to interface", LookAgain),
        ("modify_network_interface_attribute", "InvalidAttachmentID.NotFound", "does not exist", LookAgain),
        ("modify_network_interface_attribute", "InvalidGroup.NotFound", "does not exist", CloudError),
        ("describe_instance_types", "InvalidInstanceType", "does not exist", CloudError),
        ("describe_instances", "InvalidInstanceID.NotFound", "does not exist", LookAgain),
    ],
)
def test_an_error_code_has_its_meaning(
    endpoint: Endpoint, method: str, code: str, message: str, kind: type[CloudError]
) -> None:
    """A lost race is no failure, a full node is no outage; what is unknown is simply an error."""
    endpoint.refuses(method, code, message)
    error = endpoint.error_of(method)
    assert meaning(error) is kind
    assert str(error) == f"{CALLS[method][0]}: {code}: {message}"


@every_call
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestLimitExceeded", 503),
        ("Throttling", 400),
        ("ThrottlingException", 400),
        ("InternalError", 500),
        ("InternalFailure", 500),
        ("ServiceUnavailable", 503),
        ("Unavailable", 503),
    ],
)
def test_throttling_and_internal_failures_mean_that_nothing_is_known(
    endpoint: Endpoint, method: str, code: str, status: int
) -> None:
    """On every call."""
    endpoint.refuses(method, code, status=status)
    expected = Throttled if code.startswith(("RequestLimit", "Throttling")) else CloudUnavailable
    assert type(endpoint.error_of(method)) is expected


@every_call
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_without_a_code_of_ec2_means_that_nothing_is_known(
    endpoint: Endpoint, method: str, status: int
) -> None:
    """A load balancer's page: botocore makes the HTTP status the code."""
    endpoint.refuses(method, str(status), "Service Unavailable", status=status)
    assert type(endpoint.error_of(method)) is CloudUnavailable


@every_call
@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"])
def test_missing_permission_names_the_iam_action(endpoint: Endpoint, method: str, code: str) -> None:
    """In one line that says what to allow."""
    endpoint.refuses(method, code, "You are not authorized to perform this operation.\nEncoded message: abc", 403)
    error = endpoint.error_of(method)
    action = f"ec2:{CALLS[method][0]}"
    assert isinstance(error, Denied)
    assert error.action == action
    assert error.exit_code == 4
    assert str(error) == f"IAM denies {action}; allow {action} to this pod's role"


def test_a_creation_denied_for_its_tags_names_the_tagging_action(endpoint: Endpoint) -> None:
    """CreateNetworkInterface with tags needs ec2:CreateTags as well, and EC2's message says which one is missing."""
    endpoint.refuses(
        "create_network_interface",
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/r/s is not authorized to"
        " perform: ec2:CreateTags on resource: arn:aws:ec2:us-west-2:1:network-interface/* because no identity-based"
        " policy allows the ec2:CreateTags action",
        403,
    )
    error = endpoint.error_of("create_network_interface")
    assert isinstance(error, Denied)
    assert error.action == "ec2:CreateTags"


def test_a_role_that_cannot_be_assumed_is_not_told_as_a_missing_ec2_permission(endpoint: Endpoint) -> None:
    """With IRSA the first EC2 call asks STS, whose denial arrives in the same place."""
    denied = {"Error": {"Code": "AccessDenied", "Message": "Not authorized to perform sts:AssumeRoleWithWebIdentity"}}
    endpoint.fails(botocore.exceptions.ClientError(denied, "AssumeRoleWithWebIdentity"))  # type: ignore[arg-type]  # a response has more
    error = endpoint.error_of("describe_network_interfaces")
    assert "ec2:DescribeNetworkInterfaces" not in str(error)
    assert "sts:AssumeRoleWithWebIdentity" in str(error)


@every_call
@pytest.mark.parametrize(
    "error",
    [
        botocore.exceptions.ConnectTimeoutError(endpoint_url="https://ec2"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="https://ec2"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="https://ec2"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="https://ec2"),
        botocore.exceptions.CredentialRetrievalError(provider="iam-role", error_msg="no answer"),
        ConnectionResetError(104, "Connection reset by peer"),
        OSError(101, "Network is unreachable"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_timeouts_and_connection_errors_mean_that_nothing_is_known(
    endpoint: Endpoint, method: str, error: Exception
) -> None:
    """Not even whether a write happened: the caller looks again."""
    endpoint.fails(error)
    caught = endpoint.error_of(method)
    assert type(caught) is CloudUnavailable
    assert str(caught).startswith(f"{CALLS[method][0]}: ")
    assert caught.__cause__ is not None


def test_missing_credentials_say_what_to_do(endpoint: Endpoint) -> None:
    """The usual mistake on a new cluster."""
    endpoint.fails(botocore.exceptions.NoCredentialsError())
    error = endpoint.error_of("describe_network_interfaces")
    assert type(error) is NoCredentials
    assert "no AWS credentials; give the pod a role" in str(error)


@every_call
def test_messages_are_one_line(endpoint: Endpoint, method: str) -> None:
    """EC2's own may have several."""
    endpoint.refuses(method, "Odd", "first\n  second\tthird")
    assert str(endpoint.error_of(method)) == f"{CALLS[method][0]}: Odd: first second third"


def attach_at(index: int) -> dict[str, object]:
    """The parameters of an attach at this index."""
    return {"NetworkInterfaceId": "eni-1", "InstanceId": "i-0b", "DeviceIndex": index, "NetworkCardIndex": 0}


def test_an_attach_takes_the_lowest_free_index(endpoint: Endpoint) -> None:
    """Gaps are filled, as the VPC CNI does."""
    endpoint.stub.add_response("attach_network_interface", {"AttachmentId": "eni-attach-1"}, attach_at(2))
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset({0, 1, 3})) == "eni-attach-1"


def test_an_index_that_somebody_took_meanwhile_is_passed_over(endpoint: Endpoint) -> None:
    """The VPC CNI attaches interfaces of its own at any time; known ones are not tried.  Codes differ."""
    for index, code in ((1, "InvalidParameterValue"), (3, "InvalidParameterCombination")):
        endpoint.stub.add_client_error(
            "attach_network_interface", code, INDEX_TAKEN, 400, expected_params=attach_at(index)
        )
    endpoint.stub.add_response("attach_network_interface", {"AttachmentId": "eni-attach-1"}, attach_at(4))
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset({0, 2})) == "eni-attach-1"


def test_an_instance_whose_indexes_are_all_taken_has_no_free_slot(endpoint: Endpoint) -> None:
    """It ends, instead of trying for ever."""
    for _ in range(HIGHEST_DEVICE_INDEX):
        endpoint.refuses("attach_network_interface", "InvalidParameterValue", INDEX_TAKEN)
    assert isinstance(endpoint.error_of("attach_network_interface"), NoFreeSlot)


def test_a_lost_race_is_not_tried_at_the_next_index(endpoint: Endpoint) -> None:
    """The ENI is in use by then: one call, and look again."""
    endpoint.refuses("attach_network_interface", "InvalidNetworkInterface.InUse")
    assert isinstance(endpoint.error_of("attach_network_interface"), LookAgain)


def test_a_detach_names_the_attachment_and_whether_it_is_forced(endpoint: Endpoint) -> None:
    """Never the ENI: the attachment is the fencing token."""
    for force in (False, True):
        expected = {"AttachmentId": "eni-attach-1", "Force": force}
        endpoint.stub.add_response("detach_network_interface", {}, expected)
        endpoint.cloud.detach_eni("eni-attach-1", force=force)


def test_an_eni_is_created_with_its_tags_and_the_nodes_security_groups(endpoint: Endpoint) -> None:
    """The VPC CNI would adopt one that is tagged later."""
    expected = {
        "SubnetId": "subnet-1",
        "PrivateIpAddress": "10.0.0.100",
        "Groups": ["sg-1"],
        "Description": ANY,
        "TagSpecifications": [
            {"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "cluster"}]}
        ],
        "ClientToken": "token",
    }
    endpoint.stub.add_response("create_network_interface", {"NetworkInterface": interface()}, expected)
    assert endpoint.cloud.create_eni(ADDRESS, SUBNET, {"floatingip": "cluster"}, "token").id == "eni-1"


@pytest.mark.parametrize(
    ("target", "address"),
    [
        (IPv6Address("2001:db8:0:1::100"), {"Ipv6Addresses": [{"Ipv6Address": "2001:db8:0:1::100"}]}),
        (Allocation("eipalloc-1"), {}),
    ],
    ids=["IPv6", "Elastic IP"],
)
def test_each_kind_of_address_is_created_its_own_way(
    endpoint: Endpoint, target: Target, address: Mapping[str, object]
) -> None:
    """EC2 chooses the IPv4 address of both; an allocation is associated later."""
    expected = {
        "SubnetId": "subnet-1",
        "Groups": ["sg-1"],
        "Description": ANY,
        "TagSpecifications": ANY,
        "ClientToken": "token",
        **address,
    }
    endpoint.stub.add_response("create_network_interface", {"NetworkInterface": interface()}, expected)
    endpoint.cloud.create_eni(target, SUBNET, {"floatingip": "cluster"}, "token")


def test_without_a_token_each_creation_is_its_own(endpoint: Endpoint) -> None:
    """An empty ClientToken would be an invalid one."""
    expected = {
        "SubnetId": "subnet-1",
        "PrivateIpAddress": "10.0.0.100",
        "Groups": ["sg-1"],
        "Description": ANY,
        "TagSpecifications": ANY,
    }
    endpoint.stub.add_response("create_network_interface", {"NetworkInterface": interface()}, expected)
    endpoint.cloud.create_eni(ADDRESS, SUBNET, {"floatingip": "cluster"}, "")


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
    endpoint.stub.add_response("describe_network_interfaces", answer, expected)
    (eni,) = endpoint.cloud.find_occupants(frozenset({ADDRESS}))
    assert (eni.mac, eni.tags) == ("02:00:00:00:00:6a", {"floatingip": "cluster"})
    assert eni.attachment is not None
    assert (eni.attachment.id, eni.attachment.instance_id, eni.attachment.device_index, eni.attachment.status) == (
        "eni-attach-1",
        "i-0a",
        2,
        AttachmentStatus.DETACHING,
    )


def test_no_eni_and_a_free_eni_are_two_answers(endpoint: Endpoint) -> None:
    """Absent is not unattached."""
    endpoint.stub.add_response("describe_network_interfaces", {"NetworkInterfaces": []})
    endpoint.stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [interface()]})
    assert endpoint.cloud.describe_enis("cluster") == ()
    (free,) = endpoint.cloud.describe_enis("cluster")
    assert free.attachment is None


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
        endpoint.stub.add_response("describe_network_interfaces", answer, expected)
    assert [eni.id for eni in endpoint.cloud.find_occupants(addresses)] == ["eni-2", "eni-1"]


def test_our_enis_of_all_pages_are_found_by_their_tag(endpoint: Endpoint) -> None:
    """Also in a VPC with more of them than fit into one answer."""
    asked = {
        "Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}, {"Name": "tag:floatingip", "Values": ["cluster"]}],
        "MaxResults": PAGE,
    }
    endpoint.stub.add_response(
        "describe_network_interfaces", {"NetworkInterfaces": [interface()], "NextToken": "more"}, asked
    )
    endpoint.stub.add_response(
        "describe_network_interfaces",
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
    endpoint.stub.add_response("describe_instances", {"Reservations": [{"Instances": [other]}]})
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
    endpoint.stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [shown]})
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
        endpoint.stub.add_response("describe_addresses", {"Addresses": shown}, expected)
    assert endpoint.cloud.describe_allocation("eipalloc-1") == AllocationFacts(
        "eipalloc-1", "203.0.113.100", "us-west-2-lax-1", "eni-1"
    )
    assert endpoint.cloud.describe_allocation("eipalloc-1") == AllocationFacts("eipalloc-1", "198.51.100.7", "")
    assert endpoint.cloud.describe_allocation("eipalloc-1") is None


def test_slots_are_those_of_the_first_network_card(endpoint: Endpoint) -> None:
    """Ours are attached to that one; older types have no list of cards."""
    cards = [{"MaximumNetworkInterfaces": 5}, {"MaximumNetworkInterfaces": 10}]
    for network in ({"MaximumNetworkInterfaces": 15, "NetworkCards": cards}, {"MaximumNetworkInterfaces": 3}):
        endpoint.stub.add_response(
            "describe_instance_types", {"InstanceTypes": [{"NetworkInfo": network}]}, {"InstanceTypes": ["m5.large"]}
        )
    assert [endpoint.cloud.describe_slots("m5.large") for _ in range(2)] == [5, 3]


def test_an_elastic_ip_is_never_taken_from_whoever_has_it(endpoint: Endpoint) -> None:
    """Without that parameter EC2 would move it; and it goes with one address of the ENI, not with any."""
    expected = {
        "AllocationId": "eipalloc-1",
        "NetworkInterfaceId": "eni-1",
        "PrivateIpAddress": "10.0.0.7",
        "AllowReassociation": False,
    }
    endpoint.stub.add_response("associate_address", {}, expected)
    endpoint.cloud.associate("eipalloc-1", "eni-1", IPv4Address("10.0.0.7"))


@pytest.mark.parametrize("reassign", [False, True])
def test_an_address_is_taken_from_another_eni_only_when_that_is_said(endpoint: Endpoint, reassign: bool) -> None:
    """EC2's own default is to refuse: the parameter is the difference between a claim and a move."""
    expected = {"NetworkInterfaceId": "eni-1", "PrivateIpAddresses": ["10.0.0.100"], "AllowReassignment": reassign}
    endpoint.stub.add_response("assign_private_ip_addresses", {}, expected)
    endpoint.cloud.assign("eni-1", ADDRESS, reassign=reassign)


def test_an_address_of_ec2s_choice_is_one_more_of_the_eni(endpoint: Endpoint) -> None:
    """For an Elastic IP: nobody reserved one for it."""
    expected = {"NetworkInterfaceId": "eni-1", "SecondaryPrivateIpAddressCount": 1}
    endpoint.stub.add_response("assign_private_ip_addresses", {}, expected)
    endpoint.cloud.assign_any("eni-1")


def test_an_ipv6_address_is_given_and_taken_by_calls_of_its_own(endpoint: Endpoint) -> None:
    """They know no reassignment: it is taken from exactly this ENI before it is given to another."""
    expected = {"NetworkInterfaceId": "eni-1", "Ipv6Addresses": [str(IPV6)]}
    endpoint.stub.add_response("unassign_ipv6_addresses", {}, expected)
    endpoint.stub.add_response("assign_ipv6_addresses", {}, expected)
    endpoint.cloud.unassign("eni-1", IPV6)
    endpoint.cloud.assign("eni-1", IPV6, reassign=False)


@pytest.mark.parametrize(
    ("call", "changed"),
    [
        (lambda cloud: cloud.set_security_groups("eni-1", ("sg-2", "sg-3")), {"Groups": ["sg-2", "sg-3"]}),
        (
            lambda cloud: cloud.keep_after_termination("eni-1", "eni-attach-1"),
            {"Attachment": {"AttachmentId": "eni-attach-1", "DeleteOnTermination": False}},
        ),
        (lambda cloud: cloud.check_source("eni-1"), {"SourceDestCheck": {"Value": True}}),
    ],
    ids=["security groups", "survival", "source check"],
)
def test_one_attribute_is_modified_at_a_time(
    endpoint: Endpoint, call: Callable[[Ec2Cloud], None], changed: Mapping[str, object]
) -> None:
    """EC2 allows no more in one call."""
    expected = {"NetworkInterfaceId": "eni-1", **changed}
    endpoint.stub.add_response("modify_network_interface_attribute", {}, expected)
    call(endpoint.cloud)


def test_deleting_an_eni_that_is_gone_is_fine(endpoint: Endpoint) -> None:
    """Somebody else deleted it, or our first answer was lost."""
    endpoint.refuses("delete_network_interface", "InvalidNetworkInterfaceID.NotFound")
    endpoint.cloud.delete_eni("eni-1")


DRY_RUNS = ("create_network_interface", "attach_network_interface", "create_tags", "detach_network_interface")


def test_a_rehearsal_names_what_is_denied_and_changes_nothing(endpoint: Endpoint) -> None:
    """EC2 answers a dry run that would do with an error too; a call that could not succeed is allowed all the same."""
    answers = ("DryRunOperation", "UnauthorizedOperation", "UnauthorizedOperation", "InvalidAttachmentID.NotFound")
    sent: list[object] = []
    for method, code in zip(DRY_RUNS, answers, strict=True):
        endpoint.refuses(method, code)
    events = endpoint.client.meta.events
    events.register_first("provide-client-params.ec2", lambda params, **_: sent.append(params.get("DryRun")), "sent")
    endpoint.ended.callback(events.unregister, "provide-client-params.ec2", unique_id="sent")
    attachment = Attachment("a1", "i-0a", 1, AttachmentStatus.ATTACHED)
    eni = Eni("eni-1", "02:00:00:00:00:64", ADDRESS, "subnet-1", "us-west-2-lax-1a", attachment)
    denied = endpoint.cloud.rehearse(eni, SUBNET, "i-0b", {"floatingip": "lab"}, ADDRESS, way_to(Carry.ENI).needed)
    assert denied == ("ec2:AttachNetworkInterface", "ec2:CreateTags")
    assert sent == [True] * len(DRY_RUNS)


@pytest.mark.parametrize(
    ("target", "moving", "expected"),
    [
        (
            ADDRESS,
            "assign_private_ip_addresses",
            {"NetworkInterfaceId": "eni-1", "PrivateIpAddresses": ["10.0.0.7"], "AllowReassignment": False},
        ),
        (IPV6, "unassign_ipv6_addresses", {"NetworkInterfaceId": "eni-1", "Ipv6Addresses": [str(IPV6)]}),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_rehearsal_of_a_move_asks_for_what_changes_nothing(
    endpoint: Endpoint, target: Target, moving: str, expected: Mapping[str, object]
) -> None:
    """These calls have no dry run: the ENI's own primary address, or one that it does not have, is asked for."""
    for method in DRY_RUNS[:-1]:
        endpoint.refuses(method, "DryRunOperation")
    endpoint.stub.add_client_error(moving, "UnauthorizedOperation", "Not authorized.", 403, expected_params=expected)
    eni = Eni("eni-1", "02:00:00:00:00:64", IPv4Address("10.0.0.7"), "subnet-1", "us-west-2-lax-1a")
    (denied,) = endpoint.cloud.rehearse(
        eni, SUBNET, "i-0b", {"floatingip": "lab"}, target, way_to(Carry.ADDRESS).needed
    )
    assert denied == f"ec2:{CALLS[moving][0]}"


@pytest.mark.parametrize("carry", Carry)
def test_a_rehearsal_without_an_eni_asks_for_its_creation_only(endpoint: Endpoint, carry: Carry) -> None:
    """The others need one."""
    endpoint.refuses("create_network_interface", "DryRunOperation")
    assert endpoint.cloud.rehearse(None, SUBNET, "i-0b", {"floatingip": "lab"}, ADDRESS, way_to(carry).needed) == ()


@pytest.mark.parametrize("carry", Carry)
def test_a_rehearsal_that_ec2_does_not_answer_says_nothing(endpoint: Endpoint, carry: Carry) -> None:
    """Neither that all is allowed, nor that something is denied."""
    endpoint.refuses("create_network_interface", "RequestLimitExceeded", status=503)
    with pytest.raises(CloudUnavailable):
        endpoint.cloud.rehearse(None, SUBNET, "i-0b", {"floatingip": "lab"}, ADDRESS, way_to(carry).needed)


def test_an_interface_of_a_managed_service_can_be_read(endpoint: Endpoint) -> None:
    """It is attached to no instance of ours, and has an attachment all the same."""
    attachment = {"AttachmentId": "ela-attach-1", "InstanceOwnerId": "amazon-aws", "Status": "attached"}
    answer = {"NetworkInterfaces": [interface(Attachment=attachment)]}
    endpoint.stub.add_response("describe_network_interfaces", answer)
    (eni,) = endpoint.cloud.describe_enis("cluster")
    assert eni.attachment is not None
    assert eni.attachment.instance_id == ""


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
    endpoint.stub.add_response("describe_instances", answer, expected)
    found = endpoint.cloud.describe_instances(frozenset({"i-0b", "i-0a"}))
    assert found["i-0a"].device_indexes == {0, 2}
    assert found["i-0a"].address == IPv4Address("10.0.0.10")
    assert (found["i-0b"].state, found["i-0b"].address) == (InstanceState.TERMINATED, None)


def test_subnets_of_all_pages_are_found(endpoint: Endpoint) -> None:
    """A VPC may have hundreds."""
    for number, token in ((0, "more"), (1, None)):
        subnet = {
            "SubnetId": f"subnet-{number}",
            "CidrBlock": f"10.0.{number}.0/24",
            "AvailabilityZone": "us-west-2-lax-1a",
        }
        answer = {"Subnets": [subnet], **({"NextToken": token} if token else {})}
        endpoint.stub.add_response("describe_subnets", answer)
    assert [subnet.id for subnet in endpoint.cloud.describe_subnets()] == ["subnet-0", "subnet-1"]


def test_the_sdk_repeats_nothing() -> None:
    """A repeated attach may answer "already attached" to our own success."""
    config: Any = ec2.client("us-west-2").meta.config
    assert config.retries["total_max_attempts"] == 1


@pytest.mark.parametrize(
    ("code", "counted"),
    [
        ("RequestLimitExceeded", "RequestLimitExceeded"),
        ("UnauthorizedOperation", "UnauthorizedOperation"),
        ("DryRunOperation", "DryRunOperation"),
        ("Made.Up", "other"),
    ],
)
def test_each_call_is_counted_by_what_ec2_answered(endpoint: Endpoint, code: str, counted: str) -> None:
    """By a code that is known here: whoever answers in EC2's place cannot make names without end."""
    endpoint.stub.add_response("create_tags", {})
    endpoint.cloud.tag_eni("eni-1", {})
    endpoint.refuses("create_tags", code)
    endpoint.error_of("create_tags")
    endpoint.fails(OSError("unreachable"))
    endpoint.error_of("create_tags")
    calls = endpoint.tally.read().calls
    assert calls == {("CreateTags", "ok"): 1, ("CreateTags", counted): 1, ("CreateTags", "none"): 1}
