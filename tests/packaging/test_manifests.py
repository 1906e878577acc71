"""The manifests as `envsubst`, kubectl and Kubernetes' own schemas read them: without the lab's parser."""

import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # without types
import pytest
import yaml

import floatingip
from floatingip.commands import process
from floatingip.core import history, settings, timing
from floatingip.edges import configmap
from tests.packaging.substitution import envsubst

ROOT = Path(__file__).parents[2]
FLOATING_IP = (ROOT / "floating-ip.yaml").read_text(encoding="utf-8")
SAMPLE_SERVICE = (ROOT / "sample-service.yaml").read_text(encoding="utf-8")
ECR = "123456789012.dkr.ecr.us-west-2.amazonaws.com"
VARIABLES = {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": "10.0.0.100"}
SUPPORTED = ("1.34", "1.35", "1.36", "1.37")
"""The versions of Kubernetes that EKS has and that docs/install.md names."""

EVICTED_HOLDER_STAYS = 10
"""Seconds at most until an evicted holder is relieved."""

Object = dict[str, Any]


def objects(text: str) -> dict[str, Object]:
    """The objects of a manifest by kind, and those after the first of a kind by their names, too."""
    by_kind: dict[str, Object] = {}
    for document in yaml.safe_load_all(text):
        kind, name = document["kind"], document["metadata"]["name"]
        key = kind if kind not in by_kind else f"{kind} {name}"
        assert key not in by_kind
        by_kind[key] = document
    return by_kind


@pytest.fixture(scope="module")
def manifest() -> dict[str, Object]:
    """`floating-ip.yaml` as kubectl gets it."""
    return objects(envsubst(FLOATING_IP, VARIABLES))


@pytest.fixture(scope="module")
def pod(manifest: dict[str, Object]) -> Object:
    """What each replica runs."""
    return dict(manifest["Deployment"]["spec"]["template"]["spec"])


@pytest.fixture(scope="module")
def containers(pod: Object) -> list[Object]:
    """Both of them."""
    return [*pod["initContainers"], *pod["containers"]]


def test_envsubst_finds_the_two_variables_and_nothing_else() -> None:
    """Any other `$NAME`, be it in a comment, would be emptied without a word."""
    for text, names in ((FLOATING_IP, set(VARIABLES)), (SAMPLE_SERVICE, set())):
        assert set(subprocess.check_output(["envsubst", "--variables", text], text=True).split()) == names


def test_envsubst_takes_nothing_away() -> None:
    """Every variable has become its value, everything else is as it was, and no `$` is left."""
    expected = FLOATING_IP
    for name, value in VARIABLES.items():
        expected = expected.replace(f"${{{name}}}", value)
    substituted = envsubst(FLOATING_IP, VARIABLES)
    assert substituted == expected
    assert "$" not in substituted
    assert "$" not in SAMPLE_SERVICE


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("text", [FLOATING_IP, SAMPLE_SERVICE], ids=["floating-ip", "sample-service"])
def test_each_supported_version_knows_every_field(text: str, version: str) -> None:
    """Strictly: an API server drops a field that it does not know with no more than a warning."""
    found = objects(envsubst(text, VARIABLES)).values()
    assert found
    for document in found:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_refused() -> None:
    """The check above can fail."""
    document = objects(envsubst(FLOATING_IP, VARIABLES))["Deployment"]
    document["spec"]["template"]["spec"]["hostNetwrk"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetwrk"):
        kubernetes_validate.validate(document, SUPPORTED[0], strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here")
@pytest.mark.parametrize("text", [FLOATING_IP, SAMPLE_SERVICE], ids=["floating-ip", "sample-service"])
def test_kubectl_reads_every_object(text: str, tmp_path: Path) -> None:
    """As far as it goes without a server."""
    path = tmp_path / "manifest.yaml"
    path.write_text(envsubst(text, VARIABLES), encoding="utf-8")
    command = ["kubectl", "annotate", "--local", f"--filename={path}", "--output=name", "read=true"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    assert len(done.stdout.split()) == len(objects(path.read_text(encoding="utf-8")))


def test_two_replicas_on_two_hosts_and_no_surge(manifest: dict[str, Object], pod: Object) -> None:
    """Required anti-affinity leaves no room for a third pod: a rolling update must end one before it starts one."""
    spec = manifest["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    assert set(pod["affinity"]) == {"podAntiAffinity"}
    [term] = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    labels = spec["template"]["metadata"]["labels"]
    assert term["labelSelector"] == spec["selector"] == {"matchLabels": labels}


def test_attach_runs_before_the_observer(pod: Object) -> None:
    """As init container and container, from one image, on the node's own network."""
    [attach], [observer] = pod["initContainers"], pod["containers"]
    assert (attach["name"], attach["args"]) == ("attach", ["attach"])
    assert (observer["name"], observer["args"]) == ("observer", ["observe"])
    assert attach["image"] == observer["image"] == f"{ECR}/floatingip:{floatingip.__version__}"
    assert pod["hostNetwork"] is True


def test_a_restart_needs_no_registry(containers: list[Object]) -> None:
    """Of `latest`, or without a policy that says so, Kubernetes would ask for it before each start."""
    for container in containers:
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert not container["image"].endswith(":latest")


def test_what_a_container_said_last_is_in_the_pods_status(containers: list[Object]) -> None:
    """Its log is gone with the container before the last one."""
    for container in containers:
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_the_server_can_apply_what_kubectl_has_applied(containers: list[Object]) -> None:
    """The API server adds the version to a reference, which is one whole to it: without it each is in conflict."""
    sources = [variable["valueFrom"] for container in containers for variable in container["env"]]
    assert {source["fieldRef"].get("apiVersion") for source in sources if "fieldRef" in source} == {"v1"}


def test_both_containers_may_do_two_things(containers: list[Object]) -> None:
    """NET_ADMIN to plumb and NET_RAW to ping; nothing else, and no way to more."""
    for container in containers:
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert "privileged" not in security
        # Kubernetes gives added capabilities to user 0 only.
        assert security["runAsUser"] == 0


def test_no_service_tells_the_pods_where_the_api_server_is(pod: Object) -> None:
    """The kubelet gives a pod a variable for each Service of its namespace, also for one that is named `kubernetes`, in
    the place of the real one's (getServiceEnvVarMap); and with thousands of them no program starts.
    """
    assert pod["enableServiceLinks"] is False


def test_no_second_observer_fits_on_a_node_whatever_its_labels(pod: Object) -> None:
    """The scheduler knows of a port of the node only what a container says: another Deployment would crash for ever."""
    [observer] = pod["containers"]
    assert observer["ports"] == [{"containerPort": settings.Settings((IPv4Address("10.0.0.100"),)).port}]


def test_probes_ask_the_port_that_the_settings_have_by_default(pod: Object) -> None:
    """One that asked another port would restart a healthy observer for ever."""
    port = settings.Settings((IPv4Address("10.0.0.100"),)).port
    [observer] = pod["containers"]
    asked = [observer[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert asked == [{"path": path, "port": port} for path in ("/livez", "/livez", "/readyz")]


def test_an_observer_that_waits_for_imds_is_not_restarted(pod: Object) -> None:
    """Each restart would be followed by a longer pause, in which nobody notices that IMDS answers again."""
    startup = pod["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > process.IMDS_DEADLINE
    assert startup["periodSeconds"] == 1, "readiness begins that much later"


def test_the_grace_period_outlasts_the_end_of_an_observer(pod: Object) -> None:
    """SIGKILL between a detach and its attach would strand the address."""
    longest = EVICTED_HOLDER_STAYS + timing.OBLIGED_AT_MOST + timing.KERNEL_ENDS_WITHIN
    assert pod["terminationGracePeriodSeconds"] > longest


def test_evictions_go_one_after_the_other(manifest: dict[str, Object]) -> None:
    """And with two replicas one can always be evicted, or no node could be drained."""
    budget = manifest["PodDisruptionBudget"]["spec"]
    assert budget["selector"] == manifest["Deployment"]["spec"]["selector"]
    assert budget["maxUnavailable"] == 1 < manifest["Deployment"]["spec"]["replicas"]


def test_a_full_node_makes_room_for_an_observer(manifest: dict[str, Object], pod: Object) -> None:
    """By a priority above all that users can give; those of the system may have a quota outside of kube-system."""
    priority = manifest["PriorityClass"]
    assert pod["priorityClassName"] == priority["metadata"]["name"]
    assert priority["value"] == 1_000_000_000
    assert not priority.get("globalDefault", False)


def test_a_lost_nodes_replica_is_made_anew_before_minutes_have_passed(pod: Object) -> None:
    """For both of the taints that a lost node gets: what is tolerated for ever is never replaced."""
    tolerated = {toleration["key"]: toleration for toleration in pod["tolerations"]}
    assert set(tolerated) == {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
    for toleration in tolerated.values():
        assert toleration["effect"] == "NoExecute"
        assert 0 < toleration["tolerationSeconds"] < 300


def test_the_service_account_may_get_pods_and_list_services_and_nothing_else(
    manifest: dict[str, Object], pod: Object
) -> None:
    """By a Role, so those of its own namespace only."""
    assert manifest["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]},
    ]
    binding = manifest["RoleBinding"]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", manifest["Role"]["metadata"]["name"])
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"]}]


def test_what_is_for_people_alone_has_a_role_of_its_own(manifest: dict[str, Object], pod: Object) -> None:
    """Which can be taken away.  It may change nothing of what a pod runs, nor any ConfigMap but the history."""
    role, binding = manifest["Role floating-ip-news"], manifest["RoleBinding floating-ip-news"]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [history.NAME], "verbs": ["get", "patch"]},
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"]}]


def test_applying_the_manifest_again_leaves_the_history_alone(manifest: dict[str, Object]) -> None:
    """`kubectl apply` changes what it is told of: so it is told of no data, not even of none."""
    assert set(manifest[f"ConfigMap {history.NAME}"]) == {"apiVersion", "kind", "metadata"}


def test_memory_is_limited_and_cpu_is_not(containers: list[Object]) -> None:
    """A throttled observer would be late with its probes, and take that for the address' fault."""
    for container in containers:
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}


def test_whatever_the_pod_refers_to_is_there(
    manifest: dict[str, Object], pod: Object, containers: list[Object]
) -> None:
    """The service account; the ConfigMap's keys, as a variable and as the file where the product looks for it."""
    assert pod["serviceAccountName"] == manifest["ServiceAccount"]["metadata"]["name"]
    config_map = manifest["ConfigMap"]
    [volume] = pod["volumes"]
    assert volume["configMap"] == {"name": config_map["metadata"]["name"]}, "all keys, under their own names"
    assert set(config_map["data"]) == {configmap.DEFAULT_PATH.name, "FLOATING_IP"}
    for container in containers:
        [mount] = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        assert Path(mount["mountPath"]) == configmap.DEFAULT_PATH.parent
        [reference] = [e["valueFrom"]["configMapKeyRef"] for e in container["env"] if e["name"] == "FLOATING_IP"]
        assert reference == {"name": config_map["metadata"]["name"], "key": "FLOATING_IP"}
    assert config_map["data"]["FLOATING_IP"] == "10.0.0.100"


def test_the_sample_service_is_at_30007() -> None:
    """The NodePort leads to a port that its pods listen on."""
    sample = objects(SAMPLE_SERVICE)
    service, deployment = sample["Service"]["spec"], sample["Deployment"]["spec"]
    [port] = service["ports"]
    assert (service["type"], port["nodePort"]) == ("NodePort", 30007)
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert deployment["replicas"] == 2
    [container] = deployment["template"]["spec"]["containers"]
    assert port["targetPort"] in [listening["containerPort"] for listening in container["ports"]]


def test_the_sample_service_may_do_nothing() -> None:
    """It passes Pod Security's `restricted`, and writes nowhere."""
    pod = objects(SAMPLE_SERVICE)["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "capabilities": {"drop": ["ALL"]},
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_the_sample_service_answers_where_the_address_is() -> None:
    """Only local endpoints answer, so there is a pod wherever the address can be."""
    sample = objects(SAMPLE_SERVICE)
    assert sample["Service"]["spec"]["externalTrafficPolicy"] == "Local"
    pod = sample["Deployment"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"floatingip": "true"}
    [constraint] = pod["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
