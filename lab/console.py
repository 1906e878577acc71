"""The console for all output: the terminal, or a file or pipe in its place."""

import errno
import os
import sys
from typing import NoReturn

import rich.console


class Console(rich.console.Console):
    """Raises BrokenPipeError when the output's reader has gone: `rich` would end the thread that has just printed.

    ``plain_width``: its columns if there is no terminal to ask.
    """

    def __init__(self, plain_width: int, *, soft_wrap: bool = False) -> None:
        width = None if sys.stdout.isatty() else plain_width
        super().__init__(highlight=False, soft_wrap=soft_wrap, width=width)

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError; see above."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
