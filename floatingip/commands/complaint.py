"""How a command says on standard error what went wrong: lines that begin with its name."""

from __future__ import annotations

import contextlib
import sys


def complain(command: str, text: object) -> None:
    """Say each line of ``text``; where it cannot be written, the exit code has to tell."""
    say(f"floatingip {command}".rstrip(), text)


def say(who: str, text: object) -> None:
    """The same, of another program."""
    with contextlib.suppress(OSError):
        for line in str(text).splitlines():
            print(who, line, sep=": ", file=sys.stderr, flush=True)
