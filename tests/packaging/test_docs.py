"""The documents keep up with the product and its tests."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import pytest

import floatingip
from floatingip.commands.status import EXIT_CODES
from floatingip.core.overview import Observer, Overview, Picture, Standby
from floatingip.core.report import AddressReport, OrderReport, PeerReport, Report
from floatingip.core.status import move_document
from floatingip.edges.ec2 import meaning as ec2
from lab.pages import settings
from tests.core.snapshots import TAKEN

ROOT = Path(__file__).parents[2]
STATUS = re.sub(r"```.*?```", "", (ROOT / "docs" / "status.md").read_text(encoding="utf-8"), flags=re.DOTALL)
ERRORS = (ROOT / "docs" / "ec2-errors.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Row:
    """One line of a table of codes: the code, and the tests that it names."""

    code: str
    tests: tuple[str, ...]


def rows(heading: str) -> list[Row]:
    """The lines of the table under a heading of `ec2-errors.md`."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", ERRORS, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [Row(line.split("`")[1], tuple(re.findall(r"`(tests/[^`]+)`", line))) for line in lines]


def handled() -> Iterator[str]:
    """The codes that `floatingip/edges/ec2/meaning.py` knows: those of its tables, and those that it compares with."""
    yield from ec2.MEANING
    yield from ec2.DENIALS
    for node in ast.walk(ast.parse(Path(ec2.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "code":
            yield from (str(other.value) for other in node.comparators if isinstance(other, ast.Constant))


@cache
def functions_of(path: str) -> dict[str, str]:
    """The source of each function in a file, with its decorators, by its name."""
    text = (ROOT / path).read_text(encoding="utf-8")
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    lines = text.splitlines()
    begins = {f.name: min([f.lineno, *(decorator.lineno for decorator in f.decorator_list)]) for f in functions}
    return {f.name: "\n".join(lines[begins[f.name] - 1 : f.end_lineno]) for f in functions}


def source(test: str) -> str:
    """A test's source by `path::name`.  Raises KeyError and FileNotFoundError."""
    path, _, name = test.partition("::")
    return functions_of(path)[name]


DOCUMENTS = [path for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "adr") for path in sorted(folder.glob("*.md"))]

OWN, OTHERS = rows("Codes with a meaning of their own"), rows("All others")


def test_every_error_code_that_is_handled_is_documented() -> None:
    """And no other is said to be."""
    assert {row.code for row in OWN} == set(handled())


def test_the_other_codes_are_those_without_a_meaning_of_their_own() -> None:
    """But for the one whose meaning depends on its message."""
    assert {row.code for row in OTHERS} & {*ec2.MEANING, *ec2.DENIALS} == set()


@pytest.mark.parametrize("row", [*OWN, *OTHERS], ids=lambda row: row.code)
def test_what_is_said_of_an_error_code_is_tested(row: Row) -> None:
    """The tests that are named exist, and the first one is about this very code."""
    first, *others = row.tests
    assert f'"{row.code}"' in source(first)
    assert all(map(source, others))


def test_every_test_that_the_documents_name_exists() -> None:
    """Also outside of the tables."""
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for test in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", document.read_text(encoding="utf-8")):
            assert source(test) if "::" in test else (ROOT / test).exists()


def links(document: Path) -> list[tuple[Path, str]]:
    """The files that a document links to, each with the heading that it names."""
    found = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    parts = [target.partition("#") for target in found if "://" not in target]
    return [((document.parent / file).resolve() if file else document, heading) for file, _, heading in parts]


def headings(document: Path) -> set[str]:
    """As they stand in links: GitHub takes lower case, without punctuation, and a dash for each space."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for target, heading in links(document):
        assert target.exists(), target
        assert not heading or heading in headings(target), f"{target}#{heading}"


def test_every_document_can_be_reached_from_the_readme() -> None:
    """What nobody links to nobody finds."""
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        reached.add(document)
        ahead += [target for target, _ in links(document) if target.suffix == ".md" and target not in reached]
    assert set(DOCUMENTS) <= reached


def test_the_settings_page_is_what_its_command_writes() -> None:
    """The settings are documented once, where they are defined."""
    assert settings.PAGE.read_text(encoding="utf-8") == settings.page()


@pytest.mark.parametrize(
    "kind",
    [Report, AddressReport, PeerReport, OrderReport, Overview, Picture, Standby, Observer],
    ids=lambda kind: kind.__name__,
)
def test_each_field_of_a_status_is_documented(kind: type) -> None:
    """The document is a promise; and the exit codes are those of the verdicts."""
    marked = set(re.findall(r"`([^`]+)`", STATUS))
    assert {field.name for field in fields(kind)} | move_document(TAKEN).keys() <= marked
    codes = {verdict: int(code) for code, verdict in re.findall(r"^\| (\d+) \| (\w+) \|", STATUS, flags=re.MULTILINE)}
    assert codes == {str(verdict): code for verdict, code in EXIT_CODES.items()}


@pytest.mark.parametrize("name", ["README.md", "docs/install.md", "docs/image.md", "floating-ip.yaml"])
def test_the_image_that_is_built_is_that_of_this_version(name: str) -> None:
    """A new version is a change in all of these, or the manifest would ask for an image that nobody pushed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    tags = set(re.findall(r"(?:REPOSITORY\}?|floatingip):(\w[\w.-]*)", text))
    assert tags == {floatingip.__version__}
