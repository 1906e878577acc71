"""
The EC2 endpoint enforces what EC2 enforces about secondary addresses; asked over HTTP, as the product asks it.

What the product's own code makes of it, and what the pure model does alike, is for tests/contract.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lab.ec2 import Profile
from tests.lab import endpoint
from tests.lab.endpoint import ADDRESS, INSTANT, refusal, soon
from tests.lab.endpoint import AddressLab as Lab

DELAYED = Profile("delayed", assign=0.8, unassign=0.6, device=0.2, release=0.1, shutdown=0.1)
IPV6 = "2001:db8:0:1::100"
PUBLIC = "203.0.113.100"


Start = endpoint.Start[Lab]
start, lab = endpoint.fixtures(Lab)


def test_an_assigned_address_shows_everywhere_and_leads_to_the_guest(lab: Lab) -> None:
    """In Describe with its name, by both filters, in IMDS, in the data path and in the history; once for ever."""
    lab.assign(lab.eni_a, ADDRESS)
    lab.assign(lab.eni_a, ADDRESS, take=True)
    [primary, secondary] = lab.show(lab.eni_a)["PrivateIpAddresses"]
    assert (primary["Primary"], primary["PrivateIpAddress"]) == (True, lab.show(lab.eni_a)["PrivateIpAddress"])
    assert secondary == {
        "Primary": False,
        "PrivateDnsName": "ip-10-0-0-100.us-west-2.compute.internal",
        "PrivateIpAddress": ADDRESS,
    }
    for name in "addresses.private-ip-address", "private-ip-address":
        assert lab.find(name, ADDRESS) == [lab.eni_a]
    assert ADDRESS in lab.imds(lab.a)
    assert lab.machines.leads[ADDRESS] == lab.eni_a
    [assigning, assigned] = lab.told("address")
    assert (assigning["status"], assigned["status"]) == ("assigning", "assigned")
    assert assigned["source"] == "ec2"
    assert (assigned["address"], assigned["eni"], assigned["instance"]) == (ADDRESS, lab.eni_a, lab.a.instance_id)
    assert "allocation" not in assigned


def test_an_unassigned_address_is_nowhere_and_free(lab: Lab) -> None:
    """Not with the ENI, not in the data path, and another ENI may have it, as its primary one even."""
    lab.assign(lab.eni_a, ADDRESS)
    lab.unassign(lab.eni_a, ADDRESS)
    assert lab.secondaries(lab.eni_a) == lab.owners(ADDRESS) == []
    assert ADDRESS not in lab.machines.leads
    assert ADDRESS not in lab.imds(lab.a)
    assert lab.moves()[2:] == [(ADDRESS, "unassigned", lab.eni_a)]
    assert lab.show(lab.eni(ADDRESS))["PrivateIpAddress"] == ADDRESS


def test_an_address_of_another_eni_moves_only_by_reassignment(lab: Lab) -> None:
    """Refused without; with it the network leads it from one straight to the other."""
    lab.assign(lab.eni_a, ADDRESS)
    assert refusal(lab.assign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
    assert lab.owners(ADDRESS) == [lab.eni_a]
    lab.assign(lab.eni_b, ADDRESS, take=True)
    assert lab.owners(ADDRESS) == [lab.eni_b]
    assert (lab.secondaries(lab.eni_a), lab.secondaries(lab.eni_b)) == ([], [ADDRESS])
    assert ADDRESS not in lab.imds(lab.a)
    assert lab.machines.changes == [("assign", lab.eni_a, ADDRESS), ("assign", lab.eni_b, ADDRESS)]
    assert lab.ends()[2:] == [("assigning", lab.eni_b), ("unassigned", lab.eni_a), ("assigned", lab.eni_b)]


def test_assigning_what_the_eni_has_changes_nothing(lab: Lab) -> None:
    """A secondary address, the primary one, and an IPv6 one, of which the answer then says nothing."""
    lab.assign(lab.eni_a, ADDRESS)
    assert lab.assign_ipv6(lab.eni_a, IPV6) == [IPV6]
    shown, moves = lab.show(lab.eni_a), lab.moves()
    lab.assign(lab.eni_a, ADDRESS, shown["PrivateIpAddress"])
    lab.assign(lab.eni_a, ADDRESS, take=True)
    assert lab.assign_ipv6(lab.eni_a, IPV6) == []
    assert (lab.show(lab.eni_a), lab.moves()) == (shown, moves)


def test_an_address_outside_the_subnet_or_kept_by_aws_is_refused(lab: Lab) -> None:
    """And none of those that were asked for together with it is assigned; nor one that cannot be taken from another."""
    for address in ("10.0.1.100", "192.0.2.1", "10.0.0.3", "10.0.0.255", IPV6, "nonsense", "10.0.0.11"):
        assert refusal(lab.assign, lab.eni_a, ADDRESS, address, take=True) == "InvalidParameterValue", address
    for address in ("2001:db8:0:2::100", "2001:db8:0:1::3", ADDRESS, "nonsense"):
        assert refusal(lab.assign_ipv6, lab.eni_a, IPV6, address) == "InvalidParameterValue", address
    assert lab.secondaries(lab.eni_a) == []


def test_an_instance_type_limits_the_addresses_of_an_attached_eni(lab: Lab) -> None:
    """A t3.nano's ENI has two of each family, one of them primary; a free-standing ENI has no limit."""
    small = lab.ec2.run_instance("worker-c", "10.0.0.12", instance_type="t3.nano")
    eni, free = lab.attached(small.instance_id)[0], lab.eni()
    assert refusal(lab.choose, eni, 2) == "PrivateIpAddressLimitExceeded"
    lab.assign(eni, ADDRESS)
    assert refusal(lab.assign, eni, "10.0.0.101") == "PrivateIpAddressLimitExceeded"
    lab.assign(eni, ADDRESS)
    lab.assign_ipv6(eni, IPV6, "2001:db8:0:1::101")
    assert refusal(lab.assign_ipv6, eni, "2001:db8:0:1::102") == "PrivateIpAddressLimitExceeded"
    assert len(lab.choose(free, 20)) == 20


def test_addresses_on_their_way_count_for_the_limit(start: Start) -> None:
    """Two calls cannot do in turn what one cannot."""
    lab = start(DELAYED)
    small = lab.ec2.run_instance("worker-c", "10.0.0.12", instance_type="t3.nano")
    eni = lab.attached(small.instance_id)[0]
    lab.assign(eni, ADDRESS)
    assert refusal(lab.assign, eni, "10.0.0.101") == "PrivateIpAddressLimitExceeded"


def test_ec2_chooses_free_addresses(lab: Lab) -> None:
    """As many as were asked for, which the answer names; not together with a chosen one, and not none at all."""
    assign_ipv4, assign_ipv6 = lab.client.assign_private_ip_addresses, lab.client.assign_ipv6_addresses
    chosen = lab.choose(lab.eni_a, 3)
    assert lab.secondaries(lab.eni_a) == chosen
    assert len(set(chosen)) == 3
    ipv6 = assign_ipv6(NetworkInterfaceId=lab.eni_b, Ipv6AddressCount=2)["AssignedIpv6Addresses"]
    assert lab.secondaries(lab.eni_b) == ipv6
    assert all(ip_address(address) in ip_network("2001:db8:0:1::/64") for address in ipv6)
    both: tuple[tuple[Callable[..., object], dict[str, Any]], ...] = (
        (assign_ipv4, {"PrivateIpAddresses": [ADDRESS], "SecondaryPrivateIpAddressCount": 1}),
        (assign_ipv6, {"Ipv6Addresses": [IPV6], "Ipv6AddressCount": 1}),
    )
    for call, params in both:
        assert refusal(call, NetworkInterfaceId=lab.eni_a, **params) == "InvalidParameterCombination"
        assert refusal(call, NetworkInterfaceId=lab.eni_a) == "MissingParameter"


def test_a_secondary_address_is_taken_for_everybody_else(start: Start) -> None:
    """For a new ENI, a new instance and for EC2's own choice; while it is on its way as well."""
    lab = start(DELAYED)
    lab.assign(lab.eni_a, ADDRESS)
    lab.assign_ipv6(lab.eni_a, IPV6)
    [chosen] = lab.choose(lab.eni_a)
    for _ in "pending", "there":
        assert refusal(lab.eni, ADDRESS) == "InvalidIPAddress.InUse"
        assert refusal(lab.eni, Ipv6Addresses=[{"Ipv6Address": IPV6}]) == "InvalidIPAddress.InUse"
        with pytest.raises(Exception, match=ADDRESS):
            lab.ec2.run_instance("worker-c", ADDRESS)
        assert lab.choose(lab.eni_b) != [chosen]
        assert refusal(lab.assign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
        soon(lambda: set(lab.secondaries(lab.eni_a)) == {ADDRESS, IPV6, chosen})


def test_what_the_eni_has_not_cannot_be_unassigned(lab: Lab) -> None:
    """Nobody's, and somebody else's; nor can what it has been asked for together with it, or its primary address."""
    lab.assign(lab.eni_b, ADDRESS)
    lab.assign(lab.eni_a, "10.0.0.101")
    for address in (ADDRESS, "10.0.0.20", "nonsense", lab.show(lab.eni_a)["PrivateIpAddress"]):
        assert refusal(lab.unassign, lab.eni_a, "10.0.0.101", address) == "InvalidParameterValue", address
    assert refusal(lab.unassign_ipv6, lab.eni_a, IPV6) == "InvalidParameterValue"
    assert lab.secondaries(lab.eni_a) == ["10.0.0.101"]


def test_an_ipv6_address_moves_in_two_calls(lab: Lab) -> None:
    """Refused while another ENI has it, however it is spelt; then free."""
    assert lab.assign_ipv6(lab.eni_a, "2001:DB8:0:1:0::100") == [IPV6]
    assert lab.assign_ipv6(lab.eni_a, IPV6) == []
    assert lab.machines.leads[IPV6] == lab.eni_a
    assert refusal(lab.assign_ipv6, lab.eni_b, IPV6) == "Resource.AlreadyAssigned"
    assert lab.unassign_ipv6(lab.eni_a, "2001:DB8:0:1:0::100") == [IPV6]
    assert IPV6 not in lab.machines.leads
    assert lab.assign_ipv6(lab.eni_b, IPV6) == [IPV6]
    assert lab.owners(IPV6) == [lab.eni_b]
    assert lab.machines.leads[IPV6] == lab.eni_b
    assert IPV6 in lab.imds(lab.b)
    assert IPV6 not in lab.imds(lab.a)
    there = [(eni, status) for eni in (lab.eni_a, lab.eni_b) for status in ("assigning", "assigned")]
    assert [(eni, status) for status, eni in lab.ends()] == [*there[:2], (lab.eni_a, "unassigned"), *there[2:]]


def test_unassigned_ipv6_is_taken_until_it_has_left(start: Start) -> None:
    """The former owner shows it for a while yet, and nobody else gets it before; then it can be had."""
    lab = start(replace(DELAYED, assign=0.0))
    lab.assign_ipv6(lab.eni_a, IPV6)
    began = time.monotonic()
    lab.unassign_ipv6(lab.eni_a, IPV6)
    assert lab.owners(IPV6) == [lab.eni_a]
    assert lab.machines.leads[IPV6] == lab.eni_a
    assert refusal(lab.assign_ipv6, lab.eni_b, IPV6) == "Resource.AlreadyAssigned"
    assert refusal(lab.unassign_ipv6, lab.eni_a, IPV6) == "InvalidParameterValue"
    soon(lambda: lab.owners(IPV6) == [])
    assert time.monotonic() - began >= DELAYED.unassign
    lab.assign_ipv6(lab.eni_b, IPV6)
    assert lab.owners(IPV6) == [lab.eni_b]


def test_an_elastic_ip_rides_along_with_its_secondary_address(lab: Lab) -> None:
    """Both sides show it with the new ENI; the association, and where the Elastic IP leads, stay as they are.

    It leads nowhere once its private address is nobody's.
    """
    allocation = lab.ec2.allocate(PUBLIC)
    [private] = lab.choose(lab.eni_a)
    association = lab.associate(lab.eni_a, allocation, private)
    lab.assign(lab.eni_b, private, take=True)
    [item] = [item for item in lab.show(lab.eni_b)["PrivateIpAddresses"] if item["PrivateIpAddress"] == private]
    assert (item["Association"]["AllocationId"], item["Association"]["PublicIp"]) == (allocation, PUBLIC)
    assert "Association" not in lab.show(lab.eni_b)
    assert all("Association" not in item for item in lab.show(lab.eni_a)["PrivateIpAddresses"])
    filters = (("network-interface-id", lab.eni_b), ("private-ip-address", private), ("instance-id", lab.b.instance_id))
    for name, value in filters:
        [shown] = lab.client.describe_addresses(Filters=[{"Name": name, "Values": [value]}])["Addresses"]
        assert (shown["AssociationId"], shown["NetworkInterfaceId"]) == (association, lab.eni_b)
        assert (shown["PrivateIpAddress"], shown["InstanceId"]) == (private, lab.b.instance_id)
    assert lab.find("association.allocation-id", allocation) == [lab.eni_b]
    assert lab.machines.routed == {PUBLIC: private}
    moved = [(event["status"], event["allocation"]) for event in lab.told("address")[2:]]
    assert moved == [(status, allocation) for status in ("assigning", "unassigned", "assigned")]
    lab.unassign(lab.eni_b, private)
    assert lab.machines.routed == {}


def test_an_association_takes_hold_after_its_address_has_moved(start: Start) -> None:
    """A move between the call and its effect does not undo the association."""
    lab = start(replace(INSTANT, associate=0.2))
    allocation = lab.ec2.allocate(PUBLIC)
    [private] = lab.choose(lab.eni_a)
    lab.associate(lab.eni_a, allocation, private)
    lab.assign(lab.eni_b, private, take=True)
    assert lab.machines.routed == {}
    soon(lambda: lab.machines.routed == {PUBLIC: private})


def test_a_move_takes_time_and_the_old_owner_shows_it_until_then(start: Start) -> None:
    """In Describe, in IMDS and in the data path; the call itself does not wait."""
    lab = start(DELAYED)
    lab.assign(lab.eni_a, ADDRESS)
    assert lab.owners(ADDRESS) == []
    lab.await_owner(ADDRESS, lab.eni_a)
    began = time.monotonic()
    lab.assign(lab.eni_b, ADDRESS, take=True)
    answered = time.monotonic() - began
    assert lab.owners(ADDRESS) == [lab.eni_a]
    assert lab.machines.leads[ADDRESS] == lab.eni_a
    assert ADDRESS in lab.imds(lab.a)
    assert lab.moves()[-1] == (ADDRESS, "assigning", lab.eni_b)
    assert answered < DELAYED.assign
    lab.await_owner(ADDRESS, lab.eni_b)
    assert time.monotonic() - began >= DELAYED.assign
    assert lab.machines.leads[ADDRESS] == lab.eni_b
    assert ADDRESS in lab.imds(lab.b)


def test_imds_lags_behind_a_move(lab: Lab) -> None:
    """The former holder's still shows the address, the new one's does not yet."""
    lab.assign(lab.eni_a, ADDRESS)
    soon(lambda: ADDRESS in lab.imds(lab.a, lag=1.0))
    lab.assign(lab.eni_b, ADDRESS, take=True)
    assert ADDRESS in lab.imds(lab.a, lag=1.0)
    assert ADDRESS not in lab.imds(lab.b, lag=1.0)
    soon(lambda: ADDRESS in lab.imds(lab.b, lag=1.0))
    assert ADDRESS not in lab.imds(lab.a, lag=1.0)


def test_of_two_moves_under_way_the_last_one_counts(start: Start) -> None:
    """The address never is where the first of both would have put it, and the former owner gets it back likewise."""
    lab = start(DELAYED)
    third = lab.eni()
    lab.assign(lab.eni_a, ADDRESS)
    lab.await_owner(ADDRESS, lab.eni_a)
    lab.assign(lab.eni_b, ADDRESS, take=True)
    lab.assign(third, ADDRESS, take=True)
    lab.await_owner(ADDRESS, third)
    assert refusal(lab.unassign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
    lab.assign(lab.eni_a, ADDRESS, take=True)
    lab.assign(third, ADDRESS, take=True)
    lab.await_assigned(third)
    assert lab.owners(ADDRESS) == [third]
    assert [(status, eni) for status, eni in lab.ends() if status != "assigning"] == [
        ("assigned", lab.eni_a),
        ("unassigned", lab.eni_a),
        ("assigned", third),
        ("assigned", third),
    ]


def test_a_claim_under_way_excludes_others_without_reassignment(start: Start) -> None:
    """From the moment that EC2 accepted the first; what was promised to another cannot be unassigned from the owner."""
    lab = start(DELAYED)
    lab.assign(lab.eni_a, ADDRESS)
    assert refusal(lab.assign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
    lab.assign(lab.eni_a, ADDRESS)
    lab.await_owner(ADDRESS, lab.eni_a)
    lab.assign(lab.eni_b, ADDRESS, take=True)
    assert refusal(lab.assign, lab.eni_a, ADDRESS) == "InvalidParameterValue"
    assert refusal(lab.unassign, lab.eni_a, ADDRESS) == "InvalidParameterValue"
    lab.await_owner(ADDRESS, lab.eni_b)


def test_an_unassignment_can_be_overtaken(start: Start) -> None:
    """By the owner itself, and by another with reassignment: then the address is not lost in between."""
    lab = start(DELAYED)
    lab.assign(lab.eni_a, ADDRESS)
    lab.await_owner(ADDRESS, lab.eni_a)
    for eni in lab.eni_a, lab.eni_b:
        lab.unassign(lab.eni_a, ADDRESS)
        lab.assign(eni, ADDRESS, take=eni == lab.eni_b)
        lab.await_assigned(eni)
        assert lab.owners(ADDRESS) == [eni]
    assert lab.ends().count(("unassigned", lab.eni_a)) == 1


def test_a_dead_holders_eni_keeps_its_address_until_it_is_taken(start: Start) -> None:
    """Unattached after the termination, still not anybody's for the asking; taken, it can be deleted."""
    lab = start(replace(DELAYED, assign=0.0))
    lab.assign(lab.eni_a, ADDRESS)
    lab.client.terminate_instances(InstanceIds=[lab.a.instance_id])
    soon(lambda: "Attachment" not in lab.show(lab.eni_a))
    assert lab.owners(ADDRESS) == [lab.eni_a]
    assert ADDRESS not in lab.machines.leads
    assert refusal(lab.assign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
    lab.assign(lab.eni_b, ADDRESS, take=True)
    assert lab.owners(ADDRESS) == [lab.eni_b]
    # The unplugging took it from the dead one, so there is nothing to unassign.
    assert lab.machines.changes == [("assign", lab.eni_a, ADDRESS), ("assign", lab.eni_b, ADDRESS)]
    last = [(event["status"], event["instance"]) for event in lab.told("address")[-2:]]
    assert last == [("unassigned", ""), ("assigned", lab.b.instance_id)]
    lab.client.delete_network_interface(NetworkInterfaceId=lab.eni_a)
    assert lab.owners(ADDRESS) == [lab.eni_b]


def test_deleting_an_eni_lets_go_of_what_was_to_leave_or_come(start: Start) -> None:
    """What was on its way from it is there, with its Elastic IP; what was on its way to it stays where it is."""
    lab = start(DELAYED)
    old, doomed = lab.eni(), lab.eni()
    lab.assign(old, ADDRESS, "10.0.0.101")
    soon(lambda: len(lab.secondaries(old)) == 2)
    allocation = lab.ec2.allocate(PUBLIC)
    lab.associate(old, allocation, ADDRESS)
    lab.assign(lab.eni_b, ADDRESS, take=True)
    lab.client.delete_network_interface(NetworkInterfaceId=old)
    assert (lab.owners(ADDRESS), lab.owners("10.0.0.101")) == ([lab.eni_b], [])
    assert ("10.0.0.101", "unassigned", old) in lab.moves()
    assert lab.address(allocation)["NetworkInterfaceId"] == lab.eni_b
    lab.assign(doomed, ADDRESS, take=True)
    lab.client.delete_network_interface(NetworkInterfaceId=doomed)
    lab.assign(lab.eni_a, "10.0.0.102")
    lab.await_owner("10.0.0.102", lab.eni_a)
    assert lab.owners(ADDRESS) == [lab.eni_b]


def test_the_primary_eni_of_a_worker_takes_secondary_addresses(lab: Lab) -> None:
    """The guest has that one without a plug, so its data path must hear of them."""
    lab.assign(lab.a.eni_id, ADDRESS)
    assert lab.machines.leads[ADDRESS] == lab.a.eni_id
    assert lab.ec2.interfaces(lab.a.instance_id)[0].addresses == ("10.0.0.10", "10.0.0.20", ADDRESS)
    lab.assign(lab.b.eni_id, ADDRESS, "10.0.0.20", take=True)
    assert lab.secondaries(lab.b.eni_id) == [ADDRESS, "10.0.0.20"]
    assert lab.machines.leads[ADDRESS] == lab.b.eni_id


def test_the_guest_hears_of_an_address_with_its_device_and_not_before(start: Start) -> None:
    """A device that is still to come brings all addresses of its ENI; one that is nowhere brings none."""
    lab = start(replace(DELAYED, assign=0.0, device=0.8))
    eni = lab.eni()
    lab.assign(eni, ADDRESS)
    assert ADDRESS not in lab.machines.leads
    lab.attach(eni, lab.a.instance_id, 2)
    lab.assign(eni, "10.0.0.101")
    assert "10.0.0.101" not in lab.machines.leads
    soon(lambda: lab.machines.leads.get(ADDRESS) == lab.machines.leads.get("10.0.0.101") == eni)
    lab.assign(eni, "10.0.0.102")
    assert lab.machines.changes == [("assign", eni, "10.0.0.102")]


def test_a_stale_describe_shows_the_former_owner(lab: Lab) -> None:
    """Of an address and of the Elastic IP that rides along."""
    allocation = lab.ec2.allocate(PUBLIC)
    lab.assign(lab.eni_a, ADDRESS)
    lab.associate(lab.eni_a, allocation, ADDRESS)
    with lab.ec2.faults.stale(60.0):
        lab.assign(lab.eni_b, ADDRESS, take=True)
        assert lab.owners(ADDRESS) == [lab.eni_a]
        assert lab.address(allocation)["NetworkInterfaceId"] == lab.eni_a
    assert lab.owners(ADDRESS) == [lab.eni_b]
    assert lab.address(allocation)["NetworkInterfaceId"] == lab.eni_b
