"""
What the real Kubernetes takes of this machine, and how it gives all of that back.

    python -m lab.kubernetes.real.host COMMAND...   run COMMAND where the real Kubernetes can run; exits with its code
    python -m lab.kubernetes.real.host              name Debian's packages that this machine lacks

Everything that it starts, mounts and plugs in is in namespaces of its own, which the kernel removes, however it ends.
Only control groups outlast it: they are written down (`STATE`) before they are made, and removed at the end.  Those of
a killed lab are removed at the next start, by what was written down.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import sandbox
from lab.kubernetes import build
from lab.kubernetes.podman import podman

STATE = Path("/run/floatingip-kubernetes")
"""Has one file for each lab that runs: its process, and its control groups."""

PACKAGES = {
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "dbus-daemon": "dbus",
    "podman": "podman",
    "envsubst": "gettext-base",
}
"""Commands that are needed beside the sandbox's -> the Debian package of each."""

FILES = {
    "/usr/lib/cni/portmap": "containernetworking-plugins",
    "/usr/lib/python3/dist-packages/dbus": "python3-dbus",
    "/usr/lib/python3/dist-packages/gi": "python3-gi",
}
"""The same for files that are not commands."""

IMAGE = "localhost/floatingip"

_GROUPS = "FLOATINGIP_LAB_GROUPS"
_LAYOUT = "FLOATINGIP_LAB_LAYOUT"
_CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "cpuacct"})
_REMOVED_WITHIN = 10.0
"""Seconds until the kernel has ended the processes of a group whose PID namespace was killed."""


@dataclass(frozen=True)
class Groups:
    """
    The lab's control groups: one in each hierarchy of version 1, or the one of version 2.

    `places` are their directories; `mounts` are how a machine mounts the hierarchies: mount point -> (type, options).
    """

    places: tuple[str, ...]
    mounts: Mapping[str, tuple[str, str]]
    unified: bool

    def of_machine(self, name: str) -> list[Path]:
        """A machine's groups below these; they are made if they are missing."""
        groups = [Path(place, name) for place in self.places]
        for group in groups:
            group.mkdir(exist_ok=True)
            _fill(group)
        return groups

    def freeze(self, name: str, *, frozen: bool) -> None:
        """Stop all processes of the machine, or let them go on."""
        for group in self.of_machine(name):
            if self.unified:
                (group / "cgroup.freeze").write_text("1" if frozen else "0")
            elif (state := group / "freezer.state").exists():
                state.write_text("FROZEN" if frozen else "THAWED")


def is_given() -> bool:
    """Whether this process runs inside of `enter`."""
    return _GROUPS in os.environ


def given() -> Groups:
    """The control groups that `enter` made.  Raises SystemExit outside of it."""
    if not is_given():
        raise SystemExit("The real Kubernetes needs to be entered from outside of a sandbox")
    fields = json.loads(os.environ[_GROUPS])
    mounts = {place: (kind, options) for place, (kind, options) in fields["mounts"].items()}
    return Groups(tuple(fields["places"]), mounts, fields["unified"])


def enter(command: Sequence[str], image: str = IMAGE) -> int:
    """
    Run `command` where the real Kubernetes can run, and return its exit code; podman's `image` is the product.

    Raises SystemExit with one line that says what is missing, before anything is started.
    """
    require()
    os.environ[_LAYOUT] = str(_export(image))
    clean_up()
    with _groups() as groups:
        os.environ[_GROUPS] = json.dumps(asdict(groups))
        return sandbox.enter_privileged(command)


def require() -> None:
    """Raises SystemExit with one line that says what is missing."""
    if os.geteuid():
        raise SystemExit("The real Kubernetes runs as root only: containers and control groups need it")
    if missing := lacking():
        packages = " ".join(sorted(set(missing.values())))
        raise SystemExit(
            f"The real Kubernetes needs {', '.join(missing)}: install {packages}, "
            f"for example with apt-get install {packages}"
        )
    build.binaries()
    _hierarchies()


def lacking() -> dict[str, str]:
    """What this machine does not have: command or file -> Debian's package."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *sandbox.SBIN])
    missing = {name: package for name, package in PACKAGES.items() if shutil.which(name, path=path) is None}
    return missing | {name: package for name, package in FILES.items() if not Path(name).exists()}


def clean_up() -> None:
    """Remove what labs that were killed have left."""
    for file in STATE.glob("*.json"):
        try:
            written = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # another lab is just writing or removing it
        if _started(written["pid"]) != written["started"]:
            for place in written["groups"]:
                _remove(Path(place))
            file.unlink(missing_ok=True)


@contextmanager
def _groups() -> Iterator[Groups]:
    """The control groups, as long as the context lasts."""
    name = f"floatingip-lab-{secrets.token_hex(4)}"
    hierarchies, unified = _hierarchies()
    if unified:
        mounts = hierarchies
    else:
        below = {f"/sys/fs/cgroup/{Path(place).name}": how for place, how in hierarchies.items()}
        mounts = {"/sys/fs/cgroup": ("tmpfs", "mode=755"), **below}
    groups = Groups(tuple(str(Path(place, name)) for place in hierarchies), mounts, unified)
    STATE.mkdir(exist_ok=True)
    state = STATE / f"{name}.json"
    written = {"pid": os.getpid(), "started": _started(os.getpid()), "groups": groups.places}
    state.write_text(json.dumps(written), encoding="utf-8")
    try:
        for group in map(Path, groups.places):
            _hand_on(group.parent)
            group.mkdir()
            _fill(group)
            _hand_on(group)
        yield groups
    finally:
        for place in groups.places:
            _remove(Path(place))
        state.unlink()


def _hierarchies() -> tuple[dict[str, tuple[str, str]], bool]:
    """
    Where control groups are mounted, as mount point -> (type, options), and whether they are version 2.

    Raises SystemExit if controllers are missing, or this lab may not use them.
    """
    one: dict[str, tuple[str, str]] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and place == "/sys/fs/cgroup":
            available = set(Path(place, "cgroup.controllers").read_text().split())
            lacking = {"cpu", "cpuset", "memory", "pids"} - available
            if lacking:
                raise SystemExit(
                    f"The real Kubernetes needs the control groups {', '.join(sorted(lacking))} in {place}"
                )
            return {place: ("cgroup2", "")}, True
        if kind == "cgroup":
            own = [word for word in options.split(",") if word in _CONTROLLERS or word.startswith("name=")]
            if own:
                one[place] = ("cgroup", ",".join(own))
    if absent := set(_CONTROLLERS) - {word for _, options in one.values() for word in options.split(",")}:
        raise SystemExit(f"The real Kubernetes needs control groups: {', '.join(sorted(absent))} are not mounted")
    unwritable = [place for place in one if not os.access(place, os.W_OK)]
    if unwritable:
        raise SystemExit(f"The real Kubernetes needs to write to the control groups in {', '.join(unwritable)}")
    return one, False


def _hand_on(group: Path) -> None:
    """
    Version 2: give this group's controllers to the groups below it.

    Such a group can have no process itself: a machine's own group first moves its processes into a leaf (boot.py).
    Raises SystemExit if processes of others are in it, as in a container.
    """
    handed_on = group / "cgroup.subtree_control"
    if not handed_on.exists():
        return
    available = (group / "cgroup.controllers").read_text().split()
    try:
        handed_on.write_text(" ".join(f"+{name}" for name in available))
    except OSError as error:
        raise SystemExit(
            f"The real Kubernetes needs {group} to hand on its control groups: {error.strerror}"
        ) from error


def _fill(group: Path) -> None:
    """Version 1: give a new group the processors and memory nodes of the one above it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not (group / "cgroup.controllers").exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())


def _remove(group: Path) -> None:
    """
    Remove a group and those below it, once their last process has ended.  Raises OSError if one does not end in time.

    Another lab that starts may be removing the same groups.
    """
    deadline = time.monotonic() + _REMOVED_WITHIN
    while group.exists():
        try:
            below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
            for path in (*below, group):
                path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _started(process: int) -> int | None:
    """When a process was started, in ticks since the boot: together with its id this identifies it for ever.  None if
    there is no such process.
    """
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return None


def layout() -> Path:
    """The product's image as an OCI layout, which `enter` has exported."""
    return Path(os.environ[_LAYOUT])


def _export(image: str) -> Path:
    """Export podman's image as an OCI layout, unless this build of it has been exported before."""
    known = subprocess.run(
        ["podman", "image", "inspect", "--format={{.Id}}", image], capture_output=True, text=True, check=False
    )
    if known.returncode:
        raise SystemExit(f"The real Kubernetes runs the product from an image, and podman has no {image}: make image")
    place = build.BUILT / "images" / known.stdout.strip()
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        for old in place.parent.iterdir():
            shutil.rmtree(old)
        new = place.with_suffix(".new")
        podman("push", "--quiet", image, f"oci:{new}")
        new.rename(place)
    return place


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(" ".join(sorted(set(lacking().values()))))
    else:
        sys.exit(enter(sys.argv[1:]))
