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
    return dict(yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8")))


def steps(document: Object) -> list[Object]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


def runs(of: list[Object]) -> list[str]:
    return [step["run"] for step in of if "run" in step]


@pytest.fixture(params=["ci.yml", "publish.yml"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_these_are_all_workflows() -> None:
    """So that what is said of each below is said of all."""
    assert sorted(path.name for path in WORKFLOWS.iterdir()) == ["ci.yml", "publish.yml"]


def test_the_gate_is_the_one_that_is_run_here() -> None:
    """One script, wherever it runs."""
    assert "sudo .ci/run" in runs(steps(workflow("ci.yml")))


def test_requirements_are_audited_and_clusters_checked() -> None:
    """What needs the internet: vulnerabilities that became known, and the schema of today's eksctl."""
    found = runs(steps(workflow("ci.yml")))
    [audit] = [run for run in found if "pip-audit" in run]
    assert {"requirements.txt", "requirements-dev.txt"} <= set(audit.split())
    [schema] = [run for run in found if "--schemafile" in run]
    assert {"eksctl-config.yaml", "docs/eksctl/*.yaml"} <= set(schema.split())


def test_an_image_is_published_with_its_origin_and_its_contents() -> None:
    """Provenance and bill of materials, for both architectures, by the Dockerfile's own arguments."""
    [build] = [run for run in runs(steps(workflow("publish.yml"))) if "buildx build" in run]
    assert "--attest type=provenance,mode=max" in build
    assert "--attest type=sbom,generator=" in build
    assert "--platform linux/amd64,linux/arm64" in build
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    arguments = re.findall(r"--build-arg (\w+)=", build)
    assert arguments == ["VERSION", "REVISION", "CREATED"]
    for argument in arguments:
        assert re.search(rf"^ARG {argument}\b", dockerfile, flags=re.MULTILINE), argument


def test_a_version_is_published_under_the_tag_that_the_manifest_names() -> None:
    """`v0.1.0` is the commit's, `0.1.0` the image's; and the commit is of that version."""
    found = runs(steps(workflow("publish.yml")))
    assert (
        'test "$GITHUB_REF_NAME" = "v$(sed -n \'s/^__version__ = "\\(.*\\)"/\\1/p\' floatingip/__init__.py)"' in found
    )
    assert any(run.endswith('"docker://$IMAGE:${GITHUB_REF_NAME#v}"') for run in found)


def test_whoever_may_publish_runs_the_runners_own_programs_only(name: str) -> None:
    """Beside the right to ask for the role nothing is checked out, nothing built, and nothing run that was fetched."""
    for job in workflow(name)["jobs"].values():
        if job.get("permissions", {}).get("id-token") != "write":
            continue
        assert job["permissions"] == {"id-token": "write"}
        uses = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
        assert uses == ["actions/download-artifact"]
        commands = " | ".join(run.replace("\\\n", " ").replace("\n", " | ") for run in runs(job["steps"]))
        programs = {command.split()[0] for command in commands.split("|") if command.strip()}
        assert programs == {"aws", "curl", "echo", "jq", "rm", "sha256sum", "skopeo"}


def test_what_is_fetched_is_pinned_and_checked(name: str) -> None:
    """Images by digest, files by their hash, packages by those of a requirements file."""
    text = (WORKFLOWS / name).read_text(encoding="utf-8")
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in re.findall(r"(?:moby|docker)/\S+:\S+", text))
    assert "latest" not in text
    assert "pipx" not in text
    for job in workflow(name)["jobs"].values():
        found = runs(job["steps"])
        for index, run in enumerate(found):
            if "curl" in run and "--output" in run:
                assert "sha256sum --check" in found[index + 1]
            if "pip install" in run:
                assert "--require-hashes" in run


def test_where_an_image_is_published_is_for_the_repository_to_say() -> None:
    """By its variables: no registry's host is written down."""
    text = (WORKFLOWS / "publish.yml").read_text(encoding="utf-8")
    assert "${{ vars.REGISTRY }}" in text
    assert "${{ vars.IMAGE }}" in text
    assert not re.findall(r"\b[\w-]+\.(?:io|com|dev|org)\b", text)


def test_every_action_is_a_commit_and_says_of_which_version(name: str) -> None:
    """A branch or a tag could be anything tomorrow; the same action is the same everywhere."""
    for step in steps(workflow(name)):
        assert ("uses" in step) is not ("run" in step)
    lines = [line for path in WORKFLOWS.iterdir() for line in path.read_text(encoding="utf-8").splitlines()]
    uses = [line.partition("uses:")[2].strip() for line in lines if "uses:" in line]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses), uses
    assert len({use.partition("@")[0] for use in uses}) == len(set(uses))


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
