"""
Programs on PATH whose work is done by this process.

What bash starts is a few lines of Python that hand over how they were called, and print and end as they are told.
"""

import json
import secrets
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CLIENT = """\
#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
# Everything else leaves what the shell reads alone.
reads = "-" in words or "--password-stdin" in words or sys.argv[0].endswith("/envsubst")
stdin = sys.stdin.read() if reads else ""
with socket.socket(socket.AF_UNIX) as desk:
    desk.connect({desk!r})
    place = {{"environment": dict(os.environ), "folder": os.getcwd()}}
    call = {{"program": sys.argv[0], "words": words, "stdin": stdin, **place}}
    desk.sendall(json.dumps(call).encode())
    desk.shutdown(socket.SHUT_WR)
    out, error, code = json.load(desk.makefile())
sys.stdout.write(out)
sys.stderr.write(error)
sys.exit(code)
"""


@dataclass(frozen=True)
class Call:
    """How a program was called: its path, its arguments, and what it can see."""

    program: str
    words: list[str]
    stdin: str
    environment: dict[str, str]
    folder: str


class Refused(Exception):
    """The program ends with this message and this exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


Program = Callable[[Call], str]
"""What it prints.  Raises Refused."""


def parse(
    words: Sequence[str],
    *,
    needs: Sequence[str] = (),
    takes: Sequence[str] = (),
    flags: Sequence[str] = (),
    positional: int = 0,
) -> tuple[list[str], dict[str, str]]:
    """
    The positional arguments, of which there are so many, and the options.

    needs: options that have to be there, each with a value.  takes: those that may.  flags: those without a value.
    Raises Refused for everything else.
    """
    rest: list[str] = []
    found: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("-"):
            rest.append(name + equals + value)
        elif name in flags and not equals:
            found[name] = ""
        elif name in (*needs, *takes) and (equals or left):
            found[name] = value if equals else left.pop(0)
        else:
            raise Refused(f"unknown flag, or no value: {name}")
    if missing := [name for name in needs if not found.get(name)]:
        raise Refused(f"no value of {', '.join(missing)}: {words}")
    if len(rest) != positional or not all(rest):
        raise Refused(f"{positional} arguments wanted, not {rest}")
    return rest, found


def given(path: str, call: Call) -> str:
    """What `-f path` names: a file, or `-` for stdin."""
    return call.stdin if path == "-" else Path(call.folder, path).read_text(encoding="utf-8")


class Desk:
    """
    Serves from the moment it is made until `close`.

    folder: gets the programs.  calls: all calls so far, as they were typed.
    """

    def __init__(self, folder: Path, programs: Mapping[str, Program]) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self._programs = programs
        # A name without a file: a socket's path can have 108 letters only, of which the folder may have most.
        address = f"\0desk-{secrets.token_hex(8)}"
        self._client = _CLIENT.format(python=sys.executable, desk=address)
        desk = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(json.dumps(desk._answer(Call(**json.loads(self.rfile.read())))).encode())

        self._server = socketserver.UnixStreamServer(address, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        for name in programs:
            (folder / name).write_text(self._client, encoding="utf-8")
            (folder / name).chmod(0o755)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, call: Call) -> tuple[str, str, int]:
        name = Path(call.program).name
        self.calls.append(" ".join([name, *call.words]))
        try:
            return self._programs[name](call), "", 0
        except Refused as refused:
            return "", f"{name}: {refused}\n" if str(refused) else "", refused.code
        except Exception:  # noqa: BLE001 - a fault of the test's, which it tells
            return "", traceback.format_exc(), 70
