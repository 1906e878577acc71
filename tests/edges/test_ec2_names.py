"""A name server that answers late: a question is answered all the same, and a write that was given up is not sent."""

import socket
import threading
from typing import Any

import pytest

from floatingip.core.errors import CloudUnavailable
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import ADDRESS, FOUND, PATIENCE, SHORT, Server, in_the_end

pytest_plugins = ["tests.edges.ec2_fixtures"]


def test_a_write_whose_connection_comes_too_late_is_not_sent(
    server: Server, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the first one of its kind: until then somebody else may have been given the address."""
    found, looked_up, found_at_last = socket.getaddrinfo, threading.Event(), threading.Event()

    def late(*asked: Any, **named: Any) -> Any:
        looked_up.wait(PATIENCE)
        found_at_last.set()
        return found(*asked, **named)

    server.replies[""] = FOUND
    cloud = Ec2Cloud(client, "vpc-1", (), Asking(PATIENCE, SHORT))
    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", late)
        with pytest.raises(CloudUnavailable, match=r"no answer within 0\.2 s, nor a connection; does .* name server"):
            cloud.assign("eni-1", ADDRESS, reassign=True)
        looked_up.set()
        assert found_at_last.wait(PATIENCE)
    assert in_the_end(cloud) == ()
    assert not any("Action=Assign" in asked for asked in server.asked)
