"""
Run a command in namespaces of its own, so that the lab needs no privilege and leaves nothing behind.

`python -m lab.sandbox COMMAND...` runs COMMAND in fresh user, network, mount and PID namespaces, as root of these and
of nothing else, whether root or an ordinary user starts it.  When the command ends, or the sandbox is killed, every
namespace, link, rule, mount and process in it is gone.

With `--uptime SECONDS` in front, the machine seems to have booted so long ago, by its monotonic clocks: on a new
machine these are near zero, on an old one larger than a test would think of.

Two processes watch over the command.  The one that was called stays outside and passes signals on; a small init (PID 1
of the PID namespace) prepares /run, starts the command, reaps orphans and returns the exit code.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

UNSHARE = (
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
)  # fmt: skip
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
PACKAGES = {
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
}

_MARKER = Path("/run/floatingip-lab")
_INIT = "--init"
_UPTIME = "--uptime"
_USAGE = f"usage: python -m lab.sandbox [{_UPTIME} SECONDS] COMMAND [ARGUMENT...]"
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WATCHED = (*_PASSED_ON, signal.SIGCHLD)


def inside() -> bool:
    """Whether this process is in a sandbox."""
    return _MARKER.exists()


def enter(command: Sequence[str], uptime: float | None = None) -> int:
    """
    Run `command` in a new sandbox and return its exit code (128 + n if signal n ended it, as a shell says it).

    uptime: how many seconds ago the machine seems to have booted; None for the true time.

    SIGTERM, SIGHUP, SIGINT and SIGQUIT are passed on to the command; those that the terminal sends reach it anyway.

    Raises SystemExit with one line that says what this machine lacks.
    """
    _extend_path()
    _require_tools()
    unshare = (*UNSHARE, *_clocks(uptime))
    _require_namespaces(unshare)
    init = (sys.executable, "-m", "lab.sandbox", _INIT, *command)
    # If this process is killed, so is unshare, and with --kill-child everything inside.  The signals stay blocked for
    # init: one that came before init is ready would be lost, like every signal that a PID 1 does not handle.
    outer = _spawn(("setpriv", "--pdeathsig", "KILL", *unshare, *init), blocked=_WATCHED)
    return _supervise(outer, lambda: _only_child(outer))


def enter_privileged(command: Sequence[str]) -> int:
    """
    As `enter`, but without a user namespace: root stays root, as containers and control groups need it.

    Raises SystemExit with one line that says what this machine lacks.
    """
    _extend_path()
    _require_tools()
    init = (sys.executable, "-m", "lab.sandbox", _INIT, *command)
    unshare = (word for word in UNSHARE if word not in {"--user", "--map-root-user"})
    outer = _spawn(("setpriv", "--pdeathsig", "KILL", *unshare, *init), blocked=_WATCHED)
    return _supervise(outer, lambda: _only_child(outer))


def _extend_path() -> None:
    """An ordinary user's PATH often lacks the directories of `ip` and `nft`."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(directory for directory in SBIN if directory not in path)])


def _require_tools() -> None:
    missing = [tool for tool in PACKAGES if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[tool] for tool in missing}))
        raise SystemExit(
            f"The lab needs {', '.join(missing)}: install {packages}, for example with apt-get install {packages}"
        )


def _clocks(uptime: float | None) -> tuple[str, ...]:
    """The options by which unshare shifts the clocks that count from the boot."""
    if uptime is None:
        return ()
    shift = {
        clock: f"{int(uptime - time.clock_gettime(clock))}" for clock in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME)
    }
    return "--time", "--monotonic", shift[time.CLOCK_MONOTONIC], "--boottime", shift[time.CLOCK_BOOTTIME]


def _require_namespaces(unshare: Sequence[str]) -> None:
    trial = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        reason = (trial.stderr.strip().splitlines() or [f"exit code {trial.returncode}"])[-1]
        if not subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
            raise SystemExit(f"{_UPTIME} needs time namespaces, which this system lacks ({reason}); leave it out")
        raise SystemExit(
            f"The lab needs user namespaces, which this system forbids ({reason}); "
            "on Ubuntu 23.10 and later allow them with: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )


def _spawn(command: Sequence[str], blocked: Collection[signal.Signals] = ()) -> int:
    """Start `command` with only these signals blocked, and return its process id."""
    # The signals are blocked here from now on: `_supervise` takes them one by one, so none is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    return os.posix_spawnp(command[0], list(command), os.environ, setsigmask=blocked)


def _supervise(child: int, target: Callable[[], int | None]) -> int:
    """
    Wait for `child`, reap all others, pass signals on to the process that `target` finds; return the exit code.

    Before there is such a process, a signal ends `child`, since nothing has begun.
    """
    while True:
        received = signal.sigwaitinfo(_WATCHED)
        if received.si_signo == signal.SIGCHLD:
            while (ended := _reap()) is not None:
                if ended[0] == child:
                    code = ended[1]
                    return code if code >= 0 else 128 - code
        elif received.si_code <= 0:  # sent by a process; the terminal's signals reach the command directly
            process = target()
            if process is None:
                os.kill(child, signal.SIGKILL)
            else:
                os.kill(process, received.si_signo)


def _reap() -> tuple[int, int] | None:
    """Reap one ended child: its process id and exit code (-n if signal n ended it); None if none has ended."""
    try:
        process, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (process, os.waitstatus_to_exitcode(status)) if process else None


def _only_child(process: int) -> int | None:
    """The child of unshare, for signals: unshare itself ignores SIGINT and SIGTERM while it waits."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(children[0]) if children else None


def _init(command: Sequence[str]) -> int:
    """Be PID 1 of the sandbox: prepare it, run `command` in it."""
    for step in (
        ("mount", "--make-rprivate", "/"),
        ("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"),
        ("ip", "link", "set", "lo", "up"),
    ):
        subprocess.run(step, check=True)
    Path("/run/netns").mkdir()
    _MARKER.touch()
    try:
        child = _spawn(command)
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from error
    return _supervise(child, lambda: child)


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == [_INIT]:
        return _init(arguments[1:])
    uptime = None
    if arguments[:1] == [_UPTIME]:
        uptime, arguments = _seconds(arguments[1:2]), arguments[2:]
    if not arguments:
        raise SystemExit(_USAGE)
    return enter(arguments, uptime)


def _seconds(words: Sequence[str]) -> float:
    try:
        return float(words[0])
    except (IndexError, ValueError):
        raise SystemExit(_USAGE) from None


if __name__ == "__main__":
    sys.exit(main())
