"""EC2 by way of a proxy: what that does before EC2 is even asked holds nobody up, and stays with nobody."""

import os
import threading
import time
from typing import Any

import botocore.utils
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


@pytest.mark.parametrize(
    ("named", "spares_host"),
    [
        ({}, False),
        ({"NO_PROXY": "127.0.0.1,.example.com"}, True),
        ({"no_proxy": "127.0.0.1", "NO_PROXY": "10.0.0.1"}, True),
        ({"no_proxy": "", "NO_PROXY": "127.0.0.1"}, False),
        ({"NO_PROXY": "169.254.169.254, 127.0.0.1 "}, True),
        ({"NO_PROXY": "*"}, True),
    ],
)
def test_imds_is_asked_by_no_proxy_and_what_else_is_stays_as_it_was(
    environment: Become, named: dict[str, str], spares_host: bool
) -> None:
    """That would reach its own IMDS, or none, and see the node's keys; to give the node a role would not help."""
    environment(http_proxy="http://127.0.0.1:3128", **named)
    for _ in range(2):
        ec2.check_environment()
        spared = os.environ.get("no_proxy", os.environ.get("NO_PROXY"))
    assert spared is not None
    assert spared.count("169.254.169.254") <= 1
    for url in (botocore.utils.METADATA_BASE_URL, botocore.utils.METADATA_BASE_URL_IPv6):
        assert botocore.utils.get_environ_proxies(url) == {}
    assert (botocore.utils.get_environ_proxies("http://127.0.0.1/") == {}) == spares_host
    assert botocore.utils.get_environ_proxies("http://elsewhere.org/") != {} or "*" in spared


def test_without_a_proxy_the_environment_stays_as_it_was(environment: Become) -> None:
    """Whoever reads it finds what was given."""
    environment()
    ec2.check_environment()
    assert "no_proxy" not in os.environ
