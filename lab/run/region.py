"""
The lab as a whole: VPC, EC2, workers with their IMDS and pods, and the cluster that runs `floating-ip.yaml` on them.

    with Region(PROFILES["typical"], history, seed=1) as region:
        region.deploy()
        region.clients.measure("in", "out")
        ...

It puts the parts together, and says who has an address.  All else is done by the parts: `power`, `backends`, `clients`,
`cluster`, `ec2` and `fabric`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from floatingip.core.model import Carry
from lab.ec2 import Ec2, Instance, Profile
from lab.ec2.imds import Imds
from lab.ec2.policy import POLICY, enforce
from lab.history import Event, History
from lab.kubernetes.cluster import DOCUMENTED, Cluster, Kind, NotModelled, Setup
from lab.kubernetes.small.apiserver import ApiServer
from lab.network.fabric import EC2_ADDRESS, Fabric
from lab.network.worker import IMDS_ADDRESS, PODS, Worker
from lab.resource import Resource
from lab.run import ownership
from lab.run.backends import Backends
from lab.run.clients import Clients
from lab.run.clusters import Clusters
from lab.run.floating import ELASTIC_IP, FLOATING_IP, PUBLIC_ADDRESS, Floating, elastic, private
from lab.run.hardware import Hardware
from lab.run.machine import CLUSTER, Machine, Machines
from lab.run.manifests import Manifests
from lab.run.power import Power

EC2_PORT = 4566
IMDS_PORT = 80

FEW, MANY = "m5.large", "m5.xlarge"
"""Instance types with two and three ENI slots beside the primary one."""
FEW_ADDRESSES = 2

READY_WITHIN = 90.0
"""Seconds that a deployment may take: `slow` attaches in 20."""


class Region(Resource):
    """
    Workers `worker-a`, `worker-b`, ..., or of these `names`, with a sample service behind a NodePort on each, and EC2
    as `profile` has it.

    `addresses` are the floating ones, of any kind (ELASTIC_IP for one that is allocated here).  `settings` replace
    those of floating-ip.yaml, `carry` among them; `environment` is added to that of every pod; `instance_type` is one
    with enough room by default.  `setup` is the cluster's.  A context manager that makes everything and removes what it
    made.
    """

    fabric: Fabric
    ec2: Ec2
    backends: Backends
    clients: Clients
    power: Power
    cluster: Cluster
    api: ApiServer
    """Only on the small Kubernetes."""

    def __init__(
        self,
        profile: Profile,
        history: History,
        *,
        workers: int = 2,
        names: Sequence[str] = (),
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
        self.floating: tuple[Floating, ...] = ()
        self.machines = Machines()
        self.settings = dict(settings or {})
        self.carry = str(self.settings.get("carry", Carry.ENI))
        self.manifests = Manifests(kubernetes, setup, self.settings)
        self._asked = tuple(addresses)
        self._names = names or [f"worker-{letter}" for letter in "abcdefgh"[:workers]]
        self._seed = seed
        self._setup = setup
        self._environment = dict(environment or {})
        self._type = instance_type or (FEW if len(self._asked) <= FEW_ADDRESSES else MANY)
        self._resources = ExitStack()

    def close(self) -> None:
        """End the clients and pods, and remove everything.  Idempotent."""
        self._resources.close()

    # What the user does.

    def deploy(self, *, ready: bool = True) -> None:
        """`envsubst < floating-ip.yaml | kubectl apply -f -`, and wait until all pods are ready; without `ready`, as if
        they cannot get so, until they run.  Raises TimeoutError.
        """
        self.cluster.apply(self.text("floating-ip.yaml"))
        self.backends.deploy(self.text("sample-service.yaml"))
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
        """Wait until traffic follows the associations: EC2 takes seconds for that, which no agent can shorten."""
        wanted = {floating.hosts["out"] for floating in self.floating if "in" not in floating.hosts}
        deadline = time.monotonic() + READY_WITHIN
        while not wanted <= self._hardware.associated:
            if time.monotonic() > deadline:
                missing = ", ".join(wanted - self._hardware.associated)
                raise TimeoutError(f"not associated after {READY_WITHIN} s: {missing}")
            time.sleep(0.05)

    def text(self, name: str) -> str:
        """`envsubst < name`, with this region's settings and its own cluster's addresses."""
        own = [floating.target for floating in self.floating if floating.cluster == CLUSTER]
        return self.manifests.text(name, ",".join(own))

    def add_cluster(self, name: str, machines: Sequence[Machine], floating: Sequence[Floating]) -> None:
        """
        Add another cluster in the same VPC, of some of the machines, with a deployment of its own for some of the
        floating addresses; return when that is ready.  Only before `deploy`.

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
        cluster = self._clusters.another(machines)
        cluster.apply(self.manifests.text("floating-ip.yaml", ",".join(one.target for one in floating)))
        cluster.wait_ready(READY_WITHIN)

    def use(self, cluster: Cluster) -> None:
        """Let this cluster run the pods from now on."""
        self.cluster = self.backends.cluster = self.power.cluster = cluster

    # What can be seen.

    def holder(self, floating: Floating | None = None) -> Machine:
        """The worker with the (first) floating address by EC2's attachment.  Raises LookupError if there is none."""
        floating = floating or self.floating[0]
        for event in reversed(self.attachments(floating)):
            if event["status"] == "attached":
                return self.machines.by_instance(event["instance"])
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
            addresses = ",".join(floating.target for floating in self.floating)
            environment = {"FLOATING_IP": addresses, **self._pods_environment()}
            pairs = [f"{key}={value}" for key, value in environment.items()]
            return machine.worker.namespace.run(["env", *pairs, *command])

    # Building.

    def _build(self) -> None:
        later = self._resources.callback
        self.fabric = self._resources.enter_context(Fabric())
        self._hardware = Hardware(self.fabric, self.machines)
        listener = self._resources.enter_context(self.fabric.vpc.listen(EC2_ADDRESS, EC2_PORT))
        self.ec2 = Ec2(self.profile, self._hardware, self.history.record, self._seed, listener)
        later(self.ec2.stop)
        self.administrator = self.ec2.client()
        for index, name in enumerate(self._names):
            self._add_worker(index, name)
        self.floating = tuple(map(self._reserve, self._asked))
        service = self.manifests.parsed("sample-service.yaml", "").services["sample-service"]
        self.backends = Backends(self.machines, service, self.kubernetes)
        self.power = Power(self.fabric, self.ec2, self.backends, self._renew_imds, self.kubernetes)
        self._hardware.power = self.power
        later(self.power.close)
        self._clusters = Clusters(
            self.fabric, self.ec2, self.machines, self.history, self._pods_environment(), self._seed, self._resources
        )
        for machine in self.machines.values():
            self.backends.start(machine)
        if self.kubernetes is Kind.SMALL:
            cluster, self.api = self._clusters.small(self._setup, service, self.backends.publish)
            self.use(cluster)
        else:
            self.use(self._clusters.real(self._setup, self._image()))
        self.backends.publish()
        later(self.power.give_up)
        # On the real Kubernetes the clients must not measure how busy the containers keep this machine.
        urgent = self.kubernetes is Kind.REAL
        self.clients = Clients(self.fabric, self.history, self.floating, self.backends.node_port, urgent=urgent)
        later(self.clients.close)

    def _image(self) -> str:
        """The name of the product's image in floating-ip.yaml."""
        [deployment] = self.manifests.parsed("floating-ip.yaml", FLOATING_IP).deployments.values()
        [image] = {container.image for container in deployment.pod.init_containers + deployment.pod.containers}
        return image

    def _pods_environment(self) -> dict[str, str]:
        ours = {"AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url, "AWS_ENDPOINT_URL_STS": self.ec2.endpoint_url}
        return {**ours, **self._environment}

    def _reserve(self, address: str) -> Floating:
        return elastic(self.ec2.allocate(PUBLIC_ADDRESS)) if address == ELASTIC_IP else private(address)

    def _add_worker(self, index: int, name: str) -> None:
        worker = Worker(name, index, self.fabric, pods=PODS if self.kubernetes is Kind.SMALL else 0)
        instance = self.ec2.run_instance(
            name, worker.address, worker.pod_addresses, ipv6=worker.ipv6_address, instance_type=self._type
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

    def _renew_imds(self, machine: Machine) -> None:
        machine.imds = self._imds(machine.worker, machine.instance)
