"""What each of EC2's error codes means to us, and that nothing of botocore gets past ``Ec2Cloud``."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.stub import ANY, Stubber

from floatingip import ec2
from floatingip.ec2 import HIGHEST_DEVICE_INDEX, Ec2Cloud
from floatingip.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoFreeSlot
from floatingip.model import AttachmentStatus, InstanceState, Subnet

ADDRESS = IPv4Address("10.0.0.100")
SUBNET = Subnet("subnet-1", IPv4Network("10.0.0.0/24"), "us-west-2-lax-1a")

INDEX_TAKEN = "Instance 'i-0b' already has an interface attached at device index '1'."

CALLS: Mapping[str, tuple[str, Callable[[Ec2Cloud], object]]] = {
    "describe_network_interfaces": ("DescribeNetworkInterfaces", lambda cloud: cloud.find_eni(ADDRESS)),
    "describe_instances": ("DescribeInstances", lambda cloud: cloud.describe_instances(frozenset({"i-0a"}))),
    "describe_subnets": ("DescribeSubnets", lambda cloud: cloud.describe_subnets()),
    "create_network_interface": ("CreateNetworkInterface", lambda cloud: cloud.create_eni(ADDRESS, SUBNET, {})),
    "attach_network_interface": (
        "AttachNetworkInterface",
        lambda cloud: cloud.attach_eni("eni-1", "i-0b", frozenset({0})),
    ),
    "detach_network_interface": ("DetachNetworkInterface", lambda cloud: cloud.detach_eni("eni-attach-1", force=False)),
    "create_tags": ("CreateTags", lambda cloud: cloud.tag_eni("eni-1", {"floatingip/moves": ""})),
}
"""Every call: the client's method, EC2's action, and how we make it."""

every_call = pytest.mark.parametrize("method", sorted(CALLS))


class Endpoint:
    """EC2 that answers what the test says, and the cloud that asks it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.stub = Stubber(client)
        self.cloud = Ec2Cloud(client, "vpc-1", ("sg-1",))
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
        ("create_tags", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("describe_instances", "InvalidInstanceID.NotFound", "does not exist", LookAgain),
    ],
)
def test_an_error_code_has_its_meaning(
    endpoint: Endpoint, method: str, code: str, message: str, kind: type[CloudError]
) -> None:
    """A lost race is no failure, a full node is no outage; what is unknown is simply an error."""
    endpoint.refuses(method, code, message)
    error = endpoint.error_of(method)
    assert type(error) is kind
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
    assert type(endpoint.error_of(method)) is CloudUnavailable


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
    assert type(error) is CloudUnavailable
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
    """The VPC CNI attaches interfaces of its own at any time; known ones are not tried."""
    for index in (1, 3):
        endpoint.stub.add_client_error(
            "attach_network_interface", "InvalidParameterValue", INDEX_TAKEN, 400, expected_params=attach_at(index)
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
    }
    endpoint.stub.add_response("create_network_interface", {"NetworkInterface": interface()}, expected)
    assert endpoint.cloud.create_eni(ADDRESS, SUBNET, {"floatingip": "cluster"}).id == "eni-1"


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


def test_an_eni_is_asked_for_by_address_within_the_vpc_and_shown_with_its_attachment(endpoint: Endpoint) -> None:
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
        ]
    }
    answer = {"NetworkInterfaces": [interface(Status="in-use", Attachment=attachment)]}
    endpoint.stub.add_response("describe_network_interfaces", answer, expected)
    eni = endpoint.cloud.find_eni(ADDRESS)
    assert eni is not None
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
    assert endpoint.cloud.find_eni(ADDRESS) is None
    free = endpoint.cloud.find_eni(ADDRESS)
    assert free is not None
    assert free.attachment is None


def test_an_interface_of_a_managed_service_can_be_read(endpoint: Endpoint) -> None:
    """It is attached to no instance of ours, and has an attachment all the same."""
    attachment = {"AttachmentId": "ela-attach-1", "InstanceOwnerId": "amazon-aws", "Status": "attached"}
    answer = {"NetworkInterfaces": [interface(Attachment=attachment)]}
    endpoint.stub.add_response("describe_network_interfaces", answer)
    eni = endpoint.cloud.find_eni(ADDRESS)
    assert eni is not None
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


def test_the_sdk_repeats_nothing_and_gives_up_in_time() -> None:
    """A repeated attach may answer "already attached" to our own success."""
    config: Any = ec2.client("us-west-2").meta.config
    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout <= 5
