"""
The lab as a whole: VPC, EC2, workers with their IMDS and pods, and the cluster that runs `floating-ip.yaml` on them.

    with Region(PROFILES["typical"], history, seed=1) as region:
        region.deploy()
        region.measure("in", "out")
        ...

It stands between EC2 and the machines: what EC2 attaches appears in a worker, what a worker suffers EC2 gets to see.
"""

import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from floatingip.core.model import Allocation, Carry
from floatingip.core.settings import Settings
from floatingip.edges.kernel.mark_table import table_name
from lab.ec2 import Ec2, Guest, Instance, Profile
from lab.ec2.imds import Imds
from lab.ec2.policy import POLICY, enforce
from lab.history import Event, History
from lab.kubernetes.cluster import (
    API_ADDRESS,
    API_PORT,
    DOCUMENTED,
    SAMPLE,
    Cluster,
    Kind,
    NotModelled,
    Setup,
)
from lab.kubernetes.real.cluster import Cluster as RealCluster
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.cluster import Cluster as SmallCluster
from lab.kubernetes.small.image import given
from lab.kubernetes.small.kubelet import SHUTDOWN_HEARD
from lab.kubernetes.small.manifest import Manifest, parse, substitute
from lab.network.fabric import EC2_ADDRESS, Fabric
from lab.network.worker import BACKEND_PORT, IMDS_ADDRESS, PODS, Worker
from lab.resource import Resource
from lab.run import ownership

ROOT = Path(__file__).parents[2]
EC2_PORT = 4566
API_WITHIN = 2.0
"""Seconds that a kubelet tries to reach it."""
IMDS_PORT = 80

FLOATING_IP = "10.0.0.100"
ELASTIC_IP = "eip"
"""What stands for an Elastic IP where a floating address is asked for; the region allocates one."""

PUBLIC_ADDRESS = "203.0.113.100"
FEW, MANY = "m5.large", "m5.xlarge"
"""Instance types with two and three ENI slots beside the primary one."""
FEW_ADDRESSES = 2

CLUSTER = "lab"
"""The region's own cluster, by the tag of its instances."""

LABELS = {"floatingip": "true"}
"""The workers'."""

SETTINGS = "  settings.yaml: |\n"
"""What floating-ip.yaml has in front of its settings."""

SHUTDOWN_TAKES = 1.0
"""Seconds that the operating system of an instance needs to end, once nothing holds it up."""

BACKENDS_GONE = 0.3
"""Seconds from the end of a node's pods until no NodePort leads to them any more."""

BOOT_TAKES = 8.0
"""Seconds from the power button until the kubelet runs; a real worker takes half a minute."""

READY_WITHIN = 90.0
"""Seconds that a deployment may take: `slow` attaches in 20."""


@dataclass
class Floating:
    """One floating address: as FLOATING_IP has it, and as clients reach it from inside and from outside of the VPC.

    ``enis`` are the ids of the interfaces that were made for it, as far as they were seen, ``deleted`` those of them
    that somebody has deleted; ``cluster`` is the one that carries it.
    """

    target: str
    hosts: Mapping[str, str]
    enis: set[str]
    deleted: set[str] = field(default_factory=set)
    cluster: str = CLUSTER


@dataclass
class Machine:
    """
    One worker as EC2 knows it, and how it is.

    graceful: the seconds that its slowest pod takes to end when it shuts down, for which the kubelet holds the shutdown
    up (EKS' AL2023 from Kubernetes 1.34 on); None for a machine whose kubelet is just killed.  A real kubelet always
    ends its pods first.
    serves: whether its backend is an endpoint of the sample service.
    ending: its observers are about to end for good, or have, and nobody is left to clean up.
    cluster: the one that it is a worker of.
    """

    worker: Worker
    instance: Instance
    imds: Imds
    guest: Guest = Guest.RUNNING
    graceful: float | None = None
    serves: bool = True
    ending: bool = False
    cluster: str = CLUSTER

    @property
    def name(self) -> str:
        """The node's name."""
        return self.worker.name


class Region(Resource):
    """
    Workers `worker-a`, `worker-b`, ..., with a sample service behind a NodePort on each, and EC2 as `profile` has it.

    `addresses` are the floating ones, of any kind (ELASTIC_IP for one that is allocated here).  `settings` replace
    those of floating-ip.yaml, `carry` among them; `environment` is added to that of every pod; `instance_type` is one
    with enough room by default.  `setup` is the cluster's.  A context manager that makes everything and removes what it
    made.

    boot_takes: seconds from the power button until a kubelet runs; can be changed at any time.
    """

    def __init__(
        self,
        profile: Profile,
        history: History,
        *,
        workers: int = 2,
        seed: int = 0,
        addresses: Sequence[str] = (FLOATING_IP,),
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        instance_type: str | None = None,
        kubernetes: Kind = Kind.SMALL,
        setup: Setup = DOCUMENTED,
    ) -> None:
        self.kubernetes = kubernetes
        self.profile = profile
        self.history = history
        self.boot_takes = BOOT_TAKES
        self._asked = tuple(addresses)
        self.floating: tuple[Floating, ...] = ()
        self.machines: dict[str, Machine] = {}
        self._names = [f"worker-{letter}" for letter in "abcdefgh"[:workers]]
        self._backends, self._is_deployed = workers, False
        self._seed = seed
        self._setup = setup
        self._environment = dict(environment or {})
        self.settings = dict(settings or {})
        self.carry = str(self.settings.get("carry", Carry.ENI))
        self._type = instance_type or (FEW if len(self._asked) <= FEW_ADDRESSES else MANY)
        self._clients: list[tuple[subprocess.Popen[str], threading.Thread]] = []
        self._associated: set[str] = set()
        self._measuring: set[str] = set()
        self._closing = threading.Event()
        self._publishing = threading.Lock()
        self._powering: list[threading.Thread] = []
        self._resources = ExitStack()
        self._service = self._manifest("sample-service.yaml", "").services["sample-service"]

    def close(self) -> None:
        """End the clients and pods, and remove everything.  Idempotent."""
        self.stop_clients()
        self._closing.set()
        self._resources.close()
        gc.unfreeze()

    # What the user does.

    def deploy(self, *, ready: bool = True) -> None:
        """`envsubst < floating-ip.yaml | kubectl apply -f -`, and wait until all was ready, or at least runs where it
        cannot get `ready`.  Raises TimeoutError.
        """
        self.cluster.apply(self.text("floating-ip.yaml"))
        if self.kubernetes is Kind.REAL:
            self.cluster.apply(self.text("sample-service.yaml"))
            self.cluster.scale(SAMPLE, self._backends)
            self._is_deployed = True
        try:
            if ready:
                self.cluster.wait_ready(READY_WITHIN)
            else:
                self._await_running()
        except TimeoutError as error:
            said = [event["line"] for event in self.history.events() if event["source"] == "agent"]
            raise TimeoutError(f"{error}; the agents' last word: {said[-1] if said else 'none'}") from error
        self._await_elastic()

    def _await_running(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not (pods := self.cluster.pods()) or any(pod.phase != "Running" for pod in pods):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not running after {READY_WITHIN} s: {', '.join(pod.name for pod in pods)}")
            time.sleep(0.05)

    def _await_elastic(self) -> None:
        """EC2 takes seconds until traffic follows an association: no agent can do anything about those."""
        wanted = {floating.hosts["out"] for floating in self.floating if "in" not in floating.hosts}
        deadline = time.monotonic() + READY_WITHIN
        while not wanted <= self._associated:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not associated after {READY_WITHIN} s: {', '.join(wanted - self._associated)}")
            time.sleep(0.05)

    def measure(self, *places: str) -> None:
        """Start clients `in` and `out` of the VPC that ask the NodePort over each floating address all the time."""
        # What was made for all this need not be looked through again: collecting it takes the lab, which is also what
        # answers the clients, most of a second.
        gc.collect()
        gc.freeze()
        namespaces = {"in": self.fabric.client_in, "out": self.fabric.client_out}
        for floating in self.floating:
            for place in places:
                if place in floating.hosts:
                    url = f"http://{floating.hosts[place]}:{self.node_port}/hostname"
                    name = client_name(place, floating)
                    command = [sys.executable, "-m", "lab.run.client", "--url", url, "--name", name]
                    if self.kubernetes is Kind.REAL:
                        # What it measures must not be how busy the containers keep this machine.
                        command = ["nice", "--adjustment=-10", *command]
                    client = namespaces[place].popen(command, stdout=subprocess.PIPE, cwd=ROOT)
                    reader = threading.Thread(target=self._read, args=(client,), name=f"client-{name}", daemon=True)
                    reader.start()
                    self._clients.append((client, reader))
                    self._measuring.add(name)

    def measuring(self) -> set[str]:
        """The names of the clients that run."""
        return set(self._measuring)

    def stop_clients(self) -> None:
        """Let the clients finish what they began, and take in all that they measured."""
        for client, _ in self._clients:
            client.terminate()
        for client, reader in self._clients:
            client.wait()
            reader.join()
        self._clients.clear()
        self._measuring.clear()

    @property
    def node_port(self) -> int:
        """The sample service's."""
        return self._service.ports[0].node_port

    def add_cluster(self, name: str, machines: Sequence[Machine], floating: Sequence[Floating]) -> None:
        """
        Another cluster in the same VPC, of some of the machines, with a deployment of its own for some of the floating
        addresses; returns when that is ready.  Before `deploy` only.

        Raises NotModelled on the real Kubernetes, TimeoutError.
        """
        if self.kubernetes is Kind.REAL:
            raise NotModelled("only the small Kubernetes can be there twice")
        ids = [machine.instance.instance_id for machine in machines]
        self.administrator.delete_tags(Resources=ids, Tags=[{"Key": f"kubernetes.io/cluster/{CLUSTER}"}])
        self.administrator.create_tags(Resources=ids, Tags=[{"Key": f"kubernetes.io/cluster/{name}", "Value": "owned"}])
        for machine in machines:
            machine.cluster = name
            self.cluster.cordon(machine.name)
        for one in floating:
            one.cluster = name
        cluster = SmallCluster(
            [machine.worker for machine in machines],
            self.history,
            image=given(),
            extra_env=self._pods_environment,
            labels={machine.name: LABELS for machine in machines},
            seed=self._seed,
        )
        self._resources.callback(cluster.stop_all, grace=1.0)
        cluster.apply(self.text("floating-ip.yaml", ",".join(one.target for one in floating)))
        cluster.wait_ready(READY_WITHIN)

    # What can be seen.

    def holder(self, floating: Floating | None = None) -> Machine:
        """The worker with the (first) floating address by EC2's attachment.  Raises LookupError if there is none."""
        floating = floating or self.floating[0]
        for event in reversed(self.attachments(floating)):
            if event["status"] == "attached":
                return self.by_instance(event["instance"])
            if event["status"] == "detached":
                break
        raise LookupError(f"nobody holds {floating.target}")

    def attachments(self, floating: Floating | None = None) -> list[Event]:
        """EC2's events about who has had the (first) floating address so far (ownership.py)."""
        floating = floating or self.floating[0]
        if self.carry == Carry.ADDRESS:
            return ownership.of_address(self.history.events("ec2"), floating.target)
        return ownership.of_enis(self.history.events("ec2"), frozenset(self._enis(floating)))

    def _enis(self, floating: Floating) -> set[str]:
        """The interfaces of a floating address, by EC2's own filters; remembered, since one may be gone later."""
        if floating.enis <= floating.deleted:
            if floating.target.startswith("eipalloc-"):
                name, value = "tag:floatingip/allocation", floating.target
            elif ":" in floating.target:
                name, value = "ipv6-addresses.ipv6-address", floating.target
            else:
                name, value = "addresses.private-ip-address", floating.target
            found = self.ec2.client().describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])
            floating.enis |= {interface["NetworkInterfaceId"] for interface in found["NetworkInterfaces"]}
        return floating.enis

    def carried(self, floating: Floating) -> str:
        """The address that its holder has on the link; an Elastic IP that was never associated has none: ""."""
        return next(reversed(ownership.carried_for(self.history.events("ec2"), floating.target)), "")

    def by_instance(self, instance_id: str) -> Machine:
        """The machine of an instance.  Raises LookupError."""
        for machine in self.machines.values():
            if machine.instance.instance_id == instance_id:
                return machine
        raise LookupError(f"no worker is {instance_id}")

    def standbys(self) -> list[Machine]:
        """All machines but the holder.  Raises LookupError if there is none."""
        holder = self.holder()
        return [machine for machine in self.machines.values() if machine is not holder]

    def logged(self, **fields: str) -> list[Event]:
        """The agents' log lines with these fields."""
        return [event for event in self.history.events("agent") if fields.items() <= event["fields"].items()]

    def command(self, machine: Machine, *arguments: str) -> str:
        """What a command of the product prints on a worker, as in its pod there.  Raises CommandFailed."""
        with tempfile.TemporaryDirectory() as directory:
            settings = Path(directory) / "settings.yaml"
            settings.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in self.settings.items()))
            command = [sys.executable, "-m", "floatingip", *arguments, "--settings", str(settings)]
            environment = {
                "AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url,
                "AWS_ENDPOINT_URL_STS": self.ec2.endpoint_url,
                "FLOATING_IP": ",".join(floating.target for floating in self.floating),
                **self._environment,
            }
            pairs = [f"{key}={value}" for key, value in environment.items()]
            return machine.worker.namespace.run(["env", *pairs, *command])

    def record_leftovers(self) -> None:
        """Record what a living worker that does not hold a floating address still has of it."""
        for what in self.leftovers():
            self.history.record({"source": "lab", "event": "leftover", "what": what})

    def leftovers(self) -> Iterator[str]:
        """What that is now, in words."""
        numbers: Counter[str] = Counter()
        for floating in self.floating:
            index = numbers[floating.cluster]
            numbers[floating.cluster] += 1
            address = self.carried(floating)
            try:
                holder = self.holder(floating).name
            except LookupError:
                holder = ""
            for machine in self.machines.values():
                if machine.name == holder or machine.guest is not Guest.RUNNING or machine.ending:
                    continue
                if machine.cluster != floating.cluster:
                    continue
                for what in self._traces(machine, index, address):
                    yield f"{what} on {machine.name}"

    def _traces(self, machine: Machine, index: int, address: str) -> Iterator[str]:
        namespace = machine.worker.namespace
        settings = Settings(tuple(Allocation(floating.target) for floating in self.floating))
        # A standby has the rest ahead of time where addresses move.
        ahead = self.carry == Carry.ADDRESS
        ours = range(settings.priority + 2 * index, settings.priority + 2 * index + (1 if ahead else 2))
        for link in namespace.show("address show"):
            if any(info.get("local") == address for info in link["addr_info"]):
                yield f"{address} on link {link['ifname']}"
        for family in ("-4", "-6"):
            for rule in namespace.show(f"{family} rule show"):
                if rule["priority"] in ours:
                    yield f"rule {rule['priority']} of {address}"
        table = table_name(ip_address(address))
        if not ahead and table in namespace.run(["nft", "list", "tables"]).split():
            yield f"nft table {table}"

    # What EC2 does to machines (lab.ec2.Devices).

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """A device appears; one without power sees nothing of it."""
        machine = self.by_instance(instance_id)
        if machine.guest is not Guest.OFF:
            machine.worker.hot_plug(eni_id, mac, addresses, device_index)

    def unplug(self, eni_id: str) -> None:
        """A device goes."""
        self.fabric.unplug(eni_id)

    def assign(self, eni_id: str, address: str) -> None:
        """A private address leads to this device."""
        self.fabric.assign(eni_id, address)

    def unassign(self, eni_id: str, address: str) -> None:
        """It leads there no longer."""
        self.fabric.unassign(eni_id, address)

    def associate(self, public: str, private: str) -> None:
        """An Elastic IP leads to this private address."""
        self.fabric.associate(public, private)
        self._associated.add(public)

    def disassociate(self, public: str) -> None:
        """It leads nowhere."""
        self.fabric.disassociate(public)
        self._associated.discard(public)

    def shut_down(self, instance_id: str) -> float:
        """The power button; the answer is for how long the machine's pods hold its end up."""
        machine = self.by_instance(instance_id)
        self._later(self._shut, machine)
        return machine.graceful or 0.0

    def boot(self, instance_id: str) -> None:
        """The power button of a machine that is off."""
        self._later(self._boot, self.by_instance(instance_id))

    def reboot(self, instance_id: str) -> None:
        """It ends as by `shut_down`, and starts again; EC2's books have nothing of it."""

        def both(machine: Machine) -> None:
            self._shut(machine)
            self._boot(machine)

        self._later(both, self.by_instance(instance_id))

    def _later(self, act: Callable[[Machine], None], machine: Machine) -> None:
        machine.ending = True
        thread = threading.Thread(target=act, args=(machine,), name=f"{machine.name}/power", daemon=True)
        self._powering.append(thread)
        thread.start()

    def _shut(self, machine: Machine) -> None:
        """First the pods end, if the kubelet has a say in it, then network and kernel."""
        ends = time.monotonic() + (machine.graceful or 0.0)
        if machine.graceful is not None or self.kubernetes is Kind.REAL:
            leaving = threading.Timer(SHUTDOWN_HEARD + BACKENDS_GONE, self.stop_serving, (machine,))
            leaving.start()
            self.cluster.shut_node_down(machine.name)
            leaving.join()
        if self._closing.wait(max(0.0, ends - time.monotonic()) + SHUTDOWN_TAKES):
            return
        self.power_off(machine)

    def _boot(self, machine: Machine) -> None:
        """Everything is as after the first boot, but for the ENIs that EC2 has attached: their links are bare."""
        if self._closing.wait(self.boot_takes):
            return
        machine.imds.stop()
        machine.worker.boot()
        machine.imds = self._imds(machine.worker, machine.instance)
        machine.guest = Guest.RUNNING
        self.ec2.booted(machine.instance.instance_id)
        if self.kubernetes is Kind.SMALL:
            machine.worker.start_backend(0)
        self.cluster.boot_node(machine.name)
        machine.serves = True
        self._publish()
        machine.ending = False

    def stop_serving(self, machine: Machine) -> None:
        """The pods behind the service have ended there: no NodePort leads to them any more."""
        machine.serves = False
        self._publish()

    def serve_from(self, *machines: Machine) -> None:
        """
        The pods behind the service are on these machines, one on each, and on no others.

        Raises TimeoutError when they do not get there.
        """
        self._backends = len(machines)
        for machine in self.machines.values():
            machine.serves = machine in machines
        if self.kubernetes is Kind.SMALL:
            self._publish()
        elif self._is_deployed:
            self._move_backends({machine.name for machine in machines})

    def _move_backends(self, nodes: Set[str]) -> None:
        for name in self.machines:
            (self.cluster.uncordon if name in nodes else self.cluster.cordon)(name)
        self.cluster.scale(SAMPLE, len(nodes))
        for pod in self.cluster.pods(SAMPLE):
            if pod.node not in nodes:
                with suppress(LookupError):  # the scaling may have ended it
                    self.cluster.delete_pod(pod.name)
        deadline = time.monotonic() + READY_WITHIN
        while self.cluster.endpoints(SAMPLE) != nodes:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {READY_WITHIN:g} s the service's pods are not where they should be")
            time.sleep(0.05)

    def guest(self, instance_id: str) -> Guest:
        """How the machine is."""
        return self.by_instance(instance_id).guest

    def power_off(self, machine: Machine) -> None:
        """No processes, no links, no carrier."""
        machine.guest = Guest.OFF
        # Nobody hears of the processes' end, and they do not see the links go.
        self.cluster.freeze_node(machine.name)
        self.fabric.cut(self.fabric.plugged(machine.worker.namespace))
        self.cluster.kill_node(machine.name)
        machine.worker.power_off()

    def power_on(self, machine: Machine) -> None:
        """The power is back after `power_off`; returns when the kubelet runs."""
        machine.ending = True
        self._boot(machine)

    # Building.

    def _build(self) -> None:
        enter = self._resources.enter_context
        self.fabric = enter(Fabric())
        listener = enter(self.fabric.vpc.listen(EC2_ADDRESS, EC2_PORT))
        self.ec2 = Ec2(self.profile, self, self.history.record, self._seed, listener)
        self._resources.callback(self.ec2.stop)
        self.administrator = self.ec2.client()
        for index, name in enumerate(self._names):
            self._add_worker(index, name)
        self.floating = tuple(self._reserve(address) for address in self._asked)
        self._resources.callback(self._end_powering)
        start = {Kind.SMALL: self._start_small, Kind.REAL: self._start_real}
        self.cluster = start[self.kubernetes]()
        self._publish()

    def _start_small(self) -> Cluster:
        if self._setup.proxy or self._setup.cni is not None:
            raise NotModelled("the small Kubernetes has neither kube-proxy's configuration nor the VPC CNI's")
        for machine in self.machines.values():
            machine.worker.start_backend(0)
        cluster = SmallCluster(
            [machine.worker for machine in self.machines.values()],
            self.history,
            image=given(),
            extra_env=self._pods_environment,
            labels=dict.fromkeys(self.machines, LABELS),
            seed=self._seed,
            reaches=self._reaches_api,
            readiness=self._readiness_changed,
            services={self._service.name: self._service},
        )
        self.fabric.vpc.ip(f"address add {API_ADDRESS}/32 dev lo")
        listener = self._resources.enter_context(self.fabric.vpc.listen(API_ADDRESS, API_PORT))
        self.api = ApiServer(listener, cluster)
        self._resources.callback(self.api.stop)
        cluster.use(self.api)
        self._resources.callback(self._end_pods, cluster)
        return cluster

    def _readiness_changed(self, _node: str, _ready: bool) -> None:
        self._publish()

    def _reaches_api(self, node: str) -> bool:
        """A connection from the worker, over its own network."""

        def connect() -> None:
            socket.create_connection((API_ADDRESS, API_PORT), timeout=API_WITHIN).close()

        try:
            self.machines[node].worker.namespace.call(connect)
        except OSError:
            return False
        return True

    def _start_real(self) -> Cluster:
        [deployment] = self._manifest("floating-ip.yaml", FLOATING_IP).deployments.values()
        [image] = {container.image for container in deployment.pod.init_containers + deployment.pod.containers}
        return self._resources.enter_context(
            RealCluster(
                self.fabric.vpc,
                [(machine.worker, machine.instance) for machine in self.machines.values()],
                self.history,
                image=image,
                environment=self._pods_environment,
                credentials=self._cni_credentials,
                labels=LABELS,
                setup=self._setup,
            )
        )

    @property
    def _pods_environment(self) -> dict[str, str]:
        ours = {"AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url, "AWS_ENDPOINT_URL_STS": self.ec2.endpoint_url}
        return {**ours, **self._environment}

    def _cni_credentials(self, node: str) -> dict[str, str]:
        """The VPC CNI has a role of its own, which allows what it needs: here, everything."""
        caller = f"vpc-cni {node}"
        self.ec2.client(caller)
        keys = self.ec2.credentials(caller)
        return {
            "AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["Token"],
        }

    def _publish(self) -> None:
        """The small kube-proxy on each node that has power hears which backends there are on nodes that are ready."""
        if self.kubernetes is Kind.REAL:
            return
        with self._publishing:
            ready = self.cluster.endpoints(SAMPLE)
            workers = [machine.worker for name, machine in self.machines.items() if machine.serves and name in ready]
            endpoints = [
                (address, BACKEND_PORT)
                for worker in workers
                for address in (worker.pod_addresses[0], worker.pod_ipv6_addresses[0])
            ]
            for machine in self.machines.values():
                if machine.guest is not Guest.OFF:
                    machine.worker.expose(self.node_port, endpoints, "Local" if self._service.local else "Cluster")

    def _end_powering(self) -> None:
        for thread in self._powering:
            thread.join()

    def _reserve(self, address: str) -> Floating:
        if address == ELASTIC_IP:
            # From inside of the VPC the public address is not there.
            return Floating(self.ec2.allocate(PUBLIC_ADDRESS), {"out": PUBLIC_ADDRESS}, set())
        host = f"[{address}]" if ":" in address else address
        return Floating(address, {"in": host, "out": host}, set())

    def _add_worker(self, index: int, name: str) -> None:
        worker = Worker(name, index, self.fabric, pods=PODS if self.kubernetes is Kind.SMALL else 0)
        instance = self.ec2.run_instance(
            name,
            worker.address,
            worker.pod_addresses,
            ipv6=worker.ipv6_address,
            instance_type=self._type,
        )
        worker.eni_id, worker.mac = instance.eni_id, instance.mac
        # The pods' role allows what the documents tell users to allow, and nothing else.
        enforce(POLICY, self.ec2.faults, instance.instance_id)
        worker.start()
        self._resources.callback(worker.close)
        self.machines[name] = Machine(worker, instance, self._imds(worker, instance))

    def _imds(self, worker: Worker, instance: Instance) -> Imds:
        listener = self._resources.enter_context(worker.namespace.listen(IMDS_ADDRESS, IMDS_PORT))
        imds = Imds(listener, instance, self.ec2)
        self._resources.callback(imds.stop)
        return imds

    def _end_pods(self, cluster: SmallCluster) -> None:
        for machine in self.machines.values():
            if machine.guest is Guest.HUNG:
                cluster.kill_node(machine.name)
        cluster.stop_all(grace=1.0)

    def text(self, name: str, floating_ip: str | None = None) -> str:
        """`envsubst < name`, with this region's settings."""
        if floating_ip is None:
            floating_ip = ",".join(floating.target for floating in self.floating if floating.cluster == CLUSTER)
        variables = {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": floating_ip}
        text = (ROOT / name).read_text(encoding="utf-8")
        if self.kubernetes is Kind.REAL:
            environment = {**os.environ, **variables}
            done = subprocess.run(["envsubst"], input=text, env=environment, capture_output=True, text=True, check=True)
            text = done.stdout
        else:
            text = substitute(text, variables)
        text = text.replace("externalTrafficPolicy: Local", f"externalTrafficPolicy: {self._setup.policy}")
        if not self._setup.has_role:
            text = "---\n".join(part for part in text.split("---\n") if "\nkind: RoleBinding\n" not in part)
        lines = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in self.settings.items())
        return text.replace(SETTINGS, SETTINGS + lines)

    def _manifest(self, name: str, floating_ip: str) -> Manifest:
        return parse(self.text(name, floating_ip))

    def _read(self, client: subprocess.Popen[str]) -> None:
        for line in client.stdout or ():
            self.history.record(json.loads(line))


def client_name(place: str, floating: Floating) -> str:
    """The name of a floating address' client in the history."""
    return f"{place} {floating.target}"
