"""Whatever the API server says: of this pod, and of the Services of its namespace."""

import json
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from floatingip.agent import pod
from floatingip.core.errors import ServicesUnknown
from floatingip.edges.http_client import Response
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.node_ports import PodsServices
from floatingip.edges.kubernetes.own_pod import PodsOrders
from tests.hostile.strategies import as_json, documents, mutations, several, values

NAME = "floating-ip-x2x"
POD = {
    "kind": "Pod",
    "metadata": {"name": NAME, "deletionTimestamp": "2026-11-23T00:00:00Z"},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "False", "reason": ""},
            {"type": "ContainersReady", "status": "True"},
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "x"},
        ]
    },
}
GONE = {"kind": "Status", "reason": "NotFound", "message": f'pods "{NAME}" not found', "code": 404}
SERVICES = {
    "kind": "ServiceList",
    "items": [
        {
            "metadata": {"name": "sample"},
            "spec": {
                "type": "NodePort",
                "ipFamilies": ["IPv4", "IPv6"],
                "ports": [
                    {"port": 80, "nodePort": 30007, "protocol": "TCP"},
                    {"port": 53, "nodePort": 30053, "protocol": "UDP"},
                ],
            },
        }
    ],
}


class Said:
    """An API server that has said this; how it comes over a connection is told in test_http.py."""

    def __init__(self, status: int, body: bytes) -> None:
        self._response = Response(status, body)

    def variable(self, name: str) -> str:
        """See `ApiServer`."""
        return NAME if name == "POD_NAME" else "default"

    def get(self, resource: str, *, seconds: float) -> Response:
        """See `ApiServer`."""
        return self._response


def server(status: int, body: bytes) -> ApiServer:
    """One of these."""
    return cast(ApiServer, Said(status, body))


def bodies(sound: Any) -> st.SearchStrategy[bytes]:
    """What may come instead of it."""
    return st.one_of(
        documents(sound).map(as_json), mutations(as_json(sound)), values.map(as_json), st.binary(max_size=20)
    )


def conditions(body: bytes) -> dict[str, list[Any]]:
    """The states that a document tells, by condition, all of those that it tells."""
    found: dict[str, list[Any]] = {}
    for each in json.loads(body)["status"].get("conditions", []):
        found.setdefault(each["type"], []).append(each["status"])
    return found


@several(10)
@given(st.sampled_from([200, 200, 200, 404, 401, 301, 500, 999]), st.one_of(bodies(POD), bodies(GONE)))
def test_a_pod_is_read_or_nothing_is_known_of_it(status: int, body: bytes) -> None:
    """Gone only if the API server says so, and disrupted if its document does; one answer alone writes nobody off."""
    found = PodsOrders(server(status, body)).own_pod()
    assert found.answered
    if found.problem:
        assert found.problem.isprintable()
        assert len(found.problem) < 200
        assert (found.gone, found.deleted, found.disruption, found.ready, found.containers_ready) == (
            False,
            False,
            "",
            None,
            None,
        )
    elif found.gone:
        assert status == 404
        assert json.loads(body)["reason"] == "NotFound"
    else:
        assert status == 200
        said = conditions(body)
        assert found.disruption == "" or "True" in said["DisruptionTarget"]
        assert found.ready is None or ("Ready" in said and found.ready <= ("True" in said["Ready"]))
    memory = pod.learn(pod.PodMemory(), found)
    assert pod.written_off(memory, found.asked_at, ready_since=None) == ""


@several(10)
@given(st.sampled_from([200, 200, 200, 403, 404, 500]), bodies(SERVICES))
def test_node_ports_are_ports_or_unknown(status: int, body: bytes) -> None:
    """Each once, and with a name; what is refused is told in a line."""
    try:
        found = PodsServices(server(status, body)).node_ports()
    except ServicesUnknown as error:
        found, said = (), str(error)
    else:
        assert status == 200
        said = ""
    assert said.isprintable()
    assert len(said) < 300
    ports = [each.port for each in found]
    assert ports == sorted(set(ports))
    assert all(0 < port < 65536 and str(port) in body.decode() for port in ports)
    assert all(isinstance(each.service, str) and each.versions <= {4, 6} for each in found)
