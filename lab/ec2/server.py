"""
The EC2 endpoint of one lab: moto served over HTTP on a socket of the lab, and a handle to build the world without HTTP.

    ec2 = Ec2(PROFILES["typical"], devices, record, seed=1, sock=listening_socket)
    worker = ec2.run_instance("worker-a", "10.0.0.10", ["10.0.0.20"])
    ...
    ec2.stop()

Each Ec2 has its own AWS account, hence its own VPC, even where several live in one process.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from wsgiref.types import WSGIApplication

import boto3
from botocore.config import Config
from moto.ec2.models import ec2_backends
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend, Zone
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from lab.ec2.account import Account, Record
from lab.ec2.attachments import Interface
from lab.ec2.devices import Devices
from lab.ec2.elastic import border_group
from lab.ec2.eni import outpost_of, place_on_outpost
from lab.ec2.past import Past
from lab.ec2.profiles import Guest, Profile
from lab.ec2.routing import install, uninstall
from lab.ec2.scheduler import Scheduler
from lab.ec2.transport import Faults, Transport
from lab.ec2.world import World

if TYPE_CHECKING:  # for types only: its import takes a third of a second
    from mypy_boto3_ec2 import EC2Client

REGION = "us-west-2"
ZONE = "us-west-2-lax-1a"
LOCAL_ZONES = {ZONE: "usw2-lax1-az1", "us-west-2-lax-1b": "usw2-lax1-az2"}
"""The ids of the zones that moto does not know, by the zones' names."""
BORDER_GROUP = border_group(ZONE)
VPC_CIDR = "10.0.0.0/16"
VPC_IPV6_CIDR = "2001:db8::/56"
SUBNET_CIDR = "10.0.0.0/24"
SUBNET_IPV6_CIDR = "2001:db8:0:1::/64"
COIP_POOL = "ipv4pool-coip-00000000000000001"
INSTANCE_TYPE = "m5.large"
CLUSTER_TAG = {"kubernetes.io/cluster/lab": "owned"}
CREDENTIALS_LIFE = timedelta(hours=6)

_accounts = itertools.count(210_000_000_001)


@dataclass(frozen=True)
class Instance:
    """
    What never changes about a worker: its id, its primary ENI (id, MAC, primary addresses), and where it is.

    `ipv6` and `outpost_arn` are None for a worker that has none.
    """

    instance_id: str
    eni_id: str
    mac: str
    address: str
    instance_type: str
    zone: str
    region: str
    account: str
    ipv6: str | None = None
    outpost_arn: str | None = None


class _QuietHandler(MotoRequestHandler):
    """The history is the record of calls; werkzeug's own lines on the terminal are noise."""

    timeout = 5  # seconds; a worker without power never closes its connections

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class Ec2:
    """
    One EC2 endpoint, serving from the moment it is made until `stop`.

    sock: a listening socket, perhaps in another network namespace, which its owner has to close; `endpoint_url` is its
    address.  Without it, `endpoint_url` is the one in 127.0.0.1 by which `client` always reaches the endpoint.
    seed: makes latencies and MAC addresses repeatable (not moto's ids).
    """

    def __init__(
        self, profile: Profile, devices: Devices, record: Record, seed: int, sock: socket.socket | None = None
    ) -> None:
        self.profile = profile
        self.account = str(next(_accounts))
        self.faults = Faults(self._remember)
        self._callers: dict[str, str] = {}
        self._lock = threading.RLock()
        self._scheduler = Scheduler(self._lock, self._remember)
        self._backend = ec2_backends[self.account][REGION]
        self._world = World(
            Account(
                id=self.account,
                region=REGION,
                backend=self._backend,
                profile=profile,
                devices=devices,
                record=record,
                after=self._scheduler.after,
                rng=random.Random(f"world {seed}"),
            )
        )
        self._past = Past(self._world, self.faults.staleness)
        install(self._world)
        self._build()
        transport = Transport(
            app=DomainDispatcherApplication(create_backend_app),
            account=self.account,
            region=REGION,
            lock=self._lock,
            past=self._past,
            profile=profile,
            faults=self.faults,
            record=record,
            caller_of=lambda access_key: self._callers.get(access_key, "unknown"),
            rng=random.Random(f"latency {seed}"),
        )
        self._loopback = socket.create_server(("127.0.0.1", 0))
        self._serving = [_serve(transport, listener) for listener in (self._loopback, sock) if listener is not None]
        self.endpoint_url = _url(sock or self._loopback)

    def _build(self) -> None:
        """Make the VPC with its internet gateway, its subnet in the Local Zone and a security group."""
        zones = RegionsAndZonesBackend.zones[REGION]
        known = {zone.name for zone in zones}
        zones.extend(Zone(name, REGION, id_, "local-zone") for name, id_ in LOCAL_ZONES.items() if name not in known)
        backend = self._backend
        vpc = backend.create_vpc(VPC_CIDR)
        vpc.associate_vpc_cidr_block(VPC_CIDR, amazon_provided_ipv6_cidr_block=True)["cidr_block"] = VPC_IPV6_CIDR
        self.vpc_id: str = vpc.id
        backend.attach_internet_gateway(backend.create_internet_gateway().id, self.vpc_id)
        self.subnet_id: str = self.add_subnet(SUBNET_CIDR, ZONE, ipv6_cidr=SUBNET_IPV6_CIDR)
        self.security_group_id: str = backend.create_security_group("lab-workers", "The lab's workers", self.vpc_id).id

    def add_subnet(self, cidr: str, zone: str, *, ipv6_cidr: str | None = None, outpost_arn: str | None = None) -> str:
        """Make another subnet of the VPC; the answer is its id.  For an Outpost `zone` is the one that it is anchored
        in.  Raises EC2ClientError when it overlaps another.
        """
        with self._lock:
            subnet = self._backend.create_subnet(self.vpc_id, cidr, ipv6_cidr, availability_zone=zone)
            # moto takes a zone's first subnet for the default one, which gives every instance a public address.
            subnet.default_for_az = subnet.map_public_ip_on_launch = False
            place_on_outpost(subnet, outpost_arn)
            self._remember()
            return str(subnet.id)

    def add_interfaces(self, count: int, subnet_id: str) -> None:
        """Let other people's ENIs take the lowest free addresses of a subnet, quicker than by calls."""
        with self._lock:
            subnet = self._backend.get_subnet(subnet_id)
            for address in self._world.addresses.free_ipv4(subnet, count):
                self._world.interfaces.adopt(self._backend.create_network_interface(subnet, address))
            self._remember()

    def allocate(self, public_ip: str, border_group: str = BORDER_GROUP, *, customer_owned: bool = False) -> str:
        """Allocate an Elastic IP with this address, or a customer-owned one; the answer is the allocation's id.

        Raises EC2ClientError for an address that is allocated already, or a border group of no zone in the Region.
        """
        with self._lock:
            pool = COIP_POOL if customer_owned else None
            allocation = self._world.elastic.add(public_ip, border_group, pool)
            self._remember()
            return allocation.id

    def run_instance(
        self,
        name: str,
        address: str,
        secondary_addresses: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        *,
        ipv6: str | None = None,
        instance_type: str = INSTANCE_TYPE,
        subnet_id: str | None = None,
    ) -> Instance:
        """
        Start a worker with its primary ENI; running at once.

        secondary_addresses: further addresses of that ENI, IPv4 and IPv6.
        ipv6: its primary IPv6 address.
        subnet_id: by default that of the lab's own subnet.

        Raises EC2ClientError when an address is taken or not of the subnet.
        """
        with self._lock:
            subnet = self._backend.get_subnet(subnet_id or self.subnet_id)
            secondary_ipv4s = [other for other in secondary_addresses if ":" not in other]
            ipv6s = [*([ipv6] if ipv6 else []), *(other for other in secondary_addresses if ":" in other)]
            self._world.addresses.require_free(subnet, [address, *secondary_ipv4s], ipv6s)
            instance = self._start(subnet, address, instance_type, {"Name": name, **CLUSTER_TAG, **(tags or {})})
            eni, outpost_arn = instance.nics[0], outpost_of(subnet)
            place_on_outpost(instance, outpost_arn)
            self._world.interfaces.adopt(eni, secondary_ipv4s, ipv6s)
            eni.add_tags(CLUSTER_TAG)
            self._world.attachments.note(instance)
            self._remember()
            self._callers[_access_key_id(instance.id)] = instance.id
            return Instance(
                instance_id=instance.id,
                eni_id=eni.id,
                mac=eni.mac_address,
                address=address,
                instance_type=instance_type,
                zone=subnet.availability_zone,
                region=REGION,
                account=self.account,
                ipv6=ipv6,
                outpost_arn=outpost_arn,
            )

    def _start(self, subnet: Any, address: str, instance_type: str, tags: Mapping[str, str]) -> Any:
        """moto's instance, with one ENI that has this address."""
        nic = {"DeviceIndex": 0, "SubnetId": subnet.id, "PrivateIpAddress": address, "DeleteOnTermination": True}
        reservation = self._backend.run_instances(
            "ami-lab",
            1,
            None,
            [],
            instance_type=instance_type,
            is_instance_type_default=False,
            region_name=REGION,
            security_group_ids=[self.security_group_id],
            nics=[nic],
            associate_public_ip=False,
            tags={"instance": tags},
        )
        return reservation.instances[0]

    def _remember(self) -> None:
        """Remember the present state: it has just changed, or a stale answer may need it later."""
        with self._lock:
            self._past.note()

    def booted(self, instance_id: str) -> None:
        """The guest of this instance has started again, and is to see its ENIs."""
        with self._lock:
            self._world.attachments.booted(self._backend.get_instance(instance_id))

    def hang_detaches(self) -> None:
        """From now on every detach stays `detaching` until somebody uses Force, whatever the guest does."""
        with self._lock:
            self._world.attachments.stuck = frozenset(Guest)

    def let_detaches_end(self) -> None:
        """Undo `hang_detaches` for new detaches; one that hangs already goes on hanging."""
        with self._lock:
            self._world.attachments.stuck = self.profile.stuck

    def credentials(self, instance_id: str) -> dict[str, str]:
        """The credentials that this instance's IMDS hands out, by its JSON's names; calls signed with them are the
        instance's.
        """
        return {
            "AccessKeyId": _access_key_id(instance_id),
            "SecretAccessKey": hashlib.sha256(f"secret {instance_id}".encode()).hexdigest()[:40],
            "Token": f"token-of-{instance_id}",
            "Expiration": f"{datetime.now(UTC) + CREDENTIALS_LIFE:%Y-%m-%dT%H:%M:%SZ}",
        }

    def interfaces(self, instance_id: str, lag: float = 0.0) -> tuple[Interface, ...]:
        """The attached ENIs of the instance as they were `lag` seconds ago."""
        with self._lock:
            return self._world.attachments.interfaces(instance_id, time.monotonic() - lag)

    def client(self, caller: str = "lab", timeout: float = 10.0) -> EC2Client:
        """
        A boto3 client for the lab itself, whatever namespace the endpoint is in; it never repeats a call.

        caller: the name that the history gives to its calls: that of an instance, or any other.
        timeout: seconds to wait for an answer.
        """
        credentials = self.credentials(caller)
        self._callers[credentials["AccessKeyId"]] = caller
        return boto3.client(
            "ec2",
            region_name=REGION,
            endpoint_url=_url(self._loopback),
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["Token"],
            config=Config(
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=timeout,
                read_timeout=timeout,
                proxies={},
            ),
        )

    def stop(self) -> None:
        """Close the endpoint and forget the world.  Raises what a transition raised in the meantime, if any did."""
        self.faults.clear()
        for server, thread in self._serving:
            server.shutdown()
            thread.join()
        self._loopback.close()
        try:
            self._scheduler.stop()
        finally:
            uninstall(self._world)


def _serve(app: WSGIApplication, listener: socket.socket) -> tuple[BaseWSGIServer, threading.Thread]:
    """Serve the application on a listening socket, in a thread of its own and one more for each connection."""
    host, port = listener.getsockname()[:2]
    server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    return server, thread


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def _access_key_id(caller: str) -> str:
    """Temporary credentials have access key ids of ASIA and 16 capital letters and digits (IAM guide)."""
    return "ASIA" + hashlib.sha256(caller.encode()).hexdigest()[:16].upper()
