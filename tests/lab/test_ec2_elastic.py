"""The EC2 endpoint enforces what EC2 enforces about Elastic IPs; asked over HTTP, as the product asks it."""

import time
from dataclasses import replace

from tests.lab import endpoint
from tests.lab.endpoint import INSTANT, refusal, soon

PUBLIC = "203.0.113.100"


class Lab(endpoint.Lab):
    """One with an allocation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.allocation = self.ec2.allocate(PUBLIC)

    def statuses(self) -> list[str]:
        return [event["status"] for event in self.told("association")]


Start = endpoint.Start[Lab]
start, lab = endpoint.fixtures(Lab)


def test_an_allocation_shows_its_address_and_border_group(lab: Lab) -> None:
    """One of the lab, and one that a call has made; an unknown id is an error as parameter and nothing as filter."""
    assert lab.address(lab.allocation) == {
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
    both = [ghost, lab.allocation]
    found = lab.client.describe_addresses(Filters=[{"Name": "allocation-id", "Values": both}])["Addresses"]
    assert [item["AllocationId"] for item in found] == [lab.allocation]


def test_an_association_shows_on_both_sides_and_leads_the_traffic(lab: Lab) -> None:
    """By DescribeAddresses and DescribeNetworkInterfaces, with filters too; the history tells it."""
    eni, other = lab.eni(), lab.eni()
    association = lab.associate(eni, lab.allocation)
    private = lab.show(eni)["PrivateIpAddress"]
    shown = lab.address(lab.allocation)
    sides = {"AssociationId": association, "NetworkInterfaceId": eni, "PrivateIpAddress": private}
    assert sides.items() <= shown.items()
    assert "InstanceId" not in shown
    ids = {"AllocationId": lab.allocation, "AssociationId": association, "IpOwnerId": "amazon", "PublicIp": PUBLIC}
    assert lab.show(eni)["Association"] == lab.show(eni)["PrivateIpAddresses"][0]["Association"] == ids
    assert "Association" not in lab.show(other)
    assert lab.find("association.allocation-id", lab.allocation) == [eni]
    assert lab.machines.routed == {PUBLIC: private}
    assert lab.statuses() == ["associated"]
    lab.attach(eni, lab.a.instance_id)
    assert lab.address(lab.allocation)["InstanceId"] == lab.a.instance_id
    [attached] = [event for event in lab.told("attachment") if event["status"] == "attached"]
    assert (attached["address"], attached["addresses"]) == (private, [private, PUBLIC])


def test_associating_again_is_associating_once(lab: Lab) -> None:
    """The same id, and no error even where reassociation is forbidden."""
    eni = lab.eni()
    assert (
        lab.associate(eni, lab.allocation)
        == lab.associate(eni, lab.allocation)
        == lab.associate(eni, lab.allocation, AllowReassociation=False)
    )
    assert lab.statuses() == ["associated"]


def test_an_association_moves_by_default_and_stays_when_moving_is_forbidden(lab: Lab) -> None:
    """The old ENI no longer shows it; a second Elastic IP takes the place of the first in the same way."""
    old, new = lab.eni(), lab.eni()
    first = lab.associate(old, lab.allocation)
    assert refusal(lab.associate, new, lab.allocation, AllowReassociation=False) == "Resource.AlreadyAssociated"
    assert lab.address(lab.allocation)["NetworkInterfaceId"] == old
    second = lab.associate(new, lab.allocation)
    assert first != second
    assert "Association" not in lab.show(old)
    assert lab.show(new)["Association"]["AssociationId"] == second
    assert lab.machines.routed == {PUBLIC: lab.show(new)["PrivateIpAddress"]}

    spare = lab.ec2.allocate("203.0.113.101")
    assert refusal(lab.associate, new, spare, AllowReassociation=False) == "Resource.AlreadyAssociated"
    lab.associate(new, spare)
    assert "AssociationId" not in lab.address(lab.allocation)
    assert lab.machines.routed == {"203.0.113.101": lab.show(new)["PrivateIpAddress"]}


def test_a_disassociated_address_leads_nowhere(lab: Lab) -> None:
    """It stays allocated; the association's id is unknown from then on."""
    eni = lab.eni()
    association = lab.associate(eni, lab.allocation)
    lab.client.disassociate_address(AssociationId=association)
    assert "AssociationId" not in lab.address(lab.allocation)
    assert "Association" not in lab.show(eni)
    assert lab.machines.routed == {}
    assert refusal(lab.client.disassociate_address, AssociationId=association) == "InvalidAssociationID.NotFound"
    assert lab.statuses() == ["associated", "disassociated"]


def test_deleting_the_eni_ends_the_association(lab: Lab) -> None:
    """The Elastic IP stays allocated, and can be associated again; it cannot be released while it is."""
    eni = lab.eni()
    lab.associate(eni, lab.allocation)
    assert refusal(lab.client.release_address, AllocationId=lab.allocation) == "InvalidIPAddress.InUse"
    lab.client.delete_network_interface(NetworkInterfaceId=eni)
    assert "AssociationId" not in lab.address(lab.allocation)
    assert lab.machines.routed == {}
    lab.associate(lab.eni(), lab.allocation)
    lab.client.disassociate_address(AssociationId=lab.address(lab.allocation)["AssociationId"])
    lab.client.release_address(AllocationId=lab.allocation)
    assert refusal(lab.address, lab.allocation) == "InvalidAllocationID.NotFound"


def test_a_secondary_private_address_has_an_association_of_its_own(lab: Lab) -> None:
    """Shown with that address only; an address that is not the ENI's is refused."""
    eni = lab.eni(
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.100", "Primary": True},
            {"PrivateIpAddress": "10.0.0.101", "Primary": False},
        ]
    )
    association = lab.associate(eni, lab.allocation, "10.0.0.101")
    shown = lab.show(eni)
    assert "Association" not in shown
    shown_with = [item.get("Association", {}).get("AssociationId") for item in shown["PrivateIpAddresses"]]
    assert shown_with == [None, association]
    assert lab.machines.routed == {PUBLIC: "10.0.0.101"}
    assert refusal(lab.associate, eni, lab.allocation, "10.0.0.102") == "InvalidParameterValue"


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
    assert refusal(lab.associate, eni, lab.allocation) == "Gateway.NotAttached"
    lab.associate(eni, owned)
    shown = lab.address(owned)
    assert shown["CustomerOwnedIp"] == "198.18.0.100"
    assert shown["CustomerOwnedIpv4Pool"].startswith("ipv4pool-coip-")
    assert "PublicIp" not in shown
    assert lab.show(eni)["Association"]["CustomerOwnedIp"] == "198.18.0.100"


def test_traffic_follows_an_association_a_while_later(start: Start) -> None:
    """EC2 shows the move at once; until the traffic follows, the former ENI gets it; the newest change counts."""
    lab = start(replace(INSTANT, associate=0.3))
    old, new = lab.eni(), lab.eni()
    began = time.monotonic()
    lab.associate(old, lab.allocation)
    assert lab.address(lab.allocation)["NetworkInterfaceId"] == old
    assert lab.machines.routed == {}
    soon(lambda: lab.machines.routed == {PUBLIC: lab.show(old)["PrivateIpAddress"]})
    assert lab.machines.reroutes[0][0] - began >= 0.3
    moved = time.monotonic()
    lab.associate(old, lab.allocation)
    lab.associate(new, lab.allocation)
    assert lab.machines.routed == {PUBLIC: lab.show(old)["PrivateIpAddress"]}
    soon(lambda: lab.machines.routed == {PUBLIC: lab.show(new)["PrivateIpAddress"]})
    assert lab.machines.reroutes[1][0] - moved >= 0.3
    for eni in old, new:
        lab.associate(eni, lab.allocation)
        lab.client.disassociate_address(AssociationId=lab.address(lab.allocation)["AssociationId"])
    soon(lambda: lab.machines.routed == {})
    assert [private for _, private in lab.machines.reroutes][2:] == [None]
