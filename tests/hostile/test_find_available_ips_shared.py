"""find-available-ips.py in a shared subnet, of which EC2 shows a participant little; and after Windows' line ends."""

from typing import Any

import pytest

from tests.edges.ec2_server import Server, answer
from tests.hostile.find_available_ips import Main

pytest_plugins = ["tests.hostile.find_available_ips_fixtures"]

LISTED = 11
"""Addresses of a /28 without those that AWS keeps."""


def shared(unused: str) -> bytes:
    """A subnet of another account, with what EC2 counts as left in it."""
    fields = "<subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-west-2a</availabilityZone>"
    blocks = "<cidrBlock>10.0.0.0/28</cidrBlock><ownerId>210987654321</ownerId>"
    return answer("DescribeSubnets", f"<subnetSet><item>{fields}{blocks}{unused}</item></subnetSet>")


@pytest.mark.parametrize(
    ("unused", "unseen"),
    [("<availableIpAddressCount>4</availableIpAddressCount>", "7 of these are not free: subnet-1 has 4 left"),
     ("<availableIpAddressCount>0</availableIpAddressCount>", "11 of these are not free"),
     ("<availableIpAddressCount>11</availableIpAddressCount>", ""),
     ("", "")],
    ids=["some unseen", "all unseen", "none unseen", "not counted"],
)  # fmt: skip
def test_addresses_that_are_taken_unseen_are_told(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], unused: str, unseen: str
) -> None:
    """Which of them they are nobody but the owner can say."""
    odd.replies["DescribeSubnets"] = shared(unused)
    assert main(["IPV4", "10.0.0.0/28"]) == 0
    said = capsys.readouterr()
    assert len(said.out.split()) == LISTED
    assert unseen in said.err
    assert said.err.count("\n") == bool(unseen)


@pytest.mark.parametrize(
    ("unused", "unseen"),
    [("<availableIpAddressCount>4</availableIpAddressCount>", "has 4 left, as EC2 counts them, 7 fewer than it shows"),
     ("<availableIpAddressCount>11</availableIpAddressCount>", "")],
    ids=["some unseen", "none unseen"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["", "explicit"])
def test_addresses_of_a_part_that_may_be_taken_unseen_are_told(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], unused: str, unseen: str, kind: str
) -> None:
    """EC2 counts for the subnet as a whole; what is reserved there may be counted as left, or not."""
    odd.replies["DescribeSubnets"] = shared(unused)
    item = f"<item><cidr>10.0.0.8/30</cidr><reservationType>{kind}</reservationType></item>" if kind else ""
    sets = f"<subnetIpv4CidrReservationSet>{item}</subnetIpv4CidrReservationSet><subnetIpv6CidrReservationSet/>"
    odd.replies["GetSubnetCidrReservations"] = answer("GetSubnetCidrReservations", sets)
    assert main(["IPV4", "10.0.0.8/30"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["10.0.0.8", "10.0.0.9", "10.0.0.10", "10.0.0.11"]
    assert ("may not be free" in said.err) == bool(unseen)
    assert (unseen if not kind else unseen.replace("7", "3")) in said.err


def test_interfaces_that_a_service_of_aws_has_are_asked_for(odd: Server, main: Main) -> None:
    """An account may have them hidden, as those of EKS Auto Mode's nodes."""
    odd.replies["DescribeSubnets"] = shared("")
    assert main(["IPV4", "10.0.0.0/28"]) == 0
    assert any("DescribeNetworkInterfaces" in said and "IncludeManagedResources=true" in said for said in odd.asked)


def test_an_sdk_that_cannot_ask_for_those_asks_for_the_others(
    odd: Server, main: Main, odd_script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudShell's may be older than that."""
    client = odd_script.connect("us-west-2")
    members = client.meta.service_model.operation_model("DescribeNetworkInterfaces").input_shape.members
    monkeypatch.delitem(members, "IncludeManagedResources")
    monkeypatch.setattr(odd_script, "connect", lambda _: client)
    odd.replies["DescribeSubnets"] = shared("")
    assert main(["IPV4", "10.0.0.0/28"]) == 0
    assert not any("IncludeManagedResources" in said for said in odd.asked)


@pytest.mark.parametrize(
    "last", [["--region", "us-west-2\r"], ["--subnet-id", "subnet-1\r"], ["--vpc-id", "vpc-1\r"], ["--limit", "11\r"]]
)
def test_the_line_end_of_windows_is_no_part_of_the_last_argument(
    odd: Server, main: Main, capsys: pytest.CaptureFixture[str], last: list[str]
) -> None:
    """Whichever that is."""
    odd.replies["DescribeSubnets"] = shared("")
    assert main(["IPV4", "10.0.0.0/28", *last]) == 0
    assert len(capsys.readouterr().out.split()) == LISTED
