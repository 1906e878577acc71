"""The API server: it tells a pod about itself, to whom the manifest allows it and to nobody else."""

import http.client
import json
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.node import Notice
from floatingip.edges.imds import Imds
from floatingip.edges.kubernetes.api_server import ApiServer as Asked
from floatingip.edges.kubernetes.own_pod import PodsOrders
from lab.ec2 import PROFILES
from lab.history import History
from lab.kubernetes.cluster import EvictionRefused
from lab.kubernetes.small import apiserver
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.cluster import Cluster
from lab.kubernetes.small.manifest import load
from lab.kubernetes.small.objects import Container, Manifest
from lab.kubernetes.small.resources import NAMESPACE
from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.small_kubernetes import NAME, SAMPLE, Told, box, floating_ip, without_workers
from tests.waiting import until

PROGRAM = """
import os, signal, sys
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.own_pod import PodsOrders
if sys.argv[1] == "observe":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("event=start", flush=True)
    signal.sigwait([signal.SIGTERM])
    pod = PodsOrders(ApiServer(os.environ)).own_pod()
    print(f'event=end deleted={pod.deleted} disruption="{pod.disruption}" problem="{pod.problem}"', flush=True)
"""
"""Asks, when it is to end, why."""


@pytest.fixture
def manifest() -> Manifest:
    """`floating-ip.yaml` with one replica, without probes."""
    manifest = floating_ip()
    deployment = manifest.deployments[NAME]
    [observer] = deployment.pod.containers
    pod = replace(deployment.pod, containers=(replace(observer, startup=None, liveness=None, readiness=None),))
    return replace(manifest, deployments={NAME: replace(deployment, replicas=1, pod=pod)}, budgets={})


@dataclass
class Lab(Told):
    """A cluster and its API server."""

    api: ApiServer

    def ask(self, token: str, path: str) -> tuple[int, dict[str, Any]]:
        """What a client that trusts the CA is answered."""
        trust = ssl.create_default_context(cadata=self.api.ca)
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with closing(http.client.HTTPSConnection(self.api.host, self.api.port, timeout=5, context=trust)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def own(self, token: str) -> int:
        """The status with which the one pod is shown."""
        return self.ask(token, pod_path(self))[0]


@pytest.fixture
def lab(tmp_path: Path, manifest: Manifest) -> Iterator[Lab]:
    """One whose pod is pending."""
    with without_workers(manifest, tmp_path) as made:
        yield Lab(*made)


def pod_path(lab: Lab) -> str:
    [pod] = lab.cluster.pods()
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod.name}"


def test_a_pods_own_account_may_read_it(lab: Lab) -> None:
    """By the manifest's Role; the answer has what tells a pending pod from one that ends."""
    [pod] = lab.cluster.pods()
    status, body = lab.ask(lab.api.mounted(NAME)["token"], pod_path(lab))
    assert status == 200
    assert (body["kind"], body["metadata"]["name"], body["metadata"]["namespace"]) == ("Pod", pod.name, "default")
    assert body["metadata"]["labels"] == {"app": NAME}
    assert body["spec"] == {"serviceAccountName": NAME}
    not_ready = [{"type": kind, "status": "False"} for kind in ("Ready", "ContainersReady")]
    assert body["status"] == {"phase": "Pending", "conditions": not_ready}
    assert "deletionTimestamp" not in body["metadata"]


def test_a_pod_that_is_gone_is_told_so_for_ten_seconds_and_then_not_known(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a real one does (1.35): its token was found to be good, and is looked at again only then."""
    [pod], path = lab.cluster.pods(), pod_path(lab)
    token = lab.api.mounted(NAME, pod.name)["token"]
    assert lab.ask(token, path)[0] == 200
    lab.cluster.scale(NAME, 0)
    until(lambda: lab.ask(token, path)[0] == 404)
    monkeypatch.setattr(apiserver, "TOKEN_TAKEN_FOR", 0.0)
    assert lab.ask(token, path)[0] == 401


def test_without_a_token_that_it_gave_nobody_is_known(lab: Lab) -> None:
    for token in ("", "invented"):
        status, body = lab.ask(token, pod_path(lab))
        assert (status, body["kind"], body["reason"]) == (401, "Status", "Unauthorized")


def test_an_account_without_the_role_is_forbidden(lab: Lab) -> None:
    """403 says who may not do what."""
    status, body = lab.ask(lab.api.mounted("default")["token"], pod_path(lab))
    assert status == 403
    assert 'User "system:serviceaccount:default:default" cannot get resource "pods"' in body["message"]


@pytest.mark.parametrize("change", ["binding", "verb", "resource", "group"])
def test_the_manifest_grants_and_nothing_else(lab: Lab, manifest: Manifest, change: str) -> None:
    """Each part of the Role counts, and so does its binding: none of them is superfluous."""
    rule, _ = manifest.roles[NAME]
    without: dict[str, Any] = {
        "binding": {"role_bindings": {}},
        "verb": {"roles": {NAME: (replace(rule, verbs=("list",)),)}},
        "resource": {"roles": {NAME: (replace(rule, resources=("configmaps",)),)}},
        "group": {"roles": {NAME: (replace(rule, groups=("apps",)),)}},
    }
    token = lab.api.mounted(NAME)["token"]
    assert lab.own(token) == 200
    lab.cluster.apply(replace(manifest, **without[change]))
    assert lab.own(token) == 403


def test_services_are_listed_to_whom_the_manifest_allows_it(lab: Lab, manifest: Manifest) -> None:
    """As the real one lists them: without a kind of their own, and with the families that they got."""
    sample = load(SAMPLE, {})
    lab.cluster.apply(replace(manifest, services=sample.services))
    path = f"/api/v1/namespaces/{NAMESPACE}/services"
    status, body = lab.ask(lab.api.mounted(NAME)["token"], path)
    assert (status, body["kind"]) == (200, "ServiceList")
    [service] = body["items"]
    assert service["metadata"]["name"] == "sample-service"
    assert service["spec"]["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30007}]
    assert lab.ask(lab.api.mounted("default")["token"], path)[0] == 403
    assert lab.ask(lab.api.mounted(NAME)["token"], "/api/v1/namespaces/kube-system/services")[0] == 403


def test_a_role_reaches_no_other_namespace(lab: Lab) -> None:
    """And what is not there is told only to those who may see it."""
    token = lab.api.mounted(NAME)["token"]
    assert lab.ask(token, "/api/v1/namespaces/kube-system/pods/x")[0] == 403
    assert lab.ask(token, f"/api/v1/namespaces/{NAMESPACE}/pods/x")[0] == 404
    assert lab.ask(token, "/api/v1/nodes")[0] == 404


def test_whoever_does_not_trust_the_ca_says_nothing(lab: Lab) -> None:
    """The certificate is of no public authority; the server goes on."""
    connection = http.client.HTTPSConnection(lab.api.host, lab.api.port, timeout=5)
    with closing(connection), pytest.raises(ssl.SSLCertVerificationError):
        connection.request("GET", "/")
    assert lab.api.asked == []
    assert lab.own(lab.api.mounted(NAME)["token"]) == 200


def test_a_client_that_does_not_speak_holds_nobody_up(lab: Lab) -> None:
    """Its handshake is waited for in a thread of its own."""
    with socket.create_connection((lab.api.host, lab.api.port)):
        assert lab.own(lab.api.mounted(NAME)["token"]) == 200


@pytest.fixture
def node(in_sandbox: None, tmp_path: Path) -> Iterator[Lab]:
    """One worker, with the API server at an address of its own; nothing deployed."""

    def command(container: Container) -> list[str]:
        return [sys.executable, "-c", PROGRAM, *container.args]

    with ExitStack() as stack:
        worker = stack.enter_context(box("k-a", "10.0.0.10", "192.0.2.3"))
        history = stack.enter_context(closing(History(tmp_path / "history.jsonl")))
        cluster = Cluster([worker], history, command_for=command, labels={"k-a": {"floatingip": "true"}})
        api = ApiServer(stack.enter_context(worker.namespace.listen("192.0.2.3", 443)), cluster)
        stack.callback(api.stop)
        stack.callback(cluster.stop_all, grace=0.0)
        cluster.use(api)
        yield Lab(cluster, history, api)


def end(node: Lab, manifest: Manifest, how: Callable[[str], None]) -> dict[str, str]:
    """Run the pod, end it, and return what it found out before its end."""
    node.cluster.apply(manifest)
    node.cluster.wait_ready(20)
    node.until(lambda: node.said("start"), 20)
    how(node.cluster.pod_on("k-a").name)
    node.until(lambda: node.said("end"), 20)
    [line] = node.said("end")
    return dict(line["fields"])


def test_an_evicted_pod_learns_it_from_its_api_server(node: Lab, manifest: Manifest) -> None:
    """The product's own question, with the mounted token and CA, as the manifest allows it."""
    fields = end(node, manifest, node.cluster.evict)
    assert (fields["deleted"], fields["disruption"]) == ("True", "EvictionByEvictionAPI")


def test_a_deleted_pod_learns_that_it_was_not_evicted(node: Lab, manifest: Manifest) -> None:
    """`kubectl delete pod` and a rolling update write no condition."""
    fields = end(node, manifest, node.cluster.delete_pod)
    assert (fields["deleted"], fields["disruption"], fields["problem"]) == ("True", "", "")


def test_a_pod_without_the_role_does_not_know(node: Lab, manifest: Manifest) -> None:
    """The denial is told with what is missing."""
    fields = end(node, replace(manifest, role_bindings={}), node.cluster.evict)
    assert fields["problem"].startswith("403 for default/floating-ip-")


def test_a_pod_without_a_token_does_not_know(node: Lab, manifest: Manifest) -> None:
    """`automountServiceAccountToken: false` mounts nothing."""
    deployment = manifest.deployments[NAME]
    blind = replace(deployment, pod=replace(deployment.pod, token=False))
    fields = end(node, replace(manifest, deployments={NAME: blind}), node.cluster.evict)
    assert fields["problem"].startswith("there is no /var/run/secrets/kubernetes.io/serviceaccount/token")


def test_the_mounted_files_are_the_pods_alone(node: Lab, manifest: Manifest) -> None:
    """The machine gets no directory below /run."""
    end(node, manifest, node.cluster.delete_pod)
    assert not Path("/run/secrets/kubernetes.io").exists()


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory, in_sandbox: None) -> Iterator[Region]:
    """Two workers with the product deployed."""
    history = History(tmp_path_factory.mktemp("region") / "history.jsonl")
    with closing(history), Region(PROFILES["instant"], history, seed=1) as region:
        region.deploy()
        yield region


NOTICES = {
    "spot": nemesis.spot_notice,
    "asg": nemesis.asg_notice,
    "maintenance": nemesis.maintenance_notice,
    "rebalance": nemesis.rebalance_notice,
}


@pytest.mark.parametrize("kind", NOTICES)
def test_each_notice_of_the_nemesis_reaches_the_product(region: Region, kind: str) -> None:
    """On the node that it is about, by the product's own question, and on no other."""
    standby, other = region.standbys()[0], region.holder()

    def ask(machine: Machine) -> Notice | None:
        with closing(Imds()) as imds:
            return machine.worker.namespace.call(imds.notice)

    assert ask(standby) is None
    NOTICES[kind](region, standby)
    notice = ask(standby)
    assert notice
    assert notice.kind == kind
    assert ask(other) is None
    standby.imds.notices.clear()


def test_a_worker_reaches_the_api_server_as_its_pods_do(region: Region, tmp_path: Path) -> None:
    """Over the VPC, with a token of the manifest's account."""
    machine = region.standbys()[0]
    assert isinstance(region.cluster, Cluster)
    pod = region.cluster.pod_on(machine.name)
    for name, text in region.api.mounted(pod.deployment.pod.account).items():
        (tmp_path / name).write_text(text)
    environment = {**region.api.environment, "POD_NAME": pod.name, "POD_NAMESPACE": NAMESPACE}
    own = machine.worker.namespace.call(PodsOrders(Asked(environment, tmp_path)).own_pod)
    assert (own.ready, own.deleted, own.problem) == (True, False, "")


def test_a_drain_cordons_and_evicts_within_the_budget(region: Region) -> None:
    """The node's pod goes, its replacement waits for a node, and the other node's pod may not go meanwhile."""
    machine = region.standbys()[0]
    assert isinstance(region.cluster, Cluster)
    pod = region.cluster.pod_on(machine.name)
    nemesis.drain(region, machine)
    assert pod.disruption == "EvictionByEvictionAPI"
    assert pod.gone.wait(20)
    with pytest.raises(LookupError):
        region.cluster.pod_on(machine.name)
    with pytest.raises(EvictionRefused):
        region.cluster.evict(region.cluster.pod_on(region.holder().name).name)
