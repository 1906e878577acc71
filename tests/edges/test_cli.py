"""The command line in a process of its own: exit codes, what is told where, and what bad settings do not even load."""

import argparse
import errno
import io
import socket
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from ipaddress import IPv4Address

import pytest

from floatingip import __version__
from floatingip.cli import COMMANDS, Command, main
from floatingip.commands import arguments, attach, handover, history, observe, pause, process, release, resume, status
from floatingip.commands.doctor import command as doctor
from floatingip.edges.imds import Imds
from floatingip.edges.telemetry import Log
from tests.edges.command_line import ROOT, Run
from tests.edges.strangers import stranger

pytest_plugins = ["tests.edges.cli_fixtures"]

LOADED = """
import sys
from floatingip.cli import main
code = main(sys.argv[1:])
print(*sorted({"boto3", "botocore", "icmplib"} & {name.partition(".")[0] for name in sys.modules}))
raise SystemExit(code)
"""
"""Runs the command line, and prints which of the heavy libraries were loaded."""

HELPED = """
import sys
from floatingip.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted(name for name in sys.modules if name.startswith("floatingip.commands")), file=sys.stderr)
"""
"""Runs the command line, and says on standard error which modules of commands were loaded."""

AS_MODULE = "import runpy; runpy.run_module('floatingip', alter_sys=True)"

BARE = [str(ROOT), *(path for path in sys.path if path and "site-packages" not in path and path != str(ROOT))]
"""Where a Python without any packages looks for modules."""


def test_the_version_is_told(run: Run) -> None:
    """On standard output, with exit code 0."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"floatingip {__version__}\n")


@pytest.mark.parametrize(
    ("command", "variable", "value"),
    [
        ("attach", "AWS_PROFILE", "nobody"),
        ("observe", "AWS_PROFILE", "nobody"),
        ("release", "AWS_PROFILE", "nobody"),
        ("handover", "AWS_PROFILE", "no\tbody"),
        ("handover", "AWS_ENDPOINT_URL_EC2", "localhost:4566"),
        ("handover", "AWS_ENDPOINT_URL", "ftp://ec2"),
        ("handover", "AWS_ENDPOINT_URL", "http://[::1"),
        ("handover", "AWS_ENDPOINT_URL", "http://ec2:99999"),
    ],
)
def test_an_environment_that_the_sdk_cannot_use_ends_with_2_and_one_line(
    run: Run, command: str, variable: str, value: str
) -> None:
    """Before anything is asked: the line names the variable and its value."""
    done = run(command, document="", environment={variable: value, "HOME": "/nonexistent"})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert variable in line
    assert value.replace("\t", "\N{REPLACEMENT CHARACTER}") in line


@pytest.mark.parametrize("arguments", [(), ("fly",), ("observe", "--colour"), ("observe", "extra")])
def test_wrong_usage_ends_with_2_and_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """A missing or unknown command, an unknown option."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith("floatingip: ")
    assert line.endswith("; see `floatingip --help`")


@pytest.mark.parametrize(("arguments", "code"), [(("fly",), 2), (("history",), 9)])
def test_a_standard_error_that_cannot_be_written_changes_no_exit_code(
    run: Run, arguments: tuple[str, ...], code: int
) -> None:
    """The log of a service whose disk is full."""
    done = run(*arguments, code=f"import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 2); {AS_MODULE}")
    assert done.returncode == code


def test_a_python_without_the_packages_is_told_which_has_them(run: Run) -> None:
    """A clone is run by the system's Python."""
    done = run("release", document="", code=f"import sys; sys.path[:] = {BARE!r}; {AS_MODULE}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("; run one with requirements.txt, such as .venv/bin/python")


def test_a_python_that_is_too_old_says_so(run: Run) -> None:
    """It cannot even read the other files."""
    done = run("release", code=f"import sys; sys.version_info = (3, 9, 25); {AS_MODULE}")
    assert (done.returncode, done.stderr) == (2, "floatingip: needs Python 3.11 or newer, and this is 3.9\n")


def test_a_history_outside_of_a_pod_says_how_it_is_run_in_one(run: Run) -> None:
    """As the operator's own machine is none."""
    done = run("history")
    assert (done.returncode, done.stdout) == (9, "")
    assert "kubectl exec deployment/floating-ip -c observer -- floatingip history" in done.stderr


@pytest.mark.parametrize("command", ["attach", "observe", "release"])
def test_bad_settings_end_with_2_and_a_line_for_each_problem(run: Run, command: str) -> None:
    """On standard error, without a traceback; each line names the command and the setting."""
    done = run(command, address="10.0.0.300", document="fall: many\ncolour: red\n")
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.removeprefix(f"floatingip {command}: ").partition(":")[0] for line in lines] == [
        "FLOATING_IP",
        "fall",
        "colour",
    ]
    assert all(line.startswith(f"floatingip {command}: ") for line in lines)


def test_a_missing_configmap_ends_with_2(run: Run) -> None:
    """The default path does not exist outside of the pod."""
    done = run("observe", "--settings", "missing/settings.yaml")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "missing/settings.yaml: No such file or directory" in line


def test_bad_settings_load_no_cloud_and_no_kernel_library(run: Run) -> None:
    """Nothing is touched, and the answer is quick."""
    done = run("observe", document="fall: many\n", code=LOADED)
    assert done.returncode == 2
    assert done.stdout.split() == []
    assert len(done.stderr.splitlines()) == 1


def test_help_names_all_commands_and_loads_none(run: Run) -> None:
    done = run("--help", code=HELPED)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for name, (_, text) in COMMANDS.items():
        assert f"{name} {text}" in said
    assert done.stderr.split() == [f"floatingip.commands{each}" for each in ("", ".complaint", ".ending")]


class Stopped(io.StringIO):
    """A standard output at which something happens."""

    def __init__(self, what: BaseException) -> None:
        super().__init__()
        self._what = what

    def write(self, text: str) -> int:
        raise self._what


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 74, ""),
        (OSError(errno.ENOSPC, "Disk full"), 74, "floatingip doctor: what it tells cannot be written: Disk full\n"),
    ],
)
def test_whatever_ends_a_command_it_ends_without_a_traceback(
    capsys: pytest.CaptureFixture[str], what: BaseException, code: int, said: str
) -> None:
    """Ctrl-C, a reader such as `head` that has enough, a full disk."""
    with redirect_stdout(Stopped(what)):  # gone before `capsys` takes its own away
        assert main(["doctor", "--settings", "/nonexistent"]) == code
    assert capsys.readouterr().err == said


def test_a_command_without_standard_streams_ends_as_any_other(run: Run) -> None:
    """A supervisor may close them; the exit code tells then."""
    begun = f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'floatingip', 'doctor'])"
    done = run(code=f"import os; os.close(0); os.close(1); {begun}")
    assert (done.returncode, done.stderr) == (1, "")


def test_what_a_terminal_cannot_show_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONIOENCODING=ascii, or a locale of one byte a character."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["doctor", "--settings", "/nonexistent/ä"]) == 1
    assert rb"/nonexistent/\xe4" in written.getvalue()


MODULES: Mapping[str, Command] = {
    "status": status,
    "handover": handover,
    "pause": pause,
    "resume": resume,
    "release": release,
    "doctor": doctor,
    "attach": attach,
    "observe": observe,
    "history": history,
}
"""Of each command its module, held by mypy to what that must have."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_its_module_and_says_its_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is loaded by its name, once the command is named."""
    assert sys.modules[f"floatingip.commands.{COMMANDS[command][0]}"] is MODULES[command]
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert ("--json" if command == "history" else "--settings FILE") in capsys.readouterr().out


SECONDS = "is no number of seconds from 1 to 3600"


@pytest.mark.parametrize(
    ("command", "option", "value", "what"),
    [
        *(("release", "--vpc-id", each, "is not a") for each in ("vpc-*", "vpc-0123abcd?")),
        *(("release", "--region", each, "is not a") for each in ("us-west-2.example.com", "us west 2", "*")),
        *(("handover", "--to", each, "is not a") for each in ("ip-10-0-0-*", "i-*", "")),
        *(("status", "--watch", each, SECONDS) for each in ("0", "often", "nan", "1e9", "-3")),
        *(("doctor", "--within", each, SECONDS) for each in ("0", "soon", "nan", "3601", "-1")),
        ("pause", "--minutes", "0", "is not a number of minutes from 1 to 1440"),
    ],
)
def test_a_value_of_no_use_is_refused_before_anybody_is_asked(
    capsys: pytest.CaptureFixture[str], command: str, option: str, value: str, what: str
) -> None:
    """Such as one that EC2 would take for a pattern; in one line, which names the argument and where to look."""
    with pytest.raises(SystemExit) as ended:
        main([command, f"{option}={value}"])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith(f"floatingip {command}: argument {option}: {value!r} {what}")
    assert said.err.endswith(f"; see `floatingip {command} --help`\n")


@pytest.mark.parametrize(
    ("region", "default", "taken"),
    [("", "eu-west-1", "eu-west-1"), (" \r\n", "eu-west-1", "eu-west-1"), ("us-west-2\r\n", "eu-west-1", "us-west-2")],
)
def test_the_region_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, region: str, default: str, taken: str
) -> None:
    """As the AWS CLI has it; a variable without a value is none."""
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", default)
    parser = argparse.ArgumentParser()
    arguments.add_place(parser)
    assert parser.parse_args([]).region == taken


def test_a_region_of_the_environment_that_is_none_is_blamed_on_its_variable(run: Run) -> None:
    done = run("status", document="", environment={"AWS_REGION": "'us-west-2'"})
    assert done.returncode == 2
    assert "without --region that is AWS_REGION in the environment" in done.stderr


def test_an_imds_that_does_not_answer_is_told_once_for_each_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with each try; and once that it answers again."""
    monkeypatch.setattr(process, "IMDS_RETRY", 0.01)
    written, over = io.StringIO(), b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    asked: list[bytes] = []

    def speak(connection: socket.socket, request: bytes) -> None:
        asked.append(request)
        if len(asked) < 8:
            connection.sendall(over if len(asked) != 4 else over.replace(b"403", b"400"))
            return
        values = {b"/mac": b"02:00:00:00:00:0a", b"instance-id": b"i-0a", b"region": b"us-west-2"}
        values |= {b"zone": b"us-west-2a", b"vpc-id": b"vpc-1", b"subnet-id": b"subnet-1", b"token": b"good"}
        values |= {b"local-ipv4s": b"10.0.0.10", b"security-group-ids": b"sg-1"}
        path = request.split()[1]
        value = next(value for end, value in values.items() if path.endswith(end))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(value), value))

    with stranger(speak) as server:
        metadata = Imds(IPv4Address("127.0.0.1"), server.port)
        assert process.identity(metadata, Log(written)).instance_id == "i-0a"
        metadata.close()
    told = [line.partition("event=")[2] for line in written.getvalue().splitlines()]
    assert told == [
        'imds retry_in=0.010 msg="IMDS answers 403; enable the instance\'s metadata endpoint"',
        'imds retry_in=0.010 msg="IMDS answers 400 to PUT api/token; is this IMDSv2?"',
        'imds msg="IMDS answers again"',
    ]
