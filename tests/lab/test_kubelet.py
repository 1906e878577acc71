"""
The small Kubernetes: it runs `floating-ip.yaml` as a cluster would, with pod_program.py in the image's place.

What it does as the real one does it is for tests/kubernetes.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lab.history import History
from lab.kubernetes.cluster import EvictionRefused
from lab.kubernetes.small.cluster import Cluster
from lab.kubernetes.small.containers import POD, Backoff
from lab.kubernetes.small.objects import Container, DisruptionBudget, Manifest
from lab.kubernetes.small.pods import Pod
from tests.lab.small_kubernetes import NAME, Box, Told, box, floating_ip

PROGRAM = Path(__file__).with_name("pod_program.py")


@dataclass
class Lab(Told):
    """A cluster of two workers, its history, and the switches of the program."""

    switches: Path
    boxes: dict[str, Box]

    def deploy(self, manifest: Manifest) -> None:
        """`kubectl apply`, and wait until all is ready."""
        self.cluster.apply(manifest)
        self.cluster.wait_ready(10)


def hurried(manifest: Manifest) -> Manifest:
    """The same with probes every 0.1 s and a grace of 1 s."""
    deployment = manifest.deployments[NAME]
    [observer] = deployment.pod.containers
    assert observer.startup
    assert observer.liveness
    assert observer.readiness
    observer = replace(
        observer,
        startup=replace(observer.startup, period=0.1, failure_threshold=20),
        liveness=replace(observer.liveness, period=0.1),
        readiness=replace(observer.readiness, period=0.1),
    )
    pod = replace(deployment.pod, containers=(observer,), grace=1.0)
    return replace(manifest, deployments={NAME: replace(deployment, pod=pod)})


@pytest.fixture
def manifest() -> Manifest:
    """`floating-ip.yaml` as it stands, but in a hurry."""
    return hurried(floating_ip())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Two workers, nothing deployed."""
    monkeypatch.setenv("SECRET", "of the lab")

    def command(container: Container) -> list[str]:
        return [sys.executable, "-S", str(PROGRAM), *container.args]

    with ExitStack() as stack:
        addresses = {"k-a": "10.0.0.10", "k-b": "10.0.0.11"}
        boxes = {name: stack.enter_context(box(name, address)) for name, address in addresses.items()}
        history = stack.enter_context(closing(History(tmp_path / "history.jsonl")))
        labels, switches = {name: {"floatingip": "true"} for name in boxes}, {"SWITCHES": str(tmp_path)}
        workers = list(boxes.values())
        cluster = Cluster(workers, history, command_for=command, extra_env=switches, labels=labels, backoff=0.3)
        yield Lab(cluster, history, tmp_path, boxes)
        cluster.stop_all(grace=0.0)
        assert [worker.processes() for worker in boxes.values()] == [[], []], "stop_all leaves no process"


def test_each_node_gets_one_pod_whose_init_container_ran_first(lab: Lab, manifest: Manifest) -> None:
    """Anti-affinity, init container to completion, then the observer, ready when its probe says so."""
    lab.deploy(manifest)
    assert sorted(str(pod.node) for pod in lab.cluster.pods()) == ["k-a", "k-b"]
    for pod in lab.cluster.pods():
        phases = [event["phase"] for event in lab.events("pod", pod=pod.name)]
        assert phases == ["Pending", "Init", "Running", "Running"]
        [done] = lab.events("exit", pod=pod.name)
        assert (done["container"], done["reason"], done["code"]) == ("attach", "completed", 0)
        [attach], [start] = lab.said("attach", pod=pod.name), lab.said("start", pod=pod.name)
        assert attach["t"] < start["t"]


def test_a_container_has_what_the_manifest_gives_it_and_no_more(lab: Lab, manifest: Manifest) -> None:
    """PID 1, two capabilities (bits 12 and 13), the mounted settings, its variables; everything else read-only."""
    lab.deploy(manifest)
    pod = lab.cluster.pod_on("k-a")
    [start] = lab.said("start", pod=pod.name)
    lines = len(manifest.config_maps[NAME].data["settings.yaml"].splitlines())
    assert start["fields"] == {
        "event": "start", "pid": "1", "caps": "0000000000003000", "bound": "0000000000003000", "nnp": "1",
        "ip": "10.0.0.100", "node": "k-a", "pod": pod.name, "home": "/nonexistent", "inherited": "False",
        "settings": "no", "sysctl": "no", "root": "no", "etc": "True", "lines": str(lines),
    }  # fmt: skip
    assert not Path("/etc/floatingip").exists(), "the mount is the pod's alone"
    assert [event["fields"] for event in lab.events("log", pod=pod.name, line="not logfmt: käse")] == [{}]


def test_a_pod_that_ignores_sigterm_is_killed_after_the_grace_period(lab: Lab, manifest: Manifest) -> None:
    """One second here; exit code 137 as in a real cluster."""
    (lab.switches / "stubborn").touch()
    lab.deploy(manifest)
    old = lab.cluster.pod_on("k-a")
    began = time.monotonic()
    lab.cluster.delete_pod(old.name)
    lab.until(old.gone.is_set)
    assert 1.0 <= time.monotonic() - began < 2.0
    [exit_] = lab.events("exit", pod=old.name, container="observer")
    assert (exit_["reason"], exit_["code"]) == ("stopped", 137)


def disruption(pod: Pod) -> list[str]:
    """The reasons for which the pod is to end, as the API server tells it."""
    conditions = pod.as_object("default")["status"]["conditions"]
    return [condition["reason"] for condition in conditions if condition["type"] == "DisruptionTarget"]


def test_a_tainted_node_loses_its_pods_and_gets_none(lab: Lab, manifest: Manifest) -> None:
    """They are deleted, with the taint manager's reason; a taint, unlike a drain, asks no budget."""
    (lab.switches / "stubborn").touch()
    lab.deploy(manifest)
    pods = [lab.cluster.pod_on(node) for node in ("k-a", "k-b")]
    for node, pod in zip(("k-a", "k-b"), pods, strict=True):
        lab.cluster.taint(node)
        assert disruption(pod) == ["DeletionByTaintManager"]
        assert "deletionTimestamp" in pod.as_object("default")["metadata"]
    lab.until(lambda: all(pod.gone.is_set() for pod in pods))
    assert [pod.node for pod in lab.cluster.pods()] == [None, None]


def test_a_pod_that_ends_with_its_node_sees_neither_deletion_nor_condition(lab: Lab, manifest: Manifest) -> None:
    """SIGTERM is all that it gets; the condition is there when it has ended, and its replacement waits for a node."""
    (lab.switches / "stubborn").touch()
    lab.deploy(manifest)
    pod = lab.cluster.pod_on("k-a")
    shutdown = threading.Thread(target=lab.cluster.shut_node_down, args=("k-a",))
    shutdown.start()
    lab.until(lambda: lab.said("sigterm", pod=pod.name))
    assert disruption(pod) == []
    lab.until(pod.gone.is_set)
    shutdown.join()
    shown = pod.as_object("default")
    assert disruption(pod) == ["TerminationByKubelet"]
    assert "deletionTimestamp" not in shown["metadata"]
    assert shown["status"]["phase"] == "Succeeded"
    assert pod in lab.cluster.pods()
    lab.until(lambda: [one.node for one in lab.cluster.pods() if one.phase == "Pending"] == [None])


def test_a_node_that_boots_runs_a_pod_again(lab: Lab, manifest: Manifest) -> None:
    """After a power cut the one that it had, from its init container on; after a shutdown the one that waited."""
    lab.deploy(manifest)
    cut, ended = lab.cluster.pod_on("k-a"), lab.cluster.pod_on("k-b")
    lab.cluster.kill_node("k-a")
    lab.until(lambda: lab.events("exit", pod=cut.name, reason="node-lost"))
    lab.cluster.boot_node("k-a")
    lab.until(lambda: len(lab.said("start", pod=cut.name)) == 2)
    assert len(lab.said("attach", pod=cut.name)) == 2
    lab.cluster.wait_ready(10)
    lab.cluster.shut_node_down("k-b")
    lab.cluster.kill_node("k-b")
    with pytest.raises(LookupError):
        lab.cluster.pod_on("k-b")
    lab.cluster.boot_node("k-b")
    lab.cluster.wait_ready(10)
    assert lab.cluster.pod_on("k-b") is not ended


def test_a_budget_lets_one_pod_go_at_a_time(lab: Lab, manifest: Manifest) -> None:
    """The second eviction is refused until the first pod's replacement is ready; deletion asks no budget."""
    lab.deploy(manifest)
    first, second = lab.cluster.pods()
    lab.cluster.evict(first.name)
    with pytest.raises(EvictionRefused, match=rf"^{second.name}: floating-ip needs 1 healthy pods, there are 1$"):
        lab.cluster.evict(second.name)
    assert not second.stopping.is_set()
    assert disruption(second) == []
    lab.cluster.wait_ready(10)
    lab.cluster.evict(second.name)
    assert second.stopping.is_set()


@pytest.mark.parametrize(
    ("budget", "allowed"),
    [
        ({"min_available": 2}, False),
        ({"min_available": "51%"}, False),
        ({"min_available": "50%"}, True),
        ({"max_unavailable": 0}, False),
        ({"max_unavailable": "1%"}, True),
        ({"selector": {"app": "other"}, "max_unavailable": 0}, True),
    ],
)
def test_a_budget_counts_the_pods_that_it_selects(
    lab: Lab, manifest: Manifest, budget: dict[str, Any], allowed: bool
) -> None:
    """Numbers and percentages, rounded up as Kubernetes does it; another application's budget says nothing."""
    made = DisruptionBudget(**{"name": "b", "selector": {"app": NAME}, **budget})
    lab.deploy(replace(manifest, budgets={"b": made}))
    pod = lab.cluster.pod_on("k-a")
    if allowed:
        lab.cluster.evict(pod.name)
    else:
        with pytest.raises(EvictionRefused):
            lab.cluster.evict(pod.name)
    assert pod.stopping.is_set() is allowed


def test_no_budget_protects_a_pod_that_serves_nobody(lab: Lab, manifest: Manifest) -> None:
    """One that is pending is in nobody's way; one that is being deleted goes anyway."""
    (lab.switches / "stubborn").touch()
    lab.deploy(replace(manifest, budgets={"b": DisruptionBudget("b", {"app": NAME}, max_unavailable=0)}))
    pod = lab.cluster.pod_on("k-a")
    lab.cluster.delete_pod(pod.name)
    lab.cluster.evict(pod.name)
    assert disruption(pod) == ["EvictionByEvictionAPI"]
    [pending] = [pod for pod in lab.cluster.pods() if pod.node is None]
    lab.cluster.evict(pending.name)
    assert pending.gone.is_set()


def test_a_cordoned_node_gets_no_new_pod(lab: Lab, manifest: Manifest) -> None:
    """The replacement stays Pending, since the other node is taken, until the node is uncordoned."""
    lab.deploy(manifest)
    lab.cluster.cordon("k-a")
    old = lab.cluster.pod_on("k-a")
    lab.cluster.delete_pod(old.name)
    lab.until(old.gone.is_set)
    assert sorted(pod.phase for pod in lab.cluster.pods()) == ["Pending", "Running"]
    lab.cluster.uncordon("k-a")
    lab.cluster.wait_ready(10)
    assert lab.cluster.pod_on("k-a").is_ready


def test_a_third_replica_waits_for_a_third_node_and_goes_first(lab: Lab, manifest: Manifest) -> None:
    """Scaling up and down again."""
    lab.deploy(manifest)
    first = {pod.name for pod in lab.cluster.pods()}
    lab.cluster.scale(NAME, 3)
    assert [pod.phase for pod in lab.cluster.pods()] == ["Running", "Running", "Pending"]
    lab.cluster.scale(NAME, 2)
    assert {pod.name for pod in lab.cluster.pods()} == first


def test_a_node_selector_that_no_node_has_leaves_pods_pending(lab: Lab, manifest: Manifest) -> None:
    """The zone is not the nodes'."""
    deployment = manifest.deployments[NAME]
    zoned = replace(deployment, pod=replace(deployment.pod, node_selector={"topology.kubernetes.io/zone": "elsewhere"}))
    lab.cluster.apply(replace(manifest, deployments={NAME: zoned}))
    assert [(pod.phase, pod.node) for pod in lab.cluster.pods()] == [("Pending", None)] * 2


def test_a_failing_init_container_is_retried_with_back_off(lab: Lab, manifest: Manifest) -> None:
    """The first retry at once, the second after the base (0.3 s here), until it succeeds."""
    (lab.switches / "attach-fails").touch()
    lab.cluster.apply(manifest)
    lab.until(lambda: lab.events("pod", phase="CrashLoopBackOff", node="k-a"))
    failed = lab.events("exit", node="k-a")
    assert [(event["reason"], event["code"]) for event in failed] == [("exited", 3)] * 2
    (lab.switches / "attach-fails").unlink()
    lab.cluster.wait_ready(10)
    again = lab.said("attach", node="k-a")[2]["t"]
    assert again - failed[1]["t"] >= 0.3


def test_readiness_follows_its_probe_without_a_restart(lab: Lab, manifest: Manifest) -> None:
    """Not ready after three failures, ready again after one success."""
    lab.deploy(manifest)
    pod = lab.cluster.pod_on("k-a")
    (lab.switches / "notreadyz").touch()
    lab.until(lambda: not pod.is_ready)
    (lab.switches / "notreadyz").unlink()
    lab.until(lambda: pod.is_ready)
    assert len(lab.said("start", pod=pod.name)) == 1


def test_a_container_that_starts_slowly_is_not_ended_before_its_startup_probe_gives_up(
    lab: Lab, manifest: Manifest
) -> None:
    """Its liveness probe, which would give up after 0.3 s, begins later."""
    (lab.switches / "notlivez").touch()
    lab.cluster.apply(manifest)
    lab.until(lambda: len(lab.said("start", container="observer")) == 2)
    time.sleep(1.0)
    assert not lab.events("exit", container="observer")
    assert not any(pod.is_ready for pod in lab.cluster.pods())
    (lab.switches / "notlivez").unlink()
    lab.cluster.wait_ready(10)
    (lab.switches / "notlivez").touch()
    lab.until(lambda: [event["reason"] for event in lab.events("exit", container="observer")] == ["unhealthy"] * 2)
    time.sleep(1.0)
    assert len(lab.events("exit", container="observer")) == 2
    lab.until(lambda: len(lab.events("exit", container="observer")) == 4)


def test_a_frozen_node_does_nothing_until_it_is_thawed(lab: Lab, manifest: Manifest) -> None:
    """No line, no probe, no restart; afterwards the same process goes on."""
    lab.deploy(manifest)
    lab.cluster.freeze_node("k-a")
    time.sleep(0.1)
    before = len(lab.said("tick", node="k-a"))
    time.sleep(1.5)
    assert len(lab.said("tick", node="k-a")) == before
    assert lab.said("tick", node="k-b")[-1]["t"] > time.time() - 0.5
    lab.cluster.thaw_node("k-a")
    lab.until(lambda: len(lab.said("tick", node="k-a")) > before + 3)
    assert not lab.events("exit", container="observer")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_killed_node_loses_its_processes_and_nothing_replaces_them(
    lab: Lab, manifest: Manifest, frozen: bool
) -> None:
    """Whether it ran or hung; its pod stays in the books as it was."""
    lab.deploy(manifest)
    pod = lab.cluster.pod_on("k-a")
    if frozen:
        lab.cluster.freeze_node("k-a")
    lab.cluster.kill_node("k-a")
    lab.until(lambda: lab.events("exit", pod=pod.name, reason="node-lost"), timeout=1.0)
    assert lab.boxes["k-a"].processes() == []
    assert not lab.said("sigterm", pod=pod.name)
    assert [one.name for one in lab.cluster.pods() if one.node == "k-a"] == [pod.name]
    assert lab.boxes["k-b"].processes()


def test_a_rolling_restart_never_takes_both_pods_at_once(lab: Lab, manifest: Manifest) -> None:
    """The second goes only when the first one's replacement is ready."""
    lab.deploy(manifest)
    lab.cluster.restart(NAME)
    first, second = lab.events("pod", phase="Terminating")
    ready = [event["t"] for event in lab.events("pod", detail="ready", node=first["node"])]
    assert first["t"] < ready[-1] < second["t"]


def test_a_container_dies_with_the_kubelet() -> None:
    """Its stdin ends when the lab's process does, however that ended."""
    command = [sys.executable, "-I", "-S", str(POD), '{"files": {}, "capabilities": []}', "sleep", "60"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as warden:
        assert warden.stdin
        time.sleep(0.3)
        assert warden.poll() is None
        warden.stdin.close()
        assert warden.wait(2) == 137


def test_a_container_starts_in_a_few_times_what_an_interpreter_takes() -> None:
    """The best of five of each, since others use this machine too."""
    spec = '{"files": {"/etc/floatingip": {"a": "b"}}, "capabilities": []}'

    def seconds(*arguments: str) -> float:
        began = time.monotonic()
        subprocess.run([sys.executable, "-I", "-S", *arguments], stdin=subprocess.PIPE, check=False)
        return time.monotonic() - began

    bare = min(seconds("-c", "") for _ in range(5))
    assert min(seconds(str(POD), spec, "true") for _ in range(5)) < 15 * bare


def test_other_rights_than_the_labs_are_refused(lab: Lab, manifest: Manifest) -> None:
    """What runs here with fewer rights than in a cluster, or more, would prove nothing."""
    deployment = manifest.deployments[NAME]
    [observer] = deployment.pod.containers
    writable = replace(observer, security=replace(observer.security, read_only_root=False))
    wrong = replace(deployment, pod=replace(deployment.pod, containers=(writable,)))
    with pytest.raises(ValueError, match=r"floating-ip, observer: .*read-only root"):
        lab.cluster.apply(replace(manifest, deployments={NAME: wrong}))
    assert lab.cluster.pods() == []


def test_back_off_is_the_real_kubelets() -> None:
    """At once, 10 s, doubling up to 300 s; ten good minutes forgive everything."""
    backoff = Backoff(10.0)
    assert [backoff.delay(1.0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [backoff.delay(600.0), backoff.delay(1.0)] == [0, 10]
