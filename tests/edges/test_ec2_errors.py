"""What each of EC2's error codes means to us, and that nothing of botocore gets past ``Ec2Cloud``."""

from typing import Any

import botocore.exceptions
import pytest

from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    Exhausted,
    LookAgain,
    NoCredentials,
    NoFreeSlot,
    Throttled,
    TokenSpent,
)
from floatingip.edges.ec2 import cloud as ec2
from tests.edges.ec2_stub import Endpoint, every_call

pytest_plugins = ["tests.edges.ec2_fixtures"]


def meaning(error: CloudError) -> type[CloudError]:
    """The kind that callers know; ``ec2`` has finer ones of its own."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == "floatingip.core.errors")


@pytest.mark.parametrize(
    ("action", "code", "message", "kind"),
    [
        ("AttachNetworkInterface", "InvalidNetworkInterface.InUse", "in use", LookAgain),
        ("AttachNetworkInterface", "InvalidParameterValue", "Interface: [eni-1] in use: currently in use", LookAgain),
        ("AttachNetworkInterface", "AttachmentLimitExceeded", "Interface count 4 exceeds the limit", NoFreeSlot),
        ("AttachNetworkInterface", "InvalidParameterCombination", "not in the same availability zone", CloudError),
        ("AttachNetworkInterface", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("AttachNetworkInterface", "InvalidNetworkInterface.NotFound", "does not exist", LookAgain),
        ("AttachNetworkInterface", "InvalidInstanceID.NotFound", "does not exist", LookAgain),
        ("AttachNetworkInterface", "IncorrectState", "Instance is not 'running' or 'stopped'", LookAgain),
        ("AttachNetworkInterface", "IncorrectInstanceState", "not in a state", LookAgain),
        ("DetachNetworkInterface", "InvalidAttachmentID.NotFound", "does not exist", LookAgain),
        ("DetachNetworkInterface", "OperationNotPermitted", "The primary cannot be detached", CloudError),
        ("DetachNetworkInterface", "IncorrectState", "not attached", LookAgain),
        ("CreateNetworkInterface", "InvalidIPAddress.InUse", "The specified address is already in use.", LookAgain),
        ("CreateNetworkInterface", "InvalidParameterValue", "invalid value for parameter address", CloudError),
        ("CreateNetworkInterface", "InvalidSubnetID.NotFound", "does not exist", CloudError),
        ("CreateNetworkInterface", "InsufficientFreeAddressesInSubnet", "not enough free addresses", Exhausted),
        ("CreateNetworkInterface", "NetworkInterfaceLimitExceeded", "the maximum is reached", Exhausted),
        ("CreateNetworkInterface", "ResourceLimitExceeded", "the maximum is reached", Exhausted),
        ("CreateNetworkInterface", "IdempotentParameterMismatch", "other parameters, same token", TokenSpent),
        ("CreateTags", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("DeleteNetworkInterface", "InvalidParameterValue", "Network interface is currently in use.", LookAgain),
        ("AssociateAddress", "Resource.AlreadyAssociated", "already associated", AddressTaken),
        ("AssociateAddress", "InvalidIPAddress.AlreadyAssociated", "already associated", AddressTaken),
        ("AssociateAddress", "InvalidAllocationID.NotFound", "does not exist", CloudError),
        ("AssociateAddress", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("AssignPrivateIpAddresses", "Resource.AlreadyAssigned", "already assigned", LookAgain),
        (
            "AssignPrivateIpAddresses",
            "InvalidParameterValue",
            "[10.0.0.9] assigned, but move is not allowed",
            LookAgain,
        ),
        ("AssignPrivateIpAddresses", "InvalidParameterValue", "Address 10.0.0.9 is in use.", LookAgain),
        ("AssignPrivateIpAddresses", "PrivateIpAddressLimitExceeded", "will exceed limit", NoFreeSlot),
        ("AssignPrivateIpAddresses", "InvalidParameterValue", "is the primary address", CloudError),
        ("AssignPrivateIpAddresses", "InvalidNetworkInterfaceID.NotFound", "does not exist", LookAgain),
        ("AssignIpv6Addresses", "Resource.AlreadyAssigned", "already assigned", LookAgain),
        ("AssignIpv6Addresses", "InvalidParameterValue", "already assigned", LookAgain),
        ("AssignIpv6Addresses", "PrivateIpAddressLimitExceeded", "will exceed limit", NoFreeSlot),
        ("UnassignPrivateIpAddresses", "InvalidParameterValue", "are not assigned to interface", LookAgain),
        ("UnassignIpv6Addresses", "InvalidParameterValue", "are not assigned to interface", LookAgain),
        ("ModifyNetworkInterfaceAttribute", "InvalidAttachmentID.NotFound", "does not exist", LookAgain),
        ("ModifyNetworkInterfaceAttribute", "InvalidGroup.NotFound", "does not exist", CloudError),
        ("DescribeInstanceTypes", "InvalidInstanceType", "does not exist", CloudError),
        ("DescribeInstances", "InvalidInstanceID.NotFound", "does not exist", LookAgain),
    ],
)
def test_an_error_code_has_its_meaning(
    endpoint: Endpoint, action: str, code: str, message: str, kind: type[CloudError]
) -> None:
    """A lost race is no failure, a full node is no outage; what is unknown is simply an error."""
    endpoint.refuses(action, code, message)
    error = endpoint.error_of(action)
    assert meaning(error) is kind
    assert str(error) == f"{action}: {code}: {message}"


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
    endpoint: Endpoint, action: str, code: str, status: int
) -> None:
    endpoint.refuses(action, code, status=status)
    expected = Throttled if code.startswith(("RequestLimit", "Throttling")) else CloudUnavailable
    assert type(endpoint.error_of(action)) is expected


@every_call
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_without_a_code_of_ec2_means_that_nothing_is_known(
    endpoint: Endpoint, action: str, status: int
) -> None:
    """A load balancer's page: botocore makes the HTTP status the code."""
    endpoint.refuses(action, str(status), "Service Unavailable", status=status)
    assert type(endpoint.error_of(action)) is CloudUnavailable


@every_call
@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"])
def test_missing_permission_names_the_iam_action(endpoint: Endpoint, action: str, code: str) -> None:
    """In one line that says what to allow."""
    endpoint.refuses(action, code, "You are not authorized to perform this operation.\nEncoded message: abc", 403)
    error = endpoint.error_of(action)
    assert isinstance(error, Denied)
    assert (error.action, error.exit_code) == (f"ec2:{action}", 4)
    assert str(error) == f"IAM denies ec2:{action}; allow ec2:{action} to this pod's role"


def test_a_creation_denied_for_its_tags_names_the_tagging_action(endpoint: Endpoint) -> None:
    """CreateNetworkInterface with tags needs ec2:CreateTags as well, and EC2's message says which one is missing."""
    endpoint.refuses(
        "CreateNetworkInterface",
        "UnauthorizedOperation",
        "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/r/s is not authorized to"
        " perform: ec2:CreateTags on resource: arn:aws:ec2:us-west-2:1:network-interface/* because no identity-based"
        " policy allows the ec2:CreateTags action",
        403,
    )
    error = endpoint.error_of("CreateNetworkInterface")
    assert isinstance(error, Denied)
    assert error.action == "ec2:CreateTags"


@pytest.mark.parametrize("resource", ["elastic-ip/eipalloc-0a1b", "instance/i-0a1b", "network-interface/*"])
def test_a_denial_names_what_may_lack_a_tag(endpoint: Endpoint, resource: str) -> None:
    """docs/iam-policy.json allows a call for what has certain tags: to allow what is allowed already does not help."""
    said = (
        "You are not authorized to perform this operation. User: arn:aws:sts::1:assumed-role/r/s is not authorized to"
        f" perform: ec2:AssociateAddress on resource: arn:aws-cn:ec2:cn-north-1:123456789012:{resource} because no"
        " identity-based policy allows the ec2:AssociateAddress action. Encoded authorization failure message: x"
    )
    endpoint.refuses("AssociateAddress", "UnauthorizedOperation", said, 403)
    denial = str(endpoint.error_of("AssociateAddress"))
    allow = "allow ec2:AssociateAddress to this pod's role"
    if resource.endswith("*"):
        assert denial == f"IAM denies ec2:AssociateAddress; {allow}"
    else:
        named = f"IAM denies ec2:AssociateAddress on {resource}"
        assert denial == f"{named}; {allow}, or give that the tag that its policy asks for"


@pytest.mark.parametrize(
    ("said", "policy"),
    [
        ("with an explicit deny in a service control policy", "service control policy"),
        (
            "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-a/p-b",
            "service control policy",
        ),
        ("because no service control policy allows the ec2:CreateTags action", "service control policy"),
        ("with an explicit deny in a resource control policy", "resource control policy"),
        ("because no permissions boundary allows the ec2:CreateTags action", "permissions boundary"),
        ("with an explicit deny in a VPC endpoint policy", "VPC endpoint policy"),
        ("because no session policy allows the ec2:CreateTags action", "session policy"),
        ("with an explicit deny in an identity-based policy", "identity-based policy"),
    ],
)
def test_a_policy_that_overrules_the_roles_is_named(endpoint: Endpoint, said: str, policy: str) -> None:
    """Whoever is told to allow it to the role, and has, would look there for hours."""
    message = (
        f"User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: ec2:CreateTags on resource: * {said}"
    )
    message = f"You are not authorized to perform this operation. {message}. Encoded authorization failure message: x"
    endpoint.refuses("CreateNetworkInterface", "UnauthorizedOperation", message, 403)
    error = endpoint.error_of("CreateNetworkInterface")
    assert isinstance(error, Denied)
    assert error.action == "ec2:CreateTags"
    assert str(error) == f"IAM denies ec2:CreateTags ({policy}); allow ec2:CreateTags there, too"


def test_a_role_that_cannot_be_assumed_is_not_told_as_a_missing_ec2_permission(endpoint: Endpoint) -> None:
    """With IRSA the first EC2 call asks STS, whose denial arrives in the same place."""
    denied = {"Error": {"Code": "AccessDenied", "Message": "Not authorized to perform sts:AssumeRoleWithWebIdentity"}}
    endpoint.fails(botocore.exceptions.ClientError(denied, "AssumeRoleWithWebIdentity"))  # type: ignore[arg-type]  # a response has more
    error = endpoint.error_of("DescribeNetworkInterfaces")
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
    endpoint: Endpoint, action: str, error: Exception
) -> None:
    """Not even whether a write happened: the caller looks again."""
    endpoint.fails(error)
    caught = endpoint.error_of(action)
    assert type(caught) is CloudUnavailable
    assert str(caught).startswith(f"{action}: ")
    assert caught.__cause__ is not None


def test_missing_credentials_say_what_to_do(endpoint: Endpoint) -> None:
    """The usual mistake on a new cluster."""
    endpoint.fails(botocore.exceptions.NoCredentialsError())
    error = endpoint.error_of("DescribeNetworkInterfaces")
    assert type(error) is NoCredentials
    assert "no AWS credentials; give the pod a role" in str(error)


@every_call
def test_messages_are_one_line(endpoint: Endpoint, action: str) -> None:
    """EC2's own may have several."""
    endpoint.refuses(action, "Odd", "first\n  second\tthird")
    assert str(endpoint.error_of(action)) == f"{action}: Odd: first second third"


def test_deleting_an_eni_that_is_gone_is_fine(endpoint: Endpoint) -> None:
    """Somebody else deleted it, or our first answer was lost."""
    endpoint.refuses("DeleteNetworkInterface", "InvalidNetworkInterfaceID.NotFound")
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
    endpoint.answers("CreateTags", {})
    endpoint.cloud.tag_eni("eni-1", {})
    endpoint.refuses("CreateTags", code)
    endpoint.error_of("CreateTags")
    endpoint.fails(OSError("unreachable"))
    endpoint.error_of("CreateTags")
    calls = endpoint.tally.read().calls
    assert calls == {("CreateTags", "ok"): 1, ("CreateTags", counted): 1, ("CreateTags", "none"): 1}
