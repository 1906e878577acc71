"""How a command says on standard error what went wrong: in lines that begin with its name.

Parts of such a line may come from elsewhere (EC2's words, tags, names of nodes): they must not control the terminal.
"""

from __future__ import annotations

import contextlib
import sys

from floatingip.core.wording import printable


def complain(command: str, text: object) -> None:
    """Say each line of ``text``; if it cannot be written, only the exit code tells."""
    say(f"floatingip {command}".rstrip(), text)


def say(who: str, text: object) -> None:
    """Say ``text`` on standard error, each line after the name ``who``."""
    with contextlib.suppress(OSError):
        for line in str(text).splitlines():
            print(who, printable(line), sep=": ", file=sys.stderr, flush=True)
