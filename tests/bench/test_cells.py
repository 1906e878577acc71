"""The cells of the bench, and the floors that outages are held to."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cells import ELASTIC_IP, Failover, cells, injected, keepalived_detection
from floatingip.core.settings import Settings
from lab.ec2 import PROFILES

DEFAULTS = Settings(())
TYPICAL = PROFILES["typical"]


def test_every_cell_has_a_file_of_its_own() -> None:
    """No two have one name."""
    names = [cell.name for cell in cells(60.0)]
    assert len(set(names)) == len(names)


def test_each_failure_is_measured_both_ways_and_at_both_speeds() -> None:
    """Failures, ways to carry and profiles, and the Elastic IP and keepalived beside them."""
    found = {(cell.failure, cell.carry, cell.ec2, cell.ip) for cell in cells(60.0) if isinstance(cell, Failover)}
    for ec2 in ("instant", "typical"):
        for carry in ("eni", "address"):
            for failure in ("power-cut", "kernel-hang", "node-terminated", "handover"):
                assert (failure, carry, ec2, "10.0.0.100") in found
        for failure in ("power-cut", "kernel-hang"):
            assert (failure, "keepalived", ec2, "10.0.0.100") in found
        assert ("power-cut", "address", ec2, ELASTIC_IP) in found


def test_the_floor_of_a_dead_node_is_detection_and_what_ec2_takes() -> None:
    """The bound of detection is a probe's interval and the span of the losses that convict."""
    found = Failover("power-cut", "address", "typical").floor
    assert found == pytest.approx(DEFAULTS.probe_interval + DEFAULTS.conviction_span + TYPICAL.assign)


def test_ec2s_own_time_is_no_part_of_an_instant_floor() -> None:
    """What is left is detection, the same for both ways."""
    for carry in ("eni", "address"):
        floor = Failover("power-cut", carry, "instant").floor
        assert floor == pytest.approx(DEFAULTS.probe_interval + DEFAULTS.conviction_span)


def test_a_hung_kernels_eni_is_waited_for_until_it_is_forced() -> None:
    """An address is taken from it at once."""
    eni = injected("kernel-hang", "eni", TYPICAL)
    assert eni == DEFAULTS.force_after + TYPICAL.force_detach + TYPICAL.attach + TYPICAL.device
    assert injected("kernel-hang", "address", TYPICAL) == TYPICAL.assign


def test_a_handover_of_an_address_need_not_cost_anything() -> None:
    """The old holder serves until EC2 has moved it; an ENI is gone meanwhile."""
    assert Failover("handover", "address", "typical").floor == 0
    assert Failover("handover", "eni", "typical").floor == TYPICAL.detach + TYPICAL.attach + TYPICAL.device


def test_keepalived_is_held_to_its_own_bound() -> None:
    """Three adverts and the skew, which is below one advert."""
    assert 3 < keepalived_detection() < 4
    assert Failover("power-cut", "keepalived", "typical").floor == pytest.approx(
        keepalived_detection() + TYPICAL.assign, abs=0.001
    )


def test_the_own_share_is_what_is_left_above_the_floor() -> None:
    """Of all outages of the client that had most."""
    cell = Failover("power-cut", "address", "instant")
    verdict = {"outage_s": 1.0, "total_outage_s": 2.0, "detection_s": 1.4, "ec2_s": 0.0, "verdict": "ok", "faults": []}
    kept = cell.outcome({**verdict, "placements": []})
    assert kept["own_s"] == pytest.approx(2.0 - cell.floor)
    assert "placements" not in kept


def test_a_run_names_everything_that_its_cell_is_about() -> None:
    """Failure, way, profile, address, seed and the file."""
    cell = Failover("kernel-hang", "address", "typical", ELASTIC_IP)
    command = " ".join(cell.command(3, Path("/somewhere/result.json")))
    for part in ("kernel-hang", "--carry address", "--ec2 typical", "--ip eip", "--seed 3", "/somewhere/result.json"):
        assert part in command
    assert "bench.keepalived" in " ".join(replace(cell, carry="keepalived").command(3, Path("x")))
