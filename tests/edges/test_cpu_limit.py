"""What a container finds out of the CPU time that it is given, by files as control groups of both versions have."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from floatingip.edges.kernel.container import cpu_limit

QUOTA, PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "10000 100000\n"}, 0.1),
        ({"cpu.max": "max 100000\n"}, None),
        ({QUOTA: "50000\n", PERIOD: "100000\n"}, 0.5),
        ({QUOTA: "-1\n", PERIOD: "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "10000\n"}, None),
        ({"cpu.max": "0 0\n"}, None),
        ({QUOTA: "50000\n"}, None),
    ],
)
def test_a_limit_is_told_and_nothing_else(tmp_path: Path, files: Mapping[str, str], limit: float | None) -> None:
    """Where there is no limit the files say so, and outside of a container there are none, or others."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("microseconds", "limit"), [(100000, None), (99000, 0.99), (400000, None)])
def test_one_cpu_is_all_that_python_uses(tmp_path: Path, microseconds: int, limit: float | None) -> None:
    """One of its threads computes at a time: nobody needs to hear of a limit of one CPU, or more."""
    (tmp_path / "cpu.max").write_text(f"{microseconds} 100000\n")
    assert cpu_limit(tmp_path) == limit
