"""
The command line: which commands there are, how each ends, and what is said if it cannot do its work.

``floatingip attach`` is the init container, ``floatingip observe`` the observer; ``floatingip status`` shows who has
the addresses, ``floatingip doctor`` says what is wrong, ``floatingip handover`` moves addresses on request,
``floatingip pause`` and ``resume`` keep them where they are, ``floatingip release`` cleans up, ``floatingip history``
shows which moves there were.  Each command's module defines its arguments, and runs it.

Exit codes: 0 done, 1 the doctor found something, 2 settings or usage, 3 EC2, 4 denied by IAM, 5 the address is taken
by something else, 6 the node's kernel, or no room in a pod for another command, 7 IMDS, 8 a release or handover that
would be wrong now, 9 the Kubernetes API server, 70 a defect, 74 the output cannot be written; ended before it was done:
129 with its terminal, 130 by Ctrl-C, 143 by SIGTERM, 142 forgotten in a pod.  Of `status`: 0 all is well, 10 an address
is served but not safe, 11 an address is down, 12 it is not known whether an address is served.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn, Protocol, cast

from floatingip import __version__
from floatingip.commands import ending
from floatingip.commands.complaint import complain, say
from floatingip.core.errors import FloatingIPError
from floatingip.edges import control_group

COMMANDS = {
    "status": ("status", "show who has the addresses, whether they are well, and who could take them over"),
    "handover": ("handover", "move the addresses to another node now, and wait until they are there"),
    "pause": ("pause", "keep the addresses where they are for a while, whatever happens to their nodes"),
    "resume": ("resume", "end a pause now"),
    "release": (
        "release",
        "detach and delete our interfaces; Elastic IPs stay allocated (scale the Deployment to 0 first)",
    ),
    "doctor": (
        "doctor.command",
        "check all that a failover needs, and say what is wrong, why it matters and what to do",
    ),
    "attach": ("attach", "put the address on a node, this one or another, and end (the init container)"),
    "observe": ("observe", "keep the address on a live node until SIGTERM (the observer)"),
    "history": ("history", "tell which moves there were in the last weeks, the newest last (from a pod of ours)"),
}
"""By command: its module in `commands`, and what it is for."""

UNWRITTEN = 74
"""The exit code if a command's output cannot be written: its reader has gone, or a disk is full."""

USAGE = 2

_NO_WRITE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO)


class Command(Protocol):
    """What each command's module has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that it takes."""

    def run(self, options: argparse.Namespace) -> int:
        """Run it; return the exit code.  Raises FloatingIPError, which the user sees, and which has an exit code."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, without printing the usage first."""

    def error(self, message: str) -> NoReturn:
        """End with the exit code for wrong usage."""
        say(self.prog, f"{message}; see `{self.prog} --help`")
        sys.exit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr does: not every terminal has every character
    command = given[0] if given else ""
    try:
        if command in COMMANDS and ending.is_a_persons(command, os.environ):
            # Checked before anything is loaded, since loading takes the room.
            control_group.take_room(control_group.CONTROL_GROUPS)
        options = _parser(given).parse_args(given)
        code = _module(options.command).run(options)
        print(end="", flush=True)
    except FloatingIPError as error:
        complain(command, error)
        return error.exit_code
    except KeyboardInterrupt as ended:  # raised by Ctrl-C, or by the signal in its arguments
        return 128 + next(iter(ended.args), signal.SIGINT)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("", "floatingip"):
            raise
        complain(command, f"this Python lacks {error.name}; run one with requirements.txt, such as .venv/bin/python")
        return USAGE
    except OSError as error:
        if error.errno not in _NO_WRITE:
            raise
        if error.errno != errno.EPIPE:  # EPIPE: a reader, such as `head`, has enough
            complain(command, f"what it tells cannot be written: {error.strerror}")
        return UNWRITTEN
    return code


def _parser(given: Collection[str]) -> argparse.ArgumentParser:
    """The parser of all commands, and of the arguments of those that are named in what was ``given``."""
    parser = Parser(prog="floatingip", description="Keep one reserved VPC address on a live worker.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        # The other modules are not loaded: loading all takes longer than most commands do.
        if name in given:
            _module(name).add_arguments(command)
    return parser


def _module(name: str) -> Command:
    return cast("Command", importlib.import_module(f"floatingip.commands.{COMMANDS[name][0]}"))
