"""``floatingip history``: the moves of the last weeks, as the observers have kept them (core/history.py)."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address

from floatingip.core import history
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move
from floatingip.core.settings import shown
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.board import PodsBoard
from floatingip.edges.utc import utc

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_HEADS = ("WHEN (UTC)", "ADDRESS", "FROM", "TO", "RULE", "RESULT", "SECONDS", "WHY")
_NOBODY = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which moves are shown, and how."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--address", type=_address, default="", metavar="ADDRESS", help="of this floating address or allocation only"
    )
    parser.add_argument(
        "--since", type=_since, default=0.0, metavar="WHEN", help="90m, 12h, 3d, 2w, or a time in UTC: 2026-11-28T03:00"
    )


def run(options: argparse.Namespace) -> int:
    """Show the moves; return the exit code.  Raises KubernetesError."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        raise KubernetesError(
            "this is no pod, so the API server is not known",
            "`kubectl exec deployment/floating-ip -c observer -- floatingip history` runs it in one",
        )
    kept = PodsBoard(ApiServer(os.environ), "").moves()
    moves = [move for move in kept if options.address in ("", move.address) and move.ended_at >= options.since]
    print(document(moves) if options.json else table(moves) if moves else nothing(len(kept)))
    return 0


def nothing(kept: int) -> str:
    """What is shown instead of an empty table, if ``kept`` moves are kept in all."""
    return f"none of the {kept} moves that are kept is of that address and time" if kept else "no move is kept yet"


def _address(text: str) -> str:
    """The address as moves are recorded with it: an IPv6 address can be written in several ways."""
    text = text.strip()  # as in arguments.like
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _since(text: str) -> float:
    try:
        return since(text.strip(), time.time())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)} is neither a span, such as 12h, nor a time") from None


def since(text: str, now: float) -> float:
    """The Unix seconds that ``text`` names: a time, or a span before ``now``.  Raises ValueError for anything else."""
    if span := re.fullmatch(r"([0-9]{1,6})([mhdw])", text):
        return now - int(span[1]) * _UNITS[span[2]]
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def table(moves: Iterable[Move]) -> str:
    """A table with one line for each move; its columns are as wide as they need to be."""
    lines = [_HEADS, *map(_cells, moves)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def document(moves: Iterable[Move]) -> str:
    """The moves as JSON, in the form in which they are kept."""
    return json.dumps([history.document(move, _time(move)) for move in moves], indent=2)


def _cells(move: Move) -> tuple[str, ...]:
    phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in move.seconds.items() if phase != "duration")
    took = f"{move.seconds.get('duration', 0.0):.1f}" + (f" ({phases})" if phases else "")
    source, to = _node(move.source, move.source_node), _node(move.to, move.to_node)
    return _time(move), move.address, source, to, move.rule, move.result, took, move.why


def _node(instance: str, name: str) -> str:
    return f"{name} ({instance})" if name else instance or _NOBODY


def _time(move: Move) -> str:
    return utc(move.ended_at)
