#!/usr/bin/env python3
"""
List the free private addresses of a subnet, one a line: find-available-ips.py IPV4|IPV6 CIDR.

CIDR is that of a subnet, or of a range inside of one.  An address is free when EC2 would give it to a new interface
that asks for it, and to nobody who does not.  Left out are therefore:

- the first four and the last address of the subnet, IPv6 too, which AWS keeps ("Subnet CIDR blocks", VPC User Guide);
- each address of each network interface in the subnet, and each prefix delegated to one (IPv4 /28, IPv6 /80);
- each CIDR reservation of the subnet ("Subnet CIDR reservations", VPC User Guide).  From a `prefix` reservation AWS
  itself assigns, so what is free there does not stay so; an `explicit` one somebody has set aside for manual
  assignment.  Whoever asks for a range inside of an explicit reservation, and not for the whole subnet, means that
  reservation and gets its free addresses.

In a subnet shared between accounts, EC2 shows a participant no interfaces but its own: ask with the owner's account.
Where EC2's own count of what a subnet has left says so, a line on stderr tells it.  Those that an AWS service manages
are asked for, too, as an account may have them hidden ("Managed resource visibility", EC2 API Reference).

Runs on Python 3.8 and newer, unlike the product: CloudShell and Amazon Linux have old ones.  On 3.6 and 3.7 it says so,
for which it must be readable to them: annotations with newer names stand in quotes.

Exit codes: 0, also when nothing is free (said on stderr); 1 EC2 could not be asked or failed, or the list could not be
written; 2 the arguments, or the AWS configuration, credentials or permissions behind them, do not do; 130 ended by
Ctrl-C.  Each failure is one line on stderr.
"""

import sys

if sys.version_info < (3, 8):  # noqa: UP036 - the product's Pythons are newer, but not all that this is run with
    print(
        "find-available-ips.py: needs Python 3.8 or newer, and this is {}.{}".format(*sys.version_info), file=sys.stderr
    )
    sys.exit(2)

import argparse
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

# Loading boto3 takes most of the time.  A Ctrl-C ends it at once: an exception could come where Python only prints
# it, as in the callback by which an import lets go of its lock, and the script would go on.
interrupt = signal.getsignal(signal.SIGINT)
if interrupt is not signal.SIG_IGN:  # as a shell has it for what a script runs in the background
    signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
        PaginationError,
        SSLError,
    )
    from botocore.parsers import ResponseParserError
except ModuleNotFoundError as missing:
    print(f"find-available-ips.py: {missing}: pip install boto3", file=sys.stderr)
    sys.exit(2)
signal.signal(signal.SIGINT, interrupt)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, GetSubnetCidrReservationsRequestTypeDef

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

VERSIONS = {"IPV4": 4, "IPV6": 6}
MOST_NAMED = 10  # subnets in a message
MOST_PAGES = 200  # of one answer: a /16 subnet has room for 66 of a thousand interfaces
TIMEOUT = 120  # seconds for all answers together; hardly anybody's EC2 takes ten
MOST_MEMORY = 2**30  # bytes, of which it needs a fifth: what answers in EC2's place may do so without end
REGION = "[a-z]+(-[a-z]+)+-[0-9]+"
IPV6_LIMIT = 10  # an IPv6 subnet has 2^64 addresses: nobody wants them all

# Variables that name the certificates to trust, by the SDK's order.
BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")

# Answers of EC2 that asking again does not change: "Client error codes for any action", EC2 API Reference.
REFUSALS = {
    "AuthFailure",
    "Blocked",
    "ExpiredToken",
    "InvalidClientTokenId",
    "OptInRequired",
    "PendingVerification",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
}

# States of an IPv6 block that the subnet does not have (any more).
GONE = {"disassociating", "disassociated", "failing", "failed"}


class Failure(Exception):
    """No answer; the message is one line for the user."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Subnet:
    """A subnet and that of its CIDR blocks which contains the range asked for.

    ``unused`` is how many addresses of its block ``ipv4`` are left, as EC2 itself counts them.  An IPv6-only subnet has
    no such block.
    """

    subnet_id: str
    vpc_id: str
    zone: str
    block: "Network"
    ipv4: "Network | None" = None
    unused: "int | None" = None

    def __str__(self) -> str:
        return f"{self.subnet_id} ({self.block}, {self.vpc_id}, {self.zone})"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of printing the usage first."""

    def error(self, message: str) -> NoReturn:
        """Raise Failure with exit code 2."""
        raise Failure(f"{' '.join(message.split())} (see --help)", 2)


def count(text: str) -> int:
    """Parse the value of --limit or --timeout: at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return min(number, sys.maxsize)


def identifier(prefix: str) -> "Callable[[str], str]":
    """Parse an id: EC2 would take `vpc-*` for a pattern."""

    def parse(text: str) -> str:
        text = text.strip()
        if not re.fullmatch(prefix + "-[0-9a-f]+", text):
            raise argparse.ArgumentTypeError(f"{text!r} is no id such as {prefix}-0123456789abcdef0")
        return text

    return parse


def parse_arguments(argv: "list[str] | None") -> argparse.Namespace:
    """Parse the command line; raises Failure."""
    parser = Parser(
        prog="find-available-ips.py",
        description="List the free private addresses of a subnet, one a line.",
        epilog="Credentials are found as by every AWS SDK. Needed: ec2:DescribeSubnets, "
        "ec2:DescribeNetworkInterfaces, ec2:GetSubnetCidrReservations.",
    )
    # A script with Windows' line ends gives a carriage return, too.
    parser.add_argument("family", metavar="IPV4|IPV6", type=lambda text: text.strip().upper(), choices=tuple(VERSIONS))
    parser.add_argument("cidr", metavar="CIDR", type=str.strip, help="of a subnet, or of a range inside of one")
    parser.add_argument(
        "--vpc-id", metavar="ID", type=identifier("vpc"), help="the VPC meant, when several have this CIDR"
    )
    parser.add_argument("--subnet-id", metavar="ID", type=identifier("subnet"), help="the subnet meant")
    parser.add_argument(
        "--region", metavar="REGION", type=str.strip, help="default: AWS_REGION, or as configured for the AWS SDKs"
    )
    parser.add_argument(
        "--limit", metavar="N", type=count, help=f"at most N addresses; default: IPv4 all, IPv6 {IPV6_LIMIT}"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=count, default=TIMEOUT, help=f"seconds for all of it; default: {TIMEOUT}"
    )
    return parser.parse_args(argv)


def parse_cidr(text: str, family: str) -> "Network":
    """Parse the range asked for and check that it is of this family; raises Failure."""
    try:
        if "/" not in text:
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise Failure(f"{text!r} is not a CIDR, such as 10.0.0.0/24 or 2001:db8:0:1::/64", 2) from None
    if network.version != VERSIONS[family]:
        raise Failure(f"{text} is an IPv{network.version} CIDR, but {family} was asked for", 2)
    if network.network_address != type(network.network_address)(text.split("/", maxsplit=1)[0]):
        raise Failure(f"{text} has host bits set: the CIDR is {network}", 2)
    return network


def blocks(subnet: Any) -> "Iterator[Network]":
    """Yield the CIDR blocks of a subnet as DescribeSubnets returns it, of both families, that of IPv4 first."""
    if subnet.get("CidrBlock"):  # an IPv6-only subnet has none
        yield ip_network(subnet["CidrBlock"])
    for association in subnet.get("Ipv6CidrBlockAssociationSet", []):
        # One that is just being associated may not have been chosen yet.
        if association.get("Ipv6CidrBlock") and association.get("Ipv6CidrBlockState", {}).get("State") not in GONE:
            yield ip_network(association["Ipv6CidrBlock"])


def contains(outer: "Network", inner: "Network") -> bool:
    """Tell whether ``inner`` is ``outer`` or a part of it."""
    return outer.version == inner.version and inner[0] in outer and inner[-1] in outer


def listed(subnets: "list[Subnet]") -> str:
    """Name the first few."""
    more = f" and {len(subnets) - MOST_NAMED} more" if len(subnets) > MOST_NAMED else ""
    return ", ".join(map(str, subnets[:MOST_NAMED])) + more


def pages(ec2: "EC2Client", operation: str, **asked: Any) -> "Iterator[Any]":
    """Yield the pages of EC2's answer; raises Failure when they do not end."""
    paginator = ec2.get_paginator(operation)  # type: ignore[call-overload]  # it has a type for each name
    for number, page in enumerate(paginator.paginate(**asked)):
        if number == MOST_PAGES:
            raise Failure(f"EC2's answer to {operation} has no end", 1)
        yield page


def find_subnet(ec2: "EC2Client", wanted: "Network", vpc_id: "str | None", subnet_id: "str | None") -> Subnet:
    """Find the one subnet that has the range asked for; raises Failure with the candidates when it is not one."""
    given = {"vpc-id": vpc_id, "subnet-id": subnet_id}
    filters: list[FilterTypeDef] = [{"Name": name, "Values": [value]} for name, value in given.items() if value]
    found = (
        Subnet(
            subnet["SubnetId"],
            subnet["VpcId"],
            subnet["AvailabilityZone"],
            block,
            next((each for each in blocks(subnet) if each.version == VERSIONS["IPV4"]), None),
            subnet.get("AvailableIpAddressCount"),
        )
        for page in pages(ec2, "describe_subnets", Filters=filters)
        for subnet in page["Subnets"]
        for block in blocks(subnet)
    )
    # Two pages may show the same one, and the count changes meanwhile.
    subnets = list({(subnet.subnet_id, subnet.block): subnet for subnet in found}.values())
    candidates = [subnet for subnet in subnets if contains(subnet.block, wanted)]
    if len(candidates) > 1:
        raise Failure(f"{wanted} is ambiguous, say which with --vpc-id or --subnet-id: {listed(candidates)}", 2)
    if not candidates:
        where = " and ".join(f"{name} {value}" for name, value in given.items() if value)
        parts = [subnet for subnet in subnets if contains(wanted, subnet.block)]
        raise Failure(
            f"no subnet in {ec2.meta.region_name} contains {wanted}"
            + (f" with {where}" if where else "")
            + (
                f"; give one of those inside of it: {listed(parts)}"
                if parts
                else "; is it another Region's (--region), or account's (AWS_PROFILE)?"
            ),
            2,
        )
    return candidates[0]


def kept_by_aws(block: "Network") -> "Iterator[Network]":
    """Yield the five addresses that AWS keeps of a subnet's block."""
    for index in (0, 1, 2, 3, -1):
        yield ip_network(block[index])


def also_hidden(ec2: "EC2Client") -> "dict[str, bool]":
    """What has EC2 show the interfaces, too, that an AWS service manages, as EKS Auto Mode does: an account may have
    these hidden from who does not ask for them.  Older SDKs do not know how to ask.
    """
    asked = ec2.meta.service_model.operation_model("DescribeNetworkInterfaces").input_shape
    known = asked.members if asked is not None else {}
    return {name: True for name in ("IncludeManagedResources",) if name in known}


def held_by_interfaces(ec2: "EC2Client", subnet_id: str) -> "Iterator[Network]":
    """Yield the addresses and delegated prefixes of all network interfaces in the subnet, of both families."""
    filters = [{"Name": "subnet-id", "Values": [subnet_id]}]
    size = {"PageSize": 1000}  # the most that EC2 gives at once
    for page in pages(ec2, "describe_network_interfaces", Filters=filters, PaginationConfig=size, **also_hidden(ec2)):
        for eni in page["NetworkInterfaces"]:
            if eni.get("PrivateIpAddress"):  # also first in the list, as a rule
                yield ip_network(eni["PrivateIpAddress"])
            for ipv4 in eni.get("PrivateIpAddresses", []):
                yield ip_network(ipv4["PrivateIpAddress"])
            for ipv6 in eni.get("Ipv6Addresses", []):
                yield ip_network(ipv6["Ipv6Address"])
            for ipv4_prefix in eni.get("Ipv4Prefixes", []):
                yield ip_network(ipv4_prefix["Ipv4Prefix"])
            for ipv6_prefix in eni.get("Ipv6Prefixes", []):
                yield ip_network(ipv6_prefix["Ipv6Prefix"])


def reservations(ec2: "EC2Client", subnet: Subnet) -> "Iterator[tuple[Network, str]]":
    """Yield the CIDR reservations of the subnet, with their types."""
    request: GetSubnetCidrReservationsRequestTypeDef = {"SubnetId": subnet.subnet_id}
    for _ in range(MOST_PAGES):  # botocore has no paginator for this call
        page = ec2.get_subnet_cidr_reservations(**request)
        kinds = [page[kind] for kind in ("SubnetIpv4CidrReservations", "SubnetIpv6CidrReservations") if kind in page]
        if not kinds:  # a proxy's page, say: that is not to have none
            raise ValueError("no list of reservations")
        for reservation in (each for kind in kinds for each in kind):
            yield ip_network(reservation["Cidr"]), reservation["ReservationType"]
        if not page.get("NextToken"):
            return
        request["NextToken"] = page["NextToken"]
    raise Failure(f"EC2's answer about the reservations of {subnet.subnet_id} has no end", 1)


def free(wanted: "Network", taken: "Iterable[Network]") -> "Iterator[Address]":
    """Yield what is in ``wanted`` and in none of ``taken``, in order; walks the gaps, so a /64 costs nothing."""
    address = type(wanted.network_address)
    end = int(wanted[-1]) + 1
    cursor = int(wanted[0])
    spans = sorted((int(network[0]), int(network[-1])) for network in taken if network.version == wanted.version)
    for first, last in [*spans, (end, end)]:
        yield from map(address, range(cursor, min(first, end)))
        cursor = max(cursor, last + 1)


def connect(region: "str | None") -> "EC2Client":
    """Find the Region and the credentials, and ask EC2 nothing yet; raises Failure and BotoCoreError."""
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value.strip()]:
        del os.environ[name]  # to boto3 a variable without a value is a value
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if name in os.environ:
            os.environ[name] = os.environ[name].strip()
    try:
        # The AWS CLI and the other SDKs know AWS_REGION; boto3 knows AWS_DEFAULT_REGION only.
        session = boto3.Session(region_name=region or os.environ.get("AWS_REGION"))
        if not session.region_name:
            raise Failure("no Region: give --region, or export AWS_REGION", 2)
        if not re.fullmatch(REGION, session.region_name):
            raise Failure(f"{session.region_name!r} is no Region, such as us-west-2", 2)
        credentials = session.get_credentials()
        if credentials is None:
            raise Failure("no AWS credentials: configure them, until `aws sts get-caller-identity` works", 2)
        # Now, so that what fails here is not taken for EC2's answer, nor a secret told that no header can have.
        keys = credentials.get_frozen_credentials()
        if any(text and text.split() != [text] for text in keys):
            raise Failure("AWS configuration: there is a space or a line's end within the credentials", 2)
        # A dead endpoint is to be told in seconds; how often to retry is the user's configuration.  With these keys
        # only: for newer ones the SDK would run a program again, which would have no more memory than this process.
        return session.client(
            "ec2",
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            aws_session_token=keys.token,
            config=Config(connect_timeout=5, read_timeout=30),
        )
    except (Failure, BotoCoreError):
        raise
    except Exception as error:  # a file of the configuration, a process or a server that gives credentials
        until = "AWS_ACCESS_KEY_ID" in os.environ and os.environ.get("AWS_CREDENTIAL_EXPIRATION")
        hint = f"; is AWS_CREDENTIAL_EXPIRATION={until} still to come?" if until else ""
        raise Failure(f"AWS configuration: {type(error).__name__}: {one_line(error)}{hint}", 2) from error


def find(arguments: argparse.Namespace) -> "Iterator[Address]":
    """Ask EC2, then yield the free addresses; raises Failure, BotoCoreError and ClientError."""
    wanted = parse_cidr(arguments.cidr, arguments.family)
    ec2 = connect(arguments.region)
    if __name__ == "__main__":
        bound_memory()
    subnet = find_subnet(ec2, wanted, arguments.vpc_id, arguments.subnet_id)
    held = [*kept_by_aws(subnet.block), *held_by_interfaces(ec2, subnet.subnet_id)]
    reserved = [*reservations(ec2, subnet)]
    is_part = wanted != subnet.block
    # Not the explicit one that was asked for.
    barred = [each for each, kind in reserved if not (is_part and kind == "explicit" and contains(each, wanted))]
    # Whoever has an IPv6 address there has one of IPv4, too, unless the subnet has none: so that count is for both.
    if subnet.unused is not None and subnet.ipv4 is not None:
        shown = [*kept_by_aws(subnet.ipv4), *held, *(each for each, _ in reserved)]
        unseen = sum(1 for _ in free(subnet.ipv4, shown)) - subnet.unused
        if unseen > 0:
            of_ipv4 = " of IPv4" if subnet.block != subnet.ipv4 else ""
            left = f"{subnet.subnet_id} has {subnet.unused} left{of_ipv4}, as EC2 counts them"
            said = (
                f"some of these may not be free: {left}, {unseen} fewer than it shows, and not who has those"
                if is_part or of_ipv4
                else f"{unseen} of these are not free: {left}, but it does not show who has the others"
            )
            print(
                f"find-available-ips.py: {said}; if the subnet is shared, ask with its owner's account",
                file=sys.stderr,
            )
    limit = arguments.limit or (IPV6_LIMIT if wanted.version == VERSIONS["IPV6"] else None)
    return islice(free(wanted, [*held, *barred]), limit)


def one_line(error: Exception) -> str:
    """Say an SDK's error in one line, which may quote anything, without what would command the terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(str(error).split()))


def cause(error: BaseException) -> str:
    """Say what the SDK leaves out, which tells whom it asked: the system's word in brackets, and whose certificates."""
    said = ""
    below: BaseException | None = error
    while below is not None and not said:
        if isinstance(below, OSError) and below.strerror and below.strerror not in str(error):
            said = f" ({below.strerror})"
        if isinstance(below, MemoryError):
            said = f" an answer of more than {MOST_MEMORY >> 20} MiB"
        below = below.__cause__ or below.__context__
    bundles = [f"{name}={os.environ[name]}" for name in BUNDLES if name in os.environ]
    return said + (f"; is {bundles[0]} right?" if bundles and isinstance(error, SSLError) else "")


def find_in_time(arguments: argparse.Namespace) -> "Iterator[Address]":
    """Do as `find`, and raise Failure when that takes too long: an answer may drip, and the SDK asks again."""
    found: list[Iterator[Address]] = []
    failed: list[BaseException] = []

    def job() -> None:
        try:
            found.append(find(arguments))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failed.append(error)

    thread = threading.Thread(target=job, daemon=True)  # which nothing waits for at the end
    thread.start()
    thread.join(min(arguments.timeout, threading.TIMEOUT_MAX))
    if failed:
        raise failed[0]
    if not found:
        raise Failure(f"EC2 has not answered within {arguments.timeout} s: is it reached? (--timeout)", 1)
    return found[0]


def ask(argv: "list[str] | None") -> "Iterator[Address]":
    """Parse the arguments and find the free addresses; the only exception raised is Failure."""
    try:
        return find_in_time(parse_arguments(argv))
    except ClientError as error:
        # Some tools say in front whose error it is.
        code = (error.response.get("Error", {}).get("Code") or "").split("Client.", maxsplit=1)[-1]
        action = f"ec2:{error.operation_name}"
        if not code or code.isdigit():  # a proxy's page: the SDK finds no code, or makes one of the status
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise Failure(f"{action}: HTTP {status}, not from EC2; is there a proxy (HTTPS_PROXY)?", 1) from error
        if code == "UnauthorizedOperation":
            raise Failure(f"not allowed: the IAM action {action} is missing ({one_line(error)})", 2) from error
        raise Failure(one_line(error), 2 if code in REFUSALS else 1) from error
    except (ConnectionError, HTTPClientError, PaginationError, ResponseParserError) as error:
        raise Failure(f"EC2 could not be asked: {one_line(error)}{cause(error)}", 1) from error
    except BotoCoreError as error:  # what is left has to do with Region, profile and credentials
        raise Failure(f"AWS configuration: {one_line(error)}", 2) from error
    except Failure:
        raise
    except Exception as error:  # a proxy's page, or a broken connection, is read as an answer that lacks everything
        said = f"{type(error).__name__}: {one_line(error)}"
        raise Failure(f"EC2's answer cannot be read: {said}; is there a proxy (HTTPS_PROXY)?", 1) from error


def bound_memory() -> None:
    """Have an answer without end fail, instead of filling the machine's memory.

    To be called once the credentials are there: a program that gives them out would have the same bound, with which
    Java's and .NET's do not begin.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ModuleNotFoundError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft > MOST_MEMORY:
        with suppress(OSError, ValueError):  # not every system has such a bound
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, hard))


@contextmanager
def terminal_as_it_was() -> "Iterator[None]":
    """Give the terminal back as it was: a profile's MFA code is asked for without echo, and that may be broken off."""
    try:
        import termios  # noqa: PLC0415 - Windows has none

        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except (ModuleNotFoundError, OSError):
        yield
        return
    was = termios.tcgetattr(terminal)
    try:
        yield
    finally:
        with suppress(termios.error):  # it may have been closed meanwhile
            if termios.tcgetattr(terminal) != was:  # a job in the background must not touch it without need
                termios.tcsetattr(terminal, termios.TCSANOW, was)


def main(argv: "list[str] | None" = None) -> int:
    """Print the free addresses and return the exit code."""
    try:
        addresses = ask(argv)
    except Failure as failure:
        print(f"find-available-ips.py: {failure}", file=sys.stderr)
        return failure.exit_code
    found = False
    for address in addresses:
        found = True
        print(address)
    if not found:
        print("find-available-ips.py: nothing is free there", file=sys.stderr)
    print(end="", flush=True)
    return 0


if __name__ == "__main__":
    try:
        with terminal_as_it_was():
            sys.exit(main())
    except OSError as unwritten:
        # What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(unwritten, BrokenPipeError):  # that is a reader, such as head, who has enough
            print(f"find-available-ips.py: the addresses cannot be written: {unwritten}", file=sys.stderr)
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
