"""
Processes that do nothing but play histories, and what makes these faster there.

A frozen dataclass guards its fields, so Python makes each value by a call for every field: a fifth of a history's time.
That nobody writes to one, mypy has shown before anything runs; and tests that play single histories keep the guard.
"""

from __future__ import annotations

import dataclasses
import enum
import gc
import importlib
import ipaddress
import signal
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

MADE_QUICK = ("floatingip.", "tests.")
"""Only dataclasses of modules with these prefixes are made faster."""


def begin() -> None:
    """Prepare a process that plays for another one: it ignores Ctrl-C, as the one that waits for it handles that and
    ends it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quicken()


def begin_anew() -> None:
    """As `begin`, for a process in which nothing of ours has been loaded yet, such as a spawned one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load()


def load() -> None:
    """Load the simulation and make it faster in every way; before that, nothing of ours may have been loaded."""
    intern()
    importlib.import_module("tests.sim.history")
    quicken()


def quicken() -> None:
    """Make values of the dataclasses in all loaded modules three times as fast to create, as long as this process
    lives.

    Also run the garbage collector less often: a history makes many small objects, and hardly any are in reference
    cycles.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    copies: dict[type, Callable[[Any], Any]] = {}
    modules = [module for name, module in sys.modules.items() if name.startswith(MADE_QUICK)]
    for value in {value for module in modules for value in _values(module)}:
        copies[value] = _thaw(value)

    def replace(value: Any, /, **changes: object) -> Any:
        """As `dataclasses.replace`."""
        copy = copies.get(type(value))
        if copy is None:
            return dataclasses.replace(value, **changes)
        made = copy(value)
        for name, change in changes.items():
            setattr(made, name, change)
        return made

    for module in modules:
        if vars(module).get("replace") is dataclasses.replace:
            vars(module)["replace"] = replace


def intern() -> None:
    """From now on, let there be one object for each address, so that addresses are compared and hashed by identity."""
    if ipaddress.IPv4Address.__hash__ is object.__hash__:
        return  # That was done already.
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        _intern(kind)
    enum.Enum.__hash__ = object.__hash__  # type: ignore[method-assign]  # each member is there only once, too


def _intern(kind: Any) -> None:
    known: dict[tuple[object, ...], object] = {}
    texts: dict[object, str] = {}
    init, to_text = kind.__init__, kind.__str__

    def new(cls: type, address: object) -> object:
        made: Any = object.__new__(cls)
        init(made, address)
        return known.setdefault((made.packed, getattr(made, "scope_id", None)), made)

    def text(address: object) -> str:
        told = texts.get(address)
        if told is None:
            told = texts[address] = to_text(address)
        return told

    kind.__new__, kind.__str__ = new, text
    kind.__hash__, kind.__eq__ = object.__hash__, object.__eq__


def _values(module: ModuleType) -> Iterator[type]:
    """The frozen dataclasses in a module, without those that do more than keep what they are given."""
    for each in vars(module).values():
        if isinstance(each, type) and dataclasses.is_dataclass(each) and "__setattr__" in vars(each):
            is_plain = all(field.init and not field.kw_only for field in dataclasses.fields(each))
            if is_plain and not hasattr(each, "__post_init__"):
                yield each


def _thaw(value: type) -> Callable[[Any], Any]:
    """Remove the guard of a frozen dataclass, so that fields are written directly; return a function that copies a
    value.
    """
    scope: dict[str, Any] = {"value": value, "LACKS": dataclasses.MISSING}
    parameters, lines = ["self"], ["pass"]
    fields = dataclasses.fields(value)
    for field in fields:
        name, given = field.name, field.name
        if field.default is not dataclasses.MISSING:
            scope[f"default_{name}"] = field.default
            parameters.append(f"{name}=default_{name}")
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"make_{name}"] = field.default_factory
            parameters.append(f"{name}=LACKS")
            given = f"make_{name}() if {name} is LACKS else {name}"
        else:
            parameters.append(name)
        lines.append(f"self.{name} = {given}")
    source = [
        f"def init({', '.join(parameters)}):",
        *(f" {line}" for line in lines),
        "def copy(before):",
        " made = value.__new__(value)",
        *(f" made.{field.name} = before.{field.name}" for field in fields),
        " return made",
    ]
    exec("\n".join(source), scope)
    del value.__setattr__, value.__delattr__
    value.__init__ = scope["init"]  # type: ignore[misc]  # that is the point
    copy: Callable[[Any], Any] = scope["copy"]
    return copy
