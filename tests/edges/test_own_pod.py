"""What is said of the own pod, by a real HTTPS server on loopback, which each test makes answer in its way."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from floatingip.core.node import OwnPod
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.own_pod import PodsOrders
from tests.edges.api_server import NAME, Service, serving
from tests.edges.own_pod import NO_TOKEN, POD_PATH, READY, WELL, ask, at_0, condition, pod, unknown


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, pod()) as service:
        yield service


def test_an_evicted_pod_knows_it(service: Service) -> None:
    """By the condition that the API server writes before it deletes the pod."""
    service.body = pod(condition("EvictionByEvictionAPI"), deletionTimestamp="2026-11-23T14:13:30Z")
    assert ask(service) == replace(WELL, deleted=True, disruption="EvictionByEvictionAPI")
    assert service.asked == [POD_PATH]


@pytest.mark.parametrize(
    ("conditions", "disruption"),
    [
        ((), ""),
        ((condition("PreemptionByScheduler"),), "PreemptionByScheduler"),
        ((condition("EvictionByEvictionAPI", status="False"),), ""),
        ((condition("EvictionByEvictionAPI", kind="PodScheduled"),), ""),
        (({"type": "DisruptionTarget", "status": "True"},), "DisruptionTarget"),
    ],
)
def test_only_a_disruption_is_one(service: Service, conditions: tuple[dict[str, str], ...], disruption: str) -> None:
    """A deleted pod has no such condition."""
    service.body = pod(*conditions)
    assert ask(service) == replace(WELL, disruption=disruption)


@pytest.mark.parametrize(("status", "says"), [("True", True), ("False", False), ("Unknown", False)])
def test_the_pod_is_ready_as_far_as_kubernetes_knows(service: Service, status: str, *, says: bool) -> None:
    """What kubelet wrote of the containers is another matter: the control plane leaves that as it was."""
    service.body = pod(ready=({"type": "Ready", "status": status}, READY[1]))
    assert ask(service) == replace(WELL, ready=says)


def test_a_readiness_gate_of_others_says_nothing_of_the_node(service: Service) -> None:
    """Webhooks give pods such gates; a closed one must not look like a node that the control plane has written off."""
    gated = {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}
    service.body = pod(ready=(gated, READY[1]))
    assert ask(service) == replace(WELL, ready=None)


def test_a_pod_without_conditions_is_neither_ready_nor_ended(service: Service) -> None:
    """The kubelet may not have reported any yet."""
    service.body = json.dumps({"kind": "Pod", "metadata": {"name": NAME}, "status": {"phase": "Pending"}})
    assert ask(service) == OwnPod(0.0, answered=True)


ALLOW = ": the role must allow to get pods"


@pytest.mark.parametrize(
    ("status", "detail"), [(401, NO_TOKEN), (403, ALLOW), (404, ""), (429, ""), (500, ""), (302, "")]
)
def test_a_refusal_is_unknown_with_its_cause(service: Service, status: int, detail: str) -> None:
    """Even if an eviction is in the body: only 200 is an answer.  A redirect would carry the token elsewhere."""
    service.body = pod(condition("EvictionByEvictionAPI"))
    service.status = status
    said = unknown(f"{status} for default/floating-ip-x2x{detail}", answered=True)
    assert ask(service) == replace(said, refused=status in (401, 403))


@pytest.mark.parametrize(
    ("body", "gone"),
    [
        ({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}, True),
        ({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 404}, False),
        ({"reason": "NotFound"}, False),
    ],
)
def test_a_pod_is_gone_when_the_api_server_says_so(service: Service, body: dict[str, object], *, gone: bool) -> None:
    """And not by any 404: a proxy's, or that of a path that it does not know."""
    service.body, service.status = json.dumps(body), 404
    assert ask(service).gone is gone


PEER = condition("EvictionByEvictionAPI")
NAMED = {"kind": "Pod", "metadata": {"name": NAME}}
NO_CONDITIONS: list[object] = [
    *(None, {"type": "DisruptionTarget"}, [["DisruptionTarget"]]),
    *([PEER | {"reason": 7}], [PEER | {"status": []}], [PEER | {"type": []}]),
]
NO_PODS = [
    {"kind": "Status", "metadata": {}, "status": "Failure", "message": "pods not found"},
    {"kind": "Node", "metadata": {"name": NAME}, "status": {"conditions": [PEER]}},
    {"kind": "Pod", "metadata": {"name": "another"}, "status": {"conditions": [PEER]}},
    {"kind": "Pod", "status": {"conditions": [PEER]}},
]


@pytest.mark.parametrize(
    "body",
    [
        *("", "<html>", "[]", "{}", "7", '"Pod"', '{"status": null}', '{"status": {"conditions": ["x"]}}'),
        *map(json.dumps, NO_PODS),
        *(json.dumps(NAMED | {"status": {"conditions": conditions}}) for conditions in NO_CONDITIONS),
        json.dumps(NAMED | {"status": {"conditions": [PEER]}})[:-9],
        200_000 * "[",
        '{"kind": "Pod", "x": ' + 5000 * "[" + 5000 * "]" + "}",
        '{"kind": "Pod", "x": ' + 5000 * "9" + "}",
        pod(PEER).replace("Eviction API", "\\ud800"),
        pod(PEER).replace('"Ready"', "NaN"),
    ],
)
def test_what_is_no_pod_is_unknown(service: Service, body: str) -> None:
    """Something else may answer at that address."""
    service.body = body
    assert ask(service) == unknown("what came for default/floating-ip-x2x is no pod", answered=True)


@pytest.mark.parametrize("another", [{"namespace": "other"}, {"uid": "uid-2"}, {"namespace": "other", "uid": "uid-1"}])
def test_another_pod_of_the_same_name_says_nothing_of_this_one(service: Service, another: dict[str, str]) -> None:
    """That of another namespace or cluster, or one that was made later; not even by its eviction."""
    service.body = pod(condition("EvictionByEvictionAPI"), ready=READY, **another)
    assert ask(service, POD_UID="uid-1") == unknown("what came for default/floating-ip-x2x is no pod", answered=True)


@pytest.mark.parametrize("uid", ["uid-1", ""])
def test_the_own_pod_is_known_by_namespace_and_uid(service: Service, uid: str) -> None:
    """An older manifest tells the observer no uid: then the name counts."""
    service.body = pod(namespace="default", uid="uid-1")
    assert ask(service, POD_UID=uid) == WELL


@pytest.mark.parametrize("present", [False, True], ids=["not there", "empty"])
@pytest.mark.parametrize(
    "variable", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAME", "POD_NAMESPACE"]
)
def test_outside_of_a_pod_it_says_what_is_missing(service: Service, variable: str, *, present: bool) -> None:
    """So does a manifest that is older than the image; an empty name would be asked for all pods."""
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1", "POD_NAME": "a"}
    environment["POD_NAMESPACE"] = "default"
    environment[variable] = ""
    if not present:
        del environment[variable]
    found = at_0(PodsOrders(ApiServer(environment, service.directory)).own_pod())
    assert found == replace(unknown(f"{variable} is not set; apply the manifest of this version"), unset=variable)
