"""What runs in the container besides the observer: commands by `kubectl exec` count against the same memory."""

import os
import subprocess
import sys
from pathlib import Path

from floatingip.edges.control_group import A_COMMAND_TAKES
from tests.packaging.substitution import envsubst
from tests.packaging.test_manifests import FLOATING_IP, ROOT, VARIABLES, objects

OBSERVER = 100
"""MiB that an observer may take: the goal of docs/benchmarks.md, with fifty addresses."""

BESIDE = 3
"""Commands at the same time: two people at night, and one of them watches."""

MEASURE = """
import resource, subprocess, sys
assert subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode == 1
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Says how many KiB a command takes that fails; from a small process, since what starts one counts at first."""


def test_commands_by_hand_do_not_get_the_observer_killed(tmp_path: Path) -> None:
    """Where the limit is exceeded, the kernel ends all processes of the container."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("name: lab\n", encoding="utf-8")
    nobody = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:9"}
    doctor = [sys.executable, "-m", "floatingip", "doctor", "--within", "1", "--settings", str(settings)]
    command = [sys.executable, "-c", MEASURE, *doctor, "--region", "us-west-2", "--vpc-id", "vpc-0123456789abcdef0"]
    environment = {**os.environ, **nobody, "FLOATING_IP": "10.0.0.100"}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    pod = objects(envsubst(FLOATING_IP, VARIABLES))["Deployment"]["spec"]["template"]["spec"]
    [limit] = {each["resources"]["limits"]["memory"] for each in (*pod["initContainers"], *pod["containers"])}
    takes = int(done.stdout) / 1024
    assert OBSERVER + BESIDE * takes < int(limit.removesuffix("Mi"))
    # Nor is the last of them refused for want of room.
    assert OBSERVER + (BESIDE - 1) * takes + A_COMMAND_TAKES / 2**20 < int(limit.removesuffix("Mi"))
    assert takes < A_COMMAND_TAKES / 2**20
