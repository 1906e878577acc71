"""
What the documents have a person type by kubectl is of use in the night.

What is taken back by Ctrl-C is shown with a terminal: without one that ends kubectl alone, and not what it runs.  What
reads the logs of all pods reads on behind that of a dead node.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"README.md", "docs/how-it-works.md", "docs/install.md", "docs/runbook.md", "docs/status.md"}
"""Those that show such a command."""


@pytest.mark.parametrize("page", sorted({str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")} | PAGES))
def test_each_command_that_goes_on_has_a_terminal(page: str) -> None:
    """A handover, which is waited for, and a status that is watched."""
    text = (ROOT / page).read_text(encoding="utf-8")
    going_on = re.findall(r"^kubectl exec .*floatingip (?:handover|status --watch)\b.*$", text, flags=re.MULTILINE)
    assert bool(going_on) == (page in PAGES)
    for line in going_on:
        assert re.search(r" (-it|--stdin --tty) .* -- ", line), line


def test_each_command_that_reads_all_logs_reads_on_behind_a_dead_nodes() -> None:
    """Its kubelet does not answer, and that ends `kubectl logs`, mostly before the others' logs are shown."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    reading = [
        line for text in texts for line in re.findall(r"^ *kubectl logs (?:-l|--selector).*$", text, re.MULTILINE)
    ]
    assert len(reading) == 4
    for line in reading:
        assert " --ignore-errors" in line, line
