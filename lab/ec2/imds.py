"""
The instance metadata service of one worker, version 2 only, on a listening socket in the worker's namespace.

Like the real one it shows the attached interfaces and their addresses late (CNI#1967), by `lag` seconds; it answers 401
without a valid token; and it has no notice (spot, rebalance, lifecycle, maintenance) until a test makes one.  It hands
out the credentials by which the EC2 endpoint knows the worker, so that boto3 needs no environment variables.

Paths: EC2 user guide, "Instance metadata categories"; the token: "Use IMDSv2"; the notices: "Spot Instance interruption
notices", "EC2 instance rebalance recommendations" and "View scheduled events", and EC2 Auto Scaling's "Retrieve the
target lifecycle state".
"""

import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from lab.ec2 import Instance, Interface
from lab.network.fabric import VPC_CIDR

ROLE = "lab-worker"
MAX_TOKEN_TTL = 21600
"""The longest life of a token, in seconds."""

SPOT = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
LIFECYCLE = "autoscaling/target-lifecycle-state"
MAINTENANCE = "events/maintenance/scheduled"

DRIP_EVERY = 0.1
"""Seconds between two bytes of an answer that drips."""

IN_SERVICE, TERMINATED = "InService", "Terminated"
"""What LIFECYCLE says of an instance in an Auto Scaling group: in peace, and once its end is decided."""


class Trouble(StrEnum):
    """How the service answers badly, to every request."""

    DOWN = "down"
    """Connections are closed without an answer."""
    HANGS = "hangs"
    """Nothing comes."""
    DRIPS = "drips"
    """A byte now and then, and no end."""
    NO_TOKEN = "no-token"
    """The token that it hands out is not a valid one, and it accepts no other."""
    HTML = "html"
    """200, with a page that is not IMDS' own, as a proxy answers."""
    FAILS = "fails"
    """503."""
    EMPTY = "empty"
    """200, with nothing."""
    NOT_FOUND = "not-found"
    """404, as if all of it were gone."""


class Cloud(Protocol):
    """What the service asks EC2; lab.ec2.Ec2 has it."""

    def interfaces(self, instance_id: str, lag: float = 0.0) -> tuple[Interface, ...]:
        """The attached ENIs of the instance as they were `lag` seconds ago."""

    def credentials(self, instance_id: str) -> dict[str, str]:
        """AccessKeyId, SecretAccessKey, Token and Expiration of the instance's role."""


class Imds:
    """
    Serves from the moment it is made until `stop`.

    sock: a listening socket, which its owner has to close.
    lag: seconds that a change of interfaces takes until it shows; can be changed at any time.
    trouble: the way in which it answers badly, None if it answers well; can be changed at any time.
    notices: path below meta-data (SPOT, REBALANCE, LIFECYCLE, MAINTENANCE) to body, as the `..._notice` functions make
    it.  A path that is not in it is answered with 404, but MAINTENANCE with an empty list: aws-node-termination-handler
    takes 404 as the normal answer of SPOT and REBALANCE, and as a failure of MAINTENANCE.
    """

    def __init__(self, sock: socket.socket, instance: Instance, cloud: Cloud, lag: float = 0.0) -> None:
        self.instance = instance
        self.lag = lag
        self.trouble: Trouble | None = None
        self.notices: dict[str, str] = {}
        self._cloud = cloud
        self._tokens: dict[str, float] = {}
        host, port = sock.getsockname()[:2]
        self.endpoint_url = f"http://{host}:{port}"
        self._server = _Server(sock, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name=f"imds-{instance.instance_id}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End the service."""
        self._server.shutdown()
        self._thread.join()

    def expire_tokens(self) -> None:
        """Make every token invalid, as a restart of the service does."""
        self._tokens.clear()

    def new_token(self, ttl: int) -> str:
        """A session token that lives for `ttl` seconds."""
        token = secrets.token_urlsafe(42)
        self._tokens[token] = time.monotonic() + ttl
        return token

    def is_valid(self, token: str | None) -> bool:
        """Whether a request with this token may be answered."""
        good = self.trouble is not Trouble.NO_TOKEN
        return good and token is not None and self._tokens.get(token, float("-inf")) > time.monotonic()

    def get(self, path: str) -> str | None:
        """The body at this path below /latest, None if there is none."""
        tree: Mapping[str, Any] = {
            "meta-data": {
                **self._instance(),
                "network": {"interfaces": {"macs": self._macs()}},
                "iam": {"security-credentials": {ROLE: self._credentials}},
                "events": {"maintenance": {"scheduled": "[]"}},
            },
            "dynamic": {"instance-identity": {"document": self._document}},
        }
        if (notice := self.notices.get(path.removeprefix("meta-data/"))) is not None:
            return notice
        node: Any = tree
        for name in filter(None, path.split("/")):
            if not isinstance(node, Mapping) or name not in node:
                return None
            node = node[name]
        if isinstance(node, Mapping):
            return "\n".join(f"{name}/" if isinstance(child, Mapping) else name for name, child in node.items())
        return node() if callable(node) else str(node)

    def _instance(self) -> dict[str, Any]:
        me = self.instance
        return {
            "instance-id": me.instance_id,
            "instance-type": me.instance_type,
            "local-ipv4": me.address,
            "mac": me.mac,
            **({"ipv6": me.ipv6} if me.ipv6 else {}),
            **({"outpost-arn": me.outpost_arn} if me.outpost_arn else {}),
            "placement": {"availability-zone": me.zone, "region": me.region},
        }

    def _macs(self) -> dict[str, dict[str, str]]:
        return {
            interface.mac: {
                "device-number": str(interface.device_index),
                "interface-id": interface.eni_id,
                **({"ipv6s": "\n".join(interface.ipv6_addresses)} if interface.ipv6_addresses else {}),
                "local-ipv4s": "\n".join(interface.addresses),
                "mac": interface.mac,
                "security-group-ids": "\n".join(interface.security_group_ids),
                "subnet-id": interface.subnet_id,
                "subnet-ipv4-cidr-block": interface.subnet_cidr,
                **(
                    {"subnet-ipv6-cidr-blocks": "\n".join(interface.subnet_ipv6_cidrs)}
                    if interface.subnet_ipv6_cidrs
                    else {}
                ),
                "vpc-id": interface.vpc_id,
                "vpc-ipv4-cidr-blocks": VPC_CIDR,
            }
            for interface in self._cloud.interfaces(self.instance.instance_id, self.lag)
        }

    def _credentials(self) -> str:
        credentials = self._cloud.credentials(self.instance.instance_id)
        return json.dumps({"Code": "Success", "Type": "AWS-HMAC", **credentials}, indent=2)

    def _document(self) -> str:
        me = self.instance
        return json.dumps(
            {
                "accountId": me.account,
                "availabilityZone": me.zone,
                "instanceId": me.instance_id,
                "instanceType": me.instance_type,
                "privateIp": me.address,
                "region": me.region,
            },
            indent=2,
        )


def spot_notice(at: float, action: str = "terminate") -> str:
    """For SPOT: what happens to the instance (terminate, stop, hibernate) at this time, in seconds since 1970."""
    return json.dumps({"action": action, "time": _iso(at)})


def rebalance_notice(at: float) -> str:
    """For REBALANCE: an interruption has been likelier than usual since this time, in seconds since 1970."""
    return json.dumps({"noticeTime": _iso(at)})


def maintenance_notice(not_before: float, *, code: str = "system-reboot", state: str = "active") -> str:
    """For MAINTENANCE: one event, which begins at this time, in seconds since 1970, and takes a quarter of an hour."""
    event = {
        "NotBefore": _as_scheduled(not_before),
        "Code": code,
        "Description": "scheduled reboot",
        "EventId": "instance-event-0d59937288b749b32",
        "NotAfter": _as_scheduled(not_before + 900),
        "State": state,
    }
    return json.dumps([event], indent=2)


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _as_scheduled(at: float) -> str:
    return time.strftime("%d %b %Y %H:%M:%S GMT", time.gmtime(at))


class _Server(ThreadingHTTPServer):
    """An HTTP server on a socket that somebody else has opened."""

    daemon_threads = True

    def __init__(self, sock: socket.socket, imds: Imds) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that it made for itself
        self.socket = sock
        self.imds = imds

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a caller that hung up: those that get no proper answer soon do."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds; a worker without power never closes its connections
    disable_nagle_algorithm = True  # or the body waits 40 ms for the acknowledgement of the head
    server: _Server

    def do_PUT(self) -> None:
        if self._is_troubled():
            return
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self._answer(HTTPStatus.NOT_FOUND)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= MAX_TOKEN_TTL:
            self._answer(HTTPStatus.BAD_REQUEST)
        else:
            token = self.server.imds.new_token(int(ttl))
            self._answer(HTTPStatus.OK, token, {"X-aws-ec2-metadata-token-ttl-seconds": ttl})

    def do_GET(self) -> None:
        if self._is_troubled():
            return
        if not self.server.imds.is_valid(self.headers.get("X-aws-ec2-metadata-token")):
            self._answer(HTTPStatus.UNAUTHORIZED)
        elif (body := self.server.imds.get(self.path.removeprefix("/latest/"))) is None:
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            self._answer(HTTPStatus.OK, body)

    def _is_troubled(self) -> bool:
        """Whether it answers badly; if so, it has done that on return."""
        trouble = self.server.imds.trouble
        if trouble in (Trouble.DOWN, Trouble.HANGS, Trouble.DRIPS):
            self.close_connection = True
            with suppress(OSError):  # the caller may have hung up first
                if trouble is Trouble.DRIPS:
                    self.connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while self.server.imds.trouble is trouble is not Trouble.DOWN:
                    if trouble is Trouble.DRIPS:
                        self.connection.sendall(b"x")
                    time.sleep(DRIP_EVERY)
                self.connection.shutdown(socket.SHUT_RDWR)
        elif trouble is Trouble.NO_TOKEN and self.command == "PUT":
            self._answer(HTTPStatus.OK, "not\na token")
        elif trouble is Trouble.HTML:
            self._answer(HTTPStatus.OK, "<html><body>Welcome</body></html>")
        elif trouble is Trouble.EMPTY:
            self._answer(HTTPStatus.OK)
        elif trouble is Trouble.FAILS:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "no")
        elif trouble is Trouble.NOT_FOUND and self.command == "GET":
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            return False
        return True

    def _answer(self, status: HTTPStatus, body: str = "", headers: Mapping[str, str] | None = None) -> None:
        content = body.encode()
        with suppress(OSError):  # the caller may have hung up
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: these requests are no part of the history."""
