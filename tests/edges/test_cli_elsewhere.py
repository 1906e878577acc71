"""Commands of somebody at a workstation, who names Region and VPC, against the lab's EC2."""

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from floatingip.cli import main
from floatingip.commands import status
from floatingip.core.overview import overview
from tests.edges.command_line import ADDRESS, Run, Vpc
from tests.edges.ec2_server import Become

pytest_plugins = ["tests.edges.cli_fixtures", "tests.edges.ec2_fixtures"]


@pytest.fixture(name="vpc")
def _vpc(
    vpc: Vpc, environment: Become, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Vpc:
    """Its commands are run in this process, where the SDK is loaded once for all; they have no terminal to ask at."""
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(
        *arguments: str, address: str, document: str, environment: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "settings.yaml").write_text(document, encoding="utf-8")
        become(FLOATING_IP=address, HOME="/nonexistent", **environment)
        code = main([*arguments, "--settings", str(tmp_path / "settings.yaml")])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    become, vpc.run = environment, run
    return vpc


def test_nothing_is_released_by_a_dry_run_nor_without_an_agreement(vpc: Vpc) -> None:
    """It is shown all the same; a dry run does nothing even with --yes, and without a terminal nobody can agree."""
    done = vpc.release("--dry-run", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{vpc.eni} ({ADDRESS}): delete\n"
    assert vpc.is_there()
    done = vpc.release()
    assert (done.returncode, done.stderr) == (1, "nothing was done: there is no terminal to ask at; give --yes\n")
    assert vpc.eni in done.stdout
    assert vpc.is_there()


def test_what_was_agreed_to_is_released_and_again_is_fine(vpc: Vpc, run: Run) -> None:
    """The second time there is nothing to do; in a process of its own, as at a workstation."""
    vpc.run = run
    done = vpc.release("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{vpc.eni} ({ADDRESS}): delete", f"{vpc.eni}: deleted"]
    assert not vpc.is_there()
    again = vpc.release("--yes")
    assert (again.returncode, again.stdout) == (
        0,
        f"nothing to release: no such interface of cluster in {vpc.ec2.vpc_id}\n",
    )


def test_only_what_nothing_uses_is_released_as_unused(vpc: Vpc) -> None:
    """What the settings name is left, and what they do not name is not."""
    assert "nothing to release" in vpc.release("--yes", "--unused").stdout
    assert vpc.is_there()
    assert vpc.release("--yes", "--unused", address="10.0.0.101").returncode == 0
    assert not vpc.is_there()


def test_a_handover_that_cannot_be_is_refused_at_once_with_2(vpc: Vpc) -> None:
    """Nobody would ever obey one to a node that is not there, which is named; --check ends by the same exit code."""
    for option in ("--from", "--to"):
        done = vpc.command("handover", option, "i-0123456789abcdef0")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"floatingip handover: {option} i-0123456789abcdef0: no instance of this VPC has that")
    done = vpc.command("handover", "--check")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == f"floatingip handover: {ADDRESS}: no node holds it now; nothing to hand over"


def test_what_iam_denies_ends_with_4_and_names_the_permission(vpc: Vpc) -> None:
    """In one line; of a status there is nothing else to show."""
    vpc.ec2.faults.deny({"DeleteNetworkInterface"})
    done = vpc.release("--yes")
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("floatingip release: IAM denies ec2:DeleteNetworkInterface; allow ")
    vpc.ec2.faults.deny({"DescribeNetworkInterfaces"})
    done = vpc.command("status")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("floatingip status: IAM denies ec2:DescribeNetworkInterfaces; allow ")


def test_the_doctor_judges_no_workstation(vpc: Vpc) -> None:
    """EC2's part is looked at; of the machine itself, which is no worker, nothing is known, nor is IMDS asked there."""
    done = vpc.command("doctor", "--json")
    found = {each["check"]: each for each in json.loads(done.stdout)}
    assert {name for name, each in found.items() if each["verdict"] == "ok"} >= {"ec2", "owner", "permissions", "clock"}
    unknown = {name for name, each in found.items() if each["what"] == "not known: this is no worker"}
    assert unknown >= {"imds", "capabilities", "nft", "forwarding", "firewall", "kube-proxy", "role", "place", "port"}
    assert {found[name]["remedy"] for name in unknown} == {"run the doctor on one"}
    assert [name for name, each in found.items() if each["verdict"] == "fail"] == ["no-manage"]


# Status, from a workstation; tests/lab/test_status.py has it on workers.


def test_status_from_elsewhere_is_ec2s_view_and_its_exit_code_says_how_that_is(vpc: Vpc) -> None:
    """What is attached to nobody serves nobody; as JSON it is one document, with the names of docs/status.md."""
    done = vpc.command("status")
    assert (done.returncode, done.stderr) == (11, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cluster: DOWN, carry: eni, 20")
    assert lines[1].startswith(f"wrong: {ADDRESS}: no node holds it: ")
    assert lines[4].split() == [ADDRESS, "holder", "nobody", "-", "-", "not", "probed", "-", "-"]
    assert f"  wrong       no node holds it: EC2 says: {vpc.eni} is attached to nobody" in lines
    assert lines[-1].startswith("not learned: EC2's view only: ")
    done = vpc.command("status", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["name"]) == (11, "down", "cluster")
    assert [each["address"] for each in document["addresses"]] == [ADDRESS]


def test_status_on_what_is_no_worker_says_what_to_give(run: Run) -> None:
    """Neither IMDS nor an observer is there."""
    done = run("status", document="name: cluster\nport: 9\n")
    assert (done.returncode, done.stdout) == (7, "")
    assert "outside of a worker give --region and --vpc-id" in done.stderr


def test_what_is_watched_is_one_document_a_line_or_a_table_below_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    """For whoever reads a pipe; a terminal is cleared before each."""
    seen = overview(0.0, "cluster", (ADDRESS,), ())
    for _ in range(2):
        status.show(seen, as_json=True, watched=True)
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["cluster", "cluster"]
    status.show(seen, as_json=False, watched=True)
    text = capsys.readouterr().out
    assert text.startswith("cluster: unknown, 1970-01-01 00:00:00 UTC\n")
    assert text.endswith("\n\n")
