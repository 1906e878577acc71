"""One worker as EC2 knows it, with its state; and all workers of a region, by name."""

from dataclasses import dataclass

from lab.ec2 import Guest, Instance
from lab.ec2.imds import Imds
from lab.network.worker import Worker

CLUSTER = "lab"
"""The region's own cluster, by the tag of its instances."""


@dataclass
class Machine:
    """
    One worker as EC2 knows it, with its state.

    graceful: seconds that its slowest pod takes to end when the machine shuts down; the kubelet delays the shutdown for
    that long (EKS' AL2023 from Kubernetes 1.34 on).  None for a machine whose kubelet is just killed.  A real kubelet
    always ends its pods first.
    serves: whether its backend is an endpoint of the sample service.
    ending: its observers are about to end for good, or have ended, and nobody is left to clean up.
    cluster: the cluster that it belongs to.
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


class Machines(dict[str, Machine]):
    """All machines of a region by name, in the order in which they were made."""

    def by_instance(self, instance_id: str) -> Machine:
        """The machine of an instance.  Raises LookupError."""
        for machine in self.values():
            if machine.instance.instance_id == instance_id:
                return machine
        raise LookupError(f"no worker is {instance_id}")
