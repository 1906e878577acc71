"""
A small Kubernetes: one scheduler for the lab, one kubelet per worker; it runs the Deployments of a manifest.

Just what our manifests use, as a real cluster does it: node selector, anti-affinity, cordon, init containers to
completion, restarts with back-off, liveness and readiness by HTTP, SIGTERM and grace, replacement by the Deployment,
eviction within a PodDisruptionBudget.  With an API server (apiserver.py) the pods find it, and may ask what they may.
Without an image (image.py) `command_for` says what a container runs instead.  A node that was killed keeps its pods
in the books, as the API server does for the first minutes.

Every change of a pod is an event of the history ("pod"), every end of a container as well ("exit", with its reason:
completed, stopped, unhealthy, exited, node-lost), and every line that a container writes ("log", source "agent").

Each pod, each container and each probe has a daemon thread.  What they share is guarded by the Cluster's one lock,
which is never held while something waits.
"""

import contextlib
import ctypes
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lab.history import History, parse_logfmt
from lab.kubernetes.cluster import OBSERVERS, EvictionRefused, NotModelled, Part
from lab.kubernetes.small.apiserver import NAMESPACE, ApiServer
from lab.kubernetes.small.image import WARDEN, Image
from lab.kubernetes.small.lifecycle import Lifecycle
from lab.kubernetes.small.manifest import parse
from lab.kubernetes.small.objects import ConfigMapKey, Container, Deployment, HttpProbe, Manifest, Service

ROOT = Path(__file__).parents[3]
POD = Path(__file__).with_name("pod.py")
CLONE_NEWNET = 0x40000000
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
POLL = 0.01
"""How often a wait looks again, in seconds."""
REFUSED_AGAIN = 5.0
"""Seconds after which `kubectl drain` tries a refused eviction again."""
DRAINED_WITHIN = 60.0
"""Seconds after which a drain whose evictions are refused is given up."""
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
"""The characters of a pod's random suffix: Kubernetes' own, which cannot spell words."""

BY_EVICTION, BY_TAINT, BY_KUBELET = "EvictionByEvictionAPI", "DeletionByTaintManager", "TerminationByKubelet"
_DISRUPTIONS = {
    BY_EVICTION: "Eviction API: evicting",
    BY_TAINT: "Taint manager: deleting due to NoExecute taint",
    BY_KUBELET: "Pod was terminated in response to imminent node shutdown.",
}
"""Reasons of the condition `DisruptionTarget`, and what is said with each."""
SHUTDOWN_HEARD = 0.2
"""Seconds from the announcement of a shutdown until the kubelet sends SIGTERM (seen with kubelet 1.36)."""

_libc = ctypes.CDLL(None, use_errno=True)


class Worker(Protocol):
    """What the kubelet needs of a node."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str:
        """The primary address: where probes of hostNetwork pods go."""

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start `command` in the node's network namespace; the process id is the command's own."""


def image_command(container: Container) -> list[str]:
    """What the image's entry point would run."""
    return [sys.executable, "-m", "floatingip", *container.args]


class Backoff:
    """
    The delay before each restart of one container, as the real kubelet has it.

    The first restart is immediate, then `base` s doubling up to 300 s; a run of 10 minutes starts it anew.
    """

    LIMIT = 300.0
    FORGET = 600.0

    def __init__(self, base: float) -> None:
        self._base = base
        self._next = 0.0

    def delay(self, ran: float) -> float:
        """Seconds to wait, after a run of `ran` seconds."""
        delay = 0.0 if ran >= self.FORGET else self._next
        self._next = min(max(self._base, 2 * delay), self.LIMIT)
        return delay


@dataclass
class Pod:
    """
    One pod; `phase` is what `kubectl get pods` would show.

    `disruption` is the reason of the condition `DisruptionTarget`, if there is to be one; `deletion` is when the grace
    period of a deleted pod ends (seconds since 1970), None for one that nobody deleted; `lost`: its node is not ready,
    so neither is it, whatever it does.
    """

    name: str
    deployment: Deployment
    node: str | None = None
    phase: str = "Pending"
    ready: frozenset[str] = frozenset()
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    disruption: str = ""
    lost: bool = False
    deletion: float | None = None

    @property
    def is_ready(self) -> bool:
        """Running, with every container ready, on a node that is."""
        return not self.lost and self.phase == "Running" and len(self.ready) == len(self.deployment.pod.containers)

    @property
    def is_ending(self) -> bool:
        """Has it been deleted?"""
        return self.stopping.is_set()

    def as_object(self, namespace: str) -> dict[str, Any]:
        """The API object, as far as the lab has it."""
        metadata = {"name": self.name, "namespace": namespace, "labels": dict(self.deployment.labels)}
        if self.deletion is not None:
            metadata["deletionTimestamp"] = datetime.fromtimestamp(self.deletion, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # kubelet writes both; the control plane, when it writes a node off, changes the first one only.
        conditions = [{"type": kind, "status": str(self.is_ready)} for kind in ("Ready", "ContainersReady")]
        # The kubelet shows its own reason only once all containers have ended (status manager, mergePodStatus): a pod
        # that is being ended because of a shutdown sees neither a condition nor a deletion.
        if self.disruption and (self.disruption != BY_KUBELET or self.gone.is_set()):
            message = _DISRUPTIONS[self.disruption]
            conditions.append(
                {"type": "DisruptionTarget", "status": "True", "reason": self.disruption, "message": message}
            )
        spec = {"serviceAccountName": self.deployment.pod.account, **({"nodeName": self.node} if self.node else {})}
        phase = {"Pending": "Pending", "Init": "Pending", "Succeeded": "Succeeded"}.get(self.phase, "Running")
        status = {"phase": phase, "conditions": conditions}
        return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


@dataclass
class Node:
    """
    A worker and its kubelet, which acts while it is `awake`; nothing is scheduled on one that is cordoned, tainted, not
    ready or `ending`.

    `ready` is what the cluster makes of the kubelet's silence; `ending`: it has said that its machine shuts down.
    """

    worker: Worker
    labels: Mapping[str, str]
    cordoned: bool = False
    tainted: bool = False
    ready: bool = True
    ending: bool = False
    dead: threading.Event = field(default_factory=threading.Event)
    awake: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """The worker's."""
        return self.worker.name

    @property
    def speaks(self) -> bool:
        """Does its kubelet run?"""
        return self.awake.is_set() and not self.dead.is_set()


class Cluster:
    """
    The scheduler and all kubelets.

    `reaches` says whether a worker reaches the API server, `readiness` is told when a node becomes ready or not ready,
    and `pace` divides the times of the controller that judges this (lifecycle.py).
    `labels` are the nodes' (beside kubernetes.io/hostname), `extra_env` is added to every container, `backoff` is the
    first delay in seconds of a restart, `seed` makes the pods' names repeatable.  They run from `image`, if any.
    `services` are there beside those of the manifest.
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
        self._command_for = command_for
        self._image = image
        self._extra_env = dict(extra_env or {})
        self._backoff = backoff
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._manifest = Manifest()
        self._services = dict(services or {})
        self._api: ApiServer | None = None
        self._replicas: dict[str, int] = {}
        self._pods: dict[str, Pod] = {}
        self._nodes: dict[str, Node] = {}
        for worker in workers:
            own = (labels or {}).get(worker.name, {})
            node = Node(worker, {**own, "kubernetes.io/hostname": worker.name})
            node.awake.set()
            self._nodes[worker.name] = node
        self._readiness = readiness
        self._lifecycle = Lifecycle(
            nodes=self._nodes.values,
            reaches=lambda node: reaches(node.worker.name),
            serves=lambda: self._api is None or not self._api.down,
            judged=self._judged,
            overdue=self._evict_from,
            pace=pace,
        )

    def close(self) -> None:
        """End what runs beside the pods.  Idempotent."""
        self._lifecycle.stop()

    def use(self, api: ApiServer) -> None:
        """Give the containers that start from now on the way to this API server, and their tokens."""
        self._api = api

    @property
    def manifest(self) -> Manifest:
        """What was applied last."""
        return self._manifest

    @property
    def services(self) -> Mapping[str, Service]:
        """Those that there are, by name."""
        return {**self._services, **self._manifest.services}

    # What `kubectl` can do.

    def apply(self, manifest: Manifest | str) -> None:
        """
        Run the manifest's Deployments; existing pods keep what they were started with.

        Raises ManifestError for a text that it does not understand, ValueError if a container would have other rights
        in a real cluster than here.
        """
        manifest = parse(manifest) if isinstance(manifest, str) else manifest
        for deployment in manifest.deployments.values():
            _check_rights(deployment)
        with self._lock:
            self._manifest = manifest
            for name, deployment in manifest.deployments.items():
                self._replicas[name] = deployment.replicas
        self._reconcile()

    def pods(self, app: str = OBSERVERS) -> list[Pod]:
        """The pods with this label `app`, oldest first."""
        with self._lock:
            return [pod for pod in self._pods.values() if pod.deployment.labels.get("app") == app]

    def pod_on(self, node: str, app: str = OBSERVERS) -> Pod:
        """The pod on that node that is not being deleted.  Raises LookupError."""
        for pod in self.pods(app):
            if pod.node == node and not pod.is_ending:
                return pod
        raise LookupError(f"no pod of {app} on {node}")

    def pod_object(self, name: str) -> Mapping[str, Any]:
        """The pod as the API has it.  Raises LookupError."""
        with self._lock:
            if name not in self._pods:
                raise LookupError(f"no pod {name}")
            return self._pods[name].as_object(NAMESPACE)

    def delete_pod(self, name: str, grace: float | None = None) -> None:
        """
        Begin to end a pod: SIGTERM, after the grace period (seconds) SIGKILL.  The Deployment replaces it at once.

        Raises LookupError if there is no such pod.
        """
        with self._lock:
            if name not in self._pods:
                raise LookupError(f"no pod {name}")
            pod = self._pods[name]
        self._end(pod, pod.deployment.pod.grace if grace is None else grace)
        self._reconcile()

    def evict(self, name: str) -> None:
        """
        Delete a pod as a drain does: the condition `DisruptionTarget` first, and only if every budget allows it.

        Raises EvictionRefused if one does not, LookupError if there is no such pod.
        """
        with self._lock:
            if name not in self._pods:
                raise LookupError(f"no pod {name}")
            pod = self._pods[name]
            # As in the real one, a budget does not protect what serves nobody yet, or no more.
            if not pod.stopping.is_set() and pod.phase not in {"Pending", "Init"}:
                self._check_budgets(pod)
            pod.disruption = BY_EVICTION
            self._record("evicted", pod)
            self.delete_pod(name)

    def _check_budgets(self, pod: Pod) -> None:
        for budget in self._manifest.budgets.values():
            if not pod.is_ready and not budget.protects_unready:
                continue
            if budget.selector.items() <= pod.deployment.labels.items():
                selected = [
                    deployment
                    for deployment in self._manifest.deployments.values()
                    if budget.selector.items() <= deployment.labels.items()
                ]
                healthy = sum(mate.is_ready for one in selected for mate in self._living(one.name))
                desired = budget.desired(sum(self._replicas[one.name] for one in selected))
                if healthy - pod.is_ready < desired:
                    raise EvictionRefused(
                        f"{pod.name}: {budget.name} needs {desired} healthy pods, there are {healthy}"
                    )

    def drain(self, node: str, app: str | None = None) -> None:
        """
        `kubectl drain`: cordon, then evict each pod, again and again while a budget does not allow it.

        Raises TimeoutError if a budget allows it never.
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
        self._reconcile()

    def taint(self, node: str) -> None:
        """Taint the node NoExecute: the taint manager deletes its pods, and nothing new is scheduled there."""
        self._nodes[node].tainted = True
        for pod in [pod for pod in self.pods() if pod.node == node and not pod.stopping.is_set()]:
            pod.disruption = BY_TAINT
            self.delete_pod(pod.name)

    def untaint(self, node: str) -> None:
        """Take the taint off: pods are scheduled there again."""
        self._nodes[node].tainted = False
        self._reconcile()

    def delete_node(self, node: str) -> None:
        """Raises NotModelled."""
        raise NotModelled(f"{node}: the small Kubernetes has no Node objects that could be deleted")

    def scale(self, deployment: str, replicas: int) -> None:
        """Have that many pods; the youngest go first."""
        with self._lock:
            self._replicas[deployment] = replicas
            surplus = self._living(deployment)[replicas:]
        for pod in surplus:
            self._end(pod, pod.deployment.pod.grace)
        self._reconcile()

    def restart(self, deployment: str, timeout: float = 60.0) -> None:
        """
        A rolling restart, one pod after the other: maxSurge 0, maxUnavailable 1.

        Raises ValueError if the Deployment wants another strategy, TimeoutError if a pod is not ready in time.
        """
        wanted = self._manifest.deployments[deployment]
        if (wanted.max_surge, wanted.max_unavailable) != (0, 1):
            raise ValueError(f"{deployment}: the lab only knows maxSurge 0 with maxUnavailable 1")
        for pod in self._living(deployment):
            self.delete_pod(pod.name)
            self.wait_ready(timeout)

    def wait_ready(self, timeout: float) -> None:
        """Wait until every replica that was asked for is ready.  Raises TimeoutError with the pods' phases."""

        def ready() -> bool:
            return all(
                sum(pod.is_ready for pod in self._living(name)) == count for name, count in self._replicas.items()
            )

        if not _wait_for(ready, timeout):
            phases = ", ".join(f"{pod.name} on {pod.node}: {pod.phase}" for pod in self.pods())
            raise TimeoutError(f"not ready after {timeout} s: {phases}")

    def stop_all(self, grace: float | None = None) -> None:
        """End every pod and wait for it; nothing is replaced."""
        with self._lock:
            self._replicas = dict.fromkeys(self._replicas, 0)
            for node in self._nodes.values():
                node.awake.set()
            pods = list(self._pods.values())
        for pod in pods:
            self._end(pod, pod.deployment.pod.grace if grace is None else grace)
        for pod in pods:
            pod.gone.wait()
        self.close()

    # What befalls it.

    def kill_container(self, pod: str, container: str) -> None:
        """SIGKILL to a container's process.  Raises LookupError if it does not run."""
        with self._lock:
            running = self._pods[pod].running if pod in self._pods else {}
            if container not in running:
                raise LookupError(f"{container} of {pod} does not run")
            running[container].kill()

    def container_process(self, pod: str, container: str) -> int:
        """The id of a container's first process: the only child of its warden.  Raises LookupError if there is none."""
        with self._lock:
            running = self._pods[pod].running if pod in self._pods else {}
            if container not in running:
                raise LookupError(f"{container} of {pod} does not run")
            warden = running[container].pid
        try:
            return int(Path(f"/proc/{warden}/task/{warden}/children").read_text(encoding="utf-8").split()[0])
        except (OSError, IndexError) as error:
            raise LookupError(f"{container} of {pod} does not run") from error

    def hang(self, part: Part, node: str | None = None) -> None:
        """A kubelet stops where it stands: what runs, runs on, and nothing is started, ended or probed any more."""
        self._kubelet(part, node).awake.clear()

    def resume(self, part: Part, node: str | None = None) -> None:
        """It goes on."""
        self._kubelet(part, node).awake.set()

    kill, start = hang, resume
    """A kubelet that is started again takes over what runs: nobody can tell it from one that hung."""

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

    def shut_node_down(self, name: str) -> None:
        """
        The machine is about to end: its kubelet makes the node NotReady at once, and then ends the pods, which nobody
        has deleted.  Returns when all have ended, their grace period at the latest.
        """
        node = self._nodes[name]
        node.ending = True
        if node.dead.wait(SHUTDOWN_HEARD):
            return
        pods = [pod for pod in self.pods() if pod.node == name and not pod.stopping.is_set()]
        for pod in pods:
            pod.disruption = BY_KUBELET
            self._end(pod, pod.deployment.pod.grace)
        for pod in pods:
            pod.gone.wait(pod.deployment.pod.grace)

    def boot_node(self, name: str) -> None:
        """The machine runs again: its kubelet starts its pods anew, if they had not ended, and takes new ones."""
        with self._lock:
            old = self._nodes[name]
            node = self._nodes[name] = Node(old.worker, old.labels, old.cordoned, old.tainted, old.ready)
            node.awake.set()
            pods = [pod for pod in self._pods.values() if pod.node == name and not pod.gone.is_set()]
        for pod in pods:
            if pod.stopping.is_set():
                self._forget(pod)
            else:
                threading.Thread(target=self._run_pod, args=(pod, node), name=pod.name, daemon=True).start()
        self._lifecycle.heard(node)
        self._reconcile()

    # The controllers.

    def _judged(self, node: Node, *, ready: bool) -> None:
        """Tell of a node that has become ready, or has ceased to be; its pods with it."""
        with self._lock:
            node.ready = ready
            self._history.record(
                {
                    "source": "kubelet",
                    "event": "node",
                    "node": node.worker.name,
                    "status": "Ready" if ready else "NotReady",
                }
            )
            for pod in self._pods.values():
                if pod.node == node.worker.name and pod.lost is ready:
                    pod.lost = not ready
                    if pod.phase == "Running":
                        self._enter(pod, "Running", "ready" if pod.is_ready else "not ready")
        self._readiness(node.worker.name, ready)
        self._reconcile()

    def _evict_from(self, node: Node, lost_for: float) -> None:
        """Delete the pods that do not tolerate any longer that their node is not ready."""
        for pod in [pod for pod in self.pods() if pod.node == node.worker.name and not pod.is_ending]:
            if lost_for >= pod.deployment.pod.tolerates:
                pod.disruption = BY_TAINT
                self.delete_pod(pod.name)

    def kill_node(self, name: str) -> None:
        """The node's processes are gone, its kubelet too: no SIGTERM, no restart, no replacement."""
        node = self._nodes[name]
        with self._lock:
            node.dead.set()
            for process in self._processes(name):
                _signal(process, signal.SIGKILL)
        node.awake.set()

    def freeze_node(self, name: str) -> None:
        """Stop every process of the node's pods where it stands (SIGSTOP), and its kubelet."""
        node = self._nodes[name]
        node.awake.clear()
        with self._lock:
            stopped: set[int] = set()
            # A process can fork until it is stopped itself: look until there is none left.
            while fresh := self._processes(name) - stopped:
                for process in fresh:
                    _signal(process, signal.SIGSTOP)
                stopped |= fresh

    def thaw_node(self, name: str) -> None:
        """Let a frozen node go on."""
        with self._lock:
            for process in self._processes(name):
                _signal(process, signal.SIGCONT)
        self._nodes[name].awake.set()

    # The scheduler.

    def _living(self, deployment: str) -> list[Pod]:
        with self._lock:
            return [
                pod for pod in self._pods.values() if pod.deployment.name == deployment and not pod.stopping.is_set()
            ]

    def _reconcile(self) -> None:
        """Make the pods that are missing, and place those that fit somewhere."""
        with self._lock:
            for name, deployment in self._manifest.deployments.items():
                for _ in range(self._replicas[name] - len(self._living(name))):
                    suffix = "".join(self._random.choices(_SUFFIX, k=5))
                    pod = Pod(f"{name}-{suffix}", deployment)
                    self._pods[pod.name] = pod
                    self._enter(pod, "Pending")
            for pod in self._pods.values():
                if pod.node is None and not pod.stopping.is_set() and (node := self._place(pod)):
                    pod.node = node.worker.name
                    threading.Thread(target=self._run_pod, args=(pod, node), name=pod.name, daemon=True).start()

    def _place(self, pod: Pod) -> Node | None:
        """The fitting node with the fewest pods of the same Deployment."""

        def mates(node: Node) -> list[Pod]:
            # A terminating pod still counts: its processes are still there.
            return [pod for pod in self._pods.values() if pod.node == node.worker.name and not pod.gone.is_set()]

        def fits(node: Node) -> bool:
            exclusive = pod.deployment.pod.exclusive
            return (
                not node.cordoned
                and not node.tainted
                and not node.ending
                and node.ready
                and not node.dead.is_set()
                and pod.deployment.pod.node_selector.items() <= node.labels.items()
                and not (
                    exclusive is not None
                    and any(exclusive.items() <= other.deployment.labels.items() for other in mates(node))
                )
            )

        fitting = [node for node in self._nodes.values() if fits(node)]
        return min(fitting, key=lambda node: len(mates(node)), default=None)

    # One node's kubelet.

    def _run_pod(self, pod: Pod, node: Node) -> None:
        """The life of a pod, in its own thread."""
        spec = pod.deployment.pod
        for container in spec.init_containers:
            self._enter(pod, "Init", container.name)
            if not self._run_container(pod, node, container, until_completed=True):
                break
        else:
            self._enter(pod, "Running")
            threads = [
                threading.Thread(
                    target=self._run_container,
                    args=(pod, node, container),
                    name=f"{pod.name}/{container.name}",
                    daemon=True,
                )
                for container in spec.containers
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if not node.dead.is_set():
            self._forget(pod)

    def _run_container(self, pod: Pod, node: Node, container: Container, *, until_completed: bool = False) -> bool:
        """Run and restart a container until the pod or the node ends (False), or until it has completed (True)."""
        backoff = Backoff(self._backoff)
        while True:
            began = time.monotonic()
            reason, code = self._run_once(pod, node, container, until_completed=until_completed)
            self._record("exit", pod, container=container.name, code=code, reason=reason)
            if reason in {"stopped", "node-lost"}:
                return False
            if reason == "completed":
                return True
            delay = backoff.delay(time.monotonic() - began)
            if delay:
                self._enter(pod, "CrashLoopBackOff", f"{container.name}: again in {delay:g} s")
            if pod.stopping.wait(delay) or node.dead.is_set():
                return False
            self._enter(pod, "Init" if until_completed else "Running", f"{container.name}: restarted")

    def _run_once(self, pod: Pod, node: Node, container: Container, *, until_completed: bool) -> tuple[str, int | None]:
        """One run of a container: why it ended, and its exit code."""
        process = None
        while process is None:
            node.awake.wait()
            with self._lock:
                if node.dead.is_set() or pod.stopping.is_set():
                    return "node-lost" if node.dead.is_set() else "stopped", None
                if node.awake.is_set():
                    process = pod.running[container.name] = self._start(pod, node, container)
        unhealthy = threading.Event()
        probes = [
            threading.Thread(
                target=task, args=(pod, node, container, process, *more), name=f"{pod.name}/probe", daemon=True
            )
            for task, wanted, more in (
                (self._live, container.liveness, (unhealthy,)),
                (self._ready, container.readiness, ()),
            )
            if wanted
        ]
        for probe in probes:
            probe.start()
        if not container.readiness and not until_completed:
            self._set_ready(pod, container, process, ready=True)
        self._read(pod, node, container, process)
        code = process.wait()
        if code < 0:  # the warden itself was killed
            code = 128 - code
        self._set_ready(pod, container, process, ready=False)
        with self._lock:
            del pod.running[container.name]
        if process.stdin:
            process.stdin.close()
        if node.dead.is_set():
            return "node-lost", code
        if pod.stopping.is_set():
            return "stopped", code
        if unhealthy.is_set():
            return "unhealthy", code
        return ("completed" if until_completed and code == 0 else "exited"), code

    def _start(self, pod: Pod, node: Node, container: Container) -> subprocess.Popen[str]:
        """Start a container's process through pod.py; the open stdin ties it to this process."""
        files = {
            mount.path: {
                file: self._manifest.config_maps[mount.config_map].data[key]
                for file, key in self._keys(mount.config_map, mount.files).items()
            }
            for mount in container.mounts
        }
        if self._api and pod.deployment.pod.token:
            files[SERVICE_ACCOUNT] = self._api.mounted(pod.deployment.pod.account)
        environment = self._environment(pod, node, container)
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        if self._image:
            command = self._image.command(container.args, container.security, environment, files)
            spec, environment = WARDEN, path
        else:
            command = self._command_for(container)
            spec = {"files": files, "capabilities": container.security.add}
            # Without a home no AWS configuration of the person who runs the lab is found.
            environment = {**path, "LANG": "C.UTF-8", "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), **environment}
        return node.worker.popen(
            [sys.executable, "-I", "-S", str(POD), json.dumps(spec), *command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )

    def _keys(self, config_map: str, files: Mapping[str, str] | None) -> Mapping[str, str]:
        """File name -> key; a volume without items has a file for every key."""
        return files if files is not None else {key: key for key in self._manifest.config_maps[config_map].data}

    def _environment(self, pod: Pod, node: Node, container: Container) -> dict[str, str]:
        """The container's variables beside those of its image: the manifest's and the lab's."""
        environment: dict[str, str] = {}
        for name, value in container.env.items():
            if isinstance(value, str):
                environment[name] = value
            elif isinstance(value, ConfigMapKey):
                environment[name] = self._manifest.config_maps[value.name].data[value.key]
            else:
                environment[name] = {
                    "metadata.name": pod.name,
                    "metadata.namespace": NAMESPACE,
                    "spec.nodeName": node.worker.name,
                }[value.path]
        return environment | (self._api.environment if self._api else {}) | self._extra_env

    def _read(self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str]) -> None:
        """Record what the container writes, until it has ended."""
        for line in process.stdout or ():
            text = line.rstrip("\n")
            event = {"source": "agent", "event": "log", "pod": pod.name, "node": node.worker.name}
            self._history.record({**event, "container": container.name, "line": text, "fields": parse_logfmt(text)})

    def _end(self, pod: Pod, grace: float) -> None:
        """Begin to end a pod (idempotent)."""
        with self._lock:
            if pod.stopping.is_set():
                return
            pod.stopping.set()
            if pod.disruption != BY_KUBELET:
                pod.deletion = time.time() + grace
            self._enter(pod, "Terminating")
        if pod.node is None or self._nodes[pod.node].dead.is_set():
            self._forget(pod)
        else:
            node = self._nodes[pod.node]
            threading.Thread(target=self._kill, args=(pod, node, grace), name=f"{pod.name}/end", daemon=True).start()

    def _kill(self, pod: Pod, node: Node, grace: float) -> None:
        """The kubelet ends a pod: SIGTERM as soon as it can, and after the grace period what is left."""
        node.awake.wait()
        with self._lock:
            for process in pod.running.values():
                process.terminate()
        if not pod.gone.wait(grace):
            with self._lock:
                for process in pod.running.values():
                    process.kill()
            if pod.node and self._nodes[pod.node].dead.is_set():
                self._forget(pod)

    def _forget(self, pod: Pod) -> None:
        """The pod has ended; one that nobody deleted stays in the books."""
        with self._lock:
            if pod.deletion is None and pod.disruption == BY_KUBELET:
                self._enter(pod, "Succeeded")
            elif self._pods.pop(pod.name, None):
                self._enter(pod, "Gone")
            pod.gone.set()
        self._reconcile()

    # Probes.

    def _live(
        self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str], unhealthy: threading.Event
    ) -> None:
        """End the container when its liveness probe has failed often enough in a row."""
        probe = container.liveness
        assert probe
        failures = 0
        for passed in self._probe(pod, node, probe, process):
            failures = 0 if passed else failures + 1
            if failures >= probe.failure_threshold:
                unhealthy.set()
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(pod.deployment.pod.grace)
                process.kill()
                return

    def _ready(self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str]) -> None:
        """Keep the container's readiness."""
        probe = container.readiness
        assert probe
        ready, against = False, 0
        for passed in self._probe(pod, node, probe, process):
            against = 0 if passed is ready else against + 1
            if against >= (probe.failure_threshold if ready else probe.success_threshold):
                ready, against = passed, 0
                self._set_ready(pod, container, process, ready=ready)

    def _probe(self, pod: Pod, node: Node, probe: HttpProbe, process: subprocess.Popen[str]) -> Iterable[bool]:
        """The results of a probe, one every period, as long as the container runs and the pod is not being ended."""
        due = time.monotonic() + probe.initial_delay
        while True:
            if pod.stopping.wait(min(POLL * 10, max(0.0, due - time.monotonic()))) or process.poll() is not None:
                return
            if time.monotonic() < due:
                continue
            node.awake.wait()
            due = time.monotonic() + probe.period
            passed = _get(process.pid, node.worker.address, probe)
            # Of a node that was stopped meanwhile this says nothing.
            if node.awake.is_set() and not node.dead.is_set():
                yield passed

    def _set_ready(self, pod: Pod, container: Container, process: subprocess.Popen[str], *, ready: bool) -> None:
        with self._lock:
            # A probe of the container's last run may come late.
            if (container.name in pod.ready) is ready or pod.running.get(container.name) is not process:
                return
            pod.ready = pod.ready ^ {container.name}
            if pod.phase == "Running":
                self._enter(pod, "Running", "ready" if pod.is_ready else "not ready")

    # Small things.

    def _processes(self, node: str) -> set[int]:
        roots = {
            process.pid
            for pod in self._pods.values()
            if pod.node == node
            for process in pod.running.values()
            if process.poll() is None
        }
        return _with_descendants(roots)

    def _enter(self, pod: Pod, phase: str, detail: str = "") -> None:
        """Change a pod's phase; one that is being deleted stays Terminating until it is gone."""
        with self._lock:
            if pod.stopping.is_set() and phase not in {"Terminating", "Succeeded", "Gone"}:
                return
            pod.phase = phase
            self._record("pod", pod, phase=phase, detail=detail)

    def _record(self, event: str, pod: Pod, **more: object) -> None:
        self._history.record({"source": "kubelet", "event": event, "pod": pod.name, "node": pod.node, **more})


def _check_rights(deployment: Deployment) -> None:
    """Refuse what pod.py does not do: a pod network, another user, more capabilities, a writable root."""
    if not deployment.pod.host_network:
        raise ValueError(f"{deployment.name}: the lab only runs pods with hostNetwork")
    for container in deployment.pod.init_containers + deployment.pod.containers:
        rights = container.security
        if not (
            rights.user == 0 and rights.drop == ("ALL",) and rights.read_only_root and not rights.privilege_escalation
        ):
            raise ValueError(
                f"{deployment.name}, {container.name}: the lab runs every container as user 0, with all capabilities "
                "dropped but those added, a read-only root and no privilege escalation: ask for the same"
            )


def _get(process: int, address: str, probe: HttpProbe) -> bool:
    """One HTTP GET from the network namespace of `process`; the calling thread stays there."""
    try:
        with Path(f"/proc/{process}/ns/net").open("rb") as namespace:
            if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        connection = http.client.HTTPConnection(address, probe.port, timeout=probe.timeout)
        with contextlib.closing(connection):
            connection.request("GET", probe.path, headers={"User-Agent": "kube-probe/lab"})
            return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False


def _with_descendants(roots: set[int]) -> set[int]:
    """These processes and all below them."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while its file is being read.
        with contextlib.suppress(OSError):
            # The name, in parentheses, may contain anything; the parent is the second field after it.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, new = set(roots), list(roots)
    while new:
        fresh = [child for child in children.get(new.pop(), []) if child not in found]
        found.update(fresh)
        new += fresh
    return found


def _signal(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
