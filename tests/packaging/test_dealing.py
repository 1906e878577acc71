"""Which lane runs which test: one that gives way to others has no time for what is about time."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = """
import os, pathlib, pytest, time
@pytest.mark.parametrize("number", range(8))
def test_it(number, request):
    lane, file = os.environ["PYTEST_XDIST_WORKER"], request.path.relative_to(request.config.rootpath)
    with (request.config.rootpath / "told").open("a") as told:
        told.write(f"{lane} {file}\\n")
    time.sleep(0.02)
"""

ORDINARY = ("gw0", "gw1")
GIVES_WAY = "gw2"


def told(directory: Path, **tests: str) -> dict[str, list[str]]:
    """The files whose tests each lane ran, in its order; two lanes are ordinary, and the third gives way."""
    for place, test in tests.items():
        (directory / "tests" / place).mkdir(parents=True)
        (directory / "tests" / place / f"test_{place}.py").write_text(test)
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib")
    lanes = ("--tx", f"2*popen//python={sys.executable}", "--tx", f"popen//python=nice -n 1 {sys.executable}")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.lanes", "--dist", "loadfile", *lanes, "--rootdir", directory],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    ran = defaultdict[str, list[str]](list)
    for line in (directory / "told").read_text().splitlines():
        lane, _, file = line.partition(" ")
        ran[lane].append(Path(file).parent.name)
    assert sum(map(len, ran.values())) == 8 * len(tests)
    return ran


def test_ordinary_lanes_begin_with_what_waits_and_the_other_one_with_what_computes(tmp_path: Path) -> None:
    """What is short is for whoever comes first; and what is short, or shares something, is for one lane."""
    shared = '\n@pytest.fixture(scope="module")\ndef region(): pass\n'
    ran = told(tmp_path, core=TESTS, kubernetes=TESTS + shared, lab=TESTS, sim=TESTS)
    assert {ran[lane][0] for lane in ORDINARY} <= {"kubernetes", "lab"}
    assert ran[GIVES_WAY][0] == "sim"
    assert not {"kubernetes", "lab"} & set(ran[GIVES_WAY])
    assert sum("core" in files for files in ran.values()) == 1
    assert sum("kubernetes" in files for files in ran.values()) == 1


def test_where_all_tests_wait_the_lane_that_gives_way_runs_none(tmp_path: Path) -> None:
    """It ends, and the others go on."""
    assert set(told(tmp_path, lab=TESTS)) == set(ORDINARY)
