"""
The Kubernetes API server, for all that a pod reads and writes (resources.py): by HTTPS, authenticated and authorised.

Its CA is a root that was made at the start, like EKS' own: without the key identifiers of RFC 5280.  A pod gets the CA
and a token of its service account.  The token says who asks (without: 401), the manifest's Roles and RoleBindings what
it may do (otherwise: 403), and answers come from the cluster's books.
"""

import datetime
import ipaddress
import json
import secrets
import socket
import ssl
import tempfile
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.kubernetes.small.resources import NAMESPACE, ROUTES, Asked, Refused, read_document

TOKEN_TAKEN_FOR = 10.0
"""Seconds for which a token is accepted without checking again that its pod exists, as a real API server does."""

_HANDSHAKE = 5.0
"""Seconds until a silent client is given up: a worker without power never closes its connections."""


class ApiServer:
    """
    Serves from the moment it is made until `stop`.

    sock: a listening socket, which its owner has to close; the certificate is for its address.
    down: while true, connections are closed without an answer.
    asked: the requests so far, as (service account, empty if the request had none; method and path; status).
    """

    def __init__(self, sock: socket.socket, books: Asked) -> None:
        self.down = False
        self.asked: list[tuple[str, str, int]] = []
        self._books = books
        self._accounts: dict[str, tuple[str, str]] = {}
        self._seen_at: dict[str, float] = {}
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
        """The variables by which every container finds this API server."""
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def mounted(self, account: str, pod: str = "") -> dict[str, str]:
        """The files that a container of this service account gets, with a token of its own, bound to this `pod`."""
        token = secrets.token_urlsafe(64)
        self._accounts[f"Bearer {token}"] = account, pod
        return {"token": token, "ca.crt": self.ca, "namespace": NAMESPACE}

    def answer(
        self, method: str, path: str, authorization: str, kind: str = "", content: bytes = b""
    ) -> tuple[HTTPStatus, dict[str, Any]]:
        """The answer to a request: what it asks for, or a Status that says why not.  `kind`: its content's type."""
        account = self._account(authorization)
        status, body = self._answer(method, path, account, kind, content)
        self.asked.append((account, f"{method} {path}", status))
        return status, body

    def _account(self, authorization: str) -> str:
        """The service account of a token; empty if it is nobody's, or that of a pod that is gone."""
        account, pod = self._accounts.get(authorization, ("", ""))
        now = time.monotonic()
        if pod and now - self._seen_at.get(authorization, float("-inf")) > TOKEN_TAKEN_FOR:
            if all(each.name != pod for each in self._books.pods()):
                return ""
            self._seen_at[authorization] = now
        return account

    def _answer(
        self, method: str, path: str, account: str, kind: str, content: bytes
    ) -> tuple[HTTPStatus, dict[str, Any]]:
        if not account:
            return _refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        url = urlsplit(path)
        for route in ROUTES:
            if route.method == method and (found := route.path.fullmatch(url.path)):
                namespace, name = found.groups()
                break
        else:
            return _refusal(HTTPStatus.NOT_FOUND, "the server could not find the requested resource")
        if namespace != NAMESPACE or not self._books.manifest.may(
            account, route.verb, route.group, route.resource, name
        ):
            return _refusal(HTTPStatus.FORBIDDEN, route.forbidden(account, namespace, name))
        try:
            document = read_document(kind, content, merges=method == "PATCH") if content else {}
            return route.answer(self._books, name, parse_qs(url.query), document)
        except Refused as refused:
            return _refusal(refused.status, str(refused), refused.reason)


def _refusal(code: HTTPStatus, message: str, reason: str = "") -> tuple[HTTPStatus, dict[str, Any]]:
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return code, {**status, "reason": reason or code.phrase.replace(" ", ""), "code": code.value}


def certify(host: str) -> tuple[str, ssl.SSLContext]:
    """A new CA as PEM, and the TLS context of a server at `host`, with a certificate of this CA."""
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
        """Answer any request."""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.api.down:
            self.close_connection = True
            return
        authorization, kind = self.headers.get("Authorization", ""), self.headers.get("Content-Type", "")
        status, answer = self.server.api.answer(self.command, self.path, authorization, kind, content)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PATCH = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: `asked` has all requests."""
