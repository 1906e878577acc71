"""What a user meets on a real cluster beside failovers: what was applied, and what refuses it."""

import json
import time
from collections.abc import Iterator

import pytest

from floatingip.core import history
from lab.kubernetes.cluster import OBSERVERS, Kind
from lab.kubernetes.real.cluster import Cluster
from lab.kubernetes.real.kubectl import KubectlFailed
from lab.run.region import Region
from tests.kubernetes.conftest import Stage
from tests.waiting import until

WITHIN = 120.0


@pytest.fixture
def region(stage: Stage) -> Region:
    """One of two workers, on the real Kubernetes."""
    return stage.region(Kind.REAL, ec2="typical")


@pytest.fixture
def cluster(region: Region) -> Cluster:
    assert isinstance(region.cluster, Cluster)
    return region.cluster


@pytest.fixture
def elsewhere(cluster: Cluster) -> Iterator[str]:
    """A namespace of its own, in which the observers of `default` are in nobody's way."""
    cluster.scale(OBSERVERS, 0)
    cluster.kubectl("create", "namespace", "elsewhere")
    yield "elsewhere"
    cluster.kubectl("delete", "namespace", "elsewhere", "--wait")
    # Without them the next test would need another cluster.
    cluster.scale(OBSERVERS, 2)
    cluster.wait_ready(WITHIN)


def told(cluster: Cluster, namespace: str) -> str:
    """What the events of a namespace say."""
    listed = json.loads(cluster.kubectl("get", "events", "--namespace", namespace, "-o", "json"))
    return "\n".join(item["message"] for item in listed["items"])


def until_told(cluster: Cluster, namespace: str, *words: str) -> str:
    """Wait until its events say this; all of them."""
    deadline = time.monotonic() + WITHIN
    while not all(word in (said := told(cluster, namespace)) for word in words):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    return said


def floatingip(cluster: Cluster, node: str, *command: str) -> str:
    """What a command says in the observer's container on this node."""
    program = "/opt/floatingip/.venv/bin/python", "-m", "floatingip"
    return cluster.kubectl("exec", cluster.pod_on(node).name, "-c", "observer", "--", *program, *command)


def test_a_second_apply_changes_nothing(region: Region, cluster: Cluster) -> None:
    """`kubectl diff` is empty, though there is a history by now, and that is left alone."""
    before, text = cluster.config_map(history.NAME), region.text("floating-ip.yaml")
    assert history.read(before)
    assert cluster.kubectl("diff", "-f", "-", stdin=text) == ""
    cluster.apply(text)
    assert cluster.kubectl("diff", "-f", "-", stdin=text) == ""
    assert cluster.config_map(history.NAME) == before


def test_a_user_finds_what_kubernetes_is_told(region: Region, cluster: Cluster) -> None:
    """By the commands of docs/history.md."""
    labelled = cluster.kubectl("get", "pods", "--selector", "app=floating-ip", "-L", "floatingip/role")
    assert sorted(line.split()[-1] for line in labelled.splitlines()[1:]) == ["holder", "standby"]
    told = floatingip(cluster, region.holder().name, "history", "--since", "3d")
    assert told.startswith("WHEN (UTC)")
    assert len(told.splitlines()) == 1 + len(cluster.config_map(history.NAME))
    selected = "involvedObject.kind=Pod,reportingComponent=floatingip/observer"
    assert "moved to" in cluster.kubectl("get", "events", "--field-selector", selected)
    mover = next(move.to_node for move in history.read(cluster.config_map(history.NAME)))
    assert "floatingip/observer" in cluster.kubectl("describe", "pod", cluster.pod_on(mover).name)


def test_no_service_of_the_namespace_is_in_an_observer_s_environment(region: Region, cluster: Cluster) -> None:
    """By thousands of them it would be too long for the kernel; the API server's address is there all the same."""
    said = cluster.kubectl("exec", cluster.pod_on(region.holder().name).name, "-c", "observer", "--", "env")
    found = [line.partition("=")[0] for line in said.splitlines() if "_SERVICE_HOST=" in line]
    assert found == ["KUBERNETES_SERVICE_HOST"]


def test_it_can_be_deployed_in_another_namespace(region: Region, cluster: Cluster, elsewhere: str) -> None:
    cluster.kubectl("apply", "--namespace", elsewhere, "-f", "-", stdin=region.text("floating-ip.yaml"))
    cluster.kubectl("rollout", "status", f"deployment/{OBSERVERS}", "--namespace", elsewhere, f"--timeout={WITHIN:g}s")


def test_pod_security_at_baseline_refuses_it_and_says_why(region: Region, cluster: Cluster, elsewhere: str) -> None:
    """The ReplicaSet's events name everything that the level forbids; `kubectl apply` warns."""
    cluster.kubectl("label", "namespace", elsewhere, "pod-security.kubernetes.io/enforce=baseline")
    cluster.kubectl("label", "namespace", elsewhere, "pod-security.kubernetes.io/warn=baseline")
    done = cluster.plane.kubectl("apply", "-n", elsewhere, "-f", "-", stdin=region.text("floating-ip.yaml"))
    assert done.returncode == 0
    assert "would violate PodSecurity" in done.stderr
    said = until_told(cluster, elsewhere, "violates PodSecurity")
    for forbidden in ("NET_ADMIN", "NET_RAW", "host namespaces", "hostPort"):
        assert forbidden in said


def test_a_quota_that_is_full_is_named(region: Region, cluster: Cluster, elsewhere: str) -> None:
    """In the ReplicaSet's events."""
    cluster.kubectl("create", "quota", "full", "--hard=pods=1", "--namespace", elsewhere)
    cluster.kubectl("apply", "--namespace", elsewhere, "-f", "-", stdin=region.text("floating-ip.yaml"))
    until_told(cluster, elsewhere, "exceeded quota: full")


def test_the_role_allows_what_the_observer_asks_and_no_more(cluster: Cluster) -> None:
    """Reading the pods of its namespace, and writing what is for people."""
    account = "--as=system:serviceaccount:default:floating-ip"
    for allowed in (
        ("get", "pods"),
        ("patch", "pods", "--subresource=status"),
        ("create", "events.events.k8s.io"),
        ("patch", f"configmap/{history.NAME}"),
    ):
        assert cluster.kubectl("auth", "can-i", *allowed, account).strip() == "yes"
    for verb, resource in (
        ("delete", "pods"),
        ("list", "secrets"),
        ("get", "nodes"),
        ("update", "pods"),
        ("patch", "pods"),
        ("patch", "configmap/floating-ip"),
        ("get", "configmaps"),
        ("patch", "events.events.k8s.io"),
    ):
        with pytest.raises(KubectlFailed):
            cluster.kubectl("auth", "can-i", verb, resource, account)


def test_a_user_can_ask_for_a_handover_and_read_the_logs(region: Region, cluster: Cluster) -> None:
    """By the commands of the README: `kubectl exec` and `kubectl logs`."""
    holder, standby = region.holder().name, region.standbys()[0].name
    floatingip(cluster, standby, "handover")
    until(lambda: holder_of(region) != holder, WITHIN)
    assert "event=failover" in cluster.kubectl("logs", cluster.pod_on(standby).name, "-c", "observer")


def holder_of(region: Region) -> str:
    """The holder's name; empty while the address moves."""
    try:
        return region.holder().name
    except LookupError:
        return ""
