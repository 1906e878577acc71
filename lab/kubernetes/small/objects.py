"""
The Kubernetes objects of a manifest, as far as the lab runs them.

Fields that mean something only to a real cluster (resources, most tolerations, the seccomp profile, a priority's value)
are left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConfigMap:
    """A ConfigMap: named values, each usable as a variable or a file."""

    name: str
    data: Mapping[str, str]


@dataclass(frozen=True)
class ConfigMapKey:
    """The value of a variable: one key of a ConfigMap."""

    name: str
    key: str


@dataclass(frozen=True)
class FieldRef:
    """The value of a variable: a field of the pod itself, such as `spec.nodeName`."""

    path: str


@dataclass(frozen=True)
class HttpProbe:
    """A startup, liveness or readiness probe by HTTP GET; times in seconds, defaults as Kubernetes has them."""

    path: str
    port: int
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


@dataclass(frozen=True)
class Mount:
    """A ConfigMap's keys as files in a directory, read-only: `files` maps the file's name to the key."""

    config_map: str
    path: str
    files: Mapping[str, str] | None


@dataclass(frozen=True)
class SecurityContext:
    """What the container's process may do."""

    user: int | None = None
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    read_only_root: bool = False
    privilege_escalation: bool = True


@dataclass(frozen=True)
class Container:
    """One container; its image is replaced by a command of the lab."""

    name: str
    image: str
    args: tuple[str, ...]
    env: Mapping[str, str | ConfigMapKey | FieldRef]
    mounts: tuple[Mount, ...]
    security: SecurityContext
    startup: HttpProbe | None
    liveness: HttpProbe | None
    readiness: HttpProbe | None


@dataclass(frozen=True)
class PodSpec:
    """
    What one pod runs, and where it may.

    `exclusive` are the labels that no other pod on the same node may have (required anti-affinity); `grace` is the time
    in seconds between SIGTERM and SIGKILL; `token`: its containers get a token of its service account; `tolerates`: how
    many seconds it stays on a node that is not ready.
    """

    account: str
    token: bool
    priority_class: str
    node_selector: Mapping[str, str]
    exclusive: Mapping[str, str] | None
    host_network: bool
    grace: float
    tolerates: float
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]


@dataclass(frozen=True)
class Deployment:
    """A Deployment: so many pods with these labels, and how many more or fewer there may be during a rolling update."""

    name: str
    replicas: int
    max_surge: int | str
    max_unavailable: int | str
    labels: Mapping[str, str]
    pod: PodSpec


@dataclass(frozen=True)
class ServicePort:
    """One port of a Service; `node_port` is open on every node."""

    port: int
    target_port: int
    node_port: int


@dataclass(frozen=True)
class Service:
    """A Service of type NodePort; `local` is `externalTrafficPolicy: Local`."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    local: bool


@dataclass(frozen=True)
class Rule:
    """What a Role allows: these verbs on these resources of these API groups ("" is the core one); if there are
    `names`, only on objects with these names.
    """

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def allows(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Whether it allows this request; one that lists or creates has no name."""
        is_named = not self.names or name in self.names
        return verb in self.verbs and group in self.groups and resource in self.resources and is_named


@dataclass(frozen=True)
class RoleBinding:
    """Which service accounts have a Role."""

    name: str
    role: str
    accounts: tuple[str, ...]


@dataclass(frozen=True)
class DisruptionBudget:
    """A PodDisruptionBudget: how many of the selected pods must stay, or may be missing, for an eviction to pass.

    Exactly one of the two is given, as a number or a percentage of the replicas.  Without `protects_unready` a pod that
    is not ready may always be evicted (`unhealthyPodEvictionPolicy: AlwaysAllow`).
    """

    name: str
    selector: Mapping[str, str]
    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    protects_unready: bool = True

    def desired(self, replicas: int) -> int:
        """How many healthy pods there must be; Kubernetes rounds both percentages up."""
        if self.min_available is not None:
            return _scaled(self.min_available, replicas)
        assert self.max_unavailable is not None
        return max(0, replicas - _scaled(self.max_unavailable, replicas))


@dataclass(frozen=True)
class Manifest:
    """What one manifest creates, by name."""

    service_accounts: frozenset[str] = frozenset()
    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    roles: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    role_bindings: Mapping[str, RoleBinding] = field(default_factory=dict)
    budgets: Mapping[str, DisruptionBudget] = field(default_factory=dict)
    priority_classes: frozenset[str] = frozenset()

    def may(self, account: str, verb: str, group: str, resource: str, name: str = "") -> bool:
        """Whether some RoleBinding gives the service account a Role that allows this."""
        return any(
            rule.allows(verb, group, resource, name)
            for binding in self.role_bindings.values()
            if account in binding.accounts
            for rule in self.roles.get(binding.role, ())
        )


def _scaled(count: int | str, replicas: int) -> int:
    """A number, or a percentage of the replicas, rounded up."""
    if isinstance(count, int):
        return count
    return math.ceil(replicas * int(count.removesuffix("%")) / 100)
