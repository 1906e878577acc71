"""The image as it was built: what is in it, what is not, and the product in it with the rights of the manifest."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import floatingip
from lab.ec2 import PROFILES
from lab.history import Event, History
from lab.kubernetes.small import image as lab_image
from lab.kubernetes.small.cluster import Cluster
from lab.kubernetes.small.image import Image
from lab.kubernetes.small.objects import Manifest
from lab.run.play import run
from lab.run.scenarios import SCENARIOS
from tests.lab.small_kubernetes import NAME, Box, box, floating_ip
from tests.waiting import until

BUILDS = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|cpp|clang|tcc|ld|as|make|cmake|go|rustc|cargo)(-[\d.]+)?")
"""Names of compilers, assemblers, linkers and what calls them."""

RIGHTS = """
import os, pathlib
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return error.strerror.replace(" ", "-")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
fields = {name: status[name].split()[0] for name in ("Uid", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")}
fields |= {"pid": os.getpid(), "root": refused("/opt/x"), "settings": refused("/etc/floatingip/settings.yaml"),
    "sysctl": refused("/proc/sys/net/ipv4/ip_forward"), "lab": "PYTHONPATH" in os.environ,
    "node": os.environ["NODE_NAME"], "links": ",".join(sorted(os.listdir("/sys/class/net")))}
print("event=rights", *(f"{key}={value}" for key, value in fields.items()), flush=True)
"""
WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("event=waits", flush=True)
time.sleep(60)
"""
BYTECODE = """
import pathlib, sys
import floatingip.cli, floatingip.runtime.loop, floatingip.edges.ec2.cloud, floatingip.edges.kernel.host
specs = [module.__spec__ for module in sys.modules.values() if getattr(module, "__spec__", None)]
print(*(spec.origin for spec in specs if spec.cached and not pathlib.Path(spec.cached).exists()))
"""
MODULES = """
from importlib.util import find_spec
print(*(name for name in ("pip", "ensurepip", "setuptools", "wheel", "moto", "pytest") if find_spec(name)))
"""
CLIENTS = """
import boto3
print(*(type(boto3.client(name, region_name="us-west-2")).__name__ for name in ("ec2", "sts")))
"""


@dataclass
class Node:
    """One worker that runs pods from the image."""

    image: Image
    box: Box
    history: History
    manifest: Manifest
    _cluster: Cluster | None = None
    _seen: int = 0

    def start(self, *entry_point: str) -> Cluster:
        """Apply `floating-ip.yaml`, with this entry point in place of the image's own."""
        self.stop()
        self._seen = len(self.history.events())
        image = replace(self.image, entry_point=entry_point)
        labels = {self.box.name: self.manifest.deployments[NAME].pod.node_selector}
        self._cluster = Cluster([self.box], self.history, image=image, labels=labels, backoff=60.0)
        self._cluster.apply(self.manifest)
        return self._cluster

    def stop(self) -> None:
        if self._cluster:
            self._cluster.stop_all(grace=0.0)

    def events(self) -> list[Event]:
        """Those since the last start."""
        return self.history.events()[self._seen :]

    def wait(self, event: str, **wanted: object) -> Event:
        """The first such event, of the cluster or of what a container writes."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for found in self.events():
                if event in (found["event"], found.get("fields", {}).get("event")) and wanted.items() <= found.items():
                    return found
            time.sleep(0.01)
        raise AssertionError(self.events())

    def output(self, *command: str) -> str:
        """What a container of the pod writes that runs this to its end."""
        self.start(*command)
        done = self.wait("exit", container="attach")
        said = "\n".join(
            found["line"] for found in self.events() if found.get("container") == "attach" and "line" in found
        )
        assert done["code"] == 0, said
        return said

    def python(self, program: str) -> str:
        """What a program for the image's Python writes."""
        # The pod's argument ("attach") comes after the program.
        return self.output(self.image.entry_point[0], "-c", program)


@pytest.fixture(scope="session")
def image() -> Image:
    found = lab_image.given()
    assert found, "python -m lab.kubernetes.small.image NAME python -m pytest"
    return found


@pytest.fixture
def node(image: Image, tmp_path: Path) -> Iterator[Node]:
    """A worker without pods."""
    with box("worker-a", "10.0.0.10") as worker, closing(History(tmp_path / "history.jsonl")) as history:
        node = Node(image, worker, history, floating_ip())
        yield node
        node.stop()
        # The kernel ends the runtime's PID namespace after the warden, and takes some milliseconds.
        until(lambda: not worker.processes(), 2)


def files(image: Image) -> Iterator[Path]:
    for directory, _, names in os.walk(image.root):
        for name in names:
            yield Path(directory, name)


def test_nothing_in_it_builds_or_installs_packages_of_python(node: Node) -> None:
    """No compiler and no pip, nor what pip left."""
    names = {path.name for path in files(node.image) if path.parent.name in {"bin", "sbin"}}
    assert {"nft", "python3"} <= names, "it saw nothing"
    assert [name for name in names if BUILDS.fullmatch(name)] == []
    assert [name for name in names if name.startswith("pip")] == []
    assert not list(Path(node.image.root).glob("**/.cache"))
    assert not list(Path(node.image.root).glob("**/*.whl"))
    assert node.python(MODULES).strip() == ""


def test_nothing_in_it_lends_rights(image: Image) -> None:
    """No setuid, no setgid, no file with capabilities."""
    lending = [
        path
        for path in files(image)
        if not path.is_symlink()
        and (
            stat.S_IMODE(path.stat().st_mode) & (stat.S_ISUID | stat.S_ISGID)
            or "security.capability" in os.listxattr(path)
        )
    ]
    assert lending == []


def test_the_machine_that_built_it_left_nothing(image: Image) -> None:
    """Where it got its packages from: pip's configuration, lists, logs, temporary files, its resolver."""
    root = Path(image.root)
    assert not (root / "etc/pip.conf").exists()
    assert [name for name in image.environment if name.startswith("PIP_")] == []
    for directory in ("tmp", "mnt", "var/cache", "var/log", "var/lib/apt/lists", "root/.cache", "root/.config"):
        assert not list((root / directory).glob("*")), directory
    resolver = root / "etc/resolv.conf"
    assert not resolver.exists() or resolver.read_text() == ""


def test_every_module_was_compiled_before(node: Node) -> None:
    """Nothing can be cached in a read-only root: each start would take a second or two longer."""
    assert node.python(BYTECODE).strip() == ""


def test_the_product_starts(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """And knows its version, which the label has too."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        answer = node.output(*node.image.entry_point, "--version")
        took.append(time.monotonic() - began)
        assert answer == f"floatingip {floatingip.__version__}"
    with capsys.disabled():
        print(f"\nimage: {node.image.size / 1e6:.0f} MB; container start to end of --version: {min(took):.2f} s")


def test_it_has_a_short_name(node: Node) -> None:
    """On the PATH that `kubectl exec` has, from any directory."""
    assert node.output("/bin/sh", "-c", "cd / && exec floatingip --version") == f"floatingip {floatingip.__version__}"


def test_labels_say_what_it_is_and_was_made_of(image: Image) -> None:
    """The annotations of the OCI's image specification that its builder knows."""
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in image.labels.items()}
    assert (labels["title"], labels["licenses"]) == ("floatingip", "MIT-0")
    assert labels["version"] == floatingip.__version__
    assert re.match(r"[0-9a-f]{40}", labels["revision"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", labels["created"])


def test_aws_services_that_it_calls_are_known(node: Node) -> None:
    """Just those of botocore's descriptions are left: EC2's, and STS's for the credentials of a service account."""
    assert node.python(CLIENTS).strip() == "EC2 STS"


def test_nft_works_with_the_rights_of_the_manifest(node: Node) -> None:
    """In the worker's network namespace."""
    # The pod's argument ("attach") is the script's $0.
    script = "nft add table inet floatingip && nft list tables"
    assert node.output("/bin/sh", "-c", script).strip() == "table inet floatingip"
    assert "table inet floatingip" in node.box.namespace.run(["nft", "list", "tables"])


def test_a_container_has_the_rights_of_the_manifest_and_no_more(node: Node) -> None:
    """User 0 with two capabilities (bits 12 and 13), no new privileges, a seccomp filter, everything read-only."""
    node.python(RIGHTS)
    assert node.wait("rights")["fields"] == {
        "event": "rights", "pid": "1", "Uid": "0", "CapEff": "0000000000003000", "CapBnd": "0000000000003000",
        "CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "root": "Read-only-file-system",
        "settings": "Read-only-file-system", "sysctl": "Read-only-file-system", "lab": "False", "node": "worker-a",
        "links": "lo",
    }  # fmt: skip


def test_a_container_gets_sigterm(node: Node) -> None:
    """And its exit code is the container's."""
    cluster = node.start(node.image.entry_point[0], "-c", WAITS)
    node.wait("waits")
    cluster.delete_pod(cluster.pod_on("worker-a").name)
    assert node.wait("exit", reason="stopped")["code"] == 5


def test_a_killed_node_takes_its_containers_along(node: Node) -> None:
    """Though the runtime has no time to end them; and it has made no control group that would stay."""
    cluster = node.start(node.image.entry_point[0], "-c", WAITS)
    node.wait("waits")
    cluster.kill_node("worker-a")
    assert node.wait("exit", reason="node-lost")["code"] == 137
    assert not list(Path("/sys/fs/cgroup").glob("**/bundle-*"))


def test_a_frozen_container_does_nothing_until_it_is_thawed(node: Node) -> None:
    """What runs in runc's own PID namespace is stopped too."""
    counts = "import itertools, time\nfor i in itertools.count(): print('event=tick', flush=True); time.sleep(0.05)"
    cluster = node.start(node.image.entry_point[0], "-c", counts)
    node.wait("tick")
    cluster.freeze_node("worker-a")
    time.sleep(0.2)
    before = len(node.history.events())
    time.sleep(0.5)
    assert len(node.history.events()) == before
    cluster.thaw_node("worker-a")
    time.sleep(0.5)
    assert len(node.history.events()) > before


def test_a_power_cut_is_survived_by_the_image(image: Image, tmp_path: Path) -> None:
    """The lab's scenario, its pods run from the image as the manifest says."""
    verdict = run(SCENARIOS["power-cut"], PROFILES["instant"], seed=1, record_to=tmp_path / "history.jsonl")
    assert verdict.ok, "\n".join(verdict.faults)


def test_without_a_sandbox_that_has_it_no_image_is_run() -> None:
    """The lab does not quietly take the checkout instead."""
    command = [sys.executable, "-m", "lab", "run", "power-cut", "--image", "no-such-image"]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lab: an image can only be mounted outside of a sandbox\n"
