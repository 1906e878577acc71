"""
What is measured: the cells of the tables, and for each the floor that no implementation could be below.

Pure.  A cell is one row: what fails, how the address is carried, how long EC2 takes.  Every run of it is a process of
its own, in a sandbox of its own (`command`), with its own seed, and leaves one JSON object behind.

The floor is what detection takes at most with the settings' defaults, and what EC2 itself takes by the profile.  The
rest of an outage is the product's own share; where a failure is found sooner than the bound, that share is negative.
EC2's answering times (10 to 30 ms a call in `typical`) count as the product's own: how often it asks is its choice.
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
"""What stands in the product's place, to compare it with; its program and Debian's package are called so."""

KEEPALIVED_FAILURES = ("power-cut", "kernel-hang")
ADDRESSES = (1, 10, 50)

FLOATING_IP = "10.0.0.100"
ELASTIC_IP = "eip"

ADVERT = 1.0
"""Seconds between two VRRP advertisements."""

STANDBY_PRIORITY = 100
"""Of keepalived's backup; the master has 150."""

DRY = " (dry run)"
"""What the name of an action ends with where it was only asked whether it would be allowed."""

RUN_WITHIN = 300.0
"""Seconds after which a run is given up, and counts as failed."""

_DEFAULTS = Settings(())


class Cell(Protocol):
    """One row of a table."""

    @property
    def name(self) -> str:
        """That of its file in the results."""

    @property
    def runs(self) -> int | None:
        """How often it is run whatever was asked for; None for as often as was asked for."""

    @property
    def program(self) -> str | None:
        """What it needs beside what the lab does."""

    @property
    def parameters(self) -> dict[str, object]:
        """All that its outcome depends on, beside the code."""

    def command(self, seed: int, result: Path) -> list[str]:
        """The process that runs it once and writes `result`."""

    def outcome(self, found: dict[str, object]) -> dict[str, object]:
        """What is kept of that result."""


@dataclass(frozen=True)
class Failover:
    """Outages of clients.  `ip` is the floating address, or `eip`."""

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
        """What carries the address in the product's place."""
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
        """Seconds: detection at its latest, and EC2's own time."""
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
        """The figures of a verdict, with what is left of the outage above the floor."""
        kept = {key: found[key] for key in ("outage_s", "total_outage_s", "detection_s", "ec2_s", "verdict", "faults")}
        return {**kept, "floor_s": self.floor, "own_s": round(float(str(found["total_outage_s"])) - self.floor, 3)}


@dataclass(frozen=True)
class Peace:
    """What a pair of agents costs while nothing happens, `seconds` long.  Measured once: it is a mean already."""

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
        """All of it."""
        return found


def cells(seconds: float) -> list[Cell]:
    """All there are; those about cost take `seconds` each."""
    failovers = [Failover(failure, carry, ec2) for failure in FAILURES for carry in CARRIES for ec2 in MEASURED_EC2]
    elastic = [Failover("power-cut", "address", ec2, ELASTIC_IP) for ec2 in MEASURED_EC2]
    peers = [Failover(failure, KEEPALIVED, ec2) for failure in KEEPALIVED_FAILURES for ec2 in MEASURED_EC2]
    peace = [Peace(carry, count, seconds) for carry in CARRIES for count in ADDRESSES if held_by_a_pair(carry, count)]
    return [*peace, *failovers, *elastic, *peers]


def missing(programs: Iterable[str]) -> str:
    """What to say of those that are not installed; empty where all are."""
    lacking = " ".join(program for program in programs if shutil.which(program) is None)
    return f"bench: no {lacking}: install {lacking} (as root: apt-get install {lacking})" if lacking else ""


def held_by_a_pair(carry: str, addresses: int) -> bool:
    """Fifty ENIs fit on no pair of instances with one network card."""
    return carry == "address" or addresses <= 10


def detection(failure: str) -> float:
    """Seconds from the end of the service until the verdict, at most.

    A dead node: an interval until the first probe that is lost, and then the span of those that convict.  A terminated
    one is convicted by EC2's word with one lost probe.  A handover loses no time to detection: the holder serves.
    """
    if failure == "handover":
        return 0.0
    if failure == "node-terminated":
        return _DEFAULTS.probe_interval + _DEFAULTS.probe_timeout
    return _DEFAULTS.probe_interval + _DEFAULTS.conviction_span


def injected(failure: str, carry: str, profile: Profile) -> float:
    """Seconds that EC2 takes between verdict and service.

    A secondary address leaves its old holder only when the new one has it, so a handover of it need not cost anything.
    A hung kernel lets go of its ENI only when forced, which is waited for as the settings have it.
    """
    if carry == "address":
        return 0.0 if failure == "handover" else profile.assign
    attach = profile.attach + profile.device
    if failure == "kernel-hang":
        return _DEFAULTS.force_after + profile.force_detach + attach
    return profile.detach + attach


def keepalived_detection() -> float:
    """Seconds from a master's last word until its backup takes over, at most: three adverts and the skew (RFC 5798)."""
    return 3 * ADVERT + (256 - STANDBY_PRIORITY) * ADVERT / 256
