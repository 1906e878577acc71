"""A page from elsewhere in the browser of somebody who reads the status by `kubectl port-forward`."""

import http.client
from contextlib import closing

import pytest

from tests.edges.observers import HOLDER, PATIENCE, Start


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
    """The browser takes it for that page's own server (DNS rebinding), and lets it read nodes and addresses."""
    start()
    with closing(http.client.HTTPConnection(HOLDER, port, timeout=PATIENCE, source_address=(HOLDER, 0))) as asking:
        asking.request("GET", path, headers={"Host": host})
        assert asking.getresponse().status == status
