"""
Become a machine: a file system, processes and control groups of its own, in a given network namespace.

Run by node.py as a script (no package, no site): `python -I -S boot.py SPEC`, SPEC being JSON with

    root      an empty directory where the machine's file system is made
    groups    the control groups to join, as the lab sees them
    cgroup    where the machine is to see control groups: mount point -> (type, options)
    netns     the file of its network namespace
    name      its host name
    bind      directory or file on the machine -> where it is on this host, read-only
    files     file on the machine -> text
    init      the command that is its PID 1

Prints the process id of PID 1, as seen from outside, and ends with it.  When PID 1 is killed, or this process, the
kernel ends every other process of the machine, and unmounts all that it mounted.

/usr is the host's, read-only; everything else is in memory and is gone with the last process.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# From the kernel's headers: linux/sched.h, linux/mount.h, linux/prctl.h.
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x20, 0x1000, 0x4000, 0x40000, 0x100000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _mount(source: str, target: str | Path, kind: str, flags: int = 0, data: str = "") -> None:
    arguments = (source.encode(), os.fsencode(target), kind.encode(), flags, data.encode())
    _check(_libc.mount(*arguments), f"mount {source or kind} on {target}")


def _bind(source: Path, target: Path, flags: int = MS_RDONLY) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, "", MS_BIND | MS_REC)
    if flags:
        _mount("", target, "", MS_BIND | MS_REMOUNT | flags)


def _build(spec: Mapping[str, Any]) -> None:
    """Build the machine's file system, in this mount namespace; afterwards the working directory is its root."""
    root = Path(spec["root"])
    _mount("", "/", "", MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID, "mode=755,size=75%")
    for directory in ("etc", "opt", "root", "run", "tmp", "proc", "sys", "var/lib", "var/log", "mnt"):
        (root / directory).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    _bind(Path("/usr"), root / "usr")
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if (old := Path("/", name)).is_symlink():
            (root / name).symlink_to(old.readlink())
        elif old.is_dir():
            _bind(old, root / name)
    _bind(Path("/dev"), root / "dev", 0)
    for there, here in spec["bind"].items():
        if Path(here).exists():
            _bind(Path(here), root / there.lstrip("/"))
    for name, text in spec["files"].items():
        file = root / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    _mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("sysfs", root / "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for place, (kind, options) in spec["cgroup"].items():
        target = root / place.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        _mount(kind, target, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    os.chdir(root)
    _check(_libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "unmount the old root")
    # What kubelet mounts for a container has to reach the container runtime, and the containers.
    _mount("", "/", "", MS_REC | MS_SHARED)


def _hand_on_controllers(group: Path) -> None:
    """Version 2: only a group without processes of its own can give controllers to its children, so these move to a
    leaf.
    """
    if not (group / "cgroup.controllers").exists():
        return
    (group / "system").mkdir(exist_ok=True)
    (group / "system" / "cgroup.procs").write_text("0")
    available = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in available))


def main(spec: Mapping[str, Any]) -> int:
    """Be the machine's power supply: its exit code is that of PID 1."""
    for group in spec["groups"]:
        Path(group, "cgroup.procs").write_text("0")
    with Path(spec["netns"]).open("rb") as namespace:
        _check(_libc.setns(namespace.fileno(), CLONE_NEWNET), "setns")
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID), "unshare")
    # Only now: these are the roots of the machine's own control groups.
    for group in spec["groups"]:
        _hand_on_controllers(Path(group))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _become(spec, writer)
    os.close(writer)
    # PID 1 has written this byte once the file system is complete.
    if os.read(reader, 1):
        print(child, flush=True)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(spec: Mapping[str, Any], complete: int) -> None:
    """PID 1's side of the fork; does not return."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "tie to the power supply")
    name = spec["name"].encode()
    _check(_libc.sethostname(name, len(name)), "set the host name")
    _build(spec)
    os.write(complete, b".")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.execv(spec["init"][0], spec["init"])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
