"""podman, which has the container images."""

import subprocess


def podman(*arguments: str) -> str:
    """Run podman, and return what it prints.  Raises SystemExit with its last line of output."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SystemExit(f"podman {' '.join(arguments)}: {reason}")
    return done.stdout.strip()
