"""The runbook knows all that the product says, and nothing else."""

import ast
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from floatingip import cli
from floatingip.agent import company, leaving
from floatingip.commands import ending, handover, process, release, status
from floatingip.core.decision.decision import Reason
from floatingip.core.errors import FloatingIPError
from floatingip.core.snapshot import Snapshot
from floatingip.core.word import RESERVED
from floatingip.edges.prometheus import Metrics
from floatingip.edges.tally import Tally
from tests.packaging.substitution import shellcheck

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```sh\n(.*?)```", RUNBOOK, flags=re.DOTALL)
TEXT = re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL)

SOURCES = sorted((ROOT / "floatingip").rglob("*.py"))
LEVELS = ("debug", "info", "warning", "error")
LOGS = ("log", "out", "_log", "_out")
OTHERS_TOOLS = ("kubectl ", "curl ")

READINESS = {
    "agent/whereabouts.py": {"obstacle", "_no_room", "impossible"},
    "agent/readiness.py": {"_unanswered", "_unsound"},
    "agent/shared.py": {"denial"},
    "agent/answers.py": {"_unseen"},
    "agent/obstacles.py": {"misplaced", "unusable"},
    "agent/standing_eni.py": {"_barrier"},
    "agent/standing.py": {"keep", "_judge", "_unattached", "_without_device"},
    "edges/kernel/host.py": {"blind"},
    "edges/kernel/astray.py": {
        "_own_traffic",
        "_own_traffic_now_and_then",
        "_replies",
        "_replies_by_rules",
        "_arriving",
    },
    "edges/kernel/probe_route.py": {"blind"},
    "edges/kernel/routes.py": {"refusal"},
    "edges/kernel/rules.py": {"foreign"},
    "edges/kernel/kube_proxy.py": {"kept_off"},
}
"""The functions that say why a node could neither serve an address nor take it over."""


def section(heading: str) -> str:
    """What stands under a heading of the second level."""
    [found] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """The cells of each line of its tables, without the heads."""
    lines = re.findall(r"^\| (.*) \|$", re.sub(r"^\|.*\n\|[-|]+\|$", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    return [line.split(" | ") for line in lines]


def quoted(text: str) -> list[str]:
    return re.findall(r'"([^"]+)"', " ".join(text.split()))


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def texts(node: ast.AST) -> Iterator[str]:
    """The strings in a piece of code, as the runbook writes them: with … for what is put in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"\{\w+\}", "…", node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        yield "".join(map(str, parts))
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):  # a docstring
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def answers(function: ast.FunctionDef) -> Iterator[str]:
    """What it returns, yields or keeps as a problem, in words."""
    for node in ast.walk(function):
        match node:
            case ast.Return(value=ast.expr() as value) | ast.Yield(value=ast.expr() as value):
                yield from texts(value)
            case (
                ast.keyword(arg="problem", value=value)
                | ast.Assign(targets=[ast.Name(id="problem" | "said")], value=value)
            ):
                yield from texts(value)


def logged() -> dict[str, set[str]]:
    """The levels of each event that the product logs."""
    events = defaultdict[str, set[str]](set)
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Call(func=ast.Attribute(value=called, attr=level), args=[event, *_]) if level in LEVELS:
                    if getattr(called, "id", getattr(called, "attr", "")) in LOGS:
                        for name in names(event):
                            events[name].add(level)
    return events


def names(event: ast.expr) -> Iterator[str]:
    """Those that a log's first argument may give."""
    match event:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from names(body)
            yield from names(other)
        case _:
            raise AssertionError(f"{ast.unparse(event)} is no event's name")


def exit_codes() -> set[int]:
    """Those of the errors, those that the command line gives itself, and those of the signals that end it."""
    kinds = [FloatingIPError, handover.HandoverRefused, release.ReleaseRefused]
    for kind in kinds:
        kinds += kind.__subclasses__()
    codes = {kind.exit_code for kind in kinds}
    sources = [parsed(path) for path in (ROOT / "floatingip" / "commands").rglob("*.py")]
    for node in (node for source in sources for node in ast.walk(source)):
        match node:
            case (
                ast.Return(value=ast.Constant(value=int(code)))
                | ast.Call(func=ast.Attribute(attr="_exit"), args=[ast.Constant(value=int(code))])
            ):
                codes.add(code)
    ended = {128 + number for number in (signal.SIGINT, signal.SIGALRM, *ending.SIGNALS)}
    return codes | ended | {process.DEFECT, cli.UNWRITTEN} | set(status.EXIT_CODES.values())


def metrics() -> set[str]:
    """The names that Prometheus finds."""
    text = Metrics(Tally(), "").text(Snapshot(0.0, RESERVED))
    return set(re.findall(r"^# HELP (\w+)", text, flags=re.MULTILINE))


def test_each_reason_is_explained_by_its_sentence() -> None:
    """And no other is."""
    explained = [(name, sentence) for name, sentence, *_ in rows(section("Reasons"))]
    said = {reason.name: re.sub(r"\{\w+\}", "…", reason.value) for reason in Reason}
    sentences = {(f"`{name}`", f'"{sentence}"') for name, sentence in said.items()}
    assert len(explained) == len(sentences)
    assert set(explained) == sentences


def test_each_event_is_explained_with_its_levels() -> None:
    """And no other is."""
    explained = [(event, frozenset(levels.split(", "))) for event, levels, *_ in rows(section("Events"))]
    events = {(f"`{event}`", frozenset(levels)) for event, levels in logged().items()}
    assert len(explained) == len(events)
    assert set(explained) == events


def test_each_exit_code_is_explained_and_which_command_has_it() -> None:
    """And no other is."""
    told = rows(section("Exit codes"))
    assert {int(code) for code, *_ in told} == exit_codes()
    named = {name for _, whose, *_ in told for name in re.findall(r"`(\w+)`", whose)}
    assert named == set(cli.COMMANDS)


def test_the_metrics_that_it_names_exist() -> None:
    """All of them are explained in metrics.md."""
    assert set(re.findall(r"`(floatingip_\w+)`", TEXT)) <= metrics()


def test_whatever_keeps_a_node_from_being_ready_is_explained() -> None:
    """By the very words of `/readyz`, but for reasons, which have a table of their own."""
    said = {company.LONELY.format(port="…"), leaving.UNKNOWN}
    for path, functions in READINESS.items():
        found = [node for node in ast.walk(parsed(ROOT / "floatingip" / path)) if isinstance(node, ast.FunctionDef)]
        assert functions <= {function.name for function in found}
        said |= {text for f in found if f.name in functions for text in answers(f) if " " in text}
    assert said - set(quoted(section("What /readyz may say"))) == set()


def test_what_is_quoted_is_said_somewhere() -> None:
    """Word for word."""
    said = [text for path in SOURCES for text in texts(parsed(path))]
    assert {quotation for quotation in quoted(TEXT) if not any(quotation in text for text in said)} == set()


def test_each_name_is_one_of_the_product() -> None:
    """What is marked as code is in its source or in its manifest, or is for another tool."""
    known = "\n".join(path.read_text(encoding="utf-8") for path in [*SOURCES, ROOT / "floating-ip.yaml"])
    marked = {name for name in re.findall(r"`([^`]+)`", TEXT) if not name.startswith(OTHERS_TOOLS)}
    assert {name for name in marked - metrics() if name not in known} == set()


def test_its_commands_are_sound_shell() -> None:
    """All of them together."""
    assert shellcheck(COMMANDS, exclude="SC2016") == (0, "")
