"""
docs/settings.md, made from the docstrings of the settings (floatingip/core/settings.py), their only documentation.

    python -m lab.pages.settings      write it anew
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from floatingip.core.settings import FIELDS, Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"

HEAD = """# Settings

Each is optional and stands in the ConfigMap `floating-ip`, in its document `settings.yaml`; `floating-ip.yaml` has all
of them as comments. `FLOATING_IP`, in the same ConfigMap, says which addresses: IPv4 and IPv6 ones and allocation
ids, separated by commas. Invalid settings are refused, all in one message, before anything is touched (exit code 2).

This page is written by `.venv/bin/python -m lab.pages.settings`.
"""


def documented() -> Mapping[str, str]:
    """The docstring of each field of `Settings`, as one line, in the order of the fields."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
                name = ""
            case _:
                name = ""
    return found


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    texts = documented()
    for name, field in FIELDS.items():
        allowed = re.sub(r"([*\\])", r"\\\1", field.metadata["check"](object()))
        parts.append(
            f"## `{name}`\n\n"
            f"Default: `{_shown(name, field.default)}`. Allowed: {allowed}.\n\n"
            f"{_wrapped(re.sub('``', '`', texts[name]))}\n"
        )
    return "\n".join(parts)


def _shown(name: str, default: object) -> str:
    """A default value as it is written in YAML."""
    if name == "mark":
        return f"{default:#x}"
    if isinstance(default, tuple):
        return "[]"
    return '""' if default == "" else f"{default:g}" if isinstance(default, float) else str(default)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 130, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write it."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
