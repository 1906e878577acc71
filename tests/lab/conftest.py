"""Fixtures of the tests that need namespaces: a fabric, workers, and clients that look at them."""

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import icmplib
import pytest

from lab import sandbox
from lab.network.fabric import Fabric
from lab.network.netns import Namespace
from lab.network.worker import Worker
from tests.lab.plumbed import Node, plumbed_node
from tests.lab.probing import is_own
from tests.waiting import until


@dataclass(frozen=True)
class Answer:
    """What a client got: the backend's name and the client address that it saw, or the error; and after how long."""

    text: str
    error: str | None
    seconds: float


@pytest.fixture(scope="session")
def in_sandbox() -> None:
    """For tests that make namespaces: outside of a sandbox they fail, they do not skip."""
    if not sandbox.inside():
        pytest.fail("needs a sandbox: python -m lab.sandbox python -m pytest", pytrace=False)


@pytest.fixture
def fabric(in_sandbox: None) -> Iterator[Fabric]:
    """An empty VPC with its two clients."""
    with Fabric() as fabric:
        yield fabric


@pytest.fixture
def workers(fabric: Fabric) -> Iterator[tuple[Worker, Worker]]:
    """Two booted workers, a and b."""
    pair = Worker("worker-a", 0, fabric), Worker("worker-b", 1, fabric)
    try:
        for worker in pair:
            worker.start()
        yield pair
    finally:
        for worker in pair:
            worker.close()


@pytest.fixture
def fetch() -> Callable[..., Answer]:
    """`fetch(namespace, address, port, timeout=...)`: one HTTP request from a namespace, on a new connection."""

    def fetch(namespace: Namespace, address: str, port: int, timeout: float = 1) -> Answer:
        def ask() -> str:
            connection = http.client.HTTPConnection(address, port, timeout=timeout)
            try:
                connection.request("GET", "/")
                return connection.getresponse().read().decode().strip()
            finally:
                connection.close()

        started = time.monotonic()
        try:
            text, error = namespace.call(ask), None
        except OSError as failure:
            text, error = "", type(failure).__name__
        return Answer(text, error, time.monotonic() - started)

    return fetch


@pytest.fixture
def ping() -> Callable[..., bool]:
    """`ping(namespace, address, timeout=..., payload=...)`: is one echo request from a namespace answered?"""

    def ping(namespace: Namespace, address: str, timeout: float = 1, payload: int = 8) -> bool:
        def ask() -> bool:
            host = icmplib.ping(address, count=1, timeout=timeout, payload_size=payload, privileged=True)
            return bool(host.is_alive)

        return namespace.call(ask)

    return ping


@pytest.fixture
def near(in_sandbox: None) -> Iterator[Namespace]:
    """A namespace that probes."""
    namespace = Namespace("near")
    namespace.create()
    yield namespace
    namespace.delete()


@pytest.fixture
def holder(near: Namespace) -> Iterator[Namespace]:
    """The namespace that is probed, at the other end of a veth: 10.9.0.2 and 2001:db8:9::2; nobody listens."""
    namespace = Namespace("holder")
    namespace.create()
    near.ip(
        "link add out type veth peer name in netns holder",
        "address add 10.9.0.1/24 dev out",
        "address add 2001:db8:9::1/64 dev out nodad",
        "link set out up",
    )
    namespace.ip("address add 10.9.0.2/24 dev in", "address add 2001:db8:9::2/64 dev in nodad", "link set in up")
    # Until the kernel has seen the carrier, which it may take a second for, a link drops what is sent.
    until(
        lambda: {near.show("link show out")[0]["operstate"], namespace.show("link show in")[0]["operstate"]} == {"UP"}
    )
    until(lambda: is_own(near, "2001:db8:9::1") and is_own(namespace, "2001:db8:9::2"))
    yield namespace
    namespace.delete()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node with its primary link, and an ENI that was just plugged in."""
    yield from plumbed_node(monkeypatch)
