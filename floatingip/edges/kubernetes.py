"""
What Kubernetes has in mind for this pod, by the one thing that the Role allows: to get it.  What follows is in pod.py.

EKS has clusters whose CA certificate lacks the key identifiers of RFC 5280, which Python from 3.13 on demands
by default (kubernetes-client/python#2394).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from floatingip.core.model import OwnPod
from floatingip.edges.http_client import Connection, NoAnswer, Response, read_json

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the pod's token and the CA of the API server."""

TIMEOUT = 1.0
"""Seconds for all of it, from the connection to the last byte: the pod's grace period may be running."""

MOST_BYTES = 2**21
"""Bytes of a pod's document: etcd takes no more than 1.5 MiB."""

DEEPEST = 100
"""Levels of a pod's document; its managed fields have a dozen."""


class ApiServer:
    """`ports.Orders` by the API server, with the pod's own service account, over one connection that is kept."""

    def __init__(self, environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        """`environment` has KUBERNETES_SERVICE_HOST and _PORT by Kubernetes, POD_NAME and POD_NAMESPACE by the
        manifest; `directory` has `token` and `ca.crt`.
        """
        self._environment = environment
        self._directory = directory
        self._connection: Connection | None = None
        self._trusted = b""

    def own_pod(self) -> OwnPod:
        """Ask once, within about a second; never raises: see `OwnPod`."""
        asked_at = time.monotonic()
        try:
            host, port, namespace, name = (
                self._environment[key]
                for key in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE", "POD_NAME")
            )
            path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
            answer = self._get(host, int(port), path)
        except KeyError as error:
            return OwnPod(asked_at, problem=f"{error.args[0]} is not set; apply the manifest of this version")
        except (OSError, ValueError) as error:
            return OwnPod(asked_at, problem=_reason(error))
        return _understand(answer, asked_at, namespace, name)

    def _get(self, host: str, port: int, path: str) -> Response:
        # Both are read each time: Kubernetes renews them, the token after most of an hour.
        token = (self._directory / "token").read_text(encoding="ascii").strip()
        authority = (self._directory / "ca.crt").read_bytes()
        if self._connection is None or authority != self._trusted:
            self._trust(host, port, authority)
        assert self._connection is not None
        return self._connection.get(path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})

    def _trust(self, host: str, port: int, authority: bytes) -> None:
        """From now on speak only to whom this authority vouches for."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        trust = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._connection = Connection(host, port, seconds=TIMEOUT, tls=trust, most_bytes=MOST_BYTES)
        self._trusted = authority


def _understand(answer: Response, asked_at: float, namespace: str, name: str) -> OwnPod:
    told, who = OwnPod(asked_at, answered=True), f"{namespace}/{name}"
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return replace(told, problem=f"{answer.status} for {who}: the role must allow to get pods")
    try:
        if answer.status == HTTPStatus.OK:
            return _read(read_json(answer.body, depth=DEEPEST), name, told)
        if answer.status == HTTPStatus.NOT_FOUND and _is_gone(read_json(answer.body, depth=DEEPEST)):
            return replace(told, gone=True)
    except (ValueError, TypeError, LookupError):
        return replace(told, problem=f"what came for {who} is no pod")
    return replace(told, problem=f"{answer.status} for {who}")


def _is_gone(status: object) -> bool:
    """Whether the API server itself says so: something on the way to it may answer 404, too."""
    status = _object(status)
    return (status.get("kind"), status.get("reason")) == ("Status", "NotFound")


def _read(pod: object, name: str, told: OwnPod) -> OwnPod:
    """What the document says.  Raises ValueError, TypeError or LookupError when it is not that of this pod."""
    pod = _object(pod)
    metadata = _object(pod["metadata"])
    if (pod["kind"], metadata["name"]) != ("Pod", name):
        raise ValueError("something else")
    conditions = _object(pod["status"]).get("conditions", [])
    if not isinstance(conditions, list):
        raise TypeError("conditions")
    states: dict[object, str] = {}
    disruption = ""
    for condition in map(_object, conditions):
        status, reason = condition["status"], condition.get("reason", "")
        if not isinstance(status, str) or not isinstance(reason, str):
            raise TypeError("condition")
        states[condition["type"]] = status
        if (condition["type"], status) == ("DisruptionTarget", "True"):
            disruption = reason or "DisruptionTarget"
    return replace(
        told,
        deleted=metadata.get("deletionTimestamp") is not None,
        disruption=disruption,
        ready=_says(states.get("Ready")),
        containers_ready=_says(states.get("ContainersReady")),
    )


def _says(status: str | None) -> bool | None:
    """A condition that nobody can tell (`Unknown`) is not met."""
    return None if status is None else status == "True"


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _reason(error: Exception) -> str:
    """What happened, in our own words where the library's may quote the token."""
    match error:
        case NoAnswer():
            return f"nothing from the API server: {error}"
        case FileNotFoundError(filename=name):
            return f"there is no {name}; mount the service account's token (automountServiceAccountToken: true)"
        case UnicodeDecodeError():
            return "the service account's token is none"
        case ssl.SSLError():
            return "the service account's CA certificate is none"
        case OSError():
            return f"the service account cannot be read ({error.strerror})"
        case _:
            return "KUBERNETES_SERVICE_PORT is no number"
