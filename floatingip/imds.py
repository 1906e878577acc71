"""
Who this node is, and whether its end is announced, by the instance metadata service (IMDSv2 only).

IMDS shows interfaces later than EC2 does, and fails now and then: nobody takes one of its errors for an answer.  What
is needed once is retried here; what is asked again and again (notices, an interface's addresses) is tried once.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, TypeVar

import requests

from floatingip.errors import MetadataError
from floatingip.model import Address, Identity, Interface, Notice

A = TypeVar("A")

BASE_URL = "http://169.254.169.254"

TOKEN_SECONDS = 21600
"""The longest life that IMDS gives a token; one that ended earlier is renewed on the 401 that says so."""

TIMEOUT = 1.0
"""Seconds for one request, to connect and to answer: IMDS is on the same host and takes milliseconds."""

DEADLINE = 5.0
"""Seconds after which nothing is retried any more."""

BACKOFF = 0.1
"""Seconds before the first retry; each further one waits twice as long."""

MAINTENANCE_AHEAD = 3600.0
"""Seconds before a scheduled maintenance from which on it is a notice: it may be known for two weeks."""

_NOT_FOUND = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_FAILING = 500


class Imds:
    """`ports.Metadata` by HTTP; keeps its connection and its token."""

    def __init__(
        self,
        base_url: str = BASE_URL,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`sleep`, `now` (monotonic seconds) and `wall` (seconds since 1970) are parameters so that tests need not
        wait.
        """
        self._base = f"{base_url.rstrip('/')}/latest"
        self._sleep = sleep
        self._now = now
        self._wall = wall
        self._token: str | None = None
        self._lock = threading.RLock()  # the token and the connection are shared by all threads
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy would answer with its own metadata, or not at all

    def close(self) -> None:
        """Close the connection; it opens again by itself."""
        self._session.close()

    def identity(self) -> Identity:
        """Who this node is; see `ports.Metadata`."""
        mac = self._need("mac").lower()
        interface = f"network/interfaces/macs/{mac}"
        return Identity(
            instance_id=self._need("instance-id"),
            region=self._need("placement/region"),
            zone=self._need("placement/availability-zone"),
            vpc_id=self._need(f"{interface}/vpc-id"),
            subnet_id=self._need(f"{interface}/subnet-id"),
            mac=mac,
            address=_parse(IPv4Address, self._need(f"{interface}/local-ipv4s"))[0],  # the primary one comes first
            security_groups=tuple(self._need(f"{interface}/security-group-ids").split()),
        )

    def interface_with(self, address: Address) -> Interface | None:
        """The interface that has `address`; see `ports.Metadata`."""
        kind = "local-ipv4s" if address.version == 4 else "ipv6s"
        for line in self._need("network/interfaces/macs/").split():
            mac = line.rstrip("/").lower()
            # An interface without addresses of this kind, or one that has just gone, is a 404.
            addresses = self._get(f"network/interfaces/macs/{mac}/{kind}") or ""
            if address in _parse(type(address), addresses):
                block = "subnet-ipv4-cidr-block" if address.version == 4 else "subnet-ipv6-cidr-blocks"
                return Interface(mac, ip_network(self._need(f"network/interfaces/macs/{mac}/{block}").split()[0]))
        return None

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """All addresses of the interface with this MAC; None when there is none.  See `ports.Metadata`."""
        interface = f"network/interfaces/macs/{mac.lower()}"
        ipv4, ipv6 = self._once(f"{interface}/local-ipv4s"), self._once(f"{interface}/ipv6s")
        # An interface without any address does not exist; one of a single family has no list of the other.
        if ipv4 is None and ipv6 is None:
            return None
        return frozenset([*_parse(IPv4Address, ipv4 or ""), *_parse(IPv6Address, ipv6 or "")])

    def notice(self) -> Notice | None:
        """The first announcement of this node's end, the most urgent kind first; see `ports.Metadata`.

        What cannot be read is no notice, and hides none of the others.

        Formats: EC2 user guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations" and
        "View scheduled events"; EC2 Auto Scaling user guide, "Retrieve the target lifecycle state".
        """
        unreadable = ""
        for kind, path, read in (
            ("spot", "spot/instance-action", _interruption),
            ("asg", "autoscaling/target-lifecycle-state", _lifecycle),
            ("maintenance", "events/maintenance/scheduled", self._maintenance),
            ("rebalance", "events/recommendations/rebalance", _rebalance),
        ):
            if (text := self._once(path)) is None:
                continue
            try:
                detail = read(text)
            except (ValueError, TypeError, KeyError):
                unreadable = unreadable or f"IMDS shows a {path} that cannot be read: {text[:200]!r}"
                continue
            if detail:
                return Notice(kind, detail)
        if unreadable:
            raise MetadataError(unreadable)
        return None

    def _maintenance(self, text: str) -> str:
        """What the first event says that is due within the hour, or nothing."""
        for event in json.loads(text):
            # Events that are over are listed for some time, as completed or canceled.
            if _text(event, "State") == "active":
                starts = _text(event, "NotBefore")
                if parsedate_to_datetime(starts).timestamp() - self._wall() <= MAINTENANCE_AHEAD:
                    return f"{_text(event, 'Code')} at {starts}"
        return ""

    def _once(self, path: str) -> str | None:
        """A value of meta-data, None for a 404, by one try.  Raises MetadataError."""
        try:
            return self._try(path)
        except (requests.RequestException, _Failing) as error:
            raise MetadataError(f"IMDS gave no {path}: {_line(error)}") from error

    def _need(self, path: str) -> str:
        text = (self._get(path) or "").strip()
        if not text:
            raise MetadataError(f"IMDS has no {path}")
        return text

    def _get(self, path: str) -> str | None:
        """A value of meta-data, None for a 404.  Raises MetadataError, after retries unless these are useless."""
        deadline, pause = self._now() + DEADLINE, BACKOFF
        while True:
            try:
                return self._try(path)
            except (requests.RequestException, _Failing) as error:
                if self._now() + pause >= deadline:
                    raise MetadataError(f"IMDS gave no {path} within {DEADLINE:g} s: {_line(error)}") from error
            self._sleep(pause)
            pause *= 2

    def _try(self, path: str) -> str | None:
        with self._lock:
            is_new = self._token is None
            if self._token is None:
                self._token = self._new_token()
            answer = self._request("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})
            if answer.status_code == _UNAUTHORIZED:
                self._token = None
                if is_new:
                    raise _Failing("the token was refused")
                return self._try(path)
        if answer.status_code == _NOT_FOUND:
            return None
        return answer.text

    def _new_token(self) -> str:
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        answer = self._request("PUT", "api/token", lifetime)
        if answer.status_code != requests.codes.ok:
            raise MetadataError(f"IMDS answered {answer.status_code} to PUT api/token", "is this IMDSv2?")
        return answer.text

    def _request(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        url = f"{self._base}/{path}"
        answer = self._session.request(method, url, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        status = answer.status_code
        if status == _FORBIDDEN:
            raise MetadataError(f"IMDS answered 403 to {method} {path}", "enable the instance's metadata endpoint")
        if status >= _FAILING or status == requests.codes.too_many_requests:
            raise _Failing(f"{status} to {method} {path}")
        if status not in (requests.codes.ok, _UNAUTHORIZED, _NOT_FOUND):
            raise MetadataError(f"IMDS answered {status} to {method} {path}")
        return answer


class _Failing(Exception):
    """An answer that may be another one when asked again."""


def _interruption(text: str) -> str:
    """Whatever the action, be it terminate, stop or hibernate."""
    notice = json.loads(text)
    return f"{_text(notice, 'action')} at {_text(notice, 'time')}"


def _lifecycle(text: str) -> str:
    """Every other state is no end: InService, Standby, those of a warm pool."""
    return text.strip() if text.strip() == "Terminated" else ""


def _rebalance(text: str) -> str:
    return f"recommended at {_text(json.loads(text), 'noticeTime')}"


def _text(value: Any, key: str) -> str:
    """A field of a JSON object.  Raises KeyError or TypeError when it is not there, or no text."""
    if not isinstance(text := value[key], str):
        raise TypeError(key)
    return text


def _parse(kind: Callable[[str], A], text: str) -> list[A]:
    try:
        return [kind(word) for word in text.split()]
    except ValueError as error:
        raise MetadataError(f"IMDS shows an address that is none: {error}") from error


def _line(error: Exception) -> str:
    """What happened, without the object dump that requests makes of it."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error).splitlines()[0]
