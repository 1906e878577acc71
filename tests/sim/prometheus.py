"""Prometheus for a fleet in simulated time: it scrapes the observers, and promtool says which alerts would fire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from http import HTTPStatus
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.sim.fleet import Fleet
from tests.sim.worker import Worker

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs" / "monitoring" / "alerts.yaml"
EVERY = 15
"""Seconds between two scrapes, and between two evaluations of the alerts."""

PROMTOOL = shutil.which("promtool", path=os.pathsep.join((str(ROOT / ".promtool"), os.environ["PATH"])))

METRICS = frozenset(re.findall(r"floatingip_\w+", ALERTS.read_text(encoding="utf-8")))
"""The metrics that any alert uses: the others would take most of the time."""

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: `make test-monitoring` gets it")


def promtool(*arguments: str | Path, text: str = "") -> None:
    """Run promtool.  Raises AssertionError with its output if it fails."""
    assert PROMTOOL is not None
    command = [PROMTOOL, *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Prometheus:
    """
    Scrapes the observers of a fleet.  ``unreached``: the workers that it does not reach; ``others``: samples of another
    deployment.

    ``expect`` notes which alerts should fire at a moment; ``judge`` checks all of these at the end.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.unreached: set[Worker] = set()
        self.others: dict[str, str] = {}
        self._fleet = fleet
        self._scrapes = 0
        self._series: dict[str, list[str]] = {}
        self._expected: list[tuple[int, frozenset[str]]] = []

    def watch(self, seconds: float) -> None:
        """Let so many seconds pass, and scrape meanwhile."""
        until = self._fleet.now + seconds
        while self._fleet.now < until:
            self._scrape()
            self._fleet.run(self._fleet.now + EVERY)

    def expect(self, *alerts: str) -> None:
        """At the last scrape these alerts should fire, and no others."""
        self._expected.append((self._scrapes - 1, frozenset(alerts)))

    def _scrape(self) -> None:
        found = dict(self.others)
        for worker in self._fleet.workers:
            found.update(self._samples(worker))
        for series in self._series.keys() | found.keys():
            values = self._series.setdefault(series, ["_"] * self._scrapes)
            ends = bool(values) and values[-1] not in ("_", "stale")
            values.append(found.get(series, "stale" if ends else "_"))
        self._scrapes += 1

    def _samples(self, worker: Worker) -> dict[str, str]:
        observer = worker.observer
        if observer is None or observer.is_paused or not worker.runs or worker in self.unreached:
            return {}
        status, text = observer.answer("/metrics", "192.0.2.1")
        assert status is HTTPStatus.OK
        samples = {}
        lines = [line for line in text.splitlines() if re.split("[{ ]", line)[0] in METRICS]
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for name, labels, value, *_ in family.samples:
                told = ",".join(f"{key}={json.dumps(of)}" for key, of in {**labels, "instance": worker.name}.items())
                samples[f"{name}{{{told}}}"] = str(value)
        return samples

    def judge(self, folder: Path) -> None:
        """Check all expectations.  Raises AssertionError, with the history and promtool's output."""
        tests = [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{scrape * EVERY}s",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)],
            }
            for scrape, alerts in self._expected
        ]
        series = [{"series": name, "values": " ".join(values)} for name, values in self._series.items()]
        document = {
            "rule_files": [str(ALERTS)],
            "evaluation_interval": f"{EVERY}s",
            "tests": [{"interval": f"{EVERY}s", "input_series": series, "promql_expr_test": tests}],
        }
        path = folder / "alerts.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            promtool("test", "rules", path)
        except AssertionError as error:
            raise AssertionError("\n".join([*self._fleet.lines, str(error)])) from None
