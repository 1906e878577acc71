"""What programs make of texts: `envsubst` of a manifest, shellcheck of a page's commands."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path


def envsubst(text: str, variables: Mapping[str, str]) -> str:
    """What gettext's program prints with these variables in its environment and no others."""
    environment = {**variables, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["envsubst"], input=text, env=environment, check=True, capture_output=True, encoding="utf-8")
    return done.stdout


def shellcheck(blocks: Iterable[str], exclude: str) -> tuple[int, str]:
    """Its exit code, and what it finds in these blocks, as they are run in one shell."""
    command = [str(Path(sys.executable).with_name("shellcheck")), f"--exclude={exclude}", "-"]
    script = "#!/bin/bash\n" + "\n".join(blocks)
    done = subprocess.run(command, input=script, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    return done.returncode, done.stdout
