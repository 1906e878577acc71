"""The API server as a real HTTPS server on loopback, which each test makes answer in its way."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from floatingip.edges.kubernetes.api_server import ApiServer
from lab.kubernetes.small.apiserver import certify

TOKEN = "first-token"
NAME = "floating-ip-x2x"


class Service:
    """It knows one token, and answers everybody by ``body``; ``asked`` are the paths.

    ``raw`` is sent instead of any answer; what has ``hangs`` in its path is not answered before `lets_on`.
    """

    def __init__(self, directory: Path, body: str) -> None:
        self.token = TOKEN
        self.body, self.status = body, 200
        self.raw: bytes | None = None
        self.hangs = ""
        self.lets_on = threading.Event()
        self.asked: list[str] = []
        self.connections = 0
        self.directory = directory
        service = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                service.asked.append(self.path)
                if service.raw is not None:
                    self.wfile.write(service.raw)
                    self.close_connection = True
                    return
                if service.hangs and service.hangs in self.path:
                    service.lets_on.wait()
                known = self.headers["Authorization"] == f"Bearer {service.token}"
                content = service.body.encode()
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

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[Any, Any]:
                connection, address = super().get_request()
                service.connections += 1
                return service.context.wrap_socket(connection, server_side=True), address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing of an asker that hung up: one that is not answered soon does."""
                if not isinstance(sys.exception(), OSError):
                    super().handle_error(request, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "POD_NAMESPACE": "default",
            "POD_NAME": NAME,
        }

    def api_server(self, **environment: str) -> ApiServer:
        """As a pod with these variables beside the usual ones asks it."""
        return ApiServer(self.environment | environment, self.directory)


@contextmanager
def serving(directory: Path, body: str) -> Iterator[Service]:
    """One that answers this, until the block ends; the pod's files are in the directory."""
    service = Service(directory, body)
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()
