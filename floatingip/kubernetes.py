"""
Why this pod is being ended: whether Kubernetes evicts it, by the one thing that tells an eviction from a deletion.

A drain and a node group's upgrade evict: the API server writes the condition `DisruptionTarget` into the pod's status
before it deletes the pod, so it is there when SIGTERM comes.  Plain deletion writes no condition.  (Kubernetes
documentation, "Pod disruption conditions"; on by default since 1.26.)

EKS has clusters whose CA certificate lacks the key identifiers of RFC 5280, which Python from 3.13 on demands
by default (kubernetes-client/python#2394).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from floatingip.http_client import Connection, NoAnswer, Response, read_json
from floatingip.model import Eviction, EvictionState

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the pod's token and the CA of the API server."""

TIMEOUT = 1.0
"""Seconds for all of it, from the connection to the last byte: the pod's grace period is running."""

MOST_BYTES = 2**21
"""Bytes of a pod's document: etcd takes no more than 1.5 MiB."""

DEEPEST = 100
"""Levels of a pod's document; its managed fields have a dozen."""


class OwnPod:
    """`ports.Orders` by the API server, with the pod's own service account."""

    def __init__(self, environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        """`environment` has KUBERNETES_SERVICE_HOST and _PORT by Kubernetes, POD_NAME and POD_NAMESPACE by the
        manifest; `directory` has `token` and `ca.crt`.
        """
        self._environment = environment
        self._directory = directory

    def eviction(self) -> Eviction:
        """Ask once, within about a second; never raises: see `EvictionState`."""
        try:
            host, port, namespace, name = (
                self._environment[key]
                for key in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE", "POD_NAME")
            )
            path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
            answer = self._get(host, int(port), path)
        except KeyError as error:
            return Eviction(EvictionState.UNKNOWN, f"{error.args[0]} is not set")
        except (OSError, ValueError) as error:
            return Eviction(EvictionState.UNKNOWN, _reason(error))
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Eviction(
                EvictionState.UNKNOWN, f"{answer.status} for {namespace}/{name}: the role must allow to get pods"
            )
        if answer.status != HTTPStatus.OK:
            return Eviction(EvictionState.UNKNOWN, f"{answer.status} for {namespace}/{name}")
        try:
            return _read(read_json(answer.body, depth=DEEPEST), name)
        except (ValueError, TypeError, LookupError):
            return Eviction(EvictionState.UNKNOWN, f"what came for {namespace}/{name} is no pod")

    def _get(self, host: str, port: int, path: str) -> Response:
        # Both are read each time: Kubernetes renews them, the token after most of an hour.
        token = (self._directory / "token").read_text(encoding="ascii").strip()
        trust = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with closing(Connection(host, port, seconds=TIMEOUT, tls=trust, most_bytes=MOST_BYTES)) as connection:
            return connection.get(path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})


def _read(pod: object, name: str) -> Eviction:
    """What the document says.  Raises ValueError, TypeError or LookupError when it is not that of this pod."""
    pod = _object(pod)
    if (pod["kind"], _object(pod["metadata"])["name"]) != ("Pod", name):
        raise ValueError("something else")
    conditions = _object(pod["status"]).get("conditions", [])
    if not isinstance(conditions, list):
        raise TypeError("conditions")
    for condition in map(_object, conditions):
        if (condition.get("type"), condition.get("status")) == ("DisruptionTarget", "True"):
            reason, message = condition["reason"], condition.get("message", condition["reason"])
            if not isinstance(reason, str) or not isinstance(message, str):
                raise TypeError("reason")
            if reason == "EvictionByEvictionAPI":
                return Eviction(EvictionState.EVICTED, message)
            return Eviction(EvictionState.NOT_EVICTED, f"ended by {reason}")
    return Eviction(EvictionState.NOT_EVICTED)


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _reason(error: Exception) -> str:
    """What happened, in our own words where the library's may quote the token."""
    match error:
        case NoAnswer():
            return f"nothing from the API server: {error}"
        case FileNotFoundError(filename=str(name)):
            return f"there is no {name}"
        case FileNotFoundError():
            return "there is no CA certificate"
        case UnicodeDecodeError():
            return "the service account's token is none"
        case ssl.SSLError():
            return "the service account's CA certificate is none"
        case OSError():
            return f"the service account cannot be read ({error.strerror})"
        case _:
            return "KUBERNETES_SERVICE_PORT is no number"
