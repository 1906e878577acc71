"""The manifests as they are deployed, and the parser that knows nothing else."""

import re
from dataclasses import fields, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from floatingip.core import settings
from floatingip.edges import configmap
from lab.kubernetes.small.fields import ManifestError
from lab.kubernetes.small.manifest import parse, substitute
from lab.kubernetes.small.objects import ConfigMapKey, FieldRef, RoleBinding, Rule
from tests.lab.small_kubernetes import VARIABLES, floating_ip
from tests.packaging.substitution import envsubst

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      containers:
        - name: c
          image: i
"""


@pytest.mark.parametrize(
    "text",
    [
        "${FLOATING_IP} $AWS_REGION ${UNKNOWN}|$UNKNOWN|",
        "$$AWS_REGION ${AWS_REGION ${AWS_REGION:-x} $ 5$ $1 ${} ${1}",
        "a${FLOATING_IP}b$FLOATING_IPb$FLOATING_IP-b ${A$AWS_REGION}",
        "äöü$AWS_REGIONä $\n${AWS_REGION\n}",
    ],
)
def test_substitution_is_that_of_envsubst(text: str) -> None:
    """Compared with gettext's own program."""
    assert substitute(text, VARIABLES) == envsubst(text, VARIABLES)


def test_two_observers_on_two_nodes_without_a_surge() -> None:
    """A surge would wait for a third node for ever."""
    deployment = floating_ip().deployments["floating-ip"]
    assert (deployment.replicas, deployment.max_surge, deployment.max_unavailable) == (2, 0, 1)
    assert deployment.pod.exclusive == deployment.labels
    assert deployment.pod.host_network


def test_both_containers_have_the_same_two_capabilities_and_variables() -> None:
    """`attach` and `observe` are the same loop."""
    pod = floating_ip().deployments["floating-ip"].pod
    [attach], [observer] = pod.init_containers, pod.containers
    assert (attach.args, observer.args) == (("attach",), ("observe",))
    assert attach.security == observer.security
    assert (attach.security.user, attach.security.add, attach.security.drop) == (0, ("NET_ADMIN", "NET_RAW"), ("ALL",))
    assert attach.env == observer.env
    assert attach.env == {
        "FLOATING_IP": ConfigMapKey("floating-ip", "FLOATING_IP"),
        "NODE_NAME": FieldRef("spec.nodeName"),
        "NODE_ADDRESS": FieldRef("status.hostIP"),
        "POD_NAME": FieldRef("metadata.name"),
        "POD_UID": FieldRef("metadata.uid"),
        "POD_NAMESPACE": FieldRef("metadata.namespace"),
    }
    assert observer.startup
    assert observer.liveness
    assert observer.readiness
    assert (observer.startup.path, observer.liveness.path, observer.readiness.path) == ("/livez", "/livez", "/readyz")


def test_the_observers_may_read_pods_list_services_and_nothing_else() -> None:
    """That is what the questions about the own pod and the NodePorts need: the role, its binding, and the token."""
    manifest = floating_ip()
    pods, services = Rule(("",), ("pods",), ("get",)), Rule(("",), ("services",), ("list",))
    assert manifest.roles["floating-ip"] == (pods, services)
    assert manifest.role_bindings == {
        name: RoleBinding(name, name, ("floating-ip",)) for name in ("floating-ip", "floating-ip-news")
    }
    pod = manifest.deployments["floating-ip"].pod
    assert (pod.account, pod.token) == ("floating-ip", True)
    assert manifest.may(pod.account, "get", "", "pods")
    assert manifest.may(pod.account, "patch", "", "configmaps", "floating-ip-history")
    for account, verb, group, resource in (
        ("default", "get", "", "pods"),
        (pod.account, "list", "", "pods"),
        (pod.account, "get", "", "secrets"),
        (pod.account, "get", "apps", "pods"),
        (pod.account, "patch", "", "pods"),
        (pod.account, "patch", "", "configmaps"),
    ):
        assert not manifest.may(account, verb, group, resource)
    assert not manifest.may(pod.account, "patch", "", "configmaps", "floating-ip")


def test_a_budget_and_a_priority_keep_the_observers() -> None:
    """One of two may be evicted at a time; the priority is there, or no pod would be made."""
    manifest = floating_ip()
    deployment = manifest.deployments["floating-ip"]
    [budget] = manifest.budgets.values()
    assert budget.selector == deployment.labels
    assert [budget.desired(replicas) for replicas in (0, 1, 2, 3)] == [0, 0, 1, 2]
    assert deployment.pod.priority_class in manifest.priority_classes


RBAC = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: a}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: p}
spec: {minAvailable: 50%, selector: {matchLabels: {app: d}}}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: c}
value: 5
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("verbs: [get]", "verbs: [get], nonResourceURLs: [x]"), r"Role.rules\[0\].nonResourceURLs: not known"),
        (("name: r}\nsub", "name: s}\nsub"), "RoleBinding b: there is no Role s"),
        (("kind: Role,", "kind: ClusterRole,"), "RoleBinding b.roleRef.kind: 'ClusterRole'"),
        (("name: a}]", "name: x}]"), "RoleBinding b: there is no ServiceAccount x"),
        (("[{kind: ServiceAccount", "[{kind: User"), r"subjects\[0\].kind: 'User'"),
        (("minAvailable: 50%", "maxUnavailable: 1, minAvailable: 50%"), "expected either minAvailable or"),
        (("minAvailable: 50%", "minAvailable: half"), "spec.minAvailable: 'half'"),
        (("minAvailable: 50%, ", ""), "expected either minAvailable or"),
        (("value: 5", "value: high"), "PriorityClass c.value: 'high'"),
    ],
)
def test_rights_and_budgets_are_checked_as_strictly(change: tuple[str, str], message: str) -> None:
    """A rule that is ignored would be a right that the lab gives and a cluster does not."""
    parse(RBAC)
    assert change[0] in RBAC
    with pytest.raises(ManifestError, match=message):
        parse(RBAC.replace(*change, 1))


def test_the_settings_are_comments_that_show_every_default(tmp_path: Path) -> None:
    """Whoever takes all comment signs away changes nothing but the name, which has no fixed default."""
    manifest = floating_ip()
    config_map = manifest.config_maps["floating-ip"]
    assert config_map.data["FLOATING_IP"] == "10.0.0.100"
    text = config_map.data["settings.yaml"]
    assert yaml.safe_load(text) is None
    file = tmp_path / "settings.yaml"
    file.write_text(re.sub(r"^# (?=[a-z0-9_]+: )", "", text, flags=re.MULTILINE))
    environment = {"FLOATING_IP": "10.0.0.100"}
    defaults = settings.Settings((IPv4Address("10.0.0.100"),))
    assert configmap.load(environment, file) == replace(defaults, name="my-cluster")
    shown = list(yaml.safe_load(file.read_text()))
    assert shown == [field.name for field in fields(settings.Settings)][1:], "in the order of their documentation"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("image: i", "image: i\n          command: [x]"), r"containers\[0\].command: not known"),
        (("image: i", "image: i\n      serviceAccountName: x"), "Deployment d: there is no ServiceAccount x"),
        (("image: i", "image: i\n      priorityClassName: x"), "Deployment d: there is no PriorityClass x"),
        (("kind: Deployment", "kind: DaemonSet"), "apps/v1 DaemonSet is not known"),
        (("metadata: {name: d}", "metadata: {name: d, namespace: n}"), "Deployment.metadata.namespace: not known"),
        (("image: i", "image: 7"), r"Deployment d.spec.template.spec.containers\[0\].image: 7"),
        (("spec:\n  sel", "spec:\n  replicas: true\n  sel"), "spec.replicas: True"),
        (("labels: {app: d}", "labels: {app: e}"), "does not select the template's labels"),
        (("image: i", "image: i\n          volumeMounts: [{name: v, mountPath: /v}]"), "no volume 'v'"),
        (
            ("image: i", "image: i\n          securityContext: {privileged: true}"),
            "securityContext.privileged: not known",
        ),
        (
            ("image: i", "image: i\n          env: [{name: A, valueFrom: {configMapKeyRef: {name: m, key: k}}}]"),
            "no key k in a ConfigMap m",
        ),
        (("spec:\n  sel", "spec: [\n  sel"), "not YAML"),
    ],
)
def test_what_the_lab_does_not_do_is_an_error_with_its_path(change: tuple[str, str], message: str) -> None:
    """A field that is ignored would be a field that is not tested."""
    parse(POD)
    assert change[0] in POD
    with pytest.raises(ManifestError, match=message):
        parse(POD.replace(*change, 1))
