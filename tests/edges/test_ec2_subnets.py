"""A subnet's IPv6 networks: EC2 goes on showing those for a while that it took off a subnet."""

from ipaddress import ip_network

import pytest

from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import Server, subnets

pytest_plugins = ["tests.edges.ec2_fixtures"]

BLOCK = "2001:db8:0:6::/64"


def subnet(subnet_id: str, state: str) -> str:
    """One whose IPv6 network is in this state."""
    block = f"<ipv6CidrBlock>{BLOCK}</ipv6CidrBlock><ipv6CidrBlockState><state>{state}</state></ipv6CidrBlockState>"
    return (
        f"<subnetId>{subnet_id}</subnetId><availabilityZone>us-west-2a</availabilityZone>"
        f"<ipv6CidrBlockAssociationSet><item>{block}</item></ipv6CidrBlockAssociationSet>"
    )


@pytest.mark.parametrize("state", ["disassociating", "disassociated", "failing", "failed"])
def test_a_network_that_a_subnet_has_no_more_is_another_ones(server: Server, cloud: Ec2Cloud, state: str) -> None:
    """An address of it would be looked for, and made, in the wrong subnet."""
    server.replies[""] = subnets(subnet("subnet-old", state), subnet("subnet-new", "associated"))
    shown = cloud.describe_subnets()
    assert [(each.id, each.networks, each.unread) for each in shown] == [
        ("subnet-old", (), ""),
        ("subnet-new", (ip_network(BLOCK),), ""),
    ]


@pytest.mark.parametrize("state", ["associating", "associated", "what nobody has heard of yet"])
def test_any_other_network_is_the_subnets(server: Server, cloud: Ec2Cloud, state: str) -> None:
    """It has it already, or is about to."""
    server.replies[""] = subnets(subnet("subnet-1", state))
    assert [each.networks for each in cloud.describe_subnets()] == [(ip_network(BLOCK),)]
