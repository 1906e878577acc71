"""What a shell may leave in the environment that the SDK reads: what has ended, or is odd, is told by its name."""

from collections.abc import Callable

import pytest

from floatingip.core.errors import CloudUnavailable, ConfigurationError, NoCredentials
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.core.ec2_server import FOUND, Become, Server

pytest_plugins = ["tests.core.ec2_fixtures"]

Made = Callable[..., Ec2Cloud]


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


def test_a_bundle_of_certificates_that_is_not_there_is_told_by_its_variable(made: Made, server: Server) -> None:
    """The SDK speaks of the endpoint alone; a clock before the certificate's time looks the same."""
    url = server.url.replace("http:", "https:")
    with pytest.raises(CloudUnavailable, match=r"SSL.*clock.*AWS_CA_BUNDLE"):
        made(AWS_ENDPOINT_URL_EC2=url, AWS_CA_BUNDLE="/nonexistent.pem").describe_enis("lab")
