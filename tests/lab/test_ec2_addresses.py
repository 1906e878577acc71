"""
The EC2 endpoint enforces what EC2 enforces about secondary addresses; asked over HTTP, as the product asks it.

What the product's own code makes of it, and what the pure model does alike, is for tests/contract.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from mypy_boto3_ec2 import EC2Client

from lab.ec2 import Instance, Profile
from tests.lab import endpoint
from tests.lab.endpoint import INSTANT, race, refusal, soon, started

DELAYED = Profile("delayed", assign=0.8, unassign=0.6, device=0.2, release=0.1, shutdown=0.1)
ADDRESS = "10.0.0.100"
IPV6 = "2001:db8:0:1::100"
PUBLIC = "203.0.113.100"


class Lab(endpoint.Lab):
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


Start = endpoint.Start[Lab]


@pytest.fixture
def start() -> Iterator[Start]:
    yield from started(Lab)


@pytest.fixture
def lab(start: Start) -> Lab:
    return start(INSTANT)


def test_an_assigned_address_shows_everywhere_and_leads_to_the_guest(lab: Lab) -> None:
    """In Describe with its name, by both filters, in IMDS, in the data path and in the history."""
    lab.assign(lab.eni_a, ADDRESS)
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
    """Refused without; with it the address leaves the one before the other has it."""
    lab.assign(lab.eni_a, ADDRESS)
    assert refusal(lab.assign, lab.eni_b, ADDRESS) == "InvalidParameterValue"
    assert lab.owners(ADDRESS) == [lab.eni_a]
    lab.assign(lab.eni_b, ADDRESS, take=True)
    assert lab.owners(ADDRESS) == [lab.eni_b]
    assert (lab.secondaries(lab.eni_a), lab.secondaries(lab.eni_b)) == ([], [ADDRESS])
    assert ADDRESS not in lab.imds(lab.a)
    assert lab.machines.changes == [
        ("assign", lab.eni_a, ADDRESS),
        ("unassign", lab.eni_a, ADDRESS),
        ("assign", lab.eni_b, ADDRESS),
    ]
    assert lab.ends()[2:] == [
        ("assigning", lab.eni_b),
        ("unassigned", lab.eni_a),
        ("assigned", lab.eni_b),
    ]


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
    chosen = lab.choose(lab.eni_a, 3)
    assert lab.secondaries(lab.eni_a) == chosen
    assert len(set(chosen)) == 3
    ipv6 = lab.client.assign_ipv6_addresses(NetworkInterfaceId=lab.eni_b, Ipv6AddressCount=2)["AssignedIpv6Addresses"]
    assert lab.secondaries(lab.eni_b) == ipv6
    assert all(ip_address(address) in ip_network("2001:db8:0:1::/64") for address in ipv6)
    both: tuple[tuple[Callable[..., object], dict[str, Any]], ...] = (
        (
            lab.client.assign_private_ip_addresses,
            {"PrivateIpAddresses": [ADDRESS], "SecondaryPrivateIpAddressCount": 1},
        ),
        (lab.client.assign_ipv6_addresses, {"Ipv6Addresses": [IPV6], "Ipv6AddressCount": 1}),
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
    assert lab.machines.leads[IPV6] == lab.eni_a
    assert refusal(lab.assign_ipv6, lab.eni_b, IPV6) == "Resource.AlreadyAssigned"
    assert lab.unassign_ipv6(lab.eni_a, "2001:DB8:0:1:0::100") == [IPV6]
    assert IPV6 not in lab.machines.leads
    assert lab.assign_ipv6(lab.eni_b, IPV6) == [IPV6]
    assert lab.owners(IPV6) == [lab.eni_b]
    assert lab.machines.leads[IPV6] == lab.eni_b
    assert IPV6 in lab.imds(lab.b)
    assert IPV6 not in lab.imds(lab.a)
    assert lab.ends() == [
        ("assigning", lab.eni_a),
        ("assigned", lab.eni_a),
        ("unassigned", lab.eni_a),
        ("assigning", lab.eni_b),
        ("assigned", lab.eni_b),
    ]


def test_a_foreign_ipv6_address_is_refused(lab: Lab) -> None:
    """Outside of the subnet, kept by AWS, of the other family, or none."""
    for address in ("2001:db8:0:2::100", "2001:db8:0:1::3", ADDRESS, "nonsense"):
        assert refusal(lab.assign_ipv6, lab.eni_a, address) == "InvalidParameterValue", address


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
    """Both sides show it with the new ENI; the association, and where the Elastic IP leads, stay as they are."""
    allocation = lab.ec2.allocate(PUBLIC)
    [private] = lab.choose(lab.eni_a)
    association = lab.associate(lab.eni_a, allocation, private)
    lab.assign(lab.eni_b, private, take=True)
    [item] = [item for item in lab.show(lab.eni_b)["PrivateIpAddresses"] if item["PrivateIpAddress"] == private]
    assert (item["Association"]["AllocationId"], item["Association"]["PublicIp"]) == (allocation, PUBLIC)
    assert "Association" not in lab.show(lab.eni_b)
    assert all("Association" not in item for item in lab.show(lab.eni_a)["PrivateIpAddresses"])
    filters = {
        "network-interface-id": lab.eni_b,
        "private-ip-address": private,
        "instance-id": lab.b.instance_id,
    }
    for name, value in filters.items():
        [shown] = lab.client.describe_addresses(Filters=[{"Name": name, "Values": [value]}])["Addresses"]
        assert (shown["AssociationId"], shown["NetworkInterfaceId"]) == (association, lab.eni_b)
        assert (shown["PrivateIpAddress"], shown["InstanceId"]) == (private, lab.b.instance_id)
    assert lab.find("association.allocation-id", allocation) == [lab.eni_b]
    assert lab.machines.routed == {PUBLIC: private}
    moved = [(event["status"], event["allocation"]) for event in lab.told("address")[2:]]
    assert moved == [(status, allocation) for status in ("assigning", "unassigned", "assigned")]


def test_an_association_takes_hold_after_its_address_has_moved(start: Start) -> None:
    """A move between the call and its effect does not undo the association."""
    lab = start(replace(INSTANT, associate=0.2))
    allocation = lab.ec2.allocate(PUBLIC)
    [private] = lab.choose(lab.eni_a)
    lab.associate(lab.eni_a, allocation, private)
    lab.assign(lab.eni_b, private, take=True)
    assert lab.machines.routed == {}
    soon(lambda: lab.machines.routed == {PUBLIC: private})


def test_unassigning_ends_the_association(lab: Lab) -> None:
    """The Elastic IP stays allocated and leads nowhere."""
    allocation = lab.ec2.allocate(PUBLIC)
    [private] = lab.choose(lab.eni_a)
    lab.associate(lab.eni_a, allocation, private)
    lab.unassign(lab.eni_a, private)
    assert "AssociationId" not in lab.address(allocation)
    assert lab.machines.routed == {}


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


AT_ONCE_AND_LATER = pytest.mark.parametrize(
    "profile", [INSTANT, replace(INSTANT, assign=0.05)], ids=["instant", "delayed"]
)


def claims(lab: Lab, *, take: bool) -> dict[str, Callable[[], object]]:
    """By which each of both workers' ENIs claims the address, with a client of its own."""

    def claim(eni: str, client: EC2Client) -> None:
        client.assign_private_ip_addresses(NetworkInterfaceId=eni, PrivateIpAddresses=[ADDRESS], AllowReassignment=take)

    return {eni: partial(claim, eni, lab.ec2.client()) for eni in (lab.eni_a, lab.eni_b)}


@AT_ONCE_AND_LATER
def test_of_two_racing_claims_of_a_free_address_exactly_one_wins(start: Start, profile: Profile) -> None:
    """Twenty races over HTTP without reassignment, at the same moment."""
    lab = start(profile)
    rivals = claims(lab, take=False)
    for _ in range(20):
        won, lost = race(rivals)
        assert (len(won), lost) == (1, ["InvalidParameterValue"])
        lab.await_owner(ADDRESS, won[0])
        lab.unassign(won[0], ADDRESS)


@AT_ONCE_AND_LATER
def test_racing_reassignments_leave_exactly_one_owner_at_every_moment(start: Start, profile: Profile) -> None:
    """Twenty races of both for an address of a third, watched by Describes, the data path and the history."""
    lab = start(profile)
    third = lab.eni()
    lab.assign(third, ADDRESS)
    lab.await_owner(ADDRESS, third)
    rivals = claims(lab, take=True)
    seen, watcher, over = list[int](), lab.ec2.client(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            shown = watcher.describe_network_interfaces()["NetworkInterfaces"]
            addresses = [item["PrivateIpAddress"] for eni in shown for item in eni["PrivateIpAddresses"]]
            seen.append(addresses.count(ADDRESS))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(20):
            won, lost = race(rivals)
            assert (set(won), lost) == ({lab.eni_a, lab.eni_b}, [])
            last = [eni for status, eni in lab.ends() if status == "assigning"][-1]
            lab.await_assigned(last)
            lab.assign(third, ADDRESS, take=True)
            lab.await_assigned(third)
    finally:
        over.set()
        thread.join()
    assert set(seen) == {1}
    owner = ""
    for status, eni in lab.ends():
        if status == "assigned":
            assert owner in {"", eni}
            owner = eni
        elif status == "unassigned":
            assert owner == eni
            owner = ""


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


def test_iam_can_refuse_a_move_and_every_call_is_recorded(lab: Lab) -> None:
    """By name; what was refused has no effect."""
    with lab.ec2.faults.deny(["AssignPrivateIpAddresses"]):
        assert refusal(lab.assign, lab.eni_a, ADDRESS) == "UnauthorizedOperation"
    assert lab.owners(ADDRESS) == []
    lab.assign(lab.eni_a, ADDRESS)
    lab.unassign(lab.eni_a, ADDRESS)
    lab.assign_ipv6(lab.eni_a, IPV6)
    lab.unassign_ipv6(lab.eni_a, IPV6)
    calls = [(event["action"], event["error"]) for event in lab.told("call")]
    assert [call for call in calls if "ssign" in call[0]] == [
        ("AssignPrivateIpAddresses", "UnauthorizedOperation"),
        ("AssignPrivateIpAddresses", None),
        ("UnassignPrivateIpAddresses", None),
        ("AssignIpv6Addresses", None),
        ("UnassignIpv6Addresses", None),
    ]


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
