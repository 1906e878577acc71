"""One shell that runs blocks of the page, as a reader pastes them, and stops where a command fails."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.guide.page import ROOT, Block

_ELSEWHERE = "while true"
"""In a block for another machine's shell, which is left by Ctrl-C."""
_ENDS_WITHIN = 900
"""Seconds: what hangs is to be told, a busy machine is not."""


def workplace(folder: Path) -> Path:
    """A copy of the repository as far as the commands see it: without `.venv`, and to be written to."""
    folder.mkdir()
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "settings.yaml":
            (folder / entry.name).symlink_to(entry)
    return folder


def run(
    blocks: Iterable[Block], place: Path, scripts: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """
    Run the blocks in one `bash -euo pipefail` at this place with these variables and no others.

    Each is a file of its own in `scripts`, with the page's line numbers: so is what bash says of it.  Whoever asks for
    consent is answered yes.
    """
    lines = []
    for block in blocks:
        script = scripts / str(block.line) / "install.md"
        script.parent.mkdir(parents=True)
        script.write_text("\n" * (block.line - 1) + block.commands, encoding="utf-8")
        if _ELSEWHERE in block.commands:
            lines += ["code=0", f"bash -euo pipefail {script} || code=$?", "(( code == 130 ))"]
        else:
            lines.append(f"source {script}")
        lines.append(f"echo '# {block.line}'")
    terminal, stdin = os.openpty()
    try:
        os.write(terminal, b"y\n")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            cwd=place,
            env=dict(environment),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(stdin)


def python_for(place: Path, pip: Path) -> None:
    """What `python3 -m venv .venv` makes, as far as the page needs it: this Python, with what is pinned."""
    programs = place / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (programs / "python").chmod(0o755)
    (programs / "pip").symlink_to(pip)
