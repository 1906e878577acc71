"""find-available-ips.py against an EC2 endpoint over HTTP, and against answers that this endpoint cannot give."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from tests.available_ips import SCRIPT
from tests.available_ips_runs import ASKED, REGION, Run, addresses, make_subnet

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


pytest_plugins = ["tests.available_ips_fixtures"]


# What is free.


@pytest.mark.parametrize(
    ("cidr", "options", "free"),
    [
        pytest.param("10.0.0.0/28", [], addresses(4, 14), id="an empty subnet but for the five that AWS keeps"),
        pytest.param("10.0.0.64/30", [], addresses(64, 67), id="a range: AWS keeps the subnet's five, not its"),
        pytest.param("10.0.0.0/28", ["--limit", "2"], addresses(4, 5), id="the lowest two"),
        pytest.param("10.0.0.0/28", ["--limit", f"{10**20}"], addresses(4, 14), id="more than there are"),
    ],
)
def test_what_nobody_has_is_free(ec2: EC2Client, ask: Run, cidr: str, options: list[str], free: list[str]) -> None:
    """The lowest come first."""
    make_subnet(ec2, "10.0.0.0/24" if cidr == "10.0.0.64/30" else cidr)
    assert ask("IPV4", cidr, *options).addresses == free


def test_primary_and_secondary_addresses_of_interfaces_are_left_out(ec2: EC2Client, ask: Run) -> None:
    """An interface holds all its addresses, attached or not."""
    subnet = make_subnet(ec2)
    eni = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.5")["NetworkInterface"]
    ec2.assign_private_ip_addresses(
        NetworkInterfaceId=eni["NetworkInterfaceId"], PrivateIpAddresses=["10.0.0.7", "10.0.0.8"]
    )
    assert ask(*ASKED).addresses == ["10.0.0.4", "10.0.0.6", *addresses(9, 14)]


def test_interfaces_on_every_page_and_prefixes_are_left_out(script: ModuleType, moto_client: EC2Client) -> None:
    """moto neither pages nor delegates: the answers are canned, the requests checked."""
    asked = {"Filters": [{"Name": "subnet-id", "Values": ["subnet-1"]}], "MaxResults": 1000} | {
        "IncludeManagedResources": True
    }
    first = {"PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.5"}], "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.0.16/28"}]}
    second = {
        "Ipv6Addresses": [{"Ipv6Address": "2001:db8::5"}],
        "Ipv6Prefixes": [{"Ipv6Prefix": "2001:db8:0:0:1::/80"}],
    }
    with Stubber(moto_client) as stub:
        stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [first], "NextToken": "more"}, asked)
        more = {**asked, "NextToken": "more"}
        stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [second]}, more)
        held = set(script.held_by_interfaces(moto_client, "subnet-1"))
    assert held == {ip_network(n) for n in ("10.0.0.5", "10.0.0.16/28", "2001:db8::5", "2001:db8:0:0:1::/80")}


def test_reservations_on_every_page_are_left_out(script: ModuleType, moto_client: EC2Client) -> None:
    """The call has no paginator in botocore, and an empty NextToken may not be sent."""
    subnet = script.Subnet("subnet-1", "vpc-1", "us-west-2a", ip_network("10.0.0.0/24"))

    def page(cidr: str) -> dict[str, Any]:
        return {"SubnetIpv4CidrReservations": [{"Cidr": cidr, "ReservationType": "explicit"}]}

    with Stubber(moto_client) as stub:
        call, asked, more = "get_subnet_cidr_reservations", {"SubnetId": "subnet-1"}, {"NextToken": "more"}
        stub.add_response(call, page("10.0.0.16/28") | more, asked)
        stub.add_response(call, page("10.0.0.32/28"), asked | more)
        found = [cidr for cidr, _ in script.reservations(moto_client, subnet)]
    assert found == [ip_network("10.0.0.16/28"), ip_network("10.0.0.32/28")]


def test_a_delegated_prefix_takes_all_its_addresses(script: ModuleType) -> None:
    """Also where prefixes and addresses overlap, touch and reach over the range's ends."""
    taken = [ip_network(n) for n in ("10.0.0.16/28", "10.0.0.20/32", "10.0.0.32/32", "10.0.0.0/30", "10.0.1.0/24")]
    free = [str(address) for address in script.free(ip_network("10.0.0.0/26"), taken)]
    assert free == addresses(4, 15) + addresses(33, 63)


@pytest.mark.parametrize(
    ("reserved", "kind", "asked", "free"),
    [
        pytest.param("16/28", "explicit", "0/27", addresses(4, 15), id="what is reserved is not free"),
        pytest.param("16/28", "prefix", "0/27", addresses(4, 15), id="nor what AWS assigns prefixes from"),
        pytest.param("16/28", "prefix", "16/28", [], id="nor is that for whoever asks for it"),
        pytest.param("16/28", "explicit", "16/28", ["10.0.0.16", *addresses(18, 30)], id="but a reserved range is"),
        pytest.param("0/27", "explicit", "0/27", [], id="unless it is a whole subnet"),
    ],
)
def test_reserved_ranges_are_left_out(
    ec2: EC2Client, ask: Run, reserved: str, kind: Any, asked: str, free: list[str]
) -> None:
    """A range that is reserved for floating addresses is where their owner looks for one that no interface has."""
    subnet = make_subnet(ec2, "10.0.0.0/27")
    ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr=f"10.0.0.{reserved}", ReservationType=kind)
    ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.17")
    assert ask("IPV4", f"10.0.0.{asked}").addresses == free


def test_nothing_free_is_said_and_is_no_failure(ec2: EC2Client, ask: Run) -> None:
    """Nothing on stdout, one line on stderr, exit code 0."""
    make_subnet(ec2)
    outcome = ask("IPV4", "10.0.0.0/30")
    assert (outcome.code, outcome.addresses) == (0, [])
    assert "nothing is free" in outcome.err


def test_an_ipv6_subnet_answers_with_the_first_few(ec2: EC2Client, ask: Run) -> None:
    """A /64 is never enumerated; an interface's IPv6 address is left out."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    given = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    block = next(IPv6Network(given).subnets(new_prefix=64))
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/28", Ipv6CidrBlock=str(block))["Subnet"]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet, Ipv6Addresses=[{"Ipv6Address": str(block[6])}])
    found = ask("IPV6", str(block)).addresses
    assert found == [str(block[n]) for n in (4, 5, *range(7, 15))]
    assert ask("ipv6", str(block), "--limit", "1").addresses == found[:1]


# Which subnet is meant.


def test_an_ambiguous_cidr_lists_the_candidates_until_one_is_named(ec2: EC2Client, ask: Run) -> None:
    """Two VPCs have the same CIDR, and an interface in one of them takes nothing of the other."""
    one, other = make_subnet(ec2), make_subnet(ec2)
    ec2.create_network_interface(SubnetId=one, PrivateIpAddress="10.0.0.4")
    vpc = ec2.describe_subnets(SubnetIds=[other])["Subnets"][0]["VpcId"]

    said = ask.fails(*ASKED)
    assert all(name in said for name in ("--vpc-id", one, other, vpc))
    assert ask(*ASKED, "--subnet-id", one).addresses == addresses(5, 14)
    assert ask(*ASKED, "--vpc-id", vpc).addresses == addresses(4, 14)


def test_region_says_where_to_look(ec2: EC2Client, ask: Run) -> None:
    """It wins over the configured one."""
    make_subnet(ec2)
    assert ask(*ASKED, "--region", REGION).code == 0
    assert "no subnet in eu-west-1" in ask.fails(*ASKED, "--region", "eu-west-1")


def test_the_region_of_the_environment_is_that_of_the_aws_cli(
    ec2: EC2Client, ask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export AWS_REGION=...` is all that the guide has; boto3 by itself does not look at it."""
    make_subnet(ec2)
    for default in ("eu-west-1", None):
        monkeypatch.setenv("AWS_REGION", REGION)
        monkeypatch.setenv("AWS_DEFAULT_REGION", default) if default else monkeypatch.delenv("AWS_DEFAULT_REGION")
        assert ask(*ASKED).code == 0
    assert "no subnet in eu-west-1" in ask(*ASKED, "--region", "eu-west-1").err


@pytest.mark.parametrize("empty", [{}, {"AWS_REGION": ""}, {"AWS_DEFAULT_REGION": ""}, {"AWS_DEFAULT_PROFILE": " "}])
def test_the_region_may_be_a_profiles(
    ec2: EC2Client, ask: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: dict[str, str]
) -> None:
    """A variable that is there without a value hides none; to boto3 it would."""
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n", encoding="utf-8")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in {"AWS_CONFIG_FILE": str(tmp_path / "config"), **empty}.items():
        monkeypatch.setenv(name, value)
    assert "no subnet in eu-west-1" in ask(*ASKED).err


def test_old_pythons_are_told_which_is_needed() -> None:
    """RHEL 8's is 3.6, CloudShell's 3.9: a syntax error, or a name not there yet, would be all that one sees."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 7))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert "__future__" not in {node.module for node in imports}  # 3.6 knows no annotations there
    asks = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(asks.test) == "sys.version_info < (3, 8)"
    assert asks.lineno < min(node.lineno for node in imports)  # 3.6 has no dataclasses
    assert not [call for call in ast.walk(tree) if isinstance(call, ast.keyword) and call.arg == "slots"]
    # In an annotation, unions and subscripted types stand in quotes, as does what is imported for types only.
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for hint in (node.returns, *(argument.annotation for argument in node.args.args)):
                parts = list(ast.walk(hint)) if hint is not None else []
                assert not any(isinstance(part, ast.BinOp | ast.Subscript) for part in parts), ast.unparse(node.args)


@pytest.mark.parametrize(("version", "code"), [((3, 6, 15), 2), ((3, 7, 17), 2), ((3, 8, 0), 0)])
def test_the_needed_python_is_one_line(version: tuple[int, ...], code: int) -> None:
    """Before anything is imported that an old one lacks."""
    old = f"import runpy, sys; sys.version_info = {version}; runpy.run_path({str(SCRIPT)!r})"
    done = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stderr == (
        f"find-available-ips.py: needs Python 3.8 or newer, and this is 3.{version[1]}\n" * (code == 2)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*ASKED, "--vpc-id", "vpc-1"], "no subnet in us-west-2 contains 10.0.0.0/28 with vpc-id vpc-1"),
        (["IPV4", "10.0.0.0/16"], "subnet-"),
        (["IPV4", "10.9.0.0/24"], "; is it another Region's (--region), or account's (AWS_PROFILE)?\n"),
    ],
    ids=["an id that does not go with it", "the VPC's, whose subnets are named", "one of nowhere"],
)
def test_a_cidr_that_no_subnet_has_is_told_with_what_may_be_meant(
    ec2: EC2Client, ask: Run, arguments: list[str], said: str
) -> None:
    """Of the subnets inside of it each by its id."""
    subnet = make_subnet(ec2)
    assert (subnet if said == "subnet-" else said) in ask.fails(*arguments)


def test_a_message_names_a_few_of_many_subnets(ec2: EC2Client, ask: Run) -> None:
    """A VPC may have hundreds."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for number in range(12):
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")
    said = ask("IPV4", "10.0.0.0/16").err
    assert said.count("subnet-") == 10
    assert said.endswith(" and 2 more\n")


def test_line_ends_of_windows_are_no_part_of_an_argument(
    ec2: EC2Client, ask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what a file or a mail has around it."""
    make_subnet(ec2)
    monkeypatch.setenv("AWS_DEFAULT_REGION", f"{REGION}\r\n")
    assert ask("IPV4\r", " 10.0.0.0/28\r\n").addresses == addresses(4, 14)


# As a command.


def test_a_reader_that_has_enough_is_no_failure(ec2: EC2Client) -> None:
    """`| head -1` of a list longer than a pipe holds: quiet, and exit code 0."""
    make_subnet(ec2, "10.0.0.0/18")
    command = subprocess.Popen(
        [sys.executable, SCRIPT, "IPV4", "10.0.0.0/18"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == "10.0.0.4\n"
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 0


def test_a_list_that_cannot_be_written_is_one_clear_line(ec2: EC2Client) -> None:
    """A full disk: exit code 1, and not half a list with exit code 0."""
    make_subnet(ec2)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, SCRIPT, "IPV4", "10.0.0.0/28"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_the_script_runs_by_itself_and_exits_with_its_code(tmp_path: Path) -> None:
    """Executable, needs nothing of the repository, and no traceback."""
    copy = tmp_path / SCRIPT.name
    copy.write_bytes(SCRIPT.read_bytes())
    done = subprocess.run(
        [sys.executable, copy, "IPV4", "nonsense"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert os.access(SCRIPT, os.X_OK)
