"""The page about metrics, the alerts, the dashboard and the monitor speak of what exists, and of nothing else."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from floatingip.core.health import HealthState
from floatingip.core.lack import Lack
from floatingip.core.snapshot import AddressSnapshot, PeerSnapshot, Snapshot
from floatingip.core.word import Status
from floatingip.edges import clock
from floatingip.edges.prometheus import Metrics
from floatingip.edges.tally import Tally
from tests.sim import prometheus
from tests.sim.prometheus import needs_promtool, promtool

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring"
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load(prometheus.ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

TARGET_LABELS = {"cluster", "namespace", "job", "instance", "pod", "node"}
"""What Prometheus adds to all that it scrapes, as far as it was told to."""


@dataclass(frozen=True)
class Kind:
    """A metric's type and labels."""

    type: str
    labels: frozenset[str]


def text() -> str:
    """What an observer exposes to which all has happened that is counted."""
    tally = Tally()
    tally.probed("10.0.0.100", "answered", 0.001)
    tally.moved("10.0.0.100", "R3", "moved")
    tally.came("10.0.0.100", 1.7e9, {"detect": 1.0})
    tally.called("CreateTags", "ok", 0.1)
    tally.repaired("marks")
    address = AddressSnapshot("10.0.0.100", is_holder=False, health=HealthState.UP, state="standby", lack=Lack.BLIND)
    address = replace(address, node_ports={30007: HealthState.UP})
    peer = PeerSnapshot("i-b", IPv4Address("10.0.0.11"), heard_at=0.0)
    status, denied = Status("lab", "i-a", free_slots=1), frozenset({"ec2:CreateTags"})
    return Metrics(tally, "1.2.3").text(
        Snapshot(clock.now(), status, (address,), denied=denied, answered_at=0.0, peers=(peer,))
    )


def exposed() -> dict[str, Kind]:
    """All metrics, by the names that the page has for them."""
    found = {}
    for family in text_string_to_metric_families(text()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
        found[name] = Kind(family.type, labels)
    return found


def samples() -> dict[str, frozenset[str]]:
    """The labels of each series, by the name that expressions have for it."""
    found = text_string_to_metric_families(text())
    return {sample.name: frozenset(sample.labels) for family in found for sample in family.samples}


def rows(head: str) -> list[list[str]]:
    """The cells of each line of the page's tables with this head."""
    tables = re.findall(rf"^\| {re.escape(head)} \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return [line.strip("| ").split(" | ") for table in tables for line in table.splitlines()]


def expressions() -> Iterator[str]:
    """Those of the alerts, of the dashboard and of the page."""
    yield from (alert["expr"] for alert in ALERTS)
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])
    yield from re.findall(r"```promql\n(.*?)```", PAGE, flags=re.DOTALL)


def plain(expression: str) -> str:
    return re.sub(r"\$__(?:rate_interval|range)", "5m", expression).replace("$address", ".*")


def test_the_page_has_each_metric_with_its_type_and_labels() -> None:
    """And no other; those of the process have no table."""
    told = {}
    for name, kind, labels, *_ in (line for line in rows("metric | type | labels | unit | tells | do")):
        told[name.strip("`")] = Kind(kind, frozenset(re.findall(r"`(\w+)`", labels)))
    ours = {name: kind for name, kind in exposed().items() if name.startswith("floatingip_")}
    assert told == ours
    assert {f"`{name}`" for name in exposed() if name not in ours} <= set(re.findall(r"`process_\w+`", PAGE))


def test_the_page_has_each_reason_that_is_no_decisions() -> None:
    """Those are in the runbook."""
    assert [reason.strip("`") for reason, _ in rows("reason | it means")] == list(Lack)


def test_the_page_has_each_alert_with_its_severity() -> None:
    """In their order."""
    told = [(alert.strip("`"), severity) for alert, severity, *_ in rows("alert | severity | it means | do")]
    assert told == [(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS]
    assert set(re.findall(r"\bFloatingIP\w+", PAGE)) == {alert for alert, _ in told}


def test_the_cause_of_each_alert_is_planted() -> None:
    """Among whole agents."""
    source = (ROOT / "tests" / "sim" / "test_alerts.py").read_text(encoding="utf-8")
    lines = re.findall(r"goes_on\(.*\)", source)
    planted = {f"FloatingIP{name}" for line in lines for name in re.findall(r'"(\w+)"', line)}
    assert planted == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_is_about_what_exists(expression: str) -> None:
    """Metrics, and the labels that these have, or that Prometheus adds."""
    known, text = samples(), plain(expression)
    named = re.findall(r"\b((?:floatingip|process)_\w+)(?:\{([^}]*)\})?", text)
    assert named
    assert {name for name, _ in named} <= set(known)
    for name, selector in named:
        assert set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', '""', selector))) <= known[name] | TARGET_LABELS
    of_all = TARGET_LABELS.union(*(known[name] for name, _ in named))
    made = set(re.findall(r'label_replace\(.*?, "(\w+)"', text))
    for labels in re.findall(r"\b(?:by|on|ignoring|group_left)\s*\(([^)]*)\)", text):
        assert set(re.findall(r"\w+", labels)) <= of_all | made


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """Its data source is chosen there; no panel hides another one, and each has its own number."""
    sources = [panel["datasource"]["uid"] for panel in PANELS]
    sources += [target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]]
    assert set(sources) == {"${datasource}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    taken = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_each_legend_is_about_labels_that_its_expression_leaves() -> None:
    """Grafana shows nothing for another one."""
    known = samples()
    for target in (target for panel in PANELS for target in panel["targets"]):
        expression = plain(target["expr"])
        metrics = re.findall(r"\b(?:floatingip|process)_\w+", expression)
        labels = set.intersection(*(set(known[name]) for name in metrics)) | TARGET_LABELS
        grouped = re.match(r"(?:\w+\([\d., ]*)?(?:sum|max) by \(([^)]*)\)", expression)
        if grouped:
            labels = set(re.findall(r"\w+", grouped[1]))
        labels |= set(re.findall(r"group_left \((\w+)\)", expression))
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, target["expr"]


def test_the_dashboard_declares_its_variables() -> None:
    """Those of its expressions and data sources, and each query of one is about a label that exists."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(?!__|\d)(\w+)", json.dumps(PANELS)))
    assert used == set(variables)
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    metric, label = re.findall(r"\w+", variables["address"]["query"]["query"])[1:]
    assert label in samples()[metric]


def test_the_dashboard_shows_each_metric() -> None:
    """But for those that only say who or what somebody is."""
    shown = set(re.findall(r"\bfloatingip_\w+", json.dumps(DASHBOARD)))
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert families == {name for name in exposed() if name.startswith("floatingip_")}


def test_the_monitor_finds_the_observers() -> None:
    """As the manifest makes them."""
    manifest = (ROOT / "floating-ip.yaml").read_text(encoding="utf-8")
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(re.sub(r"\$\{\w+\}", "x", manifest)))
    [deployment] = [document for document in documents if document["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    spec = yaml.safe_load((MONITORING / "podmonitor.yaml").read_text(encoding="utf-8"))["spec"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    keep, _ = spec["podMetricsEndpoints"][0]["relabelings"]
    [container] = template["spec"]["containers"]
    assert [f"{container['name']};{port['containerPort']}" for port in container["ports"]] == [keep["regex"]]
    assert f"regex: {template['metadata']['labels']['app']};{keep['regex']}\n" in PAGE


def test_the_rules_become_an_object_of_the_operator() -> None:
    """By the page's own command."""
    [command] = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    script = f"kubectl() {{ if [[ $3 == - ]]; then cat; else test -f $3; fi; }}\nset -euo pipefail\n{command}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert yaml.safe_load(done.stdout)["spec"]["groups"][0]["rules"] == ALERTS


@needs_promtool
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    """With the metrics, the alerts, and the expressions of the dashboard and the page."""
    promtool("check", "metrics", text=text())
    promtool("check", "rules", prometheus.ALERTS)
    rules = [{"record": f"x:{number}", "expr": plain(each)} for number, each in enumerate(expressions())]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", tmp_path / "rules.json")
