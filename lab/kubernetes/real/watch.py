"""
A watch on the API server's pods: which there are, their phases, and their containers' ends.

What it shows is recorded in the history as by the small Kubernetes.
"""

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lab.history import History
from lab.kubernetes.real.kubectl import Kubectl, KubectlFailed
from lab.kubernetes.real.pod import Pod


class Watch:
    """The pods as the watch showed them last.  `follow` needs a thread of its own, and ends when `closing` is set."""

    def __init__(self, kubectl: Kubectl, history: History, closing: threading.Event) -> None:
        self._kubectl = kubectl
        self._history = history
        self._closing = closing
        self._pods: dict[str, Pod] = {}
        self._gone: dict[str, Mapping[str, Any]] = {}
        self._told: dict[str, tuple[str, bool]] = {}
        self._ended: set[str] = set()
        self._lock = threading.RLock()
        self._watching: subprocess.Popen[str] | None = None

    def pods(self, app: str) -> list[Pod]:
        """The pods with this label `app` that have not ended, oldest first."""
        with self._lock:
            found = [pod for pod in self._pods.values() if pod.app == app and not pod.has_ended]
        return sorted(found, key=lambda pod: str(pod.object["metadata"]["creationTimestamp"]))

    def pod(self, name: str) -> Pod | None:
        """The pod of this name, if there is one."""
        with self._lock:
            return self._pods.get(name)

    def gone(self, name: str) -> Mapping[str, Any] | None:
        """The last API object of a pod that has been removed, if there was one."""
        with self._lock:
            return self._gone.get(name)

    def end(self) -> None:
        """End the watch; `closing` must have been set."""
        if self._watching is not None:
            self._watching.kill()

    def follow(self) -> None:
        """Follow the API server's pods, also after it was away."""
        while not self._closing.wait(0.1):
            with suppress(KubectlFailed, ValueError):
                listed = json.loads(self._kubectl("get", "--raw", "/api/v1/pods"))
                self._take_all(listed["items"])
                version = listed["metadata"]["resourceVersion"]
                command = self._kubectl.command("get", "--raw", f"/api/v1/pods?watch=1&resourceVersion={version}")
                with subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                ) as watching:
                    self._watching = watching
                    if self._closing.is_set():
                        watching.kill()
                    for line in watching.stdout or ():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._take(event["object"], gone=event["type"] == "DELETED")
                    watching.kill()

    def _take_all(self, objects: Sequence[Mapping[str, Any]]) -> None:
        names = {item["metadata"]["name"] for item in objects}
        for item in objects:
            self._take(item, gone=False)
        with self._lock:
            lost = [pod for name, pod in self._pods.items() if name not in names]
        for pod in lost:
            self._take(pod.object, gone=True)

    def _take(self, item: Mapping[str, Any], *, gone: bool) -> None:
        pod = Pod(item)
        with self._lock:
            self._record_ends(pod)
            if gone:
                self._pods.pop(pod.name, None)
                self._gone[pod.name] = item
                if self._told.pop(pod.name, None):
                    self._record("pod", pod, phase="Gone", detail="")
                return
            self._pods[pod.name] = pod
            now = pod.phase, pod.is_ready
            if self._told.get(pod.name) != now:
                self._told[pod.name] = now
                detail = ("ready" if pod.is_ready else "not ready") if pod.phase == "Running" else ""
                self._record("pod", pod, phase=pod.phase, detail=detail)

    def _record_ends(self, pod: Pod) -> None:
        for identity, (container, code) in pod.ends().items():
            if identity in self._ended:
                continue
            self._ended.add(identity)
            if pod.is_ending or pod.condition("DisruptionTarget") == "True":
                reason = "stopped"
            else:
                reason = "exited" if code else "completed"
            self._record("exit", pod, container=container, code=code, reason=reason)

    def _record(self, event: str, pod: Pod, **more: object) -> None:
        self._history.record({"source": "kubelet", "event": event, "pod": pod.name, "node": pod.node, **more})
