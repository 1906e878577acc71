"""
The lab as a whole: VPC, EC2, workers with their IMDS and pods, and the cluster that runs `floating-ip.yaml` on them.

    with Region(PROFILES["typical"], history, seed=1) as region:
        region.deploy()
        region.measure("in", "out")
        ...

It stands between EC2 and the machines: what EC2 attaches appears in a worker, what a worker suffers EC2 gets to see.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.ec2 import Ec2, Guest, Instance, Profile
from lab.fabric import EC2_ADDRESS, Fabric
from lab.history import Event, History
from lab.imds import Imds
from lab.kubelet import Cluster
from lab.manifest import Manifest, load
from lab.worker import IMDS_ADDRESS, Worker

ROOT = Path(__file__).parent.parent
EC2_PORT = 4566
IMDS_PORT = 80

FLOATING_IP = "10.0.0.100"
DEPLOYMENT = "floating-ip"

SHUTDOWN_TAKES = 1.0
"""Seconds from a terminated instance's power button until its operating system has ended."""

READY_WITHIN = 90.0
"""Seconds that a deployment may take: `slow` attaches in 20."""


@dataclass
class Machine:
    """One worker as EC2 knows it, and how it is."""

    worker: Worker
    instance: Instance
    imds: Imds
    guest: Guest = Guest.RUNNING

    @property
    def name(self) -> str:
        """The node's name."""
        return self.worker.name


class Region:
    """
    Workers `worker-a`, `worker-b`, ..., with a sample service behind a NodePort on each, and EC2 as `profile` has it.

    `environment` is added to that of every pod; a context manager that makes everything and removes what it made.
    """

    def __init__(
        self,
        profile: Profile,
        history: History,
        *,
        workers: int = 2,
        seed: int = 0,
        address: str = FLOATING_IP,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.profile = profile
        self.history = history
        self.address = address
        self.machines: dict[str, Machine] = {}
        self._names = [f"worker-{letter}" for letter in "abcdefgh"[:workers]]
        self._seed = seed
        self._environment = dict(environment or {})
        self._clients: list[tuple[subprocess.Popen[str], threading.Thread]] = []
        self._resources = ExitStack()
        self._service = self._manifest("sample-service.yaml").services["sample-service"]

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the clients and pods, and remove everything.  Idempotent."""
        self.stop_clients()
        self._resources.close()

    # What the user does.

    def deploy(self) -> None:
        """`envsubst < floating-ip.yaml | kubectl apply -f -`, and wait until all was ready.  Raises TimeoutError."""
        self.cluster.apply(self._manifest("floating-ip.yaml"))
        try:
            self.cluster.wait_ready(READY_WITHIN)
        except TimeoutError as error:
            said = [event["line"] for event in self.history.events() if event["source"] == "agent"]
            raise TimeoutError(f"{error}; the agents' last word: {said[-1] if said else 'none'}") from error

    def measure(self, *names: str) -> None:
        """Start the clients `in` and `out` (of the VPC) that ask the NodePort over the floating address all the
        time.
        """
        namespaces = {"in": self.fabric.client_in, "out": self.fabric.client_out}
        for name in names:
            url = f"http://{self.address}:{self.node_port}/"
            client = namespaces[name].popen(
                [sys.executable, "-m", "lab.client", "--url", url, "--name", name], stdout=subprocess.PIPE, cwd=ROOT
            )
            reader = threading.Thread(target=self._read, args=(client,), name=f"client-{name}", daemon=True)
            reader.start()
            self._clients.append((client, reader))

    def is_measured(self) -> bool:
        """Clients run."""
        return bool(self._clients)

    def stop_clients(self) -> None:
        """Let the clients finish what they began, and take in all that they measured."""
        for client, _ in self._clients:
            client.terminate()
        for client, reader in self._clients:
            client.wait()
            reader.join()
        self._clients.clear()

    @property
    def node_port(self) -> int:
        """The sample service's."""
        return self._service.ports[0].node_port

    # What can be seen.

    def holder(self) -> Machine:
        """The worker with the address by EC2's attachment.  Raises LookupError if there is none."""
        for event in reversed(self.attachments()):
            if event["status"] == "attached":
                return self.by_instance(event["instance"])
            if event["status"] == "detached":
                break
        raise LookupError(f"nobody holds {self.address}")

    def attachments(self) -> list[Event]:
        """EC2's events about attachments of the floating address' ENI so far."""
        return [
            event
            for event in self.history.events()
            if event["source"] == "ec2" and event["event"] == "attachment" and event["address"] == self.address
        ]

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
        return [
            event
            for event in self.history.events()
            if event["source"] == "agent" and fields.items() <= event["fields"].items()
        ]

    def record_leftovers(self) -> None:
        """Record what a living worker that does not hold the address still has of it."""
        try:
            holder = self.holder().name
        except LookupError:
            holder = ""
        for machine in self.machines.values():
            if machine.name == holder or machine.guest is not Guest.RUNNING:
                continue
            namespace = machine.worker.namespace
            for what in (
                *(f"link {link['ifname']} on {machine.name}" for link in self._links_with_address(machine)),
                *(
                    f"rule {rule['priority']} on {machine.name}"
                    for rule in namespace.show("rule show")
                    if rule.get("src") == self.address or rule.get("fwmark") == "0x40"
                ),
                *(
                    f"nft table {line.split()[-1]} on {machine.name}"
                    for line in namespace.run(["nft", "list", "tables"]).splitlines()
                    if "floatingip" in line
                ),
            ):
                self.history.record({"source": "lab", "event": "leftover", "what": what})

    def _links_with_address(self, machine: Machine) -> list[Event]:
        return [
            link
            for link in machine.worker.namespace.show("address show")
            if any(info.get("local") == self.address for info in link["addr_info"])
        ]

    # What EC2 does to machines (lab.ec2.Devices).

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """A device appears; one without power sees nothing of it."""
        machine = self.by_instance(instance_id)
        if machine.guest is not Guest.OFF:
            machine.worker.hot_plug(eni_id, mac, addresses, device_index)

    def unplug(self, eni_id: str) -> None:
        """A device goes."""
        self.fabric.unplug(eni_id)

    def shut_down(self, instance_id: str) -> None:
        """The power button."""
        machine = self.by_instance(instance_id)
        timer = threading.Timer(SHUTDOWN_TAKES, self.power_off, (machine,))
        timer.daemon = True
        timer.start()

    def guest(self, instance_id: str) -> Guest:
        """How the machine is."""
        return self.by_instance(instance_id).guest

    def power_off(self, machine: Machine) -> None:
        """No processes, no links, no carrier."""
        machine.guest = Guest.OFF
        self.cluster.kill_node(machine.name)
        machine.worker.power_off()

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
        endpoints = [machine.worker.start_backend(0) for machine in self.machines.values()]
        for machine in self.machines.values():
            machine.worker.expose(self.node_port, endpoints, "Local" if self._service.local else "Cluster")
        self.cluster = Cluster(
            [machine.worker for machine in self.machines.values()],
            self.history,
            extra_env={"AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url, **self._environment},
            seed=self._seed,
        )
        self._resources.callback(self._end_pods)

    def _add_worker(self, index: int, name: str) -> None:
        worker = Worker(name, index, self.fabric)
        instance = self.ec2.run_instance(name, worker.address, worker.pod_addresses)
        worker.eni_id, worker.mac = instance.eni_id, instance.mac
        worker.start()
        self._resources.callback(worker.close)
        listener = self._resources.enter_context(worker.namespace.listen(IMDS_ADDRESS, IMDS_PORT))
        imds = Imds(listener, instance, self.ec2)
        self._resources.callback(imds.stop)
        self.machines[name] = Machine(worker, instance, imds)

    def _end_pods(self) -> None:
        for machine in self.machines.values():
            if machine.guest is Guest.HUNG:
                self.cluster.kill_node(machine.name)
        self.cluster.stop_all(grace=1.0)

    def _manifest(self, name: str) -> Manifest:
        return load(
            ROOT / name, {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": self.address}
        )

    def _read(self, client: subprocess.Popen[str]) -> None:
        for line in client.stdout or ():
            self.history.record(json.loads(line))
