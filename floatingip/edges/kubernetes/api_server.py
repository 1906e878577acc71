"""
Requests to the Kubernetes API server about this pod's namespace, with the pod's own service account.

TLS is verified without VERIFY_X509_STRICT: EKS has clusters whose CA certificate lacks the key identifiers of RFC 5280,
which Python from 3.13 on demands by default (kubernetes-client/python#2394).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

from floatingip.core.settings import shown
from floatingip.edges.http_client import Connection, NoAnswer, Response

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the pod's token and the CA of the API server."""

HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
"""The variables by which Kubernetes says where the API server is."""

_SET_BY_OTHERS = "Kubernetes sets it: does the manifest set another one?"

LONGEST = 5.0
"""Seconds for any question, from the connection to the last byte."""

MOST_BYTES = 2**21
"""Bytes of an answer, at most: etcd takes documents of up to 1.5 MiB, and a list of 250 Services has half a MiB."""

DEEPEST = 100
"""Levels of nesting in an answer, at most; the managed fields of a document have a dozen."""


REFUSED_TOKEN = "the API server does not take this pod's token"
RENEW = "was its ServiceAccount deleted, or made anew? then `kubectl rollout restart deployment floating-ip`"
"""What 401 means, and what to do.  A Role does not help, nor does a new ServiceAccount alone, since kubelet keeps the
old token for most of an hour.
"""


class Unanswered(Exception):
    """The API server has not answered.  The message says why in our own words: a library's may quote the token.

    ``proved``: see `NoAnswer`.
    """

    def __init__(self, message: str, *, proved: bool = False) -> None:
        super().__init__(message)
        self.proved = proved


class Unset(Unanswered):
    """The environment lacks the ``variable`` that the question needs, so it cannot even be asked."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"{variable} is not set; apply the manifest of this version")
        self.variable = variable


class ApiServer:
    """The API server.  Any thread may ask: one connection is kept open, and while it is in use others are made."""

    def __init__(self, environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        """`environment` has KUBERNETES_SERVICE_HOST and _PORT by Kubernetes, POD_NAME and POD_NAMESPACE by the
        manifest; `directory` has `token` and `ca.crt`.
        """
        self._environment = environment
        self._directory = directory
        self._lock = threading.Lock()
        self._kept: tuple[bytes, Connection] | None = None

    def variable(self, name: str) -> str:
        """The variable's value.  Raises ``Unset`` if it has none, ``Unanswered`` if it cannot be a Kubernetes name."""
        if not (value := self._environment.get(name, "")):
            raise Unset(name)
        if not value.isascii():  # For example bytes that are no text, which no path can have.
            raise Unanswered(f"{name} is {shown(value)}, as nothing in Kubernetes is named; {_SET_BY_OTHERS}")
        return value

    def get(self, resource: str, *, seconds: float) -> Response:
        """Get a resource of the pod's namespace by its path, which must be quoted already, within ``seconds``.

        Raises ``Unanswered``.
        """
        return self._ask("GET", "", resource, {}, b"", seconds)

    def send(self, method: str, resource: str, document: Mapping[str, object], *, group: str = "") -> Response:
        """Send a PATCH (a merge) or a POST; ``group`` is the API group and version, by default the core's.

        Raises ``Unanswered``.  It may have been done all the same, so only send what may be done twice.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return self._ask(method, group, resource, {"Content-Type": kind}, json.dumps(document).encode(), LONGEST)

    def _ask(
        self, method: str, group: str, resource: str, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> Response:
        host, port = self._server()
        place = f"apis/{group}" if group else "api/v1"
        path = f"/{place}/namespaces/{quote(self.variable('POD_NAMESPACE'), safe='')}/{resource}"
        try:
            # Token and CA are read each time, since Kubernetes renews them: the token about once an hour.
            token = (self._directory / "token").read_text(encoding="ascii").strip()
            authority = (self._directory / "ca.crt").read_bytes()
            connection = self._take(authority) or self._connection(host, port)
            try:
                headers = {**headers, "Authorization": f"Bearer {token}", "Accept": "application/json"}
                return connection.get(path, headers, method=method, body=body, seconds=seconds)
            finally:
                self._keep(authority, connection)
        except (OSError, ValueError) as error:
            raise Unanswered(_reason(error), proved=isinstance(error, NoAnswer) and error.proved) from None

    def _server(self) -> tuple[str, int]:
        """The API server's address and port.  Raises ``Unanswered``, also for a host name: none is looked up."""
        host, port = (self.variable(name) for name in (HOST, PORT))
        address = host.strip().removeprefix("[").removesuffix("]")
        try:
            if "%" in address:  # A scope would be looked up like a name.
                raise ValueError("a scope")
            ip_address(address)
        except ValueError:
            raise Unanswered(f"{HOST} is {shown(host)}, no IP address; {_SET_BY_OTHERS}") from None
        if not (port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
            raise Unanswered(f"{PORT} is {shown(port)}, no port; {_SET_BY_OTHERS}")
        return address, int(port)

    def _take(self, authority: bytes) -> Connection | None:
        """The kept connection, if it is not in use, and was made with this certificate authority."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None:
            return None
        trusted, connection = kept
        if trusted == authority:
            return connection
        connection.close()
        return None

    def _connection(self, host: str, port: int) -> Connection:
        trust = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return Connection(host, port, seconds=LONGEST, tls=trust, most_bytes=MOST_BYTES)

    def _keep(self, authority: bytes, connection: Connection) -> None:
        with self._lock:
            if self._kept is None:
                self._kept = (authority, connection)
                return
        connection.close()


def _reason(error: Exception) -> str:
    match error:
        case NoAnswer():
            return f"nothing from the API server: {error}"
        case FileNotFoundError(filename=name):
            return f"there is no {name}; mount the service account's token (automountServiceAccountToken: true)"
        case UnicodeDecodeError():
            return "the service account's token is none"
        case ssl.SSLError():
            return "the service account's CA certificate is none"
        case OSError():
            return f"the service account cannot be read ({error.strerror})"
        case _:
            return "the service account cannot be used"
