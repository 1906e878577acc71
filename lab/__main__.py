"""Runs the lab's command line (cli.py).  A Ctrl-C while cli.py is being loaded ends it at once: nothing has been made
yet.
"""

import sys

from floatingip.early import ended_by_ctrl_c

with ended_by_ctrl_c():
    from floatingip.commands.ending import lose_no_interrupt
    from lab.cli import main
    from lab.command_line import end_of

    lose_no_interrupt()
sys.exit(end_of("lab", lambda: main(sys.argv[1:]), sys.stdout))
