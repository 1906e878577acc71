"""NODE_ADDRESS, which the manifest gives the observer: it answers there too, as soon as the address is on the node."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.network.netns import CommandFailed
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.endpoint import soon

pytest_plugins = ["tests.lab.one_worker"]

ROOT = Path(__file__).resolve().parents[2]
NODE = "2001:db8:0:1::b"
WITHIN = 15
"""Seconds for an observer to start, and to hear."""

Observe = Callable[[str], Path]


@pytest.fixture
def machine(region: Region) -> Machine:
    """The worker, without the address."""
    [machine] = region.machines.values()
    machine.worker.namespace.ip("address flush dev lo to 2001:db8::/32")
    return machine


@pytest.fixture
def observe(region: Region, machine: Machine, tmp_path: Path) -> Iterator[Observe]:
    """Starts the observer on the worker with this NODE_ADDRESS; its log."""
    settings, log = tmp_path / "settings.yaml", tmp_path / "observer.log"
    settings.write_text("name: lab\n", encoding="utf-8")
    started: list[subprocess.Popen[str]] = []

    def start(node_address: str) -> Path:
        known = {"FLOATING_IP": FLOATING_IP, "AWS_ENDPOINT_URL_EC2": region.ec2.endpoint_url}
        argv = [sys.executable, "-m", "floatingip", "observe", "--settings", str(settings)]
        environment = {"PATH": os.environ["PATH"], "NODE_ADDRESS": node_address, **known}
        with log.open("w", encoding="utf-8") as output:
            started.append(
                machine.worker.namespace.popen(argv, cwd=ROOT, env=environment, stdout=output, stderr=output)
            )
        return log

    yield start
    for process in started:
        process.kill()
        process.wait()


def answers(machine: Machine, host: str) -> bool:
    """Whether the observer on the worker answers there."""
    asked = f"import urllib.request as u; u.urlopen('http://{host}:9807/livez', timeout=2)"
    try:
        machine.worker.namespace.run([sys.executable, "-c", asked])
    except CommandFailed:
        return False
    return True


def test_the_observer_answers_at_it(machine: Machine, observe: Observe) -> None:
    """In a cluster of IPv6 the kubelet asks nowhere else."""
    machine.worker.namespace.ip(f"address add {NODE}/128 dev lo nodad")
    log = observe(NODE)
    soon(lambda: answers(machine, f"[{NODE}]"), WITHIN)
    assert "node-address" not in log.read_text(encoding="utf-8")


def test_it_may_come_after_the_observer(machine: Machine, observe: Observe) -> None:
    """Which says so, and serves the peers meanwhile."""
    log = observe(NODE)
    soon(lambda: answers(machine, machine.worker.address), WITHIN)
    assert f"NODE_ADDRESS: {NODE} is not on this node" in log.read_text(encoding="utf-8")
    assert not answers(machine, f"[{NODE}]")
    machine.worker.namespace.ip(f"address add {NODE}/128 dev lo nodad")
    soon(lambda: answers(machine, f"[{NODE}]"), WITHIN)
