"""The command line in a process of its own, and the lab's EC2 for it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab.ec2 import PROFILES, Ec2, NoDevices
from tests.edges.command_line import ROOT, Run, Vpc


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """Run the command line without any AWS configuration around it, with a settings file if there is one."""
    (tmp_path / "good.yaml").write_text("# nothing but the defaults\n", encoding="utf-8")

    def run(
        *arguments: str,
        address: str = "10.0.0.100",
        document: str | None = None,
        code: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        if document is not None:
            path = tmp_path / "settings.yaml"
            path.write_text(document, encoding="utf-8")
            arguments = (*arguments, "--settings", str(path))
        how = ["-c", code] if code else ["-m", "floatingip"]
        basic = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FLOATING_IP": address}
        return subprocess.run(
            [sys.executable, *how, *arguments],
            env={**basic, **(environment or {})},
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture(name="vpc")
def _vpc(run: Run) -> Iterator[Vpc]:
    ec2 = Ec2(PROFILES["instant"], NoDevices(), lambda event: None, seed=1)
    yield Vpc(ec2, run)
    ec2.stop()
