"""
Start one container: PID 1 of its own PID namespace, with the file system and the rights that the manifest gives it.

Run by containers.py in the worker's network namespace, as a script (no package, no site: it starts in some 30 ms):
`python -I -S pod.py SPEC COMMAND...`, SPEC being JSON with `files` (directory -> file name -> text) and `capabilities`.

- The directories of the ConfigMap and the service account are mounted read-only, also where the host has none.
- The root file system, /sys and /proc/sys are read-only, always: a pod of the lab must not touch the machine.
- Of the capabilities only those named are left, in the bounding set too, and no_new_privs is set.  Seccomp and a user
  other than 0 are not modelled: an unprivileged user namespace has one user.
- With `capabilities` null the command is a container runtime (image.py), which does all this by itself: it only gets a
  PID namespace, and control groups that it cannot write to.

This process stays outside as the container's warden.  It passes SIGTERM on, ends with the container's exit code
(128 + n if signal n ended it), and kills the container when its own stdin ends: then the kubelet is gone.
"""

import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# From the kernel's headers: linux/sched.h, linux/mount.h, linux/prctl.h, linux/capability.h, asm-generic/unistd.h.
CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_RDONLY, MS_BIND, MS_REC, MS_PRIVATE = 0x1, 0x1000, 0x4000, 0x40000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x2, 0x4, 0x8
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_RDONLY = 1, 4, 1
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _check(_libc.mount(*arguments), f"mount {kind} on {target}")


def _make_read_only(directory: str) -> None:
    """Make a directory read-only, with all mounts below it.  Unlike a remount this keeps the mount flags that a user
    namespace must not clear.
    """
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, directory.encode(), AT_RECURSIVE, attributes, ctypes.sizeof(attributes)
    )
    _check(result, f"make {directory} read-only")


def _make_directory(path: Path) -> None:
    """
    Give this mount namespace a directory that the host does not have (and that must not be made there).

    A tmpfs is mounted over its nearest existing parent, and every entry of that parent is bound into the tmpfs.
    """
    parent = next(parent for parent in path.parents if parent.is_dir())
    tree = _check(
        _libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(parent), OPEN_TREE_CLONE | AT_RECURSIVE), f"copy {parent}"
    )
    entries = list(os.scandir(parent))
    _mount("tmpfs", str(parent), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    covered = parent / ".covered"
    covered.mkdir()
    _check(
        _libc.syscall(SYS_MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(covered), MOVE_MOUNT_F_EMPTY_PATH),
        f"bind {covered}",
    )
    os.close(tree)
    for entry in entries:
        target = Path(entry.path)
        if entry.is_symlink():
            target.symlink_to((covered / entry.name).readlink())
            continue
        if entry.is_dir():
            target.mkdir()
        else:
            target.touch()
        _mount(str(covered / entry.name), entry.path, "", MS_BIND | MS_REC)
    _check(_libc.umount2(os.fsencode(covered), MNT_DETACH), f"unmount {covered}")
    covered.rmdir()
    path.mkdir(parents=True)


def _set_up(files: Mapping[str, Mapping[str, str]]) -> None:
    """Build the container's file system in a mount namespace of its own."""
    _mount("", "/", "", MS_REC | MS_PRIVATE)
    for directory, contents in files.items():
        path = Path(directory).resolve()  # /var/run is a link
        if not path.is_dir():
            _make_directory(path)
        _mount("tmpfs", str(path), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755")
        for name, text in contents.items():
            (path / name).write_text(text, encoding="utf-8")
    _make_read_only("/")
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount("/proc/sys", "/proc/sys", "", MS_BIND | MS_REC)
    _make_read_only("/proc/sys")


def _set_up_runtime() -> None:
    """For a container runtime: /proc of its own PID namespace, and no way to make a control group that would outlast a
    power cut.
    """
    _mount("", "/", "", MS_REC | MS_PRIVATE)
    _make_read_only("/sys")
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def _confine(keep: Sequence[str]) -> None:
    """Drop all capabilities but these from the bounding set: the exec that follows gives user 0 only what is in it."""
    kept = {CAPABILITIES[name] for name in keep}
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number not in kept:
            _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")


def _become(spec: Mapping[str, Any], command: Sequence[str], warden: int) -> None:
    """The container's side of the fork; does not return."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "tie to the warden")
    if select.select([warden], [], [], 0)[0]:
        raise SystemExit("the warden is gone")
    if spec["capabilities"] is None:
        _set_up_runtime()
    else:
        _set_up(spec["files"])
        _confine(spec["capabilities"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.execvp(command[0], list(command))


def main(spec: Mapping[str, Any], command: Sequence[str]) -> int:
    """Run the container and return its exit code."""
    # SIGTERM is blocked until it can be passed on.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    warden = os.pidfd_open(os.getpid())
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        try:
            _become(spec, command, warden)
        except OSError as error:
            sys.stderr.write(f"pod.py: {error}\n")
        os._exit(127)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    ended = os.pidfd_open(child)
    readable = select.select([0, ended], [], [])[0]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if ended not in readable:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
