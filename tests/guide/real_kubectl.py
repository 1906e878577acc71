"""
The real kubectl before a real API server, beside the one that stands for it: both have to take each command.

The API server has no controllers and no kubelets, hence no pods: what only they would answer is asked as far as kubectl
itself tells whether it knows the command.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.kubernetes import build
from lab.kubernetes.real.plane import ControlPlane
from lab.network.netns import Namespace
from tests.guide.cluster import Cluster
from tests.guide.desk import Call, Refused
from tests.guide.kubectl import Kubectl


def why_not() -> str:
    """What is missing for it; empty where nothing is."""
    try:
        build.binaries()
    except SystemExit as missing:
        return str(missing)
    return ""


@contextmanager
def api_server(folder: Path) -> Iterator[ControlPlane]:
    """One that knows nothing yet."""
    namespace = Namespace("guide")
    namespace.create()
    plane = ControlPlane(namespace, build.binaries(), folder / "plane", folder)
    try:
        plane.serve()
        yield plane
    finally:
        plane.stop()
        namespace.delete()


@dataclass
class Both:
    """Asks the real one first; what that prints by a template has to be what the other one prints."""

    plane: ControlPlane
    cluster: Cluster

    def __call__(self, call: Call) -> str:
        for node in self.cluster.nodes.values():
            document = {"apiVersion": "v1", "kind": "Node", **node.as_object()}
            self._real(["apply", "-f", "-"], json.dumps(document))
        real = self._real(_asked(call.words, Path(call.folder)), call.stdin)
        ours = Kubectl(self.cluster)(call)
        if any(word.startswith("jsonpath=") for word in call.words) and real != ours:
            raise Refused(f"the real one says {real!r}, and ours {ours!r}")
        return real

    def _real(self, words: list[str], stdin: str) -> str:
        done = self.plane.kubectl(*words, stdin=stdin)
        if done.returncode:
            raise Refused(f"the real one: {done.stderr}")
        return done.stdout


def _asked(words: list[str], folder: Path) -> list[str]:
    """The same without what nobody would answer; a file by its whole path."""
    match words:
        case ["rollout", *_]:
            return [*words, "--watch=false"]
        case ["exec", *_]:
            at = words.index("--")
            return [*words[:at], "--help", *words[at:]]
    return [str(folder / word) if word.endswith(".yaml") else word for word in words]
