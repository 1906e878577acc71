"""Runs the lab's command line (cli.py).  A Ctrl-C while that is loaded ends it at once: nothing is there yet."""

import os
import signal
import sys

interrupt = signal.getsignal(signal.SIGINT)
if interrupt is not signal.SIG_IGN:  # as a shell has it for what a script runs in the background
    signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))

from floatingip.commands.ending import lose_no_interrupt  # noqa: E402 - the handler has to be there first
from lab.cli import main  # noqa: E402
from lab.command_line import end_of  # noqa: E402

lose_no_interrupt()
signal.signal(signal.SIGINT, interrupt)
sys.exit(end_of("lab", lambda: main(sys.argv[1:]), sys.stdout))
