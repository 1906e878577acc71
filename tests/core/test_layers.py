"""Who imports whom, read from the sources: the core stays pure, each library has one home, the product stands alone."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "floatingip"
MODULES = sorted(PRODUCT.rglob("*.py"))

CORE = {
    "model",
    "view",
    "served",
    "writes",
    "pace",
    "health",
    "ration",
    "order",
    "decide",
    "standing",
    "pod",
    "settings",
    "errors",
}
# What any module may use; `announce`, `marks`, `netlink` and `path` are parts of `host`, `asking` and `credentials`
# of `ec2`.
SHARED = CORE | {
    *("ports", "telemetry", "http_client", "word", "__init__"),
    *("announce", "marks", "netlink", "path"),
    *("asking", "credentials"),
}
EDGES = {path.relative_to(PRODUCT).with_suffix("").parts[0] for path in MODULES} - SHARED

IMPURE = {
    "asyncio",
    "boto3",
    "botocore",
    "datetime",
    "http",
    "icmplib",
    "logging",
    "random",
    "requests",
    "select",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib3",
}
"""What a module that does no I/O and reads no clock has no use for."""

HOMES = {
    "boto3": {"ec2"},
    "botocore": {"ec2"},
    "icmplib": {"probe"},
    "mypy_boto3_ec2": {"ec2"},
    "prometheus_client": {"telemetry"},
    "subprocess": {"marks"},
    "urllib3": set(),
    "yaml": {"settings"},
}
"""The modules that may import a library."""


def module(path: Path) -> str:
    """A module's name within the product; a package's modules go by the package's name."""
    return path.relative_to(PRODUCT).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """All that a file imports, at any depth, by full dotted names; relative imports as well."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (above, node.module)))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def top_levels(path: Path) -> set[str]:
    """The libraries that a file imports."""
    return {name.partition(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    """The product's modules that a file imports."""
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "floatingip" and len(parts) > 1}


def ends_the_process(node: ast.AST) -> bool:
    """Whether it prints for people, or exits."""
    if isinstance(node, ast.Name):
        return node.id in {"print", "exit", "quit", "SystemExit"}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in {("sys", "exit"), ("os", "_exit"), ("os", "abort")}
    return False


def test_the_sources_were_found() -> None:
    """All the others would pass over nothing."""
    assert {module(path) for path in MODULES} >= CORE
    assert {"ec2", "host", "imds", "peers", "probe", "runner", "watch", "release", "cli"} <= EDGES


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_does_no_io_and_reads_no_clock(name: str) -> None:
    """Neither by a library nor through one of our own modules that does."""
    path = PRODUCT / f"{name}.py"
    assert not top_levels(path) & IMPURE
    assert ours(path) <= CORE


def test_the_decisions_import_nothing_but_the_core_and_plain_python() -> None:
    """The strictest part: everything that one decision rests on is in these files."""
    plain = {"__future__", "collections", "dataclasses", "enum", "floatingip", "ipaddress", "math", "re"}
    for name in sorted(CORE - {"settings"}):
        assert top_levels(PRODUCT / f"{name}.py") <= plain, name


@pytest.mark.parametrize("library", sorted(HOMES))
def test_each_library_is_imported_in_its_own_modules_only(library: str) -> None:
    """An upgrade, or another library, touches one file."""
    assert {module(path) for path in MODULES if library in top_levels(path)} <= HOMES[library]


def test_no_library_comes_in_without_a_home() -> None:
    """A new dependency is a decision."""
    foreign = set().union(*map(top_levels, MODULES)) - set(sys.stdlib_module_names) - {"floatingip"}
    assert foreign <= set(HOMES)


def test_the_product_never_imports_the_lab_or_the_tests() -> None:
    """The image contains neither."""
    for path in MODULES:
        assert not top_levels(path) & {"lab", "bench", "tests", "moto", "pytest", "rich"}, path


def test_the_edges_do_not_know_each_other() -> None:
    """Only the runner with its parts, and the commands, join them."""
    joints = {"runner", "watch", "upkeep", "writer", "serving", "threads", "roster", "sight", "desk"}
    joints |= {"handover", "release", "cli", "__main__"}
    for path in MODULES:
        if module(path) in EDGES - joints:
            assert ours(path) <= SHARED | {module(path)}, path


def test_only_the_command_line_prints_or_exits() -> None:
    """Everything else raises, and is told in one place."""
    for path in MODULES:
        if module(path) not in {"cli", "__main__"}:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            guilty = [node for node in ast.walk(tree) if ends_the_process(node)]
            assert not guilty, f"{path}: {[ast.unparse(node) for node in guilty]}"


def test_every_module_says_what_it_is_for() -> None:
    """The docstring is the map of the house."""
    for path in MODULES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
