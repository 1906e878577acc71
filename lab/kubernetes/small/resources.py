"""
What the small API server answers about each kind of object, to a caller with the right to ask.

It answers from the cluster's books; what callers write is checked as the real API server checks it.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from lab.kubernetes.small.objects import Manifest, Service
from lab.kubernetes.small.pods import Books, Pod

NAMESPACE = "default"
_NO_CLUSTER_IPS = "spec.type!=ClusterIP,spec.type!=ExternalName"
"""The only field selector that is known; it selects all Services, as all of the lab's have NodePorts."""

_LABEL_KEY = re.compile(r"(?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_DATA_KEY = re.compile(r"[-._A-Za-z0-9]{1,253}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_NOTE_AT_MOST, _WORD_AT_MOST = 1024, 128
CONFIG_MAP_BYTES = 2**20
"""How large a ConfigMap may be."""

Answer = tuple[HTTPStatus, dict[str, Any]]
Query = Mapping[str, Sequence[str]]


class Asked(Protocol):
    """What the server asks the cluster; lab.kubernetes.small.cluster.Cluster has it."""

    @property
    def books(self) -> Books:
        """The cluster's books."""

    @property
    def manifest(self) -> Manifest:
        """The manifest that was applied last."""

    @property
    def services(self) -> Mapping[str, Service]:
        """The services that exist, by name."""

    def pods(self) -> Sequence[Pod]:
        """All pods that exist."""


class Refused(Exception):
    """The request cannot be done; the message says why."""

    def __init__(self, status: HTTPStatus, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Route:
    """One kind of request: `path` has the namespace, and the name if one is meant; `verb`, `group` and `resource` are
    what a Role has to allow.
    """

    method: str
    path: re.Pattern[str]
    verb: str
    group: str
    resource: str
    answer: Callable[[Asked, str, Query, dict[str, Any]], Answer]

    def forbidden(self, account: str, namespace: str, name: str) -> str:
        """The message for a caller that may not do this."""
        user = f"system:serviceaccount:{NAMESPACE}:{account}"
        what = f'resource "{self.resource}" in API group "{self.group}" in the namespace "{namespace}"'
        about = self.resource.partition("/")[0] + (f' "{name}"' if name else "")
        return f'{about} is forbidden: User "{user}" cannot {self.verb} {what}'


def read_document(kind: str, content: bytes, *, merges: bool) -> dict[str, Any]:
    """The object that a request brings.  Raises Refused."""
    if kind != ("application/merge-patch+json" if merges else "application/json"):
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{kind} is not known to the lab")
    try:
        document = json.loads(content)
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
    if not isinstance(document, dict):
        raise Refused(HTTPStatus.BAD_REQUEST, "no object")
    return document


def _get_pod(cluster: Asked, name: str, _query: Query, _document: dict[str, Any]) -> Answer:
    return HTTPStatus.OK, _pod(cluster, name).as_object(NAMESPACE)


def _pod(cluster: Asked, name: str) -> Pod:
    for pod in cluster.pods():
        if pod.name == name:
            return pod
    raise Refused(HTTPStatus.NOT_FOUND, f'pods "{name}" not found')


def _patch_pod_status(cluster: Asked, name: str, _query: Query, document: dict[str, Any]) -> Answer:
    pod = _pod(cluster, name)
    labels = document.get("metadata", {}).get("labels", {})
    if document != {"metadata": {"labels": labels}}:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "only labels can be changed in the lab")
    for key, value in labels.items():
        _need(_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value), f"metadata.labels: {key}={value}")
    with cluster.books.lock:
        pod.labels.update(labels)
    return HTTPStatus.OK, pod.as_object(NAMESPACE)


def _list_services(cluster: Asked, _name: str, query: Query, _document: dict[str, Any]) -> Answer:
    if query.get("fieldSelector", [_NO_CLUSTER_IPS]) != [_NO_CLUSTER_IPS]:
        raise Refused(HTTPStatus.BAD_REQUEST, "field label not supported")
    items = [_service(service) for service in cluster.services.values()]
    return HTTPStatus.OK, {"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": items}


def _service(service: Service) -> dict[str, Any]:
    """The API object; the lab's kube-proxy serves both families."""
    ports = [
        {"protocol": "TCP", "port": port.port, "targetPort": port.target_port, "nodePort": port.node_port}
        for port in service.ports
    ]
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local" if service.local else "Cluster",
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
        "selector": dict(service.selector),
        "ports": ports,
    }
    metadata = {"name": service.name, "namespace": NAMESPACE}
    return {"metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}


def _get_config_map(cluster: Asked, name: str, _query: Query, _document: dict[str, Any]) -> Answer:
    try:
        data = cluster.books.config_map(name)
    except LookupError as error:
        raise Refused(HTTPStatus.NOT_FOUND, f'configmaps "{name}" not found') from error
    # A ConfigMap without data has no field `data`, as in a real cluster.
    metadata = {"name": name, "namespace": NAMESPACE}
    return HTTPStatus.OK, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata} | (
        {"data": data} if data else {}
    )


def _patch_config_map(cluster: Asked, name: str, query: Query, document: dict[str, Any]) -> Answer:
    _get_config_map(cluster, name, query, document)
    changes = document.get("data", {})
    if document != {"data": changes}:
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "only data can be changed in the lab")
    for key, value in changes.items():
        _need(_DATA_KEY.fullmatch(key) and isinstance(value, str | None), f"data: {key}")
    with cluster.books.lock:
        written = {**cluster.books.written.get(name, {}), **changes}
        written = {key: value for key, value in written.items() if value is not None}
        _need(sum(map(len, [*written, *written.values()])) <= CONFIG_MAP_BYTES, "data: Too long")
        cluster.books.written[name] = written
    return _get_config_map(cluster, name, query, document)


def _create_event(cluster: Asked, _name: str, _query: Query, event: dict[str, Any]) -> Answer:
    metadata, regarding = event.get("metadata", {}), event.get("regarding", {})
    name = metadata.get("name", "")
    _need(metadata.get("namespace") == regarding.get("namespace") == NAMESPACE, "metadata.namespace")
    _need(_TIME.fullmatch(event.get("eventTime", "")), "eventTime")
    _need(event.get("type") in ("Normal", "Warning"), "type")
    for field in ("reason", "action", "reportingInstance"):
        _need(0 < len(event.get(field, "")) <= _WORD_AT_MOST, field)
    _need(_LABEL_KEY.fullmatch(event.get("reportingController", "")), "reportingController")
    _need(len(event.get("note", "").encode()) <= _NOTE_AT_MOST, "note: can have at most 1024 bytes")
    with cluster.books.lock:
        if name in cluster.books.events:
            raise Refused(HTTPStatus.CONFLICT, f'events.events.k8s.io "{name}" already exists', "AlreadyExists")
        cluster.books.events[name] = event
    return HTTPStatus.CREATED, event


def _need(is_so: object, what: str) -> None:
    if not is_so:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"Invalid value: {what}", "Invalid")


def _path(kind: str, suffix: str = "/([^/]+)", group: str = "api/v1") -> re.Pattern[str]:
    return re.compile(f"/{group}/namespaces/([^/]+)/{kind}{suffix}")


ROUTES = (
    Route("GET", _path("pods"), "get", "", "pods", _get_pod),
    Route("PATCH", _path("pods", "/([^/]+)/status"), "patch", "", "pods/status", _patch_pod_status),
    Route("GET", _path("services", "()"), "list", "", "services", _list_services),
    Route("GET", _path("configmaps"), "get", "", "configmaps", _get_config_map),
    Route("PATCH", _path("configmaps"), "patch", "", "configmaps", _patch_config_map),
    Route(
        "POST",
        _path("events", "()", "apis/events.k8s.io/v1"),
        "create",
        "events.k8s.io",
        "events",
        _create_event,
    ),
)
"""All requests that are known."""
