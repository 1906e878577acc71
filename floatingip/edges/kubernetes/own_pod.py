"""Read from the API server what Kubernetes intends to do with this pod; agent/pod.py says what follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote

from floatingip.core.bounded_json import as_list, as_object, as_text, read_json
from floatingip.core.node import OwnPod
from floatingip.edges import clock
from floatingip.edges.http_client import Response
from floatingip.edges.kubernetes.api_server import DEEPEST, REFUSED_TOKEN, RENEW, ApiServer, Unanswered, Unset

TIMEOUT = 1.0
"""Seconds for the question, from the connection to the last byte: the pod's grace period may be running."""

GATED = "ReadinessGatesNotReady"
"""The reason that kubelet gives if it calls a pod not `Ready` although its containers are
(GeneratePodReadyCondition in kubelet's status package).  The control plane gives no reason when it writes a node off.
"""


class PodsOrders:
    """`ports.Orders` by the API server."""

    def __init__(self, api_server: ApiServer) -> None:
        self._api_server = api_server

    def own_pod(self) -> OwnPod:
        """Ask once, within about a second; never raises: see `OwnPod`."""
        asked_at = clock.now()
        try:
            name, namespace = map(self._api_server.variable, ("POD_NAME", "POD_NAMESPACE"))
            mine = {"name": name, "namespace": namespace, "uid": self._uid()}
            answer = self._api_server.get(f"pods/{quote(name, safe='')}", seconds=TIMEOUT)
        except Unset as error:
            return OwnPod(asked_at, problem=str(error), unset=error.variable)
        except Unanswered as error:
            return OwnPod(asked_at, proved=error.proved, problem=str(error))
        return _understand(answer, OwnPod(asked_at, answered=True), mine)

    def _uid(self) -> str:
        """The pod's UID; empty if an older manifest does not give it."""
        try:
            return self._api_server.variable("POD_UID")
        except Unset:
            return ""


def _understand(answer: Response, told: OwnPod, mine: Mapping[str, str]) -> OwnPod:
    who = f"{mine['namespace']}/{mine['name']}"
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return replace(told, problem=f"{answer.status} for {who}: {REFUSED_TOKEN}; {RENEW}", refused=True)
    if answer.status == HTTPStatus.FORBIDDEN:
        return replace(told, problem=f"{answer.status} for {who}: the role must allow to get pods", refused=True)
    try:
        if answer.status == HTTPStatus.OK:
            return _read(read_json(answer.body, depth=DEEPEST), mine, told)
        if answer.status == HTTPStatus.NOT_FOUND and _is_gone(read_json(answer.body, depth=DEEPEST)):
            return replace(told, gone=True)
    except (ValueError, LookupError):
        return replace(told, problem=f"what came for {who} is no pod")
    return replace(told, problem=f"{answer.status} for {who}")


def _is_gone(status: object) -> bool:
    """Whether the API server itself says that there is no such pod: something in between may answer 404, too."""
    status = as_object(status)
    return (status.get("kind"), status.get("reason")) == ("Status", "NotFound")


def _read(pod: object, mine: Mapping[str, str], told: OwnPod) -> OwnPod:
    """What the document says of this pod.  Raises ValueError or LookupError if it is not this pod's.

    ``mine`` has this pod's name, namespace and UID.  A pod of the same name may be another cluster's, or one that was
    made later.
    """
    pod = as_object(pod)
    metadata = as_object(pod["metadata"])
    is_mine = all(metadata.get(key, value) == value for key, value in mine.items() if value)
    if (pod["kind"], metadata["name"]) != ("Pod", mine["name"]) or not is_mine:
        raise ValueError("something else")
    conditions = as_list(as_object(pod["status"]).get("conditions", []), as_object)
    states: dict[str, bool | None] = {}
    disruption = ""
    for condition in conditions:
        kind, status = as_text(condition["type"]), as_text(condition["status"])
        reason = as_text(condition.get("reason", ""))
        # A readiness gate that somebody else, such as a webhook, has added is closed: that says nothing of the node.
        states[kind] = None if reason == GATED else status == "True"
        if (kind, status) == ("DisruptionTarget", "True"):
            disruption = reason or "DisruptionTarget"
    return replace(
        told,
        deleted=metadata.get("deletionTimestamp") is not None,
        disruption=disruption,
        ready=states.get("Ready"),
        containers_ready=states.get("ContainersReady"),
    )
