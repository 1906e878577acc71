"""
Read each kind of object in a manifest; every function raises ManifestError for what the lab does not do.

Only the fields that `floating-ip.yaml` and `sample-service.yaml` use are known.  Fields that mean something only to a
real cluster are checked for their form, and not kept.
"""

from collections.abc import Callable, Mapping

from lab.kubernetes.small.fields import Fields, ManifestError
from lab.kubernetes.small.objects import (
    ConfigMapKey,
    Container,
    Deployment,
    DisruptionBudget,
    FieldRef,
    HttpProbe,
    Mount,
    PodSpec,
    RoleBinding,
    Rule,
    SecurityContext,
    Service,
    ServicePort,
)

FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.hostIP")
"""The fields of its pod that a variable may have as its value."""

UNREACHABLE = "node.kubernetes.io/unreachable"
DEFAULT_TOLERATION = 300.0
"""Seconds for which a pod tolerates this taint if it does not say so itself (admission plugin
DefaultTolerationSeconds).
"""


def metadata(fields: Fields) -> tuple[str, Mapping[str, str]]:
    with fields.child("metadata") as metadata:
        return metadata.text("name"), metadata.strings("labels")


def _match_labels(fields: Fields, key: str) -> Mapping[str, str]:
    with fields.child(key) as selector:
        return selector.strings("matchLabels")


def deployment(fields: Fields) -> Deployment:
    name, _ = metadata(fields)
    fields.path = f"Deployment {name}"
    with fields.child("spec") as spec:
        replicas = spec.integer("replicas", 1)
        with spec.child("strategy") as strategy:
            strategy.only("type", "RollingUpdate")
            with strategy.child("rollingUpdate") as rolling:
                surge, unavailable = rolling.count("maxSurge", "25%"), rolling.count("maxUnavailable", "25%")
        selector = _match_labels(spec, "selector")
        with spec.child("template") as template:
            with template.child("metadata") as described:
                labels = described.strings("labels")
            if not selector or not selector.items() <= labels.items():
                raise ManifestError(f"{spec.path}.selector: does not select the template's labels")
            with template.child("spec") as pod:
                return Deployment(name, replicas, surge, unavailable, labels, _pod(pod))


def _pod(pod: Fields) -> PodSpec:
    account, token = pod.text("serviceAccountName", "default"), pod.flag("automountServiceAccountToken", True)
    host_network = pod.flag("hostNetwork", False)
    pod.only("dnsPolicy", "Default", "ClusterFirst", "ClusterFirstWithHostNet")
    pod.flag("enableServiceLinks", True)
    tolerates = DEFAULT_TOLERATION
    for toleration in pod.children("tolerations"):
        with toleration:
            key, effect = toleration.text("key", ""), toleration.text("effect", "")
            toleration.text("operator", "")
            seconds = toleration.number("tolerationSeconds", 0)
            if (key, effect) == (UNREACHABLE, "NoExecute"):
                tolerates = seconds
    # The lab's scheduler always prefers the node with the fewest pods of the Deployment, which is what ScheduleAnyway
    # means.
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
        priority_class=pod.text("priorityClassName", ""),
        node_selector=node_selector,
        exclusive=exclusive,
        host_network=host_network,
        grace=grace,
        tolerates=tolerates,
        init_containers=tuple(_container(fields, volumes) for fields in pod.children("initContainers")),
        containers=tuple(_container(fields, volumes) for fields in pod.children("containers")),
    )


def _anti_affinity(pod: Fields) -> Mapping[str, str] | None:
    with pod.child("affinity") as affinity, affinity.child("podAntiAffinity") as anti:
        terms = anti.children("requiredDuringSchedulingIgnoredDuringExecution")
        if len(terms) > 1:
            raise ManifestError(f"{anti.path}: more than one term is not known to the lab")
        for term in terms:
            with term:
                term.only("topologyKey", "kubernetes.io/hostname")
                return _match_labels(term, "labelSelector")
    return None


def _volume(volume: Fields) -> tuple[str, Callable[[str], Mount]]:
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


def _container(fields: Fields, volumes: Mapping[str, Callable[[str], Mount]]) -> Container:
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
            startup=_probe(fields, "startupProbe"),
            liveness=_probe(fields, "livenessProbe"),
            readiness=_probe(fields, "readinessProbe"),
        )


def _variable(fields: Fields) -> tuple[str, str | ConfigMapKey | FieldRef]:
    with fields:
        name = fields.text("name")
        if "value" in fields:
            return name, fields.text("value")
        with fields.child("valueFrom") as source:
            if "fieldRef" in source:
                with source.child("fieldRef") as field:
                    field.only("apiVersion", "v1")
                    path = field.text("fieldPath")
                    if path not in FIELDS:
                        raise ManifestError(f"{field.path}.fieldPath: {path!r} is not known to the lab")
                    return name, FieldRef(path)
            with source.child("configMapKeyRef") as key:
                return name, ConfigMapKey(key.text("name"), key.text("key"))


def _mount(fields: Fields, volumes: Mapping[str, Callable[[str], Mount]]) -> Mount:
    with fields:
        name, path = fields.text("name"), fields.text("mountPath")
        fields.only("readOnly", True)
        if name not in volumes:
            raise ManifestError(f"{fields.path}.name: there is no volume {name!r}")
        return volumes[name](path)


def _security(container: Fields) -> SecurityContext:
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


def _probe(container: Fields, key: str) -> HttpProbe | None:
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


def service(fields: Fields) -> Service:
    name, _ = metadata(fields)
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


def rule(fields: Fields) -> Rule:
    with fields:
        groups, resources, verbs = fields.texts("apiGroups"), fields.texts("resources"), fields.texts("verbs")
        return Rule(groups, resources, verbs, fields.texts("resourceNames"))


def role_binding(fields: Fields) -> RoleBinding:
    name, _ = metadata(fields)
    fields.path = f"RoleBinding {name}"
    with fields.child("roleRef") as reference:
        reference.only("apiGroup", "rbac.authorization.k8s.io")
        reference.only("kind", "Role")
        role = reference.text("name")
    accounts = []
    for subject in fields.children("subjects"):
        with subject:
            # Without a namespace, the subject is in the binding's own.
            subject.only("kind", "ServiceAccount")
            accounts.append(subject.text("name"))
    return RoleBinding(name, role, tuple(accounts))


def budget(fields: Fields) -> DisruptionBudget:
    name, _ = metadata(fields)
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


def priority_class(fields: Fields) -> str:
    name, _ = metadata(fields)
    fields.path = f"PriorityClass {name}"
    fields.integer("value")
    fields.text("description", "")
    fields.only("globalDefault", False)
    fields.only("preemptionPolicy", "PreemptLowerPriority", "Never")
    return name
