"""The command line in a process of its own: exit codes, what is told where, and what bad settings do not even load."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from floatingip import __version__

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

LOADED = """
import sys
from floatingip.cli import main
code = main(sys.argv[1:])
print(*sorted({"boto3", "botocore", "pyroute2", "icmplib"} & {name.partition(".")[0] for name in sys.modules}))
raise SystemExit(code)
"""
"""Runs the command line, and prints which of the heavy libraries were loaded."""


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """Run the command line without any AWS configuration around it, with a settings file if there is one."""
    (tmp_path / "good.yaml").write_text("# nothing but the defaults\n", encoding="utf-8")

    def run(
        *arguments: str, address: str = "10.0.0.100", document: str | None = None, code: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        if document is not None:
            path = tmp_path / "settings.yaml"
            path.write_text(document, encoding="utf-8")
            arguments = (*arguments, "--settings", str(path))
        how = ["-c", code] if code else ["-m", "floatingip"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FLOATING_IP": address}
        return subprocess.run(
            [sys.executable, *how, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_the_version_is_told(run: Run) -> None:
    """On standard output, with exit code 0."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"floatingip {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("fly",), ("observe", "--colour"), ("observe", "extra")])
def test_wrong_usage_ends_with_2_and_the_usage(run: Run, arguments: tuple[str, ...]) -> None:
    """A missing or unknown command, an unknown option."""
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: floatingip")
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["attach", "observe"])
def test_bad_settings_end_with_2_and_a_line_for_each_problem(run: Run, command: str) -> None:
    """On standard error, without a traceback; each line names the command and the setting."""
    done = run(command, address="10.0.0.300", document="fall: many\ncolour: red\n")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.removeprefix(f"floatingip {command}: ").partition(":")[0] for line in lines] == [
        "FLOATING_IP",
        "fall",
        "colour",
    ]
    assert all(line.startswith(f"floatingip {command}: ") for line in lines)


def test_a_missing_configmap_ends_with_2(run: Run) -> None:
    """The default path does not exist outside of the pod."""
    done = run("observe", "--settings", "missing/settings.yaml")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "missing/settings.yaml: No such file or directory" in line


def test_bad_settings_load_no_cloud_and_no_kernel_library(run: Run) -> None:
    """Nothing is touched, and the answer is quick."""
    done = run("observe", document="fall: many\n", code=LOADED)
    assert done.returncode == 2
    assert done.stdout.split() == []
    assert len(done.stderr.splitlines()) == 1


def test_help_names_both_commands(run: Run) -> None:
    """With what each is for."""
    done = run("--help")
    assert done.returncode == 0
    assert "attach" in done.stdout
    assert "observe" in done.stdout
