"""What a test of the question about the own pod needs: a pod's document, and what the asker makes of the answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from floatingip.core.node import OwnPod
from floatingip.edges import clock
from floatingip.edges.kubernetes.own_pod import PodsOrders
from tests.edges.api_server import NAME, Service

POD_PATH = f"/api/v1/namespaces/default/pods/{NAME}"
NO_TOKEN = (
    ": the API server does not take this pod's token; was its ServiceAccount deleted, or made anew?"
    " then `kubectl rollout restart deployment floating-ip`"
)
MESSAGE = "Eviction API: evicting"


def condition(reason: str, kind: str = "DisruptionTarget", status: str = "True") -> dict[str, str]:
    """A condition as the API server has it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": MESSAGE,
        "lastTransitionTime": "2026-11-23T14:13:00Z",
    }


READY = ({"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"})


def pod(*conditions: Mapping[str, str], ready: Sequence[Mapping[str, str]] = READY, **metadata: str) -> str:
    """A pod with these conditions beside its readiness."""
    document = {"kind": "Pod", "metadata": {"name": NAME, **metadata}, "status": {"conditions": [*ready, *conditions]}}
    return json.dumps(document)


def ask(service: Service, **environment: str) -> OwnPod:
    """What a pod with these variables finds out; see `at_0`."""
    return at_0(client(service, **environment).own_pod())


def client(service: Service, **environment: str) -> PodsOrders:
    """Who asks it for the pod."""
    return PodsOrders(service.api_server(**environment))


def at_0(found: OwnPod) -> OwnPod:
    """The same, as if it had been asked at 0: which must have been before now."""
    assert found.asked_at <= clock.now()
    return replace(found, asked_at=0.0)


def unknown(problem: str, *, answered: bool = False, proved: bool = False) -> OwnPod:
    """Nothing of the pod is known, for this reason."""
    return OwnPod(0.0, answered=answered, proved=proved, problem=problem)


WELL = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
