"""find-available-ips.py between its user and EC2: odd arguments, and answers that are odd or have no end."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.ec2_server import Server, answer, becoming, http
from tests.hostile.strategies import several, texts

SCRIPT = Path(__file__).parents[2] / "find-available-ips.py"
SUBNET = (
    "<subnetSet><item><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId><availabilityZone>us-west-2a</availabilityZone>"
    "<cidrBlock>10.0.0.0/28</cidrBlock></item></subnetSet>"
)
NONE = "<subnetIpv4CidrReservationSet/><subnetIpv6CidrReservationSet/>"
Main = Callable[[list[str]], int]


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.run, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-west-2"}
        becoming(patch)(AWS_ENDPOINT_URL_EC2=server.url, HOME="/nonexistent", AWS_MAX_ATTEMPTS="1", **keys)
        yield server
    server.listener.close()


@pytest.fixture(name="main", scope="module")
def _main() -> Main:
    """The script's, whose name is none that `import` takes."""
    spec = importlib.util.spec_from_file_location("find_available_ips_hostile", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    found: Main = module.main
    return found


words = st.one_of(
    texts.map(lambda text: text.lstrip("-")),
    st.sampled_from(
        ["IPV4", "ipv6", "10.0.0.0/99", "::/0", "--limit=0", "--limit=-1", "--vpc-id=vpc-*", "--region", "--x\ny"]
    ),
)


@several(2)
@given(st.lists(words, max_size=4).filter(lambda argv: not (len(argv) > 1 and argv[0].upper().startswith("IPV"))))
def test_odd_arguments_are_refused_in_a_line(
    server: Server, main: Main, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    """Before anybody is asked."""
    server.asked.clear()
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not server.asked


@pytest.mark.parametrize(
    ("reservations", "cause"),
    [
        (answer("GetSubnetCidrReservations", f"{NONE}<nextToken>again</nextToken>"), "has no end"),
        (answer("GetSubnetCidrReservations", ""), "cannot be read"),
        (http(200, "<html>Welcome to the hotel</html>"), "cannot be read"),
    ],
    ids=["no end", "nothing", "a page"],
)
def test_reservations_that_are_not_told_are_not_none(
    server: Server, main: Main, capsys: pytest.CaptureFixture[str], reservations: bytes, cause: str
) -> None:
    """An address would be called free that is reserved; nor is anybody asked for ever."""
    server.replies.clear()
    server.replies["DescribeSubnets"] = answer("DescribeSubnets", SUBNET)
    server.replies["DescribeNetworkInterfaces"] = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
    server.replies["GetSubnetCidrReservations"] = reservations
    assert main(["IPV4", "10.0.0.0/28"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert cause in said.err
