"""What the lab believes of Kubernetes, shown on both: where they disagree the small one is wrong."""

import os
import signal
import socket
from typing import Any

import pytest

from lab.history import Event
from lab.kubernetes.cluster import OBSERVERS, SAMPLE, EvictionRefused, Kind, Part
from lab.run.machine import Machine
from lab.run.region import Region
from tests.waiting import until

NEVER = 120.0
"""Seconds after which something that must happen has not."""


def phases(region: Region, pod: str, since: int) -> list[tuple[str, str]]:
    """What the history tells of a pod: its phases, each with its detail."""
    return [(event["phase"], event["detail"]) for event in events(region, "pod", since) if event["pod"] == pod]


def events(region: Region, kind: str, since: int) -> list[Event]:
    return [e for e in region.history.events()[since:] if e["source"] == "kubelet" and e["event"] == kind]


def disruptions(pod: Any) -> list[str]:
    return [one["reason"] for one in pod["status"]["conditions"] if one["type"] == "DisruptionTarget"]


def test_a_deleted_pod_ends_before_its_node_gets_another_one(region: Region) -> None:
    """Terminating, then gone; when it has ended, the new one: waiting for a place, initialised, running, ready."""
    node = region.holder().name
    old, since = region.cluster.pod_on(node), len(region.history.events())
    region.cluster.delete_pod(old.name)
    until(lambda: any(pod.node == node and pod.is_ready and pod.name != old.name for pod in region.cluster.pods()))
    assert [phase for phase, _ in phases(region, old.name, since)] == ["Terminating", "Gone"]
    new = region.cluster.pod_on(node).name
    kept = [phase for phase, _ in phases(region, new, since)]
    assert list(dict.fromkeys(kept)) in (["Pending", "Init", "Running"], ["Pending", "Init", "Pending", "Running"])
    assert phases(region, new, since)[-1] == ("Running", "ready")
    begun = next(e["t"] for e in events(region, "pod", since) if e["pod"] == new and e["phase"] == "Init")
    ended = next(e["t"] for e in events(region, "exit", since) if e["pod"] == old.name)
    assert begun >= ended - 0.5


def test_the_end_of_a_deleted_pod_is_no_failure(region: Region) -> None:
    """The container ends upon SIGTERM, by itself, with success."""
    old, since = region.cluster.pods()[0], len(region.history.events())
    region.cluster.delete_pod(old.name)
    until(lambda: [e for e in events(region, "exit", since) if e["pod"] == old.name])
    [end] = [e for e in events(region, "exit", since) if e["pod"] == old.name and e["container"] == "observer"]
    assert (end["reason"], end["code"]) == ("stopped", 0)


def test_only_an_evicted_pod_is_told_so(region: Region) -> None:
    """The condition is there as soon as the deletion is."""
    first, second = region.cluster.pods()
    region.cluster.evict(first.name)
    evicted = region.cluster.pod_object(first.name)
    assert disruptions(evicted) == ["EvictionByEvictionAPI"]
    assert "deletionTimestamp" in evicted["metadata"]
    with pytest.raises(EvictionRefused):
        region.cluster.evict(second.name)
    region.cluster.wait_ready(NEVER)
    region.cluster.delete_pod(second.name)
    deleted = region.cluster.pod_object(second.name)
    assert disruptions(deleted) == []
    assert "deletionTimestamp" in deleted["metadata"]


def test_a_container_that_dies_again_is_restarted_later_and_later(region: Region) -> None:
    """At once the first time, 10 s after its end the second time."""
    pod = region.cluster.pods()[0].name

    def restarted(old: int) -> bool:
        try:
            return region.cluster.container_process(pod, "observer") != old
        except LookupError:
            return False

    took = []
    for _ in range(2):
        process = region.cluster.container_process(pod, "observer")
        os.kill(process, signal.SIGKILL)
        took.append(until(lambda old=process: restarted(old)))  # type: ignore[misc]
    assert took[0] < 5
    assert 8 < took[1] < 20


@pytest.mark.more
def test_a_container_that_does_not_answer_is_not_ready_and_then_restarted(region: Region) -> None:
    """Three lost readiness probes, 2 s apart; three lost liveness probes, 10 s apart."""
    pod = region.cluster.pods()[0]
    process = region.cluster.container_process(pod.name, "observer")
    os.kill(process, signal.SIGSTOP)
    since, name = len(region.history.events()), pod.name
    assert 3 < until(lambda: ("Running", "not ready") in phases(region, name, since)) < 15
    unready = until(lambda: any(e["pod"] == name for e in events(region, "exit", since)))
    assert 10 < unready < 75


@pytest.mark.more
def test_a_node_whose_kubelet_is_silent_loses_its_endpoints_and_then_its_pods(region: Region) -> None:
    """Not ready 40 s after its last word, which is up to 10 s old; the pods deleted 30 s later; then all is well."""
    machine = region.holder()
    pod = region.cluster.pod_on(machine.name)
    region.cluster.hang(Part.KUBELET, machine.name)
    try:
        silent = until(lambda: region.cluster.conditions(machine.name)["Ready"] == "Unknown")
        assert 28 < silent < 60
        until(lambda: machine.name not in region.cluster.endpoints(SAMPLE), 10)
        assert not [one for one in region.cluster.pods() if one.name == pod.name and one.is_ready]
        # The control plane answers for the first one, the kubelet that is silent for the second.
        states = {one["type"]: one["status"] for one in region.cluster.pod_object(pod.name)["status"]["conditions"]}
        assert (states["Ready"], states["ContainersReady"]) == ("False", "True")
        evicted = until(lambda: "deletionTimestamp" in region.cluster.pod_object(pod.name)["metadata"])
        assert 20 < evicted < 45
    finally:
        region.cluster.resume(Part.KUBELET, machine.name)
    until(lambda: region.cluster.conditions(machine.name)["Ready"] == "True", 30)
    until(lambda: machine.name in region.cluster.endpoints(SAMPLE))
    region.cluster.wait_ready(NEVER)


def answer(region: Region, machine: Machine) -> str:
    """What a client outside of the VPC gets at a node's NodePort."""

    def ask() -> str:
        try:
            socket.create_connection((machine.worker.address, region.backends.node_port), timeout=1).close()
        except (TimeoutError, ConnectionRefusedError) as error:
            return type(error).__name__
        return "answered"

    return region.fabric.client_out.call(ask)


def test_a_node_port_without_a_local_endpoint_is_dropped_and_without_any_refused(region: Region) -> None:
    """With externalTrafficPolicy Local."""
    first, second = region.machines.values()
    assert (answer(region, first), answer(region, second)) == ("answered", "answered")
    serve(region, {second.name})
    until(lambda: answer(region, first) == "TimeoutError")
    assert answer(region, second) == "answered"
    serve(region, set())
    until(lambda: answer(region, first) == answer(region, second) == "ConnectionRefusedError")
    serve(region, {first.name, second.name})
    until(lambda: answer(region, first) == answer(region, second) == "answered")


def serve(region: Region, nodes: set[str]) -> None:
    """Have endpoints of the service on these nodes."""
    if region.kubernetes is Kind.SMALL:
        for machine in region.machines.values():
            machine.serves = machine.name in nodes
        region.backends.publish()
        return
    if not nodes:
        region.cluster.scale(SAMPLE, 0)
        return
    for name in region.machines:
        (region.cluster.uncordon if name in nodes else region.cluster.cordon)(name)
    for pod in region.cluster.pods(SAMPLE):
        if pod.node not in nodes:
            region.cluster.delete_pod(pod.name, grace=1)
    region.cluster.scale(SAMPLE, len(region.machines))


def test_observers_are_one_on_each_node(region: Region) -> None:
    """Also after a scale to none and back; a third has no place."""
    region.cluster.scale(OBSERVERS, 0)
    until(lambda: not region.cluster.pods())
    region.cluster.scale(OBSERVERS, 3)
    until(lambda: sum(pod.is_ready for pod in region.cluster.pods()) == 2)
    nodes = [pod.node for pod in region.cluster.pods()]
    assert sorted(map(str, nodes)) == sorted([*region.machines, "None"])
