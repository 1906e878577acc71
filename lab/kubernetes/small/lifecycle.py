"""
The node lifecycle controller: a node whose kubelet has been silent for too long is not ready, and its pods are evicted.

A kubelet renews its node's lease every RENEWED_EVERY seconds, if it runs and reaches the API server.  The controller
looks every LOOKED_EVERY seconds.  A node whose lease is NOT_READY_AFTER seconds old is not ready: its pods' condition
Ready becomes False, so they leave the endpoints of services.  When a pod's toleration of that is used up, the pod is
deleted, and its Deployment replaces it; its own kubelet ends it once it is back.  While the API server is away, no
lease is renewed, and no node is judged.

Sources: `kubelet` and `kube-controller-manager` of Kubernetes (lease duration 40 s, renewed after a quarter of that;
--node-monitor-period 5 s; --node-monitor-grace-period, which tests/kubernetes checks on the real one).
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

RENEWED_EVERY = 10.0
LOOKED_EVERY = 5.0
NOT_READY_AFTER = 40.0

N = TypeVar("N", bound="Node")
N_contra = TypeVar("N_contra", contravariant=True)


class Node(Protocol):
    """What the controller knows of a node; after a boot, the node is a new object of the same name."""

    @property
    def name(self) -> str: ...

    @property
    def speaks(self) -> bool:
        """Does its kubelet run?"""


class Judged(Protocol[N_contra]):
    """Is told that a node has become ready, or has ceased to be."""

    def __call__(self, node: N_contra, /, *, ready: bool) -> None: ...


class Lifecycle(Generic[N]):
    """
    Watches from the moment it is made until `stop`.

    nodes: gives all nodes.  reaches: whether a node reaches the API server; it may take seconds.  serves: whether the
    API server serves.  judged: called when a node is no longer ready, or is again.
    overdue: called again and again for each node that is not ready, with the seconds since it ceased to be, to evict
    the pods whose toleration is used up.
    pace: divides all times.
    """

    def __init__(
        self,
        nodes: Callable[[], Collection[N]],
        reaches: Callable[[N], bool],
        serves: Callable[[], bool],
        judged: Judged[N],
        overdue: Callable[[N, float], None],
        pace: float = 1.0,
    ) -> None:
        self._nodes = nodes
        self._reaches = reaches
        self._serves = serves
        self._judged = judged
        self._overdue = overdue
        self._pace = pace
        self._renewed: dict[str, float] = {}
        self._lost_at: dict[str, float] = {}
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=task, name=name, daemon=True)
            for name, task in (("leases", self._renew), ("node-lifecycle", self._look))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def heard(self, node: N) -> None:
        """A kubelet has started, and renews its lease at once."""
        self._renewed[node.name] = time.monotonic()
        if self._serves():
            self._judge(node)

    def _renew(self) -> None:
        while True:
            for node in list(self._nodes()):
                # A node that is cut off makes the others wait here for as long as it tries to connect.
                if node.speaks and self._serves() and self._reaches(node):
                    self._renewed[node.name] = time.monotonic()
            if self._stopped.wait(RENEWED_EVERY / self._pace):
                return

    def _look(self) -> None:
        while not self._stopped.wait(LOOKED_EVERY / self._pace):
            if self._serves():
                for node in list(self._nodes()):
                    self._judge(node)
            else:
                # Once the API server is back, each kubelet has the full time again to renew its lease.
                self._renewed.clear()

    def _judge(self, node: N) -> None:
        now, key = time.monotonic(), node.name
        silent = (now - self._renewed.setdefault(key, now)) * self._pace
        if silent < NOT_READY_AFTER:
            if self._lost_at.pop(key, None) is not None:
                self._judged(node, ready=True)
            return
        if key not in self._lost_at:
            self._lost_at[key] = now
            self._judged(node, ready=False)
        self._overdue(node, (now - self._lost_at[key]) * self._pace)
