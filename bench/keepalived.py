"""
A run of keepalived in the lab, as its users set it up on EC2: in the product's place, with the same network, EC2
endpoint, clients and failures.

Two workers, unicast VRRP between their primary addresses with an advert a second, a master and a backup; keepalived
has the address on eth0 of the master, and the notify script (notify.py) makes it a secondary address of the master's
primary ENI.  As there is no second ENI, it needs no marks and no routing of its own.

In two ways it is better off than most users' setups: the script runs already (notify.py), and the address is announced
every second.  By default the second announcement comes after 5 s, and the first one before EC2 has moved the address.

    python -m bench.keepalived power-cut --ec2 typical --seed 1 --json FILE
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.cells import ADVERT, FLOATING_IP, KEEPALIVED, KEEPALIVED_FAILURES, STANDBY_PRIORITY, missing
from lab import sandbox
from lab.ec2 import PROFILES, Profile
from lab.history import Event, History, parse_logfmt
from lab.run import nemesis
from lab.run.account import Run, logged_at
from lab.run.machine import Machine
from lab.run.manifests import ROOT
from lab.run.region import Region
from lab.run.verdict import Expectation

MASTER_PRIORITY = 150
READY_WITHIN = 30.0
"""Seconds within which clients must get answers at the start, and again at the end."""

WATCHED_FOR = 2.5
"""Seconds for which all is well before the failure, so that the backup has heard adverts."""

QUIET = 2.0
"""Seconds for which clients must get answers before a run is over."""

_CONFIGURATION = """
global_defs {{
    router_id {name}
    vrrp_notify_fifo {fifo}
}}
vrrp_instance floating {{
    state {state}
    interface eth0
    virtual_router_id 51
    priority {priority}
    advert_int {advert:g}
    garp_master_refresh 1
    unicast_src_ip {own}
    unicast_peer {{
        {other}
    }}
    virtual_ipaddress {{
        {address}/32 dev eth0
    }}
}}
"""


class Pair:
    """keepalived and its notify script on both machines of a region; they die with their machine's power."""

    def __init__(self, region: Region, directory: Path) -> None:
        self._region = region
        self._directory = directory
        self._processes: dict[str, list[subprocess.Popen[str]]] = {}

    def start(self) -> None:
        """Start the scripts, wait until they are ready, and start keepalived.  Raises TimeoutError."""
        master, backup = machines = tuple(self._region.machines.values())
        for machine in machines:
            subprocess.run(["mkfifo", str(self._file(machine, "fifo"))], check=True)
            self._run(machine, *self._notify(machine))
        await_(lambda: len(self._region.logged(event="ready")) == len(machines), "the notify scripts did not start")
        for machine, other, state, priority in (
            (master, backup, "MASTER", MASTER_PRIORITY),
            (backup, master, "BACKUP", STANDBY_PRIORITY),
        ):
            configuration = _CONFIGURATION.format(
                name=machine.name,
                fifo=self._file(machine, "fifo"),
                state=state,
                priority=priority,
                advert=ADVERT,
                own=machine.worker.address,
                other=other.worker.address,
                address=FLOATING_IP,
            )
            self._file(machine, "conf").write_text(configuration, encoding="utf-8")
            self._run(machine, *self._keepalived(machine))

    def freeze(self, machine: Machine) -> None:
        """Stop the processes on this machine, as a hung kernel does."""
        for process in self._processes[machine.name]:
            os.killpg(process.pid, signal.SIGSTOP)

    def _notify(self, machine: Machine) -> list[str]:
        return [
            *("env", f"AWS_ENDPOINT_URL_EC2={self._region.ec2.endpoint_url}"),
            *(sys.executable, "-m", "bench.notify", str(self._file(machine, "fifo"))),
            *("--eni", machine.instance.eni_id, "--address", FLOATING_IP, "--region", machine.instance.region),
        ]

    def _keepalived(self, machine: Machine) -> list[str]:
        return [
            *(KEEPALIVED, "--dont-fork", "--log-console", "--vrrp"),
            *("--use-file", str(self._file(machine, "conf"))),
            *("--pid", str(self._file(machine, "pid")), "--vrrp_pid", str(self._file(machine, "vrrp.pid"))),
        ]

    def _file(self, machine: Machine, suffix: str) -> Path:
        return self._directory / f"{machine.name}.{suffix}"

    def _run(self, machine: Machine, *command: str) -> None:
        process = machine.worker.popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        self._processes.setdefault(machine.name, []).append(process)
        threading.Thread(target=self._read, args=(machine, process), daemon=True).start()

    def _read(self, machine: Machine, process: subprocess.Popen[str]) -> None:
        about = {"source": "agent", "event": "log", "node": machine.name, "pod": KEEPALIVED, "container": ""}
        for line in process.stdout or ():
            self._region.history.record({**about, "line": line.rstrip("\n"), "fields": parse_logfmt(line)})


def await_(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait until the condition is true.  Raises TimeoutError with the message `otherwise`."""
    deadline = time.monotonic() + READY_WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {READY_WITHIN:g} s")
        time.sleep(0.05)


def run(failure: str, profile: Profile, seed: int, record_to: Path | None = None) -> dict[str, object]:
    """One failure of the master; returns the figures of the lab's verdict.  Raises TimeoutError if nothing comes up."""
    with (
        tempfile.TemporaryDirectory() as directory,
        History(record_to) as history,
        Region(profile, history, seed=seed, addresses=(FLOATING_IP,)) as region,
    ):
        pair = Pair(region, Path(directory))
        pair.start()
        await_(lambda: bool(region.logged(event="assigned")), "keepalived made no master")
        time.sleep(profile.assign)
        region.clients.measure("out", "in")
        await_(lambda: answered_by(region, 0.0) == region.clients.names, "the master did not answer")
        time.sleep(WATCHED_FOR)
        master = next(iter(region.machines.values()))
        history.record({"source": "nemesis", "event": "begin", "name": failure, "target": master.name})
        if failure == "power-cut":
            nemesis.cut_power(region, master)
        else:
            nemesis.hang_kernel(region, master)
            pair.freeze(master)
        struck = time.time()
        # The old master may still answer attempts that are under way.
        await_(lambda: answered_by(region, struck + profile.assign + ADVERT) == region.clients.names, "no answer")
        time.sleep(QUIET)
        region.clients.stop()
        return outcome(history, struck)


def answered_by(region: Region, since: float) -> set[str]:
    """The clients that got an answer to an attempt after that time."""
    return {
        str(event["client"])
        for event in region.history.events()
        if event["event"] == "attempt" and event["ok"] and event["started"] > since
    }


def outcome(history: History, struck: float) -> dict[str, object]:
    """The figures of a run, as the lab's checker measures them."""
    events = history.events()
    seen = Run(events, Expectation(KEEPALIVED, "", FLOATING_IP))
    took = [
        event["t"]
        for event in events
        if event["event"] == "address" and event["status"] == "assigned" and event["t"] > struck
    ]
    asked = [logged_at(event) for event in events if _says(event, "takeover") and event["t"] > struck]
    faults = [f"client {outage.client}: an unfinished outage" for outage in seen.outages if outage.until is None]
    if not asked:
        faults.append("no notify script was told of a new master")
    return {
        "outage_s": round(seen.outage_s, 3),
        "total_outage_s": round(seen.total_outage_s, 3),
        "detection_s": None if seen.detection_s is None else round(seen.detection_s, 3),
        "ec2_s": round(took[0] - asked[0], 3) if took and asked else 0.0,
        "verdict": "faulty" if faults else "ok",
        "faults": faults,
    }


def _says(event: Event, what: str) -> bool:
    return bool(event["source"] == "agent" and event["fields"].get("event") == what)


def main(arguments: Sequence[str]) -> int:
    """Run once, in a sandbox; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m bench.keepalived", description="keepalived in the lab.")
    parser.add_argument("failure", choices=KEEPALIVED_FAILURES)
    parser.add_argument("--ec2", choices=tuple(PROFILES), default="typical", help="how long EC2 takes")
    parser.add_argument("--seed", type=int, default=0, help="makes latencies repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome there")
    parser.add_argument("--history", type=Path, metavar="FILE", help="write all events there, one JSON object a line")
    options = parser.parse_args(arguments)
    if not sandbox.inside():
        return sandbox.enter([sys.executable, "-m", "bench.keepalived", *arguments])
    if said := missing([KEEPALIVED]):
        print(said, file=sys.stderr)
        return 2
    found = run(options.failure, PROFILES[options.ec2], options.seed, options.history)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if found["verdict"] == "ok" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
