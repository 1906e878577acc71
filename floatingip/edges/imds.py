"""
The instance metadata service (IMDSv2 only): who this node is, which addresses it has, and whether its end is announced.

IMDS shows interfaces later than EC2 does, fails now and then, and something else may answer in its place.  So only a
text that looks like the requested value is an answer.  Everything else is a MetadataError, and says nothing about this
node, least of all that it lacks an address.  No message quotes what came, since it may be a token or a credential.

Questions that are asked only once are retried here; those that are asked regularly (notices, an interface's addresses)
are tried once.  Each question has a time limit of its own, and does not wait for other questions.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from floatingip.core.bounded_json import read_json
from floatingip.core.errors import MetadataError
from floatingip.core.model import Address, subnets_address, subnets_network
from floatingip.core.node import Identity, Interface, Notice
from floatingip.edges import clock
from floatingip.edges.http_client import Connection, NoAnswer, Response

ADDRESS = IPv4Address("169.254.169.254")
PORT = 80

TOKEN_SECONDS = 21600
"""The longest life that IMDS gives a token.  After that IMDS answers 401, and the token is renewed."""

TIMEOUT = 1.0
"""Seconds for one try to get a value, with a new token if needed: IMDS is on the same host, and takes milliseconds."""

POLL_TIMEOUT = 0.5
"""The same for questions that are asked again soon anyway."""

DEADLINE = 5.0
"""Seconds for a whole question, whatever hangs or is retried in it."""

BACKOFF = 0.1
"""Seconds to wait before the first retry; before each further one twice as long."""

MAINTENANCE_AHEAD = 3600.0
"""A scheduled maintenance counts as a notice from this many seconds before it: AWS may announce it two weeks ahead."""

REMEDY = (
    "is the instance's metadata endpoint enabled, 169.254.169.254 not blocked on the node, and, for a pod without the "
    "host's network, the hop limit 2?"
)

A = TypeVar("A", IPv4Address, IPv6Address)

_INTERFACES = "network/interfaces/macs"
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
_REGION = re.compile(r"[a-z]+(?:-[a-z]+)+-\d+")
_ZONE = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")
_STATE = re.compile(r"[A-Z][A-Za-z]*(?::[A-Z][A-Za-z]*)?")
_TOKEN = re.compile(rb"[A-Za-z0-9+/=._~-]{1,2048}")
_WORDS = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?")


class Imds:
    """`ports.Metadata` by HTTP, for any thread; keeps its connections and its token."""

    def __init__(
        self,
        address: Address = ADDRESS,
        port: int = PORT,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = clock.now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`sleep`, `now` (by our clock) and `wall` (seconds since 1970) are parameters so that tests need not wait."""
        self._address = address
        self._port = port
        self._sleep = sleep
        self._now = now
        self._wall = wall
        self._token: str | None = None
        # Each question takes a connection from here: if all shared one, all would wait for a question that hangs.
        self._idle: list[Connection] = []

    def close(self) -> None:
        """Close the connections; they open again by themselves."""
        while self._idle:
            self._idle.pop().close()

    def identity(self) -> Identity:
        """Who this node is; see `ports.Metadata`."""
        deadline = self._now() + DEADLINE
        mac = self._word("mac", _MAC, deadline).lower()
        interface = f"{_INTERFACES}/{mac}"
        region = self._word("placement/region", _REGION, deadline)
        zone = self._word("placement/availability-zone", _ZONE, deadline)
        if not re.match(rf"{region}(?!\d)", zone):
            raise MetadataError(f"IMDS names the zone {zone} and the region {region}: one of them is wrong")
        return Identity(
            instance_id=self._word("instance-id", _id("i"), deadline),
            region=region,
            zone=zone,
            vpc_id=self._word(f"{interface}/vpc-id", _id("vpc"), deadline),
            subnet_id=self._word(f"{interface}/subnet-id", _id("subnet"), deadline),
            mac=mac,
            address=self._primary_address(f"{interface}/local-ipv4s", deadline),
            security_groups=self._security_groups(f"{interface}/security-group-ids", deadline),
        )

    def interface_with(self, address: Address) -> Interface | None:
        """The interface that has `address`; see `ports.Metadata`."""
        deadline = self._now() + DEADLINE
        kind = "local-ipv4s" if address.version == 4 else "ipv6s"
        problem: MetadataError | None = None
        path = f"{_INTERFACES}/"
        for mac in _macs(path, self._need(path, deadline)):
            path = f"{_INTERFACES}/{mac}/{kind}"
            # An interface without addresses of this kind, or one that has just gone, is a 404.
            if (text := self._get(path, deadline)) is None:
                continue
            try:
                found = _addresses(path, text)
            except MetadataError as error:  # it may be on one of the others
                problem = error
                continue
            if address in found:
                as_primary = address.version == 6 or address == found[0]
                return Interface(mac, self._block(mac, address, deadline), as_primary)
        if problem is not None:
            raise problem
        return None

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """All addresses of the interface with this MAC; None when there is none.  See `ports.Metadata`.

        If an interface has addresses of one family only, IMDS has no list for the other family, and its index does not
        name one; the VPC CNI relies on that, too (awsutils.getENIMetadata).  So a 404 alone takes no address away.
        """
        found: list[Address] = []
        interface = f"{_INTERFACES}/{mac.lower()}/"
        named = (self._once(interface) or "").split()
        if named and "mac" not in named:
            raise _unreadable(interface)
        for path in (f"{interface}{kind}" for kind in ("local-ipv4s", "ipv6s") if kind in named):
            if (text := self._once(path)) is None:
                raise MetadataError(f"IMDS names {path}, and has none")
            found += _addresses(path, text)
        if found:
            return frozenset(found)
        # Only the list of all interfaces can tell that one is gone.  A list without any is not believed.
        path = f"{_INTERFACES}/"
        if mac.lower() in _macs(path, self._once(path) or ""):
            raise MetadataError(f"IMDS shows the interface {mac.lower()} and no address of it")
        return None

    def notice(self) -> Notice | None:
        """The most urgent announcement of this node's end; see `ports.Metadata`.

        An announcement that cannot be read does not count, and does not hide others.

        Formats: EC2 user guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations" and
        "View scheduled events"; EC2 Auto Scaling user guide, "Retrieve the target lifecycle state".
        """
        problem: MetadataError | None = None
        for kind, path, read in (
            ("spot", "spot/instance-action", _interruption),
            ("asg", "autoscaling/target-lifecycle-state", _lifecycle),
            ("maintenance", "events/maintenance/scheduled", self._maintenance),
            ("rebalance", "events/recommendations/rebalance", _rebalance),
        ):
            try:
                text = self._once(path)
                detail = read(text) if text is not None else ""
            except MetadataError as error:
                problem = problem or error
            except (ValueError, TypeError, LookupError, ArithmeticError):
                problem = problem or _unreadable(path)
            else:
                if detail:
                    return Notice(kind, detail)
        if problem is not None:
            raise problem
        return None

    def _maintenance(self, text: str) -> str:
        """The first scheduled event that is due within the hour, in words; empty if none is.

        Raises ValueError if none is due, but one of them cannot be read.
        """
        if not isinstance(events := read_json(text.encode(), depth=4), list):
            raise TypeError("no list")
        unreadable = False
        for event in events:
            try:
                # Events that are over are listed for some time, as completed or canceled.
                if _field(event, "State") == "active":
                    starts = _field(event, "NotBefore")
                    if parsedate_to_datetime(starts).timestamp() - self._wall() <= MAINTENANCE_AHEAD:
                        return f"{_field(event, 'Code')} at {starts}"
            except (ValueError, TypeError, LookupError, ArithmeticError):
                unreadable = True
        if unreadable:
            raise ValueError("an event that cannot be read")
        return ""

    def _primary_address(self, path: str, deadline: float) -> IPv4Address:
        if (text := self._get(path, deadline)) is None:
            raise MetadataError(f"IMDS has no {path}", "the node's primary interface needs an IPv4 address")
        return _parse(path, text, IPv4Address)[0]  # the primary one comes first

    def _security_groups(self, path: str, deadline: float) -> tuple[str, ...]:
        return _all(path, _id("sg"), self._need(path, deadline).split())

    def _block(self, mac: str, address: Address, deadline: float) -> IPv4Network | IPv6Network:
        """The subnet's CIDR block that has the address; for IPv6 there may be several blocks."""
        kind = "subnet-ipv4-cidr-block" if address.version == 4 else "subnet-ipv6-cidr-blocks"
        path = f"{_INTERFACES}/{mac}/{kind}"
        network = IPv4Network if address.version == 4 else IPv6Network
        try:
            blocks = [subnets_network(network(word)) for word in self._need(path, deadline).split()]
        except ValueError as error:
            raise _unreadable(path) from error
        for block in blocks:
            if address in block:
                return block
        raise MetadataError(f"IMDS shows {address} on an interface whose {kind} lacks it")

    def _word(self, path: str, pattern: re.Pattern[str], deadline: float) -> str:
        """A value that is a single word.  Raises MetadataError."""
        words = _all(path, pattern, self._need(path, deadline).split())
        if len(words) > 1:
            raise _unreadable(path)
        return words[0]

    def _need(self, path: str, deadline: float) -> str:
        if (text := self._get(path, deadline)) is None:
            raise MetadataError(f"IMDS has no {path}")
        return text

    def _get(self, path: str, deadline: float) -> str | None:
        """A value of meta-data, None for a 404.  Raises MetadataError, after retries if these may help."""
        pause = BACKOFF
        while True:
            try:
                return self._try(path, min(deadline, self._now() + TIMEOUT))
            except _Failing:
                if self._now() + pause >= deadline:
                    raise
            self._sleep(pause)
            pause *= 2

    def _once(self, path: str) -> str | None:
        """A value of meta-data, None for a 404, by one try.  Raises MetadataError."""
        return self._try(path, self._now() + POLL_TIMEOUT)

    def _try(self, path: str, deadline: float) -> str | None:
        token = self._token
        answer = self._value(path, token, deadline) if token is not None else None
        if answer is None or answer.status == 401:
            token = self._new_token(deadline)
            answer = self._value(path, token, deadline)
            if answer.status == 401:
                raise _Failing("IMDS refuses the token that it gave")
            self._token = token  # kept only now that IMDS has accepted it
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise MetadataError(f"IMDS answers {answer.status} to GET {path}")
        try:
            return answer.body.decode("ascii")
        except UnicodeDecodeError as error:
            raise _unreadable(path) from error

    def _value(self, path: str, token: str, deadline: float) -> Response:
        return self._ask("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": token}, deadline)

    def _new_token(self, deadline: float) -> str:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        answer = self._ask("PUT", "api/token", lifetime, deadline)
        if answer.status != 200:
            raise MetadataError(f"IMDS answers {answer.status} to PUT api/token", "is this IMDSv2?")
        token = answer.body.rstrip(b"\r\n")  # Like other values, it may end with a line break.
        if not _TOKEN.fullmatch(token):
            raise _Failing("IMDS gives a token that is none")
        return token.decode("ascii")

    def _ask(self, method: str, path: str, headers: dict[str, str], deadline: float) -> Response:
        if (left := deadline - self._now()) <= 0:
            raise _Failing("IMDS does not answer: no answer in time", REMEDY)
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self._address, self._port, seconds=TIMEOUT)
        try:
            answer = connection.get(f"/latest/{path}", headers, method=method, seconds=left)
        except NoAnswer as error:
            raise _Failing(f"IMDS does not answer: {error}", REMEDY) from error
        finally:
            self._idle.append(connection)
        if answer.status == 403:
            raise MetadataError("IMDS answers 403", "enable the instance's metadata endpoint")
        if answer.status >= 500 or answer.status == 429:
            raise _Failing(f"IMDS answers {answer.status}")
        return answer


class _Failing(MetadataError):
    """A failure that may pass: the question may be answered when it is asked again."""


def _unreadable(path: str) -> MetadataError:
    return MetadataError(f"IMDS shows a {path} that cannot be read")


def _interruption(text: str) -> str:
    """A spot interruption of any kind (terminate, stop, hibernate), in words."""
    notice = read_json(text.encode(), depth=4)
    return f"{_field(notice, 'action')} at {_moment(notice, 'time')}"


def _lifecycle(text: str) -> str:
    """The lifecycle state if it announces the end; empty for others: InService, Standby, a warm pool's, unknown."""
    if not _STATE.fullmatch(state := text.strip()):
        raise ValueError("no state")
    return state if state == "Terminated" else ""


def _rebalance(text: str) -> str:
    return f"recommended at {_moment(read_json(text.encode(), depth=4), 'noticeTime')}"


def _field(document: object, key: str) -> str:
    """A short text in a JSON object.  Raises KeyError, TypeError or ValueError if there is none."""
    if not isinstance(document, dict) or not isinstance(text := document[key], str):
        raise TypeError(key)
    if not _WORDS.fullmatch(text):
        raise ValueError(key)
    return text


def _moment(document: object, key: str) -> str:
    """A time in a JSON object, as it is written there.  Raises KeyError, TypeError or ValueError if there is none."""
    datetime.fromisoformat(text := _field(document, key))
    return text


def _id(kind: str) -> re.Pattern[str]:
    return re.compile(rf"{kind}-[0-9a-f]{{1,32}}")


def _macs(path: str, text: str) -> tuple[str, ...]:
    """The MACs in a listing, in which each ends with a slash.  Raises MetadataError."""
    return _all(path, _MAC, [word.removesuffix("/") for word in text.lower().split()])


def _all(path: str, pattern: re.Pattern[str], words: list[str]) -> tuple[str, ...]:
    """The words, each of which must match; there must be at least one.  Raises MetadataError."""
    if not words or not all(map(pattern.fullmatch, words)):
        raise _unreadable(path)
    return tuple(words)


def _addresses(path: str, text: str) -> list[Address]:
    """The addresses in a list of one family: at least one.  Raises MetadataError."""
    return [*_parse(path, text, IPv6Address)] if path.endswith("/ipv6s") else [*_parse(path, text, IPv4Address)]


def _parse(path: str, text: str, kind: Callable[[str], A]) -> list[A]:
    try:
        found = [kind(str(subnets_address(word))) for word in text.split()]
    except ValueError as error:
        raise _unreadable(path) from error
    if not found or any(address.is_unspecified or address.is_loopback or address.is_multicast for address in found):
        raise _unreadable(path)
    return found
