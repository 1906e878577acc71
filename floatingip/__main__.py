"""
Run the command line; SIGTERM and Ctrl-C are caught before the imports, which take long.

A process that is PID 1 and has no handler loses the signal altogether, also while it imports.  This file can be read by
Pythons that are too old for the other files, so that it can say so.
"""

import contextlib
import os
import signal
import sys

from floatingip import early

if sys.version_info < (3, 11):  # noqa: UP036 - what pip checks, but nobody installs a clone
    print("floatingip: needs Python 3.11 or newer, and this is {}.{}".format(*sys.version_info), file=sys.stderr)
    sys.exit(2)

signal.signal(signal.SIGTERM, early.end)
with early.ended_by_ctrl_c():
    from floatingip.cli import main
    from floatingip.commands import ending

    ending.lose_no_interrupt()
for name in ("stdin", "stdout", "stderr"):
    if getattr(sys, name) is None:  # closed by the parent: the next socket would get its number
        setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
ending.end_in_time(next(iter(sys.argv[1:]), ""), os.environ)
try:
    code = main()
except SystemExit as ended:  # raised by argparse
    code = int(ended.code or 0)
# When Python shuts down, it frees what threads in the middle of a call still use; a crash there would be the exit
# code.  `attach` was once seen to end by SIGSEGV, most likely because of this.
for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError):  # its reader has gone
        stream.flush()
os._exit(code)
