"""The clock: a machine's sleep is time that passes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from floatingip.edges import clock

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "floatingip"
TIMED = [path for floor in ("edges", "runtime") for path in sorted((PRODUCT / floor).rglob("*.py"))]
KERNEL = PRODUCT / "edges" / "kernel"


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the monotonic clock is the only one here")
def test_it_tells_the_time_since_the_boot_asleep_or_not() -> None:
    """Which is the monotonic clock's only where the machine never slept."""
    before, now, after = time.clock_gettime(time.CLOCK_BOOTTIME), clock.now(), time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= now <= after


def test_where_there_is_no_such_clock_the_monotonic_one_counts() -> None:
    """As on macOS, from which commands may be run."""
    script = (
        "import time; del time.CLOCK_BOOTTIME; from floatingip.edges import clock; print(clock.now is time.monotonic)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PRODUCT.parent
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("path", TIMED, ids=lambda path: str(path.relative_to(PRODUCT)))
def test_everything_that_is_timed_is_timed_by_it(path: Path) -> None:
    """By two clocks, an answer would be older or newer than it is.  What only waits for the kernel may use another."""
    if path != PRODUCT / "edges" / "clock.py" and KERNEL not in path.parents:
        assert "monotonic" not in path.read_text()
