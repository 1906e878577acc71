"""`floatingip doctor` in the lab's VPC where nothing is wrong; what is planted there, test_planted.py has."""

import json
import time
from collections.abc import Iterator

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.run.asking import in_pod
from lab.run.machine import Machine
from lab.run.region import Region

PATIENCE = 60.0
"""Seconds within which the doctor must have said so: on a busy machine what it asks for may not come in time."""

Findings = list[dict[str, str]]


@pytest.fixture(name="region", scope="module")
def _region(in_sandbox: None) -> Iterator[Region]:
    with History() as history, Region(PROFILES["instant"], history, settings={"service": "tcp:30007"}) as region:
        region.deploy()
        yield region


def doctor(region: Region, machine: Machine) -> Findings:
    """`kubectl exec POD -c observer -- floatingip doctor --json` on this machine."""
    process = in_pod(region, machine, "doctor", "--json", f"--within={PATIENCE}")
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert out, err
    found: Findings = json.loads(out)
    assert process.returncode == any(each["verdict"] == "fail" for each in found)
    return found


def test_nothing_is_wrong_where_all_is_well(region: Region) -> None:
    """Nor is anything unknown, on the holder and on the standby, beside their observers."""
    for machine in region.machines.values():
        deadline = time.monotonic() + PATIENCE
        while wrong := [each for each in doctor(region, machine) if each["verdict"] != "ok"]:
            assert time.monotonic() < deadline, wrong
