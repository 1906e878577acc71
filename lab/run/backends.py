"""The pods behind the sample service: on which machines they are, and what kube-proxy hears of them."""

import threading
import time
from collections.abc import Set
from contextlib import suppress

from lab.ec2 import Guest
from lab.kubernetes.cluster import SAMPLE, Cluster, Kind
from lab.kubernetes.small.objects import Service
from lab.network.worker import BACKEND_PORT
from lab.run.machine import Machine, Machines

MOVED_WITHIN = 90.0
"""Seconds within which the pods must be on the machines where they should be."""


class Backends:
    """
    One pod on each machine that serves, behind `service`; at first on all of `machines`.

    The region sets `cluster` once that exists.  On the small Kubernetes the machines' own HTTP servers stand for the
    pods, and this class tells kube-proxy of them; on the real one the pods are real.
    """

    cluster: Cluster

    def __init__(self, machines: Machines, service: Service, kubernetes: Kind) -> None:
        self._machines = machines
        self._service = service
        self._kubernetes = kubernetes
        self._count = len(machines)
        self._are_deployed = False
        self._publishing = threading.Lock()

    @property
    def node_port(self) -> int:
        """The service's NodePort."""
        return self._service.ports[0].node_port

    def deploy(self, manifest: str) -> None:
        """`kubectl apply` of the sample service, for a real Kubernetes."""
        if self._kubernetes is Kind.REAL:
            self.cluster.apply(manifest)
            self.cluster.scale(SAMPLE, self._count)
            self._are_deployed = True

    def start(self, machine: Machine) -> None:
        """Take up that the machine has booted, and can serve."""
        if self._kubernetes is Kind.SMALL:
            machine.worker.start_backend(0)

    def stop(self, machine: Machine) -> None:
        """Take up that the service's pods there have ended: no NodePort leads to them any more."""
        machine.serves = False
        self.publish()

    def serve_from(self, *machines: Machine) -> None:
        """
        Put the pods behind the service on these machines, one on each, and on no others.

        Raises TimeoutError if they do not get there.
        """
        self._count = len(machines)
        for machine in self._machines.values():
            machine.serves = machine in machines
        if self._kubernetes is Kind.SMALL:
            self.publish()
        elif self._are_deployed:
            self._move({machine.name for machine in machines})

    def _move(self, nodes: Set[str]) -> None:
        for name in self._machines:
            (self.cluster.uncordon if name in nodes else self.cluster.cordon)(name)
        self.cluster.scale(SAMPLE, len(nodes))
        for pod in self.cluster.pods(SAMPLE):
            if pod.node not in nodes:
                with suppress(LookupError):  # scaling may have ended the pod already
                    self.cluster.delete_pod(pod.name)
        deadline = time.monotonic() + MOVED_WITHIN
        while self.cluster.endpoints(SAMPLE) != nodes:
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {MOVED_WITHIN:g} s the service's pods are not where they should be")
            time.sleep(0.05)

    def publish(self) -> None:
        """Tell the small kube-proxy on each node that has power which backends are on ready nodes."""
        if self._kubernetes is Kind.REAL:
            return
        with self._publishing:
            ready = self.cluster.endpoints(SAMPLE)
            workers = [machine.worker for name, machine in self._machines.items() if machine.serves and name in ready]
            endpoints = [
                (address, BACKEND_PORT)
                for worker in workers
                for address in (worker.pod_addresses[0], worker.pod_ipv6_addresses[0])
            ]
            for machine in self._machines.values():
                if machine.guest is not Guest.OFF:
                    machine.worker.expose(self.node_port, endpoints, "Local" if self._service.local else "Cluster")
