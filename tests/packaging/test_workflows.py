"""GitHub's workflows run what is run here, with no more rights than they need; `make check` has their syntax."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"

Object = dict[str, Any]


def workflow(name: str) -> Object:
    """One workflow; YAML 1.1 takes its key `on` for true."""
    document: Object = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))
    return document


def steps(document: Object) -> list[Object]:
    """The steps of all of its jobs."""
    return [step for job in document["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=["ci.yml", "publish.yml"])
def name(request: pytest.FixtureRequest) -> str:
    """Each workflow."""
    found: str = request.param
    return found


def test_these_are_all_workflows() -> None:
    """So that what is said of each below is said of all."""
    assert sorted(path.name for path in WORKFLOWS.iterdir()) == ["ci.yml", "publish.yml"]


def test_the_gate_is_the_one_that_is_run_here() -> None:
    """One script, wherever it runs."""
    runs = [step["run"] for step in steps(workflow("ci.yml")) if "run" in step]
    assert "sudo .ci/run" in runs


def test_requirements_are_audited_and_clusters_checked() -> None:
    """What needs the internet: vulnerabilities that became known, and the schema of today's eksctl."""
    runs = [step["run"] for step in steps(workflow("ci.yml")) if "run" in step]
    [audit] = [run for run in runs if "pip-audit" in run]
    assert {"requirements.txt", "requirements-dev.txt"} <= set(audit.split())
    [schema] = [run for run in runs if "--schemafile" in run]
    assert {"eksctl-config.yaml", "docs/eksctl/*.yaml"} <= set(schema.split())


def test_an_image_is_published_with_its_origin_and_its_contents() -> None:
    """Provenance and bill of materials, for both architectures, by the Dockerfile's own arguments."""
    [build] = [step for step in steps(workflow("publish.yml")) if "build-push-action" in step.get("uses", "")]
    assert build["with"]["provenance"] == "mode=max"
    assert build["with"]["sbom"] is True
    assert build["with"]["platforms"].split(",") == ["linux/amd64", "linux/arm64"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for argument in re.findall(r"^(\w+)=", build["with"]["build-args"], flags=re.MULTILINE):
        assert re.search(rf"^ARG {argument}\b", dockerfile, flags=re.MULTILINE), argument


def test_where_an_image_is_published_is_for_the_repository_to_say() -> None:
    """By its variables: no registry's host is written down."""
    text = (WORKFLOWS / "publish.yml").read_text(encoding="utf-8")
    assert "${{ vars.REGISTRY }}" in text
    assert "${{ vars.IMAGE }}" in text
    assert not re.findall(r"\b[\w-]+\.(?:io|com|dev|org)\b", text)


def test_every_action_has_a_version(name: str) -> None:
    """A branch could be anything tomorrow."""
    for step in steps(workflow(name)):
        assert "uses" in step or "run" in step
        assert re.fullmatch(r"[\w/-]+@(v\d[\w.]*|[0-9a-f]{40})", step.get("uses", "some/action@v1"))


def test_a_job_may_read_and_has_an_end(name: str) -> None:
    """More only where it says so, and no token is left behind for what runs later."""
    document = workflow(name)
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert job["timeout-minutes"] <= 60
        rights = job.get("permissions", {})
        assert {right for right, level in rights.items() if level == "write"} <= {"id-token"}
    for step in steps(document):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


def test_nothing_of_an_event_is_put_into_a_script(name: str) -> None:
    """A title or a branch could hold commands: scripts get their values by variables."""
    for step in steps(workflow(name)):
        assert "${{" not in step.get("run", "")
