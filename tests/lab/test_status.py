"""
`floatingip status` on the workers of a region, before, during and after misfortunes: what it says, and how soon; and
that `floatingip doctor` finds nothing where all is well.

One region serves all tests, of which the last one takes it down.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.model import Carry
from floatingip.core.overview import NO_EC2
from lab.ec2 import PROFILES
from lab.ec2.server import REGION
from lab.history import History
from lab.run import nemesis
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import Region
from tests.lab.planted import PATIENCE, findings

ANSWERS_WITHIN = 5.0
"""Seconds, whoever is silent."""

PAUSE = 1.0
"""Seconds until it is asked anew: it takes more processor time than what it asks for."""


@dataclass
class Fleet:
    """A deployed region, and its command line."""

    region: Region
    directory: Path
    more: Mapping[str, object] = field(default_factory=dict)

    def status(self, machine: Machine, *options: str) -> "subprocess.CompletedProcess[str]":
        """`floatingip status` on a worker, as in its pod there; it has answered in time."""
        settings = self.directory / "settings.yaml"
        values = {**self.region.settings, **self.more}
        settings.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))
        environment = {
            "AWS_ENDPOINT_URL_EC2": self.region.ec2.endpoint_url,
            "FLOATING_IP": ",".join(floating.target for floating in self.region.floating),
        }
        pairs = [f"{key}={value}" for key, value in environment.items()]
        command = [sys.executable, "-m", "floatingip", "status", "--settings", str(settings), *options]
        version = [sys.executable, "-m", "floatingip", "--version"]
        began = time.monotonic()
        machine.worker.namespace.run(version)
        # How busy this machine is, is nobody's fault.
        began, start = time.monotonic(), time.monotonic() - began
        process = machine.worker.namespace.popen(
            ["env", *pairs, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - began
        assert self.more or took - start < ANSWERS_WITHIN, f"{took:.1f} s of which {start:.1f} s to start: {out}{err}"
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def shown(self, machine: Machine) -> tuple[int, dict[str, Any]]:
        """The exit code, and what `--json` says."""
        done = self.status(machine, "--json")
        return done.returncode, json.loads(done.stdout)

    def until(self, machine: Machine, code: int, seconds: float = 20.0) -> dict[str, Any]:
        """What it says when its exit code is this one."""
        deadline = time.monotonic() + seconds
        while (found := self.shown(machine))[0] != code:
            assert time.monotonic() < deadline, found
            time.sleep(PAUSE)
        return found[1]


@pytest.fixture(name="fleet", params=list(Carry), scope="module")
def _fleet(
    in_sandbox: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Fleet]:
    with ExitStack() as stack:
        history = stack.enter_context(History())
        settings = {"carry": str(request.param)}
        region = stack.enter_context(Region(PROFILES["instant"], history, seed=1, settings=settings))
        region.deploy()
        yield Fleet(region, tmp_path_factory.mktemp("status"))


def test_the_doctor_finds_nothing_where_all_is_well(fleet: Fleet) -> None:
    """
    Nor is anything unknown, on the holder and on the standby, beside their observers.

    But where addresses move, this one had better be reserved.
    """
    unreserved = {"reservation"} if fleet.region.carry == Carry.ADDRESS else set()
    for machine in fleet.region.machines.values():
        deadline = time.monotonic() + PATIENCE
        while wrong := [
            each
            for each in findings(fleet.region, machine)
            if each["verdict"] != "ok" and each["check"] not in unreserved
        ]:
            assert time.monotonic() < deadline, wrong
            time.sleep(PAUSE)


def test_status_with_ec2_down_answers_with_what_the_agents_know(fleet: Fleet) -> None:
    """And says what it could not learn."""
    region = fleet.region
    holder, [standby] = region.holder(), region.standbys()
    with region.ec2.faults.refuse():
        for machine in (holder, standby):
            code, told = fleet.shown(machine)
            [address] = told["addresses"]
            assert (address["node"], address["health"]) == (holder.name, "up")
            assert told["unknown"][0].startswith("what EC2 says now: ")
            is_late = "no answer within" in told["unknown"][0]
            assert is_late or (code, address["findings"][0].startswith(f"{NO_EC2}: ")) == (10, True)
    text = fleet.status(standby).stdout
    assert f"{FLOATING_IP}: " in text
    assert holder.instance.instance_id in text


def test_status_from_elsewhere_is_ec2s_view_and_says_so(fleet: Fleet) -> None:
    """With Region, VPC and name nobody but EC2 is asked."""
    region, holder = fleet.region, fleet.region.holder()
    _, told = fleet.shown(holder)
    fleet = replace(fleet, more={"name": told["name"]})
    done = fleet.status(holder, "--region", REGION, "--vpc-id", region.ec2.vpc_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert holder.instance.instance_id in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.startswith("not learned: ")]
    assert "EC2's view only" in line


def test_status_where_no_observer_runs_asks_the_others(fleet: Fleet) -> None:
    """EC2 names the holder; a node without an observer of its own is what is found there."""
    region = fleet.region
    holder, [standby] = region.holder(), region.standbys()
    region.cluster.freeze_node(standby.name)
    try:
        told = fleet.until(standby, 10)
    finally:
        region.cluster.thaw_node(standby.name)
    [address] = told["addresses"]
    assert address["holder"] == holder.instance.instance_id
    [silent] = [each for each in told["observers"] if each["instance"] == standby.instance.instance_id]
    assert silent["problem"]


def test_status_before_during_and_after_a_power_cut(fleet: Fleet) -> None:
    """Each time the holder by both its names, who could take over and why not, and what moved by which rule."""
    region = fleet.region
    holder, [standby] = region.holder(), region.standbys()
    for machine in (holder, standby):
        told = fleet.until(machine, 0)
        [address] = told["addresses"]
        assert (address["address"], address["holder"]) == (FLOATING_IP, holder.instance.instance_id)
        assert (address["node"], address["health"], address["findings"]) == (holder.name, "up", [])
        assert 0 < address["round_trip"] < 1
        assert [(each["node"], each["can_take_over"]) for each in address["standbys"]] == [(standby.name, True)]
        # On a busy machine the SDK alone takes that long to load.
        assert [each for each in told["unknown"] if "no answer within" not in each] == []
    nemesis.cut_power(region, holder)
    code, during = fleet.shown(standby)
    assert (code, during["addresses"][0]["verdict"]) in [(10, "degraded"), (11, "down")]
    after = fleet.until(standby, 10)
    [address] = after["addresses"]
    assert (address["node"], address["verdict"]) == (standby.name, "degraded")
    assert any(each.startswith("no standby could take it over: ") for each in address["findings"])
    [gone] = [each for each in address["standbys"] if each["instance"] == holder.instance.instance_id]
    assert not gone["can_take_over"]
    move = address["moves"][-1]
    assert (move["rule"], move["source"], move["result"]) == ("R3", holder.instance.instance_id, "done")
    assert (move["to"], address["moves_in_ten_minutes"] >= 1) == (standby.instance.instance_id, True)
    assert {"detect", "duration"} <= move["seconds"].keys()
