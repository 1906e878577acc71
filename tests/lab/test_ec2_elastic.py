"""The EC2 endpoint enforces what EC2 enforces about Elastic IPs; asked over HTTP, as the product asks it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mypy_boto3_ec2 import EC2Client

from lab.ec2 import PROFILES, Ec2, NoDevices, Profile
from tests.lab.endpoint import refusal, soon, started

PUBLIC = "203.0.113.100"
INSTANT = PROFILES["instant"]


@dataclass
class Gateway(NoDevices):
    """Machines of no interest, and an internet gateway that remembers where it leads."""

    routed: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[float, str | None]] = field(default_factory=list)

    def associate(self, public: str, private: str) -> None:
        """Remember where it leads, and since when."""
        self.routed[public] = private
        self.changes.append((time.monotonic(), private))

    def disassociate(self, public: str) -> None:
        """It leads nowhere."""
        del self.routed[public]
        self.changes.append((time.monotonic(), None))


@dataclass
class Lab:
    """An endpoint with an allocation, and the shortest ways to say things to it."""

    ec2: Ec2
    gateway: Gateway
    events: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.client: EC2Client = self.ec2.client()
        self.allocation = self.ec2.allocate(PUBLIC)

    def eni(self, **more: Any) -> str:
        answer = self.client.create_network_interface(SubnetId=self.ec2.subnet_id, **more)
        return answer["NetworkInterface"]["NetworkInterfaceId"]

    def associate(self, eni: str, allocation: str = "", **more: Any) -> str:
        answer = self.client.associate_address(
            AllocationId=allocation or self.allocation, NetworkInterfaceId=eni, **more
        )
        return answer["AssociationId"]

    def address(self, allocation: str = "") -> Any:
        return self.client.describe_addresses(AllocationIds=[allocation or self.allocation])["Addresses"][0]

    def show(self, eni: str) -> Any:
        return self.client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]

    def statuses(self) -> list[str]:
        return [event["status"] for event in self.events if event["event"] == "association"]


@pytest.fixture
def start() -> Iterator[Callable[[Profile], Lab]]:
    """Start a lab with a profile."""
    yield from started(Gateway, Lab)


@pytest.fixture
def lab(start: Callable[[Profile], Lab]) -> Lab:
    """A lab where everything happens at once."""
    return start(INSTANT)


def test_an_allocation_shows_its_address_and_border_group(lab: Lab) -> None:
    """One of the lab, and one that a call has made; an unknown id is an error as parameter and nothing as filter."""
    assert lab.address() == {
        "AllocationId": lab.allocation,
        "Domain": "vpc",
        "NetworkBorderGroup": "us-west-2-lax-1",
        "PublicIp": PUBLIC,
        "PublicIpv4Pool": "amazon",
        "Tags": [],
    }
    made = lab.client.allocate_address(NetworkBorderGroup="us-west-2")
    assert lab.address(made["AllocationId"])["NetworkBorderGroup"] == "us-west-2"
    assert made["PublicIp"].startswith("203.0.113.")
    ghost = "eipalloc-00000000000000000"
    assert refusal(lab.address, ghost) == "InvalidAllocationID.NotFound"
    assert refusal(lab.associate, lab.eni(), ghost) == "InvalidAllocationID.NotFound"
    filters = [{"Name": "allocation-id", "Values": [ghost, lab.allocation]}]
    found = lab.client.describe_addresses(Filters=filters)["Addresses"]  # type: ignore[arg-type]  # a plain dict
    assert [item["AllocationId"] for item in found] == [lab.allocation]


def test_an_association_shows_on_both_sides_and_leads_the_traffic(lab: Lab) -> None:
    """By DescribeAddresses and DescribeNetworkInterfaces, with filters too; the history tells it."""
    worker = lab.ec2.run_instance("worker-a", "10.0.0.10")
    eni, other = lab.eni(), lab.eni()
    association = lab.associate(eni)
    private = lab.show(eni)["PrivateIpAddress"]
    shown = lab.address()
    assert (shown["AssociationId"], shown["NetworkInterfaceId"], shown["PrivateIpAddress"]) == (
        association,
        eni,
        private,
    )
    assert "InstanceId" not in shown
    expected = {
        "AllocationId": lab.allocation,
        "AssociationId": association,
        "IpOwnerId": "amazon",
        "PublicIp": PUBLIC,
    }
    assert lab.show(eni)["Association"] == lab.show(eni)["PrivateIpAddresses"][0]["Association"] == expected
    assert "Association" not in lab.show(other)
    found = lab.client.describe_network_interfaces(
        Filters=[{"Name": "association.allocation-id", "Values": [lab.allocation]}]
    )["NetworkInterfaces"]
    assert [item["NetworkInterfaceId"] for item in found] == [eni]
    assert lab.gateway.routed == {PUBLIC: private}
    assert lab.statuses() == ["associated"]
    lab.client.attach_network_interface(NetworkInterfaceId=eni, InstanceId=worker.instance_id, DeviceIndex=1)
    assert lab.address()["InstanceId"] == worker.instance_id
    [attached] = [event for event in lab.events if event["event"] == "attachment" and event["status"] == "attached"]
    assert (attached["address"], attached["addresses"]) == (private, [private, PUBLIC])


def test_associating_again_is_associating_once(lab: Lab) -> None:
    """The same id, and no error even where reassociation is forbidden."""
    eni = lab.eni()
    assert lab.associate(eni) == lab.associate(eni) == lab.associate(eni, AllowReassociation=False)
    assert lab.statuses() == ["associated"]


def test_an_association_moves_by_default_and_stays_when_moving_is_forbidden(lab: Lab) -> None:
    """The old ENI no longer shows it; a second Elastic IP takes the place of the first in the same way."""
    old, new = lab.eni(), lab.eni()
    first = lab.associate(old)
    assert refusal(lab.associate, new, AllowReassociation=False) == "Resource.AlreadyAssociated"
    assert lab.address()["NetworkInterfaceId"] == old
    second = lab.associate(new)
    assert first != second
    assert "Association" not in lab.show(old)
    assert lab.show(new)["Association"]["AssociationId"] == second
    assert lab.gateway.routed == {PUBLIC: lab.show(new)["PrivateIpAddress"]}

    spare = lab.ec2.allocate("203.0.113.101")
    assert refusal(lab.associate, new, spare, AllowReassociation=False) == "Resource.AlreadyAssociated"
    lab.associate(new, spare)
    assert "AssociationId" not in lab.address()
    assert lab.gateway.routed == {"203.0.113.101": lab.show(new)["PrivateIpAddress"]}


def test_a_disassociated_address_leads_nowhere(lab: Lab) -> None:
    """It stays allocated; the association's id is unknown from then on."""
    eni = lab.eni()
    association = lab.associate(eni)
    lab.client.disassociate_address(AssociationId=association)
    assert "AssociationId" not in lab.address()
    assert "Association" not in lab.show(eni)
    assert lab.gateway.routed == {}
    assert refusal(lab.client.disassociate_address, AssociationId=association) == "InvalidAssociationID.NotFound"
    assert lab.statuses() == ["associated", "disassociated"]


def test_deleting_the_eni_ends_the_association(lab: Lab) -> None:
    """The Elastic IP stays allocated, and can be associated again; it cannot be released while it is."""
    eni = lab.eni()
    lab.associate(eni)
    assert refusal(lab.client.release_address, AllocationId=lab.allocation) == "InvalidIPAddress.InUse"
    lab.client.delete_network_interface(NetworkInterfaceId=eni)
    assert "AssociationId" not in lab.address()
    assert lab.gateway.routed == {}
    lab.associate(lab.eni())
    lab.client.disassociate_address(AssociationId=lab.address()["AssociationId"])
    lab.client.release_address(AllocationId=lab.allocation)
    assert refusal(lab.address) == "InvalidAllocationID.NotFound"


def test_a_secondary_private_address_has_an_association_of_its_own(lab: Lab) -> None:
    """Shown with that address only; an address that is not the ENI's is refused."""
    eni = lab.eni(
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.100", "Primary": True},
            {"PrivateIpAddress": "10.0.0.101", "Primary": False},
        ]
    )
    association = lab.associate(eni, PrivateIpAddress="10.0.0.101")
    shown = lab.show(eni)
    assert "Association" not in shown
    assert [item.get("Association", {}).get("AssociationId") for item in shown["PrivateIpAddresses"]] == [
        None,
        association,
    ]
    assert lab.gateway.routed == {PUBLIC: "10.0.0.101"}
    assert refusal(lab.associate, eni, PrivateIpAddress="10.0.0.102") == "InvalidParameterValue"


def test_another_network_border_group_is_refused(lab: Lab) -> None:
    """An address of the Region in the Local Zone, and a border group that no zone has."""
    assert refusal(lab.associate, lab.eni(), lab.ec2.allocate("203.0.113.101", "us-west-2")) == "InvalidParameterValue"
    assert refusal(lab.client.allocate_address, NetworkBorderGroup="us-west-2-nowhere-1") == "InvalidParameterValue"


def test_without_an_internet_gateway_only_customer_owned_ips_work(lab: Lab) -> None:
    """These show themselves as such, and come through the Outpost's local gateway."""
    owned = lab.ec2.allocate("198.18.0.100", customer_owned=True)
    [gateway] = lab.client.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [lab.ec2.vpc_id]}]
    )["InternetGateways"]
    lab.client.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=lab.ec2.vpc_id)
    eni = lab.eni()
    assert refusal(lab.associate, eni) == "Gateway.NotAttached"
    lab.associate(eni, owned)
    shown = lab.address(owned)
    assert shown["CustomerOwnedIp"] == "198.18.0.100"
    assert shown["CustomerOwnedIpv4Pool"].startswith("ipv4pool-coip-")
    assert "PublicIp" not in shown
    assert lab.show(eni)["Association"]["CustomerOwnedIp"] == "198.18.0.100"


def test_traffic_follows_an_association_a_while_later(start: Callable[[Profile], Lab]) -> None:
    """EC2 shows the move at once; until the traffic follows, the former ENI gets it; the newest change counts."""
    lab = start(replace(INSTANT, associate=0.3))
    old, new = lab.eni(), lab.eni()
    began = time.monotonic()
    lab.associate(old)
    assert lab.address()["NetworkInterfaceId"] == old
    assert lab.gateway.routed == {}
    soon(lambda: lab.gateway.routed == {PUBLIC: lab.show(old)["PrivateIpAddress"]})
    assert lab.gateway.changes[0][0] - began >= 0.3
    moved = time.monotonic()
    lab.associate(old)
    lab.associate(new)
    assert lab.gateway.routed == {PUBLIC: lab.show(old)["PrivateIpAddress"]}
    soon(lambda: lab.gateway.routed == {PUBLIC: lab.show(new)["PrivateIpAddress"]})
    assert lab.gateway.changes[1][0] - moved >= 0.3
    for eni in old, new:
        lab.associate(eni)
        lab.client.disassociate_address(AssociationId=lab.address()["AssociationId"])
    soon(lambda: lab.gateway.routed == {})
    assert [private for _, private in lab.gateway.changes][2:] == [None]
