"""
Which NodePorts there are: the API server lists the Services of this pod's namespace.

Only Services that can have NodePorts are asked for (`spec.type` is a field by which Services can be selected), and only
TCP ports are taken: without a service's own protocol nobody can find out whether it listens on UDP or SCTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from floatingip.core.bounded_json import as_count, as_list, as_object, as_text, read_json
from floatingip.core.errors import ServicesUnknown
from floatingip.core.probe import NodePort
from floatingip.edges.kubernetes.api_server import DEEPEST, LONGEST, REFUSED_TOKEN, RENEW, ApiServer, Unanswered

MOST_SERVICES = 250
"""At most this many Services are asked for; few namespaces have a dozen with NodePorts, and one Service has 2 kB."""

HIGHEST_PORT = 65535

_WITH_NODE_PORTS = quote("spec.type!=ClusterIP,spec.type!=ExternalName", safe="")
_VERSIONS = {"IPv4": 4, "IPv6": 6}
_DENIED_HINT = "apply the Role of the current floating-ip.yaml, or set `service`"


class PodsServices:
    """`ports.Services` by the API server."""

    def __init__(self, api_server: ApiServer) -> None:
        self._api_server = api_server

    def node_ports(self) -> tuple[NodePort, ...]:
        """List the NodePorts once; see `ports.Services`."""
        try:
            namespace = self._api_server.variable("POD_NAMESPACE")
            query = f"fieldSelector={_WITH_NODE_PORTS}&limit={MOST_SERVICES}"
            answer = self._api_server.get(f"services?{query}", seconds=LONGEST)
        except Unanswered as error:
            raise ServicesUnknown(str(error)) from error
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise ServicesUnknown(f"{answer.status} for the Services of {namespace}: {REFUSED_TOKEN}", RENEW)
        if answer.status == HTTPStatus.FORBIDDEN:
            raise ServicesUnknown(
                f"{answer.status} from the API server: this pod may not list the Services of {namespace}", _DENIED_HINT
            )
        if answer.status != HTTPStatus.OK:
            raise ServicesUnknown(f"{answer.status} from the API server for the Services of {namespace}")
        try:
            return _read(read_json(answer.body, depth=DEEPEST))
        except (ValueError, LookupError):
            raise ServicesUnknown(f"what came for the Services of {namespace} is no list of them") from None


def _read(answer: object) -> tuple[NodePort, ...]:
    """The NodePorts in the list.  Raises ValueError or LookupError if the answer is no list of Services."""
    listing = as_object(answer)
    if listing["kind"] != "ServiceList":
        raise ValueError("something else")
    items = listing["items"] or []  # An empty list may be null, see `_node_ports`.
    found = {each.port: each for item in as_list(items, as_object) for each in _node_ports(item)}
    return tuple(found[port] for port in sorted(found))


def _node_ports(service: Mapping[str, Any]) -> Iterator[NodePort]:
    spec, name = as_object(service["spec"]), as_text(as_object(service["metadata"])["name"])
    if spec.get("type") not in ("NodePort", "LoadBalancer"):
        return
    # Go writes an empty value as null, or leaves it out.  IP families that only a later Kubernetes has are ignored.
    families = as_list(spec.get("ipFamilies") or ["IPv4"], as_text)
    versions = frozenset(_VERSIONS[family] for family in families if family in _VERSIONS)
    for port in as_list(spec.get("ports") or [], as_object):
        number = as_count(port.get("nodePort") or 0, HIGHEST_PORT)
        # A Service of type LoadBalancer may have no NodePort (`allocateLoadBalancerNodePorts`).
        if number and versions and (port.get("protocol") or "TCP") == "TCP":
            yield NodePort(number, service=name, versions=versions)
