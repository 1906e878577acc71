"""find-available-ips.py where a subnet has several blocks, or one that is none yet."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.available_ips import script
from tests.edges.ec2_server import Server, answer, becoming

IPV6 = "<item><ipv6CidrBlock>2001:db8:0:1::/64</ipv6CidrBlock>{}</item>"
ASSOCIATED = IPV6.format("<ipv6CidrBlockState><state>associated</state></ipv6CidrBlockState>")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """EC2 that shows no interface and no reservation."""
    server = Server()
    threading.Thread(target=server.run, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-west-2"}
    becoming(monkeypatch)(AWS_ENDPOINT_URL_EC2=server.url, HOME="/nonexistent", AWS_MAX_ATTEMPTS="1", **keys)
    server.replies["DescribeNetworkInterfaces"] = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    none = "<subnetIpv4CidrReservationSet/><subnetIpv6CidrReservationSet/>"
    server.replies["GetSubnetCidrReservations"] = answer("GetSubnetCidrReservations", none)
    yield server
    server.listener.close()


@pytest.fixture
def main() -> Callable[[list[str]], int]:
    """The script's."""
    found: Callable[[list[str]], int] = script().main
    return found


def subnets(*shown: str) -> bytes:
    """What EC2 shows of them, beside their ids."""
    fields = "<subnetId>subnet-{}</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-west-2a</availabilityZone>{}"
    items = (f"<item>{fields.format(number, each)}</item>" for number, each in enumerate(shown))
    return answer("DescribeSubnets", f"<subnetSet>{''.join(items)}</subnetSet>")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(f"<cidrBlock/><ipv6CidrBlockAssociationSet>{ASSOCIATED}</ipv6CidrBlockAssociationSet>", id="IPv6"),
        pytest.param(
            f"<ipv6CidrBlockAssociationSet>{IPV6.format('')}</ipv6CidrBlockAssociationSet>", id="in no known state"
        ),
        pytest.param(
            "<ipv6CidrBlockAssociationSet><item><ipv6CidrBlockState><state>associating</state></ipv6CidrBlockState>"
            "</item></ipv6CidrBlockAssociationSet>",
            id="one that is not chosen yet",
        ),
    ],
)
def test_another_subnet_s_blocks_spoil_no_answer(
    server: Server, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], other: str
) -> None:
    """All subnets of the Region are shown."""
    server.replies["DescribeSubnets"] = subnets(other, "<cidrBlock>10.0.0.0/28</cidrBlock>")
    assert main(["IPV4", "10.0.0.0/28", "--limit", "1"]) == 0
    assert capsys.readouterr() == ("10.0.0.4\n", "")


@pytest.mark.parametrize(("left", "said"), [(11, ""), (4, "subnet-0 has 4 left of IPv4, as EC2 counts them, 7 fewer")])
def test_ipv6_addresses_that_may_be_taken_unseen_are_told(
    server: Server, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], left: int, said: str
) -> None:
    """EC2 counts those of IPv4 only, of which each interface has one: in a shared subnet others' IPv6 looked free."""
    ipv4 = f"<cidrBlock>10.0.0.0/28</cidrBlock><availableIpAddressCount>{left}</availableIpAddressCount>"
    blocks = f"{ipv4}<ipv6CidrBlockAssociationSet>{ASSOCIATED}</ipv6CidrBlockAssociationSet>"
    server.replies["DescribeSubnets"] = subnets(blocks)
    assert main(["IPV6", "2001:db8:0:1::/64", "--limit", "1"]) == 0
    told = capsys.readouterr()
    assert told.out == "2001:db8:0:1::4\n"
    assert said in told.err
    assert told.err.count("\n") == bool(said)
