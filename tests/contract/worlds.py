"""EC2 as it is imitated twice, each as the product sees it, and what all cases begin with.

Time passes only in `settle`.
"""

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import pytest

from floatingip.core import ports
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Eni, Instance, Subnet
from floatingip.core.model import Target
from floatingip.edges.ec2.cloud import Ec2Cloud
from lab.ec2 import PROFILES, Ec2, Guest, NoDevices
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import WALL, Delays, FakeEc2

NAME = "floating-ip"
FLOATING = IPv4Address("10.0.0.100")
FLOATING_IPV6 = IPv6Address("2001:db8:0:1::100")
both_families = pytest.mark.parametrize("address", [FLOATING, FLOATING_IPV6], ids=["IPv4", "IPv6"])
TAGS = {OWNER_TAG: NAME}
PUBLIC = "203.0.113.100"


class World(Protocol):
    """One EC2 with a subnet in each of two zones."""

    cloud: ports.Cloud
    group: str
    """The security group of new ENIs."""
    other_group: str

    def worker(self, address: str, *pods: str, ipv6: str | None = None, instance_type: str = "m5.large") -> str:
        """Run an instance in the first subnet; its id."""

    def allocate(self, public: str, border_group: str) -> str:
        """Allocate an Elastic IP; its id."""

    def hang(self, instance_id: str) -> None:
        """Let the instance hang."""

    def terminate(self, instance_id: str) -> None:
        """Terminate the instance."""

    def deny(self, action: str) -> None:
        """Let IAM refuse an action from now on."""

    def wall(self) -> float:
        """What EC2's clock shows, in Unix seconds."""

    def settle(self) -> None:
        """Let everything happen that has begun."""

    def close(self) -> None:
        """Remove everything."""


class Fake:
    """The pure model; nothing is instant in it, so a case that forgets to settle fails."""

    def __init__(self) -> None:
        moving = {"assign": 1.2, "unassign": 0.6}
        self.ec2 = FakeEc2(Delays(attach=3.0, detach=2.5, force_detach=2.5, release=20.0, shutdown=30.0, **moving))
        self.here = self.ec2.add_subnet("10.0.0.0/24", "2001:db8:0:1::/64")
        self.ec2.add_subnet("10.0.1.0/24", zone="us-west-2-lax-1b")
        self.group, self.other_group = "sg-lab", "sg-other"
        self.fake = FakeCloud(self.ec2, (self.group,))
        self.cloud: ports.Cloud = self.fake

    def worker(self, address: str, *pods: str, ipv6: str | None = None, instance_type: str = "m5.large") -> str:
        return self.ec2.add_instance(
            address, self.here, secondary_addresses=pods, ipv6=ipv6, instance_type=instance_type
        )

    def allocate(self, public: str, border_group: str) -> str:
        return self.ec2.allocate(public, border_group)

    def hang(self, instance_id: str) -> None:
        self.ec2.hang(instance_id)

    def terminate(self, instance_id: str) -> None:
        self.ec2.terminate(instance_id)

    def deny(self, action: str) -> None:
        self.fake.denied.add(action)

    def wall(self) -> float:
        return WALL + self.ec2.now

    def settle(self) -> None:
        self.ec2.advance(self.ec2.now + 60)

    def close(self) -> None:
        """Nothing is left of it."""


class Endpoint(NoDevices):
    """The lab's EC2 over HTTP, where all happens before the call that causes it is answered."""

    def __init__(self) -> None:
        self.hung: set[str] = set()
        self.ec2 = Ec2(replace(PROFILES["instant"], shutdown=0.0), self, lambda event: None, seed=1)
        self.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b")
        self.client = self.ec2.client()
        self.group = self.ec2.security_group_id
        self.other_group = self.client.create_security_group(
            GroupName="other", Description="other", VpcId=self.ec2.vpc_id
        )["GroupId"]
        self.cloud: ports.Cloud = Ec2Cloud(self.client, self.ec2.vpc_id, (self.group,))

    def guest(self, instance_id: str) -> Guest:
        return Guest.HUNG if instance_id in self.hung else Guest.RUNNING

    def worker(self, address: str, *pods: str, ipv6: str | None = None, instance_type: str = "m5.large") -> str:
        return self.ec2.run_instance("worker", address, pods, ipv6=ipv6, instance_type=instance_type).instance_id

    def allocate(self, public: str, border_group: str) -> str:
        return self.ec2.allocate(public, border_group)

    def hang(self, instance_id: str) -> None:
        self.hung.add(instance_id)

    def terminate(self, instance_id: str) -> None:
        self.client.terminate_instances(InstanceIds=[instance_id])

    def deny(self, action: str) -> None:
        self.ec2.faults.deny([action])

    def wall(self) -> float:
        return time.time()

    def settle(self) -> None:
        """It is settled."""

    def close(self) -> None:
        self.ec2.stop()


def create(cloud: ports.Cloud, subnet: Subnet, target: Target = FLOATING, token: str = "") -> Eni:
    """The ENI of a target, by a token of its own unless one is given."""
    return cloud.create_eni(target, subnet, TAGS, token or f"token {target}")


def standing(world: World, cloud: ports.Cloud, here: Subnet, last: int = 10, instance_type: str = "m5.large") -> Eni:
    """An attached ENI with an address of EC2's choice, of a worker of its own."""
    worker = world.worker(f"10.0.0.{last}", instance_type=instance_type)
    eni = cloud.create_eni(None, here, TAGS | {STANDING_TAG: worker}, f"standing {worker}")
    cloud.attach_eni(eni.id, worker, frozenset())
    world.settle()
    return show(cloud, eni)


def show(cloud: ports.Cloud, eni: Eni) -> Eni:
    """The ENI as Describe shows it now."""
    [shown] = [other for other in cloud.describe_enis(NAME) if other.id == eni.id]
    return shown


def primary(eni: Eni) -> IPv4Address:
    """Its primary address, which every whole answer of EC2's has."""
    assert eni.address is not None
    return eni.address


def instance(cloud: ports.Cloud, instance_id: str) -> Instance:
    return cloud.describe_instances(frozenset({instance_id}))[instance_id]
