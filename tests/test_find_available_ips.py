"""find-available-ips.py against an EC2 endpoint over HTTP, and against answers that this endpoint cannot give."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.stub import Stubber
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from tests import available_ips
from tests.available_ips import SCRIPT

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from mypy_boto3_ec2 import EC2Client

REGION = "us-west-2"


@contextmanager
def serving(application: WSGIApplication) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Run one EC2 endpoint for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        with serving(DomainDispatcherApplication(create_backend_app)) as url:
            yield url


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's AWS configuration and IMDS; give credentials, a Region, and no second attempts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def client(moto: str) -> EC2Client:
    """Make one client for the module: to load EC2's service model takes its time."""
    return boto3.client(
        "ec2",
        REGION,
        endpoint_url=moto,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def ec2(moto: str, client: EC2Client, monkeypatch: pytest.MonkeyPatch) -> EC2Client:
    """Empty the endpoint, which the script then uses too."""
    requests.post(f"{moto}/moto-api/reset", timeout=10).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", moto)
    return client


@pytest.fixture
def script() -> ModuleType:
    return available_ips.script()


class Outcome:
    """What a user gets of one run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.addresses, self.err = code, out.split(), err


class Run:
    """Runs the script's main in this process."""

    def __init__(self, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        self.main, self.capsys = script.main, capsys

    def __call__(self, *arguments: str) -> Outcome:
        """Run, and check what holds for each run: a failure is one line on stderr and nothing on stdout."""
        code = self.main(list(arguments))
        out, err = self.capsys.readouterr()
        if code:
            assert out == ""
            assert err.count("\n") == 1
            assert err.startswith("find-available-ips.py: ")
        return Outcome(code, out, err)

    def fails(self, *arguments: str, code: int = 2) -> str:
        """What it says when it ends with this code: 2 where only the user can change it, 1 where EC2 failed."""
        outcome = self(*arguments)
        assert outcome.code == code
        return outcome.err


@pytest.fixture
def run(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(script, capsys)


def make_subnet(ec2: EC2Client, cidr: str = "10.0.0.0/28") -> str:
    """Make a VPC 10.0.0.0/16 with one subnet; returns the subnet's id."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]


def addresses(first: int, last: int) -> list[str]:
    """Name 10.0.0.FIRST to 10.0.0.LAST."""
    return [f"10.0.0.{n}" for n in range(first, last + 1)]


ASKED = ("IPV4", "10.0.0.0/28")
"""For the addresses of the subnet that is made unless another one is said."""


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
def test_what_nobody_has_is_free(ec2: EC2Client, run: Run, cidr: str, options: list[str], free: list[str]) -> None:
    """The lowest come first."""
    make_subnet(ec2, "10.0.0.0/24" if cidr == "10.0.0.64/30" else cidr)
    assert run("IPV4", cidr, *options).addresses == free


def test_primary_and_secondary_addresses_of_interfaces_are_left_out(ec2: EC2Client, run: Run) -> None:
    """An interface holds all its addresses, attached or not."""
    subnet = make_subnet(ec2)
    eni = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.5")["NetworkInterface"]
    ec2.assign_private_ip_addresses(
        NetworkInterfaceId=eni["NetworkInterfaceId"], PrivateIpAddresses=["10.0.0.7", "10.0.0.8"]
    )
    assert run(*ASKED).addresses == ["10.0.0.4", "10.0.0.6", *addresses(9, 14)]


def test_interfaces_on_every_page_and_delegated_prefixes_are_left_out(script: ModuleType, client: EC2Client) -> None:
    """moto neither pages nor delegates: the answers are canned, the requests checked."""
    asked = {"Filters": [{"Name": "subnet-id", "Values": ["subnet-1"]}], "MaxResults": 1000}
    first = {"PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.5"}], "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.0.16/28"}]}
    second = {
        "Ipv6Addresses": [{"Ipv6Address": "2001:db8::5"}],
        "Ipv6Prefixes": [{"Ipv6Prefix": "2001:db8:0:0:1::/80"}],
    }
    with Stubber(client) as stub:
        stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [first], "NextToken": "more"}, asked)
        more = {**asked, "NextToken": "more"}
        stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [second]}, more)
        held = set(script.held_by_interfaces(client, "subnet-1"))
    assert held == {ip_network(n) for n in ("10.0.0.5", "10.0.0.16/28", "2001:db8::5", "2001:db8:0:0:1::/80")}


def test_reservations_on_every_page_are_left_out(script: ModuleType, client: EC2Client) -> None:
    """The call has no paginator in botocore, and an empty NextToken may not be sent."""
    subnet = script.Subnet("subnet-1", "vpc-1", "us-west-2a", ip_network("10.0.0.0/24"))

    def page(cidr: str) -> dict[str, Any]:
        return {"SubnetIpv4CidrReservations": [{"Cidr": cidr, "ReservationType": "explicit"}]}

    with Stubber(client) as stub:
        call, asked, more = "get_subnet_cidr_reservations", {"SubnetId": "subnet-1"}, {"NextToken": "more"}
        stub.add_response(call, page("10.0.0.16/28") | more, asked)
        stub.add_response(call, page("10.0.0.32/28"), asked | more)
        found = list(script.reserved(client, subnet, subnet.block))
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
    ec2: EC2Client, run: Run, reserved: str, kind: Any, asked: str, free: list[str]
) -> None:
    """A range that is reserved for floating addresses is where their owner looks for one that no interface has."""
    subnet = make_subnet(ec2, "10.0.0.0/27")
    ec2.create_subnet_cidr_reservation(SubnetId=subnet, Cidr=f"10.0.0.{reserved}", ReservationType=kind)
    ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.17")
    assert run("IPV4", f"10.0.0.{asked}").addresses == free


def test_nothing_free_is_said_and_is_no_failure(ec2: EC2Client, run: Run) -> None:
    """Nothing on stdout, one line on stderr, exit code 0."""
    make_subnet(ec2)
    outcome = run("IPV4", "10.0.0.0/30")
    assert (outcome.code, outcome.addresses) == (0, [])
    assert "nothing is free" in outcome.err


def test_an_ipv6_subnet_answers_with_the_first_few(ec2: EC2Client, run: Run) -> None:
    """A /64 is never enumerated; an interface's IPv6 address is left out."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"]
    given = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]
    block = next(IPv6Network(given).subnets(new_prefix=64))
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/28", Ipv6CidrBlock=str(block))["Subnet"]["SubnetId"]
    ec2.create_network_interface(SubnetId=subnet, Ipv6Addresses=[{"Ipv6Address": str(block[6])}])
    found = run("IPV6", str(block)).addresses
    assert found == [str(block[n]) for n in (4, 5, *range(7, 15))]
    assert run("ipv6", str(block), "--limit", "1").addresses == found[:1]


# Which subnet is meant.


def test_an_ambiguous_cidr_lists_the_candidates_until_one_is_named(ec2: EC2Client, run: Run) -> None:
    """Two VPCs have the same CIDR, and an interface in one of them takes nothing of the other."""
    one, other = make_subnet(ec2), make_subnet(ec2)
    ec2.create_network_interface(SubnetId=one, PrivateIpAddress="10.0.0.4")
    vpc = ec2.describe_subnets(SubnetIds=[other])["Subnets"][0]["VpcId"]

    said = run.fails(*ASKED)
    assert all(name in said for name in ("--vpc-id", one, other, vpc))
    assert run(*ASKED, "--subnet-id", one).addresses == addresses(5, 14)
    assert run(*ASKED, "--vpc-id", vpc).addresses == addresses(4, 14)


def test_region_says_where_to_look(ec2: EC2Client, run: Run) -> None:
    """It wins over the configured one."""
    make_subnet(ec2)
    assert run(*ASKED, "--region", REGION).code == 0
    assert "no subnet in eu-west-1" in run.fails(*ASKED, "--region", "eu-west-1")


def test_the_region_of_the_environment_is_that_of_the_aws_cli(
    ec2: EC2Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export AWS_REGION=...` is all that the guide has; boto3 by itself does not look at it."""
    make_subnet(ec2)
    for default in ("eu-west-1", None):
        monkeypatch.setenv("AWS_REGION", REGION)
        monkeypatch.setenv("AWS_DEFAULT_REGION", default) if default else monkeypatch.delenv("AWS_DEFAULT_REGION")
        assert run(*ASKED).code == 0
    assert "no subnet in eu-west-1" in run(*ASKED, "--region", "eu-west-1").err


@pytest.mark.parametrize("empty", [{}, {"AWS_REGION": ""}, {"AWS_DEFAULT_REGION": ""}, {"AWS_DEFAULT_PROFILE": " "}])
def test_the_region_may_be_a_profiles(
    ec2: EC2Client, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: dict[str, str]
) -> None:
    """A variable that is there without a value hides none; to boto3 it would."""
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n", encoding="utf-8")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for name, value in {"AWS_CONFIG_FILE": str(tmp_path / "config"), **empty}.items():
        monkeypatch.setenv(name, value)
    assert "no subnet in eu-west-1" in run(*ASKED).err


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
    ec2: EC2Client, run: Run, arguments: list[str], said: str
) -> None:
    """Of the subnets inside of it each by its id."""
    subnet = make_subnet(ec2)
    assert (subnet if said == "subnet-" else said) in run.fails(*arguments)


def test_a_message_names_a_few_of_many_subnets(ec2: EC2Client, run: Run) -> None:
    """A VPC may have hundreds."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    for number in range(12):
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")
    said = run("IPV4", "10.0.0.0/16").err
    assert said.count("subnet-") == 10
    assert said.endswith(" and 2 more\n")


def test_line_ends_of_windows_are_no_part_of_an_argument(
    ec2: EC2Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what a file or a mail has around it."""
    make_subnet(ec2)
    monkeypatch.setenv("AWS_DEFAULT_REGION", f"{REGION}\r\n")
    assert run("IPV4\r", " 10.0.0.0/28\r\n").addresses == addresses(4, 14)


# What goes wrong.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required"),
        (["IPV5", "10.0.0.0/28"], "IPV5"),
        (["IPV4"], "CIDR"),
        (["IPV4", "10.0.0.0/33"], "not a CIDR"),
        (["IPV4", "10.0.0.0"], "not a CIDR"),
        (["IPV4", "nonsense/24"], "not a CIDR"),
        (["IPV4", "10.0.0.5/28"], "the CIDR is 10.0.0.0/28"),
        (["IPV6", "2001:db8::5/64"], "the CIDR is 2001:db8::/64"),
        (["IPV6", "10.0.0.0/28"], "IPv4 CIDR"),
        (["IPV4", "2001:db8::/64"], "IPv6 CIDR"),
        ([*ASKED, "--limit", "0"], "--limit"),
        ([*ASKED, "--limit", "few"], "--limit"),
        ([*ASKED, "--vpc", "vpc-1", "more"], "more"),
        ([*ASKED, "--region", "no region"], "no region"),
        ([*ASKED, "--region", "us-west-2a"], "'us-west-2a' is no Region"),
        ([*ASKED, "--vpc-id", "vpc-*"], "'vpc-*' is no id"),
        ([*ASKED, "--subnet-id", "subnet-?"], "'subnet-?' is no id"),
    ],
)
def test_a_bad_argument_is_one_clear_line(run: Run, arguments: list[str], said: str) -> None:
    """Exit code 2, and the line names what is wrong."""
    assert said in run.fails(*arguments)


def test_a_missing_region_is_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither given nor configured."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "give --region" in run.fails(*ASKED)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}, "/nonexist"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://elsewhere/"}, "elsewhere"),
        ({"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret\n"}, "a line's end within the credentials"),
    ],
)
def test_credentials_that_cannot_be_got_are_no_fault_of_ec2s(
    run: Run, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], said: str
) -> None:
    """Nor of a proxy's; and no secret is told."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    told = run.fails(*ASKED)
    assert told.startswith("find-available-ips.py: AWS configuration: ")
    assert said in told
    assert "secret" not in told


def test_missing_credentials_are_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "`aws sts get-caller-identity`" in run.fails(*ASKED)


@pytest.mark.parametrize(
    ("status", "code", "exit_code", "said"),
    [
        (403, "UnauthorizedOperation", 2, "ec2:DescribeSubnets"),
        (401, "AuthFailure", 2, "AuthFailure"),
        (503, "RequestLimitExceeded", 1, "RequestLimitExceeded"),
        (500, "InternalError", 1, "InternalError"),
    ],
)
def test_an_error_of_ec2_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, status: int, code: str, exit_code: int, said: str
) -> None:
    """Exit code 2 where only the user can change it, 1 where EC2 failed; a missing permission is named."""
    error = f"<Error><Code>{code}</Code><Message>Said\nin two lines.</Message></Error>"
    body = f"<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"
    with serving(Response(body, status, content_type="text/xml")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        assert said in run.fails(*ASKED, code=exit_code)


ENDLESS = "<DescribeSubnetsResponse><subnetSet/><nextToken>again</nextToken></DescribeSubnetsResponse>"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        pytest.param("<html>It works!", "text/html", "", id="a proxy's or a captive portal's page"),
        pytest.param("", "text/html", "", id="an empty page"),
        pytest.param(ENDLESS, "text/xml", "pagination", id="an answer without an end"),
    ],
)
def test_an_endpoint_that_is_not_ec2_is_one_clear_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, body: str, kind: str, said: str
) -> None:
    """EC2's fault, and none of the configuration."""
    with serving(Response(body, content_type=kind)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        assert said in run.fails(*ASKED, code=1)


def test_an_unreachable_endpoint_is_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens there any more."""
    with serving(Response("")) as url:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
    assert f'{url}/" (Connection refused)' in run.fails(*ASKED, code=1)


def test_certificates_that_are_not_there_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK says that a file is missing, and not which."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nonexistent/bundle")
    with serving(Response("")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url.replace("http:", "https:"))
        assert "; is AWS_CA_BUNDLE=/nonexistent/bundle right?" in run.fails(*ASKED, code=1)


def test_an_endpoint_that_is_no_url_is_one_clear_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration mistake, found before anything is sent."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "not a url")
    run.fails(*ASKED)


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
