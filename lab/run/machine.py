"""One worker as EC2 knows it, and how it is; and all of a region's, by their names."""

from dataclasses import dataclass

from lab.ec2 import Guest, Instance
from lab.ec2.imds import Imds
from lab.network.worker import Worker

CLUSTER = "lab"
"""The region's own cluster, by the tag of its instances."""


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


class Machines(dict[str, Machine]):
    """All of a region's, by their names, in the order in which they were made."""

    def by_instance(self, instance_id: str) -> Machine:
        """The machine of an instance.  Raises LookupError."""
        for machine in self.values():
            if machine.instance.instance_id == instance_id:
                return machine
        raise LookupError(f"no worker is {instance_id}")
