"""What EC2 refuses for the moment, or on account of whose something is, by codes that are easily taken for others."""

import json

import pytest

from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoCredentials, NoFreeSlot, Throttled
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2 import credentials
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.ec2.meaning import NOT_ACCEPTED
from floatingip.runtime.calls import Calls
from tests.edges.ec2_server import Become, Server, error, http
from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]


@pytest.mark.parametrize(
    ("action", "code", "kind"),
    [
        ("CreateTags", "ConcurrentTagAccess", Throttled),
        ("AttachNetworkInterface", "InvalidState", LookAgain),
        ("AttachNetworkInterface", "InvalidInstanceState", LookAgain),
        ("DetachNetworkInterface", "RetryableError", CloudUnavailable),
        ("DescribeInstances", "InvalidSecurity.RequestHasExpired", NoCredentials),
    ],
)
def test_what_passes_is_no_lasting_refusal(endpoint: Endpoint, action: str, code: str, kind: type[CloudError]) -> None:
    """One that lasts ends `attach`."""
    endpoint.refuses(action, code)
    assert type(endpoint.error_of(action)) is kind


def test_a_tag_that_somebody_else_is_writing_is_written_after_that(endpoint: Endpoint) -> None:
    """All standbys clear the ration of one interface at the same time."""
    endpoint.refuses("CreateTags", "ConcurrentTagAccess")
    endpoint.answers("CreateTags", {})
    calls = Calls()
    calls.insist(lambda: endpoint.cloud.tag_eni("eni-1", {"floatingip/moves": ""}))
    assert len(calls.made) == 2


def test_a_node_whose_clock_is_wrong_is_told_to_look_at_it(endpoint: Endpoint) -> None:
    """It has just booted, and its time has not been set yet."""
    endpoint.refuses("DescribeSubnets", "InvalidSecurity.RequestHasExpired")
    assert "is the node's clock right?" in str(endpoint.error_of("DescribeSubnets"))


@pytest.mark.parametrize("code", sorted(NOT_ACCEPTED.keys() - {"AuthFailure"}))
def test_a_code_that_is_only_of_credentials_is_of_credentials_whatever_it_says(endpoint: Endpoint, code: str) -> None:
    """Others are looked for."""
    endpoint.refuses("DescribeSubnets", code, "The security token is not authorized for this Region.", 403)
    assert type(endpoint.error_of("DescribeSubnets")) is NoCredentials


AGENT = "/v1/credentials"


@pytest.mark.parametrize(
    "message",
    [
        "You do not have permission to access the specified resource.",
        "The address '203.0.113.7' does not belong to you.",
    ],
)
def test_what_is_another_accounts_is_not_blamed_on_the_credentials(
    server: Server, environment: Become, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    """EC2 has one code for both: others would be looked for each time, and the clock be suspected."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    agent = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}{AGENT}", "AWS_EC2_METADATA_DISABLED": "true"}
    environment(AWS_ENDPOINT_URL_EC2=server.url, HOME="/nonexistent", **agent)
    keys = {"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T", "Expiration": "2099-01-01T00:00:00Z"}
    server.replies |= {
        AGENT: http(200, json.dumps(keys), "Content-Type: application/json"),
        "": error(403, "AuthFailure", message),
    }
    cloud = Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ())
    for _ in range(2):
        with pytest.raises(CloudError) as caught:
            cloud.attach_eni("eni-1", "i-0a", frozenset())
        assert type(caught.value) is CloudError
        assert message in str(caught.value)
    assert sum(AGENT in asked for asked in server.asked) == 1


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Client.RequestLimitExceeded", 503, Throttled),
        ("Client.UnauthorizedOperation", 403, Denied),
        ("Client.InvalidAttachmentID.NotFound", 400, LookAgain),
        ("Client.AttachmentLimitExceeded", 400, NoFreeSlot),
        ("Client.ExpiredToken", 400, NoCredentials),
        ("Server.InternalError", 500, CloudUnavailable),
        ("Server.InternalError", 400, CloudUnavailable),
    ],
)
def test_a_code_with_whose_error_it_is_in_front_has_its_meaning(
    endpoint: Endpoint, code: str, status: int, kind: type[CloudError]
) -> None:
    """As EC2's tools and relays write it: a rehearsal would call a write allowed whose denial it does not recognize."""
    endpoint.refuses("DetachNetworkInterface", code, status=status)
    assert type(endpoint.error_of("DetachNetworkInterface")) is kind
    assert endpoint.tally.read().calls == {("DetachNetworkInterface", code.partition(".")[2]): 1}
