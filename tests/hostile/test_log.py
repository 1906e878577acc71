"""What strangers have a say in goes into the log: one line for each event, which means what was meant."""

import io
import re
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from floatingip.edges.telemetry import Log
from tests.hostile.strategies import several, texts

keys = st.from_regex(r"[a-z][a-z_]{0,15}", fullmatch=True).filter(
    lambda key: key not in ("time", "level", "event", "msg")
)
others = st.one_of(texts, st.text(st.characters(), max_size=20), st.floats(), st.integers(), st.none(), st.booleans())

PAIR = re.compile(r'([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^ "=\\]+))(?: |$)')


def read(line: str) -> dict[str, str]:
    """A line of logfmt, as a log collector reads it."""
    found, at = {}, 0
    while at < len(line):
        pair = PAIR.match(line, at)
        assert pair is not None, line[at : at + 100]
        found[pair[1]] = pair[3] if pair[3] is not None else _meant(pair[2])
        at = pair.end()
    return found


def _meant(escaped: str) -> str:
    def one(match: re.Match[str]) -> str:
        text = match[0]
        return text[1] if text[1] in '"\\' else text.encode("ascii").decode("unicode_escape")

    return re.sub(r'\\(?:["\\]|x..|u....|U........|[a-z])', one, escaped)


def said(value: object) -> str:
    """What a field means."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


@several(10)
@given(st.dictionaries(keys, others, max_size=4), st.one_of(texts, st.text(st.characters(), max_size=20)))
def test_whatever_is_told_is_one_line_that_is_read_as_it_was_meant(fields: dict[str, object], message: str) -> None:
    """No value ends its line, its quotes or its field, colours a terminal, or turns the direction of what follows."""
    stream = io.StringIO()
    Log(stream).warning("event", message, **fields)
    line, end = stream.getvalue().removesuffix("\n"), stream.getvalue()[-1:]
    assert end == "\n"
    assert line.isprintable()
    found = read(line)
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    expected = {"level": "warning", "event": "event", **{key: said(value) for key, value in fields.items()}}
    assert found == expected | ({"msg": message} if message else {})
