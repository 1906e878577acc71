"""What each of EC2's error codes means to us, and that nothing of botocore gets past ``Ec2Cloud``."""

from typing import Any

import botocore.exceptions
import pytest

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
from floatingip.edges.ec2 import cloud as ec2
from tests.core.ec2_stub import CALLS, Endpoint, every_call


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
        ("attach_network_interface", "InvalidNetworkInterface.NotFound", "does not exist", LookAgain),
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


def test_deleting_an_eni_that_is_gone_is_fine(endpoint: Endpoint) -> None:
    """Somebody else deleted it, or our first answer was lost."""
    endpoint.refuses("delete_network_interface", "InvalidNetworkInterfaceID.NotFound")
    endpoint.cloud.delete_eni("eni-1")


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
