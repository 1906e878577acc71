"""
Ask `floatingip status` and `floatingip doctor` on every worker that has a pod: before, during and after a misfortune.

Their answers go into the history; `faults` says what is wrong with them.  Each command must end by itself and without a
traceback, say what it could not learn, and say nothing untrue.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from floatingip.commands.status import EXIT_CODES
from floatingip.core.model import Carry
from lab.ec2 import Guest
from lab.history import Event
from lab.run import ownership
from lab.run.machine import Machine
from lab.run.region import Region

COMMANDS = ("status", "doctor")

ENDS_WITHIN = 45.0
"""Seconds after which a command counts as hanging, however busy this machine is."""

PAUSE = 1.0
"""Seconds from one round to the next: the commands take more processor time than what they ask for."""

NOTICED_WITHIN = 12.0
"""Seconds for which clients may get no answer while the address is still called healthy: five checks of a NodePort, a
second apart, three seconds until the holder's peers have told each other, and what this machine adds.
"""

SHOWN_WITHIN = 5.0
"""Seconds for which EC2 may still show a former holder: the stalest of the lab's answers is 3 s old."""

REFUSALS = {2, 3, 4, 7}
"""Exit codes with which `status` prints one line on standard error, and no table."""


def in_pod(
    region: Region, machine: Machine, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """`kubectl exec POD -c observer -- floatingip ...` on a worker, with ``environment`` added to its environment.

    Raises LookupError if there is no such pod, or its observer does not run.
    """
    process = region.cluster.container_process(region.cluster.pod_on(machine.name).name, "observer")
    try:
        pairs = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError as error:
        raise LookupError(f"the observer of {machine.name} does not run") from error
    inherited = dict(pair.decode().split("=", 1) for pair in pairs if b"=" in pair)
    enter = ["nsenter", f"--target={process}", "--mount", "--net", "--pid"]
    return subprocess.Popen(
        [*enter, sys.executable, "-m", "floatingip", *arguments],
        env={**inherited, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class Asking:
    """Asks repeatedly while the context lasts, and once more at its end."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)

    def __enter__(self) -> Self:
        self._round("before")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            self._round("after")

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self._round("during")

    def _round(self, when: str) -> None:
        for machine in self._region.machines.values():
            if machine.guest is Guest.RUNNING and not (when == "during" and self._over.is_set()):
                self._ask(machine, when)

    def _ask(self, machine: Machine, when: str) -> None:
        began, asked_at = time.monotonic(), time.time()
        try:
            begun = {what: in_pod(self._region, machine, what, "--json") for what in COMMANDS}
        except LookupError:
            return
        for what, process in begun.items():
            try:
                out, err = process.communicate(timeout=max(0.1, began + ENDS_WITHIN - time.monotonic()))
                code: int | None = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                code = None
            if machine.guest is Guest.RUNNING and (code is None or code >= 0):
                self._region.history.record(
                    {
                        "source": "asked",
                        "event": what,
                        "node": machine.name,
                        "instance": machine.instance.instance_id,
                        "when": when,
                        "asked": asked_at,
                        "seconds": time.monotonic() - began,
                        "code": code,
                        "out": out,
                        "err": err,
                    }
                )


def faults(history: Sequence[Event], carry: str) -> list[str]:
    """What is wrong with the answers in a history, in words.  Pure."""
    told = [event for event in history if event["source"] == "asked"]
    world = _World(history, carry)
    found = [f"asked: {event['event']} on {event['node']}: {what}" for event in told for what in _faults(event, world)]
    return list(dict.fromkeys(found)) if told else ["asked: nobody answered"]


@dataclass(frozen=True)
class _World:
    """What really happened, by the history."""

    history: Sequence[Event]
    carry: str

    def is_unserved(self, target: str, since: float, until: float) -> bool:
        """Whether no client of this address got an answer between these times, though some asked all the time."""
        attempts = [e for e in self.history if e["event"] == "attempt" and e["client"].endswith(f" {target}")]
        asked = [e for e in attempts if since <= e["started"] <= until]
        return bool(asked) and asked[0]["started"] - since < 1.0 and not any(e["ok"] for e in asked)

    def holders(self, target: str, since: float, until: float) -> set[str] | None:
        """The instances that had the address, by EC2, at any time between these; None for an Elastic IP, which is not
        followed here, since its interfaces are found by its tag.
        """
        if target.startswith("eipalloc-"):
            return None
        events = [e for e in self.history if e["source"] == "ec2"]
        if self.carry == Carry.ADDRESS:
            changes = ownership.of_address(events, target)
        else:
            changes = [e for e in events if e["event"] == "attachment" and target in e["addresses"]]
        named, now = set[str](), ""
        for change in (each for each in changes if each["t"] <= until):
            after = "" if change["status"] == "detached" else change["instance"]
            if change["t"] > since:
                named |= {now, after}
            now = after
        return {*named, now} - {""}

    def ec2_answered(self, instance: str, since: float, until: float) -> bool:
        """Whether any call of this instance got an answer."""
        return any(
            e["event"] == "call" and e["caller"] == instance and since <= e["t"] <= until and _is_answer(e["error"])
            for e in self.history
            if e["source"] == "ec2"
        )


def _is_answer(error: str | None) -> bool:
    """Whether a call with this error was answered: a denial is an answer, too."""
    return error is None or "Unauthorized" in error or "DryRun" in error


def _faults(event: Event, world: _World) -> Iterator[str]:
    code, out, err = event["code"], event["out"], event["err"]
    if code is None:
        yield f"did not end within {ENDS_WITHIN:g} s"
        return
    if "Traceback" in out + err:
        yield f"a traceback: {err or out}"
        return
    yield from (_doctor if event["event"] == "doctor" else _status)(event, code, out, err, world)


def _doctor(event: Event, code: int, out: str, err: str, world: _World) -> Iterator[str]:
    if code not in (0, 1) or not out:
        yield f"exit code {code}: {err}"
        return
    findings: list[dict[str, str]] = json.loads(out)
    for each in findings:
        if "a defect of the doctor's" in each["what"] or (each["verdict"] != "ok" and not each["remedy"]):
            yield f"{each['check']}: {each['what']} -> {each['remedy']}"
    if (code == 1) is not any(each["verdict"] == "fail" for each in findings):
        yield f"exit code {code} for what it says"
    until = event["asked"] + event["seconds"]
    ec2 = [each["verdict"] for each in findings if each["check"] == "ec2"]
    if ec2 == ["ok"] and not world.ec2_answered(event["instance"], event["asked"] - 1.0, until):
        yield "calls EC2 well, which answered nothing"


def _status(event: Event, code: int, out: str, err: str, world: _World) -> Iterator[str]:
    if code in REFUSALS and not out and len(err.splitlines()) == 1:
        return
    if not out or code not in EXIT_CODES.values():
        yield f"exit code {code}: {err}"
        return
    shown: dict[str, Any] = json.loads(out)
    if EXIT_CODES[shown["verdict"]] != code:
        yield f"exit code {code} for {shown['verdict']}"
    asked, until = event["asked"], event["asked"] + event["seconds"]
    says_ec2_is_silent = any("what EC2 says now: " in what for what in shown["unknown"])
    if not says_ec2_is_silent and not world.ec2_answered(event["instance"], asked - 1.0, until):
        yield "does not say that EC2 did not answer"
    for address in shown["addresses"]:
        target, holder = address["address"], address["holder"]
        if address["verdict"] == "healthy" and world.is_unserved(target, asked - NOTICED_WITHIN, until):
            yield f"calls {target} healthy, which has not answered clients for {NOTICED_WITHIN:g} s"
        named = world.holders(target, asked - SHOWN_WITHIN, until)
        if holder and named is not None and holder not in named and not says_ec2_is_silent:
            yield f"calls {holder} the holder of {target}, which EC2 gives to {', '.join(sorted(named)) or 'nobody'}"
