"""EC2 as botocore's stub: it checks what it is asked, and answers what the test says; and every call that is made."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from botocore.stub import Stubber

from floatingip.core.ec2 import Subnet
from floatingip.core.errors import (
    CloudError,
)
from floatingip.edges.ec2.cloud import Ec2Cloud
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
