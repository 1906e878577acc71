"""The command lines of lab, bench and simulation: what is wrong is told in one line, before anything runs."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bench.__main__ import main as bench
from lab.cli import main as lab
from lab.command_line import end_of
from tests.sim.__main__ import main as sim

Main = Callable[[Sequence[str]], int]


@pytest.mark.parametrize(
    ("main", "arguments", "told"),
    [
        (lab, "", "python -m lab: the following arguments are required: COMMAND; see `python -m lab --help`"),
        (lab, "run power-cut --seed x", "python -m lab run: argument --seed: invalid int value: 'x'"),
        (lab, "run power-cut --json /nosuch/x", "argument --json: '/nosuch/x' cannot be written: no directory /nosuch"),
        (lab, "soak --failovers 2 --report /", "argument --report: '/' cannot be written: it is a directory"),
        (lab, "torture --history /nosuch/x", "argument --history: '/nosuch/x' cannot be written"),
        (bench, "nosuch", "python -m bench: argument command: invalid choice: 'nosuch'"),
        (bench, "--runs 0", "argument --runs: '0' is no whole number from 1"),
        (sim, "", "python -m tests.sim: one of the arguments --seeds --trace --shrink is required"),
        (sim, "--seeds 0..9 --jobs 0", "argument --jobs: '0' is no whole number from 1"),
    ],
)
def test_wrong_usage_is_one_line(main: Main, arguments: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the command, the argument and its value; nothing is run first and lost afterwards."""
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    [line] = capsys.readouterr().err.splitlines()
    assert told in line
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 74), (OSError(errno.ENOSPC, "full"), 74)]
)
def test_an_end_from_outside_has_its_exit_code(error: BaseException, code: int, tmp_path: Path) -> None:
    """Ctrl-C, a reader who has enough, a full disk: no trace."""

    def main() -> int:
        raise error

    with (tmp_path / "out").open("w") as out:
        assert end_of("lab", main, out) == code


def test_a_defect_keeps_its_trace(tmp_path: Path) -> None:
    """It is no end from outside."""

    def main() -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with (tmp_path / "out").open("w") as out, pytest.raises(OSError, match="denied"):
        end_of("lab", main, out)
