"""How the lab reads and marks moto's interfaces and subnets."""

from ipaddress import IPv4Network, IPv6Network

from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.models.subnets import Subnet

Network = IPv4Network | IPv6Network


def ipv4_addresses(eni: NetworkInterface) -> list[str]:
    """All private IPv4 addresses of the ENI, the primary one first."""
    return [item["PrivateIpAddress"] for item in eni.private_ip_addresses]


def all_addresses(eni: NetworkInterface) -> list[str]:
    """All private addresses of the ENI: the primary one, the other IPv4 ones, and the IPv6 ones."""
    return [*ipv4_addresses(eni), *eni.ipv6_addresses]


def networks(subnet: Subnet, version: int) -> list[Network]:
    """The CIDR blocks of the subnet for this version of IP."""
    if version == 4:
        return [IPv4Network(subnet.cidr_block)]
    return [IPv6Network(item["ipv6CidrBlock"]) for item in subnet.ipv6_cidr_block_association_set]


def place_on_outpost(thing: Subnet | NetworkInterface | Instance, arn: str | None) -> None:
    """Let a subnet, an ENI or an instance show that it is on this Outpost; None: on none."""
    thing.outpost_arn = arn  # type: ignore[union-attr]  # moto has no Outposts, but serialises what it finds


def outpost_of(subnet: Subnet) -> str | None:
    """The ARN of the Outpost that the subnet is on, if any."""
    arn: str | None = getattr(subnet, "outpost_arn", None)
    return arn
