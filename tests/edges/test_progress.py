"""What long work waits for: a live line on a terminal, a line now and then elsewhere."""

import io

import pytest

from floatingip.commands.progress import Progress


class Terminal(io.StringIO):
    """A stream that people see."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def screen(text: str) -> list[str]:
    """The lines that a terminal shows of this, which takes back only its last line, and all of it."""
    return [line.rpartition("\r\x1b[K")[2] for line in text.split("\n")]


def test_where_nobody_watches_only_what_lasts_is_told_and_now_and_then() -> None:
    """As in a log: whole lines, and none while others come."""
    stream, clock = io.StringIO(), iter(range(100))
    progress = Progress(stream, lambda: float(next(clock)))
    for second in range(25):
        progress.wait(f"{second} s")
    progress.say("done")
    progress.close()
    assert stream.getvalue().count("\n") == 3
    assert stream.getvalue().endswith("\ndone\n")
    assert "\r" not in stream.getvalue()


def test_a_terminal_that_only_types_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb: what is there cannot be taken off again."""
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    progress = Progress(stream, lambda: 0.0)
    progress.wait("a second so far")
    progress.say("done")
    assert stream.getvalue() == "done\n"


def test_what_takes_hours_is_told_less_often() -> None:
    """A log of them has few lines."""
    stream, clock = io.StringIO(), iter(range(1000))
    progress = Progress(stream, lambda: float(next(clock)), every=60.0)
    for second in range(240):
        progress.wait(f"{second} s")
    assert stream.getvalue().count("\n") == 4


def test_on_a_terminal_a_live_line_shows_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives way to lines that stay, is gone at the end, and never wraps."""
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    progress = Progress(stream, lambda: 0.0)
    progress.say("asked")
    progress.wait("1 s so far")
    progress.wait("2 s so far, and a text that is far too long")
    assert screen(stream.getvalue()) == ["asked", "2 s so far, and a t"]
    progress.say("moved")
    progress.wait("3 s so far")
    progress.close()
    assert screen(stream.getvalue()) == ["asked", "moved", ""]
