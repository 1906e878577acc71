"""
The manifests before the API servers of all versions that EKS supports: `make test-kubernetes-versions`.

An API server with etcd, and nothing else, tells everything about a manifest: what it does not know, what it warns of,
and what it makes of it.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.kubernetes import build
from lab.kubernetes.build import FAMILIES, OTHER_VERSIONS, Family
from lab.kubernetes.real.plane import ControlPlane
from lab.network.netns import Namespace

ROOT = Path(__file__).parents[2]
MANIFESTS = ("floating-ip.yaml", "sample-service.yaml")
VARIABLES = {"AWS_ACCOUNT": "123456789012", "AWS_REGION": "us-west-2", "FLOATING_IP": "10.0.0.100"}

KUBERNETES = [*(family for family in FAMILIES if family.name == "kubernetes"), *OTHER_VERSIONS]


@pytest.fixture(params=KUBERNETES, ids=lambda family: family.version, scope="module")
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server of one version, which has seen no manifest yet."""
    family: Family = request.param
    folder = tmp_path_factory.mktemp(family.name)
    built = build.binaries((*FAMILIES, family))
    binaries = folder / "binaries"
    binaries.mkdir()
    for place in ("registry", "etcd", *family.binaries):
        (binaries / Path(place).name).symlink_to(built / place)
    namespace = Namespace("versions")
    namespace.create()
    plane = ControlPlane(namespace, binaries, folder / "plane", folder)
    try:
        plane.serve()
        assert f"Server Version: {family.version}" in plane.kubectl("version").stdout
        yield plane
    finally:
        plane.stop()
        namespace.delete()


def manifest(name: str) -> str:
    """`envsubst < name`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    environment = {**os.environ, **VARIABLES}
    return subprocess.run(["envsubst"], input=text, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_taken_without_a_warning_and_means_what_it_says(plane: ControlPlane, name: str) -> None:
    """As a dry run, and applied; nothing in it is unknown, deprecated, or other than what the API server keeps."""
    text = manifest(name)
    for arguments in (("--dry-run=server",), ()):
        done = plane.kubectl("apply", "--validate=strict", *arguments, "-f", "-", stdin=text)
        assert (done.returncode, done.stderr) == (0, "")
    compared = plane.kubectl("diff", "-f", "-", stdin=text)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")
