"""The terminal, or whatever else is told."""

import errno
import os
import sys
from typing import NoReturn

import rich.console


class Console(rich.console.Console):
    """Raises BrokenPipeError where nobody reads any more: `rich` would end the thread that has just told something.

    ``plain_width`` are its columns where there is no terminal to ask.
    """

    def __init__(self, plain_width: int, *, soft_wrap: bool = False) -> None:
        width = None if sys.stdout.isatty() else plain_width
        super().__init__(highlight=False, soft_wrap=soft_wrap, width=width)

    def on_broken_pipe(self) -> NoReturn:
        """See above."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
