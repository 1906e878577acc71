"""On a worker, what a command asks EC2 for is in that worker's Region, whatever the environment says."""

from ipaddress import IPv4Address

import pytest

from floatingip.commands import arguments
from floatingip.core.errors import ConfigurationError
from floatingip.core.node import Identity

ME = Identity(
    "i-0a", "us-west-2", "us-west-2a", "vpc-1", "subnet-1", "02:00:00:00:00:0a", IPv4Address("10.0.0.10"), ("sg-1",)
)


@pytest.mark.parametrize(
    ("region", "vpc_id", "place"),
    [
        pytest.param(None, None, ("us-west-2", "vpc-1"), id="nothing is given"),
        pytest.param("eu-west-1", None, ("us-west-2", "vpc-1"), id="AWS_REGION is for another program"),
        pytest.param("eu-west-1", "vpc-2", ("eu-west-1", "vpc-2"), id="another deployment is meant"),
        pytest.param(None, "vpc-2", ("us-west-2", "vpc-2"), id="another VPC of the same Region"),
    ],
)
def test_the_vpc_of_a_worker_is_in_its_region(
    region: str | None, vpc_id: str | None, place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another Region EC2 shows nothing of it: `release` would have nothing to do, and end with 0."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert arguments.place(region, vpc_id, ME) == place


def test_a_region_that_a_person_has_given_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """`release` would delete the interfaces of this worker's deployment, though another one is meant."""
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert arguments.place("us-west-2", None, ME) == ("us-west-2", "vpc-1")
    with pytest.raises(ConfigurationError, match=r"--region eu-west-1: this worker's VPC is in us-west-2; give"):
        arguments.place("eu-west-1", None, ME)
