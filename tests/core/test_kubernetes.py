"""The question to the API server, against a real HTTPS server on loopback, which each test makes answer in its way."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from floatingip.kubernetes import TIMEOUT, OwnPod
from floatingip.model import Eviction, EvictionState
from lab.kubernetes.small.apiserver import certify

TOKEN = "first-token"
POD_PATH = "/api/v1/namespaces/default/pods/floating-ip-x2x"
MESSAGE = "Eviction API: evicting"


def condition(reason: str, kind: str = "DisruptionTarget", status: str = "True") -> dict[str, str]:
    """A condition as the API server has it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": MESSAGE,
        "lastTransitionTime": "2026-11-23T14:13:00Z",
    }


def pod(*conditions: Mapping[str, str]) -> str:
    """A pod with these conditions beside its readiness."""
    ready = {"type": "Ready", "status": "True"}
    return json.dumps({"kind": "Pod", "metadata": {}, "status": {"conditions": [ready, *conditions]}})


class Service:
    """The API server: it knows one token and one pod."""

    def __init__(self, directory: Path) -> None:
        self.token = TOKEN
        self.body = pod()
        self.status = 200
        self.asked: list[str] = []
        self.directory = directory
        service = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1

            def do_GET(self) -> None:
                service.asked.append(self.path)
                known = self.headers["Authorization"] == f"Bearer {service.token}"
                content = service.body.encode() if self.path == POD_PATH else b"{}"
                self.send_response(service.status if known else 401)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", "https://127.0.0.1:9/")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                """Not to the terminal."""

        authority, self.context = certify("127.0.0.1")
        (directory / "ca.crt").write_text(authority)
        (directory / "token").write_text(TOKEN)

        class Server(HTTPServer):
            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                return service.context.wrap_socket(connection, server_side=True), address

        self.server = Server(("127.0.0.1", 0), Handler)

    def own_pod(self, **environment: str) -> OwnPod:
        """The client, as a pod with these variables beside the usual ones."""
        usual = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "POD_NAMESPACE": "default",
            "POD_NAME": "floating-ip-x2x",
        }
        return OwnPod(usual | environment, self.directory)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An API server that answers."""
    service = Service(tmp_path)
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def test_an_evicted_pod_knows_it(service: Service) -> None:
    """By the condition that the API server writes before it deletes the pod."""
    service.body = pod(condition("EvictionByEvictionAPI"))
    assert service.own_pod().eviction() == Eviction(EvictionState.EVICTED, MESSAGE)
    assert service.asked == [POD_PATH]


@pytest.mark.parametrize(
    ("conditions", "detail"),
    [
        ((), ""),
        ((condition("PreemptionByScheduler"),), "ended by PreemptionByScheduler"),
        ((condition("EvictionByEvictionAPI", status="False"),), ""),
        ((condition("EvictionByEvictionAPI", kind="PodScheduled"),), ""),
    ],
)
def test_only_an_eviction_is_one(service: Service, conditions: tuple[dict[str, str], ...], detail: str) -> None:
    """A deleted pod has no such condition; other disruptions have other reasons."""
    service.body = pod(*conditions)
    assert service.own_pod().eviction() == Eviction(EvictionState.NOT_EVICTED, detail)


def test_a_pod_without_conditions_is_not_evicted(service: Service) -> None:
    """The kubelet may not have reported any yet."""
    service.body = '{"status": {"phase": "Pending"}}'
    assert service.own_pod().eviction() == Eviction(EvictionState.NOT_EVICTED)


def test_a_renewed_token_is_used_at_once(service: Service) -> None:
    """Kubernetes replaces the file while the pod runs, and the old token ends."""
    own = service.own_pod()
    assert own.eviction().state is EvictionState.NOT_EVICTED
    service.token = "second-token"
    assert own.eviction().state is EvictionState.UNKNOWN
    (service.directory / "token").write_text("second-token\n")
    assert own.eviction().state is EvictionState.NOT_EVICTED


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (401, "401 for default/floating-ip-x2x: the role must allow to get pods"),
        (403, "403 for default/floating-ip-x2x: the role must allow to get pods"),
        (404, "404 for default/floating-ip-x2x"),
        (500, "500 for default/floating-ip-x2x"),
        (302, "302 for default/floating-ip-x2x"),
    ],
)
def test_a_refusal_is_unknown_with_its_cause(service: Service, status: int, detail: str) -> None:
    """Even if an eviction is in the body: only 200 is an answer.  A redirect would carry the token elsewhere."""
    service.body = pod(condition("EvictionByEvictionAPI"))
    service.status = status
    assert service.own_pod().eviction() == Eviction(EvictionState.UNKNOWN, detail)


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"status": null}', '{"status": {"conditions": ["x"]}}'])
def test_what_is_no_pod_is_unknown(service: Service, body: str) -> None:
    """Something else may answer at that address."""
    service.body = body
    assert service.own_pod().eviction() == Eviction(
        EvictionState.UNKNOWN, "what came for default/floating-ip-x2x is no pod"
    )


@pytest.mark.parametrize(
    "variable", ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAME", "POD_NAMESPACE"]
)
def test_outside_of_a_pod_it_says_what_is_missing(service: Service, variable: str) -> None:
    """So does a manifest that is older than the image."""
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1", "POD_NAME": "a"}
    environment["POD_NAMESPACE"] = "default"
    del environment[variable]
    assert OwnPod(environment, service.directory).eviction() == Eviction(
        EvictionState.UNKNOWN, f"{variable} is not set"
    )


def test_without_a_token_nothing_is_asked(service: Service) -> None:
    """`automountServiceAccountToken: false` in an older manifest."""
    (service.directory / "token").unlink()
    assert service.own_pod().eviction() == Eviction(EvictionState.UNKNOWN, f"there is no {service.directory / 'token'}")
    assert service.asked == []


def test_another_authority_never_sees_the_token(service: Service) -> None:
    """The certificate must be of the cluster's CA: the handshake fails before anything is said."""
    (service.directory / "ca.crt").write_text(certify("127.0.0.1")[0])
    answer = service.own_pod().eviction()
    assert answer.state is EvictionState.UNKNOWN
    assert answer.detail.startswith("the API server's certificate does not hold: ")
    assert service.asked == []


def test_a_certificate_for_another_address_does_not_hold(service: Service) -> None:
    """Of the same CA, but not for where the token would go."""
    authority, service.context = certify("127.0.0.2")
    (service.directory / "ca.crt").write_text(authority)
    answer = service.own_pod().eviction()
    assert answer.state is EvictionState.UNKNOWN
    assert answer.detail.startswith("the API server's certificate does not hold: ")
    assert service.asked == []


def test_a_ca_without_key_identifiers_is_trusted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """EKS has such, and Python from 3.13 on refuses them by default."""
    default = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = default(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    assert service.own_pod().eviction().state is EvictionState.NOT_EVICTED


def test_nobody_there_is_unknown(service: Service) -> None:
    """A refused connection."""
    assert service.own_pod(KUBERNETES_SERVICE_PORT="9").eviction() == Eviction(
        EvictionState.UNKNOWN, "no connection to the API server"
    )


def test_a_silent_server_is_given_up(service: Service) -> None:
    """It takes the connection and never speaks: the grace period must not pass with that."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        assert service.own_pod(KUBERNETES_SERVICE_PORT=port).eviction() == Eviction(
            EvictionState.UNKNOWN, f"the API server gave no answer within {TIMEOUT:g} s"
        )


def test_no_detail_ever_contains_the_token(service: Service) -> None:
    """Not even one that cannot be a header, which libraries like to quote."""
    (service.directory / "token").write_text("sec\nret")
    answer = service.own_pod().eviction()
    assert answer == Eviction(EvictionState.UNKNOWN, "the API server could not be asked (ValueError)")


def test_proxies_of_the_environment_are_not_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is for the API server alone."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert service.own_pod().eviction().state is EvictionState.NOT_EVICTED
