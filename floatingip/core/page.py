"""The page for people at `/`."""

from __future__ import annotations

from floatingip.core.snapshot import Snapshot


def html(snapshot: Snapshot, now: float) -> str:
    """The page."""
    return f"<!doctype html><title>{snapshot.status.instance_id} {now}</title>"
