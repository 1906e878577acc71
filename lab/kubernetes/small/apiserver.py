"""
The Kubernetes API server, as far as a pod asks it: GET of a pod, and of the Services, by HTTPS, authenticated and
authorised.

Its CA is a root that was made at the start, like EKS' own: without the key identifiers of RFC 5280.  A pod gets the CA
and a token of its service account; the token is who it is (401 without), the manifest's Roles and RoleBindings are what
it may (403), and the answer is the pod as the cluster's books have it.
"""

import datetime
import ipaddress
import json
import re
import secrets
import socket
import ssl
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.kubernetes.small.objects import Manifest, Service
from lab.kubernetes.small.pods import Pod

NAMESPACE = "default"
_POD = re.compile(r"/api/v1/namespaces/([^/]+)/pods/([^/]+)")
_SERVICES = re.compile(r"/api/v1/namespaces/([^/]+)/services")
_NO_CLUSTER_IPS = "spec.type!=ClusterIP,spec.type!=ExternalName"
"""The one field selector that is known: all of the lab's Services have NodePorts."""
_HANDSHAKE = 5.0
"""Seconds until a client that does not speak is given up: from a worker without power no end is ever heard."""


class Asked(Protocol):
    """What the server asks the cluster; lab.kubernetes.small.cluster.Cluster has it."""

    @property
    def manifest(self) -> Manifest:
        """What was applied last."""

    @property
    def services(self) -> Mapping[str, Service]:
        """Those that there are, by name."""

    def pods(self) -> Sequence[Pod]:
        """All pods that there are."""


class ApiServer:
    """
    Serves from the moment it is made until `stop`.

    sock: a listening socket, which stays its owner's to close; its address is what the certificate holds for.
    down: while true, connections are closed without an answer.
    asked: the requests so far, as (service account or nothing, method and path, status).
    """

    def __init__(self, sock: socket.socket, books: Asked) -> None:
        self.down = False
        self.asked: list[tuple[str, str, int]] = []
        self._books = books
        self._accounts: dict[str, str] = {}
        self.host, self.port = sock.getsockname()[:2]
        self.ca, context = certify(self.host)
        self._server = _Server(sock, context, self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="apiserver", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the service."""
        self._server.shutdown()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every container finds it."""
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def mounted(self, account: str) -> dict[str, str]:
        """The files that a container of this service account gets, with a token of its own."""
        token = secrets.token_urlsafe(64)
        self._accounts[f"Bearer {token}"] = account
        return {"token": token, "ca.crt": self.ca, "namespace": NAMESPACE}

    def answer(self, path: str, authorization: str) -> tuple[HTTPStatus, dict[str, Any]]:
        """What a GET gets: the pod, or the Status that says why not."""
        status, body = self._answer(path, account := self._accounts.get(authorization, ""))
        self.asked.append((account, f"GET {path}", status))
        return status, body

    def _answer(self, path: str, account: str) -> tuple[HTTPStatus, dict[str, Any]]:
        if not account:
            return _refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        url = urlsplit(path)
        if found := _SERVICES.fullmatch(url.path):
            return self._list_services(found[1], account, parse_qs(url.query))
        found = _POD.fullmatch(path)
        if not found:
            return _refusal(HTTPStatus.NOT_FOUND, "the server could not find the requested resource")
        namespace, name = found.groups()
        if namespace != NAMESPACE or not self._books.manifest.may(account, "get", "", "pods"):
            user = f"system:serviceaccount:{NAMESPACE}:{account}"
            message = f'User "{user}" cannot get resource "pods" in API group "" in the namespace "{namespace}"'
            return _refusal(HTTPStatus.FORBIDDEN, f'pods "{name}" is forbidden: {message}')
        for pod in self._books.pods():
            if pod.name == name:
                return HTTPStatus.OK, pod.as_object(namespace)
        return _refusal(HTTPStatus.NOT_FOUND, f'pods "{name}" not found')

    def _list_services(
        self, namespace: str, account: str, query: Mapping[str, Sequence[str]]
    ) -> tuple[HTTPStatus, dict[str, Any]]:
        if namespace != NAMESPACE or not self._books.manifest.may(account, "list", "", "services"):
            user = f"system:serviceaccount:{NAMESPACE}:{account}"
            message = f'User "{user}" cannot list resource "services" in API group "" in the namespace "{namespace}"'
            return _refusal(HTTPStatus.FORBIDDEN, f"services is forbidden: {message}")
        if query.get("fieldSelector", [_NO_CLUSTER_IPS]) != [_NO_CLUSTER_IPS]:
            return _refusal(HTTPStatus.BAD_REQUEST, "field label not supported")
        items = [_service(service) for service in self._books.services.values()]
        return HTTPStatus.OK, {"kind": "ServiceList", "apiVersion": "v1", "metadata": {}, "items": items}


def _service(service: Service) -> dict[str, Any]:
    """The API object; the lab's kube-proxy serves both families."""
    ports = [
        {"protocol": "TCP", "port": port.port, "targetPort": port.target_port, "nodePort": port.node_port}
        for port in service.ports
    ]
    spec = {
        "type": "NodePort",
        "externalTrafficPolicy": "Local" if service.local else "Cluster",
        "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "RequireDualStack",
        "selector": dict(service.selector),
        "ports": ports,
    }
    metadata = {"name": service.name, "namespace": NAMESPACE}
    return {"metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}


def _refusal(code: HTTPStatus, message: str) -> tuple[HTTPStatus, dict[str, Any]]:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return code, {**status, "reason": code.phrase.replace(" ", ""), "code": code.value}


def certify(host: str) -> tuple[str, ssl.SSLContext]:
    """A new CA as PEM, and what a server at `host` needs that it vouches for."""
    now = datetime.datetime.now(datetime.UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def sign(name: str, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_common_name(name))
            .issuer_name(_common_name("kubernetes"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(root_key, hashes.SHA256())
        )

    root = sign("kubernetes", root_key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    holds_for = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    server = sign("kube-apiserver", key.public_key(), holds_for)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # the ssl module takes a server's key from nowhere else
        file.write(server.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        file.flush()
        context.load_cert_chain(Path(file.name))
    return root.public_bytes(serialization.Encoding.PEM).decode(), context


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class _Server(ThreadingHTTPServer):
    """An HTTPS server on a socket that somebody else has opened."""

    daemon_threads = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, api: ApiServer) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that it made for itself
        self.socket = sock
        self.api = api
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread: the accepting one must not wait for a client."""
        request.settimeout(_HANDSHAKE)
        # A client that does not trust the certificate, or hangs up, is no error of the server.
        with suppress(OSError), self._context.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _HANDSHAKE
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.server.api.down:
            self.close_connection = True
            return
        status, answer = self.server.api.answer(self.path, self.headers.get("Authorization", ""))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: whoever wants to know looks at `asked`."""
