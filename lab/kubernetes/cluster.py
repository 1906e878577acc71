"""
The lab's view of a cluster, whichever Kubernetes runs it: what `kubectl` can do, and what can go wrong.

`small/` and `real/` implement it.  Pods are in the namespace `default`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

OBSERVERS = "floating-ip"
"""The product's Deployment, and the label `app` of its pods."""

SAMPLE = "sample-service"
"""The Deployment of the sample service, and the label `app` of its pods."""

API_ADDRESS, API_PORT = "10.0.255.3", 443
"""Where the API server listens: on EKS the Service `kubernetes` leads to the control plane's interfaces in the VPC."""


class Kind(StrEnum):
    """Which Kubernetes."""

    SMALL = "small"
    REAL = "real"


@dataclass(frozen=True)
class Setup:
    """
    How a cluster is set up, by default as the documents say.

    policy: the sample Service's externalTrafficPolicy.
    has_role: whether the observers have their Role.
    proxy: those fields of kube-proxy's configuration that differ from the default.
    cni: the VPC CNI's variables; None for those by which it uses only the primary ENI.
    """

    policy: str = "Local"
    has_role: bool = True
    proxy: Mapping[str, object] = field(default_factory=dict)
    cni: Mapping[str, str] | None = None


DOCUMENTED = Setup()


class Part(StrEnum):
    """The parts of a cluster; the first four are on each node."""

    KUBELET = "kubelet"
    CONTAINERD = "containerd"
    KUBE_PROXY = "kube-proxy"
    VPC_CNI = "aws-node"
    API_SERVER = "kube-apiserver"
    CONTROLLERS = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    REGISTRY = "registry"


class ClusterFailed(Exception):
    """The cluster, or a part of it, does not do what it should; the message names it."""


class NotModelled(ClusterFailed):
    """The small Kubernetes does not have this; the message says what."""


class Pod(Protocol):
    """One pod, as it was when it was asked for."""

    @property
    def name(self) -> str: ...

    @property
    def node(self) -> str | None:
        """The node where the pod is, or is going to be."""

    @property
    def phase(self) -> str:
        """What `kubectl get pods` shows, `Init` standing for all of an init container's."""

    @property
    def is_ready(self) -> bool:
        """Whether it runs with every container ready, as last reported by its node."""

    @property
    def is_ending(self) -> bool:
        """Whether it has been deleted, and is ending."""


class Cluster(Protocol):
    """Nodes go by their names, which are those of the lab's workers."""

    # What `kubectl` does.

    def apply(self, manifest: str) -> None:
        """`kubectl apply -f -`."""

    def pods(self, app: str = OBSERVERS) -> Sequence[Pod]:
        """The pods with this label `app`, oldest first."""

    def pod_on(self, node: str, app: str = OBSERVERS) -> Pod:
        """The pod on that node that is not being deleted.  Raises LookupError if there is none."""

    def delete_pod(self, name: str, grace: float | None = None) -> None:
        """Begin to end a pod; `grace` in seconds.  Raises LookupError if there is none."""

    def evict(self, name: str) -> None:
        """Ask for an eviction once.  Raises EvictionRefused if a budget does not allow it, LookupError if there is no
        such pod.
        """

    def drain(self, node: str, app: str | None = None) -> None:
        """`kubectl drain`; with `app`, of the pods with this label only.  Raises TimeoutError."""

    def cordon(self, node: str) -> None:
        """Schedule nothing new there."""

    def uncordon(self, node: str) -> None:
        """Schedule there again."""

    def taint(self, node: str) -> None:
        """Taint the node out of service (NoExecute): its pods are deleted, whatever a budget says, and it gets no new
        ones.
        """

    def untaint(self, node: str) -> None:
        """Remove that taint, if it is there."""

    def delete_node(self, node: str) -> None:
        """`kubectl delete node`.  Raises NotModelled."""

    def scale(self, deployment: str, replicas: int) -> None:
        """Have that many pods."""

    def restart(self, deployment: str, timeout: float = 60.0) -> None:
        """`kubectl rollout restart`, and wait for its end.  Raises TimeoutError."""

    def wait_ready(self, timeout: float) -> None:
        """Wait until every wanted replica is ready.  Raises TimeoutError, which names the pods' phases."""

    def pod_object(self, name: str) -> Mapping[str, Any]:
        """The pod's API object, as it is or last was.  Raises LookupError."""

    def pod_events(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The Events about a pod, by its containers or others, as objects of events.k8s.io/v1."""

    def config_map(self, name: str) -> Mapping[str, str]:
        """A ConfigMap's data.  Raises LookupError."""

    def endpoints(self, service: str) -> set[str]:
        """The nodes with ready endpoints of a service."""

    def conditions(self, node: str) -> Mapping[str, str]:
        """A node's conditions: Ready -> True, False or Unknown."""

    # What can go wrong.

    def kill_container(self, pod: str, container: str) -> None:
        """SIGKILL to a container's process.  Raises LookupError if it does not run."""

    def container_process(self, pod: str, container: str) -> int:
        """The id of a container's first process, as the lab sees it.  Raises LookupError if it does not run."""

    def kill(self, part: Part, node: str | None = None) -> None:
        """A part ends at once; nothing starts it again but `start`.  Raises NotModelled."""

    def start(self, part: Part, node: str | None = None) -> None:
        """A part that was killed is started.  Raises NotModelled."""

    def hang(self, part: Part, node: str | None = None) -> None:
        """A part hangs until `resume`.  Raises NotModelled."""

    def resume(self, part: Part, node: str | None = None) -> None:
        """A part that hung goes on.  Raises NotModelled."""

    def kill_node(self, name: str) -> None:
        """All processes of the node are gone at once."""

    def freeze_node(self, name: str) -> None:
        """All processes of the node are stopped, and stay so until `thaw_node`."""

    def thaw_node(self, name: str) -> None:
        """The processes of a frozen node go on."""

    def shut_node_down(self, name: str) -> None:
        """The operating system is told to shut down, and ends its pods first; returns when the machine would be off."""

    def boot_node(self, name: str) -> None:
        """A node that was killed starts again, and its kubelet starts the pods that had not ended."""


class EvictionRefused(Exception):
    """A PodDisruptionBudget does not allow the eviction now: the API server's 429, upon which `kubectl` tries again."""
