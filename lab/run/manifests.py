"""The repository's manifests as a user of the region would apply them."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.kubernetes.cluster import Kind, Setup
from lab.kubernetes.small.manifest import Manifest, parse, substitute

ROOT = Path(__file__).parents[2]

SETTINGS = "  settings.yaml: |\n"
"""What floating-ip.yaml has in front of its settings."""


class Manifests:
    """The manifests for a cluster of this kind and setup; `settings` replace those of floating-ip.yaml."""

    def __init__(self, kubernetes: Kind, setup: Setup, settings: Mapping[str, object]) -> None:
        self._kubernetes = kubernetes
        self._setup = setup
        self._settings = settings

    def text(self, name: str, floating_ip: str) -> str:
        """`envsubst < name`, with the settings."""
        variables = {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": floating_ip}
        text = (ROOT / name).read_text(encoding="utf-8")
        if self._kubernetes is Kind.REAL:
            environment = {**os.environ, **variables}
            done = subprocess.run(["envsubst"], input=text, env=environment, capture_output=True, text=True, check=True)
            text = done.stdout
        else:
            text = substitute(text, variables)
        text = text.replace("externalTrafficPolicy: Local", f"externalTrafficPolicy: {self._setup.policy}")
        if not self._setup.has_role:
            text = "---\n".join(part for part in text.split("---\n") if "\nkind: RoleBinding\n" not in part)
        lines = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in self._settings.items())
        return text.replace(SETTINGS, SETTINGS + lines)

    def parsed(self, name: str, floating_ip: str) -> Manifest:
        """The same text, parsed as the small Kubernetes reads it."""
        return parse(self.text(name, floating_ip))
