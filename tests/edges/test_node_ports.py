"""Which NodePorts there are: the API server's list against a real HTTPS server on loopback, bad answers included."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from floatingip.core.errors import ServicesUnknown
from floatingip.core.probe import NodePort
from floatingip.edges.kubernetes.api_server import MOST_BYTES
from floatingip.edges.kubernetes.node_ports import PodsServices
from tests.edges.api_server import Service, serving

BOTH, V4, V6 = frozenset((4, 6)), frozenset((4,)), frozenset((6,))


def port(number: object = 30007, protocol: object = "TCP", **more: object) -> dict[str, object]:
    """A Service's port as the API server has it."""
    return {"name": "http", "protocol": protocol, "port": 80, "targetPort": 8080, "nodePort": number, **more}


def listed(*ports: object, name: str = "web", kind: str = "NodePort", **spec: object) -> dict[str, object]:
    """A Service in a list, which has no kind of its own."""
    shown = {"type": kind, "ports": list(ports), "ipFamilies": ["IPv4"], "externalTrafficPolicy": "Local", **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": shown, "status": {"loadBalancer": {}}}


def answer(*services: object) -> str:
    """A list of Services."""
    return json.dumps({"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": list(services)})


def node_ports(service: Service) -> tuple[NodePort, ...]:
    """What the client makes of it."""
    return PodsServices(service.api_server()).node_ports()


def problem(service: Service) -> str:
    """Why it makes nothing of it."""
    with pytest.raises(ServicesUnknown) as caught:
        node_ports(service)
    return str(caught.value)


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, answer(listed(port()))) as service:
        yield service


def test_the_node_ports_of_the_own_namespace_are_asked_for(service: Service) -> None:
    """And only Services that can have any."""
    assert node_ports(service) == (NodePort(30007, service="web", versions=V4),)
    (path,) = service.asked
    assert urlsplit(path).path == "/api/v1/namespaces/default/services"
    assert parse_qs(urlsplit(path).query)["fieldSelector"] == ["spec.type!=ClusterIP,spec.type!=ExternalName"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (listed(port(30009), port(30008)), [30008, 30009]),
        (listed(port(protocol="UDP"), port(30008, "SCTP")), []),
        (listed(port(30007, "UDP"), port(30007, "TCP")), [30007]),
        (listed(port(30010), kind="LoadBalancer", healthCheckNodePort=31111), [30010]),
        (listed({"port": 80}, kind="LoadBalancer", allocateLoadBalancerNodePorts=False), []),
        (listed(port(0)), []),
        (listed({"port": 80}, kind="ClusterIP", clusterIP="None"), []),
        (listed({"port": 80, "nodePort": 30011}), [30011]),
    ],
)
def test_tcp_node_ports_of_every_type_that_has_any_are_taken(
    service: Service, shown: dict[str, object], expected: list[int]
) -> None:
    """A health check's is none of a service's; TCP is the default."""
    service.body = answer(shown)
    assert [each.port for each in node_ports(service)] == expected


@pytest.mark.parametrize(
    ("families", "versions"), [(["IPv4"], V4), (["IPv6"], V6), (["IPv4", "IPv6"], BOTH), (["IPv6", "IPv4"], BOTH)]
)
def test_a_service_serves_its_families(service: Service, families: list[str], versions: frozenset[int]) -> None:
    """An IPv6 address leads to those of IPv6 alone."""
    service.body = answer(listed(port(), ipFamilies=families))
    (found,) = node_ports(service)
    assert found.versions == versions


@pytest.mark.parametrize(
    ("odd", "versions"),
    [
        ({"ipFamilies": None}, V4),
        ({"ipFamilies": []}, V4),
        ({"ipFamilies": ["IPv6", "IPv8"]}, V6),
        ({"ipFamilies": ["IPv8"]}, None),
        ({"ports": None}, None),
        ({"ports": [port(None)]}, None),
        ({"ports": [port(30008, None)]}, V4),
    ],
)
def test_what_is_left_out_of_one_service_keeps_no_other_from_being_known(
    service: Service, odd: dict[str, object], versions: frozenset[int] | None
) -> None:
    """What is empty may be null, by Go's way of writing; a family of a later Kubernetes is none that is asked."""
    spec = {"type": "NodePort", "ports": [port(30008)], **odd}
    service.body = answer(listed(port()), {"metadata": {"name": "odd"}, "spec": spec})
    assert [each.versions for each in node_ports(service) if each.port == 30008] == [versions] * (versions is not None)
    assert 30007 in [each.port for each in node_ports(service)]


@pytest.mark.parametrize("missing", ["ports", "ipFamilies", "type"])
def test_what_a_service_may_lack(service: Service, missing: str) -> None:
    """A Service of no known type has no NodePort."""
    spec = {"type": "NodePort", "ports": [port(30008)], "ipFamilies": ["IPv4"]}
    del spec[missing]
    service.body = answer(listed(port()), {"metadata": {"name": "odd"}, "spec": spec})
    assert [each.port for each in node_ports(service)] == ([30007, 30008] if missing == "ipFamilies" else [30007])


def test_no_services_are_none(service: Service) -> None:
    """An empty list of Go's is null."""
    service.body = json.dumps({"kind": "ServiceList", "items": None})
    assert node_ports(service) == ()


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (
            401,
            "401 for the Services of default: the API server does not take this pod's token; was its ServiceAccount"
            " deleted, or made anew? then `kubectl rollout restart deployment floating-ip`",
        ),
        (
            403,
            "403 from the API server: this pod may not list the Services of default;"
            " apply the Role of the current floating-ip.yaml, or set `service`",
        ),
        *((each, f"{each} from the API server for the Services of default") for each in (302, 404, 429, 500, 503)),
    ],
)
def test_any_other_status_is_no_list(service: Service, status: int, told: str) -> None:
    """Whatever is in its body.  A token that names a ServiceAccount of before, by its uid, is no matter of roles; the
    Role of an older manifest is.
    """
    service.status = status
    assert problem(service) == told


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[]",
        "7",
        "{}",
        json.dumps({"kind": "Status", "status": "Failure"}),
        json.dumps({"kind": "PodList", "items": []}),
        json.dumps({"kind": "ServiceList"}),
        json.dumps({"kind": "ServiceList", "items": {"a": 1}}),
        answer("web"),
        answer({"metadata": {"name": "web"}}),
        answer({"spec": listed()["spec"]}),
        answer(listed(port("30007"))),
        answer(listed(port(True))),
        answer(listed(port(-1))),
        answer(listed(port(65536))),
        answer(listed(port(1e9))),
        answer(listed("30007")),
        answer(listed(port(), ipFamilies=[["IPv4"]])),
        answer(listed(port(), ipFamilies="IPv4")),
        answer({**listed(port()), "metadata": {"name": 7}}),
        answer(listed(port()))[:-9],
        200_000 * "[",
        '{"kind": "ServiceList", "items": ' + 5000 * "[" + 5000 * "]" + "}",
    ],
)
def test_what_is_no_list_of_services_is_told(service: Service, body: str) -> None:
    """Nothing is known then: what was known before goes on."""
    service.body = body
    assert problem(service) == "what came for the Services of default is no list of them"


def test_a_list_that_is_too_long_is_no_answer(service: Service) -> None:
    """Of a megabyte or two nothing useful comes."""
    service.body = answer(listed(port(), padding="x" * MOST_BYTES))
    assert problem(service).startswith("nothing from the API server: ")


@pytest.mark.parametrize("variable", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE"])
def test_outside_of_a_pod_it_says_what_is_missing(service: Service, variable: str) -> None:
    """So does a manifest that is older than the image."""
    del service.environment[variable]
    assert problem(service).startswith(f"{variable} is not set; ")


def test_without_a_token_nothing_is_asked_and_nothing_of_it_is_told(service: Service) -> None:
    """`automountServiceAccountToken: false`; or what is there is none."""
    (service.directory / "token").write_text("gehe\u00efm")
    assert "gehe" not in problem(service)
    (service.directory / "token").unlink()
    assert problem(service).startswith(f"there is no {service.directory / 'token'}; mount the ")
    assert service.asked == []
