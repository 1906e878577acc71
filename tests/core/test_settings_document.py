"""The settings' document: whatever stands in its place is told in a short line that names it."""

import os
from pathlib import Path

import pytest

from floatingip.core.errors import ConfigurationError
from floatingip.edges.configmap import MOST_PROBLEMS, load
from tests.core.loading import Load, Problems


def test_a_missing_file_names_the_configmap(tmp_path: Path) -> None:
    """A ConfigMap that is not mounted is no reason to run with the defaults."""
    with pytest.raises(ConfigurationError, match=r"settings\.yaml: No such file.*ConfigMap floating-ip"):
        load({"FLOATING_IP": "10.0.0.100"}, tmp_path / "settings.yaml")


def test_a_directory_instead_of_the_file_is_told(tmp_path: Path) -> None:
    """A wrong mount path, for example."""
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load({"FLOATING_IP": "10.0.0.100"}, tmp_path)


@pytest.mark.parametrize("document", ["fall: [", "\tfall: 5", "fall: 5: 6", "a: &x\nb: *y", "fall: \x01"])
def test_what_is_not_yaml_is_told_in_one_line(problems: Problems, document: str) -> None:
    """YAML's own message spans several lines."""
    (line,) = problems(document)
    assert "settings.yaml: not a YAML document: " in line


@pytest.mark.parametrize(
    "document",
    [
        *("name: 2026-13-01", "name: 2026-11-27", "port: 0b_", "fall: " + "9" * 5000, "mark: 0x" + "f" * 60000),
        *("fall: 011", "settle: 1:30", "table: 1_000", "settle: 1e999", "settle: -.inf", "fall: !!int yes"),
        *("rise: !!bool x", "name: !!binary aGVsbG8=", "name: !!python/name:os.system", "settle: !!float x"),
        *("name: !x y", "name: !!set {a}"),
        *('name: "\\UFFFFFFFF"', 'name: "\\uD800"', "name: \0", f"%YAML {'9' * 5000}.1\n---\nfall: 20", "fall:\t20"),
        *("fall: " + "[" * 500 + "]" * 500, "fall: " + "{a: " * 500 + "}" * 500),
        *("[" * 60000, "- " * 30000, "? " * 30000),
        *("a: &a [x, x]\nfall: &b [*a, *a]", "<<: {fall: 20}", "fall: 20\n---\nfall: 30", "---\n---\nfall: 30"),
        *("x" * 70000, "# " + "x" * 70000, f"name: {'x' * 5000}", "*" * 60000),
        "security_groups: [" + "[]," * 20000 + "]",
    ],
    ids=lambda document: document[:20],
)
def test_whatever_the_document_is_one_short_line_tells_it(problems: Problems, document: str) -> None:
    """Whoever sees it is at a terminal, and has to find the place: neither a traceback nor thousands of digits."""
    (line,) = problems(document)
    assert "settings.yaml" in line
    assert len(line) < 600


def test_a_number_is_read_as_it_looks(loaded: Load) -> None:
    """A decimal or hexadecimal one; a mark of the order of bytes changes nothing."""
    settings = loaded("\ufefffall: 20\ntable: 0x400\nsettle: 70.\npatience: 2.0e+1")
    assert (settings.fall, settings.table, settings.settle, settings.patience) == (20, 1024, 70.0, 20.0)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe that nobody writes into, a device that never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="it is no file, but a pipe or a device"):
            load({"FLOATING_IP": "10.0.0.100"}, path)


@pytest.mark.parametrize("content", [b"name: \xff\xfe", *map("fall: 20".encode, ("utf-16", "utf-16-le", "utf-32"))])
def test_bytes_that_are_no_utf8_are_told(tmp_path: Path, content: bytes) -> None:
    """Another encoding, as some editors save it, or no text: the file, not a traceback."""
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"settings\.yaml: not a YAML document"):
        load({"FLOATING_IP": "10.0.0.100"}, path)


def test_thousands_of_problems_are_not_all_told(problems: Problems) -> None:
    """They are the same few again and again."""
    document = "\n".join(f"k{number}: 1" for number in range(5000))
    lines = problems(document, address=",".join(["10.0.0.300"] * 5000))
    assert len(lines) == MOST_PROBLEMS + 1
    assert lines[-1] == f"and {5000 + 1 - MOST_PROBLEMS} problems more"
    (line,) = problems(document)
    assert line.startswith("k0, k1, k2, ")
    assert len(line) < 600


@pytest.mark.parametrize("document", ["- fall", "fall", "5", "5: 6", "yes: 1"])
def test_yaml_of_another_shape_is_told(problems: Problems, document: str) -> None:
    """A list, a text, keys that are no text."""
    (line,) = problems(document)
    assert line.endswith("should hold lines of the form `setting: value`")


@pytest.mark.parametrize("document", ["", "# fall: 7\n", "---\n"])
def test_a_document_of_comments_only_is_fine(loaded: Load, document: str) -> None:
    """As the manifest ships it."""
    assert loaded(document).fall == 11
