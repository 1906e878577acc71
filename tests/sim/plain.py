"""
Rewrites the simulation's sources so that mypyc makes faster code of them (compiled.py); what they do stays the same.

- `dataclass` makes its methods while the program runs, so they would be interpreted.  Here they are written out, so
  that a value is made and compared as fast as a structure of C.  mypyc does not know `slots`, either.
- ``replace(value, field=...)`` becomes a call of a method that only makes the new value; `dataclasses.replace` looks at
  each field.
- A constant becomes `Final`, so its value is compiled in where it is used.
- ``isinstance(value, A | B)`` would make that union each time; it becomes a tuple, which is made once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MADE = {"dict": "{}", "list": "[]"}
"""Factory -> the expression for what it makes, of which mypyc makes the best code."""

HEAD = """
from typing import Any as _Any, ClassVar as _ClassVar, Final as _Final
from tests.sim.native import fill as _fill, replaced as _replaced
"""


def plain(sources: Mapping[str, str]) -> dict[str, str]:
    """Each of these sources (name -> text), rewritten."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    values = [value for tree in trees.values() for value in _values(tree)]
    fields = {tuple(field.name for field in value.fields) for value in values}
    changes = {
        change
        for tree in trees.values()
        for call in _replacements(tree)
        if (change := _changed(call)) and any(set(change) <= set(names) for names in fields)
    }
    return {name: _rewritten(source, trees[name], changes) for name, source in sources.items()}


# What is found in a source.


@dataclass(frozen=True)
class _Field:
    """A field of a dataclass; ``default`` and ``factory`` are expressions, empty if it has none."""

    name: str
    type: str
    default: str
    factory: str
    is_compared: bool

    @property
    def parameter(self) -> str:
        """Its parameter of `__init__`."""
        if self.factory:
            return f"{self.name}: {self.type} | None = None"
        return f"{self.name}: {self.type}" + (f" = {self.default}" if self.default else "")

    @property
    def given(self) -> str:
        """The expression for its value in `__init__`."""
        made = MADE.get(self.factory, f"({self.factory})()")
        return f"{made} if {self.name} is None else {self.name}" if self.factory else self.name


@dataclass(frozen=True)
class _Value:
    """A dataclass: it gets the methods that `dataclass` would make with these ``options``, but for its ``own``."""

    name: str
    fields: tuple[_Field, ...]
    options: Mapping[str, bool]
    own: frozenset[str]
    node: ast.ClassDef


def _decorator(node: ast.ClassDef) -> ast.expr | None:
    return next((each for each in node.decorator_list if ast.unparse(each).partition("(")[0] == "dataclass"), None)


def _options(decorator: ast.expr) -> dict[str, bool]:
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {each.arg: bool(ast.literal_eval(each.value)) for each in keywords if each.arg}


def _dataclasses(tree: ast.Module) -> Iterator[tuple[ast.ClassDef, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and (decorator := _decorator(node)) is not None:
            yield node, decorator


def _values(tree: ast.Module) -> Iterator[_Value]:
    """The dataclasses whose methods are written out: those that only keep what they are given."""
    for node, decorator in _dataclasses(tree):
        own = frozenset(each.name for each in node.body if isinstance(each, ast.FunctionDef))
        lines = _lines(node)
        if "__post_init__" in own or any(_is_by_a_helper(line.value) for line in lines):
            continue
        yield _Value(node.name, tuple(map(_field, lines)), _options(decorator), own, node)


def _lines(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [each for each in node.body if isinstance(each, ast.AnnAssign)]


def _is_by_a_helper(value: ast.expr | None) -> bool:
    """Whether a helper of ours makes this field, so that its options are unknown."""
    return isinstance(value, ast.Call) and ast.unparse(value.func).startswith("_")


def _field(line: ast.AnnAssign) -> _Field:
    if isinstance(line.value, ast.Call) and ast.unparse(line.value.func) == "field":
        made = {each.arg: ast.unparse(each.value) for each in line.value.keywords}
    else:
        made = {"default": ast.unparse(line.value)} if line.value is not None else {}
    is_compared = made.get("compare", "True") == "True"
    factory = made.get("default_factory", "")
    return _Field(ast.unparse(line.target), ast.unparse(line.annotation), made.get("default", ""), factory, is_compared)


def _replacements(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "replace" and len(node.args) == 1:
            yield node


def _changed(call: ast.Call) -> tuple[str, ...]:
    """The fields that a call of `replace` names; none if some are not named."""
    names = tuple(each.arg for each in call.keywords if each.arg is not None)
    return names if len(names) == len(call.keywords) else ()


# What is changed in it.


class _Edits:
    """The edits of one source.  Places are bytes in it; nodes of `ast` give them as lines from 1 and bytes within
    those.
    """

    def __init__(self, source: str) -> None:
        self._text = source.encode()
        self._lines = [0]
        for line in self._text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._edits: list[tuple[int, int, bytes]] = []

    def add(self, first: int, last: int, text: str) -> None:
        """Replace what is between these two places by ``text``."""
        self._edits.append((first, last, text.encode()))

    def begin(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Where the node begins."""
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Where the node ends."""
        assert node.end_lineno is not None, "it was parsed"
        assert node.end_col_offset is not None, "it was parsed"
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def after(self, node: ast.stmt) -> int:
        """Where the line below the node begins."""
        assert node.end_lineno is not None, "it was parsed"
        return self._lines[node.end_lineno]

    def made(self) -> str:
        """The source with all edits."""
        text = self._text
        for first, last, new in sorted(self._edits, key=lambda edit: edit[:2], reverse=True):
            text = text[:first] + new + text[last:]
        return text.decode()


def _rewritten(source: str, tree: ast.Module, changes: Iterable[tuple[str, ...]]) -> str:
    edits = _Edits(source)
    written_out = list(_values(tree))
    _write_head(edits, tree)
    for node, decorator in _dataclasses(tree):
        if all(value.node is not node for value in written_out):
            options = ", ".join(f"{name}={on}" for name, on in _options(decorator).items() if name != "slots")
            edits.add(edits.begin(decorator), edits.end(decorator), f"dataclass({options})")
    for value in written_out:
        _write_out(edits, value, changes)
    for call in _replacements(tree):
        _write_replacement(edits, call, changes)
    for each in ast.walk(tree):
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "isinstance":
            _write_union(edits, each.args[1])
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            _write_constant(edits, statement)
    return edits.made()


def _write_head(edits: _Edits, tree: ast.Module) -> None:
    """Add the new imports behind the docstring and the imports from `__future__`."""
    last = None
    for statement in tree.body:
        is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_docstring and not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            break
        last = statement
    at = edits.after(last) if last is not None else 0
    edits.add(at, at, HEAD)


def _write_out(edits: _Edits, value: _Value, changes: Iterable[tuple[str, ...]]) -> None:
    decorator = _decorator(value.node)
    assert decorator is not None, "it is a dataclass"
    edits.add(edits.begin(decorator) - 1, edits.end(decorator), "")
    for line in _lines(value.node):
        if line.value is not None:
            edits.add(edits.end(line.annotation), edits.end(line.value), "")
    methods = "\n".join(f"    {line}" for line in _methods(value, changes))
    at = edits.after(value.node)
    edits.add(at, at, f"\n{methods}\n\n_fill({value.name})\n")


def _methods(value: _Value, changes: Iterable[tuple[str, ...]]) -> Iterator[str]:
    name, fields = value.name, value.fields
    names = [field.name for field in fields]
    all_of_them = ", ".join(f"self.{each}" for each in names)
    yield "__dataclass_fields__: _ClassVar[dict[str, _Any]] = {}"
    yield f"__match_args__: _ClassVar = {tuple(names)}"
    yield f"def __init__(self, {', '.join(field.parameter for field in fields)}) -> None:"
    yield from [f"    self.{field.name} = {field.given}" for field in fields] or ["    pass"]
    yield "def __reduce__(self) -> tuple[_Any, ...]:"
    yield f"    return {name}, ({all_of_them}{',' if names else ''})"
    yield f"def copied(self) -> {name}:"
    yield f"    return {name}({all_of_them})"
    for change in sorted(changes):
        if set(change) <= set(names):
            types = ", ".join(f"{field.name}: {field.type}" for field in _ordered(fields, change))
            given = ", ".join(each if each in change else f"self.{each}" for each in names)
            yield f"def with_{'_'.join(change)}(self, {types}) -> {name}:"
            yield f"    return {name}({given})"
    if "__repr__" not in value.own:
        told = " + ', ' + ".join(f"'{each}=' + repr(self.{each})" for each in names) or "''"
        yield "def __repr__(self) -> str:"
        yield f"    return '{name}(' + {told} + ')'"
    if value.options.get("eq", True):
        yield from _comparisons(value, [field.name for field in fields if field.is_compared])


def _ordered(fields: Iterable[_Field], names: Iterable[str]) -> list[_Field]:
    by_name = {field.name: field for field in fields}
    return [by_name[name] for name in names]


def _comparisons(value: _Value, names: list[str]) -> Iterator[str]:
    if "__eq__" not in value.own:
        yield "def __eq__(self, other: object) -> bool:"
        yield "    if self is other: return True"
        yield f"    if not isinstance(other, {value.name}): return NotImplemented"
        yield f"    return {' and '.join(f'self.{each} == other.{each}' for each in names) or True}"
    mine, theirs = ("(" + "".join(f"{who}.{each}, " for each in names) + ")" for who in ("self", "other"))
    if value.options.get("frozen", False):
        yield "def __hash__(self) -> int:"
        yield f"    return hash({mine})"
    if value.options.get("order", False):
        for method, operator in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">=")):
            yield f"def __{method}__(self, other: {value.name}) -> bool:"
            yield f"    return {mine} {operator} {theirs}"


def _write_replacement(edits: _Edits, call: ast.Call, changes: Iterable[tuple[str, ...]]) -> None:
    value, keywords, names = call.args[0], call.keywords, _changed(call)
    if names in changes:
        edits.add(edits.begin(call), edits.begin(value), "(")
        edits.add(edits.end(value), edits.begin(keywords[0].value), f").with_{'_'.join(names)}(")
        for each in keywords[1:]:
            edits.add(edits.begin(each), edits.begin(each.value), "")
    elif not names:
        edits.add(edits.begin(call), edits.begin(value), "_replaced(")
        edits.add(edits.begin(keywords[0]), edits.begin(keywords[0].value), "")


def _write_union(edits: _Edits, types: ast.expr) -> None:
    each, members = types, list[str]()
    while isinstance(each, ast.BinOp):
        members.insert(0, ast.unparse(each.right))
        each = each.left
    if members:
        edits.add(edits.begin(types), edits.end(types), f"({', '.join([ast.unparse(each), *members])})")


def _write_constant(edits: _Edits, statement: ast.Assign) -> None:
    """Make a name in capitals `Final`; if a line assigns several, only if all are numbers or texts."""
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Name):
        if target.id.isupper() and not isinstance(value, ast.Call | ast.Dict | ast.Tuple | ast.List):
            edits.add(edits.end(target), edits.end(target), ": _Final")
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=True))
        if all(isinstance(each, ast.Constant) for _, each in pairs):
            lines = "; ".join(f"{ast.unparse(name)}: _Final = {ast.unparse(each)}" for name, each in pairs)
            edits.add(edits.begin(statement), edits.end(statement), lines)
