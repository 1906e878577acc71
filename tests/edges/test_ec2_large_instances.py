"""Instances with more interfaces than most: 24 on one network card, as a c8i.48xlarge (EC2 Instance Types Guide)."""

from tests.edges.ec2_stub import Endpoint

pytest_plugins = ["tests.edges.ec2_fixtures"]

SLOTS = 24


def test_the_last_slot_of_the_largest_instance_is_used(endpoint: Endpoint) -> None:
    """The VPC CNI has all others, for the node's pods."""
    asked = {"NetworkInterfaceId": "eni-1", "InstanceId": "i-0b", "DeviceIndex": SLOTS - 1, "NetworkCardIndex": 0}
    endpoint.answers("AttachNetworkInterface", {"AttachmentId": "eni-attach-1"}, asked)
    assert endpoint.cloud.attach_eni("eni-1", "i-0b", frozenset(range(SLOTS - 1))) == "eni-attach-1"
