"""Write a time as the log, Kubernetes and commands show it, in UTC (RFC 3339)."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(unix: float, precision: str = "seconds") -> str:
    """Unix seconds as ``2026-11-28T10:02:11Z``; ``precision`` is that of `datetime.isoformat`."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec=precision).removesuffix("+00:00") + "Z"
