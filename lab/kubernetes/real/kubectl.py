"""The real kubectl, as the cluster's administrator types it."""

import json
from collections.abc import Mapping
from typing import Any

from lab.kubernetes.cluster import ClusterFailed, EvictionRefused
from lab.kubernetes.real.plane import ControlPlane


class KubectlFailed(ClusterFailed):
    """`kubectl` failed; the message has its command and what it said."""


class Kubectl:
    """Asks the API server of this control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """What it prints.  Raises KubectlFailed."""
        done = self._plane.kubectl(*arguments, stdin=stdin)
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """Its command line."""
        return self._plane.kubectl_command(*arguments)

    def object(self, kind: str, name: str) -> Mapping[str, Any]:
        """One object as the API has it.  Raises LookupError."""
        try:
            found: Mapping[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        except KubectlFailed as error:
            raise translated(error) from error
        return found


def translated(error: KubectlFailed) -> Exception:
    """What the API server's refusals are here."""
    said = str(error)
    if "NotFound" in said or "not found" in said:
        return LookupError(said)
    if "disruption budget" in said or "TooManyRequests" in said:
        return EvictionRefused(said)
    return error
