"""What the tests of the lab's EC2 share: an endpoint that ends with its test, its machines, races and refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_ec2 import EC2Client

from lab.ec2 import PROFILES, Ec2, Guest, Instance, NoDevices, Profile
from tests.waiting import until

INSTANT = PROFILES["instant"]
ADDRESS = "10.0.0.100"

Event = dict[str, Any]


@dataclass
class Machines(NoDevices):
    """Machines that remember what EC2 did to them and to the data path, and whose guests a test can hang."""

    plugged: dict[str, tuple[str, int]] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)
    """Which ENI a private address leads to."""
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    routed: dict[str, str] = field(default_factory=dict)
    """Which private address an Elastic IP leads to."""
    reroutes: list[tuple[float, str | None]] = field(default_factory=list)
    guests: dict[str, Guest] = field(default_factory=dict)
    shut: list[str] = field(default_factory=list)
    shut_at: float = 0.0
    held_up: float = 0.0
    booted: list[str] = field(default_factory=list)
    rebooted: list[str] = field(default_factory=list)

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        assert eni_id not in self.plugged
        assert not self.leads.keys() & set(addresses)
        self.plugged[eni_id] = (instance_id, device_index)
        self.leads |= dict.fromkeys(addresses, eni_id)

    def unplug(self, eni_id: str) -> None:
        del self.plugged[eni_id]
        self.leads = {address: eni for address, eni in self.leads.items() if eni != eni_id}

    def assign(self, eni_id: str, address: str) -> None:
        """It leads there, and to no other ENI."""
        self.leads[address] = eni_id
        self.changes.append(("assign", eni_id, address))

    def unassign(self, eni_id: str, address: str) -> None:
        self.leads.pop(address, None)
        self.changes.append(("unassign", eni_id, address))

    def associate(self, public: str, private: str) -> None:
        """Remember where it leads, and since when."""
        self.routed[public] = private
        self.reroutes.append((time.monotonic(), private))

    def disassociate(self, public: str) -> None:
        del self.routed[public]
        self.reroutes.append((time.monotonic(), None))

    def shut_down(self, instance_id: str) -> float:
        """It takes as long as the test says."""
        self.shut.append(instance_id)
        self.shut_at = time.time()
        return self.held_up

    def boot(self, instance_id: str) -> None:
        self.booted.append(instance_id)

    def reboot(self, instance_id: str) -> None:
        self.rebooted.append(instance_id)

    def guest(self, instance_id: str) -> Guest:
        """Running, unless the test says otherwise."""
        return self.guests.get(instance_id, Guest.RUNNING)


@dataclass
class Lab:
    """An endpoint with two workers, and the shortest ways to say things to it."""

    ec2: Ec2
    machines: Machines
    events: list[Event]

    def __post_init__(self) -> None:
        self.client: EC2Client = self.ec2.client()
        self.a = self.ec2.run_instance("worker-a", "10.0.0.10", ["10.0.0.20"], ipv6="2001:db8:0:1::a")
        self.b = self.ec2.run_instance("worker-b", "10.0.0.11")

    def eni(self, address: str | None = None, **more: Any) -> str:
        """A new ENI, of EC2's choice unless its primary address is given."""
        primary: Any = {"PrivateIpAddress": address} if address else {}
        answer = self.client.create_network_interface(SubnetId=self.ec2.subnet_id, **primary, **more)
        return answer["NetworkInterface"]["NetworkInterfaceId"]

    def attach(self, eni: str, instance: str, index: int = 1) -> str:
        answer = self.client.attach_network_interface(
            NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=index, NetworkCardIndex=0
        )
        return answer["AttachmentId"]

    def attached(self, instance: str, index: int = 1) -> tuple[str, str]:
        """A new ENI of this instance, and its attachment."""
        eni = self.eni()
        return eni, self.attach(eni, instance, index)

    def detach(self, attachment: str, **more: Any) -> None:
        self.client.detach_network_interface(AttachmentId=attachment, **more)

    def associate(self, eni: str, allocation: str, private: str | None = None, **more: Any) -> str:
        """Lead an Elastic IP to the ENI's primary address, or to this one of its others; the association's id."""
        chosen: Any = {"PrivateIpAddress": private} if private else {}
        answer = self.client.associate_address(AllocationId=allocation, NetworkInterfaceId=eni, **chosen, **more)
        return answer["AssociationId"]

    def show(self, eni: str) -> Any:
        return self.client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]

    def status(self, eni: str) -> str | None:
        """That of its attachment."""
        return str(found["Status"]) if (found := self.show(eni).get("Attachment")) else None

    def find(self, name: str, *values: str) -> list[str]:
        found = self.client.describe_network_interfaces(Filters=[{"Name": name, "Values": values}])
        return [item["NetworkInterfaceId"] for item in found["NetworkInterfaces"]]

    def instance(self, instance_id: str) -> Any:
        return self.client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def state(self, instance_id: str) -> str:
        return str(self.instance(instance_id)["State"]["Name"])

    def address(self, allocation: str) -> Any:
        """The Elastic IP, as EC2 shows it."""
        return self.client.describe_addresses(AllocationIds=[allocation])["Addresses"][0]

    def told(self, *kinds: str) -> list[Event]:
        """What the history says of these kinds."""
        return [event for event in self.events if event["event"] in kinds]


class AddressLab(Lab):
    """One with an attached ENI on each worker, that says the shortest things about addresses, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.eni_a, _), (self.eni_b, _) = (self.attached(each.instance_id) for each in (self.a, self.b))
        soon(lambda: len(self.machines.leads) == 2)

    def assign(self, eni: str, *addresses: str, take: bool = False) -> None:
        self.client.assign_private_ip_addresses(
            NetworkInterfaceId=eni, PrivateIpAddresses=addresses, AllowReassignment=take
        )

    def unassign(self, eni: str, *addresses: str) -> None:
        self.client.unassign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=addresses)

    def assign_ipv6(self, eni: str, *addresses: str) -> list[str]:
        answer = self.client.assign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=addresses)
        return answer["AssignedIpv6Addresses"]

    def unassign_ipv6(self, eni: str, *addresses: str) -> list[str]:
        answer = self.client.unassign_ipv6_addresses(NetworkInterfaceId=eni, Ipv6Addresses=addresses)
        return answer["UnassignedIpv6Addresses"]

    def choose(self, eni: str, count: int = 1) -> list[str]:
        answer = self.client.assign_private_ip_addresses(NetworkInterfaceId=eni, SecondaryPrivateIpAddressCount=count)
        return [item["PrivateIpAddress"] for item in answer["AssignedPrivateIpAddresses"]]

    def secondaries(self, eni: str) -> list[str]:
        shown = self.show(eni)
        ipv4s = [item["PrivateIpAddress"] for item in shown["PrivateIpAddresses"] if not item["Primary"]]
        return [*ipv4s, *(item["Ipv6Address"] for item in shown["Ipv6Addresses"])]

    def imds(self, worker: Instance, lag: float = 0.0) -> list[str]:
        """All addresses that the worker's IMDS shows."""
        shown = self.ec2.interfaces(worker.instance_id, lag)
        return [address for one in shown for address in (*one.addresses, *one.ipv6_addresses)]

    def owners(self, address: str) -> list[str]:
        return self.find("ipv6-addresses.ipv6-address" if ":" in address else "addresses.private-ip-address", address)

    def await_owner(self, address: str, eni: str) -> None:
        """Wait until EC2 shows the address there and nowhere else."""
        soon(lambda: self.owners(address) == [eni])

    def await_assigned(self, eni: str) -> None:
        """Wait until the last that the history says is that ADDRESS is there, which it may have been before."""
        soon(lambda: self.moves()[-1] == (ADDRESS, "assigned", eni))

    def moves(self) -> list[tuple[str, str, str]]:
        """What the history says about addresses: what, status, and the ENI."""
        return [(event["address"], event["status"], event["eni"]) for event in self.told("address")]

    def ends(self) -> list[tuple[str, str]]:
        """The same of the one address that there is: status, and the ENI."""
        return [(status, eni) for _, status, eni in self.moves()]


L = TypeVar("L", bound=Lab)
Start = Callable[[Profile], L]


def fixtures(
    kind: Callable[[Ec2, Machines, list[Event]], L],
) -> tuple[Callable[[], Iterator[Start[L]]], Callable[[Start[L]], L]]:
    """`start`, which starts labs of that kind, and `lab`, one in which all happens at once."""

    @pytest.fixture
    def start() -> Iterator[Start[L]]:
        """Each has its own machines and the events that its endpoint records."""
        running: list[Ec2] = []

        def start(profile: Profile) -> L:
            machines, events = Machines(), list[Event]()
            running.append(Ec2(profile, machines, events.append, seed=1))
            return kind(running[-1], machines, events)

        yield start
        for ec2 in running:
            ec2.stop()

    @pytest.fixture
    def lab(start: Start[L]) -> L:
        return start(INSTANT)

    return start, lab


def soon(condition: Callable[[], object], seconds: float = 5.0) -> None:
    until(condition, seconds)


def refused(call: Callable[..., object], *args: Any, **kwargs: Any) -> tuple[str, str]:
    """The code and message of the error that the call must end with."""
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    """The code of that error."""
    return refused(call, *args, **kwargs)[0]


def race(rivals: Mapping[str, Callable[[], object]]) -> tuple[list[str], list[str]]:
    """All call at the same moment: who of them got a yes, and the codes of the others."""
    barrier, won, lost = threading.Barrier(len(rivals)), list[str](), list[str]()

    def claim(name: str, call: Callable[[], object]) -> None:
        barrier.wait()
        try:
            call()
            won.append(name)
        except ClientError as error:
            lost.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=claim, args=rival) for rival in rivals.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost
