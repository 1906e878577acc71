"""
The EC2 endpoint enforces what EC2 enforces about ENIs; asked over HTTP, as the product asks it.

What the product's own code makes of it, and what the pure model does alike, is for tests/contract.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lab.ec2 import PROFILES, Guest, Profile
from tests.lab import endpoint
from tests.lab.endpoint import ADDRESS, INSTANT, Lab, refusal, refused, soon

SOON = Profile("soon", attach=0.5, device=0.5, detach=1.0, force_detach=1.0, associate=0.2, release=1.0, shutdown=2.0)
"""Long enough for a busy machine to ask in between."""

IPV6 = "2001:db8:0:1::100"
TAG: Any = {"ResourceType": "network-interface", "Tags": [{"Key": "floatingip", "Value": "xyz"}]}

Start = endpoint.Start[Lab]
start, lab = endpoint.fixtures(Lab)


def test_a_created_eni_has_its_address_names_tags_and_only_its_own_groups(lab: Lab) -> None:
    """The answer of Create, and a later Describe on an instance with another group, show what was asked for."""
    own = lab.client.create_security_group(GroupName="own", Description="own", VpcId=lab.ec2.vpc_id)["GroupId"]
    answer = lab.client.create_network_interface(
        SubnetId=lab.ec2.subnet_id, PrivateIpAddress=ADDRESS, Groups=[own], TagSpecifications=[TAG]
    )["NetworkInterface"]
    lab.attach(answer["NetworkInterfaceId"], lab.a.instance_id)
    for eni in answer, lab.show(answer["NetworkInterfaceId"]):
        assert eni["PrivateIpAddress"] == ADDRESS
        assert eni["PrivateDnsName"] == "ip-10-0-0-100.us-west-2.compute.internal"
        assert eni["TagSet"] == TAG["Tags"]
        assert [group["GroupId"] for group in eni["Groups"]] == [own]
        assert eni["AvailabilityZone"] == "us-west-2-lax-1a"


def test_without_an_address_a_free_one_is_given(lab: Lab) -> None:
    """The lowest that is neither reserved nor taken."""
    assert lab.ec2.run_instance("worker-c", "10.0.0.4").address == "10.0.0.4"
    assert lab.show(lab.eni())["PrivateIpAddress"] == "10.0.0.5"


def test_a_dry_run_does_not_use_a_token_up(lab: Lab) -> None:
    """Neither before the call nor after it."""
    assert refusal(lab.eni, ADDRESS, ClientToken="token", DryRun=True) == "DryRunOperation"
    first = lab.eni(ADDRESS, ClientToken="token")
    assert refusal(lab.eni, ADDRESS, ClientToken="token", DryRun=True) == "DryRunOperation"
    assert lab.eni(ADDRESS, ClientToken="token") == first


def test_filters_find_the_eni_and_no_other(lab: Lab) -> None:
    """Each finds the attached ENI of this test, and not a free-standing one; those that others share, that one too."""
    both = [{"PrivateIpAddress": "10.0.0.102", "Primary": False}, {"PrivateIpAddress": ADDRESS, "Primary": True}]
    eni = lab.eni(PrivateIpAddresses=both, Description="floating", TagSpecifications=[TAG])
    lab.eni("10.0.0.103")
    lab.attach(eni, lab.a.instance_id)
    shown = lab.show(eni)
    for name, value in {
        "network-interface-id": eni,
        "mac-address": shown["MacAddress"],
        "addresses.private-ip-address": ADDRESS,
        "private-ip-address": "10.0.0.102",
        "private-dns-name": "ip-10-0-0-100.*",
        "attachment.instance-id": "i-*",
        "attachment.status": "attached",
        "attachment.device-index": "1",
        "status": "in-use",
        "tag:floatingip": "x?z",
        "tag-key": "floatingip",
        "description": "floating",
    }.items():
        assert set(lab.find(name, "nothing", value)) - {lab.a.eni_id, lab.b.eni_id} == {eni}, name
    shared = {"subnet-id": shown["SubnetId"], "vpc-id": shown["VpcId"], "group-id": shown["Groups"][0]["GroupId"]}
    for name, value in shared.items():
        assert (eni in lab.find(name, value), lab.find(name, "nothing")) == (True, []), name


def test_an_eni_with_a_reserved_ipv6_address_gets_some_ipv4_address_too(lab: Lab) -> None:
    """Shown and found however it was spelt, and part of what is plugged in and recorded."""
    answer = lab.client.create_network_interface(
        SubnetId=lab.ec2.subnet_id, Ipv6Addresses=[{"Ipv6Address": "2001:DB8:0:1:0::100"}]
    )
    eni, ipv4 = answer["NetworkInterface"]["NetworkInterfaceId"], answer["NetworkInterface"]["PrivateIpAddress"]
    assert lab.show(eni)["Ipv6Addresses"] == answer["NetworkInterface"]["Ipv6Addresses"] == [{"Ipv6Address": IPV6}]
    assert lab.find("ipv6-addresses.ipv6-address", "2001:db8:0:1::99", IPV6) == [eni]
    lab.attach(eni, lab.a.instance_id)
    assert list(lab.machines.leads.items()) == [(ipv4, eni), (IPV6, eni)]
    [event] = [event for event in lab.told("attachment") if event["status"] == "attached"]
    assert (event["address"], event["addresses"]) == (ipv4, [ipv4, IPV6])


def test_an_ipv6_address_that_is_taken_foreign_or_kept_by_aws_is_refused(lab: Lab) -> None:
    """Whoever has it, and however it is spelt."""
    lab.ec2.run_instance("worker-c", "10.0.0.12", ["2001:db8:0:1::30"])
    used, wrong = "InvalidIPAddress.InUse", "InvalidParameterValue"
    foreign_or_kept = ("2001:db8:0:2::100", "2001:db8:0:1::3", "2001:db8:0:1:ffff:ffff:ffff:ffff")
    codes = {"2001:db8:0:1::a": used, "2001:db8:0:1:0:0:0:30": used}
    for address, code in (codes | dict.fromkeys((*foreign_or_kept, "10.0.0.100", "nonsense"), wrong)).items():
        assert refusal(lab.eni, Ipv6Addresses=[{"Ipv6Address": address}]) == code, address


def test_ec2_chooses_as_many_ipv6_addresses_as_are_asked_for(lab: Lab) -> None:
    """In the subnet's block; not together with a chosen one, and not where the subnet has none."""
    chosen = {item["Ipv6Address"] for item in lab.show(lab.eni(Ipv6AddressCount=2))["Ipv6Addresses"]}
    assert len(chosen) == 2
    assert all(ip_address(address) in ip_network("2001:db8:0:1::/64") for address in chosen)
    one = [{"Ipv6Address": IPV6}]
    assert refusal(lab.eni, Ipv6AddressCount=1, Ipv6Addresses=one) == "InvalidParameterCombination"
    create, without = lab.client.create_network_interface, lab.ec2.add_subnet("10.0.1.0/24", "us-west-2-lax-1b")
    assert refusal(create, SubnetId=without, Ipv6AddressCount=1) == "InvalidParameterValue"


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
    first, modify = lab.ec2.security_group_id, lab.client.modify_network_interface_attribute
    other = lab.client.create_security_group(GroupName="other", Description="other", VpcId=lab.ec2.vpc_id)["GroupId"]
    eni = lab.eni(Groups=[first])
    attachment = lab.attach(eni, lab.a.instance_id)

    def shown() -> tuple[list[str], bool, bool]:
        it = lab.show(eni)
        groups = [group["GroupId"] for group in it["Groups"]]
        return groups, it["SourceDestCheck"], it["Attachment"]["DeleteOnTermination"]

    assert refusal(modify, NetworkInterfaceId=eni, Groups=["sg-00000000000000000"]) == "InvalidGroup.NotFound"
    assert shown() == ([first], True, False)
    modify(NetworkInterfaceId=eni, Groups=[other])
    for check, deleted in ((False, True), (True, False)):
        modify(NetworkInterfaceId=eni, SourceDestCheck={"Value": check})
        modify(NetworkInterfaceId=eni, Attachment={"AttachmentId": attachment, "DeleteOnTermination": deleted})
        assert shown() == ([other], check, deleted)


def test_an_unknown_filter_is_an_error(lab: Lab) -> None:
    """A misspelt filter must not find everything."""
    code, message = refused(lab.find, "private-ip-adress", "x")
    assert (code, "private-ip-adress" in message) == ("InvalidParameterValue", True)


def test_without_a_size_a_page_ends_after_a_thousand(lab: Lab) -> None:
    """Whoever does not follow the pages misses ENIs; a filter with many values is answered in one call."""
    subnet_id = lab.ec2.add_subnet("10.0.16.0/20", "us-west-2-lax-1b")
    lab.ec2.add_interfaces(1100, subnet_id)
    floating = lab.eni(ADDRESS)
    assert len(lab.client.describe_network_interfaces()["NetworkInterfaces"]) == 1000
    found = lab.client.get_paginator("describe_network_interfaces").paginate().build_full_result()
    ids = {eni["NetworkInterfaceId"] for eni in found["NetworkInterfaces"]}
    assert (len(ids), floating in ids) == (1103, True)
    name, addresses = "addresses.private-ip-address", [f"10.0.17.{last}" for last in range(199)]
    assert len(lab.find(name, *addresses, ADDRESS)) == 200
    assert refusal(lab.find, name, *addresses, ADDRESS, "x") == "FilterLimitExceeded"


def test_pages_show_every_eni_once(lab: Lab) -> None:
    """Eleven ENIs in pages of five; page size and ids exclude each other."""
    enis = {lab.eni() for _ in range(9)} | {lab.a.eni_id, lab.b.eni_id}
    pages = list(lab.client.get_paginator("describe_network_interfaces").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["NetworkInterfaces"]) for page in pages] == [5, 5, 1]
    assert {eni["NetworkInterfaceId"] for page in pages for eni in page["NetworkInterfaces"]} == enis
    both = {"NetworkInterfaceIds": [lab.a.eni_id], "MaxResults": 5}
    assert refusal(lab.client.describe_network_interfaces, **both) == "InvalidParameterCombination"


def test_describe_instances_shows_hot_plugged_enis(lab: Lab) -> None:
    """With device index, card index and status; and no longer after the detach."""
    eni, attachment = lab.attached(lab.a.instance_id, 2)

    def shown() -> list[tuple[object, ...]]:
        """Each one's id, indexes and status."""
        found, names = lab.instance(lab.a.instance_id), ("DeviceIndex", "NetworkCardIndex", "Status")
        enis = found["NetworkInterfaces"]
        return sorted((eni["NetworkInterfaceId"], *(eni["Attachment"][name] for name in names)) for eni in enis)

    primary = (lab.a.eni_id, 0, 0, "attached")
    assert shown() == sorted([primary, (eni, 2, 0, "attached")])
    lab.detach(attachment)
    assert shown() == [primary]


def test_the_instance_type_tells_its_slots(lab: Lab) -> None:
    """By DescribeInstanceTypes, in all and for the network card; the attach enforces the same number."""
    types: dict[Any, int] = {"m5.large": 3, "t3.medium": 3, "t3.small": 3, "t3.nano": 2}
    for last, (instance_type, slots) in enumerate(types.items(), 30):
        [shown] = lab.client.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"]
        assert shown["NetworkInfo"]["MaximumNetworkInterfaces"] == slots
        [card] = shown["NetworkInfo"]["NetworkCards"]
        assert (card["NetworkCardIndex"], card["MaximumNetworkInterfaces"]) == (0, slots)
        worker = lab.ec2.run_instance(f"worker-{last}", f"10.0.0.{last}", instance_type=instance_type)
        assert lab.instance(worker.instance_id)["InstanceType"] == instance_type
        for index in range(1, slots):
            lab.attached(worker.instance_id, index)
        assert refusal(lab.attached, worker.instance_id, slots) == "AttachmentLimitExceeded"


def test_attaching_takes_time_and_the_device_comes_later(start: Start) -> None:
    """Attaching, attached without a device, then the device; the history has them in this order."""
    lab = start(SOON)
    eni, _ = lab.attached(lab.b.instance_id)
    assert lab.status(eni) == "attaching"
    assert lab.show(eni)["Status"] == "in-use"
    soon(lambda: lab.machines.plugged == {eni: (lab.b.instance_id, 1)})
    changes = lab.told("attachment", "device")
    assert [event["status"] for event in changes] == ["attaching", "attached", "visible"]
    assert changes[1]["t"] - changes[0]["t"] >= SOON.attach
    assert changes[2]["t"] - changes[1]["t"] >= SOON.device


def test_detaching_takes_time_and_then_the_attachment_is_gone(start: Start) -> None:
    """Detaching, then no attachment, status available, no device; the id is unknown from then on."""
    lab = start(SOON)
    eni, attachment = lab.attached(lab.a.instance_id)
    soon(lambda: eni in lab.machines.plugged)
    lab.detach(attachment)
    assert lab.status(eni) == "detaching"
    assert refusal(lab.attach, eni, lab.b.instance_id) == "InvalidNetworkInterface.InUse"
    assert refusal(lab.detach, attachment) == "IncorrectState"
    soon(lambda: lab.status(eni) is None)
    assert lab.show(eni)["Status"] == "available"
    assert lab.machines.plugged == {}
    assert refusal(lab.detach, attachment) == "InvalidAttachmentID.NotFound"


@pytest.mark.parametrize("who", ["the guest", "EC2"])
def test_a_detach_that_hangs_ends_by_force(lab: Lab, who: str) -> None:
    """Detaching for ever without Force; with Force gone, and the history says that it was forced."""
    eni, attachment = lab.attached(lab.a.instance_id)
    if who == "EC2":
        lab.ec2.hang_detaches()
    else:
        lab.machines.guests[lab.a.instance_id] = Guest.HUNG
    lab.detach(attachment)
    assert (lab.status(eni), eni in lab.machines.plugged) == ("detaching", True)
    lab.detach(attachment, Force=True)
    assert (lab.status(eni), lab.machines.plugged) == (None, {})
    assert [event["forced"] for event in lab.told("attachment")][-3:] == [False, True, True]


@pytest.mark.parametrize(("profile", "shown"), [("instant", None), ("slow", "detaching")])
def test_a_machine_without_power_lets_go_unless_ec2_is_slow(start: Start, profile: str, shown: str | None) -> None:
    """What a power cut does to a normal detach is a matter of the profile."""
    lab = start(replace(INSTANT, stuck=PROFILES[profile].stuck))
    eni, attachment = lab.attached(lab.a.instance_id)
    lab.machines.guests[lab.a.instance_id] = Guest.OFF
    lab.detach(attachment)
    assert lab.status(eni) == shown


def test_an_eni_that_is_detached_while_attaching_never_becomes_a_device(start: Start) -> None:
    lab = start(SOON)
    eni, attachment = lab.attached(lab.a.instance_id)
    lab.detach(attachment)
    soon(lambda: lab.status(eni) is None)
    lab.attach(eni, lab.b.instance_id)
    soon(lambda: lab.machines.plugged == {eni: (lab.b.instance_id, 1)})
    statuses = [event["status"] for event in lab.told("attachment", "device")]
    assert statuses == ["attaching", "detaching", "detached", "attaching", "attached", "visible"]


def test_termination_lets_go_of_enis_a_while_later(start: Start) -> None:
    """Shutting-down, with the ENI still attached; then available, or deleted where that was asked for; terminated."""
    lab = start(SOON)
    stays, _ = lab.attached(lab.a.instance_id)
    goes, attachment = lab.attached(lab.a.instance_id, 2)
    deleted: Any = {"AttachmentId": attachment, "DeleteOnTermination": True}
    lab.client.modify_network_interface_attribute(NetworkInterfaceId=goes, Attachment=deleted)
    soon(lambda: set(lab.machines.plugged) == {stays, goes})

    for _ in range(2):  # the second time is none
        lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.shut == [lab.a.instance_id]
    assert lab.state(lab.a.instance_id) == "shutting-down"
    assert lab.status(stays) == "attached"
    assert refusal(lab.attach, lab.eni(), lab.a.instance_id, 2) == "IncorrectState"
    soon(lambda: lab.status(stays) is None)
    let_go = [event["t"] for event in lab.told("attachment") if event["status"] == "detached"]
    assert min(let_go) - lab.machines.shut_at >= SOON.release
    assert lab.show(stays)["Status"] == "available"
    assert refusal(lab.show, goes) == "InvalidNetworkInterfaceID.NotFound"
    assert refusal(lab.show, lab.a.eni_id) == "InvalidNetworkInterfaceID.NotFound"
    assert lab.machines.plugged == {}
    assert lab.ec2.interfaces(lab.a.instance_id) == ()
    soon(lambda: lab.state(lab.a.instance_id) == "terminated")
    assert lab.instance(lab.a.instance_id)["NetworkInterfaces"] == []
    lab.ec2.run_instance("worker-c", "10.0.0.10")


def test_a_guest_that_takes_its_time_holds_its_termination_up(start: Start) -> None:
    """EC2 lets go of the ENI, and calls the instance terminated, so much later."""
    lab = start(SOON)
    lab.machines.held_up = 2.0
    eni, _ = lab.attached(lab.a.instance_id)
    lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    soon(lambda: lab.status(eni) is None)
    [let_go] = [event for event in lab.events if event.get("status") == "detached"]
    assert let_go["t"] - lab.machines.shut_at >= SOON.release + 2.0
    soon(lambda: lab.state(lab.a.instance_id) == "terminated")
    assert time.time() - lab.machines.shut_at >= SOON.shutdown + 2.0


def test_a_stopped_instance_keeps_its_enis_and_sees_them_when_it_is_started(start: Start) -> None:
    """Stopping, stopped, pending, running; no call starts one that is stopping, and none attaches to it."""
    lab = start(replace(SOON, start=0.5))
    (eni, _), other = lab.attached(lab.a.instance_id), lab.eni()
    soon(lambda: set(lab.machines.plugged) == {eni})
    lab.client.stop_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.shut == [lab.a.instance_id]
    assert lab.state(lab.a.instance_id) == "stopping"
    assert refusal(lab.client.start_instances, InstanceIds=[lab.a.instance_id]) == "IncorrectInstanceState"
    assert refusal(lab.attach, other, lab.a.instance_id, 2) == "IncorrectState"
    soon(lambda: lab.state(lab.a.instance_id) == "stopped")
    assert lab.status(eni) == "attached"
    lab.client.start_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.booted == [lab.a.instance_id]
    assert lab.state(lab.a.instance_id) == "pending"
    soon(lambda: lab.state(lab.a.instance_id) == "running")
    lab.events.clear()
    lab.ec2.booted(lab.a.instance_id)
    assert lab.machines.plugged == {eni: (lab.a.instance_id, 1)}
    assert [event["status"] for event in lab.told("device")] == ["visible"]


def test_a_reboot_is_none_of_ec2s_business(lab: Lab) -> None:
    """The instance goes on being called running, and keeps what it has."""
    eni, _ = lab.attached(lab.a.instance_id)
    lab.client.reboot_instances(InstanceIds=[lab.a.instance_id])
    assert lab.machines.rebooted == [lab.a.instance_id]
    assert lab.state(lab.a.instance_id) == "running"
    assert lab.status(eni) == "attached"


def would_do(call: Callable[..., object], **params: object) -> None:
    """A dry run says so."""
    assert refusal(call, DryRun=True, **params) == "DryRunOperation", call


def test_a_dry_run_says_that_it_would_work_and_does_nothing(lab: Lab) -> None:
    """For every mutating call of the product."""
    (eni, attachment), other, client = lab.attached(lab.a.instance_id), lab.eni(), lab.client
    spare = lab.ec2.allocate("203.0.113.100")
    association = lab.associate(eni, lab.ec2.allocate("203.0.113.101"))

    def shown() -> tuple[object, object]:
        return client.describe_network_interfaces()["NetworkInterfaces"], client.describe_addresses()["Addresses"]

    before = shown()
    would_do(client.create_network_interface, SubnetId=lab.ec2.subnet_id, PrivateIpAddress="10.0.0.102")
    would_do(client.attach_network_interface, NetworkInterfaceId=other, InstanceId=lab.b.instance_id, DeviceIndex=1)
    would_do(client.detach_network_interface, AttachmentId=attachment)
    would_do(client.delete_network_interface, NetworkInterfaceId=other)
    would_do(client.create_tags, Resources=[eni], Tags=[{"Key": "a", "Value": "b"}])
    would_do(client.modify_network_interface_attribute, NetworkInterfaceId=eni, Description={"Value": "x"})
    would_do(client.associate_address, AllocationId=spare, NetworkInterfaceId=other)
    would_do(client.disassociate_address, AssociationId=association)
    would_do(client.release_address, AllocationId=spare)
    assert shown() == before


def test_a_dry_run_asks_for_permission_not_for_the_state(lab: Lab) -> None:
    """What could not succeed as things are is allowed all the same; what does not exist cannot be allowed."""
    eni, attachment = lab.attached(lab.a.instance_id)
    would_do(lab.client.create_network_interface, SubnetId=lab.ec2.subnet_id, PrivateIpAddress="10.0.0.10")
    would_do(lab.client.attach_network_interface, NetworkInterfaceId=eni, InstanceId=lab.b.instance_id, DeviceIndex=0)
    would_do(lab.client.delete_network_interface, NetworkInterfaceId=eni)
    lab.detach(attachment)
    assert refusal(lab.detach, attachment, DryRun=True) == "InvalidAttachmentID.NotFound"


def test_worlds_do_not_see_each_other(start: Start) -> None:
    """Two endpoints in one process have each its own VPC, with the same addresses."""
    first, second = start(INSTANT), start(INSTANT)
    first.eni(ADDRESS)
    assert second.find("addresses.private-ip-address", ADDRESS) == []
