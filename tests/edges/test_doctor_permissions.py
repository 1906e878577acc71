"""What the doctor says of permissions where EC2 refuses something else."""

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from floatingip.commands.doctor.examine import examine
from floatingip.commands.doctor.facts import Facts
from floatingip.commands.doctor.finding import PERMISSIONS, Verdict
from floatingip.commands.doctor.finding import SLOTS as SLOTS_CHECK
from floatingip.core.model import Allocation, Target
from floatingip.core.node import Identity
from floatingip.core.settings import Settings
from tests.edges.ec2_server import ADDRESS, Become, Server, answer, error, instances, interface, interfaces, subnets

pytest_plugins = ["tests.edges.ec2_fixtures"]

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "HOME": "/nonexistent"}
ME = Identity("i-0a", "us-west-2", "us-west-2a", "vpc-1", "subnet-1", "02:", IPv4Address("10.0.0.10"), ("sg-1",))
WORKER = (
    "<instanceId>i-0a</instanceId><instanceState><name>running</name></instanceState><instanceType>m9</instanceType>"
)
SUBNET = (
    "<subnetId>subnet-1</subnetId><availabilityZone>us-west-2a</availabilityZone><cidrBlock>10.0.0.0/24</cidrBlock>"
)


class OnWorker(Facts):
    """Where IMDS tells which worker this is."""

    identified = (ME, 0.0)


SLOTS = "<item><networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces></networkInfo></item>"
ANSWERS = {
    "DescribeNetworkInterfaces": interfaces(interface()),
    "DescribeInstances": instances(WORKER),
    "DescribeSubnets": subnets(SUBNET),
    "DescribeInstanceTypes": answer("DescribeInstanceTypes", f"<instanceTypeSet>{SLOTS}</instanceTypeSet>"),
    "GetSubnetCidrReservations": answer("GetSubnetCidrReservations", "<subnetIpv4CidrReservationSet/>"),
    "DescribeAddresses": answer("DescribeAddresses", "<addressesSet/>"),
    "CreateTags": error(403, "UnauthorizedOperation"),
    "": error(412, "DryRunOperation"),
}

Told = Callable[..., list[str]]


@pytest.fixture
def told(server: Server, environment: Become) -> Told:
    """The actions that the doctor calls denied, where EC2 refuses these by these codes, and CreateTags."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, **KEYS)

    def tell(*others: Target, **refused: str) -> list[str]:
        # Before what is answered to all else, which is last.
        server.replies |= {action: error(400, code) for action, code in refused.items()}
        server.replies |= {action: reply for action, reply in ANSWERS.items() if action not in refused}
        found = examine(OnWorker(Settings((ADDRESS, *others), name="lab"), {}, None), [PERMISSIONS], within=10)
        assert {each.verdict for each in found} == {Verdict.FAIL}, found
        return [each.what.removeprefix("IAM denies ") for each in found]

    return tell


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("DescribeInstanceTypes", "InvalidInstanceType"),
        ("GetSubnetCidrReservations", "OperationNotPermitted"),
        ("GetSubnetCidrReservations", "InvalidSubnetID.NotFound"),
    ],
)
def test_what_is_refused_for_another_cause_hides_no_denial(told: Told, action: str, code: str) -> None:
    """A type that the Region does not know, or a subnet that another account shares."""
    assert told(**{action: code}) == ["ec2:CreateTags"]


def test_one_denial_hides_no_other(told: Told) -> None:
    """All of them are told at once."""
    lookups = ["ec2:DescribeInstanceTypes", "ec2:GetSubnetCidrReservations"]
    denied = dict.fromkeys((each.removeprefix("ec2:") for each in lookups), "UnauthorizedOperation")
    assert told(**denied) == ["ec2:CreateTags", *lookups]


def test_a_permission_that_another_address_needs_is_tried_for_each_of_them(told: Told, server: Server) -> None:
    """That the first one needs none of it says nothing of an Elastic IP, nor does one of these of the next."""
    elastic = Allocation("eipalloc-1"), Allocation("eipalloc-2")
    assert "ec2:AssociateAddress" in told(*elastic, AssociateAddress="UnauthorizedOperation")
    tried = [asked for asked in server.asked if "Action=AssociateAddress&" in asked]
    assert [any(f"AllocationId={each.id}" in asked for asked in tried) for each in elastic] == [True, True]


def test_an_instance_that_ec2_did_not_describe_is_not_taken_for_another_regions(
    server: Server, environment: Become
) -> None:
    """It answered all other questions."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, **KEYS)
    server.replies |= {"DescribeInstances": error(503, "Unavailable")}
    server.replies |= {action: reply for action, reply in ANSWERS.items() if action != "DescribeInstances"}
    [found] = examine(OnWorker(Settings((ADDRESS,), name="lab"), {}, None), [SLOTS_CHECK], within=10)
    assert found.verdict is Verdict.WARN
    assert found.what.startswith("not known: this instance, of which EC2 did not tell (DescribeInstances: Unavailable")
    assert found.remedy == "see ec2"
