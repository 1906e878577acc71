"""
Read the Kubernetes manifests of this repository into dataclasses, as far as the lab runs them.

Only the fields that `floating-ip.yaml` and `sample-service.yaml` use are known.  Anything else is an error that names
its path: a field that the lab ignored would be a field that the lab did not test.  Fields that mean something to a real
cluster only (the image, resources, most tolerations, the seccomp profile, a priority's value) are checked for their
shape and not kept.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

_PRIORITY_CLASSES = {"", "system-cluster-critical", "system-node-critical"}
"""Those that every cluster has, and none."""

UNREACHABLE = "node.kubernetes.io/unreachable"
DEFAULT_TOLERATION = 300.0
"""Seconds that a pod which does not say tolerates this taint, by the admission plugin DefaultTolerationSeconds."""

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class ManifestError(Exception):
    """The manifest asks for something that the lab does not do, or is malformed; the message begins with the path."""


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """
    Replace `$NAME` and `${NAME}` as `envsubst` without arguments does.

    An unknown variable becomes the empty string; everything else after a `$` (such as `${A:-b}`) stays as it is.
    """
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


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
    """A liveness or readiness probe by HTTP GET; times in seconds, defaults as Kubernetes has them."""

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
    liveness: HttpProbe | None
    readiness: HttpProbe | None


@dataclass(frozen=True)
class PodSpec:
    """
    What one pod runs, and where it may.

    `exclusive` are the labels that no other pod on the same node may have (required anti-affinity); `grace` is the time
    in seconds between SIGTERM and SIGKILL; `token`: its containers get that of its service account; `tolerates`: how
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
    """What a Role allows: these verbs on these resources of these API groups (of the core one: "")."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def allows(self, verb: str, group: str, resource: str) -> bool:
        """Is this request among them?"""
        return verb in self.verbs and group in self.groups and resource in self.resources


@dataclass(frozen=True)
class RoleBinding:
    """Which service accounts have a Role."""

    name: str
    role: str
    accounts: tuple[str, ...]


@dataclass(frozen=True)
class DisruptionBudget:
    """A PodDisruptionBudget: how many of the selected pods must stay, or may be missing, for an eviction to pass.

    Exactly one of both is given, as a number or a percentage of the replicas.  Without `protects_unready` a pod that is
    not ready may always be evicted (`unhealthyPodEvictionPolicy: AlwaysAllow`).
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

    def may(self, account: str, verb: str, group: str, resource: str) -> bool:
        """Whether some RoleBinding gives the service account a Role that allows this."""
        return any(
            rule.allows(verb, group, resource)
            for binding in self.role_bindings.values()
            if account in binding.accounts
            for rule in self.roles[binding.role]
        )


def load(path: Path, variables: Mapping[str, str]) -> Manifest:
    """Do what `envsubst < path | kubectl apply -f -` does, up to the API server.  Raises ManifestError, OSError."""
    return parse(substitute(path.read_text(encoding="utf-8"), variables))


def parse(text: str) -> Manifest:
    """Parse a manifest of one or more documents, already substituted.  Raises ManifestError."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"not YAML: {error}") from error
    accounts: set[str] = set()
    config_maps: dict[str, ConfigMap] = {}
    deployments: dict[str, Deployment] = {}
    services: dict[str, Service] = {}
    roles: dict[str, tuple[Rule, ...]] = {}
    bindings: dict[str, RoleBinding] = {}
    budgets: dict[str, DisruptionBudget] = {}
    priorities: set[str] = set()
    for number, document in enumerate(documents):
        with _Fields(document, f"[{number}]") as fields:
            version, kind = fields.text("apiVersion"), fields.text("kind")
            fields.path = kind
            match version, kind:
                case "v1", "ServiceAccount":
                    accounts.add(_metadata(fields)[0])
                case "v1", "ConfigMap":
                    config_map = ConfigMap(_metadata(fields)[0], fields.strings("data"))
                    config_maps[config_map.name] = config_map
                case "apps/v1", "Deployment":
                    deployment = _deployment(fields)
                    deployments[deployment.name] = deployment
                case "v1", "Service":
                    service = _service(fields)
                    services[service.name] = service
                case "rbac.authorization.k8s.io/v1", "Role":
                    roles[_metadata(fields)[0]] = tuple(_rule(rule) for rule in fields.children("rules"))
                case "rbac.authorization.k8s.io/v1", "RoleBinding":
                    binding = _role_binding(fields)
                    bindings[binding.name] = binding
                case "policy/v1", "PodDisruptionBudget":
                    budget = _budget(fields)
                    budgets[budget.name] = budget
                case "scheduling.k8s.io/v1", "PriorityClass":
                    priorities.add(_priority_class(fields))
                case _:
                    raise ManifestError(f"[{number}].kind: {version} {kind} is not known to the lab")
    manifest = Manifest(
        service_accounts=frozenset(accounts),
        config_maps=config_maps,
        deployments=deployments,
        services=services,
        roles=roles,
        role_bindings=bindings,
        budgets=budgets,
        priority_classes=frozenset(priorities),
    )
    _check_references(manifest)
    return manifest


def _check_references(manifest: Manifest) -> None:
    """A pod that refers to a missing object or key would not start in a real cluster, or wait for ever."""
    for deployment in manifest.deployments.values():
        pod = deployment.pod
        if pod.account not in manifest.service_accounts | {"default"}:
            raise ManifestError(f"Deployment {deployment.name}: there is no ServiceAccount {pod.account}")
        if pod.priority_class not in manifest.priority_classes | _PRIORITY_CLASSES:
            raise ManifestError(f"Deployment {deployment.name}: there is no PriorityClass {pod.priority_class}")
        for container in pod.init_containers + pod.containers:
            _check_config_maps(f"Deployment {deployment.name}, container {container.name}", container, manifest)
    for binding in manifest.role_bindings.values():
        if binding.role not in manifest.roles:
            raise ManifestError(f"RoleBinding {binding.name}: there is no Role {binding.role}")
        for account in binding.accounts:
            if account not in manifest.service_accounts:
                raise ManifestError(f"RoleBinding {binding.name}: there is no ServiceAccount {account}")


def _check_config_maps(where: str, container: Container, manifest: Manifest) -> None:
    config_maps = manifest.config_maps
    wanted = [(value.name, value.key) for value in container.env.values() if isinstance(value, ConfigMapKey)]
    for mount in container.mounts:
        if mount.config_map not in config_maps:
            raise ManifestError(f"{where}: there is no ConfigMap {mount.config_map}")
        wanted += [(mount.config_map, key) for key in (mount.files or {}).values()]
    for name, key in wanted:
        if name not in config_maps or key not in config_maps[name].data:
            raise ManifestError(f"{where}: there is no key {key} in a ConfigMap {name}")


class _Fields:
    """The fields of one mapping: each is taken by name and type; what is left over at the end is an error."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{path}: expected a mapping, found {value!r}")
        self.path = path
        self._left: dict[str, Any] = dict(value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self._left:
            raise ManifestError(f"{self.path}.{next(iter(self._left))}: not known to the lab")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def _take(self, key: str, kinds: type | tuple[type, ...], default: object = None) -> Any:
        value = self._left.pop(key, default)
        # YAML's `true` is an int to Python, never to Kubernetes.
        wants_bool = kinds is bool
        if value is None or not isinstance(value, kinds) or isinstance(value, bool) is not wants_bool:
            raise ManifestError(f"{self.path}.{key}: {value!r} is not what belongs here")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._take(key, str, default)
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value: int = self._take(key, int, default)
        return value

    def number(self, key: str, default: float) -> float:
        return float(self._take(key, (int, float), default))

    def count(self, key: str, default: int | str) -> int | str:
        """A number of pods, or a percentage."""
        value: int | str = self._take(key, (int, str), default)
        if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
            raise ManifestError(f"{self.path}.{key}: {value!r} is not what belongs here")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value: bool = self._take(key, bool, default)
        return value

    def strings(self, key: str) -> dict[str, str]:
        """A mapping of text to text; Kubernetes refuses an unquoted number here, and so does this."""
        with self.child(key) as child:
            return {name: child.text(name) for name in list(child._left)}

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._take(key, list, [])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ManifestError(f"{self.path}.{key}[{index}]: expected text, found {value!r}")
        return tuple(values)

    def only(self, key: str, *allowed: object) -> None:
        """A field that may be absent, and otherwise must have one of these values."""
        if key in self._left:
            value = self._left.pop(key)
            if value not in allowed:
                raise ManifestError(f"{self.path}.{key}: {value!r} is not known to the lab")

    def child(self, key: str) -> "_Fields":
        """A mapping; absent is the same as empty."""
        return _Fields(self._left.pop(key, {}), f"{self.path}.{key}")

    def children(self, key: str) -> list["_Fields"]:
        values = self._take(key, list, [])
        return [_Fields(value, f"{self.path}.{key}[{index}]") for index, value in enumerate(values)]


def _metadata(fields: _Fields) -> tuple[str, Mapping[str, str]]:
    with fields.child("metadata") as metadata:
        return metadata.text("name"), metadata.strings("labels")


def _match_labels(fields: _Fields, key: str) -> Mapping[str, str]:
    with fields.child(key) as selector:
        return selector.strings("matchLabels")


def _deployment(fields: _Fields) -> Deployment:
    name, _ = _metadata(fields)
    fields.path = f"Deployment {name}"
    with fields.child("spec") as spec:
        replicas = spec.integer("replicas", 1)
        with spec.child("strategy") as strategy:
            strategy.only("type", "RollingUpdate")
            with strategy.child("rollingUpdate") as rolling:
                surge, unavailable = rolling.count("maxSurge", "25%"), rolling.count("maxUnavailable", "25%")
        selector = _match_labels(spec, "selector")
        with spec.child("template") as template:
            with template.child("metadata") as metadata:
                labels = metadata.strings("labels")
            if not selector or not selector.items() <= labels.items():
                raise ManifestError(f"{spec.path}.selector: does not select the template's labels")
            with template.child("spec") as pod:
                return Deployment(name, replicas, surge, unavailable, labels, _pod(pod))


def _pod(pod: _Fields) -> PodSpec:
    account, token = pod.text("serviceAccountName", "default"), pod.flag("automountServiceAccountToken", True)
    priority_class = pod.text("priorityClassName", "")
    host_network = pod.flag("hostNetwork", False)
    pod.only("dnsPolicy", "Default", "ClusterFirst", "ClusterFirstWithHostNet")
    tolerates = DEFAULT_TOLERATION
    for toleration in pod.children("tolerations"):
        with toleration:
            key, effect = toleration.text("key", ""), toleration.text("effect", "")
            toleration.text("operator", "")
            seconds = toleration.number("tolerationSeconds", 0)
            if (key, effect) == (UNREACHABLE, "NoExecute"):
                tolerates = seconds
    # The lab's scheduler always prefers the node with the fewest pods of the Deployment: that is ScheduleAnyway.
    for constraint in pod.children("topologySpreadConstraints"):
        with constraint:
            constraint.only("maxSkew", 1)
            constraint.only("topologyKey", "kubernetes.io/hostname")
            constraint.only("whenUnsatisfiable", "ScheduleAnyway")
            _match_labels(constraint, "labelSelector")
    node_selector, exclusive = pod.strings("nodeSelector"), _anti_affinity(pod)
    grace = pod.number("terminationGracePeriodSeconds", 30)
    volumes = dict(_volume(volume) for volume in pod.children("volumes"))
    return PodSpec(
        account=account,
        token=token,
        priority_class=priority_class,
        node_selector=node_selector,
        exclusive=exclusive,
        host_network=host_network,
        grace=grace,
        tolerates=tolerates,
        init_containers=tuple(_container(fields, volumes) for fields in pod.children("initContainers")),
        containers=tuple(_container(fields, volumes) for fields in pod.children("containers")),
    )


def _anti_affinity(pod: _Fields) -> Mapping[str, str] | None:
    with pod.child("affinity") as affinity, affinity.child("podAntiAffinity") as anti:
        terms = anti.children("requiredDuringSchedulingIgnoredDuringExecution")
        if len(terms) > 1:
            raise ManifestError(f"{anti.path}: more than one term is not known to the lab")
        for term in terms:
            with term:
                term.only("topologyKey", "kubernetes.io/hostname")
                return _match_labels(term, "labelSelector")
    return None


def _volume(volume: _Fields) -> tuple[str, Callable[[str], Mount]]:
    """The volume's name, and what makes a mount of it."""
    with volume:
        name = volume.text("name")
        with volume.child("configMap") as config_map:
            source = config_map.text("name")
            files: dict[str, str] | None = None
            if "items" in config_map:
                files = {}
                for item in config_map.children("items"):
                    with item:
                        files[item.text("path")] = item.text("key")
    return name, lambda path: Mount(source, path, files)


def _container(fields: _Fields, volumes: Mapping[str, Callable[[str], Mount]]) -> Container:
    with fields:
        name = fields.text("name")
        image = fields.text("image")
        fields.only("imagePullPolicy", "Always", "IfNotPresent")
        fields.only("terminationMessagePolicy", "File", "FallbackToLogsOnError")
        with fields.child("resources") as resources:
            for key in ("requests", "limits"):
                resources.strings(key)
        for port in fields.children("ports"):
            with port:
                port.integer("containerPort")
        return Container(
            name=name,
            image=image,
            args=fields.texts("args"),
            env=dict(_variable(variable) for variable in fields.children("env")),
            mounts=tuple(_mount(mount, volumes) for mount in fields.children("volumeMounts")),
            security=_security(fields),
            liveness=_probe(fields, "livenessProbe"),
            readiness=_probe(fields, "readinessProbe"),
        )


def _variable(fields: _Fields) -> tuple[str, str | ConfigMapKey | FieldRef]:
    with fields:
        name = fields.text("name")
        if "value" in fields:
            return name, fields.text("value")
        with fields.child("valueFrom") as source:
            if "fieldRef" in source:
                with source.child("fieldRef") as field:
                    path = field.text("fieldPath")
                    if path not in ("metadata.name", "metadata.namespace", "spec.nodeName"):
                        raise ManifestError(f"{field.path}.fieldPath: {path!r} is not known to the lab")
                    return name, FieldRef(path)
            with source.child("configMapKeyRef") as key:
                return name, ConfigMapKey(key.text("name"), key.text("key"))


def _mount(fields: _Fields, volumes: Mapping[str, Callable[[str], Mount]]) -> Mount:
    with fields:
        name, path = fields.text("name"), fields.text("mountPath")
        fields.only("readOnly", True)
        if name not in volumes:
            raise ManifestError(f"{fields.path}.name: there is no volume {name!r}")
        return volumes[name](path)


def _security(container: _Fields) -> SecurityContext:
    with container.child("securityContext") as fields:
        fields.only("runAsNonRoot", True)
        with fields.child("seccompProfile") as profile:
            profile.only("type", "RuntimeDefault")
        with fields.child("capabilities") as capabilities:
            add, drop = capabilities.texts("add"), capabilities.texts("drop")
        return SecurityContext(
            user=fields.integer("runAsUser") if "runAsUser" in fields else None,
            add=add,
            drop=drop,
            read_only_root=fields.flag("readOnlyRootFilesystem", False),
            privilege_escalation=fields.flag("allowPrivilegeEscalation", True),
        )


def _probe(container: _Fields, key: str) -> HttpProbe | None:
    if key not in container:
        return None
    with container.child(key) as probe:
        with probe.child("httpGet") as get:
            path, port = get.text("path", "/"), get.integer("port")
        return HttpProbe(
            path=path,
            port=port,
            initial_delay=probe.number("initialDelaySeconds", 0),
            period=probe.number("periodSeconds", 10),
            timeout=probe.number("timeoutSeconds", 1),
            success_threshold=probe.integer("successThreshold", 1),
            failure_threshold=probe.integer("failureThreshold", 3),
        )


def _service(fields: _Fields) -> Service:
    name, _ = _metadata(fields)
    fields.path = f"Service {name}"
    with fields.child("spec") as spec:
        spec.only("type", "NodePort")
        policy = spec.text("externalTrafficPolicy", "Cluster")
        if policy not in ("Cluster", "Local"):
            raise ManifestError(f"{spec.path}.externalTrafficPolicy: {policy!r} is not known to the lab")
        ports = []
        for port in spec.children("ports"):
            with port:
                number = port.integer("port")
                ports.append(ServicePort(number, port.integer("targetPort", number), port.integer("nodePort")))
        return Service(name, spec.strings("selector"), tuple(ports), policy == "Local")


def _rule(fields: _Fields) -> Rule:
    with fields:
        return Rule(fields.texts("apiGroups"), fields.texts("resources"), fields.texts("verbs"))


def _role_binding(fields: _Fields) -> RoleBinding:
    name, _ = _metadata(fields)
    fields.path = f"RoleBinding {name}"
    with fields.child("roleRef") as reference:
        reference.only("apiGroup", "rbac.authorization.k8s.io")
        reference.only("kind", "Role")
        role = reference.text("name")
    accounts = []
    for subject in fields.children("subjects"):
        with subject:
            # Without a namespace it is the binding's own.
            subject.only("kind", "ServiceAccount")
            accounts.append(subject.text("name"))
    return RoleBinding(name, role, tuple(accounts))


def _budget(fields: _Fields) -> DisruptionBudget:
    name, _ = _metadata(fields)
    fields.path = f"PodDisruptionBudget {name}"
    with fields.child("spec") as spec:
        if ("minAvailable" in spec) is ("maxUnavailable" in spec):
            raise ManifestError(f"{spec.path}: expected either minAvailable or maxUnavailable")
        policy = spec.text("unhealthyPodEvictionPolicy", "IfHealthyBudget")
        if policy not in ("IfHealthyBudget", "AlwaysAllow"):
            raise ManifestError(f"{spec.path}: unhealthyPodEvictionPolicy {policy!r} is neither policy of Kubernetes")
        return DisruptionBudget(
            name,
            _match_labels(spec, "selector"),
            min_available=spec.count("minAvailable", 0) if "minAvailable" in spec else None,
            max_unavailable=spec.count("maxUnavailable", 0) if "maxUnavailable" in spec else None,
            protects_unready=policy == "IfHealthyBudget",
        )


def _priority_class(fields: _Fields) -> str:
    name, _ = _metadata(fields)
    fields.path = f"PriorityClass {name}"
    fields.integer("value")
    fields.text("description", "")
    fields.only("globalDefault", False)
    fields.only("preemptionPolicy", "PreemptLowerPriority", "Never")
    return name


def _scaled(count: int | str, replicas: int) -> int:
    """A number, or a percentage of the replicas, rounded up."""
    if isinstance(count, int):
        return count
    return math.ceil(replicas * int(count.removesuffix("%")) / 100)
