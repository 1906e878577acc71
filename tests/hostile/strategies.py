"""What comes from others, as they might send it: strategies that several of these tests share."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

LONGEST = 64

awkward = st.sampled_from(
    [
        "",
        " ",
        "\n",
        "a\nlevel=error event=takeover",
        '"',
        "\\",
        "\x00",
        "\x1b[2J",
        "\x85\u2028\u2029",
        "\u202e",
        "\ufeff",
        "*",
        "?",
        "$(id)",
        "%s",
        "{0}",
        "../..",
        "\u0660\u0661",
        "nan",
        "-0",
        "i-a",
        "10.0.0.100",
        "99999999999",
        "x" * 2000,
    ]
)
"""Texts that once meant something to somebody who should have read them as a text."""

texts = st.one_of(st.text(max_size=LONGEST), awkward)

names = st.text(st.characters(codec="ascii", exclude_characters="<>&"), max_size=LONGEST)
"""What an XML document, a header or a tag may have as it is."""

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 10**30, 1e308]))

scalars: st.SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), numbers, texts)

values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
"""Anything that JSON or YAML can say."""


def documents(sound: Any) -> st.SearchStrategy[Any]:
    """A sound document of which some part, at any depth, is gone, or is something else."""
    if isinstance(sound, dict):
        parts = {key: st.one_of(documents(value), gone, values) for key, value in sound.items()}
        return st.fixed_dictionaries(parts).map(_without_gaps)
    if isinstance(sound, list):
        return st.one_of(
            st.just(sound),
            st.tuples(*map(documents, sound)).map(list),
            st.lists(values, max_size=3),
            st.just(sound * 50),
        )
    return st.one_of(st.just(sound), scalars)


class _Gone:
    """There is no such entry."""


gone = st.just(_Gone)


def _without_gaps(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not _Gone}


def as_json(value: object) -> bytes:
    """As Python writes it, NaN and half surrogates included."""
    return json.dumps(value).encode()


def mutations(sound: bytes) -> st.SearchStrategy[bytes]:
    """The same bytes with a piece cut out, replaced, doubled, or cut off."""
    place = st.integers(0, len(sound))
    piece = st.one_of(
        st.binary(max_size=8), st.just(b""), st.sampled_from([b"\r\n", b"\n", b"\x00", b"{" * 200, b"9" * 30])
    )
    return st.builds(
        lambda at, to, new, times: (sound[: min(at, to)] + new + sound[max(at, to) :]) * times,
        place,
        place,
        piece,
        st.sampled_from([1, 1, 1, 2]),
    )


def several(times: float) -> settings:
    """More examples than usual of what is cheap, fewer of what is not."""
    return settings(max_examples=max(1, int(settings().max_examples * times)))
