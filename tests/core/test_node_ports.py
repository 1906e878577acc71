"""Which NodePorts there are: the API server's list against a real HTTPS server on loopback, bad answers included."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from floatingip.core.errors import ServicesUnknown
from floatingip.core.probe import NodePort
from floatingip.edges.kubernetes.api_server import MOST_BYTES, ApiServer
from floatingip.edges.kubernetes.node_ports import PodsServices
from lab.kubernetes.small.apiserver import certify

TOKEN = "first-token"
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


class Api:
    """The API server: it knows one token, and says what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.body = answer(listed(port()))
        self.status = 200
        self.asked: list[str] = []
        self.directory = directory
        api = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1

            def do_GET(self) -> None:
                api.asked.append(self.path)
                known = self.headers["Authorization"] == f"Bearer {TOKEN}"
                content = api.body.encode()
                self.send_response(api.status if known else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Not to the terminal."""

        authority, context = certify("127.0.0.1")
        (directory / "ca.crt").write_text(authority)
        (directory / "token").write_text(TOKEN)

        class Server(HTTPServer):
            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                return context.wrap_socket(connection, server_side=True), address

        self.server = Server(("127.0.0.1", 0), Handler)
        self.environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "POD_NAMESPACE": "default",
        }

    def node_ports(self) -> tuple[NodePort, ...]:
        """What the client makes of it."""
        return PodsServices(ApiServer(self.environment, self.directory)).node_ports()

    def problem(self) -> str:
        """Why it makes nothing of it."""
        with pytest.raises(ServicesUnknown) as caught:
            self.node_ports()
        return str(caught.value)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """An API server that answers."""
    api = Api(tmp_path)
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


def test_the_node_ports_of_the_own_namespace_are_asked_for(api: Api) -> None:
    """And only Services that can have any."""
    assert api.node_ports() == (NodePort(30007, service="web", versions=V4),)
    (path,) = api.asked
    assert urlsplit(path).path == "/api/v1/namespaces/default/services"
    assert parse_qs(urlsplit(path).query)["fieldSelector"] == ["spec.type!=ClusterIP,spec.type!=ExternalName"]


@pytest.mark.parametrize(
    ("service", "expected"),
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
    api: Api, service: dict[str, object], expected: list[int]
) -> None:
    """A health check's is none of a service's; TCP is the default."""
    api.body = answer(service)
    assert [each.port for each in api.node_ports()] == expected


@pytest.mark.parametrize(
    ("families", "versions"), [(["IPv4"], V4), (["IPv6"], V6), (["IPv4", "IPv6"], BOTH), (["IPv6", "IPv4"], BOTH)]
)
def test_a_service_serves_its_families(api: Api, families: list[str], versions: frozenset[int]) -> None:
    """An IPv6 address leads to those of IPv6 alone."""
    api.body = answer(listed(port(), ipFamilies=families))
    (found,) = api.node_ports()
    assert found.versions == versions


def test_no_services_are_none(api: Api) -> None:
    """An empty list of Go's is null."""
    api.body = json.dumps({"kind": "ServiceList", "items": None})
    assert api.node_ports() == ()


@pytest.mark.parametrize(("status"), [401, 403])
def test_without_the_permission_it_says_what_to_do(api: Api, status: int) -> None:
    """The Role of an older manifest."""
    api.status = status
    assert api.problem() == (
        f"{status} from the API server: this pod may not list the Services of default;"
        " apply the Role of the current floating-ip.yaml, or set `service`"
    )


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_any_other_status_is_no_list(api: Api, status: int) -> None:
    """Whatever is in its body."""
    api.status = status
    assert api.problem() == f"{status} from the API server for the Services of default"


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
        answer(listed(ports=None)),
        answer(listed(port(), ipFamilies=["IPv5"])),
        answer(listed(port(), ipFamilies=[["IPv4"]])),
        answer(listed(port(), ipFamilies="IPv4")),
        answer({**listed(port()), "metadata": {"name": 7}}),
        answer(listed(port()))[:-9],
        200_000 * "[",
        '{"kind": "ServiceList", "items": ' + 5000 * "[" + 5000 * "]" + "}",
    ],
)
def test_what_is_no_list_of_services_is_told(api: Api, body: str) -> None:
    """Nothing is known then: what was known before goes on."""
    api.body = body
    assert api.problem() == "what came for the Services of default is no list of them"


def test_a_list_that_is_too_long_is_no_answer(api: Api) -> None:
    """Of a megabyte or two nothing useful comes."""
    api.body = answer(listed(port(), padding="x" * MOST_BYTES))
    assert api.problem().startswith("nothing from the API server: ")


@pytest.mark.parametrize("variable", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE"])
def test_outside_of_a_pod_it_says_what_is_missing(api: Api, variable: str) -> None:
    """So does a manifest that is older than the image."""
    del api.environment[variable]
    assert api.problem().startswith(f"{variable} is not set; ")


def test_without_a_token_nothing_is_asked_and_nothing_of_it_is_told(api: Api) -> None:
    """`automountServiceAccountToken: false`; or what is there is none."""
    (api.directory / "token").write_text("gehe\u00efm")
    assert "gehe" not in api.problem()
    (api.directory / "token").unlink()
    assert api.problem().startswith(f"there is no {api.directory / 'token'}; mount the ")
    assert api.asked == []
