"""
What a pair of agents costs in peace: CPU, memory, threads, EC2 calls; and how long a start takes.

The agents run in the lab as deployed, without clients: the kernel alone handles the addresses' traffic.  EC2 answers at
once (`instant`), so the start shows the agents' own time.  Two observers hold the addresses, as they have spread them.

    python -m bench.cost --carry eni --addresses 10 --seconds 60 --json FILE
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.cells import DRY
from lab import sandbox
from lab.ec2 import PROFILES
from lab.history import Event, History
from lab.run.account import logged_at
from lab.run.machine import Machine
from lab.run.region import Region

INSTANCE_TYPE = "m5.24xlarge"
"""The most ENI slots on one network card, 14 beside the primary ENI's, and 50 IPv4 addresses on each."""

MARK = 0x7F
"""The setting `mark`, with room for more than seven addresses."""

SETTLES_IN = 15.0
"""Seconds after the start that do not count as peace yet: announcements, the rehearsal, the first looks."""

REHEARSALS_PER_HOUR = 6
"""Rounds of dry runs in an hour.  The one at the start is counted, and stands for each of them."""

CONTAINER = "observer"


@dataclass(frozen=True)
class Usage:
    """The seconds of CPU that a process has used so far, with those of its children that have ended."""

    at: float
    cpu: float


def usage(process: int) -> Usage:
    """The usage by /proc/PID/stat (proc_pid_stat(5)): utime, stime, cutime and cstime."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return Usage(time.monotonic(), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))


def status(process: int) -> dict[str, str]:
    """The lines of /proc/PID/status."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def observer(region: Region, machine: Machine) -> int:
    """The process id of the machine's observer."""
    return region.cluster.container_process(region.cluster.pod_on(machine.name).name, CONTAINER)


def measure(carry: str, addresses: int, seconds: float, seed: int) -> dict[str, object]:
    """Deploy, wait for peace, and measure for so many seconds.  Raises TimeoutError if an address has no holder in
    time.
    """
    wanted = [f"10.0.0.{100 + number}" for number in range(addresses)]
    settings = {"mark": MARK, "carry": carry}
    with (
        History() as history,
        Region(
            PROFILES["instant"],
            history,
            seed=seed,
            addresses=wanted,
            settings=settings,
            instance_type=INSTANCE_TYPE,
        ) as region,
    ):
        region.deploy()
        time.sleep(SETTLES_IN)
        processes = {machine.name: observer(region, machine) for machine in region.machines.values()}
        began, before = time.time(), {name: usage(process) for name, process in processes.items()}
        time.sleep(seconds)
        agents = []
        for name, process in processes.items():
            now, shown = usage(process), status(process)
            calls = [event for event in history.events() if _calls(event, region.machines[name].instance.instance_id)]
            agents.append(
                {
                    "holds": sum(region.holder(floating).name == name for floating in region.floating),
                    "cpu_percent": round(100 * (now.cpu - before[name].cpu) / (now.at - before[name].at), 2),
                    "rss_mib": round(int(shown["VmRSS"].split()[0]) / 1024, 1),
                    "threads": int(shown["Threads"]),
                    "calls_per_hour": per_hour(calls, began, seconds),
                }
            )
        return {"agents": agents, "start_s": starts(history.events(), wanted)}


def per_hour(calls: Sequence[Event], began: float, seconds: float) -> dict[str, float]:
    """EC2 calls per hour, by action: those in peace, extrapolated; dry runs by their first round."""
    real = Counter(str(call["action"]) for call in calls if not _is_dry(call) and call["began"] >= began)
    dry = Counter(f"{call['action']}{DRY}" for call in calls if _is_dry(call) and call["began"] < began)
    rates = {action: round(count * 3600 / seconds, 1) for action, count in real.items()}
    rounds = {action: float(count * REHEARSALS_PER_HOUR) for action, count in dry.items()}
    return dict(sorted({**rates, **rounds}.items()))


def starts(events: Sequence[Event], addresses: Sequence[str]) -> float | None:
    """Seconds from the start of `attach` until an address is plumbed: the median of all addresses."""
    began = {event["node"]: event["t"] for event in reversed(events) if event["event"] == "pod" and _begins(event)}
    plumbed = {
        event["fields"]["address"]: logged_at(event) - began[event["node"]]
        for event in reversed(events)
        if event["source"] == "agent" and event["fields"].get("event") == "plumbed"
    }
    found = [plumbed[address] for address in addresses if address in plumbed]
    return round(median(found), 3) if found else None


def _begins(event: Event) -> bool:
    return bool(event["phase"] == "Init" and event["detail"] == "attach")


def _calls(event: Event, instance: str) -> bool:
    return bool(event["source"] == "ec2" and event["event"] == "call" and event["caller"] == instance)


def _is_dry(call: Event) -> bool:
    return bool(call["params"].get("DryRun") == "true")


def main(arguments: Sequence[str]) -> int:
    """Measure once, in a sandbox."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description="What a pair of agents costs in peace.")
    parser.add_argument("--carry", choices=("eni", "address"), default="eni", help="how addresses are carried")
    parser.add_argument("--addresses", type=int, default=1, help="how many")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="makes latencies repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args(arguments)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.cost", *arguments])
    text = json.dumps(measure(options.carry, options.addresses, options.seconds, options.seed), indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
