"""What the tests of the small Kubernetes share: the manifests, workers as the kubelet sees them, and what is told."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.history import Event, History
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.cluster import Cluster
from lab.kubernetes.small.manifest import load
from lab.kubernetes.small.objects import Manifest
from lab.network.netns import Namespace

ROOT = Path(__file__).parents[2]
FLOATING_IP, SAMPLE = ROOT / "floating-ip.yaml", ROOT / "sample-service.yaml"
VARIABLES = {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": "10.0.0.100"}
NAME = "floating-ip"


def floating_ip() -> Manifest:
    """`floating-ip.yaml` as it stands."""
    return load(FLOATING_IP, VARIABLES)


@dataclass
class Box:
    """A worker as far as the kubelet is concerned."""

    name: str
    address: str
    namespace: Namespace

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process in the worker's namespace."""
        return self.namespace.popen(command, **options)

    def processes(self) -> list[str]:
        command = ["ip", "netns", "pids", self.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@contextmanager
def box(name: str, address: str, *others: str) -> Iterator[Box]:
    """One with these addresses."""
    made = Box(name, address, Namespace(name))
    made.namespace.create()
    made.namespace.ip(*(f"address add {each}/32 dev lo" for each in (address, *others)))
    try:
        yield made
    finally:
        made.namespace.delete()


@contextmanager
def without_workers(manifest: Manifest, directory: Path) -> Iterator[tuple[Cluster, History, ApiServer]]:
    """A cluster with the manifest applied whose pods are pending, with its history, and its API server on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock, closing(History(directory / "history.jsonl")) as history:
        cluster = Cluster([], history)
        cluster.apply(manifest)
        api = ApiServer(sock, cluster)
        yield cluster, history, api
        api.stop()


@dataclass
class Told:
    """A cluster, and what its history tells."""

    cluster: Cluster
    history: History

    def events(self, event: str, **wanted: object) -> list[Event]:
        """The events so far with these values."""
        found = (each for each in self.history.events() if each["event"] == event)
        return [each for each in found if all(each[key] == value for key, value in wanted.items())]

    def said(self, event: str, **wanted: object) -> list[Event]:
        """The lines of the pods' program so far with that `event`."""
        return [line for line in self.events("log", **wanted) if line["fields"].get("event") == event]

    def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait for something that must happen."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, [event for event in self.history.events() if event["event"] != "log"]
            time.sleep(0.01)
