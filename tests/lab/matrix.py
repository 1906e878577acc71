"""Ask a NodePort in every way: each kind of backend and traffic policy, from inside and outside of the VPC."""

from collections.abc import Callable, Iterator

from lab.network.fabric import Fabric
from lab.network.kube_proxy import TrafficPolicy
from lab.network.worker import Worker
from tests.lab.conftest import Answer

Workers = tuple[Worker, Worker]
Fetch = Callable[..., Answer]

ENI = "eni-floating"
MAC = "02:00:00:00:00:64"
FLOATING = "10.0.0.100"
NODE_PORT = 30007
POLICIES: tuple[TrafficPolicy, ...] = ("Cluster", "Local")


class Backends:
    """One endpoint of each kind, as worker-a sees them, with the name that each answers."""

    def __init__(self, a: Worker, b: Worker) -> None:
        self.local = a.start_backend(0), "worker-a/pod-0"
        self.remote = b.start_backend(0), "worker-b/pod-0"
        self.host = a.start_backend(), "worker-a/host"
        self.remote_host = b.start_backend(), "worker-b/host"

    def all(self) -> Iterator[tuple[tuple[str, int], str]]:
        yield from (self.local, self.remote, self.host, self.remote_host)


def ask_all(
    fabric: Fabric,
    fetch: Fetch,
    worker: Worker,
    backends: Backends,
    policy: TrafficPolicy,
    address: str,
    timeout: float = 1,
) -> dict[tuple[str, str], str]:
    """Ask for the NodePort on `address` with each backend as the only one: (backend, client) -> name, or the error."""
    answers: dict[tuple[str, str], str] = {}
    for endpoint, name in backends.all():
        if policy == "Local" and name.startswith("worker-b"):
            continue
        worker.expose(NODE_PORT, [endpoint], policy)
        for client in (fabric.client_in, fabric.client_out):
            answer = fetch(client, address, NODE_PORT, timeout)
            answers[name, client.name] = answer.error or answer.text.split()[0]
    return answers


def every_one_answered(answers: dict[tuple[str, str], str]) -> bool:
    """By the backend that was asked."""
    return bool(answers) and all(answer == name for (name, _), answer in answers.items())
