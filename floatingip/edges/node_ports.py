"""
Which NodePorts there are: the API server lists the Services of this pod's namespace.

Only those that have any are asked for (`spec.type` is one of the fields that Services can be selected by), and their
TCP ports taken: whether anybody listens to UDP or SCTP cannot be told without speaking the service's own protocol.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from floatingip.core.errors import ServicesUnknown
from floatingip.core.model import NodePort
from floatingip.edges.http_client import Connection, NoAnswer, Response, read_json

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the pod's token and the CA of the API server."""

TIMEOUT = 5.0
"""Seconds for all of it, from the connection to the last byte."""

MOST_SERVICES = 250
"""Services that are asked for; few namespaces have a dozen with NodePorts."""

MOST_BYTES = 2**21
"""Bytes of the list; one Service has 2 kB."""

DEEPEST = 100
"""Levels of the list; managed fields have a dozen."""

_WITH_NODE_PORTS = quote("spec.type!=ClusterIP,spec.type!=ExternalName", safe="")
_VERSIONS = {"IPv4": 4, "IPv6": 6}
_DENIED_HINT = "apply the Role of the current floating-ip.yaml, or set `service`"


class PodsServices:
    """`ports.Services` by the API server, with the pod's own service account."""

    def __init__(self, environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        """`environment` has KUBERNETES_SERVICE_HOST and _PORT by Kubernetes, POD_NAMESPACE by the manifest;
        `directory` has `token` and `ca.crt`.
        """
        self._environment = environment
        self._directory = directory

    def node_ports(self) -> tuple[NodePort, ...]:
        """List them once; see `ports.Services`."""
        try:
            host, port, namespace = (
                self._environment[key]
                for key in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE")
            )
            path = f"/api/v1/namespaces/{quote(namespace, safe='')}/services"
            answer = self._get(host, int(port), f"{path}?fieldSelector={_WITH_NODE_PORTS}&limit={MOST_SERVICES}")
        except KeyError as error:
            raise ServicesUnknown(f"{error.args[0]} is not set", _DENIED_HINT) from error
        except NoAnswer as error:
            raise ServicesUnknown(f"nothing from the API server: {error}") from error
        except (OSError, ValueError) as error:
            # In our own words: the library's may quote the token.
            raise ServicesUnknown(
                f"the service account cannot be used ({type(error).__name__})", _DENIED_HINT
            ) from None
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ServicesUnknown(
                f"{answer.status} from the API server: this pod may not list the Services of {namespace}", _DENIED_HINT
            )
        if answer.status != HTTPStatus.OK:
            raise ServicesUnknown(f"{answer.status} from the API server for the Services of {namespace}")
        try:
            return _read(read_json(answer.body, depth=DEEPEST))
        except (ValueError, TypeError, LookupError):
            raise ServicesUnknown(f"what came for the Services of {namespace} is no list of them") from None

    def _get(self, host: str, port: int, path: str) -> Response:
        # Both are read each time: Kubernetes renews them, the token after most of an hour.
        token = (self._directory / "token").read_text(encoding="ascii").strip()
        trust = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # see kubernetes.py
        with closing(Connection(host, port, seconds=TIMEOUT, tls=trust, most_bytes=MOST_BYTES)) as connection:
            return connection.get(path, {"Authorization": f"Bearer {token}", "Accept": "application/json"})


def _read(answer: object) -> tuple[NodePort, ...]:
    """What the list says.  Raises ValueError, TypeError or LookupError when it is none."""
    listing = _object(answer)
    if listing["kind"] != "ServiceList":
        raise ValueError("something else")
    # An empty list of Go's is null.
    items = listing["items"] or []
    found = {each.port: each for item in _list(items) for each in _node_ports(_object(item))}
    return tuple(found[port] for port in sorted(found))


def _node_ports(service: Mapping[str, Any]) -> Iterator[NodePort]:
    spec, name = _object(service["spec"]), _object(service["metadata"])["name"]
    if not isinstance(name, str):
        raise TypeError("name")
    if spec["type"] not in ("NodePort", "LoadBalancer"):
        return
    families = _list(spec.get("ipFamilies", ["IPv4"]))
    versions = frozenset(_VERSIONS[family] for family in families)
    for port in map(_object, _list(spec["ports"])):
        number = port.get("nodePort", 0)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 65535:
            raise ValueError("port")
        # A LoadBalancer may have none (`allocateLoadBalancerNodePorts`).
        if number and port.get("protocol", "TCP") == "TCP":
            yield NodePort(number, service=name, versions=versions)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value
