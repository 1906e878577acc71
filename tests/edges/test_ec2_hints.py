"""What to do where there are no credentials, or EC2 is not reached: what is wrong is named, and nothing else is."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.utils import ContainerMetadataFetcher

from floatingip.core.errors import CloudUnavailable, ConfigurationError
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import Become, Server, error, http

pytest_plugins = ["tests.edges.ec2_fixtures"]

LATER = "2099-01-01T00:00:00Z"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
ROLE = "arn:aws:iam::123456789012:role/floatingip"

Told = Callable[..., str]


@pytest.fixture
def told(server: Server, environment: Become, tmp_path: Path) -> Told:
    """What is told where a question to EC2 fails, in an environment with these variables; TOKEN is a token's file."""
    token = tmp_path / "token"
    token.write_text("token")

    def tell(**variables: str) -> str:
        known = {"AWS_ENDPOINT_URL_EC2": server.url, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
        environment(**known | {key: value.replace("TOKEN", str(token)) for key, value in variables.items()})
        with pytest.raises(CloudUnavailable) as caught:
            Ec2Cloud(ec2.client("us-west-2"), "vpc-1", ()).describe_enis("lab")
        return str(caught.value)

    return tell


@pytest.mark.parametrize(
    "keys",
    [{"AWS_ACCESS_KEY_ID": "key"}, {**KEYS, "AWS_SECRET_ACCESS_KEY": "se cret"}, {**KEYS, "AWS_SESSION_TOKEN": "a\nb"}],
    ids=["no secret", "a blank", "a line's end"],
)
def test_keys_that_cannot_be_used_are_not_blamed_on_their_end(told: Told, keys: dict[str, str]) -> None:
    """That is still to come, and others would be pasted in the same way."""
    said = told(**keys, AWS_CREDENTIAL_EXPIRATION=LATER)
    assert "correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN" in said
    assert "EXPIRATION" not in said


def test_temporary_keys_without_their_token_are_not_blamed_on_the_clock(told: Told, server: Server) -> None:
    """EC2 would not accept them, as if it were wrong: they were copied in part."""
    said = told(AWS_ACCESS_KEY_ID="ASIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY="secret")
    assert "they are temporary, and have no token; correct AWS_ACCESS_KEY_ID" in said
    assert not server.asked


@pytest.mark.parametrize("beside", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_what_stands_without_its_access_key_is_named(told: Told, beside: str) -> None:
    """In the place of a role that nobody meant."""
    assert f"AWS_ACCESS_KEY_ID is missing beside {beside} in the environment" in told(**{beside: "secret"})


@pytest.mark.parametrize("code", ["InvalidAction", "MissingAuthenticationToken"])
def test_an_endpoint_for_all_that_is_ec2s_is_not_blamed_on_the_role(told: Told, server: Server, code: str) -> None:
    """In a VPC without a way out somebody names EC2's, and STS is asked there."""
    server.replies["AssumeRoleWithWebIdentity"] = error(400, code)
    said = told(AWS_ENDPOINT_URL=server.url, AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE="TOKEN")
    assert code in said
    assert f"AWS_ENDPOINT_URL={server.url} counts for STS, too" in said


def test_an_end_without_keys_is_nobodys(told: Told) -> None:
    """An empty key is none: then the SDK looks elsewhere."""
    assert "EXPIRATION" not in told(**{**KEYS, "AWS_ACCESS_KEY_ID": ""}, AWS_CREDENTIAL_EXPIRATION=LATER)


@pytest.mark.parametrize("until", ["tomorrow", "2099-01-01T00:00:00"])
def test_an_end_that_is_no_time_is_to_be_corrected(told: Told, until: str) -> None:
    """Neither other credentials nor another clock would help."""
    assert f"correct AWS_CREDENTIAL_EXPIRATION={until}" in told(**KEYS, AWS_CREDENTIAL_EXPIRATION=until)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL_STS", "nonsense"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "nonsense"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv9"),
        ("AWS_METADATA_SERVICE_TIMEOUT", "soon"),
    ],
)
def test_a_variable_by_which_credentials_are_looked_for_is_named(told: Told, variable: str, value: str) -> None:
    """In the place of a role that would be blamed for it."""
    irsa = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "TOKEN"} if "STS" in variable else {}
    assert f"is {variable}={value} in the environment right?" in told(
        **irsa, AWS_EC2_METADATA_DISABLED="false", **{variable: value}
    )


def test_a_pod_identity_token_that_is_not_there_is_not_blamed_on_the_agent(told: Told, server: Server) -> None:
    """It was not even asked."""
    said = told(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{server.url}/v1/credentials",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="/nonexistent/token",
    )
    assert "is AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/nonexistent/token in the environment right?" in said


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "AccessDenied", f"let the role {ROLE} trust"),
        (400, "InvalidIdentityToken", "is the cluster's OIDC provider in IAM"),
        (400, "ExpiredTokenException", "is the node's clock right, and does the kubelet renew "),
        (400, "IDPCommunicationError", "STS is asked again"),
        (400, "IDPRejectedClaim", "is the cluster's OIDC provider in IAM"),
        (403, "RegionDisabledException", "activate STS for this Region"),
        (400, "ValidationError", f"correct the ARN {ROLE}, or what is in "),
        (400, "Throttling", "STS is asked again"),
    ],
)
def test_what_sts_says_has_its_own_remedy(told: Told, server: Server, status: int, code: str, hint: str) -> None:
    """A role that trusts this pod was told to trust it where STS was only busy."""
    server.replies["AssumeRoleWithWebIdentity"] = http(
        status, f"<ErrorResponse><Error><Code>{code}</Code><Message>No.</Message></Error></ErrorResponse>"
    )
    said = told(AWS_ENDPOINT_URL_STS=server.url, AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE="TOKEN")
    assert code in said
    assert hint in said


def test_an_sts_that_is_not_reached_is_not_blamed_on_the_role(told: Told) -> None:
    """As in a VPC without a way out, and without an endpoint for STS."""
    said = told(AWS_ENDPOINT_URL_STS="http://127.0.0.1:9", AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE="TOKEN")
    assert f"to assume {ROLE}, let this node reach STS: by a NAT gateway, or a VPC endpoint for STS" in said


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (404, "has this pod's service account an association with a role that trusts pods.eks.amazonaws.com?"),
        (400, "has this pod's service account an association with a role that trusts pods.eks.amazonaws.com?"),
        (429, "EKS throttles the Pod Identity Agent: it is asked again"),
        (500, "what does the log of the EKS Pod Identity Agent on this node say?"),
    ],
)
def test_a_pod_identity_agent_that_answers_is_not_looked_for(
    told: Told, server: Server, monkeypatch: pytest.MonkeyPatch, status: int, hint: str
) -> None:
    """The association is gone, or was made for another service account; or many pods begin at the same time."""
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    server.replies["/v1/credentials"] = http(status, "no")
    said = told(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{server.url}/v1/credentials")
    assert f"response {status} from container metadata" in said
    assert hint in said
    assert "run on this node" not in said


def test_a_node_whose_role_is_not_looked_for_is_told_why(told: Told) -> None:
    """It may have one."""
    assert "AWS_EC2_METADATA_DISABLED=true keeps the node's role from being found" in told()
    assert "AWS_EC2_METADATA_DISABLED" not in told(
        AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:9"
    )


@pytest.mark.parametrize("proxy", ["http://[::1", "http://127.0.0.1:99999", "http://user:hidden@127.0.0.1:1"])
def test_a_proxy_that_does_not_do_is_named_and_nothing_secret(told: Told, proxy: str) -> None:
    """It cannot be read, or nobody is there."""
    said = told(**KEYS, HTTP_PROXY=proxy)
    assert "correct HTTPS_PROXY, or name EC2's endpoint in NO_PROXY" in said
    assert "hidden" not in said


def test_an_endpoint_whose_port_is_no_number_is_refused_at_the_start(told: Told) -> None:
    """Digits of other scripts look like one."""
    with pytest.raises(ConfigurationError, match=r"AWS_ENDPOINT_URL_EC2.*is no URL"):
        told(**KEYS, AWS_ENDPOINT_URL_EC2="http://127.0.0.1:\u0664\u0664")


NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
OTHER_KIND = "is there such an endpoint in this Region ({}=true)?"


@pytest.mark.parametrize(
    ("error", "variable", "value", "hint"),
    [
        *(
            (NO_SUCH_NAME, variable, "true", OTHER_KIND.format(variable))
            for variable in ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "AWS_ENDPOINT_URL_EC2",
            "http://ec2.example",
            "ec2.example/\" (Temporary failure in name resolution); does this machine's name server answer",
        ),
    ],
)
def test_a_name_that_is_not_found_is_not_taken_for_a_silent_ec2(
    told: Told, monkeypatch: pytest.MonkeyPatch, error: OSError, variable: str, value: str, hint: str
) -> None:
    """The SDK says of both that it could not connect; a Region may lack endpoints of another kind."""

    def fail(*_asked: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert hint in told(**KEYS | {"AWS_ENDPOINT_URL_EC2": "", variable: value})


def test_without_a_token_there_is_still_the_nodes_role(told: Told) -> None:
    """The usual case; the role that a token would be for is not told of, as nobody asks for it."""
    assert ROLE not in (said := told(AWS_ROLE_ARN=ROLE))
    assert "give the pod a role (IRSA" in said
    assert "give the pod a role" in told()


@pytest.mark.parametrize(
    "url", ["http://[fd00:ec2::1]:8080", "HTTPS://ec2.example/", "https://vpce-1.ec2.example/a?b=c"]
)
def test_an_endpoint_that_the_sdk_takes_is_not_refused(environment: Become, url: str) -> None:
    """At its address, as where a name server may fail, or however it is written."""
    environment(AWS_ENDPOINT_URL_EC2=url)
    ec2.check_environment()
