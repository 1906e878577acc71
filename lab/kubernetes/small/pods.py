"""The books of the small Kubernetes: pods and nodes, which its parts share under one lock."""

import subprocess
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from lab.history import History
from lab.kubernetes.small.objects import Deployment, Manifest

BY_EVICTION, BY_TAINT, BY_KUBELET = "EvictionByEvictionAPI", "DeletionByTaintManager", "TerminationByKubelet"
_DISRUPTIONS = {
    BY_EVICTION: "Eviction API: evicting",
    BY_TAINT: "Taint manager: deleting due to NoExecute taint",
    BY_KUBELET: "Pod was terminated in response to imminent node shutdown.",
}
"""The reasons of the condition `DisruptionTarget`, each with its message."""


class Worker(Protocol):
    """What the kubelet needs of a node."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str:
        """The primary address: where probes of hostNetwork pods go."""

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start `command` in the node's network namespace; the process id is the command's own."""


@dataclass
class Pod:
    """
    One pod; `phase` is what `kubectl get pods` would show.

    `disruption` is the reason of its condition `DisruptionTarget`, empty if it has none; `deletion` is when the grace
    period of a deleted pod ends (seconds since 1970), None if it is not deleted; `lost`: its node is not ready, so the
    pod is not ready either; `labels` are those that were added since it was made.
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
    labels: dict[str, str] = field(default_factory=dict)
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_ready(self) -> bool:
        """Whether its containers are ready, and its node."""
        return not self.lost and self.are_containers_ready

    @property
    def are_containers_ready(self) -> bool:
        """Whether it runs with every container ready, as last reported by its kubelet."""
        return self.phase == "Running" and len(self.ready) == len(self.deployment.pod.containers)

    @property
    def is_ending(self) -> bool:
        """Has it been deleted?"""
        return self.stopping.is_set()

    def as_object(self, namespace: str) -> dict[str, Any]:
        """The API object, as far as the lab has it."""
        labels = {**self.deployment.labels, **self.labels}
        metadata = {"name": self.name, "namespace": namespace, "uid": self.uid, "labels": labels}
        if self.deletion is not None:
            metadata["deletionTimestamp"] = datetime.fromtimestamp(self.deletion, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        # kubelet writes both; the control plane, when it writes a node off, changes only the first.
        ready = {"Ready": self.is_ready, "ContainersReady": self.are_containers_ready}
        conditions = [{"type": kind, "status": str(status)} for kind, status in ready.items()]
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
    A worker and its kubelet, which acts while it is `awake`.  Nothing is scheduled on a node that is cordoned, tainted,
    not ready or `ending`.

    `ready`: the kubelet has not been silent for too long; `ending`: the kubelet has said that its machine shuts down.
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
        """The worker's name."""
        return self.worker.name

    @property
    def speaks(self) -> bool:
        """Does its kubelet run?"""
        return self.awake.is_set() and not self.dead.is_set()


class Books:
    """
    The manifest that was applied last, and all pods by name; each change of a pod's phase is recorded in the history.

    written: what pods have written into ConfigMaps, which a later `apply` keeps; events: Events, by name.
    lock: guards all of it, and is never held while something waits.
    """

    def __init__(self, history: History) -> None:
        self.lock = threading.RLock()
        self.manifest = Manifest()
        self.pods: dict[str, Pod] = {}
        self.written: dict[str, dict[str, str]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self._history = history

    def pod(self, name: str) -> Pod:
        """The pod of that name.  Raises LookupError."""
        with self.lock:
            if name not in self.pods:
                raise LookupError(f"no pod {name}")
            return self.pods[name]

    def config_map(self, name: str) -> dict[str, str]:
        """A ConfigMap's data.  Raises LookupError."""
        with self.lock:
            return {**self.manifest.config_maps[name].data, **self.written.get(name, {})}

    def process(self, pod: str, container: str) -> subprocess.Popen[str]:
        """The process of a container, which is its warden (pod.py).  Raises LookupError if it does not run."""
        with self.lock:
            running = self.pods[pod].running if pod in self.pods else {}
            if container not in running:
                raise LookupError(f"{container} of {pod} does not run")
            return running[container]

    def enter(self, pod: Pod, phase: str, detail: str = "") -> None:
        """Change a pod's phase; one that is being deleted stays Terminating until it is gone."""
        with self.lock:
            if pod.stopping.is_set() and phase not in {"Terminating", "Succeeded", "Gone"}:
                return
            pod.phase = phase
            self.record("pod", pod, phase=phase, detail=detail)

    def record(self, event: str, pod: Pod, **more: object) -> None:
        """Record in the history what has happened to a pod."""
        self._history.record({"source": "kubelet", "event": event, "pod": pod.name, "node": pod.node, **more})
