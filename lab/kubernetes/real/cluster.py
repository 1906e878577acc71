"""
The real Kubernetes as `lab.kubernetes.cluster.Cluster`: every action is the command that a user would type, run by the
real kubectl.

What its pods do is recorded in the history as by the small one (watch.py, logs.py).
"""

import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.ec2 import Instance
from lab.history import History
from lab.kubernetes import build
from lab.kubernetes.cluster import OBSERVERS, Part, Setup
from lab.kubernetes.real import host
from lab.kubernetes.real.kubectl import Kubectl, KubectlFailed, translated
from lab.kubernetes.real.logs import Logs
from lab.kubernetes.real.node import PAUSE, Node, Worker
from lab.kubernetes.real.parts import Part as Process
from lab.kubernetes.real.plane import ECR, UPSTREAM, ControlPlane
from lab.kubernetes.real.pod import Pod
from lab.kubernetes.real.watch import Watch
from lab.network.netns import Namespace
from lab.resource import Resource

AGNHOST = "e2e-test-images/agnhost:2.53"
LOGS = "FLOATINGIP_LAB_LOGS"
"""The variable that names a folder for the parts' logs; without it, the logs are gone with the lab."""

RUN = Path("/run")
"""In memory, and the sandbox's own."""
NODES_WITHIN = 90.0
"""Seconds until all nodes are Ready."""
DRAIN_WITHIN = 90.0
"""Seconds after which a drain is given up."""
FEW_ADDRESSES = {"MAX_ENI": "1", "MINIMUM_IP_TARGET": "3", "WARM_IP_TARGET": "1"}
"""The VPC CNI keeps to the primary ENI, with room for a few pods."""

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

_ON_NODES = {Part.KUBELET, Part.CONTAINERD, Part.KUBE_PROXY, Part.VPC_CNI}


class Cluster(Resource):
    """
    A context manager: the cluster is there, with all nodes Ready, when it is entered, and gone when it is left.

    namespace: the VPC's, where the control plane is.
    image: the name, one of ECR's, that the product's image has in the manifest.
    environment: variables that are added to every container of the product's image.
    credentials: gives the AWS SDK's variables for a node's VPC CNI, by the node's name.
    setup: of the VPC CNI (by default FEW_ADDRESSES) and of kube-proxy.
    """

    def __init__(
        self,
        namespace: Namespace,
        workers: Sequence[tuple[Worker, Instance]],
        history: History,
        *,
        image: str,
        environment: Mapping[str, str],
        credentials: Callable[[str], Mapping[str, str]],
        labels: Mapping[str, str],
        setup: Setup,
    ) -> None:
        self._workers = workers
        self._image = image
        self._environment = environment
        self._credentials = credentials
        self._labels = labels
        self._cni = FEW_ADDRESSES if setup.cni is None else setup.cni
        self._proxy = setup.proxy
        self._folder = Path(tempfile.mkdtemp(prefix="kubernetes-", dir=RUN))
        self._logs = Path(os.environ.get(LOGS, self._folder / "logs"))
        self.plane = ControlPlane(namespace, build.binaries(), self._folder / "plane", self._logs)
        self.nodes: dict[str, Node] = {}
        self._deployments: set[str] = set()
        self._closing = threading.Event()
        self.kubectl = Kubectl(self.plane)
        self._watch = Watch(self.kubectl, history, self._closing)
        self._container_logs = Logs(self.nodes, history, self._closing)
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """End everything at once.  Idempotent."""
        self._closing.set()
        self._watch.end()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        for node in self.nodes.values():
            node.close()
        self.plane.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _build(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self.plane.start()
        groups = host.given()
        for worker, instance in self._workers:
            own = {
                "topology.kubernetes.io/zone": instance.zone,
                "node.kubernetes.io/instance-type": instance.instance_type,
            }
            self.nodes[worker.name] = Node(
                worker,
                instance,
                self.plane,
                groups,
                build.binaries(),
                self._folder / "nodes" / worker.name,
                self._logs,
                labels={**self._labels, **own},
                cni=self._cni,
                credentials=self._credentials(worker.name),
                proxy=self._proxy,
                closing=self._closing,
            )
        with ThreadPoolExecutor() as pool:
            tasks = [pool.submit(node.boot) for node in self.nodes.values()]
            tasks.append(pool.submit(self.plane.pack, PAUSE.removeprefix(f"{UPSTREAM}/"), "pause"))
            tasks.append(pool.submit(self.plane.pack, AGNHOST, "agnhost"))
            name = self._image.removeprefix(f"{ECR}/")
            tasks.append(pool.submit(self.plane.push, name, host.layout(), self._environment))
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                self._closing.set()  # otherwise this would wait for nodes that still boot
                raise
        for name, target in (("watch", self._watch.follow), ("logs", self._container_logs.follow)):
            thread = threading.Thread(target=target, name=f"kubernetes-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._await(lambda: all(self._is_ready(name) for name in self.nodes), NODES_WITHIN, "nodes are not Ready")

    # What `kubectl` does.

    def apply(self, manifest: str) -> None:
        """`kubectl apply -f -`.  Raises KubectlFailed."""
        for line in self.kubectl("apply", "-f", "-", "-o", "name", stdin=manifest).splitlines():
            kind, _, name = line.partition("/")
            if kind == "deployment.apps":
                self._deployments.add(name)

    def pods(self, app: str = OBSERVERS) -> list[Pod]:
        """The pods with this label `app` that have not ended, oldest first."""
        return self._watch.pods(app)

    def pod_on(self, node: str, app: str = OBSERVERS) -> Pod:
        """The pod on that node that is not being deleted.  Raises LookupError if there is none."""
        for pod in self.pods(app):
            if pod.node == node and not pod.is_ending:
                return pod
        raise LookupError(f"no pod of {app} on {node}")

    def delete_pod(self, name: str, grace: float | None = None) -> None:
        """`kubectl delete pod`, without waiting for its end.  Raises LookupError if there is none."""
        options = [] if grace is None else [f"--grace-period={grace:g}"]
        try:
            self.kubectl("delete", "pod", name, "--wait=false", *options)
        except KubectlFailed as error:
            raise translated(error) from error

    def evict(self, name: str) -> None:
        """The Eviction API, once.  Raises EvictionRefused, LookupError."""
        asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}}
        place = f"/api/v1/namespaces/default/pods/{name}/eviction"
        try:
            self.kubectl("create", "--raw", place, "-f", "-", stdin=json.dumps(asked))
        except KubectlFailed as error:
            raise translated(error) from error

    def drain(self, node: str, app: str | None = None) -> None:
        """`kubectl drain`.  Raises TimeoutError if it takes too long."""
        options = ["--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_WITHIN:g}s"]
        if app is not None:
            options.append(f"--pod-selector=app={app}")
        try:
            self.kubectl("drain", node, *options)
        except KubectlFailed as error:
            raise TimeoutError(str(error)) from error

    def cordon(self, node: str) -> None:
        """`kubectl cordon`."""
        self.kubectl("cordon", node)

    def uncordon(self, node: str) -> None:
        """`kubectl uncordon`."""
        self.kubectl("uncordon", node)

    def taint(self, node: str) -> None:
        """`kubectl taint`, as the documents say for a node that is gone for good."""
        self.kubectl("taint", "nodes", node, f"{OUT_OF_SERVICE}=nodeshutdown:NoExecute")

    def untaint(self, node: str) -> None:
        """`kubectl taint` with a minus sign, if there is something to take off."""
        if any(taint["key"] == OUT_OF_SERVICE for taint in self.kubectl.object("node", node)["spec"].get("taints", [])):
            self.kubectl("taint", "nodes", node, f"{OUT_OF_SERVICE}-")

    def delete_node(self, node: str) -> None:
        """`kubectl delete node`."""
        self.kubectl("delete", "node", node, "--wait=false")

    def scale(self, deployment: str, replicas: int) -> None:
        """`kubectl scale`."""
        self.kubectl("scale", f"deployment/{deployment}", f"--replicas={replicas}")

    def restart(self, deployment: str, timeout: float = 60.0) -> None:
        """`kubectl rollout restart`, and wait for its end.  Raises TimeoutError."""
        self.kubectl("rollout", "restart", f"deployment/{deployment}")
        self._wait_for(deployment, timeout)

    def wait_ready(self, timeout: float) -> None:
        """Wait until every wanted replica is ready.  Raises TimeoutError with the pods' phases."""
        deadline = time.monotonic() + timeout
        for deployment in sorted(self._deployments):
            self._wait_for(deployment, max(1.0, deadline - time.monotonic()))
        listed = [Pod(item) for item in json.loads(self.kubectl("get", "pods", "-o", "json"))["items"]]
        ready = {pod.name for pod in listed if pod.is_ready and pod.app in self._deployments}

        def told() -> bool:
            return ready <= {pod.name for app in self._deployments for pod in self.pods(app) if pod.is_ready}

        self._await(told, 10.0, "the watch has not told of every pod")

    def _wait_for(self, deployment: str, timeout: float) -> None:
        try:
            self.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={timeout:.1f}s")
        except KubectlFailed as error:
            phases = ", ".join(f"{pod.name} on {pod.node}: {pod.phase}" for pod in self.pods(deployment))
            raise TimeoutError(f"not ready after {timeout:g} s: {phases or 'no pods'} ({error})") from error

    def pod_object(self, name: str) -> Mapping[str, Any]:
        """The pod's API object, as it is or last was.  Raises LookupError."""
        try:
            return self.kubectl.object("pod", name)
        except LookupError:
            if (gone := self._watch.gone(name)) is not None:
                return gone
            raise

    def pod_events(self, name: str) -> list[Mapping[str, Any]]:
        """The Events about a pod."""
        listed = json.loads(self.kubectl("get", "events.v1.events.k8s.io", "-o", "json"))["items"]
        return [event for event in listed if event["regarding"].get("name") == name]

    def config_map(self, name: str) -> Mapping[str, str]:
        """A ConfigMap's data.  Raises LookupError."""
        data: Mapping[str, str] = self.kubectl.object("configmap", name).get("data", {})
        return data

    def endpoints(self, service: str) -> set[str]:
        """The nodes with ready endpoints of a service."""
        listed = self.kubectl("get", "endpointslices", "-l", f"kubernetes.io/service-name={service}", "-o", "json")
        return {
            endpoint["nodeName"]
            for item in json.loads(listed)["items"]
            for endpoint in item.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
        }

    def conditions(self, node: str) -> Mapping[str, str]:
        """A node's conditions.  Raises LookupError."""
        return {one["type"]: one["status"] for one in self.kubectl.object("node", node)["status"].get("conditions", [])}

    # What can go wrong.

    def kill_container(self, pod: str, container: str) -> None:
        """SIGKILL to a container's process.  Raises LookupError if it does not run."""
        os.kill(self.container_process(pod, container), signal.SIGKILL)

    def container_process(self, pod: str, container: str) -> int:
        """The id of a container's first process, as the lab sees it.  Raises LookupError if it does not run."""
        found = self._watch.pod(pod)
        identity = found.container_id(container) if found else None
        if identity is not None:
            for groups in sorted(Path("/proc").glob("[0-9]*/cgroup"), key=lambda path: int(path.parent.name)):
                with suppress(OSError):  # it may just have ended
                    if identity in groups.read_text():
                        return int(groups.parent.name)
        raise LookupError(f"{container} of {pod} does not run")

    def kill(self, part: Part, node: str | None = None) -> None:
        """A part ends at once; nothing starts it again but `start`."""
        self.part(part, node).kill()

    def start(self, part: Part, node: str | None = None) -> None:
        """A part that was killed is started."""
        self.part(part, node).start()

    def hang(self, part: Part, node: str | None = None) -> None:
        """A part is stopped (SIGSTOP), and stays so until `resume`."""
        self.part(part, node).hang()

    def resume(self, part: Part, node: str | None = None) -> None:
        """A part that hung goes on."""
        self.part(part, node).resume()

    def part(self, part: Part, node: str | None = None) -> Process:
        """The process of a part."""
        if (part in _ON_NODES) is (node is None):
            raise ValueError(f"{part} {'is on each node' if node is None else 'is on no node'}")
        return (self.plane.parts if node is None else self.nodes[node].parts)[part]

    def kill_node(self, name: str) -> None:
        """All processes of the node are gone at once."""
        self.nodes[name].power_off()

    def freeze_node(self, name: str) -> None:
        """All processes of the node are stopped, and stay so until `thaw_node`."""
        self.nodes[name].freeze(frozen=True)

    def thaw_node(self, name: str) -> None:
        """The processes of a frozen node go on."""
        self.nodes[name].freeze(frozen=False)

    def shut_node_down(self, name: str) -> None:
        """Press the power button; returns when the machine would be off."""
        self.nodes[name].shut_down()

    def boot_node(self, name: str) -> None:
        """A killed node starts with an empty disk: what its pods wrote is gone, and images are pulled again."""
        node = self.nodes[name]
        node.close()
        self._container_logs.forget(name)
        node.boot()

    def _is_ready(self, node: str) -> bool:
        with suppress(LookupError, KubectlFailed):
            return self.conditions(node).get("Ready") == "True"
        return False

    def _await(self, condition: Callable[[], bool], timeout: float, problem: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout:g} s {problem}")
            time.sleep(0.1)
