"""The pages about runs: pictures and reports that are made of histories."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab import cli as lab
from lab.pages import failures, lanes, report

A, B = "i-0aaaaaaaaaaaaaaaa", "i-0bbbbbbbbbbbbbbbb"
STRUCK = 1000.0

Event = Mapping[str, Any]


def attempt(at: float, *, ok: bool) -> Event:
    return {"t": STRUCK + at, "source": "client", "event": "attempt", "client": "out 10.0.0.100",
            "started": STRUCK + at, "ok": ok, "error": None, "answer": "worker-a/pod-0"}  # fmt: skip


def log(at: float, node: str, event: str, **fields: str) -> Event:
    return {"t": STRUCK + at, "source": "agent", "event": "log", "node": node, "fields": {"event": event, **fields}}


def stay(at: float, instance: str, attachment: str, status: str) -> Event:
    """EC2 tells of the interface."""
    return {"t": STRUCK + at, "source": "ec2", "event": "attachment", "eni": "eni-1", "address": "10.0.0.100",
            "addresses": ["10.0.0.100"], "attachment": attachment, "instance": instance, "status": status}  # fmt: skip


HISTORY: Sequence[Event] = [
    log(-9, "worker-a", "node", instance=A),
    log(-9, "worker-b", "node", instance=B),
    stay(-8, A, "a1", "attached"),
    {"t": STRUCK, "source": "nemesis", "event": "begin", "name": "power-cut", "target": "worker-a",
     "title": "the holder <loses> power"},
    attempt(-0.5, ok=True), attempt(0.1, ok=False), attempt(4.9, ok=False), attempt(5.1, ok=True),
    log(1.5, "worker-b", "takeover", rule="R3", msg=f"it stopped answering, and {A} is silent"),
    stay(1.6, A, "a1", "detaching"), stay(3.0, A, "a1", "detached"),
    stay(3.1, B, "a2", "attaching"), stay(4.6, B, "a2", "attached"),
    log(5.0, "worker-b", "failover", rule="R3", duration="3.5", source=A),
]  # fmt: skip

VERDICT = {"verdict": "ok", "moves": 1, "outage_s": 5.0, "total_outage_s": 5.0}


def keep(folder: Path, name: str, **verdict: object) -> None:
    """Keep the history as that of a scenario."""
    (folder / f"{name}-eni.json").write_text(json.dumps({**VERDICT, **verdict}))
    (folder / f"{name}-eni.jsonl").write_text("".join(json.dumps(event) + "\n" for event in HISTORY))


def in_tenths(spans: Iterable[lanes.Span]) -> list[tuple[str, int, int]]:
    """Spans, with their times in tenths of a second."""
    return [(span.kind, round(10 * span.begin), round(10 * span.end)) for span in spans]


def test_a_story_has_the_outage_the_owners_and_the_decisions() -> None:
    """In seconds since the misfortune."""
    story = lanes.story(HISTORY)
    assert in_tenths(span for span in story.clients if span.kind == "out") == [("out", 1, 51)]
    assert in_tenths(story.nodes["worker-a"]) == [("has", -10, 16), ("between", 16, 30)]
    assert in_tenths(story.nodes["worker-b"])[0] == ("between", 31, 46)
    assert [(mark.word, mark.at) for mark in story.marks["worker-b"]] == [("takeover R3", 1.5), ("failover R3", 5.0)]


def test_a_picture_names_nodes_and_not_instances_and_believes_no_text() -> None:
    """It is well-formed, whatever a title says."""
    picture = lanes.svg("<script>", {"carry: eni": lanes.story(HISTORY)})
    ElementTree.fromstring(picture)
    assert "<script>" not in picture
    assert A not in picture
    assert "worker-a is silent" in picture


def test_a_report_tells_what_happened_in_order() -> None:
    """From a second before the misfortune on."""
    page = report.html(HISTORY)
    assert re.findall(r"[+-]\d+\.\d{3} s<td>(\w+)", page) == ["nemesis", "agent", *["ec2"] * 4, "agent"]
    assert "The holder &lt;loses&gt; power" in page
    assert A not in page


def test_a_history_in_which_nothing_happens_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no page is written."""
    history = tmp_path / "history.jsonl"
    history.write_text(json.dumps(attempt(0, ok=True)) + "\n")
    assert lab.main(["report", str(history)]) == 1
    assert "nothing befell anybody" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [history]


def test_the_page_has_what_was_survived_with_its_reasons(tmp_path: Path) -> None:
    """A run that the checker found faulty has no place on it."""
    keep(tmp_path, "power-cut")
    keep(tmp_path, "partition", verdict="faulty")
    keep(tmp_path, "pod-delete", moves=0, outage_s=0.0, total_outage_s=0.0)
    text, pictures = failures.page(tmp_path)
    assert "clients were out for 5.0 s; one move. R3: it stopped answering, and worker-a is silent." in text
    assert "no client noticed; nothing moved." in text
    assert "### partition" not in text
    assert list(pictures) == ["power-cut"]
