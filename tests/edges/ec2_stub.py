"""EC2 as botocore's stub: it checks what it is asked, and answers what the test says; and every call that is made."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from botocore import xform_name
from botocore.stub import Stubber

from floatingip.core.ec2 import Subnet
from floatingip.core.errors import CloudError
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.tally import Tally

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100")
SUBNET = Subnet("subnet-1", (ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64")), "us-west-2-lax-1a")

INDEX_TAKEN = "Instance 'i-0b' already has an interface attached at device index '1'."

CALLS: Mapping[str, Callable[[Ec2Cloud], object]] = {
    "DescribeNetworkInterfaces": lambda cloud: cloud.describe_enis("cluster"),
    "DescribeInstances": lambda cloud: cloud.describe_instances(frozenset({"i-0a"})),
    "DescribeSubnets": lambda cloud: cloud.describe_subnets(),
    "DescribeAddresses": lambda cloud: cloud.describe_allocation("eipalloc-1"),
    "DescribeInstanceTypes": lambda cloud: cloud.describe_slots("m5.large"),
    "CreateNetworkInterface": lambda cloud: cloud.create_eni(ADDRESS, SUBNET, {}, "token"),
    "DeleteNetworkInterface": lambda cloud: cloud.delete_eni("eni-1"),
    "AssociateAddress": lambda cloud: cloud.associate("eipalloc-1", "eni-1", ADDRESS),
    "ModifyNetworkInterfaceAttribute": lambda cloud: cloud.set_security_groups("eni-1", ("sg-1",)),
    "AttachNetworkInterface": lambda cloud: cloud.attach_eni("eni-1", "i-0b", frozenset({0})),
    "DetachNetworkInterface": lambda cloud: cloud.detach_eni("eni-attach-1", force=False),
    "AssignPrivateIpAddresses": lambda cloud: cloud.assign("eni-1", ADDRESS, reassign=True),
    "UnassignPrivateIpAddresses": lambda cloud: cloud.unassign("eni-1", ADDRESS),
    "AssignIpv6Addresses": lambda cloud: cloud.assign("eni-1", IPV6, reassign=False),
    "UnassignIpv6Addresses": lambda cloud: cloud.unassign("eni-1", IPV6),
    "CreateTags": lambda cloud: cloud.tag_eni("eni-1", {"floatingip/moves": ""}),
}
"""Every call: EC2's action, and how we make it."""

every_call = pytest.mark.parametrize("action", sorted(CALLS))


class Endpoint:
    """EC2 that answers what the test says, and the cloud that asks it."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.stub = Stubber(client)
        self.tally = Tally()
        self.cloud = Ec2Cloud(client, "vpc-1", ("sg-1",), tally=self.tally)
        self.ended = ExitStack()

    def answers(self, action: str, answer: Mapping[str, object], asked: Mapping[str, object] | None = None) -> None:
        """Answer the next call, which must have asked for this, if something is given."""
        self.stub.add_response(xform_name(action), answer, asked)

    def refuses(self, action: str, code: str, message: str = "It cannot be.", status: int = 400, **asked: Any) -> None:
        """Answer the next call, which must have asked for this, if something is given, with an error."""
        self.stub.add_client_error(xform_name(action), code, message, status, expected_params=asked or None)

    def fails(self, error: Exception) -> None:
        """Raise this instead of sending a request."""

        def fail(**_: object) -> None:
            raise error

        self.stub.deactivate()
        events = self.client.meta.events
        events.register_first("before-send.ec2", fail)
        self.ended.callback(events.unregister, "before-send.ec2", fail)

    def error_of(self, action: str) -> CloudError:
        """What the call raises."""
        with pytest.raises(CloudError) as caught:
            CALLS[action](self.cloud)
        return caught.value
