"""EC2's places for tests that speak to it: a plugin of those alone, since the SDK takes its time to load."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest

from floatingip.core.errors import CloudError
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2.cloud import Ec2Cloud
from tests.edges.ec2_server import Become, Server, becoming
from tests.edges.ec2_stub import Endpoint


@pytest.fixture(name="running", scope="module")
def _running() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.run, daemon=True).start()
    yield server
    server.listener.close()


@pytest.fixture
def server(running: Server) -> Server:
    """Nobody has asked it anything, and it answers nothing."""
    running.replies.clear()
    running.asked.clear()
    return running


@pytest.fixture(name="client", scope="module")
def _client(running: Server) -> Iterator[Any]:
    """One for all: making it takes longer than all that is done with it."""
    with pytest.MonkeyPatch.context() as patch:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        becoming(patch)(AWS_ENDPOINT_URL_EC2=running.url, HOME="/nonexistent", **keys)
        made = ec2.client("us-west-2")
        with suppress(CloudError):  # from now on it has credentials
            Ec2Cloud(made, "vpc-1", ()).describe_enis("lab")
        yield made


@pytest.fixture
def cloud(client: Any, server: Server) -> Ec2Cloud:
    """It asks the server."""
    del server  # it has begun anew
    return Ec2Cloud(client, "vpc-1", ("sg-1",))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Become:
    """For one test."""
    return becoming(monkeypatch)


@pytest.fixture(name="stubbed", scope="session")
def _stubbed() -> Any:
    """One client for all: making it takes longer than all that is done with it."""
    return boto3.session.Session("key", "secret", region_name="us-west-2").client("ec2")


@pytest.fixture(name="endpoint")
def _endpoint(stubbed: Any) -> Iterator[Endpoint]:
    """EC2 that answers what the test says; what it was told to answer was asked for at the end."""
    endpoint = Endpoint(stubbed)
    with endpoint.ended, endpoint.stub:
        yield endpoint
        endpoint.stub.assert_no_pending_responses()
