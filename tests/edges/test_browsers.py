"""What the status port says to a browser, which may show another page, or be told to run what it is shown."""

import http.client
from contextlib import closing
from http import HTTPStatus
from ipaddress import IPv4Address

import pytest

from floatingip.runtime.status_server import StatusServer
from tests.edges.observers import HOLDER, PATIENCE, Start
from tests.edges.test_status_server import fetch


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9807", 200),
        ("127.0.0.1:19807", 200),
        ("[::1]:9807", 200),
        ("evil.example:9807", 421),
        ("localhost.evil.example", 421),
        ("[evil", 421),
    ],
)
@pytest.mark.parametrize("path", ["/", "/v1/status"])
def test_a_name_that_leads_to_the_loopback_is_told_nothing(
    port: int, start: Start, path: str, host: str, status: int
) -> None:
    """The browser of somebody who reads the status by `kubectl port-forward` takes it for the server of a page from
    elsewhere (DNS rebinding), and lets that read nodes and addresses.
    """
    start()
    with closing(http.client.HTTPConnection(HOLDER, port, timeout=PATIENCE, source_address=(HOLDER, 0))) as asking:
        asking.request("GET", path, headers={"Host": host})
        assert asking.getresponse().status == status


@pytest.mark.parametrize("text", ['{"ready": true}', "<!doctype html><script>alert(1)</script>", "{"])
def test_a_text_is_a_text_however_it_begins(port: int, text: str) -> None:
    """It may quote EC2, or a tag: no browser must run it."""
    server = StatusServer(IPv4Address(HOLDER), port, lambda *_: (HTTPStatus.OK, text), lambda _: True)
    server.start()
    try:
        assert fetch(port, "/readyz") == (200, "text/plain", text)
    finally:
        server.stop()
