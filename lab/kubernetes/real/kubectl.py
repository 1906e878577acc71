"""The real kubectl, as the cluster's administrator types it."""

import json
from collections.abc import Mapping
from typing import Any

from lab.kubernetes.cluster import ClusterFailed, EvictionRefused
from lab.kubernetes.real.plane import ControlPlane


class KubectlFailed(ClusterFailed):
    """`kubectl` failed; the message has its command line and its output."""


class Kubectl:
    """Asks the API server of this control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl with these arguments, and return what it prints.  Raises KubectlFailed."""
        done = self._plane.kubectl(*arguments, stdin=stdin)
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs it with these arguments."""
        return self._plane.kubectl_command(*arguments)

    def object(self, kind: str, name: str) -> Mapping[str, Any]:
        """One object of the API.  Raises LookupError if there is none."""
        try:
            found: Mapping[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        except KubectlFailed as error:
            raise translated(error) from error
        return found


def translated(error: KubectlFailed) -> Exception:
    """The lab's own exception for a refusal of the API server; the error itself if there is none."""
    said = str(error)
    if "NotFound" in said or "not found" in said:
        return LookupError(said)
    if "disruption budget" in said or "TooManyRequests" in said:
        return EvictionRefused(said)
    return error
