"""
Take the fields of a manifest by name and type, so that none is overlooked.

A field that is not taken is an error that names its path: a field that the lab ignored would be one that it does not
test.
"""

import re
from types import TracebackType
from typing import Any, Self


class ManifestError(Exception):
    """The manifest asks for something that the lab does not do, or is malformed; the message begins with the path."""


class Fields:
    """The fields of one mapping: each is taken by name and type; what is left over at the end is an error."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise ManifestError(f"{path}: expected a mapping, found {value!r}")
        self.path = path
        self._left: dict[str, Any] = dict(value)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self._left:
            raise ManifestError(f"{self.path}.{next(iter(self._left))}: not known to the lab")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def _take(self, key: str, kinds: type | tuple[type, ...], default: object = None) -> Any:
        value = self._left.pop(key, default)
        # YAML's `true` is an int to Python, never to Kubernetes.
        wants_bool = kinds is bool
        if value is None or not isinstance(value, kinds) or isinstance(value, bool) is not wants_bool:
            raise ManifestError(f"{self.path}.{key}: {value!r} is not what belongs here")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value: str = self._take(key, str, default)
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        value: int = self._take(key, int, default)
        return value

    def number(self, key: str, default: float) -> float:
        return float(self._take(key, (int, float), default))

    def count(self, key: str, default: int | str) -> int | str:
        """A number of pods, or a percentage."""
        value: int | str = self._take(key, (int, str), default)
        if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
            raise ManifestError(f"{self.path}.{key}: {value!r} is not what belongs here")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value: bool = self._take(key, bool, default)
        return value

    def strings(self, key: str) -> dict[str, str]:
        """A mapping of text to text; Kubernetes refuses an unquoted number here, and so does this."""
        with self.child(key) as child:
            return {name: child.text(name) for name in list(child._left)}

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._take(key, list, [])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ManifestError(f"{self.path}.{key}[{index}]: expected text, found {value!r}")
        return tuple(values)

    def only(self, key: str, *allowed: object) -> None:
        """Take a field that may be absent, and otherwise must have one of these values."""
        if key in self._left:
            value = self._left.pop(key)
            if value not in allowed:
                raise ManifestError(f"{self.path}.{key}: {value!r} is not known to the lab")

    def child(self, key: str) -> "Fields":
        """A mapping; absent is the same as empty."""
        return Fields(self._left.pop(key, {}), f"{self.path}.{key}")

    def children(self, key: str) -> list["Fields"]:
        values = self._take(key, list, [])
        return [Fields(value, f"{self.path}.{key}[{index}]") for index, value in enumerate(values)]
