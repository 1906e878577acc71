"""
Why this pod is being ended: whether Kubernetes evicts it, by the one thing that tells an eviction from a deletion.

A drain and a node group's upgrade evict: the API server writes the condition `DisruptionTarget` into the pod's status
before it deletes the pod, so it is there when SIGTERM comes.  Plain deletion writes no condition.  (Kubernetes
documentation, "Pod disruption conditions"; on by default since 1.26.)

On plain `http.client`: EKS has clusters whose CA certificate lacks the key identifiers of RFC 5280, which Python from
3.13 on demands by default (kubernetes-client/python#2394), and requests has no setting for that.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

from floatingip.model import Eviction, EvictionState

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the pod's token and the CA of the API server."""

TIMEOUT = 0.5
"""Seconds for the connection, and again for the answer: the pod's grace period is running."""


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
            status, body = self._get(host, int(port), f"/api/v1/namespaces/{namespace}/pods/{name}")
        except KeyError as error:
            return Eviction(EvictionState.UNKNOWN, f"{error.args[0]} is not set")
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Eviction(EvictionState.UNKNOWN, _reason(error))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Eviction(EvictionState.UNKNOWN, f"{status} for {namespace}/{name}: the role must allow to get pods")
        if status != HTTPStatus.OK:
            return Eviction(EvictionState.UNKNOWN, f"{status} for {namespace}/{name}")
        try:
            return _read(json.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError):
            return Eviction(EvictionState.UNKNOWN, f"what came for {namespace}/{name} is no pod")

    def _get(self, host: str, port: int, path: str) -> tuple[int, bytes]:
        # Both are read each time: Kubernetes renews them, the token after most of an hour.
        token = (self._directory / "token").read_text(encoding="ascii").strip()
        trust = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with closing(http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=trust)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()


def _read(pod: Any) -> Eviction:
    for condition in pod["status"].get("conditions", []):
        if (condition.get("type"), condition.get("status")) == ("DisruptionTarget", "True"):
            reason = condition.get("reason")
            if reason == "EvictionByEvictionAPI":
                return Eviction(EvictionState.EVICTED, condition.get("message", reason))
            return Eviction(EvictionState.NOT_EVICTED, f"ended by {reason}")
    return Eviction(EvictionState.NOT_EVICTED)


def _reason(error: Exception) -> str:
    """What happened, in our own words where the library's may quote the token."""
    match error:
        case FileNotFoundError(filename=str(name)):
            return f"there is no {name}"
        case FileNotFoundError():
            return "there is no CA certificate"
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"the API server's certificate does not hold: {message}"
        case TimeoutError():
            return f"the API server gave no answer within {TIMEOUT:g} s"
        case ConnectionError():
            return "no connection to the API server"
        case _:
            return f"the API server could not be asked ({type(error).__name__})"
