"""What is said on a real cluster that is set up in another way, and where Amazon's own CNI wants ENIs too."""

import time
from http import HTTPStatus
from http.client import HTTPConnection

from lab.kubernetes.cluster import Kind, Setup
from lab.run.kubernetes_scenarios import ALL, WITHOUT_ROLE
from lab.run.machine import Machine
from lab.run.play import judge, play
from lab.run.region import Region
from tests.kubernetes.conftest import Stage
from tests.waiting import until

WITHIN = 120.0
PORT = 9807
"""The observers'."""


def test_without_its_role_an_observer_says_so_at_its_start(stage: Stage) -> None:
    """By warnings, each with the remedy, and to those who ask whether it is ready: it is, nevertheless."""
    region = stage.region(Kind.REAL, ec2="typical", setup=WITHOUT_ROLE)
    for machine in region.machines.values():
        until_logged(region, machine, "which NodePorts there are is not known", "apply the Role")
        until_logged(region, machine, "not known whether Kubernetes ends this pod", "the role must allow to get pods")
        until_answered(machine, HTTPStatus.OK, "the role must allow to get pods")


def test_kube_proxy_that_serves_no_other_address_is_named_with_the_remedy(stage: Stage) -> None:
    """In nftables mode, which does that by default: by `attach` and by the holder, which is not ready."""
    region = stage.region(Kind.REAL, ec2="typical", setup=Setup(proxy={"mode": "nftables"}), ready=False)
    holder = region.holder()
    remedy = "set its nodePortAddresses to [0.0.0.0/0]"
    for container in ("attach", "observer"):
        until_logged(region, holder, "kube-proxy (nftables mode) serves NodePorts at", remedy, container=container)
    until_answered(holder, HTTPStatus.SERVICE_UNAVAILABLE, remedy)
    # kubelet asks now and then, and believes a few answers only.
    until(lambda: not region.cluster.pod_on(holder.name).is_ready, WITHIN)


def test_it_shares_a_worker_with_the_vpc_cni_as_the_documents_configure_it(stage: Stage) -> None:
    """eksctl-config.yaml's MAX_ENI and instance type, the CNI's default targets: it attaches an ENI of its own."""
    region = stage.region(
        Kind.REAL, ec2="typical", carry="eni", setup=Setup(cni={"MAX_ENI": "3"}), instance_type="m5.xlarge"
    )
    shown = region.administrator.describe_network_interfaces()["NetworkInterfaces"]
    assert sum("aws-K8S-" in interface["Description"] for interface in shown) >= len(region.machines)
    since = len(region.history.events())
    expectations = play(region, ALL["power-cut"])
    verdict = judge(region.history.events(), expectations, since)
    assert verdict.ok, "\n".join(verdict.faults)


def until_answered(machine: Machine, status: HTTPStatus, word: str) -> None:
    """Wait until a worker's observer answers this to its kubelet."""

    def ask() -> tuple[int, str]:
        connection = HTTPConnection(machine.worker.address, PORT, timeout=2)
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    deadline = time.monotonic() + WITHIN
    while (said := machine.worker.namespace.call(ask))[0] != status or word not in said[1]:
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def until_logged(region: Region, machine: Machine, *words: str, container: str = "observer") -> None:
    """Wait until a container on this worker has written one line with all of these words."""
    deadline = time.monotonic() + WITHIN
    while True:
        logged = [event for event in region.history.events() if event["event"] == "log"]
        lines = [e["line"] for e in logged if (e["node"], e["container"]) == (machine.name, container)]
        if any(all(word in line for word in words) for line in lines):
            return
        assert time.monotonic() < deadline, lines
        time.sleep(0.1)
