"""find-available-ips.py at a terminal, where a profile's code (MFA) is typed without echo, or is not."""

import os
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.available_ips import SCRIPT
from tests.edges.ec2_server import PATIENCE, becoming

PROFILE = """
[default]
role_arn = arn:aws:iam::123456789012:role/operator
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile base]
aws_access_key_id = key
aws_secret_access_key = secret
"""

AT_TERMINAL = 'exec "$@" <"$0"'
"""Of a session of its own, the first terminal that its leader opens is the one that Ctrl-C comes from."""


@pytest.mark.parametrize(("broken_off", "code"), [(True, 130), (False, 1)], ids=["Ctrl-C", "--timeout"])
def test_a_code_that_is_not_typed_leaves_the_terminal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken_off: bool, code: int
) -> None:
    """Else whoever breaks it off would not see what is typed into the shell after it."""
    (tmp_path / "config").write_text(PROFILE)
    becoming(monkeypatch)(AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_REGION="us-west-2", HOME="/nonexistent")
    outside, terminal = os.openpty()
    was = termios.tcgetattr(terminal)
    command = [sys.executable, str(SCRIPT), "IPV4", "10.0.0.0/24", "--timeout", "60" if broken_off else "2"]
    command = ["sh", "-c", AT_TERMINAL, os.ttyname(terminal), *command]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, start_new_session=True) as process:
        said = b""
        while b"Enter MFA code" not in said:
            assert select.select([outside], [], [], PATIENCE)[0], said
            said += os.read(outside, 4096)
        if broken_off:
            os.write(outside, b"\x03")
        assert process.wait(PATIENCE) == code
    assert termios.tcgetattr(terminal) == was
    os.close(outside)
    os.close(terminal)


def test_a_terminal_that_is_closed_meanwhile_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its user logs out, with nohup in front of the command."""
    program, config, told = tmp_path / "program", tmp_path / "config", tmp_path / "told"
    os.mkfifo(program)
    config.write_text(f"[default]\ncredential_process = cat {program}\n")
    becoming(monkeypatch)(AWS_CONFIG_FILE=str(config), AWS_REGION="us-west-2", HOME="/nonexistent")
    outside, terminal = os.openpty()
    command = ["nohup", sys.executable, str(SCRIPT), "IPV4", "10.0.0.0/24"]
    command = ["sh", "-c", AT_TERMINAL, os.ttyname(terminal), *command]
    with (
        told.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True) as process,
        program.open("w"),  # from here on it is waited for
    ):
        os.close(terminal)
        os.close(outside)
    assert process.returncode == 2
    assert told.read_text().splitlines()[-1].startswith("find-available-ips.py: AWS configuration: ")


INTERRUPTED = "import os, signal, time\n"
INTERRUPTED += "def end(*_):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)\n"


@pytest.mark.parametrize("when", ["end()", "type('Fleeting', (), {'__del__': end})()"], ids=["at once", "a destructor"])
def test_ctrl_c_while_the_sdk_is_loaded_ends_it_without_a_word(when: str, tmp_path: Path) -> None:
    """That takes most of the time; what is raised in a destructor Python only prints, and goes on."""
    (tmp_path / "boto3.py").write_text(f"{INTERRUPTED}{when}\n")
    command = [sys.executable, str(SCRIPT), "IPV4", "10.0.0.0/24"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
