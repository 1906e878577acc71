"""
What is measured: the cells of the tables, and for each the floor, below which no implementation could be.

Pure.  A cell is one row: what fails, how the address is carried, how long EC2 takes.  Every run of a cell is a process
of its own (`command`), in a sandbox of its own, with its own seed, and writes one JSON object.

The floor is the longest time that detection takes with the default settings, plus EC2's own time by the profile.  The
rest of an outage is the product's own share; it is negative if a failure is detected sooner than at the latest.  EC2's
answering times (10 to 30 ms a call in `typical`) count as the product's own: how often it asks is its choice.
"""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from floatingip.core.settings import Settings
from lab.ec2 import PROFILES, Profile

CARRIES = ("eni", "address")
MEASURED_EC2 = ("instant", "typical")
FAILURES = ("power-cut", "kernel-hang", "node-terminated", "handover")
KEEPALIVED = "keepalived"
"""The program that replaces the product for comparison; Debian's package has the same name."""

KEEPALIVED_FAILURES = ("power-cut", "kernel-hang")
ADDRESSES = (1, 10, 50)

FLOATING_IP = "10.0.0.100"
ELASTIC_IP = "eip"

ADVERT = 1.0
"""Seconds between two VRRP advertisements."""

STANDBY_PRIORITY = 100
"""The VRRP priority of keepalived's backup; the master has 150."""

DRY = " (dry run)"
"""The end of an action's name if the call was a dry run, which only asks whether it would be allowed."""

RUN_WITHIN = 300.0
"""Seconds after which a run is ended, and counts as failed."""

_DEFAULTS = Settings(())


class Cell(Protocol):
    """One row of a table."""

    @property
    def name(self) -> str:
        """The name of the cell, and of its file in the results."""

    @property
    def runs(self) -> int | None:
        """How many runs it gets, whatever number was asked for; None if that number counts."""

    @property
    def program(self) -> str | None:
        """The program that it needs beside those of the lab; None if it needs none."""

    @property
    def parameters(self) -> dict[str, object]:
        """All that its outcome depends on, apart from the code."""

    def command(self, seed: int, result: Path) -> list[str]:
        """The command line that runs it once and writes `result`."""

    def outcome(self, found: dict[str, object]) -> dict[str, object]:
        """The part of that result that is kept."""


@dataclass(frozen=True)
class Failover:
    """A cell about clients' outages.  `ip` is the floating address, or `eip`."""

    failure: str
    carry: str
    ec2: str
    ip: str = FLOATING_IP
    runs: None = None

    @property
    def name(self) -> str:
        """Such as `power-cut-address-typical`."""
        elastic = ["eip"] if self.ip == ELASTIC_IP else []
        return "-".join([self.failure, self.carry, *elastic, self.ec2])

    @property
    def program(self) -> str | None:
        """keepalived if it carries the address in the product's place, else None."""
        return KEEPALIVED if self.carry == KEEPALIVED else None

    @property
    def parameters(self) -> dict[str, object]:
        """For the file."""
        return {
            "kind": "failover",
            "failure": self.failure,
            "carry": self.carry,
            "ec2": self.ec2,
            "ip": self.ip,
            "floor_s": self.floor,
        }

    @property
    def floor(self) -> float:
        """Seconds: the latest detection, plus EC2's own time."""
        profile = PROFILES[self.ec2]
        if self.carry == KEEPALIVED:
            return round(keepalived_detection() + profile.assign, 3)
        return round(detection(self.failure) + injected(self.failure, self.carry, profile), 3)

    def command(self, seed: int, result: Path) -> list[str]:
        """A run of the lab, or of keepalived in it."""
        options = ["--ec2", self.ec2, "--seed", str(seed), "--json", str(result)]
        if self.carry == KEEPALIVED:
            return [sys.executable, "-m", "bench.keepalived", self.failure, *options]
        how = ["--carry", self.carry, "--ip", self.ip, "--quiet"]
        return [sys.executable, "-m", "lab", "run", self.failure, *options, *how]

    def outcome(self, found: dict[str, object]) -> dict[str, object]:
        """The figures of a verdict, and how far the outage is above the floor."""
        kept = {key: found[key] for key in ("outage_s", "total_outage_s", "detection_s", "ec2_s", "verdict", "faults")}
        return {**kept, "floor_s": self.floor, "own_s": round(float(str(found["total_outage_s"])) - self.floor, 3)}


@dataclass(frozen=True)
class Peace:
    """A cell about the cost of a pair of agents while nothing happens, for `seconds`.  One run is enough: it gives
    means.
    """

    carry: str
    addresses: int
    seconds: float
    runs: int = 1

    @property
    def name(self) -> str:
        """Such as `peace-eni-10`."""
        return f"peace-{self.carry}-{self.addresses}"

    @property
    def program(self) -> None:
        """Nothing."""

    @property
    def parameters(self) -> dict[str, object]:
        """For the file."""
        return {"kind": "peace", **{key: value for key, value in asdict(self).items() if key != "runs"}}

    def command(self, seed: int, result: Path) -> list[str]:
        """A pair of agents, watched."""
        return [
            *(sys.executable, "-m", "bench.cost", "--carry", self.carry, "--addresses", str(self.addresses)),
            *("--seconds", f"{self.seconds:g}", "--seed", str(seed), "--json", str(result)),
        ]

    def outcome(self, found: dict[str, object]) -> dict[str, object]:
        """All of the result."""
        return found


def cells(seconds: float) -> list[Cell]:
    """All cells; those about cost take `seconds` each."""
    failovers = [Failover(failure, carry, ec2) for failure in FAILURES for carry in CARRIES for ec2 in MEASURED_EC2]
    elastic = [Failover("power-cut", "address", ec2, ELASTIC_IP) for ec2 in MEASURED_EC2]
    peers = [Failover(failure, KEEPALIVED, ec2) for failure in KEEPALIVED_FAILURES for ec2 in MEASURED_EC2]
    peace = [Peace(carry, count, seconds) for carry in CARRIES for count in ADDRESSES if held_by_a_pair(carry, count)]
    return [*peace, *failovers, *elastic, *peers]


def missing(programs: Iterable[str]) -> str:
    """A message about the programs that are not installed; empty if all are."""
    lacking = " ".join(program for program in programs if shutil.which(program) is None)
    return f"bench: no {lacking}: install {lacking} (as root: apt-get install {lacking})" if lacking else ""


def held_by_a_pair(carry: str, addresses: int) -> bool:
    """Whether a pair of instances has room for them: fifty ENIs fit on no pair with one network card each."""
    return carry == "address" or addresses <= 10


def detection(failure: str) -> float:
    """Seconds, at most, from the end of the service until the verdict that leads to a takeover.

    For a dead node: an interval until the first lost probe, and then the time of the further ones that convict it.  A
    terminated node is convicted by EC2's word and one lost probe.  A handover loses no time to detection: the holder
    serves on.
    """
    if failure == "handover":
        return 0.0
    if failure == "node-terminated":
        return _DEFAULTS.probe_interval + _DEFAULTS.probe_timeout
    return _DEFAULTS.probe_interval + _DEFAULTS.conviction_span


def injected(failure: str, carry: str, profile: Profile) -> float:
    """Seconds that EC2 takes from the verdict until the address is served again.

    A secondary address leaves its old holder only when the new one has it, so its handover need not cost anything.  A
    hung kernel gives up its ENI only to a forced detach, which comes after the setting's time.
    """
    if carry == "address":
        return 0.0 if failure == "handover" else profile.assign
    attach = profile.attach + profile.device
    if failure == "kernel-hang":
        return _DEFAULTS.force_after + profile.force_detach + attach
    return profile.detach + attach


def keepalived_detection() -> float:
    """Seconds, at most, from a master's last advert until its backup takes over: three intervals and the skew (RFC
    5798).
    """
    return 3 * ADVERT + (256 - STANDBY_PRIORITY) * ADVERT / 256
