"""Who imports whom, read from the sources: the core stays pure, each library has one home, the product stands alone."""

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from floatingip.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "floatingip"
MODULES = sorted(path for path in PRODUCT.rglob("*.py") if path.name != "__init__.py")

HOUSE = """
core              model errors pace token_bucket
core              timing ec2 plumbing node probe
core              peer
core              health move writes settings bounded_json
core              news
core              word targets ports history report groups
core              lack snapshot together
core              status wording
core/decision     pause
core/decision     decision gate order
core/decision     ration
core/decision     view room
core/decision     carry_eni carry_address
core/decision     carry
core/decision     served situation
core/decision     turns evidence
core/decision     remember free rules
core/decision     here conviction
core/decision     elsewhere
core/decision     decide
core              clocks
core              overview
core              table
core              page
agent             backoff trouble standing pod looks peers shown_by_imds recent claims
agent             shared effects
agent             outbox events serving obstacles answers
agent             whereabouts hearing
agent             readiness
agent             moves telling writing node_ports configured bulletin
agent             address standing_eni
agent             attaching looking rehearsal showing company standings
agent             metadata leaving journal
agent             publishing
agent             agent
edges             clock
edges             socket_filter refusals background utc tally configmap control_group
edges/kernel      netlink
edges             straight
edges             http_client
edges             telemetry outlet
edges             imds prometheus
edges/ec2         asking meaning
edges/ec2         credentials shown connections
edges/ec2         sdk api
edges/ec2         cloud inspection
edges/kernel      announce nft legacy
edges/kernel      path mark_table kube_proxy links extensions
edges/kernel      addresses container
edges/kernel      routes
edges/kernel      rules probe_route
edges/kernel      astray lacking
edges/kernel      marks changes
edges/kernel      host
edges/kernel      chains inspection
edges/kubernetes  api_server
edges/kubernetes  own_pod node_ports board
edges/probes      icmp tcp reach
runtime           calls pulse
runtime           keeping look peers probing questions status_server
runtime           performing reporting roster sight
runtime           desk doing
runtime           loop
commands          arguments complaint ending progress
commands          insisting
commands          console place
commands          deployment history ec2_view
commands          status
commands          observers orders
commands          successor
commands          handing_over
commands          handover release pause
commands          resume process
commands/doctor   finding once
commands/doctor   aws vpc fleet node kubernetes
commands/doctor   trying
commands/doctor   facts
commands/doctor   checks
commands/doctor   examine
commands/doctor   command
commands          starting
commands          attach observe
.                 early cli
.                 __main__
"""
"""All modules, from the ground up, each line a floor: what stands on it imports from the floors before it only."""

LAB = ("network", "ec2", "kubernetes", "run")
"""The lab's folders, from the ground up, on what lies beside them."""

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
    "boto3": {"edges/ec2/sdk"},
    "botocore": {"edges/ec2/connections", "edges/ec2/meaning", "edges/ec2/sdk"},
    "icmplib": {"edges/probes/icmp"},
    "mypy_boto3_ec2": {"edges/ec2/cloud", "edges/ec2/inspection", "edges/ec2/sdk", "edges/ec2/shown"},
    "prometheus_client": {"edges/prometheus"},
    "subprocess": {"edges/kernel/nft"},
    "urllib3": set(),
    "yaml": {"edges/configmap"},
}
"""The modules that may import a library."""


def floors() -> list[tuple[str, ...]]:
    """The modules of each floor, as :func:`module` names them."""
    lines = (line.split() for line in HOUSE.strip().splitlines())
    return [tuple(name if folder == "." else f"{folder}/{name}" for name in names) for folder, *names in lines]


def module(path: Path) -> str:
    """A module's name: its path within the product."""
    return path.relative_to(PRODUCT).with_suffix("").as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """All that a file imports, at any depth, by full dotted names; relative imports as well."""
    found, package = set[str](), path.relative_to(ROOT).parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (above, node.module)))
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return frozenset(found)


def top_levels(path: Path) -> set[str]:
    """The libraries that a file imports."""
    return {name.partition(".")[0] for name in imports(path)}


def ours(path: Path) -> set[str]:
    """The product's modules that a file imports."""
    names = {f"floatingip/{module(path)}".replace("/", "."): module(path) for path in MODULES}
    imported = imports(path)
    return {names[name] for name in imported | {name.rpartition(".")[0] for name in imported} if name in names}


def ends_the_process(node: ast.AST) -> bool:
    """Whether it prints for people, or exits."""
    if isinstance(node, ast.Name):
        return node.id in {"print", "exit", "quit", "SystemExit"}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in {("sys", "exit"), ("os", "_exit"), ("os", "abort")}
    return False


def test_every_module_has_its_place_in_the_house() -> None:
    """A new module is put on a floor, and all the other tests see it."""
    assert sorted(name for floor in floors() for name in floor) == sorted(map(module, MODULES))


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_imports_go_down_only(path: Path) -> None:
    """From one layer to the next, and inside of each: whoever reads a module needs to know those below it only."""
    floor = next(number for number, names in enumerate(floors()) if module(path) in names)
    below = {name for names in floors()[:floor] for name in names}
    assert ours(path) <= below


DECIDING = [path for path in MODULES if module(path).startswith(("core/", "agent/"))]
BESIDE = [PRODUCT / "runtime" / "doing.py", PRODUCT / "runtime" / "performing.py"]
"""These do what was decided, by their caller's clock."""


@pytest.mark.parametrize("path", DECIDING + BESIDE, ids=module)
def test_what_decides_does_no_io_and_reads_no_clock(path: Path) -> None:
    """The same input gives the same decision: time and chance come in as arguments."""
    assert not top_levels(path) & IMPURE


def test_the_decisions_import_nothing_but_plain_python() -> None:
    """The strictest part: everything that one decision rests on is in these files."""
    plain = {"collections", "json", "dataclasses", "enum", "hashlib", "html", "ipaddress", "math", "re", "typing"}
    for path in DECIDING:
        assert top_levels(path) <= plain | {"__future__", "floatingip"}, path


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
    """Each knows the core, its own parts and what all may use; the runtime and the commands join them."""
    names = ("http_client", "socket_filter", "straight", "refusals", "background", "tally", "utc", "clock")
    common = {f"edges/{each}" for each in (*names, "kernel/netlink")}
    for path in MODULES:
        if module(path).startswith("edges/"):
            folder = module(path).rpartition("/")[0]
            own = {other for other in map(module, MODULES) if folder != "edges" and other.startswith(f"{folder}/")}
            others = {name for name in ours(path) if name.startswith("edges/")} - own - common
            assert not others, path


def test_the_lab_imports_downwards_too() -> None:
    """What runs scenarios knows the clusters, these know EC2, and EC2 the network that it moves interfaces on."""
    lab = ROOT / "lab"
    for number, folder in enumerate(LAB):
        above = {f"lab.{name}" for name in LAB[number + 1 :]}
        for path in (lab / folder).rglob("*.py"):
            assert not {".".join(name.split(".")[:2]) for name in imports(path)} & above, path


def test_no_two_modules_of_the_lab_know_each_other() -> None:
    """Nor any more in a circle, not even for types alone: each can be read after those that it imports."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "lab").rglob("*.py")}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {}
    for name, path in paths.items():
        # `from package import module` names the package too, but does not need what else is in it.
        imported = {full if full in paths else full.rpartition(".")[0] for full in imports(path)}
        graph[name] = (imported & set(paths)) - {name}
    TopologicalSorter(graph).prepare()


WAITING = {"asyncio", "select", "selectors", "signal", "socket", "socketserver", "subprocess", "threading", "time"}
"""What a test that waits for nothing but its own code has no use for."""


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_what_waits_for_real_time_is_tested_elsewhere(path: Path) -> None:
    """In tests/edges, where there are sockets and threads; what a test uses of others' tests counts as its own."""
    tests = {".".join(each.relative_to(ROOT).with_suffix("").parts): each for each in (ROOT / "tests").rglob("*.py")}
    reached, new = set[Path](), {path}
    while new:
        reached |= new
        imported = {name for each in new for full in imports(each) for name in (full, full.rpartition(".")[0])}
        new = {tests[name] for name in imported & set(tests)} - reached
    assert not set().union(*map(top_levels, reached)) & WAITING


def test_threads_are_started_in_one_place() -> None:
    """As daemons: one that hangs must not hold up the end of the process."""
    starting = {module(path) for path in MODULES if "Thread(" in path.read_text(encoding="utf-8")}
    assert starting == {"edges/background"}


TELLING = {"early", "cli", "__main__", "commands/complaint", "commands/ending", "commands/process"}
TELLING |= {f"commands/{name.replace('.', '/')}" for name, _ in COMMANDS.values()}
"""The command line, and the module of each command."""


def test_only_the_command_line_prints_or_exits() -> None:
    """Everything else raises, and is told in one place."""
    for path in MODULES:
        if module(path) not in TELLING:
            guilty = [node for node in ast.walk(parsed(path)) if ends_the_process(node)]
            assert not guilty, f"{path}: {[ast.unparse(node) for node in guilty]}"


@pytest.mark.parametrize("path", MODULES, ids=module)
def test_no_constant_has_two_meanings(path: Path) -> None:
    """The second one would hold for whoever meant the first; mypyc compiles no such module."""
    targets = [target for each in parsed(path).body if isinstance(each, ast.Assign) for target in each.targets]
    names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
    assert len(names) == len(set(names))


def test_every_module_says_what_it_is_for() -> None:
    """The docstring is the map of the house, and a folder's is its sign."""
    for path in PRODUCT.rglob("*.py"):
        assert ast.get_docstring(parsed(path)), path


CHOOSE = {"core/decision/carry", "core/decision/carry_eni", "core/decision/carry_address", "core/settings"}
"""The two ways, where one of them is chosen, and the setting that does it."""


def asks_how_to_carry(node: ast.AST) -> bool:
    """Whether it names one of the two ways, or compares a setting with anything."""
    if isinstance(node, ast.Compare):
        return any(isinstance(each, ast.Attribute) and each.attr == "carry" for each in ast.walk(node))
    return isinstance(node, ast.Attribute) and ast.unparse(node) in {"Carry.ENI", "Carry.ADDRESS"}


def test_nothing_but_the_two_ways_asks_how_an_address_is_carried() -> None:
    """Everything else asks what it wants to know, and each way's module tells its story."""
    assert {module(path) for path in MODULES if any(map(asks_how_to_carry, ast.walk(parsed(path))))} <= CHOOSE
