"""Fixtures of the core's tests: observers on loopback."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest

from floatingip.core.word import Status
from tests.core.ec2_server import Become, Server, becoming
from tests.core.ec2_stub import Endpoint
from tests.core.observers import HOLDER, SOUND, Observer, Start, free_port


@pytest.fixture(name="port")
def _port() -> int:
    return free_port()


@pytest.fixture(name="start")
def _start(port: int) -> Iterator[Start]:
    """Start observers; they are stopped at the end."""
    with ExitStack() as ended:

        def start(address: str = HOLDER, status: Status = SOUND, **details: Any) -> Observer:
            observer = Observer(address, port, status, **details)
            ended.callback(observer.server.stop)
            return observer

        yield start


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
