"""What must be said of a planted fault: by `floatingip doctor`, at `/readyz` and in the log, in the same words."""

import http.client
import json
import time
from dataclasses import dataclass

import pytest

from lab.run.asking import in_pod
from lab.run.machine import Machine
from lab.run.region import Region

PATIENCE = 120.0
"""Seconds within which all three must have said so: what lasts for 30 s is warned of, and this machine may be busy."""


@dataclass(frozen=True)
class Fault:
    """What must be said on the node ``where``: by the doctor's ``check``, at `/readyz` and in the log."""

    where: str
    check: str
    cause: str
    remedy: str


@dataclass
class Planted:
    """A region in trouble; ``at`` are its machines by what is wrong there."""

    region: Region
    at: dict[str, Machine]

    def expect(self, fault: Fault) -> None:
        """Wait until all three name the fault."""
        deadline = time.monotonic() + PATIENCE
        while lacking := self._lacking(fault):
            if time.monotonic() > deadline:
                pytest.fail("\n".join(lacking))
            time.sleep(1.0)

    def _lacking(self, fault: Fault) -> list[str]:
        machine = self.at[fault.where]
        logged = [e["fields"].get("msg", "") for e in self.region.logged() if e["node"] == machine.name]
        # The doctor comes last: it costs most.
        for name, said in (
            ("/readyz", lambda: [readyz(machine, self.region)]),
            ("the log", lambda: logged),
            ("the doctor", lambda: doctor(self.region, machine, fault.check)),
        ):
            lines = said()
            if not any(fault.cause in line and fault.remedy in line for line in lines):
                return [f"{name} of {machine.name} lacks {fault.cause!r} with {fault.remedy!r}:", *lines]
        return []


def readyz(machine: Machine, region: Region) -> str:
    """What its observer answers the kubelet."""

    def ask() -> str:
        connection = http.client.HTTPConnection(machine.worker.address, 9807, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    try:
        return machine.worker.namespace.call(ask)
    except OSError as error:
        return f"{type(error).__name__}: {[pod.phase for pod in region.cluster.pods()]}"


def doctor(region: Region, machine: Machine, check: str) -> list[str]:
    """What a check says that fails there, with what to do."""
    try:
        found = findings(region, machine)
    except LookupError as error:
        return [str(error)]
    return [f"{e['what']} -> {e['remedy']}" for e in found if (e["check"], e["verdict"]) == (check, "fail")]


def findings(region: Region, machine: Machine) -> list[dict[str, str]]:
    """All that the doctor says in the pod there.  Raises LookupError where there is none."""
    process = in_pod(region, machine, "doctor", "--json", "--within=60")
    out, err = process.communicate(timeout=PATIENCE)
    assert out, err
    found: list[dict[str, str]] = json.loads(out)
    assert process.returncode == any(each["verdict"] == "fail" for each in found)
    return found
