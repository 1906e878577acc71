"""How the lab, the bench and the simulation are started: wrong usage ends with one line, and an interruption, such as
Ctrl-C, with an exit code alone.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

INTERRUPTED, UNWRITTEN = 130, 74
"""Exit codes, the same as those of `floatingip`: ended by Ctrl-C; the output cannot be written."""


def end_of(name: str, main: Callable[[], int], out: TextIO) -> int:
    """The exit code of ``main``, the command ``name``, which writes to ``out``."""
    try:
        code = main()
        out.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENOSPC and not isinstance(error, BrokenPipeError):
            raise
        # What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader, such as `head`, that has read enough is no error
            print(f"{name}: {error.strerror}", file=sys.stderr)
        return UNWRITTEN
    return code


def count(text: str) -> int:
    """Parse a whole number, 1 or more."""
    if not (text.isascii() and text.isdecimal() and int(text[:9])):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text[:9])


def written(text: str) -> Path:
    """Parse the path of a file that can be written: a run of hours must not find out at its end that it cannot."""
    path = Path(text)
    if path.is_dir():
        problem = "it is a directory"
    elif not path.parent.is_dir():
        problem = f"no directory {path.parent}"
    else:
        problem = "" if os.access(path if path.exists() else path.parent, os.W_OK) else "no permission"
    if problem:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {problem}")
    return path
