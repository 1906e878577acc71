"""
A small Kubernetes: one scheduler for the lab, one kubelet per worker; it runs the Deployments of a manifest.

It does just what our manifests use, as a real cluster does: node selector, anti-affinity, cordon, init containers to
completion, restarts with back-off, liveness and readiness by HTTP, SIGTERM and grace, replacement by the Deployment,
eviction within a PodDisruptionBudget.  With an API server (apiserver.py), pods can ask what their rights allow.
Without an image (image.py) `command_for` says what a container runs instead.

Every change of a pod is an event of the history ("pod"), every end of a container as well ("exit", with its reason:
completed, stopped, unhealthy, exited, node-lost), and every line that a container writes ("log", source "agent").

Each pod, each container and each probe has a daemon thread.  What they share is in the books (pods.py).
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lab.history import History
from lab.kubernetes.cluster import OBSERVERS, EvictionRefused, NotModelled, Part
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.containers import Containers
from lab.kubernetes.small.image import Image
from lab.kubernetes.small.kubelet import Kubelets
from lab.kubernetes.small.lifecycle import Lifecycle
from lab.kubernetes.small.manifest import parse
from lab.kubernetes.small.objects import Container, Manifest, Service
from lab.kubernetes.small.pods import BY_EVICTION, BY_TAINT, Books, Node, Pod, Worker
from lab.kubernetes.small.replicas import Replicas
from lab.kubernetes.small.resources import NAMESPACE
from lab.kubernetes.small.rights import check_rights
from lab.kubernetes.small.scheduler import check_budgets

POLL = 0.01
"""Seconds after which a wait looks again."""
REFUSED_AGAIN = 5.0
"""Seconds after which `kubectl drain` tries a refused eviction again."""
DRAINED_WITHIN = 60.0
"""Seconds after which a drain whose evictions are refused is given up."""


def image_command(container: Container) -> list[str]:
    """The command that the image's entry point would run."""
    return [sys.executable, "-m", "floatingip", *container.args]


class Cluster:
    """
    The scheduler and all kubelets.

    `reaches` says whether a worker reaches the API server, `readiness` is called when a node becomes ready or not
    ready, and `pace` divides the times of the controller that judges that (lifecycle.py).
    `labels` are the nodes' (beside kubernetes.io/hostname), `extra_env` is added to every container's variables,
    `backoff` is the first delay of a restart in seconds, `seed` makes the pods' names repeatable.  Containers run from
    `image`, if there is one.  `services` exist beside those of the manifest.
    """

    def __init__(
        self,
        workers: Iterable[Worker],
        history: History,
        *,
        command_for: Callable[[Container], list[str]] = image_command,
        image: Image | None = None,
        extra_env: Mapping[str, str] | None = None,
        labels: Mapping[str, Mapping[str, str]] | None = None,
        backoff: float = 10.0,
        seed: int = 0,
        reaches: Callable[[str], bool] = lambda _: True,
        readiness: Callable[[str, bool], None] = lambda _node, _ready: None,
        pace: float = 1.0,
        services: Mapping[str, Service] | None = None,
    ) -> None:
        self._history = history
        self._books = Books(history)
        self._containers = Containers(
            self._books,
            history,
            command_for=command_for,
            image=image,
            extra_env=dict(extra_env or {}),
            backoff=backoff,
        )
        self._services = dict(services or {})
        self._nodes: dict[str, Node] = {}
        for worker in workers:
            own = (labels or {}).get(worker.name, {})
            node = Node(worker, {**own, "kubernetes.io/hostname": worker.name})
            node.awake.set()
            self._nodes[worker.name] = node
        self._replicas = Replicas(self._books, self._nodes, self._run, seed)
        self._kubelets = Kubelets(self._nodes, self._books, self._containers, self._replicas.reconcile)
        self._readiness = readiness
        self._lifecycle = Lifecycle(
            nodes=self._nodes.values,
            reaches=lambda node: reaches(node.worker.name),
            serves=lambda: self._containers.api is None or not self._containers.api.down,
            judged=self._judged,
            overdue=self._evict_from,
            pace=pace,
        )

    def close(self) -> None:
        """End all that runs beside the pods.  Idempotent."""
        self._lifecycle.stop()

    def use(self, api: ApiServer) -> None:
        """Containers that start from now on get the address of this API server, and their tokens."""
        self._containers.api = api

    @property
    def manifest(self) -> Manifest:
        """The manifest that was applied last."""
        return self._books.manifest

    @property
    def books(self) -> Books:
        """The books, from which the API server answers."""
        return self._books

    @property
    def services(self) -> Mapping[str, Service]:
        """The services that exist, by name."""
        return {**self._services, **self._books.manifest.services}

    # What `kubectl` can do.

    def apply(self, manifest: Manifest | str) -> None:
        """
        Run the manifest's Deployments; existing pods keep what they were started with.

        Raises ManifestError for a text that it does not understand, ValueError if a container would have other rights
        in a real cluster than here.
        """
        manifest = parse(manifest) if isinstance(manifest, str) else manifest
        for deployment in manifest.deployments.values():
            check_rights(deployment)
        with self._books.lock:
            self._books.manifest = manifest
            for name, deployment in manifest.deployments.items():
                self._replicas.wanted[name] = deployment.replicas
        self._replicas.reconcile()

    def pods(self, app: str = OBSERVERS) -> list[Pod]:
        """The pods with this label `app`, oldest first."""
        with self._books.lock:
            return [pod for pod in self._books.pods.values() if pod.deployment.labels.get("app") == app]

    def pod_on(self, node: str, app: str = OBSERVERS) -> Pod:
        """The pod on that node that is not being deleted.  Raises LookupError."""
        for pod in self.pods(app):
            if pod.node == node and not pod.is_ending:
                return pod
        raise LookupError(f"no pod of {app} on {node}")

    def pod_object(self, name: str) -> Mapping[str, Any]:
        """The pod's API object.  Raises LookupError."""
        with self._books.lock:
            return self._books.pod(name).as_object(NAMESPACE)

    def pod_events(self, name: str) -> list[Mapping[str, Any]]:
        """The Events about a pod, as events.k8s.io/v1 has them."""
        with self._books.lock:
            return [event for event in self._books.events.values() if event["regarding"]["name"] == name]

    def config_map(self, name: str) -> Mapping[str, str]:
        """A ConfigMap's data.  Raises LookupError."""
        return self._books.config_map(name)

    def delete_pod(self, name: str, grace: float | None = None) -> None:
        """
        Begin to end a pod: SIGTERM, after the grace period (seconds) SIGKILL.  The Deployment replaces it at once.

        Raises LookupError if there is no such pod.
        """
        pod = self._books.pod(name)
        self._kubelets.end(pod, pod.deployment.pod.grace if grace is None else grace)
        self._replicas.reconcile()

    def evict(self, name: str) -> None:
        """
        Delete a pod as a drain does: the condition `DisruptionTarget` first, and only if every budget allows it.

        Raises EvictionRefused if one does not, LookupError if there is no such pod.
        """
        with self._books.lock:
            pod = self._books.pod(name)
            # As in a real cluster, a budget does not protect a pod that does not serve yet, or no longer.
            if not pod.stopping.is_set() and pod.phase not in {"Pending", "Init"}:
                check_budgets(pod, self._books.manifest, self._replicas.wanted, self._books.pods.values())
            pod.disruption = BY_EVICTION
            self._books.record("evicted", pod)
            self.delete_pod(name)

    def drain(self, node: str, app: str | None = None) -> None:
        """
        `kubectl drain`: cordon, then evict each pod, again and again while a budget does not allow it.

        Raises TimeoutError if a budget never allows it.
        """
        self.cordon(node)
        deadline = time.monotonic() + DRAINED_WITHIN
        for pod in self.pods(app or OBSERVERS):
            while pod.node == node and not pod.is_ending:
                try:
                    self.evict(pod.name)
                except EvictionRefused as error:
                    if time.monotonic() > deadline:
                        raise TimeoutError(str(error)) from error
                    time.sleep(REFUSED_AGAIN)

    def cordon(self, node: str) -> None:
        """Schedule nothing new on that node."""
        self._nodes[node].cordoned = True

    def uncordon(self, node: str) -> None:
        """Schedule on that node again."""
        self._nodes[node].cordoned = False
        self._replicas.reconcile()

    def taint(self, node: str) -> None:
        """Taint the node NoExecute: the taint manager deletes its pods, and nothing new is scheduled there."""
        self._nodes[node].tainted = True
        for pod in [pod for pod in self.pods() if pod.node == node and not pod.stopping.is_set()]:
            pod.disruption = BY_TAINT
            self.delete_pod(pod.name)

    def untaint(self, node: str) -> None:
        """Take the taint off: pods are scheduled there again."""
        self._nodes[node].tainted = False
        self._replicas.reconcile()

    def delete_node(self, node: str) -> None:
        """Raises NotModelled."""
        raise NotModelled(f"{node}: the small Kubernetes has no Node objects that could be deleted")

    def scale(self, deployment: str, replicas: int) -> None:
        """Have that many pods; the youngest go first."""
        with self._books.lock:
            self._replicas.wanted[deployment] = replicas
            surplus = self._replicas.living(deployment)[replicas:]
        for pod in surplus:
            self._kubelets.end(pod, pod.deployment.pod.grace)
        self._replicas.reconcile()

    def restart(self, deployment: str, timeout: float = 60.0) -> None:
        """
        A rolling restart, one pod after the other: maxSurge 0, maxUnavailable 1.

        Raises ValueError if the Deployment wants another strategy, TimeoutError if a pod is not ready in time.
        """
        wanted = self._books.manifest.deployments[deployment]
        if (wanted.max_surge, wanted.max_unavailable) != (0, 1):
            raise ValueError(f"{deployment}: the lab only knows maxSurge 0 with maxUnavailable 1")
        for pod in self._replicas.living(deployment):
            self.delete_pod(pod.name)
            self.wait_ready(timeout)

    def wait_ready(self, timeout: float) -> None:
        """Wait until every replica that was asked for is ready.  Raises TimeoutError with the pods' phases."""

        def ready() -> bool:
            return all(
                sum(pod.is_ready for pod in self._replicas.living(name)) == count
                for name, count in self._replicas.wanted.items()
            )

        if not _wait_for(ready, timeout):
            phases = ", ".join(f"{pod.name} on {pod.node}: {pod.phase}" for pod in self.pods())
            raise TimeoutError(f"not ready after {timeout} s: {phases}")

    def stop_all(self, grace: float | None = None) -> None:
        """End every pod and wait for it; nothing is replaced."""
        with self._books.lock:
            self._replicas.want_none()
            for node in self._nodes.values():
                node.awake.set()
            pods = list(self._books.pods.values())
        for pod in pods:
            self._kubelets.end(pod, pod.deployment.pod.grace if grace is None else grace)
        for pod in pods:
            pod.gone.wait()
        self.close()

    # What can go wrong.

    def hang(self, part: Part, node: str | None = None) -> None:
        """A kubelet hangs: containers run on, but it starts, ends and probes nothing until `resume`."""
        self._kubelet(part, node).awake.clear()

    def resume(self, part: Part, node: str | None = None) -> None:
        """A kubelet that hung goes on."""
        self._kubelet(part, node).awake.set()

    kill, start = hang, resume
    """A kubelet that is started again takes over the containers that run: nobody can tell it from one that hung."""

    def _kubelet(self, part: Part, node: str | None) -> Node:
        if part is not Part.KUBELET or node is None:
            raise NotModelled(f"the small Kubernetes has no {part} that could fail")
        return self._nodes[node]

    def conditions(self, node: str) -> Mapping[str, str]:
        """A node's conditions."""
        found = self._nodes[node]
        return {"Ready": "Unknown" if not found.ready else "False" if found.ending else "True"}

    def endpoints(self, service: str) -> set[str]:  # noqa: ARG002 - behind every service each node has one
        """The nodes with ready endpoints of a service."""
        return {name for name, node in self._nodes.items() if node.ready and not node.ending}

    def kill_container(self, pod: str, container: str) -> None:
        """SIGKILL to a container's process.  Raises LookupError if it does not run."""
        self._kubelets.kill_container(pod, container)

    def container_process(self, pod: str, container: str) -> int:
        """The id of a container's first process.  Raises LookupError if there is none."""
        return self._kubelets.container_process(pod, container)

    def shut_node_down(self, name: str) -> None:
        """The machine is about to shut down, and tells its kubelet; returns when its pods have ended."""
        self._kubelets.shut_node_down(name)

    def kill_node(self, name: str) -> None:
        """All processes of the node end at once, its kubelet too."""
        self._kubelets.kill_node(name)

    def freeze_node(self, name: str) -> None:
        """All processes of the node are stopped, its kubelet too."""
        self._kubelets.freeze_node(name)

    def thaw_node(self, name: str) -> None:
        """A frozen node goes on."""
        self._kubelets.thaw_node(name)

    def boot_node(self, name: str) -> None:
        """The machine runs again: its kubelet starts its pods anew, if they had not ended, and takes new ones."""
        with self._books.lock:
            old = self._nodes[name]
            node = self._nodes[name] = Node(old.worker, old.labels, old.cordoned, old.tainted, old.ready)
            node.awake.set()
            pods = [pod for pod in self._books.pods.values() if pod.node == name and not pod.gone.is_set()]
        for pod in pods:
            if pod.stopping.is_set():
                self._kubelets.forget(pod)
            else:
                self._kubelets.run(pod, node)
        self._lifecycle.heard(node)
        self._replicas.reconcile()

    # The controllers.

    def _judged(self, node: Node, *, ready: bool) -> None:
        """A node has become ready or not ready, and so have its pods: record that, and report it."""
        with self._books.lock:
            node.ready = ready
            self._history.record(
                {
                    "source": "kubelet",
                    "event": "node",
                    "node": node.worker.name,
                    "status": "Ready" if ready else "NotReady",
                }
            )
            for pod in self._books.pods.values():
                if pod.node == node.worker.name and pod.lost is ready:
                    pod.lost = not ready
                    if pod.phase == "Running":
                        self._books.enter(pod, "Running", "ready" if pod.is_ready else "not ready")
        self._readiness(node.worker.name, ready)
        self._replicas.reconcile()

    def _evict_from(self, node: Node, lost_for: float) -> None:
        """Delete the pods that have tolerated for long enough that their node is not ready, for `lost_for` seconds by
        now.
        """
        for pod in [pod for pod in self.pods() if pod.node == node.worker.name and not pod.is_ending]:
            if lost_for >= pod.deployment.pod.tolerates:
                pod.disruption = BY_TAINT
                self.delete_pod(pod.name)

    def _run(self, pod: Pod, node: Node) -> None:
        self._kubelets.run(pod, node)


def _wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
