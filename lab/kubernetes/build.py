"""
Build the real Kubernetes, and what it stands on, from the Go modules pinned below `go/`.

    python -m lab.kubernetes.build              what is not built yet, into build/kubernetes
    python -m lab.kubernetes.build versions     API server and kubectl of the other versions, into folders below that

There is one Go module for each family of binaries, since their dependencies disagree.  A family is built anew when a
file in its folder has changed, or the version of Go; Go's own cache makes even that quick.  `binaries` finds what was
built, or what is in the folder that the variable KUBERNETES_BINARIES names.

Needs nothing but Go and Python's standard library.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "go"
BUILT = Path(__file__).parent.parent.parent / "build" / "kubernetes"
VARIABLE = "KUBERNETES_BINARIES"
"""Names a folder that has the binaries: nothing is built then."""


@dataclass(frozen=True)
class Family:
    """
    The binaries that one Go module gives.

    of: the module that is built.  binaries: place below build/kubernetes -> package ("." for the Go module's own).
    tags: Go's build tags.  versions: the Go variables that are set to the version of the module `of`.
    """

    name: str
    of: str
    binaries: dict[str, str]
    tags: str = ""
    versions: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder with its go.mod."""
        return MODULES / self.name

    @property
    def flags(self) -> list[str]:
        """The options for `go build`."""
        link = ["-s", "-w", *(f"-X {variable}={self.version}" for variable in self.versions)]
        return ["-trimpath", "-mod=readonly", "-tags", self.tags, "-ldflags", " ".join(link)]

    @property
    def version(self) -> str:
        """The version of `of` that go.mod pins; empty for a family of our own."""
        found = re.search(rf"^(?:require)?\s*{re.escape(self.of)} (v\S+)", (self.folder / "go.mod").read_text(), re.M)
        return found[1] if found else ""


_VERSIONS = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")
_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
FAMILIES = (
    Family("pause", "", {"pause": "."}),
    Family("registry", "github.com/google/go-containerregistry", {"registry": "."}),
    Family("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "."}),
    Family(
        "containerd",
        "github.com/containerd/containerd/v2",
        {
            name: f"github.com/containerd/containerd/v2/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        tags="no_btrfs no_devmapper no_zfs",
        versions=("github.com/containerd/containerd/v2/version.Version",),
    ),
    Family(
        "kubernetes",
        "k8s.io/kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES}
        | {"agnhost": "k8s.io/kubernetes/test/images/agnhost"},
        versions=_VERSIONS,
    ),
    Family(
        "vpc-cni",
        "github.com/aws/amazon-vpc-cni-k8s",
        {
            "aws-k8s-agent": "github.com/aws/amazon-vpc-cni-k8s/cmd/aws-k8s-agent",
            "aws-cni": "github.com/aws/amazon-vpc-cni-k8s/cmd/routed-eni-cni-plugin",
        },
        versions=("github.com/aws/amazon-vpc-cni-k8s/utils.Version",),
    ),
)

OTHER_VERSIONS = tuple(
    Family(
        f"kubernetes-{minor}",
        "k8s.io/kubernetes",
        {f"{minor}/{name}": f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kubectl")},
        versions=_VERSIONS,
    )
    for minor in ("1.34", "1.36", "1.37")
)
"""The versions that EKS supports beside the one that the documents name: of these only API server and kubectl are
built.
"""


def version() -> str:
    """Kubernetes' version, as v1.35.4."""
    return next(family.version for family in FAMILIES if family.name == "kubernetes")


def binaries(families: Sequence[Family] = FAMILIES) -> Path:
    """
    The folder with all of their binaries.

    Raises SystemExit with one line that says what is missing, and what to do.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else BUILT
    missing = [name for family in families for name in family.binaries if not os.access(folder / name, os.X_OK)]
    if not missing:
        return folder.absolute()
    if named:
        raise SystemExit(f"{VARIABLE}={named} lacks {', '.join(missing)}")
    total = sum(len(family.binaries) for family in families)
    which = "" if len(missing) == total else f" ({', '.join(missing)})"
    go = "" if shutil.which("go") else ", 1.21 or newer, which is not here (https://go.dev/dl)"
    raise SystemExit(
        f"The real Kubernetes is not built{which}: run `make kubernetes`, which needs Go{go}; "
        f"or name a folder that has the binaries, with {VARIABLE}=DIR"
    )


def build(families: Sequence[Family] = FAMILIES) -> None:
    """Build what is not built yet, and report progress on stderr.  Raises SystemExit with what is wrong."""
    if shutil.which("go") is None:
        raise SystemExit(
            "Kubernetes is built by Go, 1.21 or newer: install it (https://go.dev/dl), "
            f"or name a folder that has the binaries, with {VARIABLE}=DIR"
        )
    go = subprocess.run(["go", "env", "GOVERSION", "GOARCH"], capture_output=True, text=True, check=True).stdout
    BUILT.mkdir(parents=True, exist_ok=True)
    wanted = [family for family in families if not _is_built(family, go)]
    for number, family in enumerate(wanted, 1):
        names = ", ".join(family.binaries)
        _say(f"[{number}/{len(wanted)}] {family.name} {family.version}: {names}")
        began = time.monotonic()
        _build(family)
        _stamp(family).write_text(_key(family, go))
        _say(f"[{number}/{len(wanted)}] {family.name}: {time.monotonic() - began:.0f} s")


def _build(family: Family) -> None:
    for name, package in family.binaries.items():
        place = BUILT / name
        place.parent.mkdir(exist_ok=True)
        new = place.with_name(f".{place.name}.new")
        done = subprocess.run(
            ["go", "build", *family.flags, "-o", str(new), package],
            cwd=family.folder,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{name}: go build failed, see above")
        # A rename: no half-written binary ever has this name, and a binary that runs is not overwritten.
        new.replace(place)


def _is_built(family: Family, go: str) -> bool:
    stamp = _stamp(family)
    there = all((BUILT / name).exists() for name in family.binaries)
    return there and stamp.exists() and stamp.read_text() == _key(family, go)


def _stamp(family: Family) -> Path:
    return BUILT / f".{family.name}.built"


def _key(family: Family, go: str) -> str:
    """A fingerprint of all that the binaries depend on."""
    digest = hashlib.sha256(f"{go}{family}{family.flags}".encode())
    for file in sorted(family.folder.rglob("*")):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    build(OTHER_VERSIONS if sys.argv[1:] == ["versions"] else FAMILIES)
