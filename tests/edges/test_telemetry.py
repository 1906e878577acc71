"""Log lines: one line an event, read back by any logfmt reader."""

import io
import json
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address

import pytest

from floatingip.edges.telemetry import Log, quoted
from lab.history import parse_logfmt


class Rule(StrEnum):
    """A field's value may be an enumeration."""

    R3 = "R3"


@pytest.fixture(name="stream")
def _stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(name="log")
def _log(stream: io.StringIO) -> Log:
    return Log(stream)


@pytest.fixture(name="tokyo")
def _tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A node whose clock shows another zone's time."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_line_begins_with_time_level_and_event_and_ends_with_the_message(log: Log, stream: io.StringIO) -> None:
    """In UTC, to the millisecond: lines of several nodes can be put in order."""
    before = datetime.now(UTC)
    log.info("decision", "this node holds the address", rule="R10")
    told = datetime.fromisoformat(parse_logfmt(stream.getvalue().rstrip("\n"))["time"])
    assert abs(told - before) < timedelta(seconds=30)
    pattern = (
        r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info event=decision rule=R10"
        r' msg="this node holds the address"\n'
    )
    assert re.fullmatch(pattern, stream.getvalue())


def test_the_level_tells_who_should_care(log: Log, stream: io.StringIO) -> None:
    """Without a message there is no msg: an empty one would only be noise."""
    log.info("a")
    log.warning("b")
    log.error("c")
    assert re.findall(r"level=(\w+) event=(\w+)", stream.getvalue()) == [
        ("info", "a"),
        ("warning", "b"),
        ("error", "c"),
    ]
    log.info("settings", port=9807)
    assert "msg" not in stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("i-0a", "i-0a"),
        ("2026-11-23T14:13:00Z", "2026-11-23T14:13:00Z"),
        (IPv4Address("10.0.0.100"), "10.0.0.100"),
        (Rule.R3, "R3"),
        (9807, "9807"),
        (0.25, "0.250"),
        (1.23456, "1.235"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', r'"say \"no\""'),
        (r"C:\temp", r'"C:\\temp"'),
        ("two\nlines", r'"two\nlines"'),
        (None, "None"),
        ("Größe", '"Größe"'),
    ],
)
def test_a_value_is_quoted_only_where_it_has_to_be(value: object, text: str) -> None:
    """Bare words are for the eye and for grep."""
    assert quoted(value) == text


@pytest.mark.parametrize("value", ["plain", "two words", 'say "no"', "back\\slash", "two\nlines", "", "a=b c=d", '\\"'])
def test_what_is_written_is_read_back(log: Log, stream: io.StringIO, value: str) -> None:
    """By the lab's reader, which parses what the agents say."""
    log.info("event", value or "-", field=value)
    fields = parse_logfmt(stream.getvalue().rstrip("\n"))
    assert fields["field"] == value


@pytest.mark.parametrize("separator", ["\r", "\r\n", "\v", "\f", "\x1e", "\x85", "\u2028", "\x1b[2J"])
def test_one_event_is_one_line_whatever_a_value_contains(log: Log, stream: io.StringIO, separator: str) -> None:
    """An error text of nft or EC2 must not forge a line, nor steer a terminal."""
    log.info("event", f"before{separator}after")
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().rstrip("\n").isprintable()


def test_lines_of_several_threads_are_whole(log: Log, stream: io.StringIO) -> None:
    """The probe's, the look's and the deciding thread all tell."""

    def tell(name: str) -> None:
        for _ in range(50):
            log.info("event", "x" * 200, who=name)

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 200
    assert all(re.fullmatch(r'time=\S+ level=info event=event who=[abcd] msg="?x{200}"?', line) for line in lines)


def test_a_log_about_something_names_it_in_every_line(log: Log, stream: io.StringIO) -> None:
    """Each address has one, all on one stream; the general one stays as it is."""
    one, other = log.about(address=IPv4Address("10.0.0.100")), log.about(address="eipalloc-1")
    one.info("decision", rule="R10")
    other.about(rule="R3").error("write", "EC2 said no")
    log.info("stopped")
    lines = [parse_logfmt(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("address"), line.get("rule")) for line in lines] == [
        ("decision", "10.0.0.100", "R10"),
        ("write", "eipalloc-1", "R3"),
        ("stopped", None, None),
    ]


# As JSON.


def test_a_json_line_has_the_same_keys_and_numbers_as_numbers(stream: io.StringIO) -> None:
    """In the same order; seconds with milliseconds, all that is neither number nor truth as its text."""
    log = Log(stream, "json").about(address=IPv4Address("10.0.0.100"))
    log.warning("takeover", 'i-a is "silent"', rule=Rule.R3, detect=1.23456, port=9807, ready=True, to=None)
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert list(line.items()) == [
        ("level", "warning"), ("event", "takeover"), ("address", "10.0.0.100"), ("rule", "R3"), ("detect", 1.235),
        ("port", 9807), ("ready", True), ("to", None), ("msg", 'i-a is "silent"'),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["two\nlines", "\u2028", "\x85", "\x1b[2J", "Größe", float("inf"), float("nan")])
def test_a_json_line_is_one_line_of_strict_json_whatever_a_value_contains(stream: io.StringIO, value: object) -> None:
    """A collector that stumbles loses the line, or more."""
    Log(stream, "json").info("event", field=value)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert json.loads(line, parse_constant=refuse)["field"] == str(value)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('time=2026-11-23T14:13:00.123Z event=decision rule=R3 msg="a \\"b\\" c=d\\n"',
         {"time": "2026-11-23T14:13:00.123Z", "event": "decision", "rule": "R3", "msg": 'a "b" c=d\n'}),
        ("empty= quoted=\"\" last=x", {"empty": "", "quoted": "", "last": "x"}),
        ("Traceback (most recent call last):", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_logfmt_is_parsed(line: str, fields: dict[str, str]) -> None:
    """Quoted values with escapes, empty values, and lines that are no logfmt."""
    assert parse_logfmt(line) == fields
