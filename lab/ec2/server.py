"""
The EC2 endpoint of one lab: moto served over HTTP on a socket of the lab, and a handle to build the world without HTTP.

    ec2 = Ec2(PROFILES["typical"], devices, record, seed=1, sock=listening_socket)
    worker = ec2.run_instance("worker-a", "10.0.0.10", ["10.0.0.20"])
    ...
    ec2.stop()

Each Ec2 has its own AWS account, hence its own VPC, even where several live in one process.
"""

import hashlib
import heapq
import itertools
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from wsgiref.types import WSGIApplication

import boto3
from botocore.config import Config
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend, Zone
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from mypy_boto3_ec2 import EC2Client
from werkzeug.serving import BaseWSGIServer, make_server

from lab.ec2.profiles import Profile
from lab.ec2.rules import Devices, Interface, Record, World, install, uninstall
from lab.ec2.transport import Faults, Transport

REGION = "us-west-2"
ZONE = "us-west-2-lax-1a"
VPC_CIDR = "10.0.0.0/16"
SUBNET_CIDR = "10.0.0.0/24"
INSTANCE_TYPE = "m5.large"
CREDENTIALS_LIFE = timedelta(hours=6)

logger = logging.getLogger(__name__)
_accounts = itertools.count(210_000_000_001)


@dataclass(frozen=True)
class Instance:
    """What never changes about a worker: its id, its primary ENI (id, MAC, primary address), and where it is."""

    instance_id: str
    eni_id: str
    mac: str
    address: str
    instance_type: str
    zone: str
    region: str
    account: str


class Scheduler:
    """
    What EC2 does later: a heap of actions, performed in order of time by one thread under the lock.

    An action that raises is a defect of the lab.  It is logged, and `stop` raises the first such exception.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._wake = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="ec2-scheduler", daemon=True)
        self._thread.start()

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Perform the action `delay` seconds later; with zero at once, in the calling thread, which holds the lock."""
        if delay <= 0:
            action()
            return
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), action))
            self._wake.notify()

    def stop(self) -> None:
        """Forget what is still to come; raises the first exception that an action raised."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                with self._lock:
                    action()
            except Exception as error:  # raised by stop(); the world must go on until then
                logger.exception("a transition failed")
                self._failure = self._failure or error

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next action; None after `stop`."""
        with self._wake:
            while not self._stopped:
                if not self._due:
                    self._wake.wait()
                elif (wait := self._due[0][0] - time.monotonic()) > 0:
                    self._wake.wait(wait)
                else:
                    return heapq.heappop(self._due)[2]
        return None


class _QuietHandler(MotoRequestHandler):
    """The history is the record of calls; werkzeug's own lines on the terminal are noise."""

    timeout = 5  # seconds; from a worker without power no end of the connection is ever heard

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class Ec2:
    """
    One EC2 endpoint, serving from the moment it is made until `stop`.

    sock: a listening socket (in another network namespace, perhaps), which stays its owner's to close.  `endpoint_url`
    is its address.  Without it, that is the address in 127.0.0.1 on which `client` always finds the endpoint.
    seed: makes latencies and MAC addresses repeatable (not moto's ids).
    """

    def __init__(
        self,
        profile: Profile,
        devices: Devices,
        record: Record,
        seed: int,
        sock: socket.socket | None = None,
    ) -> None:
        self.profile = profile
        self.account = str(next(_accounts))
        self.faults = Faults()
        self._callers: dict[str, str] = {}
        self._lock = threading.RLock()
        self._scheduler = Scheduler(self._lock)
        self._world = World(
            account=self.account,
            region=REGION,
            profile=profile,
            devices=devices,
            record=record,
            after=self._scheduler.after,
            rng=random.Random(f"world {seed}"),
        )
        install(self._world)
        self._build()
        transport = Transport(
            app=DomainDispatcherApplication(create_backend_app),
            account=self.account,
            region=REGION,
            lock=self._lock,
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
        """Make the VPC, its subnet in the Local Zone and a security group."""
        zones = RegionsAndZonesBackend.zones[REGION]
        if all(zone.name != ZONE for zone in zones):
            zones.append(Zone(ZONE, REGION, "usw2-lax1-az1", "local-zone"))
        backend = self._world.backend
        self.vpc_id: str = backend.create_vpc(VPC_CIDR).id
        subnet = backend.create_subnet(self.vpc_id, SUBNET_CIDR, availability_zone=ZONE)
        # moto takes a zone's first subnet for the default one, which gives every instance a public address.
        subnet.default_for_az = subnet.map_public_ip_on_launch = False
        self.subnet_id: str = subnet.id
        self.security_group_id: str = backend.create_security_group("lab-workers", "The lab's workers", self.vpc_id).id

    def run_instance(
        self,
        name: str,
        address: str,
        secondary_addresses: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Instance:
        """
        Start a worker with its primary ENI; running at once.

        Raises EC2ClientError when an address is taken or not of the subnet.
        """
        with self._lock:
            backend = self._world.backend
            subnet = backend.get_subnet(self.subnet_id)
            self._world.require_free(subnet, [address, *secondary_addresses])
            all_tags = {"Name": name, "kubernetes.io/cluster/lab": "owned", **(tags or {})}
            reservation = backend.run_instances(
                "ami-lab",
                1,
                None,
                [],
                instance_type=INSTANCE_TYPE,
                is_instance_type_default=False,
                region_name=REGION,
                security_group_ids=[self.security_group_id],
                nics=[
                    {
                        "DeviceIndex": 0,
                        "SubnetId": self.subnet_id,
                        "PrivateIpAddress": address,
                        "DeleteOnTermination": True,
                    }
                ],
                associate_public_ip=False,
                tags={"instance": all_tags},
            )
            instance = reservation.instances[0]
            eni = instance.nics[0]
            self._world.adopt(eni, secondary_addresses)
            eni.add_tags({"kubernetes.io/cluster/lab": "owned"})
            self._world.note_interfaces(instance)
            self._callers[_access_key_id(instance.id)] = instance.id
            return Instance(instance.id, eni.id, eni.mac_address, address, INSTANCE_TYPE, ZONE, REGION, self.account)

    def credentials(self, instance_id: str) -> dict[str, str]:
        """What the IMDS of this instance hands out, as its JSON names it; calls signed with it are the instance's."""
        return {
            "AccessKeyId": _access_key_id(instance_id),
            "SecretAccessKey": hashlib.sha256(f"secret {instance_id}".encode()).hexdigest()[:40],
            "Token": f"token-of-{instance_id}",
            "Expiration": f"{datetime.now(UTC) + CREDENTIALS_LIFE:%Y-%m-%dT%H:%M:%SZ}",
        }

    def interfaces(self, instance_id: str, lag: float = 0.0) -> tuple[Interface, ...]:
        """The attached ENIs of the instance as they were `lag` seconds ago."""
        with self._lock:
            return self._world.interfaces(instance_id, time.monotonic() - lag)

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
