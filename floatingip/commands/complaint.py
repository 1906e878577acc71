"""How a command says on standard error what went wrong: lines that begin with its name."""

from __future__ import annotations

import sys


def complain(command: str, text: object) -> None:
    """Say each line of ``text``."""
    for line in str(text).splitlines():
        print(f"floatingip {command}: {line}", file=sys.stderr, flush=True)
