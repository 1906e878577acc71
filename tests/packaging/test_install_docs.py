"""The commands of docs/install.md can be run as they stand: as far as that shows without a cloud."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.substitution import shellcheck
from tests.packaging.test_manifests import SUPPORTED

ROOT = Path(__file__).parents[2]
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
BLOCKS = [re.sub(r"^ {3}", "", b, flags=re.MULTILINE) for b in re.findall(r"```sh\n(.*?)```", INSTALL, flags=re.DOTALL)]
COMMANDS = "\n".join(BLOCKS).replace("\\\n", " ")
ASSIGNMENT = r"(?:^|\s)(\w+)="

WRITTEN = {"settings.yaml"}
"""Files that the commands make themselves."""


def test_its_commands_are_sound_shell() -> None:
    """All of them together, as they are run in one shell."""
    # SC2016: what is in single quotes is for kubectl, the AWS CLI and awk.
    # SC2034: a value may be for another block, of which the reader chooses one.
    assert shellcheck(BLOCKS, exclude="SC2016,SC2034") == (0, "")


def test_each_variable_is_set_before_it_is_used() -> None:
    """None is taken from nowhere."""
    known = {"PATH"}
    for block in BLOCKS:
        for line in block.replace("\\\n", " ").splitlines():
            used = set(re.findall(r"\$\{?(\w+)", re.sub(r"'[^']*'", "", line)))
            assert used <= known, line
            known |= set(re.findall(ASSIGNMENT, line))


def test_each_variable_of_a_file_is_exported() -> None:
    """Only what is exported reaches `envsubst`; what is not becomes nothing, without a word."""
    exporting = [line.split()[1:] for line in COMMANDS.splitlines() if line.startswith("export ")]
    exported = {word.partition("=")[0] for words in exporting for word in words}
    substituted = set(re.findall(r"envsubst < (\S+?)\)?\"?(?= |$)", COMMANDS, flags=re.MULTILINE))
    assert {"eksctl-config.yaml", "floating-ip.yaml", "docs/iam-policy.json"} <= substituted
    for path in substituted:
        assert set(re.findall(r"\$\{(\w+)\}", (ROOT / path).read_text(encoding="utf-8"))) <= exported, path


def test_each_file_that_is_named_is_there() -> None:
    """In the commands and in the text; where its links lead is for test_docs.py."""
    named = set(re.findall(r"[\w./-]+\.(?:yaml|json|py|txt)\b", COMMANDS))
    named |= set(re.findall(r"`([\w./-]+\.(?:yaml|json|py))`", INSTALL))
    assert "floating-ip.yaml" in named
    for path in named - WRITTEN:
        assert (ROOT / path).is_file(), path


def test_our_own_commands_know_their_options() -> None:
    """`floatingip` and `find-available-ips.py`, asked for their help."""
    found = re.findall(r"python (?:-m )?(floatingip \w+|find-available-ips\.py)(.*)$", COMMANDS, flags=re.MULTILINE)
    assert {command for command, _ in found} == {"floatingip handover", "floatingip release", "find-available-ips.py"}
    for command, rest in found:
        program = ["-m", *command.split()] if command.startswith("floatingip") else [command]
        told = subprocess.check_output([sys.executable, *program, "--help"], cwd=ROOT, text=True)
        for option in re.findall(r"--[\w-]+", rest):
            assert f"{option} " in told, option


def test_it_names_the_versions_that_are_checked() -> None:
    """And proposes one of them."""
    assert f"Kubernetes {SUPPORTED[0]} to {SUPPORTED[-1]}" in INSTALL
    [proposed] = re.findall(r"KUBERNETES_VERSION=(\S+)", COMMANDS)
    assert proposed in SUPPORTED


@pytest.mark.parametrize(
    "place",
    ["Region", "Local Zone", "Outposts rack", "local cluster", "Karpenter", "Bottlerocket", "Cilium", "Auto Mode"],
)
def test_each_place_has_its_line(place: str) -> None:
    """Somebody will want it there, and should find what is known."""
    table = INSTALL.partition("## Where it runs")[2]
    assert any(place in line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
