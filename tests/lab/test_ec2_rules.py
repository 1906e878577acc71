"""
The EC2 endpoint enforces what EC2 enforces about ENIs; asked over HTTP, as the product asks it.

What the product's own code makes of it, and what the pure model does alike, is for tests/contract.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_ec2 import EC2Client
from mypy_boto3_ec2.type_defs import NetworkInterfaceTypeDef

from lab.ec2 import PROFILES, Ec2, Guest, Profile
from tests.lab.endpoint import refused, soon, started

SOON = Profile("soon", attach=0.5, device=0.5, detach=1.0, force_detach=1.0, associate=0.2, release=0.2, shutdown=2.0)
"""Long enough for a busy machine to ask in between."""

FLOATING = "10.0.0.100"
IPV6 = "2001:db8:0:1::100"


@dataclass
class Machines:
    """Devices that remember what EC2 did to them, and whose guests a test can hang."""

    plugged: dict[str, tuple[str, int]] = field(default_factory=dict)
    guests: dict[str, Guest] = field(default_factory=dict)
    shut: list[str] = field(default_factory=list)
    booted: list[str] = field(default_factory=list)
    rebooted: list[str] = field(default_factory=list)
    held_up: float = 0.0
    shut_at: float = 0.0
    addresses: dict[str, list[str]] = field(default_factory=dict)
    routed: dict[str, str] = field(default_factory=dict)

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """Remember where."""
        assert eni_id not in self.plugged
        self.plugged[eni_id] = (instance_id, device_index)
        self.addresses[eni_id] = [*addresses]

    def unplug(self, eni_id: str) -> None:
        """Forget where."""
        del self.plugged[eni_id]

    def assign(self, eni_id: str, address: str) -> None:
        """One more."""
        self.addresses[eni_id].append(address)

    def unassign(self, eni_id: str, address: str) -> None:
        """One less."""
        self.addresses[eni_id].remove(address)

    def associate(self, public: str, private: str) -> None:
        """Remember where it leads."""
        self.routed[public] = private

    def disassociate(self, public: str) -> None:
        """It leads nowhere."""
        del self.routed[public]

    def shut_down(self, instance_id: str) -> float:
        """Remember that it was asked for."""
        self.shut.append(instance_id)
        self.shut_at = time.time()
        return self.held_up

    def boot(self, instance_id: str) -> None:
        """Remember that it was asked for."""
        self.booted.append(instance_id)

    def reboot(self, instance_id: str) -> None:
        """Remember that it was asked for."""
        self.rebooted.append(instance_id)

    def guest(self, instance_id: str) -> Guest:
        """Running, unless the test says otherwise."""
        return self.guests.get(instance_id, Guest.RUNNING)


@dataclass
class Lab:
    """An endpoint with two workers, and the shortest ways to say things to it."""

    ec2: Ec2
    machines: Machines
    events: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.client: EC2Client = self.ec2.client()
        self.a = self.ec2.run_instance("worker-a", "10.0.0.10", ["10.0.0.20", "10.0.0.21"])
        self.b = self.ec2.run_instance("worker-b", "10.0.0.11")

    def create(self, address: str = FLOATING, **more: Any) -> str:
        answer = self.client.create_network_interface(
            SubnetId=self.ec2.subnet_id, PrivateIpAddress=address, Groups=[self.ec2.security_group_id], **more
        )
        return answer["NetworkInterface"]["NetworkInterfaceId"]

    def attach(self, eni: str, instance: str, index: int = 1) -> str:
        answer = self.client.attach_network_interface(
            NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=index, NetworkCardIndex=0
        )
        return answer["AttachmentId"]

    def show(self, eni: str) -> NetworkInterfaceTypeDef:
        return self.client.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]

    def status(self, eni: str) -> str | None:
        return self.show(eni).get("Attachment", {}).get("Status")

    def instance(self, instance_id: str) -> Any:
        return self.client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


@pytest.fixture
def start() -> Iterator[Callable[[Profile], Lab]]:
    """Start a lab with a profile."""
    yield from started(Machines, Lab)


@pytest.fixture
def lab(start: Callable[[Profile], Lab]) -> Lab:
    """A lab where everything happens at once."""
    return start(PROFILES["instant"])


def test_a_created_eni_has_its_address_names_tags_and_only_its_own_groups(lab: Lab) -> None:
    """The answer of Create, and a later Describe on an instance with another group, show what was asked for."""
    own = lab.client.create_security_group(GroupName="own", Description="own", VpcId=lab.ec2.vpc_id)["GroupId"]
    answer = lab.client.create_network_interface(
        SubnetId=lab.ec2.subnet_id,
        PrivateIpAddress=FLOATING,
        Groups=[own],
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "x"}]}],
    )["NetworkInterface"]
    lab.attach(answer["NetworkInterfaceId"], lab.a.instance_id)
    for eni in answer, lab.show(answer["NetworkInterfaceId"]):
        assert eni["PrivateIpAddress"] == FLOATING
        assert eni["PrivateDnsName"] == "ip-10-0-0-100.us-west-2.compute.internal"
        assert eni["TagSet"] == [{"Key": "floatingip", "Value": "x"}]
        assert [group["GroupId"] for group in eni["Groups"]] == [own]
        assert eni["AvailabilityZone"] == "us-west-2-lax-1a"


def test_without_an_address_a_free_one_is_given(lab: Lab) -> None:
    """The lowest that is neither reserved nor taken."""
    assert lab.ec2.run_instance("worker-c", "10.0.0.4").address == "10.0.0.4"
    eni = lab.client.create_network_interface(SubnetId=lab.ec2.subnet_id)["NetworkInterface"]
    assert eni["PrivateIpAddress"] == "10.0.0.5"


def test_a_dry_run_does_not_use_a_token_up(lab: Lab) -> None:
    """Neither before the call nor after it."""
    assert refused(lab.create, ClientToken="token", DryRun=True)[0] == "DryRunOperation"
    first = lab.create(ClientToken="token")
    assert refused(lab.create, ClientToken="token", DryRun=True)[0] == "DryRunOperation"
    assert lab.create(ClientToken="token") == first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("addresses.private-ip-address", FLOATING),
        ("private-ip-address", "10.0.0.102"),
        ("private-dns-name", "ip-10-0-0-100.*"),
        ("attachment.instance-id", "i-*"),
        ("attachment.status", "attached"),
        ("attachment.device-index", "1"),
        ("status", "in-use"),
        ("tag:floatingip", "x?z"),
        ("tag-key", "floatingip"),
        ("description", "floating"),
    ],
)
def test_filters_find_the_eni_and_no_other(lab: Lab, name: str, value: str) -> None:
    """Each filter finds the attached ENI of this test, and not a free-standing one."""
    eni = lab.client.create_network_interface(
        SubnetId=lab.ec2.subnet_id,
        PrivateIpAddresses=[
            {"PrivateIpAddress": "10.0.0.102", "Primary": False},
            {"PrivateIpAddress": FLOATING, "Primary": True},
        ],
        Description="floating",
        TagSpecifications=[{"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "xyz"}]}],
    )["NetworkInterface"]["NetworkInterfaceId"]
    other = lab.create("10.0.0.103")
    lab.attach(eni, lab.a.instance_id)
    found = lab.client.describe_network_interfaces(Filters=[{"Name": name, "Values": ["nothing", value]}])
    ids = {item["NetworkInterfaceId"] for item in found["NetworkInterfaces"]}
    assert ids - {lab.a.eni_id, lab.b.eni_id} == {eni}
    assert other not in ids


def test_an_eni_with_a_reserved_ipv6_address_gets_some_ipv4_address_too(lab: Lab) -> None:
    """Shown and found however it was spelt, and part of what is plugged in and recorded."""
    answer = lab.client.create_network_interface(
        SubnetId=lab.ec2.subnet_id, Ipv6Addresses=[{"Ipv6Address": "2001:DB8:0:1:0::100"}]
    )
    eni, ipv4 = answer["NetworkInterface"]["NetworkInterfaceId"], answer["NetworkInterface"]["PrivateIpAddress"]
    assert lab.show(eni)["Ipv6Addresses"] == answer["NetworkInterface"]["Ipv6Addresses"] == [{"Ipv6Address": IPV6}]
    found = lab.client.describe_network_interfaces(
        Filters=[{"Name": "ipv6-addresses.ipv6-address", "Values": ["2001:db8:0:1::99", IPV6]}]
    )
    assert [item["NetworkInterfaceId"] for item in found["NetworkInterfaces"]] == [eni]
    lab.attach(eni, lab.a.instance_id)
    assert lab.machines.addresses == {eni: [ipv4, IPV6]}
    [event] = [event for event in lab.events if event["event"] == "attachment" and event["status"] == "attached"]
    assert (event["address"], event["addresses"]) == (ipv4, [ipv4, IPV6])


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("2001:db8:0:1::a", "InvalidIPAddress.InUse"),
        ("2001:db8:0:1:0:0:0:30", "InvalidIPAddress.InUse"),
        ("2001:db8:0:2::100", "InvalidParameterValue"),
        ("2001:db8:0:1::3", "InvalidParameterValue"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "InvalidParameterValue"),
        ("10.0.0.100", "InvalidParameterValue"),
        ("nonsense", "InvalidParameterValue"),
    ],
)
def test_an_ipv6_address_that_is_taken_foreign_or_kept_by_aws_is_refused(lab: Lab, address: str, code: str) -> None:
    """Whoever has it, and however it is spelt."""
    lab.ec2.run_instance("worker-c", "10.0.0.12", ["2001:db8:0:1::30"], ipv6="2001:db8:0:1::a")
    ipv6 = [{"Ipv6Address": address}]
    assert refused(lab.client.create_network_interface, SubnetId=lab.ec2.subnet_id, Ipv6Addresses=ipv6)[0] == code


def test_ec2_chooses_as_many_ipv6_addresses_as_are_asked_for(lab: Lab) -> None:
    """In the subnet's block; not together with a chosen one, and not where the subnet has none."""
    create, subnet_id = lab.client.create_network_interface, lab.ec2.subnet_id
    eni = create(SubnetId=subnet_id, Ipv6AddressCount=2)["NetworkInterface"]
    chosen = {item["Ipv6Address"] for item in eni["Ipv6Addresses"]}
    assert len(chosen) == 2
    assert all(ip_address(address) in ip_network("2001:db8:0:1::/64") for address in chosen)
    code, _ = refused(create, SubnetId=subnet_id, Ipv6AddressCount=1, Ipv6Addresses=[{"Ipv6Address": IPV6}])
    assert code == "InvalidParameterCombination"
    without = lab.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b")
    assert refused(create, SubnetId=without, Ipv6AddressCount=1)[0] == "InvalidParameterValue"


def test_subnets_show_their_zone_outpost_and_ipv6(lab: Lab) -> None:
    """And so do an ENI and an instance on the Outpost."""
    arn = "arn:aws:outposts:us-west-2:210000000001:outpost/op-0123456789abcdef0"
    other = lab.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b", outpost_arn=arn)
    shown = lab.client.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [lab.ec2.vpc_id]}])["Subnets"]
    by_id = {subnet["SubnetId"]: subnet for subnet in shown}
    assert set(by_id) == {lab.ec2.subnet_id, other}
    mine = by_id[lab.ec2.subnet_id]
    assert mine["AvailabilityZone"] == "us-west-2-lax-1a"
    assert "OutpostArn" not in mine
    assert [item["Ipv6CidrBlock"] for item in mine["Ipv6CidrBlockAssociationSet"]] == ["2001:db8:0:1::/64"]
    assert (mine["AssignIpv6AddressOnCreation"], mine["MapPublicIpOnLaunch"]) == (False, False)
    assert (by_id[other]["AvailabilityZone"], by_id[other]["OutpostArn"]) == ("us-west-2-lax-1b", arn)
    assert by_id[other]["Ipv6CidrBlockAssociationSet"] == []
    eni = lab.client.create_network_interface(SubnetId=other)["NetworkInterface"]
    assert (eni["AvailabilityZone"], eni["OutpostArn"]) == ("us-west-2-lax-1b", arn)
    worker = lab.ec2.run_instance("worker-c", "10.0.1.12", subnet_id=other)
    assert lab.instance(worker.instance_id)["OutpostArn"] == arn
    assert "OutpostArn" not in lab.instance(lab.a.instance_id)


def test_groups_source_check_and_deletion_on_termination_can_be_changed(lab: Lab) -> None:
    """Each is shown by a later Describe; unknown groups are refused and change nothing."""
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    other = lab.client.create_security_group(GroupName="other", Description="other", VpcId=lab.ec2.vpc_id)["GroupId"]
    modify = lab.client.modify_network_interface_attribute
    assert refused(modify, NetworkInterfaceId=eni, Groups=["sg-00000000000000000"])[0] == "InvalidGroup.NotFound"
    before = lab.show(eni)
    assert [group["GroupId"] for group in before["Groups"]] == [lab.ec2.security_group_id]
    assert (before["SourceDestCheck"], before["Attachment"]["DeleteOnTermination"]) == (True, False)
    modify(NetworkInterfaceId=eni, Groups=[other])
    modify(NetworkInterfaceId=eni, SourceDestCheck={"Value": False})
    modify(NetworkInterfaceId=eni, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True})
    after = lab.show(eni)
    assert [group["GroupId"] for group in after["Groups"]] == [other]
    assert (after["SourceDestCheck"], after["Attachment"]["DeleteOnTermination"]) == (False, True)
    modify(NetworkInterfaceId=eni, SourceDestCheck={"Value": True})
    modify(NetworkInterfaceId=eni, Attachment={"AttachmentId": attachment, "DeleteOnTermination": False})
    after = lab.show(eni)
    assert (after["SourceDestCheck"], after["Attachment"]["DeleteOnTermination"]) == (True, False)


@pytest.mark.parametrize("name", ["mac-address", "network-interface-id", "subnet-id", "vpc-id", "group-id"])
def test_filters_by_id_find_what_has_it(lab: Lab, name: str) -> None:
    """The value is read from the ENI itself; an unknown value finds nothing."""
    eni = lab.show(lab.create())
    value = {
        "mac-address": eni["MacAddress"],
        "network-interface-id": eni["NetworkInterfaceId"],
        "subnet-id": eni["SubnetId"],
        "vpc-id": eni["VpcId"],
        "group-id": eni["Groups"][0]["GroupId"],
    }[name]

    def find(value: str) -> set[str]:
        found = lab.client.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])
        return {item["NetworkInterfaceId"] for item in found["NetworkInterfaces"]}

    assert eni["NetworkInterfaceId"] in find(value)
    assert find("nothing") == set()


def test_an_unknown_filter_is_an_error(lab: Lab) -> None:
    """A misspelt filter must not find everything."""
    code, message = refused(
        lab.client.describe_network_interfaces, Filters=[{"Name": "private-ip-adress", "Values": ["x"]}]
    )
    assert (code, "private-ip-adress" in message) == ("InvalidParameterValue", True)


def test_without_a_size_a_page_ends_after_a_thousand(lab: Lab) -> None:
    """Whoever does not follow the pages misses ENIs; a filter with many values is answered in one call."""
    subnet_id = lab.ec2.add_subnet("10.0.16.0/20", "us-west-2-lax-1b")
    lab.ec2.add_interfaces(1100, subnet_id)
    floating = lab.create()
    assert len(lab.client.describe_network_interfaces()["NetworkInterfaces"]) == 1000
    found = lab.client.get_paginator("describe_network_interfaces").paginate().build_full_result()
    ids = {eni["NetworkInterfaceId"] for eni in found["NetworkInterfaces"]}
    assert (len(ids), floating in ids) == (1103, True)
    addresses = [f"10.0.17.{last}" for last in range(199)]
    name = "addresses.private-ip-address"
    few = lab.client.describe_network_interfaces(Filters=[{"Name": name, "Values": [*addresses, FLOATING]}])
    assert len(few["NetworkInterfaces"]) == 200
    code, _ = refused(
        lab.client.describe_network_interfaces, Filters=[{"Name": name, "Values": [*addresses, FLOATING, "x"]}]
    )
    assert code == "FilterLimitExceeded"


def test_pages_show_every_eni_once(lab: Lab) -> None:
    """Eleven ENIs in pages of five; page size and ids exclude each other."""
    enis = {lab.create(f"10.0.0.{last}") for last in range(101, 110)} | {lab.a.eni_id, lab.b.eni_id}
    pages = list(lab.client.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["NetworkInterfaces"]) for page in pages] == [5, 5, 1]
    assert {eni["NetworkInterfaceId"] for page in pages for eni in page["NetworkInterfaces"]} == enis
    code, _ = refused(lab.client.describe_network_interfaces, NetworkInterfaceIds=[lab.a.eni_id], MaxResults=5)
    assert code == "InvalidParameterCombination"


def test_describe_instances_shows_hot_plugged_enis(lab: Lab) -> None:
    """With device index, card index and status; and no longer after the detach."""
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id, 2)
    shown = {item["NetworkInterfaceId"]: item for item in lab.instance(lab.a.instance_id)["NetworkInterfaces"]}
    assert set(shown) == {lab.a.eni_id, eni}
    assert shown[lab.a.eni_id]["Attachment"]["DeviceIndex"] == 0
    details = shown[eni]["Attachment"]
    assert (details["DeviceIndex"], details["NetworkCardIndex"], details["Status"]) == (2, 0, "attached")
    lab.client.detach_network_interface(AttachmentId=attachment)
    assert [item["NetworkInterfaceId"] for item in lab.instance(lab.a.instance_id)["NetworkInterfaces"]] == [
        lab.a.eni_id
    ]


@pytest.mark.parametrize(
    ("instance_type", "slots"), [("m5.large", 3), ("t3.medium", 3), ("t3.small", 3), ("t3.nano", 2)]
)
def test_the_instance_type_tells_its_slots(lab: Lab, instance_type: Any, slots: int) -> None:
    """By DescribeInstanceTypes, in all and for the network card; the attach enforces the same number."""
    [shown] = lab.client.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
    assert shown["NetworkInfo"]["MaximumNetworkInterfaces"] == slots
    [card] = shown["NetworkInfo"]["NetworkCards"]
    assert (card["NetworkCardIndex"], card["MaximumNetworkInterfaces"]) == (0, slots)
    worker = lab.ec2.run_instance("worker-c", "10.0.0.12", instance_type=instance_type)
    assert lab.instance(worker.instance_id)["InstanceType"] == instance_type
    for index in range(1, slots):
        lab.attach(lab.create(f"10.0.0.{100 + index}"), worker.instance_id, index)
    assert refused(lab.attach, lab.create(), worker.instance_id, slots)[0] == "AttachmentLimitExceeded"


def test_attaching_takes_time_and_the_device_comes_later(start: Callable[[Profile], Lab]) -> None:
    """Attaching, attached without a device, then the device; the history has them in this order."""
    lab = start(SOON)
    eni = lab.create()
    lab.attach(eni, lab.b.instance_id)
    assert lab.status(eni) == "attaching"
    assert lab.show(eni)["Status"] == "in-use"
    soon(lambda: lab.machines.plugged == {eni: (lab.b.instance_id, 1)})
    changes = [event for event in lab.events if event["event"] in {"attachment", "device"}]
    assert [event["status"] for event in changes] == ["attaching", "attached", "visible"]
    assert changes[1]["t"] - changes[0]["t"] >= SOON.attach
    assert changes[2]["t"] - changes[1]["t"] >= SOON.device


def test_an_attachment_shows_when_it_was_made(lab: Lab) -> None:
    """An observer that has just begun knows by that how old it is."""
    eni = lab.create()
    lab.attach(eni, lab.a.instance_id)
    assert abs(time.time() - lab.show(eni)["Attachment"]["AttachTime"].timestamp()) < 60


def test_of_two_racing_attaches_exactly_one_wins(lab: Lab) -> None:
    """Twenty races of two instances for one ENI, over HTTP, at the same moment."""
    eni = lab.create()
    rivals = {instance.instance_id: lab.ec2.client() for instance in (lab.a, lab.b)}
    for _ in range(20):
        barrier, won, lost = threading.Barrier(2), list[str](), list[str]()

        def race(instance_id: str) -> None:
            barrier.wait()  # noqa: B023  # the threads end before the next turn
            try:
                answer = rivals[instance_id].attach_network_interface(
                    NetworkInterfaceId=eni, InstanceId=instance_id, DeviceIndex=1
                )
                won.append(answer["AttachmentId"])  # noqa: B023
            except ClientError as error:
                lost.append(error.response["Error"]["Code"])  # noqa: B023

        threads = [threading.Thread(target=race, args=[instance_id]) for instance_id in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), lost) == (1, ["InvalidNetworkInterface.InUse"])
        assert lab.show(eni)["Attachment"]["AttachmentId"] == won[0]
        lab.client.detach_network_interface(AttachmentId=won[0])


def test_detaching_takes_time_and_then_the_attachment_is_gone(start: Callable[[Profile], Lab]) -> None:
    """Detaching, then no attachment, status available, no device; the id is unknown from then on."""
    lab = start(SOON)
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    soon(lambda: eni in lab.machines.plugged)
    lab.client.detach_network_interface(AttachmentId=attachment)
    assert lab.status(eni) == "detaching"
    assert refused(lab.attach, eni, lab.b.instance_id)[0] == "InvalidNetworkInterface.InUse"
    assert refused(lab.client.detach_network_interface, AttachmentId=attachment)[0] == "IncorrectState"
    soon(lambda: lab.status(eni) is None)
    assert lab.show(eni)["Status"] == "available"
    assert lab.machines.plugged == {}
    code, _ = refused(lab.client.detach_network_interface, AttachmentId=attachment)
    assert code == "InvalidAttachmentID.NotFound"


def test_a_hung_guest_keeps_its_eni_until_force(lab: Lab) -> None:
    """Detaching for ever without Force; with Force gone, and the history says that it was forced."""
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    lab.machines.guests[lab.a.instance_id] = Guest.HUNG
    lab.client.detach_network_interface(AttachmentId=attachment)
    assert (lab.status(eni), eni in lab.machines.plugged) == ("detaching", True)
    lab.client.detach_network_interface(AttachmentId=attachment, Force=True)
    assert (lab.status(eni), lab.machines.plugged) == (None, {})
    assert [event["forced"] for event in lab.events if event["event"] == "attachment"][-3:] == [False, True, True]


@pytest.mark.parametrize(("profile", "shown"), [("instant", None), ("slow", "detaching")])
def test_a_machine_without_power_lets_go_except_where_ec2_is_slow(
    start: Callable[[Profile], Lab], profile: str, shown: str | None
) -> None:
    """What a power cut does to a normal detach is a matter of the profile."""
    lab = start(replace(PROFILES["instant"], stuck=PROFILES[profile].stuck))
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    lab.machines.guests[lab.a.instance_id] = Guest.OFF
    lab.client.detach_network_interface(AttachmentId=attachment)
    assert lab.status(eni) == shown


def test_an_eni_that_is_detached_while_attaching_never_becomes_a_device(start: Callable[[Profile], Lab]) -> None:
    """The attach that was overtaken must not finish."""
    lab = start(SOON)
    eni = lab.create()
    lab.client.detach_network_interface(AttachmentId=lab.attach(eni, lab.a.instance_id))
    soon(lambda: lab.status(eni) is None)
    lab.attach(eni, lab.b.instance_id)
    soon(lambda: lab.machines.plugged == {eni: (lab.b.instance_id, 1)})
    statuses = [event["status"] for event in lab.events if event["event"] in {"attachment", "device"}]
    assert statuses == ["attaching", "detaching", "detached", "attaching", "attached", "visible"]


def test_termination_lets_go_of_enis_a_while_later(start: Callable[[Profile], Lab]) -> None:
    """Shutting-down, with the ENI still attached; then available, or deleted where that was asked for; terminated."""
    lab = start(SOON)
    stays, goes = lab.create(), lab.create("10.0.0.101")
    lab.attach(stays, lab.a.instance_id, 1)
    attachment = lab.attach(goes, lab.a.instance_id, 2)
    assert lab.show(goes)["Attachment"]["DeleteOnTermination"] is False
    lab.client.modify_network_interface_attribute(
        NetworkInterfaceId=goes, Attachment={"AttachmentId": attachment, "DeleteOnTermination": True}
    )
    assert lab.show(goes)["Attachment"]["DeleteOnTermination"] is True
    soon(lambda: set(lab.machines.plugged) == {stays, goes})

    lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.shut == [lab.a.instance_id]
    assert lab.instance(lab.a.instance_id)["State"]["Name"] == "shutting-down"
    assert lab.status(stays) == "attached"
    assert refused(lab.attach, lab.create("10.0.0.102"), lab.a.instance_id, 2)[0] == "IncorrectState"
    soon(lambda: lab.status(stays) is None)
    assert lab.show(stays)["Status"] == "available"
    assert refused(lab.show, goes)[0] == "InvalidNetworkInterfaceID.NotFound"
    assert refused(lab.show, lab.a.eni_id)[0] == "InvalidNetworkInterfaceID.NotFound"
    assert lab.machines.plugged == {}
    assert lab.ec2.interfaces(lab.a.instance_id) == ()
    soon(lambda: lab.instance(lab.a.instance_id)["State"]["Name"] == "terminated")
    assert lab.instance(lab.a.instance_id)["NetworkInterfaces"] == []
    lab.ec2.run_instance("worker-c", "10.0.0.10")


def test_a_guest_that_takes_its_time_holds_its_termination_up(start: Callable[[Profile], Lab]) -> None:
    """EC2 lets go of the ENI, and calls the instance terminated, so much later."""
    lab = start(SOON)
    lab.machines.held_up = 2.0
    eni = lab.create()
    lab.attach(eni, lab.a.instance_id)
    lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    soon(lambda: lab.status(eni) is None)
    [let_go] = [event for event in lab.events if event.get("status") == "detached"]
    assert let_go["t"] - lab.machines.shut_at >= SOON.release + 2.0
    soon(lambda: lab.instance(lab.a.instance_id)["State"]["Name"] == "terminated")
    assert time.time() - lab.machines.shut_at >= SOON.shutdown + 2.0


def test_a_stopped_instance_keeps_its_enis_and_sees_them_when_it_is_started(start: Callable[[Profile], Lab]) -> None:
    """Stopping, stopped, pending, running; no call starts one that is stopping, and none attaches to it."""
    lab = start(replace(SOON, start=0.5))
    eni, other = lab.create(), lab.create("10.0.0.101")
    lab.attach(eni, lab.a.instance_id)
    soon(lambda: set(lab.machines.plugged) == {eni})
    lab.client.stop_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.shut == [lab.a.instance_id]
    assert lab.instance(lab.a.instance_id)["State"]["Name"] == "stopping"
    assert refused(lab.client.start_instances, InstanceIds=[lab.a.instance_id])[0] == "IncorrectInstanceState"
    assert refused(lab.attach, other, lab.a.instance_id, 2)[0] == "IncorrectState"
    soon(lambda: lab.instance(lab.a.instance_id)["State"]["Name"] == "stopped")
    assert lab.status(eni) == "attached"
    lab.client.start_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.booted == [lab.a.instance_id]
    assert lab.instance(lab.a.instance_id)["State"]["Name"] == "pending"
    soon(lambda: lab.instance(lab.a.instance_id)["State"]["Name"] == "running")
    lab.events.clear()
    lab.ec2.booted(lab.a.instance_id)
    assert lab.machines.plugged == {eni: (lab.a.instance_id, 1)}
    assert [event["status"] for event in lab.events if event["event"] == "device"] == ["visible"]


def test_a_reboot_is_none_of_ec2s_business(lab: Lab) -> None:
    """The instance goes on being called running, and keeps what it has."""
    eni = lab.create()
    lab.attach(eni, lab.a.instance_id)
    lab.client.reboot_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.rebooted == [lab.a.instance_id]
    assert lab.instance(lab.a.instance_id)["State"]["Name"] == "running"
    assert lab.status(eni) == "attached"


def test_a_detach_that_hangs_ends_by_force(lab: Lab) -> None:
    """Whatever the guest does, once that was asked for."""
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    lab.ec2.hang_detaches()
    lab.client.detach_network_interface(AttachmentId=attachment)
    assert lab.status(eni) == "detaching"
    lab.client.detach_network_interface(AttachmentId=attachment, Force=True)
    assert lab.status(eni) is None


def test_terminating_twice_is_terminating_once(start: Callable[[Profile], Lab]) -> None:
    """The second call answers, and nothing happens again."""
    lab = start(SOON)
    for _ in range(2):
        lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.shut == [lab.a.instance_id]


def test_a_dry_run_says_that_it_would_work_and_does_nothing(lab: Lab) -> None:
    """For every mutating call of the product."""
    eni, other = lab.create(), lab.create("10.0.0.101")
    attachment = lab.attach(eni, lab.a.instance_id)
    spare, used = lab.ec2.allocate("203.0.113.100"), lab.ec2.allocate("203.0.113.101")
    association = lab.client.associate_address(AllocationId=used, NetworkInterfaceId=eni)["AssociationId"]
    before = lab.client.describe_network_interfaces()["NetworkInterfaces"], lab.client.describe_addresses()["Addresses"]
    calls: list[tuple[Callable[..., object], dict[str, Any]]] = [
        (lab.client.create_network_interface, {"SubnetId": lab.ec2.subnet_id, "PrivateIpAddress": "10.0.0.102"}),
        (
            lab.client.attach_network_interface,
            {"NetworkInterfaceId": other, "InstanceId": lab.b.instance_id, "DeviceIndex": 1},
        ),
        (lab.client.detach_network_interface, {"AttachmentId": attachment}),
        (lab.client.delete_network_interface, {"NetworkInterfaceId": other}),
        (lab.client.create_tags, {"Resources": [eni], "Tags": [{"Key": "a", "Value": "b"}]}),
        (lab.client.modify_network_interface_attribute, {"NetworkInterfaceId": eni, "Description": {"Value": "x"}}),
        (lab.client.associate_address, {"AllocationId": spare, "NetworkInterfaceId": other}),
        (lab.client.disassociate_address, {"AssociationId": association}),
        (lab.client.release_address, {"AllocationId": spare}),
    ]
    for call, params in calls:
        assert refused(call, DryRun=True, **params)[0] == "DryRunOperation", call
    assert (
        lab.client.describe_network_interfaces()["NetworkInterfaces"],
        lab.client.describe_addresses()["Addresses"],
    ) == before


def test_a_dry_run_asks_for_permission_not_for_the_state(lab: Lab) -> None:
    """What could not succeed as things are is allowed all the same; what does not exist cannot be allowed."""
    eni = lab.create()
    attachment = lab.attach(eni, lab.a.instance_id)
    calls: list[tuple[Callable[..., object], dict[str, Any]]] = [
        (lab.client.create_network_interface, {"SubnetId": lab.ec2.subnet_id, "PrivateIpAddress": FLOATING}),
        (
            lab.client.attach_network_interface,
            {"NetworkInterfaceId": eni, "InstanceId": lab.b.instance_id, "DeviceIndex": 0},
        ),
        (lab.client.delete_network_interface, {"NetworkInterfaceId": eni}),
    ]
    for call, params in calls:
        assert refused(call, DryRun=True, **params)[0] == "DryRunOperation", call
    lab.client.detach_network_interface(AttachmentId=attachment)
    code, _ = refused(lab.client.detach_network_interface, AttachmentId=attachment, DryRun=True)
    assert code == "InvalidAttachmentID.NotFound"


def test_worlds_do_not_see_each_other(start: Callable[[Profile], Lab]) -> None:
    """Two endpoints in one process have each its own VPC, with the same addresses."""
    first, second = start(PROFILES["instant"]), start(PROFILES["instant"])
    first.create()
    assert second.create() not in {
        eni["NetworkInterfaceId"] for eni in first.client.describe_network_interfaces()["NetworkInterfaces"]
    }
