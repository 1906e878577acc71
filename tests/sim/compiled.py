"""
The simulation, compiled: the same histories in a third of the time.

    python -m tests.sim --compiled --seeds 0..9999     as without, after half a minute or so of compiling

mypy's compiler, mypyc, turns the agents and the simulation into C, by their types; that needs gcc and Python's headers.
It compiles a copy under build/, which is made anew when a source has changed: the product itself is never compiled.
The histories are the same, line for line (test_compiled.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from tests.sim import history
from tests.sim.plain import plain

ROOT = Path(__file__).parents[2]
COPIES = ROOT / "build" / "simulation"

COPIED = ("floatingip/**/*.py", "lab/__init__.py", "lab/command_line.py", "tests/fakes/*.py", "tests/sim/**/*.py")

COMPILED = (
    "floatingip/core/**/*.py", "floatingip/agent/*.py", "floatingip/edges/tally.py", "floatingip/edges/telemetry.py",
    "floatingip/runtime/calls.py", "floatingip/runtime/desk.py", "floatingip/runtime/doing.py",
    "floatingip/runtime/keeping.py", "floatingip/runtime/look.py", "floatingip/runtime/probing.py",
    "floatingip/runtime/roster.py",
    "tests/fakes/*.py", "tests/sim/*.py",
)  # fmt: skip
"""The modules that take most of a history's time.  `runtime.performing` and `runtime.questions`, which take little, are
not compiled, so that mutations.py can put a fault into them to see that it is found.
"""

LEFT_OUT = (
    "__init__.py", "__main__.py", "clocks.py", "compiled.py", "groups.py", "mutations.py", "native.py", "overview.py",
    "page.py", "plain.py", "prometheus.py", "quick.py", "report.py", "shrink.py", "status.py", "table.py", "targets.py",
    "together.py", "world.py",
)  # fmt: skip
"""Those of them that a history does not need, or hardly ever."""

COMPILE = ("gcc", "-O1", "-w", "-fPIC", "-fvisibility=hidden", "-fno-plt")
"""More optimization costs gcc more time than it saves.  Hidden symbols are called directly, which saves a tenth of a
history's time.
"""

UNUSED_FOR = 86400.0
"""Seconds after which an unused copy, of other sources, is removed."""

INTERN = "from tests.sim.quick import intern\n\nintern()\n"
"""The first lines of the package `tests` in a copy: they run before any address is made."""

MYPY = """[mypy]
explicit_package_bases = true
mypy_path = .
ignore_missing_imports = true
"""


class MissingError(Exception):
    """Something that compiling needs is not installed, or not as it must be; the message names it."""


def play(arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the compiled simulation, with these arguments."""
    os.chdir(copy())
    os.execv(sys.executable, [sys.executable, "-m", "tests.sim", *arguments])


def is_here() -> bool:
    """Whether this process is the compiled simulation."""
    return isinstance(history.__loader__, ExtensionFileLoader)


def copy() -> Path:
    """The directory with the compiled copy of the present sources; if there is none, it is compiled first."""
    made = COPIES / _key()
    COPIES.mkdir(parents=True, exist_ok=True)
    with _alone():
        _forget()
        if not made.exists():
            _check()
            print("compiling the simulation, which takes half a minute or more", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=COPIES) as directory:
                _compile(Path(directory, "copy"))
                Path(directory, "copy").rename(made)
        os.utime(made)
    return made


def missing() -> str:
    """The Debian packages that have to be installed for compiling; empty if none."""
    names = [] if shutil.which("gcc") else ["gcc"]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        names.append("python3-dev")
    return " ".join(names)


def _check() -> None:
    if names := missing():
        raise MissingError(f"missing to compile: install {names} (as root: apt-get install {names})")


def _sources() -> list[Path]:
    """The files to copy, relative to the root."""
    found = {path.relative_to(ROOT) for pattern in COPIED for path in ROOT.glob(pattern)}
    return sorted(path for path in found if not path.name.startswith("test_"))


def _key() -> str:
    """The name of a copy: a digest of all that it depends on."""
    digest = hashlib.sha256(f"{sys.version} {version('mypy')}".encode())
    for path in _sources():
        text = (ROOT / path).read_bytes()
        digest.update(f"{path} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:16]


@contextmanager
def _alone() -> Iterator[None]:
    """A lock: other processes that want a copy wait."""
    with (COPIES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget() -> None:
    """Remove copies of other sources that have not been used for long, and copies that were left half-made."""
    for each in COPIES.iterdir():
        if each.is_dir() and time.time() - each.stat().st_mtime > UNUSED_FOR:
            shutil.rmtree(each)


def _compile(directory: Path) -> None:
    for path in _sources():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, directory / path)
    hot = sorted({path for pattern in COMPILED for path in directory.glob(pattern) if path.name not in LEFT_OUT})
    for name, source in plain({str(path): path.read_text() for path in hot}).items():
        Path(name).write_text(source)
    (directory / "tests/__init__.py").write_text(INTERN)
    (directory / "mypy.ini").write_text(MYPY)
    # In a process of its own: mypyc works in the current directory.
    command = [sys.executable, "-m", "tests.sim.compiled", *(str(path.relative_to(directory)) for path in hot)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    shutil.rmtree(directory / "build")


def main(files: Sequence[str]) -> None:
    """Compile these files, in the current directory."""
    from mypyc.build import mypycify  # noqa: PLC0415 - it takes a while, and only here it is needed

    extensions = mypycify(["--config-file=mypy.ini", *files], multi_file=True)
    # One compiler for each core, the largest sources first; setuptools would start one after the other.
    sources = {Path(source): extension for extension in extensions for source in extension.sources}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        by_size = sorted(sources, key=lambda source: source.stat().st_size, reverse=True)
        for _ in pool.map(lambda source: _gcc(source, sources[source].include_dirs), by_size):
            pass
        for _ in pool.map(partial(_link), [(each.name, each.sources) for each in extensions]):
            pass


def _gcc(source: Path, directories: Sequence[str]) -> None:
    include = [f"-I{each}" for each in (*directories, sysconfig.get_path("include"))]
    subprocess.run([*COMPILE, *include, "-c", str(source), "-o", f"{source}.o"], check=True)


def _link(extension: tuple[str, Sequence[str]]) -> None:
    name, sources = extension
    objects = [f"{source}.o" for source in sources]
    library = f"{name.replace('.', '/')}{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(["gcc", "-shared", *objects, "-o", library], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
