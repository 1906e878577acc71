"""The compiled simulation is the same one: it tells the same, and finds the same faults (`make test-compiled`)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import compiled
from tests.sim.mutations import MUTATIONS

pytestmark = pytest.mark.more

TELL = """
from tests.sim.history import play, suffer
for seed in range(20):
    print(*play(seed).lines, sep="\\n")
for seed in range(20):
    print(*suffer(seed).lines, sep="\\n")
"""

LOADED = """
import sys, tests.sim.history
print(*(name for name, module in sys.modules.items() if str(getattr(module, "__file__", "")).endswith(".so")))
"""

INTO = ("floatingip.runtime.performing", "floatingip.runtime.questions")
"""Modules of the product into which a fault can be put there."""


@pytest.fixture(scope="module")
def copy() -> Path:
    """Where it is."""
    return compiled.copy()


def run(directory: Path, *arguments: str) -> str:
    """What Python tells there."""
    done = subprocess.run([sys.executable, *arguments], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_compiled(copy: Path) -> None:
    """What decides, and what judges that, is not by chance the source after all."""
    loaded = run(copy, "-c", LOADED).split()
    assert {"floatingip.core.decision.decide", "floatingip.agent.agent", "tests.sim.invariants"} <= set(loaded)


def test_it_tells_the_same_line_for_line(copy: Path) -> None:
    """Of power cuts, and of misfortunes."""
    assert run(copy, "-c", TELL) == run(compiled.ROOT, "-c", TELL)


@pytest.mark.parametrize("mutation", [each.name for each in MUTATIONS if each.module in INTO])
def test_it_finds_the_same_fault(copy: Path, mutation: str) -> None:
    """At the same seed, in the same words."""
    command = ["-m", "tests.sim.mutations", mutation]
    assert run(copy, *command) == run(compiled.ROOT, *command)
