"""
Read the settings from the ConfigMap, which comes as a file and as the environment.

``FLOATING_IP`` comes from the environment, everything else from a YAML document of flat keys.  All problems are found
before anything is touched, and reported together, each with the setting, its value and where it came from.

The document is read event by event, without YAML's aliases, tags and recursion, so that its size bounds the cost.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from floatingip.core.errors import ConfigurationError
from floatingip.core.model import Carry
from floatingip.core.settings import FIELDS, LONGEST_SHOWN, Settings, contradictions, shortened, shown
from floatingip.core.targets import floating_ips

DEFAULT_PATH = Path("/etc/floatingip/settings.yaml")

LARGEST_DOCUMENT = 1 << 16
"""Bytes, at most.  With all its comments the document has a tenth of that."""

DEEPEST = 3
"""Levels of nesting that are read, so that a message can show a value that should have been a list or a text."""

MOST_PROBLEMS = 30
"""Lines of the message, at most; then one says how many more problems there are."""

_NUMBER = re.compile(
    r"[-+]?(?:0x[0-9a-fA-F]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+|\.(?i:inf|nan))"
)
"""Numbers that YAML 1.1 and 1.2 read alike.  Others (`011`, `1:30`, `1_000`) might be read as another number than was
meant, so they stay texts."""


def load(environ: Mapping[str, str], path: Path) -> Settings:
    """Read the settings, or raise one ``ConfigurationError`` whose message has a line for each problem."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    targets = floating_ips(environ.get("FLOATING_IP", ""), problems)
    document = _document(path, problems)
    unknown = [key for key in document if key not in FIELDS]
    for key, value in document.items():
        field = FIELDS.get(key)
        if field is None:
            if key == unknown[0]:
                names = shortened(", ".join(map(_key, unknown)))
                problems.append(f"{names}: unknown setting in {path}; known are {', '.join(FIELDS)}")
            continue
        wanted = field.metadata["check"](value)
        if wanted:
            problems.append(f"{key}: {shown(value)} in {path} should be {wanted}{_remedy(field, value)}")
        else:
            values[key] = _as(field.default, value)
    beside = f"stands beside {path.name} in the ConfigMap, where nobody reads it; indent it as a line of {path.name}"
    problems.extend(f"{name}: {beside}" for name in _keys_beside(path) if name in FIELDS)
    settings = Settings(targets, **values)
    problems.extend(contradictions(settings))
    if problems:
        more = [f"and {len(problems) - MOST_PROBLEMS} problems more"] if len(problems) > MOST_PROBLEMS else []
        raise ConfigurationError("\n".join(problems[:MOST_PROBLEMS] + more))
    return settings


class Watched:
    """The ConfigMap's files, which kubelet updates while a container runs: the settings and, beside them, a file with
    the present FLOATING_IP, since the environment of a process never changes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._targets = path.with_name("FLOATING_IP")
        self._seen: object = None

    def changed(self, environ: Mapping[str, str]) -> Settings | None:
        """The settings, as `load` reads them; None while both files are the same as last time."""
        now = [_identity(path) for path in (self._path, self._targets)]
        if now == self._seen:
            return None
        self._seen = now
        with suppress(OSError, ValueError):  # An older manifest mounts no such file: the environment's value counts.
            environ = {**environ, "FLOATING_IP": _text(self._targets)}
        return load(environ, self._path)


def _keys_beside(path: Path) -> list[str]:
    """The keys of the ConfigMap to which the document belongs; empty if it is an ordinary file.

    kubelet mounts each key as a link into a directory with the name `..data`.
    """
    try:
        return sorted(key.name for key in (path.parent / "..data").iterdir())
    except OSError:
        return []


def _identity(path: Path) -> object:
    """A value that differs between a file and the one that replaces it; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _as(default: Any, value: Any) -> Any:
    """The value converted to its setting's type, if YAML has another one: whole numbers for seconds, lists, texts."""
    return type(default)(value) if isinstance(default, float | tuple | Carry) else value


def _remedy(field: Any, value: Any) -> str:
    """What to do about a value that YAML reads as another type than was meant; empty if that is not the problem."""
    if value is None:
        return "; without that line it has its default"
    if isinstance(value, str) and "$" in value:
        return "; export that variable before `envsubst < floating-ip.yaml | kubectl apply -f -`"
    if not isinstance(value, str) and not field.metadata["check"](str(value)):
        return "; in quotes it is a text"
    if isinstance(value, str) and isinstance(field.default, int | float) and _NUMBER.fullmatch(value):
        return "; without quotes, and with a point before any exponent, it is a number"
    return ""


def _key(key: str) -> str:
    return shortened(key if key.isprintable() else repr(key))


def _document(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        # SafeLoader() is inside of `try`, since its reader may already refuse the first characters.
        found = _settings_in(yaml.SafeLoader(_text(path)))
    except OSError as error:
        why = "is the ConfigMap floating-ip there, and mounted? Outside of a pod give --settings"
        problems.append(f"{path}: {error.strerror}; {why}")
        return {}
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # The last two: bytes or escapes that are not valid.
        problems.append(f"{path}: not a YAML document: {shortened(' '.join(str(error).split()))}")
        return {}
    if found is None:
        problems.append(f"{path}: should hold lines of the form `setting: value`")
        return {}
    for key, places in found.items():
        if len(places) > 1:
            lines = ", ".join(str(line) for line, _ in places)
            problems.append(f"{_key(key)}: stands in lines {shortened(lines)} of {path}; keep one of them")
    return {key: places[-1][1] for key, places in found.items()}


def _text(path: Path) -> str:
    """The file's text.  Raises OSError, and ValueError if it is no text of a sane size."""
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(kind):
        # Reading would wait for a pipe that nobody writes to, and a device need not end.
        raise ValueError("it is no file, but a pipe or a device")
    with path.open("rb") as file:
        content = file.read(LARGEST_DOCUMENT + 1)
    if len(content) > LARGEST_DOCUMENT:
        raise ValueError(f"it has more than {LARGEST_DOCUMENT} bytes")
    return content.decode("utf-8-sig")


def _settings_in(loader: Any) -> dict[str, list[tuple[int, Any]]] | None:
    """For each key the numbers of its lines, with the values there; None if the document is no mapping of texts.

    The loader is a ``yaml.SafeLoader``, most of which PyYAML's stubs leave untyped.  Raises YAMLError, ValueError and
    OverflowError.
    """
    loader.get_event()
    if loader.check_event(yaml.StreamEndEvent):
        return {}
    loader.get_event()
    top = loader.get_event()
    found: dict[str, list[tuple[int, Any]]] = {}
    if isinstance(top, yaml.MappingStartEvent):
        while not loader.check_event(yaml.MappingEndEvent):
            event = loader.get_event()
            key = _value(loader, event, 1)
            if not isinstance(key, str):
                return None
            found.setdefault(key, []).append((event.start_mark.line + 1, _value(loader, loader.get_event(), 1)))
        loader.get_event()
    elif _value(loader, top, 1) is not None:
        return None
    loader.get_event()
    if not loader.check_event(yaml.StreamEndEvent):
        raise _refused("a second document", loader.peek_event())
    return found


def _value(loader: Any, event: Any, depth: int) -> Any:
    """The value that begins with this event: a text, a number, true, false or null, or a list or mapping of these."""
    match event:
        case yaml.ScalarEvent():
            return _scalar(loader, event)
        case yaml.SequenceStartEvent() if depth <= DEEPEST:
            items = []
            while not loader.check_event(yaml.SequenceEndEvent):
                items.append(_value(loader, loader.get_event(), depth + 1))
            loader.get_event()
            return items
        case yaml.MappingStartEvent() if depth <= DEEPEST:
            pairs = {}
            while not loader.check_event(yaml.MappingEndEvent):
                key = _value(loader, loader.get_event(), depth + 1)
                pairs[key if isinstance(key, str) else repr(key)] = _value(loader, loader.get_event(), depth + 1)
            loader.get_event()
            return pairs
        case yaml.AliasEvent():
            raise _refused(f"*{event.anchor} stands for another value: write that itself", event)
        case _:
            raise _refused("lists within lists", event)


def _scalar(loader: Any, event: Any) -> Any:
    if event.tag not in (None, "!"):
        raise _refused(f"the tag {event.tag}", event)
    tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    kind = tag.removeprefix("tag:yaml.org,2002:")
    if kind == "timestamp":
        raise _refused(f"{event.value} is a date, in quotes it is a text", event)
    if kind == "merge":
        raise _refused(event.value, event)
    # A long number would take long to convert, and no setting can have it.
    if kind in ("int", "float") and (len(event.value) > LONGEST_SHOWN or not _NUMBER.fullmatch(event.value)):
        return event.value
    if kind in ("int", "float", "bool", "null"):
        return loader.construct_object(yaml.ScalarNode(tag, event.value))
    return event.value


def _refused(what: str, event: Any) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {event.start_mark.line + 1}: {shortened(what)}; give one `setting: value` a line")
