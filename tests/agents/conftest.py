"""Fixtures of the tests of whole agents: a network namespace for each worker, joined by a bridge."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from floatingip.core import timing
from lab import sandbox
from lab.network.netns import Namespace
from tests.agents.world import GATEWAY, WORKERS, Killed


def ip(*commands: str) -> None:
    """Run `ip` commands in the sandbox's own namespace."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[None]:
    """The workers' namespaces; EC2's endpoint is on the bridge."""
    if not sandbox.inside():
        pytest.fail("needs a sandbox: python -m lab.sandbox python -m pytest", pytrace=False)
    with ExitStack() as resources:
        ip("link add agents type bridge", f"address add {GATEWAY}/24 dev agents", "link set agents up")
        resources.callback(ip, "link del agents")
        for name, address in WORKERS.items():
            namespace = Namespace(name)
            namespace.create()
            resources.callback(namespace.delete)
            ip(
                f"link add {name} type veth peer name eth0 netns {name}",
                f"link set {name} master agents",
                f"link set {name} up",
            )
            resources.callback(ip, f"link del {name}")
            namespace.ip(f"address add {address}/24 dev eth0", "link set eth0 up")
        yield


@pytest.fixture(scope="module", autouse=True)
def _killed_in_silence() -> None:
    """A thread that ends because its process was killed is no failure; any other exception in a thread is one.

    This stays: the last threads may take longer to end than the last test.
    """
    report = threading.excepthook

    def pass_over_killed(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not Killed:
            report(args)

    threading.excepthook = pass_over_killed


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Observers learn of each other, and of the time, within a tenth of a second, so that peace is soon reached."""
    monkeypatch.setattr(timing, "ASK_EVERY", 0.1)
    monkeypatch.setattr(timing, "TICK", 0.05)
