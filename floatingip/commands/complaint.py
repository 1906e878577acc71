"""How a command says on standard error what went wrong: lines that begin with its name."""

from __future__ import annotations

import contextlib
import sys


def complain(command: str, text: object) -> None:
    """Say each line of ``text``; where it cannot be written, the exit code has to tell."""
    with contextlib.suppress(OSError):
        for line in str(text).splitlines():
            print(f"floatingip {command}".rstrip(), line, sep=": ", file=sys.stderr, flush=True)
