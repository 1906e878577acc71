"""
A hostile neighbour: an ordinary pod, on a worker without an observer, that attacks the observers on the other workers;
and what that costs the observers' processes.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from floatingip.core.model import Carry
from lab.kubernetes.cluster import ClusterFailed, Kind
from lab.run.machine import Machine
from lab.run.region import Region

SCRIPT = Path(__file__).with_name("attacker.py")
PORT = 9807
POD = 3
"""The attacker's number among its worker's pods; the sample service's is another."""

AHEAD = 2.0
"""Seconds for which the pod has attacked when the nemesis strikes."""

SAMPLED_EVERY = 0.1
ENDS_WITHIN = 180.0
"""Seconds for the attacker to finish: a flood's connects, on a machine that does other things as well."""

Usage = Mapping[str, int]


class Attack:
    """
    A pod attacks in one of attacker.py's ways while the block runs; what it did, and what it cost, is recorded.

    Raises ClusterFailed on the real Kubernetes: the lab cannot enter its pods.
    """

    def __init__(self, region: Region, kind: str) -> None:
        if region.kubernetes is Kind.REAL:
            raise ClusterFailed("only on the small Kubernetes does the lab have a pod that attacks")
        self._region = region
        self._kind = kind
        self._over = threading.Event()
        self._most: dict[str, Usage] = {}
        self._before = {node: usage(process) for node, process in observers(region).items()}
        self._sampler = threading.Thread(target=self._sample, name="usage", daemon=True)

    def __enter__(self) -> Self:
        region = self._region
        observed = {pod.node for pod in region.cluster.pods() if pod.node is not None}
        attacker = next(machine for machine in region.machines.values() if machine.name not in observed)
        spec = json.dumps(self._spec(attacker, [region.machines[node] for node in sorted(observed)]))
        command = [sys.executable, "-I", "-S", str(SCRIPT), self._kind, spec]
        self._process = attacker.worker.pod(POD).popen(command, stdout=subprocess.PIPE)
        self._sampler.start()
        time.sleep(AHEAD)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            said, _stderr = self._process.communicate(timeout=ENDS_WITHIN)
        finally:
            self._process.kill()
            self._over.set()
            self._sampler.join()
        event = {"source": "lab", "event": "attack", "kind": self._kind}
        self._region.history.record({**event, "did": json.loads(said or "{}")})
        for node, before in self._before.items():
            most = self._most[node]
            self._region.history.record(
                {"source": "lab", "event": "usage", "node": node, "before": {**before}, "most": {**most}}
            )

    def _spec(self, attacker: Machine, observed: list[Machine]) -> dict[str, object]:
        region = self._region
        attachment = str(region.attachments()[-1]["attachment"])
        target = region.carried(region.floating[0])
        return {
            "observers": [machine.worker.address for machine in observed],
            "port": PORT,
            "me": attacker.worker.pod_addresses[POD],
            "name": "lab",
            "target": target,
            "sees_up": [attachment if region.carry == Carry.ENI else f"{attachment}/{target}"],
            "instances": [machine.instance.instance_id for machine in (attacker, *observed)],
        }

    def _sample(self) -> None:
        while not self._over.wait(SAMPLED_EVERY):
            for node, process in observers(self._region).items():
                most = self._most.get(node, {})
                self._most[node] = {**most, **{w: max(used, most.get(w, 0)) for w, used in usage(process).items()}}


def observers(region: Region) -> dict[str, int]:
    """The observers' process ids by node, seen from the lab."""
    found = {}
    for pod in region.cluster.pods():
        with suppress(LookupError):
            if pod.node is not None:
                found[pod.node] = region.cluster.container_process(pod.name, "observer")
    return found


def usage(process: int) -> Usage:
    """Memory in kB, threads and files of a process; empty if it has ended."""
    directory = Path(f"/proc/{process}")
    try:
        status = dict(line.split(":", 1) for line in (directory / "status").read_text().splitlines())
        files = len(list((directory / "fd").iterdir()))
        return {"memory": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"]), "files": files}
    except (OSError, KeyError):
        return {}
