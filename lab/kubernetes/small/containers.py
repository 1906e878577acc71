"""
How a node's kubelet runs a pod's containers: in order, with files and variables, probes, and restarts with back-off.

Each container and each probe has a daemon thread.
"""

import contextlib
import ctypes
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lab.history import History, parse_logfmt
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.image import WARDEN, Image
from lab.kubernetes.small.objects import ConfigMapKey, Container, HttpProbe
from lab.kubernetes.small.pods import Books, Node, Pod
from lab.kubernetes.small.resources import NAMESPACE

ROOT = Path(__file__).parents[3]
POD = Path(__file__).with_name("pod.py")
CLONE_NEWNET = 0x40000000
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
LOOKED_EVERY = 0.1
"""Seconds after which a waiting probe checks again that its container still runs."""

_libc = ctypes.CDLL(None, use_errno=True)


class Backoff:
    """
    The delay before each restart of one container, as the real kubelet has it.

    The first restart is immediate, the next comes after `base` seconds, and each delay is twice the one before, up to
    300 s; after a run of 10 minutes it starts anew.
    """

    LIMIT = 300.0
    FORGET = 600.0

    def __init__(self, base: float) -> None:
        self._base = base
        self._next = 0.0

    def delay(self, ran: float) -> float:
        """Seconds to wait before the next restart, after a run of `ran` seconds."""
        delay = 0.0 if ran >= self.FORGET else self._next
        self._next = min(max(self._base, 2 * delay), self.LIMIT)
        return delay


class Containers:
    """
    Runs the containers of all nodes.

    api: the API server whose address and tokens containers get when they start.
    """

    def __init__(
        self,
        books: Books,
        history: History,
        *,
        command_for: Callable[[Container], list[str]],
        image: Image | None,
        extra_env: dict[str, str],
        backoff: float,
    ) -> None:
        self.api: ApiServer | None = None
        self._books = books
        self._history = history
        self._command_for = command_for
        self._image = image
        self._extra_env = extra_env
        self._backoff = backoff

    def run(self, pod: Pod, node: Node) -> None:
        """The life of a pod: until all its containers have ended for good."""
        spec = pod.deployment.pod
        for container in spec.init_containers:
            self._books.enter(pod, "Init", container.name)
            if not self._run_container(pod, node, container, until_completed=True):
                break
        else:
            self._books.enter(pod, "Running")
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

    def _run_container(self, pod: Pod, node: Node, container: Container, *, until_completed: bool = False) -> bool:
        """Run and restart a container until the pod or the node ends (False), or until it has completed (True)."""
        backoff = Backoff(self._backoff)
        while True:
            began = time.monotonic()
            reason, code = self._run_once(pod, node, container, until_completed=until_completed)
            self._books.record("exit", pod, container=container.name, code=code, reason=reason)
            if reason in {"stopped", "node-lost"}:
                return False
            if reason == "completed":
                return True
            delay = backoff.delay(time.monotonic() - began)
            if delay:
                self._books.enter(pod, "CrashLoopBackOff", f"{container.name}: again in {delay:g} s")
            if pod.stopping.wait(delay) or node.dead.is_set():
                return False
            self._books.enter(pod, "Init" if until_completed else "Running", f"{container.name}: restarted")

    def _run_once(self, pod: Pod, node: Node, container: Container, *, until_completed: bool) -> tuple[str, int | None]:
        """One run of a container: why it ended, and its exit code."""
        process = None
        while process is None:
            node.awake.wait()
            with self._books.lock:
                if node.dead.is_set() or pod.stopping.is_set():
                    return "node-lost" if node.dead.is_set() else "stopped", None
                if node.awake.is_set():
                    process = pod.running[container.name] = self._start(pod, node, container)
        unhealthy = threading.Event()
        _begin(pod, self._watch, pod, node, container, process, unhealthy)
        if not container.readiness and not until_completed:
            self._set_ready(pod, container, process, ready=True)
        self._read(pod, node, container, process)
        code = process.wait()
        if code < 0:  # the warden itself was killed
            code = 128 - code
        self._set_ready(pod, container, process, ready=False)
        with self._books.lock:
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
                file: self._books.manifest.config_maps[mount.config_map].data[key]
                for file, key in self._keys(mount.config_map, mount.files).items()
            }
            for mount in container.mounts
        }
        if self.api and pod.deployment.pod.token:
            files[SERVICE_ACCOUNT] = self.api.mounted(pod.deployment.pod.account, pod.name)
        environment = self._environment(pod, node, container)
        path = {"PATH": os.environ.get("PATH", os.defpath)}
        if self._image:
            command = self._image.command(container.args, container.security, environment, files)
            spec, environment = WARDEN, path
        else:
            command = self._command_for(container)
            spec = {"files": files, "capabilities": container.security.add}
            # No home: the AWS configuration of the person who runs the lab must not be found.
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
        return files if files is not None else {key: key for key in self._books.manifest.config_maps[config_map].data}

    def _environment(self, pod: Pod, node: Node, container: Container) -> dict[str, str]:
        """The container's variables beside those of its image: the manifest's and the lab's."""
        environment: dict[str, str] = {}
        for name, value in container.env.items():
            if isinstance(value, str):
                environment[name] = value
            elif isinstance(value, ConfigMapKey):
                environment[name] = self._books.manifest.config_maps[value.name].data[value.key]
            else:
                environment[name] = {
                    "metadata.name": pod.name,
                    "metadata.namespace": NAMESPACE,
                    "metadata.uid": pod.uid,
                    "spec.nodeName": node.worker.name,
                    "status.hostIP": node.worker.address,
                }[value.path]
        return environment | (self.api.environment if self.api else {}) | self._extra_env

    def _read(self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str]) -> None:
        """Record what the container writes, until it has ended."""
        for line in process.stdout or ():
            text = line.rstrip("\n")
            event = {"source": "agent", "event": "log", "pod": pod.name, "node": node.worker.name}
            self._history.record({**event, "container": container.name, "line": text, "fields": parse_logfmt(text)})

    def _watch(
        self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str], unhealthy: threading.Event
    ) -> None:
        """Wait for the startup probe, if there is one; then run the liveness and readiness probes."""
        if container.startup:
            self._live(pod, node, process, container.startup, unhealthy, until_passed=True)
        if unhealthy.is_set() or process.poll() is not None:
            return
        if container.liveness:
            _begin(pod, self._live, pod, node, process, container.liveness, unhealthy)
        if container.readiness:
            _begin(pod, self._ready, pod, node, container, process)

    def _live(
        self,
        pod: Pod,
        node: Node,
        process: subprocess.Popen[str],
        probe: HttpProbe,
        unhealthy: threading.Event,
        *,
        until_passed: bool = False,
    ) -> None:
        """Run the liveness probe: end the container when it has failed often enough in a row."""
        failures = 0
        for passed in self._probe(pod, node, probe, process):
            if passed and until_passed:
                return
            failures = 0 if passed else failures + 1
            if failures >= probe.failure_threshold:
                unhealthy.set()
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(pod.deployment.pod.grace)
                process.kill()
                return

    def _ready(self, pod: Pod, node: Node, container: Container, process: subprocess.Popen[str]) -> None:
        """Run the readiness probe: keep the container's readiness up to date."""
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
            if pod.stopping.wait(min(LOOKED_EVERY, max(0.0, due - time.monotonic()))) or process.poll() is not None:
                return
            if time.monotonic() < due:
                continue
            node.awake.wait()
            due = time.monotonic() + probe.period
            passed = _get(process.pid, node.worker.address, probe)
            # If the node was stopped meanwhile, the result says nothing.
            if node.awake.is_set() and not node.dead.is_set():
                yield passed

    def _set_ready(self, pod: Pod, container: Container, process: subprocess.Popen[str], *, ready: bool) -> None:
        with self._books.lock:
            # The result of a probe of the container's previous run may come late.
            if (container.name in pod.ready) is ready or pod.running.get(container.name) is not process:
                return
            pod.ready = pod.ready ^ {container.name}
            if pod.phase == "Running":
                self._books.enter(pod, "Running", "ready" if pod.is_ready else "not ready")


def _begin(pod: Pod, task: Callable[..., None], *args: object) -> None:
    threading.Thread(target=task, args=args, name=f"{pod.name}/probe", daemon=True).start()


def _get(process: int, address: str, probe: HttpProbe) -> bool:
    """One HTTP GET from the network namespace of `process`; the calling thread stays in that namespace."""
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
