"""What is said of the answers of `status` and `doctor` during a misfortune; and that nothing is, in some of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.run.asking import faults
from lab.run.machine import Machine
from lab.run.play import run
from lab.run.region import Region
from lab.run.scenario import Scenario, nothing_moves
from lab.run.scenarios import SCENARIOS

TARGET = "10.0.0.100"


def status(
    verdict: str = "healthy", *, holder: str = "i-a", code: int = 0, ec2: str = "", **more: Any
) -> dict[str, Any]:
    """What it answered at 100 s, within two."""
    address = {"address": TARGET, "holder": holder, "verdict": verdict}
    out = {"verdict": verdict, "addresses": [address], "unknown": [f"what EC2 says now: {ec2}"] if ec2 else []}
    return asked("status", code=code, out=json.dumps(out), **more)


def doctor(
    verdict: str = "ok", what: str = "", remedy: str = "", *, code: int = 0, check: str = "ec2"
) -> dict[str, Any]:
    """The same, with one finding."""
    return asked(
        "doctor", code=code, out=json.dumps([{"check": check, "verdict": verdict, "what": what, "remedy": remedy}])
    )


def asked(event: str, *, code: int | None, out: str = "", err: str = "") -> dict[str, Any]:
    """As it is recorded."""
    told = {"source": "asked", "event": event, "node": "worker-a", "instance": "i-a", "t": 102.0}
    return {**told, "asked": 100.0, "seconds": 2.0, "code": code, "out": out, "err": err}


def attempts(*, ok: bool) -> list[dict[str, Any]]:
    """A client that asked all the time."""
    told = {"source": "client", "event": "attempt", "client": f"out {TARGET}", "ok": ok}
    return [{**told, "t": float(at), "started": float(at)} for at in range(70, 104)]


def attached(instance: str, at: float = 10.0) -> dict[str, Any]:
    """EC2 gives the address to an instance."""
    told = {"source": "ec2", "event": "attachment", "eni": "eni-1", "addresses": [TARGET], "status": "attached"}
    return {**told, "instance": instance, "t": at}


CALL = {"source": "ec2", "event": "call", "caller": "i-a", "error": None, "t": 101.0}
REFUSED = {**CALL, "error": "refused"}


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ([], "nobody answered"),
        ([asked("doctor", code=None)], "did not end"),
        ([asked("status", code=1, err="Traceback (most recent call last)")], "a traceback"),
        ([asked("status", code=3, err="floatingip status: EC2 does not answer\n")], ""),
        ([CALL, status(), attached("i-a")], ""),
        ([CALL, status(code=10), attached("i-a")], "exit code 10 for healthy"),
        ([CALL, status(), attached("i-a"), *attempts(ok=False)], "calls 10.0.0.100 healthy"),
        ([CALL, status(), attached("i-a"), *attempts(ok=True)], ""),
        (
            [CALL, status(), attached("i-a"), attached("i-b", 90.0)],
            "calls i-a the holder of 10.0.0.100, which EC2 gives to i-b",
        ),
        ([CALL, status(), attached("i-a"), attached("i-b", 99.0)], ""),
        ([REFUSED, status(), attached("i-a")], "does not say that EC2 did not answer"),
        ([REFUSED, status("degraded", code=10, ec2="no answer"), attached("i-b")], ""),
        ([CALL, doctor()], ""),
        ([REFUSED, doctor()], "calls EC2 well"),
        ([REFUSED, doctor("fail", "no answer", "let this node reach it", code=1)], ""),
        ([CALL, doctor("fail", "no answer", code=1)], "ec2: no answer -> "),
        ([CALL, doctor("warn", "not known: a defect of the doctor's: KeyError", "x", check="nft")], "a defect of"),
        ([CALL, doctor("warn", "slow", "x", code=1, check="imds")], "exit code 1 for what it says"),
    ],
)
def test_what_is_false_or_missing_is_a_fault(history: list[dict[str, Any]], said: str) -> None:
    """By what clients and EC2 say of the same time."""
    found = faults(history, Carry.ENI)
    assert len(found) == bool(said)
    assert said in "".join(found)


def silence_api_server(region: Region, _machine: Machine) -> None:
    """It closes each connection without an answer."""
    region.api.down = True


API_SILENT = Scenario("api-silent", "the API server answers nobody", silence_api_server, nothing_moves, lasts=6.0)
LONG = ("power-cut", "partition", "standby-frozen", "imds-hangs")
"""By `make test-more` EC2 is silent, or Kubernetes is; and by `make test-long` one of each other kind: the holder is
gone, or cut off; a standby's observer stands still; IMDS is silent.  All: `python -m lab run NAME --asking`.
"""


@pytest.mark.parametrize(
    "scenario",
    [
        *(pytest.param(scenario, marks=pytest.mark.more) for scenario in (SCENARIOS["ec2-hangs"], API_SILENT)),
        *(pytest.param(SCENARIOS[name], marks=pytest.mark.long) for name in LONG),
    ],
    ids=lambda scenario: scenario.name,
)
def test_status_and_doctor_answer_whatever_is_silent(in_sandbox: None, scenario: Scenario, tmp_path: Path) -> None:
    """On every worker, before, during and after."""
    history = tmp_path / "history.jsonl"
    verdict = run(scenario, PROFILES["instant"], seed=1, carry=Carry.ADDRESS, record_to=history, asks=True)
    assert verdict.ok, "\n".join([*verdict.faults, f"see {history}"])
