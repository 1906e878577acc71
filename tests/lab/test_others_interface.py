"""The address of somebody's second interface of a node as FLOATING_IP: refused, and that interface is left alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.test_not_ours import refuse, shown
from tests.waiting import until


@dataclass(frozen=True)
class Other:
    """Somebody's second interface of the only node, with an address by DHCP; ``link`` is its name there."""

    region: Region
    machine: Machine
    eni: str
    address: str
    link: str


@pytest.fixture(name="other")
def _other(in_sandbox: None) -> Iterator[Other]:
    with History() as history, Region(PROFILES["instant"], history, workers=1) as region:
        [machine] = region.machines.values()
        worker, ec2 = machine.worker, region.administrator
        [primary] = ec2.describe_network_interfaces(NetworkInterfaceIds=[machine.instance.eni_id])["NetworkInterfaces"]
        eni = ec2.create_network_interface(
            SubnetId=primary["SubnetId"],
            TagSpecifications=[
                {"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "another"}]}
            ],
        )["NetworkInterface"]
        ec2.attach_network_interface(
            NetworkInterfaceId=eni["NetworkInterfaceId"], InstanceId=machine.instance.instance_id, DeviceIndex=1
        )
        until(lambda: str(worker.link_of(eni["MacAddress"])).startswith("enp"))
        link, address = str(worker.link_of(eni["MacAddress"])), eni["PrivateIpAddress"]
        worker.namespace.ip(f"link set {link} up", f"address add {address}/24 dev {link} metric 1000")
        until(lambda: "tentative" not in shown(machine, f"ip address show dev {link}"))
        yield Other(region, machine, eni["NetworkInterfaceId"], address, link)


@pytest.mark.parametrize("carry", ["eni", "address"])
def test_another_interface_of_the_node_is_left_alone(other: Other, tmp_path: Path, carry: str) -> None:
    """IMDS shows the address there; then its MTU was the primary one's, and rule, route and marks of ours stayed."""
    link, machine = other.link, other.machine
    what = f"ip link show {link}; ip address show dev {link}; cat /proc/sys/net/ipv4/conf/{link}/rp_filter"
    if carry == "eni":  # with standing ENIs the node has a link, rules and marks of its own, whosever the address is
        what += "; ip rule; ip route show table all; nft list tables"
    before = shown(machine, what)
    refuse(other.region, machine, tmp_path / "settings.yaml", carry, other.address, other.eni, "another")
    assert shown(machine, what) == before
