"""A log whose reader is gone, or is slow: nobody who tells something waits for it, and what is lost is counted."""

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floatingip.edges import outlet
from floatingip.edges.outlet import Outlet
from tests.waiting import until

LINE = "x" * 1023 + "\n"


Make = Callable[[int], Outlet]


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[int, int]]:
    """Its ends, for reading and for writing; it holds four kilobytes."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def lead_nowhere(end: int) -> None:
    """Let this descriptor be one of /dev/null; what it was one of is closed thereby."""
    with Path("/dev/null").open("r+b", buffering=0) as nowhere:
        os.dup2(nowhere.fileno(), end)


@pytest.fixture
def outlet_to(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes an outlet, which in the end has nothing left to write: it would go to whatever has the descriptor next."""
    reader, writer = pipe
    monkeypatch.setattr(outlet, "AGAIN_AFTER", 0.01)
    made: list[Outlet] = []

    def make(file: int) -> Outlet:
        made.append(Outlet(file))
        return made[-1]

    yield make
    lead_nowhere(writer)
    lead_nowhere(reader)  # a write that waits fails, and is repeated
    for each in made:
        each.end(within=60.0)
        assert not each._lines


def read_all(reader: int, size: int) -> bytes:
    """So many bytes, as they come."""
    got = b""
    while len(got) < size:
        got += os.read(reader, 65536)
    return got


@pytest.mark.parametrize("waits", [True, False], ids=["a file that waits", "one that does not"])
def test_nobody_waits_for_a_reader_who_gets_all_of_it_later(
    pipe: tuple[int, int], outlet_to: Make, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    """In whole lines, and in their order."""
    monkeypatch.setattr(outlet, "UNREAD_AFTER", 0.0)
    reader, writer = pipe
    os.set_blocking(writer, waits)
    out = outlet_to(writer)
    lines = [f"{number} {LINE}" for number in range(50)]
    for line in lines:
        out.write(line)
    until(lambda: out.trouble() == "nobody reads it")
    text = "".join(lines).encode()
    assert read_all(reader, len(text)) == text
    until(lambda: out.trouble() == "")
    assert out.lost == 0


def test_where_too_many_lines_wait_the_oldest_are_lost(
    pipe: tuple[int, int], outlet_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is happening now matters more; and it takes no memory for ever."""
    monkeypatch.setattr(outlet, "LINES_AT_MOST", 3)
    reader, writer = pipe
    out = outlet_to(writer)
    out.write("first " + 5 * LINE)
    until(lambda: not out._lines)  # it is being written, to a pipe that is full
    for number in range(10):
        out.write(f"{number}\n")
    assert out.lost == 7
    text = ("first " + 5 * LINE).encode() + b"7\n8\n9\n"
    assert read_all(reader, len(text)) == text


def test_a_full_disk_ends_nothing_and_is_told_until_there_is_room(pipe: tuple[int, int], outlet_to: Make) -> None:
    """Also where nothing more is written meanwhile; and no line is lost."""
    reader, writer = pipe
    with Path("/dev/full").open("wb") as full:
        out = outlet_to(full.fileno())
        for _ in range(3):
            out.write(LINE)
        until(lambda: out.trouble() == "No space left on device")
        out.end(within=0.01)  # which returns
        os.dup2(writer, full.fileno())
        until(lambda: out.trouble() == "")
        assert read_all(reader, 3 * len(LINE)) == 3 * LINE.encode()
        assert out.lost == 0


def test_a_reader_who_has_gone_ends_nothing(pipe: tuple[int, int], outlet_to: Make) -> None:
    """As where a container's shim has died."""
    reader, writer = pipe
    lead_nowhere(reader)
    out = outlet_to(writer)
    out.write(LINE)
    until(lambda: out.trouble() == "Broken pipe")


def test_the_end_waits_for_what_can_be_written_and_for_nothing_else(pipe: tuple[int, int], outlet_to: Make) -> None:
    """The last lines say why a process ends."""
    reader, writer = pipe
    out = outlet_to(writer)
    for _ in range(3):
        out.write(LINE)
    out.end(within=60.0)
    assert os.read(reader, 65536) == 3 * LINE.encode()
    for _ in range(9):
        out.write(LINE)
    out.end(within=0.01)  # which returns
    assert out._lines
