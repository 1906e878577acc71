"""What may come in the place of credentials, from STS, the Pod Identity Agent or a shell: what each of it means."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from floatingip.core.errors import CloudUnavailable, ConfigurationError, Denied, NoCredentials
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2 import credentials
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import (
    FOUND,
    PATIENCE,
    SHORT,
    Become,
    Server,
    dripping,
    error,
    http,
    in_the_end,
    silent_until,
)
from tests.waiting import until

pytest_plugins = ["tests.edges.ec2_fixtures"]

STS = "sts.amazonaws.com/doc/2011-06-15/"
Made = Callable[..., Ec2Cloud]
"""Makes a cloud."""


def assumed(expires: str = "2099-01-01T00:00:00Z") -> bytes:
    """What STS answers."""
    keys = "<AccessKeyId>AK</AccessKeyId><SecretAccessKey>SK</SecretAccessKey><SessionToken>T</SessionToken>"
    action = "AssumeRoleWithWebIdentity"
    result = f"<{action}Result><Credentials>{keys}<Expiration>{expires}</Expiration></Credentials></{action}Result>"
    return http(200, f'<{action}Response xmlns="https://{STS}">{result}</{action}Response>')


def given(expires: str = "2099-01-01T00:00:00Z") -> bytes:
    """What the EKS Pod Identity Agent answers."""
    keys = {"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "T", "Expiration": expires, "AccountId": "1"}
    return http(200, json.dumps(keys), "Content-Type: application/json")


ROLE = "arn:aws:iam::123456789012:role/floatingip"


@pytest.fixture
def irsa(server: Server, environment: Become, tmp_path: Any) -> Made:
    """A cloud whose credentials come from STS, by a token in a file."""

    def made() -> Ec2Cloud:
        environment(
            AWS_ENDPOINT_URL_EC2=server.url,
            AWS_ENDPOINT_URL_STS=server.url,
            AWS_ROLE_ARN=ROLE,
            AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"),
            AWS_EC2_METADATA_DISABLED="true",
            HOME="/nonexistent",
        )
        return Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ())

    (tmp_path / "token").write_text("token")
    server.replies |= {"DescribeNetworkInterfaces": FOUND, "AssumeRoleWithWebIdentity": assumed()}
    return made


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (http(403, f'<ErrorResponse xmlns="https://{STS}"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not'
                   " authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>"),
         f"AccessDenied.*let the role {ROLE} trust"),
        (http(400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>"),
         "InvalidIdentityToken"),
        (http(503, "busy"), f"does something answer in STS's place, which is asked for {ROLE}"),
        (http(200, "<html>welcome</html>"), "does something answer in STS's place"),
        (http(200), "does something answer in STS's place"),
        (b"", ROLE),
        (assumed("soon"), "does something answer in STS's place"),
        (assumed("2001-01-01T00:00:00Z"), "still expired.*is the node's clock right"),
    ],
    ids=["denied", "a bad token", "503", "a page", "nothing", "closed", "no time", "ended long ago"],
)  # fmt: skip
def test_an_sts_that_gives_no_credentials_is_ec2s_silence_with_its_cause(
    server: Server, irsa: Made, reply: bytes, told: str
) -> None:
    """And a hint that names the role, not a permission of EC2's."""
    server.replies["AssumeRoleWithWebIdentity"] = reply
    with pytest.raises(CloudUnavailable, match=f"no AWS credentials.*{told}") as caught:
        irsa().describe_enis("lab")
    assert "ec2:" not in str(caught.value)


@pytest.mark.parametrize("token", [None, ""], ids=["missing", "empty"])
def test_a_token_file_that_lacks_a_token_is_ec2s_silence(
    server: Server, irsa: Made, tmp_path: Any, token: str | None
) -> None:
    """The kubelet may be about to write it."""
    (tmp_path / "token").unlink()
    if token is not None:
        (tmp_path / "token").write_text(token)
        server.replies["AssumeRoleWithWebIdentity"] = http(
            400, "<ErrorResponse><Error><Code>V</Code></Error></ErrorResponse>"
        )
    with pytest.raises(CloudUnavailable, match=r"no AWS credentials.*"):
        irsa().describe_enis("lab")


AGENT = "/v1/credentials"


@pytest.fixture
def agents(server: Server, environment: Become, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A cloud whose credentials come from the Pod Identity Agent, which botocore asks thrice, here without a pause."""
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)

    def made(agent: str = server.url) -> Ec2Cloud:
        environment(
            AWS_ENDPOINT_URL_EC2=server.url, AWS_CONTAINER_CREDENTIALS_FULL_URI=agent + AGENT, HOME="/nonexistent"
        )
        return Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ())

    server.replies["DescribeNetworkInterfaces"] = FOUND
    return made


@pytest.mark.parametrize(
    "reply", [b"", http(404, "no"), http(500, "no"), http(200, "no"), http(200, "{}"), http(200, "[" * 5000), http(200)]
)
def test_a_pod_identity_agent_that_gives_none_is_ec2s_silence(server: Server, agents: Made, reply: bytes) -> None:
    """Making the client does not need it: they may come later."""
    server.replies[AGENT] = reply
    with pytest.raises(CloudUnavailable, match=r"no AWS credentials.*Pod Identity Agent"):
        agents().describe_enis("lab")


def test_a_pod_identity_agent_whose_port_is_closed_is_ec2s_silence(agents: Made) -> None:
    """It is about to be started, or was never installed."""
    with pytest.raises(CloudUnavailable, match=r"no AWS credentials.*Pod Identity Agent"):
        agents("http://127.0.0.1:9").describe_enis("lab")


def test_credentials_that_come_later_are_used(server: Server, agents: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same client."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    server.replies[AGENT] = http(404, "not yet")
    cloud = agents()
    with pytest.raises(CloudUnavailable):
        cloud.describe_enis("lab")
    server.replies[AGENT] = given()
    assert cloud.describe_enis("lab") == ()


def test_credentials_that_are_still_good_are_used_while_sts_hangs(server: Server, irsa: Made) -> None:
    """They end in some minutes, so others are looked for, beside the question."""
    over = threading.Event()
    soon = ec2_time(600)
    server.replies["AssumeRoleWithWebIdentity"] = assumed(soon)
    cloud = irsa()
    assert cloud.describe_enis("lab") == ()
    server.replies["AssumeRoleWithWebIdentity"] = silent_until(over)
    for _ in range(3):
        assert cloud.describe_enis("lab") == ()
    over.set()


def test_credentials_that_aws_does_not_accept_any_more_are_replaced(
    server: Server, irsa: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role's session was revoked, or its keys rotated."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(credentials, "REPLACED_WITHIN", 20.0)  # however busy the machine is
    cloud = irsa()
    assert cloud.describe_enis("lab") == ()
    server.replies["DescribeNetworkInterfaces"] = error(400, "ExpiredToken")
    with pytest.raises(CloudUnavailable, match="ExpiredToken"):
        cloud.describe_enis("lab")
    server.replies["DescribeNetworkInterfaces"] = FOUND
    assert cloud.describe_enis("lab") == ()
    assert sum("AssumeRoleWithWebIdentity" in asked for asked in server.asked) == 2


def asked_of_sts(server: Server) -> int:
    """How often."""
    return sum("AssumeRoleWithWebIdentity" in asked for asked in server.asked)


@pytest.mark.parametrize(("doubted_after", "times"), [(0.0, 2), (60.0, 1)], ids=["a while ago", "just now"])
def test_others_are_looked_for_where_something_is_denied(
    server: Server, irsa: Made, monkeypatch: pytest.MonkeyPatch, doubted_after: float, times: int
) -> None:
    """The node may have another role by now, and what the former one has is good for hours; but now and then only."""
    monkeypatch.setattr(credentials, "DOUBTED_AFTER", doubted_after)
    monkeypatch.setattr(credentials, "RENEWED_AGAIN_AFTER", 0.0)
    cloud = irsa()
    server.replies["DescribeNetworkInterfaces"] = error(403, "UnauthorizedOperation")
    with pytest.raises(Denied):
        cloud.describe_enis("lab")
    server.replies["DescribeNetworkInterfaces"] = FOUND
    assert cloud.describe_enis("lab") == ()
    until(lambda: asked_of_sts(server) == times)
    assert cloud.describe_enis("lab") == ()
    assert asked_of_sts(server) == times


def test_credentials_that_were_refused_once_are_used_on_while_sts_hangs(
    server: Server, irsa: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be EC2 that erred: without them it could not even be asked again."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(credentials, "REPLACED_WITHIN", 0.1)
    over, cloud = threading.Event(), irsa()
    assert cloud.describe_enis("lab") == ()
    server.replies |= {
        "AssumeRoleWithWebIdentity": silent_until(over),
        "DescribeNetworkInterfaces": error(401, "AuthFailure"),
    }
    with pytest.raises(NoCredentials, match="AuthFailure"):
        cloud.describe_enis("lab")
    server.replies["DescribeNetworkInterfaces"] = FOUND
    assert cloud.describe_enis("lab") == ()
    over.set()


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (assumed()[:-150], "what came is no XML, or was cut off"),
        (assumed().replace(b">T<", b">S3CR3T\nT<"), "their token"),
        (assumed().replace(b">SK<", b"><"), "their secret is empty"),
        (assumed().replace(b">AK<", b">A K<"), "their access key"),
    ],
    ids=["cut off", "a line break", "empty", "a blank"],
)
def test_what_is_told_of_credentials_that_are_none_has_no_secret(
    server: Server, irsa: Made, reply: bytes, cause: str
) -> None:
    """Neither as it came, nor as it would be sent."""
    head, _, body = reply.replace(b">SK<", b">S3CR3T<").partition(b"\r\n\r\n")
    server.replies["AssumeRoleWithWebIdentity"] = head.partition(b"\r\n")[0] + b"\r\n\r\n" + body
    with pytest.raises(NoCredentials, match=f"no AWS credentials: {cause}.*{ROLE}") as caught:
        irsa().describe_enis("lab")
    assert "S3CR3T" not in str(caught.value)


def test_what_gives_credentials_by_drips_is_given_up_and_its_connection_ended(
    server: Server, agents: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread stays behind with it, as with EC2's own answers."""
    monkeypatch.setattr(credentials, "AGAIN_AFTER", 0.0)
    monkeypatch.setattr(credentials, "GIVEN_UP_AFTER", SHORT)
    ended = threading.Event()
    server.replies[AGENT] = dripping(given(), 30, ended)
    cloud = agents()
    with pytest.raises(NoCredentials, match=r"does not answer; does the EKS Pod Identity Agent run on this node\?"):
        cloud.describe_enis("lab")
    threading.Event().wait(SHORT)
    server.replies[AGENT] = given()
    assert in_the_end(cloud) == ()
    assert ended.wait(PATIENCE)


def ec2_time(seconds: float) -> str:
    """So many seconds from now, as AWS writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.fixture
def made(server: Server, environment: Become) -> Made:
    """A cloud in an environment with keys, and with what a test adds."""
    server.replies[""] = FOUND

    def make(**variables: str) -> Ec2Cloud:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
        known = {"AWS_ENDPOINT_URL_EC2": server.url, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
        environment(**(keys | known | variables))
        return Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ())

    return make


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00", "tomorrow", "4102444800"])
def test_credentials_of_the_environment_that_ended_are_told_by_their_end(made: Made, until: str) -> None:
    """As `aws configure export-credentials` left them in a shell some hours ago; a time without a zone is none."""
    with pytest.raises(NoCredentials, match=f"AWS_CREDENTIAL_EXPIRATION={until}"):
        made(AWS_CREDENTIAL_EXPIRATION=until).describe_enis("lab")


@pytest.mark.parametrize("until", ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2099-01-01T00:00:00+00:00", ""])
def test_credentials_of_the_environment_that_are_good_are_used(made: Made, until: str) -> None:
    """The ends in the years to come included."""
    assert made(AWS_CREDENTIAL_EXPIRATION=until).describe_enis("lab") == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_STS_REGIONAL_ENDPOINTS", "everywhere"),
        ("AWS_DEFAULTS_MODE", "odd"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/etc/passwd"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "often"),
    ],
)
def test_what_the_sdk_cannot_use_is_blamed_on_its_variable_alone(made: Made, variable: str, value: str) -> None:
    """And not on another one that is well, such as the endpoint's."""
    with pytest.raises(ConfigurationError, match=f"correct {variable}={value}$"):
        made(**{variable: value})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
        ("AWS_DEFAULTS_MODE", " "),
        ("AWS_ENDPOINT_URL", ""),
        ("AWS_MAX_ATTEMPTS", " "),
        ("AWS_PROFILE", ""),
        ("AWS_SESSION_TOKEN", " "),
        ("AWS_STS_REGIONAL_ENDPOINTS", ""),
    ],
)
def test_a_variable_without_a_value_is_none(made: Made, variable: str, value: str) -> None:
    """As a shell leaves it after `export AWS_PROFILE=`, and a template where there is nothing to put in."""
    assert made(**{variable: value}).describe_enis("lab") == ()


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_of_certificates_that_is_not_there_is_told_by_its_variable(
    made: Made, server: Server, variable: str
) -> None:
    """The SDK speaks of the endpoint alone; a clock before the certificate's time looks the same."""
    url = server.url.replace("http:", "https:")
    with pytest.raises(CloudUnavailable, match=rf"SSL.*clock.* {variable}=/nonexistent.pem"):
        made(**{"AWS_ENDPOINT_URL_EC2": url, variable: "/nonexistent.pem"}).describe_enis("lab")
