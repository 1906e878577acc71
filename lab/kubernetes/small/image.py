"""
Run the lab's containers from a container image, as a node's kubelet and container runtime do it.

    python -m lab.kubernetes.small.image NAME COMMAND...    run COMMAND in a sandbox that has the image, as root

Outside of the sandbox podman mounts the image once (`enter`).  Inside, each container is an OCI bundle that runc runs
(`Image.command`): the image's entry point, variables and files, with the rights of the manifest.  runc gets its PID
namespace from pod.py: if pod.py is killed, runc and all that it runs end too.

Not modelled: the limits of `resources` (no control group can be written to).
"""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from lab import sandbox
from lab.kubernetes.podman import podman
from lab.kubernetes.small.objects import SecurityContext

SECCOMP = Path("/usr/share/containers/seccomp.json")
"""What `RuntimeDefault` stands for: the profile of podman, which differs from containerd's in little."""
WARDEN: Mapping[str, Any] = {"files": {}, "capabilities": None}
"""The SPEC of pod.py for a container runtime, which sees to files and capabilities by itself."""

_VARIABLE = "FLOATINGIP_LAB_IMAGE"
"""The variable by which the processes of a sandbox know the mounted image."""
_GO_ARCHITECTURE = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
_MOUNTS = (
    ("/proc", "proc", "nosuid", "noexec", "nodev"),
    ("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    ("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
    ("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
    ("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
    ("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
)
# These are what kubelet's default (`procMount: Default`) masks.
_MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True)
class Image:
    """A mounted image: the directory with its files, how a container of it starts, its labels, its size in bytes."""

    root: str
    entry_point: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    labels: Mapping[str, str]
    size: int

    def to_json(self) -> str:
        """The image as text, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The image that `to_json` has written."""
        fields = json.loads(text)
        return cls(**{**fields, "entry_point": tuple(fields["entry_point"])})

    def command(
        self,
        arguments: Sequence[str],
        security: SecurityContext,
        environment: Mapping[str, str],
        files: Mapping[str, Mapping[str, str]],
    ) -> list[str]:
        """
        The command that runs one container with these arguments of the entry point, variables (beside the image's) and
        files (directory -> file name -> text).  It passes SIGTERM on and ends with the container's exit code.

        Needs a sandbox, and through pod.py namespaces of its own.
        """
        bundle = Path(tempfile.mkdtemp(prefix="bundle-", dir="/run"))
        mounts = []
        for index, (directory, contents) in enumerate(files.items()):
            source = bundle / f"files-{index}"
            source.mkdir()
            for name, text in contents.items():
                (source / name).write_text(text, encoding="utf-8")
            options = ["bind", "ro", "nosuid", "nodev", "noexec"]
            mounts.append({"destination": directory, "type": "bind", "source": str(source), "options": options})
        config = self._config(arguments, security, {**self.environment, **environment}, mounts)
        (bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")
        # With --rootless runc does without control groups, which are read-only here.
        return ["runc", "--rootless", "true", "run", "--bundle", str(bundle), bundle.name]

    def _config(
        self,
        arguments: Sequence[str],
        security: SecurityContext,
        environment: Mapping[str, str],
        mounts: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The OCI runtime configuration (opencontainers/runtime-spec 1.0) of a pod with hostNetwork."""
        capabilities = [f"CAP_{name}" for name in security.add]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": security.user or 0, "gid": 0},
                "args": [*self.entry_point, *arguments],
                "env": [f"{name}={value}" for name, value in environment.items()],
                "cwd": self.directory,
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
                "noNewPrivileges": not security.privilege_escalation,
            },
            "root": {"path": self.root, "readonly": security.read_only_root},
            "mounts": [
                *({"destination": at, "type": kind, "source": kind, "options": opts} for at, kind, *opts in _MOUNTS),
                *mounts,
            ],
            "linux": {
                # No network namespace: the runtime is started in the worker's.
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}],
                "maskedPaths": _MASKED,
                "readonlyPaths": _READ_ONLY,
                "seccomp": _seccomp(json.loads(SECCOMP.read_text(encoding="utf-8")), set(capabilities)),
            },
        }


def given() -> Image | None:
    """The image that this sandbox was entered with, if any."""
    text = os.environ.get(_VARIABLE)
    return Image.from_json(text) if text else None


def enter(name: str, command: Sequence[str]) -> int:
    """
    Run `command` in a new sandbox, where `given` returns podman's image `name`; return its exit code.

    Raises SystemExit with one line that says what is missing: root, a program, the image.
    """
    if os.geteuid():
        raise SystemExit("The lab runs containers from an image as root only")
    if missing := [program for program in ("podman", "runc") if shutil.which(program) is None]:
        programs = " ".join(missing)
        raise SystemExit(
            f"To run an image the lab needs {programs}: install it, for example with apt-get install {programs}"
        )
    with _mounted(name) as image:
        os.environ[_VARIABLE] = image.to_json()
        return sandbox.enter(command)


@contextmanager
def _mounted(name: str) -> Iterator[Image]:
    """The image as long as the context lasts.  Its files are shared by all containers, to whom they are read-only."""
    found = json.loads(podman("image", "inspect", name))[0]
    config = found["Config"]
    # A container, not the image itself: mount points are made among its files, and an image's are read-only.
    container = podman("create", name)
    try:
        yield Image(
            root=podman("mount", container),
            entry_point=tuple(config["Entrypoint"]),
            environment=dict(variable.split("=", 1) for variable in config["Env"]),
            directory=config.get("WorkingDir") or "/",
            labels=config.get("Labels") or {},
            size=found["Size"],
        )
    finally:
        podman("rm", container)


def _seccomp(profile: Mapping[str, Any], capabilities: set[str]) -> dict[str, Any]:
    """A seccomp profile of podman's and Docker's format in OCI's format, for these capabilities on this machine."""
    architecture, own = _GO_ARCHITECTURE[platform.machine()]
    [compatible] = [entry["subArchitectures"] for entry in profile["archMap"] if entry["architecture"] == own]

    def applies(rule: Mapping[str, Any]) -> bool:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        return (
            capabilities >= set(includes.get("caps", ()))
            and architecture in includes.get("arches", (architecture,))
            and not capabilities & set(excludes.get("caps", ()))
            and architecture not in excludes.get("arches", ())
        )

    known = ("names", "action", "args", "errnoRet")
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [own, *compatible],
        "syscalls": [
            {key: rule[key] for key in known if rule.get(key) is not None}
            for rule in profile["syscalls"]
            if applies(rule)
        ],
    }


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m lab.kubernetes.small.image NAME COMMAND [ARGUMENT...]")
    sys.exit(enter(sys.argv[1], sys.argv[2:]))
