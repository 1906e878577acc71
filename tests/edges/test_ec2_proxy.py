"""EC2 by way of a proxy: what that does before EC2 is even asked holds nobody up, and stays with nobody."""

import threading
import time
from typing import Any

import pytest

from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.asking import MOST_UNDER_WAY, Asking
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import PATIENCE, SHORT, Become, Server, dripping, http

pytest_plugins = ["tests.edges.ec2_fixtures"]

AGREED = b"HTTP/1.1 200 Connection established\r\nVia: a proxy"


@pytest.fixture(name="proxied")
def _proxied(server: Server, environment: Become) -> Any:
    """A client that asks the server to connect it with EC2."""
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    environment(AWS_ENDPOINT_URL_EC2="https://ec2.invalid", HTTPS_PROXY=server.url, HOME="/nonexistent", **keys)
    return ec2.client("us-west-2")


@pytest.fixture
def cloud(proxied: Any) -> Ec2Cloud:
    """It gives up soon."""
    return Ec2Cloud(proxied, "vpc-1", (), Asking(SHORT, SHORT, SHORT / 4))


@pytest.mark.parametrize("at_once", [0, 20, len(AGREED) - 10], ids=["the status", "its words", "the headers"])
def test_a_proxy_that_drips_is_given_up_and_its_connections_ended(
    server: Server, cloud: Ec2Cloud, at_once: int
) -> None:
    """Otherwise its answers would take up all attempts there may be, and nothing would be asked for minutes."""
    ended = threading.Event()
    server.replies["CONNECT"] = dripping(AGREED, at_once, ended)
    with pytest.raises(CloudUnavailable, match="no answer within"):
        cloud.describe_enis("lab")
    server.replies["CONNECT"] = http(407, "<html>Who are you?</html>")
    # Its last attempt may go on for a while, to find out whether EC2 is only slow; a later question ends it.
    over_at = time.monotonic() + PATIENCE
    while not ended.wait(SHORT) and time.monotonic() < over_at:
        with pytest.raises(CloudUnavailable):
            cloud.describe_enis("lab")
    assert ended.is_set()


def test_a_proxy_that_refuses_is_told_with_its_remedy(server: Server, proxied: Any) -> None:
    """Where it answers at once, as one does that wants a password."""
    server.replies["CONNECT"] = http(407, "<html>Who are you?</html>")
    with pytest.raises(CloudUnavailable, match=r"proxy URL.*correct HTTPS_PROXY"):
        Ec2Cloud(proxied, "vpc-1", ()).describe_enis("lab")


def test_however_often_a_proxy_drips_it_is_asked_again(server: Server, cloud: Ec2Cloud) -> None:
    """More often than attempts may be under way."""
    server.replies["CONNECT"] = dripping(AGREED, 20, threading.Event())
    for _ in range(MOST_UNDER_WAY // 2):
        with pytest.raises(CloudUnavailable, match="no answer within"):
            cloud.describe_enis("lab")
