"""What kind of text the status port answers: by what it is, not by how it begins."""

from http import HTTPStatus
from ipaddress import IPv4Address

import pytest

from floatingip.runtime.status_server import StatusServer
from tests.edges.observers import HOLDER
from tests.edges.test_status_server import fetch


@pytest.mark.parametrize("text", ['{"ready": true}', "<!doctype html><script>alert(1)</script>", "{"])
def test_a_text_is_a_text_however_it_begins(port: int, text: str) -> None:
    """It may quote EC2, or a tag: no browser must run it."""
    server = StatusServer(IPv4Address(HOLDER), port, lambda *_: (HTTPStatus.OK, text), lambda _: True)
    server.start()
    try:
        assert fetch(port, "/readyz") == (200, "text/plain", text)
    finally:
        server.stop()
