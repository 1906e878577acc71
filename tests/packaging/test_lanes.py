"""`make test`: it shows how far it is, its arguments arrive as they were typed, and whoever ends it ends all of it."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.lanes import Tally
from tests.waiting import until

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

STUBBORN = """
import os, pathlib, signal, time
def test_that_never_ends(request):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pathlib.Path(request.config.rootpath / "lane").write_text(str(os.getpid()))
    time.sleep(600)
"""


def has_ended(process: int) -> bool:
    """Whether it is gone, or nobody has taken notice of its end yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def lanes(directory: Path, test: str) -> subprocess.Popen[str]:
    """The tests of that file, on two lanes, in a process of their own."""
    (directory / "test_it.py").write_text(test)
    (directory / "pytest.ini").write_text("[pytest]")
    options = ("-p", "tests.lanes", "-n", "2", "--rootdir", str(directory), "-c", str(directory / "pytest.ini"))
    command = [sys.executable, "-m", "pytest", *options, str(directory / "test_it.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_impatient_interrupt_ends_all_lanes_and_is_no_traceback(tmp_path: Path, number: signal.Signals) -> None:
    """Even where a test does not want to end, and whoever interrupts does so again and again."""
    with lanes(tmp_path, STUBBORN) as process:
        until((tmp_path / "lane").exists)
        while process.poll() is None:
            process.send_signal(number)
            time.sleep(0.1)
        said = process.communicate()[0]
    assert process.returncode == 2
    assert "Traceback" not in said
    until(lambda: has_ended(int((tmp_path / "lane").read_text())))


def test_what_fails_is_told_and_there_are_no_dots(tmp_path: Path) -> None:
    """The log of an automatic run has few lines, and pytest's own summary in the end."""
    with lanes(tmp_path, "def test_a(): pass\ndef test_b(): assert False\n") as process:
        lines = process.communicate()[0].splitlines()
    assert process.returncode == 1
    assert "2 tests" in lines
    assert "FAILED test_it.py::test_b" in lines
    assert any(line.startswith("FAILED test_it.py::test_b - ") for line in lines)
    assert not any(line.strip(".F") == "" and line for line in lines)


def test_how_far_it_is_and_how_long_it_may_take() -> None:
    """By what tests took last time: a long one keeps its lane, however many lanes there are."""
    now = 100.0
    tally = Tally({"t.py::test_long": 60.0, "t.py::test_short": 2.0}, lanes=2, now=lambda: now)
    tally.tests = frozenset({"t.py::test_long", "t.py::test_short"})
    assert tally.left() == 60.0
    tally.start("t.py::test_long")
    tally.start("t.py::test_short")
    now = 110.0
    tally.end("t.py::test_short")
    assert tally.text() == "50%, 1 of 2 tests, 10 s, about 50 s left; long 10 s"
    assert tally.taken == {"t.py::test_short": 10.0}


def test_how_long_it_may_take_is_not_guessed_from_nothing() -> None:
    """The first run ever only counts."""
    tally = Tally({f"of another run {number}": 1.0 for number in range(100)}, lanes=3)
    assert tally.text() == "collecting the tests, 0 s so far"
    tally.tests = frozenset(f"test_{number}" for number in range(100))
    assert tally.left() is None


def test_what_never_ran_is_guessed_from_those_beside_it_alone() -> None:
    """Scenarios come first, and take a hundred times as long as those that come after them."""
    tally = Tally({}, lanes=1, now=lambda: 100.0)
    tally.tests = frozenset({"lab/t.py::test_a", "lab/t.py::test_b", "core/t.py::test_c", "core/t.py::test_d"})
    tally.taken = {"lab/t.py::test_a": 20.0}
    assert tally.left() is None
    tally.taken["core/t.py::test_c"] = 0.5
    assert tally.left() == 20.5


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A Makefile whose Python notes what it is told, and its process, and then does nothing for a long time."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\nprintf "%s\\0" "$@" >told\necho $$ >process\nexec sleep 600\n')
    python.chmod(0o755)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def test_arguments_arrive_as_typed_and_terminating_make_ends_what_it_started(house: Path) -> None:
    """Quotes in ARGS are the shell's; SIGTERM reaches make alone, as in an automatic run that is called off."""
    command = ["make", "test", "ARGS=-k 'health or peers' --color=no"]
    with subprocess.Popen(command, cwd=house, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as make:
        until(lambda: (house / "process").exists() and bool((house / "process").read_text()))
        make.terminate()
    told = (house / "told").read_text().split("\0")
    assert told[told.index("-k") : told.index("-k") + 3] == ["-k", "health or peers", "--color=no"]
    until(lambda: has_ended(int((house / "process").read_text())))


def test_no_two_plugins_make_a_fixture_of_one_name() -> None:
    """A plugin's are everybody's once any module asks for it: which one a test got would depend on chance."""
    made = Counter[str]()
    for path in sorted(TESTS.rglob("*_fixtures.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (name := _fixture(node)):
                made[name] += 1
    assert made, "there are plugins"
    assert [name for name, times in made.items() if times > 1] == []


def _fixture(function: ast.FunctionDef) -> str:
    """What this function makes as a fixture, empty where it makes none."""
    for each in function.decorator_list:
        call = each if isinstance(each, ast.Call) else None
        if ast.unparse(call.func if call is not None else each) == "pytest.fixture":
            named = [ast.literal_eval(word.value) for word in (call.keywords if call else ()) if word.arg == "name"]
            return str(named[0]) if named else function.name
    return ""
