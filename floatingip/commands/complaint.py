"""How a command says on standard error what went wrong: lines that begin with its name.

Parts of it may come from elsewhere (EC2's words, tags, names of nodes), and must not command the terminal.
"""

from __future__ import annotations

import contextlib
import sys

from floatingip.core.wording import printable


def complain(command: str, text: object) -> None:
    """Say each line of ``text``; where it cannot be written, the exit code has to tell."""
    say(f"floatingip {command}".rstrip(), text)


def say(who: str, text: object) -> None:
    """Say this on standard error, each line behind the name of ``who`` says it."""
    with contextlib.suppress(OSError):
        for line in str(text).splitlines():
            print(who, printable(line), sep=": ", file=sys.stderr, flush=True)
