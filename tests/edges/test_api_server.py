"""How the API server is asked, before a real HTTPS server on loopback, which each test makes answer in its way."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.errors import ServicesUnknown
from floatingip.edges import clock
from floatingip.edges.kubernetes import own_pod
from floatingip.edges.kubernetes.api_server import MOST_BYTES
from floatingip.edges.kubernetes.node_ports import PodsServices
from floatingip.edges.kubernetes.own_pod import PodsOrders
from lab.kubernetes.small.apiserver import certify
from tests.edges.api_server import NAME, TOKEN, Service, serving
from tests.edges.own_pod import NO_TOKEN, POD_PATH, WELL, ask, at_0, client, pod, unknown

OTHERS = "Kubernetes sets it: does the manifest set another one?"
HINT = "; mount the service account's token (automountServiceAccountToken: true)"


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, pod()) as service:
        yield service


def test_a_renewed_token_is_used_at_once(service: Service) -> None:
    """Kubernetes replaces the file while the pod runs, and the old token ends."""
    asker = client(service)
    assert at_0(asker.own_pod()) == WELL
    service.token = "second-token"
    assert "401" in asker.own_pod().problem
    (service.directory / "token").write_text("second-token\n")
    assert at_0(asker.own_pod()) == WELL


def test_the_connection_is_kept_until_the_authority_is_another_one(service: Service) -> None:
    """A question every two seconds must not cost a handshake each; a new CA is trusted at once, the old one no more."""
    asker = client(service)
    assert [at_0(asker.own_pod()) for _ in range(3)] == [WELL] * 3
    assert service.connections == 1
    authority, service.context = certify("127.0.0.1")
    (service.directory / "ca.crt").write_text(authority)
    assert at_0(asker.own_pod()) == WELL
    assert service.connections == 2


def test_one_connection_serves_all_who_ask_and_nobody_waits_for_it(service: Service) -> None:
    """A list of Services that hangs must not hold up what is asked of the pod within its grace period."""
    api_server = service.api_server()
    pods, services = PodsOrders(api_server), PodsServices(api_server)
    assert at_0(pods.own_pod()) == WELL
    with pytest.raises(ServicesUnknown):
        services.node_ports()
    assert service.connections == 1

    def hang() -> None:
        with pytest.raises(ServicesUnknown):
            services.node_ports()

    service.hangs = "/services"
    hanging = threading.Thread(target=hang)
    hanging.start()
    until = clock.now() + 10
    while len(service.asked) < 3 and clock.now() < until:
        time.sleep(0.01)
    assert service.asked[2] != POD_PATH
    assert at_0(pods.own_pod()) == WELL
    service.lets_on.set()
    hanging.join()
    assert at_0(pods.own_pod()) == WELL
    assert service.connections == 2


def test_without_a_token_nothing_is_asked(service: Service) -> None:
    """`automountServiceAccountToken: false` in an older manifest."""
    (service.directory / "token").unlink()
    assert ask(service) == unknown(f"there is no {service.directory / 'token'}{HINT}")
    assert service.asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"], ids=["another authority", "for another address"])
def test_a_certificate_that_does_not_hold_never_sees_the_token(service: Service, address: str) -> None:
    """It must be of the cluster's CA, and for where the token would go: the handshake fails before anything is said."""
    authority, context = certify(address)
    (service.directory / "ca.crt").write_text(authority)
    if address == "127.0.0.2":
        service.context = context
    answer = ask(service)
    assert not answer.answered
    assert answer.problem.startswith("nothing from the API server: the certificate does not hold: ")
    assert service.asked == []


def test_a_ca_without_key_identifiers_is_trusted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """EKS has such, and Python from 3.13 on refuses them by default."""
    default = ssl.create_default_context

    def strict(**options: Any) -> ssl.SSLContext:
        context = default(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    assert ask(service) == WELL


def test_nobody_there_is_unknown(service: Service) -> None:
    assert ask(service, KUBERNETES_SERVICE_PORT="9") == unknown(
        "nothing from the API server: no connection (Connection refused)"
    )


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{", "the answer is too long"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + MOST_BYTES * b" " + b"{", "the answer is too long"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "the answer was cut off"),
        (b"HTTP/1.1 101 Switching\r\n\r\n" * 1000, "the answer is too long"),
        (b"\x00\x01garbage\r\n", "what came is no HTTP"),
    ],
)
def test_an_answer_without_end_or_sense_is_unknown(service: Service, answer: bytes, detail: str) -> None:
    """From one that has the right certificate, and so is reached."""
    service.raw = answer
    assert ask(service) == unknown(f"nothing from the API server: {detail}", proved=True)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", 100 * b"\x00"])
def test_what_speaks_no_tls_never_sees_the_token(service: Service, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                heard.append(connection.recv(65536))
                connection.sendall(greeting)
                heard.append(connection.recv(65536))

        heard: list[bytes] = []
        threading.Thread(target=serve, daemon=True).start()
        answer = ask(service, KUBERNETES_SERVICE_PORT=str(listener.getsockname()[1]))
    assert not answer.answered
    assert answer.problem.startswith("nothing from the API server: no TLS (")
    assert TOKEN.encode() not in b"".join(heard)


@pytest.mark.parametrize("in_tls", [True, False])
def test_one_byte_at_a_time_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch, *, in_tls: bool) -> None:
    """In the handshake, or in the answer: the seconds are for all of it."""
    monkeypatch.setattr(own_pod, "TIMEOUT", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError):
                if in_tls:
                    connection = service.context.wrap_socket(connection, server_side=True)
                with connection:
                    for byte in b"\x16\x03\x03\x3f\xff" if not in_tls else b"HTTP/1.1 200 OK\r\nX: ":
                        connection.sendall(bytes((byte,)))
                    while not over.wait(0.02):
                        connection.sendall(b"\x02" if not in_tls else b"x")

        threading.Thread(target=serve, daemon=True).start()
        began = clock.now()
        answer = ask(service, KUBERNETES_SERVICE_PORT=str(listener.getsockname()[1]))
        over.set()
    assert answer == unknown("nothing from the API server: no answer in time", proved=in_tls)
    assert clock.now() - began < 10  # which only a client that hangs misses


@pytest.mark.parametrize(
    ("variable", "value", "detail"),
    [
        *(
            ("KUBERNETES_SERVICE_PORT", port, f"KUBERNETES_SERVICE_PORT is {port!r}, no port; {OTHERS}")
            for port in ("https", "0", "99999", "9" * 100, "-1", "tcp://172.20.0.1:443")
        ),
        *(
            ("KUBERNETES_SERVICE_HOST", host, f"KUBERNETES_SERVICE_HOST is {host!r}, no IP address; {OTHERS}")
            for host in ("kubernetes", "kubernetes.default.svc", "https://172.20.0.1", "172.20.0.1:443", "fe80::1%eth0")
        ),
        ("POD_NAME", "a/../b c\nX: y", "404 for default/a/../b c\nX: y"),
        *(
            (variable, "\udcff", f"{variable} is '\\udcff', as nothing in Kubernetes is named; {OTHERS}")
            for variable in ("POD_NAME", "POD_NAMESPACE", "POD_UID")
        ),
    ],
)
def test_an_odd_environment_is_unknown(service: Service, variable: str, value: str, detail: str) -> None:
    """No name is looked up, and no name makes another question."""
    service.status = 404
    found = ask(service, **{variable: value})
    assert found == unknown(detail, answered=bool(service.asked))
    assert all(path.startswith("/api/v1/namespaces/default/pods/a%2F") for path in service.asked)


@pytest.mark.parametrize("authority", ["", "none", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_ca_that_is_none_is_unknown(service: Service, authority: str) -> None:
    """And nobody is asked without one."""
    (service.directory / "ca.crt").write_text(authority)
    assert ask(service) == unknown("the service account's CA certificate is none")
    assert service.asked == []


def test_one_that_is_too_slow_is_reached_all_the_same(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its etcd does not answer: that it proves who it is shows that this node is not cut off.  On a connection
    that stood before it proves nothing.
    """
    monkeypatch.setattr(own_pod, "TIMEOUT", 0.3)
    asker = client(service)
    assert at_0(asker.own_pod()) == WELL
    service.hangs = "/pods"
    late = "nothing from the API server: no answer in time"
    assert [at_0(asker.own_pod()) for _ in range(3)] == [unknown(late, proved=each) for each in (False, True, True)]
    service.lets_on.set()
    assert at_0(asker.own_pod()) == WELL


def test_a_silent_server_is_given_up(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and never speaks: the grace period must not pass with that."""
    monkeypatch.setattr(own_pod, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        assert ask(service, KUBERNETES_SERVICE_PORT=port) == unknown("nothing from the API server: no answer in time")


@pytest.mark.parametrize("host", ["[127.0.0.1]", " 127.0.0.1", "127.0.0.1\r"])
def test_an_address_in_brackets_or_with_blanks_is_that_address(service: Service, host: str) -> None:
    """As others write one of IPv6, or a file with another system's line ends leaves it."""
    assert ask(service, KUBERNETES_SERVICE_HOST=host) == WELL


UNSENDABLE = "nothing from the API server: the question has characters that cannot be sent"


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        *((token, UNSENDABLE) for token in (b"sec\nret", b"sec\r\nX: ret", b"sec\x00ret", b"")),
        (b"secr\xc3\xa9t", "the service account's token is none"),
        (b"\xff\xfesecret", "the service account's token is none"),
        (b"secret", f"401 for default/{NAME}{NO_TOKEN}"),
        (100_000 * b"secret", None),
    ],
)
def test_no_detail_ever_contains_the_token(service: Service, token: bytes, detail: str | None) -> None:
    """Not even one that cannot be a header, which libraries like to quote."""
    (service.directory / "token").write_bytes(token)
    answer = ask(service)
    assert answer.problem
    assert detail is None or answer.problem == detail
    assert "sec" not in answer.problem


def test_proxies_of_the_environment_are_not_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is for the API server alone."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(service) == WELL
