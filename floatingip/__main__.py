"""
Run the command line, with SIGTERM caught before the imports that take long.

As PID 1 a process without a handler loses the signal altogether, also while it imports.
"""

import os
import signal


def _end(number: int, frame: object) -> None:
    """End at once: nothing was touched yet."""
    del frame
    os._exit(128 + number)


signal.signal(signal.SIGTERM, _end)

from floatingip.cli import main  # noqa: E402 - the handler has to be there first

raise SystemExit(main())
