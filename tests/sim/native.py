"""What dataclasses whose methods are written out (plain.py) need beside these methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def fill(kind: Any) -> None:
    """Let `dataclasses.fields` and `dataclasses.asdict` find the fields of such a class."""
    made = dataclasses.make_dataclass(kind.__name__, kind.__match_args__)
    kind.__dataclass_fields__.update(vars(made)["__dataclass_fields__"])


def replaced(value: Any, changes: Mapping[str, Any]) -> Any:
    """`dataclasses.replace` for a call that does not name its fields."""
    if not hasattr(value, "copied"):
        return dataclasses.replace(value, **changes)
    made = value.copied()
    for name, change in changes.items():
        setattr(made, name, change)
    return made
