"""Of claims that reach the EC2 endpoint at the same moment exactly one wins, whatever is claimed."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from mypy_boto3_ec2 import EC2Client

from lab.ec2 import Profile
from tests.lab import endpoint
from tests.lab.endpoint import ADDRESS, INSTANT, race
from tests.lab.endpoint import AddressLab as Lab

Start = endpoint.Start[Lab]
start, lab = endpoint.fixtures(Lab)

AT_ONCE_AND_LATER = pytest.mark.parametrize(
    "profile", [INSTANT, replace(INSTANT, assign=0.05)], ids=["instant", "delayed"]
)


def test_of_two_racing_attaches_exactly_one_wins(lab: Lab) -> None:
    """Twenty races of two instances for one ENI, over HTTP, at the same moment."""
    eni, clients = lab.eni(), {each.instance_id: lab.ec2.client() for each in (lab.a, lab.b)}
    won_by: dict[str, str] = {}

    def claim(instance_id: str) -> None:
        answer = clients[instance_id].attach_network_interface(
            NetworkInterfaceId=eni, InstanceId=instance_id, DeviceIndex=2
        )
        won_by[instance_id] = answer["AttachmentId"]

    for _ in range(20):
        won, lost = race({instance_id: partial(claim, instance_id) for instance_id in clients})
        assert (len(won), lost) == (1, ["InvalidNetworkInterface.InUse"])
        attachment = lab.show(eni)["Attachment"]["AttachmentId"]
        assert attachment == won_by[won[0]]
        lab.detach(attachment)


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
