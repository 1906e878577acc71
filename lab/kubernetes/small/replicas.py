"""The controller of the Deployments, and the scheduler: as many pods as are wanted, each on a node where it fits."""

import random
from collections.abc import Callable, Mapping

from lab.kubernetes.small.pods import Books, Node, Pod
from lab.kubernetes.small.scheduler import living, place

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""The characters of a pod's random suffix: Kubernetes' own, which cannot spell words."""


class Replicas:
    """
    Makes and places the pods of all Deployments in the books, on these nodes (by name).

    `wanted` is how many pods each Deployment should have; `run` starts a pod on the node where it was placed; `seed`
    makes the pods' names repeatable.
    """

    def __init__(self, books: Books, nodes: Mapping[str, Node], run: Callable[[Pod, Node], None], seed: int) -> None:
        self.wanted: dict[str, int] = {}
        self._books = books
        self._nodes = nodes
        self._run = run
        self._random = random.Random(seed)

    def want_none(self) -> None:
        """From now on no Deployment should have a pod."""
        self.wanted = dict.fromkeys(self.wanted, 0)

    def living(self, deployment: str) -> list[Pod]:
        """The pods of a Deployment that are not being deleted."""
        with self._books.lock:
            return living(deployment, self._books.pods.values())

    def reconcile(self) -> None:
        """Make the pods that are missing, and place those that fit somewhere."""
        with self._books.lock:
            for name, deployment in self._books.manifest.deployments.items():
                for _ in range(self.wanted[name] - len(self.living(name))):
                    suffix = "".join(self._random.choices(_SUFFIX, k=5))
                    pod = Pod(f"{name}-{suffix}", deployment)
                    self._books.pods[pod.name] = pod
                    self._books.enter(pod, "Pending")
            for pod in self._books.pods.values():
                if (
                    pod.node is None
                    and not pod.stopping.is_set()
                    and (node := place(pod, self._nodes.values(), self._books.pods.values()))
                ):
                    pod.node = node.worker.name
                    self._run(pod, node)
