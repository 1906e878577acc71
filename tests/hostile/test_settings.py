"""Settings as anybody might write them: the ConfigMap's document, and FLOATING_IP."""

from collections.abc import Callable
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from floatingip.core.errors import ConfigurationError
from floatingip.core.model import Allocation
from floatingip.core.settings import FIELDS, Settings, contradictions
from floatingip.edges.configmap import MOST_PROBLEMS, load
from tests.hostile.cheap import cheap
from tests.hostile.strategies import mutations, several, texts, values

ADDRESS = "10.0.0.100"
LONGEST_LINE = 1000
"""Characters of a line that names a setting, its value and its file, and says what it should be."""

Load = Callable[[str | bytes, str], Settings | str]
MANIFEST = Path(__file__).parents[2] / "floating-ip.yaml"


@pytest.fixture(name="loaded")
def _loaded(tmp_path: Path) -> Load:
    """The settings, or what a user reads instead."""
    path = tmp_path / "settings.yaml"

    def loaded(document: str | bytes, listed: str = ADDRESS) -> Settings | str:
        path.write_bytes(document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document)
        try:
            return load({"FLOATING_IP": listed}, path)
        except ConfigurationError as error:
            return str(error)

    return loaded


def is_told_well(message: str) -> bool:
    """Each problem is one line that a terminal shows as it is; there are not too many."""
    lines = message.split("\n")
    return 0 < len(lines) <= MOST_PROBLEMS + 1 and all(
        line.isprintable() and len(line) <= LONGEST_LINE + 12 * len(FIELDS) for line in lines
    )


sound: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=100),
    "carry": st.sampled_from(["eni", "address"]),
    "port": st.integers(1, 29999),
    "probe_interval": st.floats(0.05, 10),
    "fall": st.integers(1, 100),
    "service": st.sampled_from(["", "auto", "tcp:30007", "http:30007/a?b"]),
    "settle": st.floats(5, 3600),
    "security_groups": st.lists(st.from_regex(r"sg-[0-9a-f]{17}", fullmatch=True), unique=True, max_size=3),
    "mark": st.integers(1, 2**32 - 1),
    "table": st.integers(100, 2**32 - 1),
    "priority": st.integers(513, 1022),
}


@several(2)
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(FIELDS)), texts), values, max_size=5))
def test_a_document_of_anything_is_settings_or_told_in_lines(loaded: Load, document: dict[str, Any]) -> None:
    """Never anything else; and what is taken keeps within the limits of each setting, and of all together."""
    found = loaded(yaml.safe_dump(document, allow_unicode=True), ADDRESS)
    if isinstance(found, str):
        assert is_told_well(found)
        return
    assert not list(contradictions(found))
    for field in fields(Settings):
        if check := field.metadata.get("check"):
            value = getattr(found, field.name)
            assert value == field.default or not check(list(value) if isinstance(value, tuple) else value)


@several(2)
@given(st.fixed_dictionaries({}, optional=sound))
def test_what_is_taken_is_what_was_written(loaded: Load, document: dict[str, Any]) -> None:
    """Value by value; what is refused names at least one of the settings that stand there."""
    found = loaded(yaml.safe_dump(document, allow_unicode=True), ADDRESS)
    if isinstance(found, str):
        assert is_told_well(found)
        assert any(line.split(":")[0] in FIELDS for line in found.split("\n"))
        return
    for key, value in document.items():
        assert getattr(found, key) == (tuple(value) if isinstance(value, list) else value)


@several(2)
@given(
    st.one_of(st.binary(max_size=200), mutations(b"name: lab\nsecurity_groups: [sg-01234567]\n# \xc3\xa4\nfall: 11\n"))
)
def test_bytes_of_any_kind_are_settings_or_told_in_lines(loaded: Load, document: bytes) -> None:
    """Whatever is mounted there."""
    found = loaded(document, ADDRESS)
    assert isinstance(found, Settings) or is_told_well(found)


targets = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"eipalloc-([0-9a-f]{8}|[0-9a-f]{17})", fullmatch=True),
    st.sampled_from(["10.0.0.1/24", "[2001:db8::1]:80", "$FLOATING_IP", "fe80::1%eth0", "::ffff:10.0.0.1", "1.2.3.04"]),
    texts,
)


@several(3)
@given(st.lists(targets, min_size=1, max_size=4).map(",".join))
def test_a_reservation_is_what_it_says_or_told_in_lines(loaded: Load, listed: str) -> None:
    """Each address and allocation once, in order, and written anew it is the same."""
    found = loaded("", listed)
    if isinstance(found, str):
        assert is_told_well(found)
        return
    meant = [text.strip() for text in listed.split(",")]
    assert [str(t) for t in found.floating_ips] == [
        text if text.startswith("eipalloc-") else str(ip_address(text)) for text in meant
    ]
    assert not any(
        isinstance(t, Allocation) != text.startswith("eipalloc-")
        for t, text in zip(found.floating_ips, meant, strict=True)
    )
    assert loaded("", ",".join(map(str, found.floating_ips))) == found


@pytest.mark.parametrize("text", [30_000 * ":", 30_000 * "1.", "[" + 30_000 * ":", 60_000 * "a-", 60_000 * ","])
def test_a_long_reservation_is_refused_at_once(loaded: Load, text: str) -> None:
    """An environment has room for it."""
    with cheap():
        found = loaded("", text)
    assert isinstance(found, str)
    assert is_told_well(found)
