"""The command line in a process of its own: exit codes, what is told where, and what bad settings do not even load."""

import argparse
import errno
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from floatingip import __version__
from floatingip.cli import COMMANDS, Command, main
from floatingip.commands import arguments, attach, handover, history, observe, pause, process, release, resume, status
from floatingip.commands.doctor import command as doctor
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.overview import overview
from floatingip.edges.imds import Imds
from floatingip.edges.telemetry import Log
from lab.ec2 import PROFILES, Ec2, NoDevices
from lab.ec2.server import REGION
from tests.core.strangers import stranger

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]

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


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """Run the command line without any AWS configuration around it, with a settings file if there is one."""
    (tmp_path / "good.yaml").write_text("# nothing but the defaults\n", encoding="utf-8")

    def run(
        *arguments: str,
        address: str = "10.0.0.100",
        document: str | None = None,
        code: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        if document is not None:
            path = tmp_path / "settings.yaml"
            path.write_text(document, encoding="utf-8")
            arguments = (*arguments, "--settings", str(path))
        how = ["-c", code] if code else ["-m", "floatingip"]
        basic = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FLOATING_IP": address}
        return subprocess.run(
            [sys.executable, *how, *arguments],
            env={**basic, **(environment or {})},
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_the_version_is_told(run: Run) -> None:
    """On standard output, with exit code 0."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"floatingip {__version__}\n")


@pytest.mark.parametrize("command", ["attach", "observe", "release", "handover"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_PROFILE", ""),
        ("AWS_ENDPOINT_URL_EC2", "localhost:4566"),
        ("AWS_ENDPOINT_URL", "ftp://ec2"),
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
    assert value in line


@pytest.mark.parametrize("arguments", [(), ("fly",), ("observe", "--colour"), ("observe", "extra")])
def test_wrong_usage_ends_with_2_and_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """A missing or unknown command, an unknown option."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("floatingip: ")
    assert line.endswith("; see `floatingip --help`")


def test_wrong_usage_of_a_command_names_it(run: Run) -> None:
    """With the argument, its value, and where to look."""
    done = run("pause", "--minutes", "0")
    assert done.returncode == 2
    assert done.stderr == (
        "floatingip pause: argument --minutes: '0' is not a number of minutes from 1 to 1440;"
        " see `floatingip pause --help`\n"
    )


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
    """With what each is for."""
    done = run("--help", code=HELPED)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    for name, (_, text) in COMMANDS.items():
        assert f"{name} {text}" in said
    assert done.stderr.split() == ["floatingip.commands", "floatingip.commands.complaint"]


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
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: BaseException, code: int, said: str
) -> None:
    """Ctrl-C, a reader such as `head` that has enough, a full disk."""
    monkeypatch.setattr(sys, "stdout", Stopped(what))
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


# Releasing, from a workstation, against the lab's EC2.


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("release", "--vpc-id", "vpc-*"),
        ("release", "--vpc-id", "vpc-0123abcd?"),
        ("release", "--region", "us-west-2.example.com"),
        ("release", "--region", "us west 2"),
        ("handover", "--to", "ip-10-0-0-*"),
        ("handover", "--to", "i-*"),
        ("handover", "--to", ""),
        ("handover", "--region", "*"),
    ],
)
def test_an_argument_that_ec2_would_take_for_a_pattern_is_refused(
    run: Run, command: str, option: str, value: str
) -> None:
    """Before EC2 is asked for anything."""
    done = run(command, option, value, document="name: cluster\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument {option}: {value!r} is not a" in done.stderr


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
    """Nobody gave the argument."""
    done = run("status", document="", environment={"AWS_REGION": "'us-west-2'"})
    assert done.returncode == 2
    assert "without --region that is AWS_REGION in the environment" in done.stderr


ADDRESS = "10.0.0.100"


@dataclass
class Vpc:
    """The lab's EC2 with an interface of ours, and the command line of somebody who names Region and VPC."""

    ec2: Ec2
    run: Run
    eni: str = ""

    def __post_init__(self) -> None:
        ours = [{"ResourceType": "network-interface", "Tags": [{"Key": OWNER_TAG, "Value": "cluster"}]}]
        made = self.ec2.client().create_network_interface(
            SubnetId=self.ec2.subnet_id,
            PrivateIpAddress=ADDRESS,
            TagSpecifications=ours,  # type: ignore[arg-type]  # a TypedDict, spelled out
        )
        self.eni = made["NetworkInterface"]["NetworkInterfaceId"]

    def release(self, *options: str, address: str = ADDRESS) -> "subprocess.CompletedProcess[str]":
        """`floatingip release` without a terminal."""
        return self.command("release", *options, address=address)

    def command(self, command: str, *options: str, address: str = ADDRESS) -> "subprocess.CompletedProcess[str]":
        """Any of those that may be run from elsewhere."""
        where = ("--region", REGION, "--vpc-id", self.ec2.vpc_id)
        aws = {
            "AWS_ENDPOINT_URL_EC2": self.ec2.endpoint_url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        return self.run(command, *where, *options, address=address, document="name: cluster\n", environment=aws)

    def is_there(self) -> bool:
        """Our interface still exists."""
        filters = [{"Name": "network-interface-id", "Values": [self.eni]}]
        return bool(self.ec2.client().describe_network_interfaces(Filters=filters)["NetworkInterfaces"])  # type: ignore[arg-type]  # a TypedDict, spelled out


@pytest.fixture(name="vpc")
def _vpc(run: Run) -> Iterator[Vpc]:
    ec2 = Ec2(PROFILES["instant"], NoDevices(), lambda event: None, seed=1)
    yield Vpc(ec2, run)
    ec2.stop()


def test_a_dry_run_shows_what_would_be_released_and_ends_with_0(vpc: Vpc) -> None:
    """And nothing else, not even with --yes."""
    done = vpc.release("--dry-run", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{vpc.eni} ({ADDRESS}): delete\n"
    assert vpc.is_there()


def test_without_a_terminal_and_without_yes_nothing_is_released(vpc: Vpc) -> None:
    """Nobody can have agreed; it is shown all the same."""
    done = vpc.release()
    assert (done.returncode, done.stderr) == (1, "nothing was done\n")
    assert vpc.eni in done.stdout
    assert vpc.is_there()


def test_what_was_agreed_to_is_released_and_again_is_fine(vpc: Vpc) -> None:
    """The second time there is nothing to do."""
    done = vpc.release("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{vpc.eni} ({ADDRESS}): delete", f"{vpc.eni}: deleted"]
    assert not vpc.is_there()
    again = vpc.release("--yes")
    assert (again.returncode, again.stdout) == (
        0,
        f"nothing to release: no such interface of cluster in {vpc.ec2.vpc_id}\n",
    )


def test_only_what_nothing_uses_is_released_as_unused(vpc: Vpc) -> None:
    """What the settings name is left, and what they do not name is not."""
    assert "nothing to release" in vpc.release("--yes", "--unused").stdout
    assert vpc.is_there()
    assert vpc.release("--yes", "--unused", address="10.0.0.101").returncode == 0
    assert not vpc.is_there()


def test_a_handover_to_a_node_that_is_not_there_ends_with_2(vpc: Vpc) -> None:
    """At once, and with its name: nobody would ever obey."""
    done = vpc.command("handover", "--to", "i-0123456789abcdef0")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("floatingip handover: --to i-0123456789abcdef0: no instance of this VPC has that id")


def test_a_handover_is_checked_before_it_is_ordered(vpc: Vpc) -> None:
    """By the exit code that it would end with."""
    done = vpc.command("handover", "--check")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line == f"floatingip handover: {ADDRESS}: no node holds it now; nothing to hand over"


def test_a_denied_release_ends_with_4_and_names_the_permission(vpc: Vpc) -> None:
    """In one line."""
    vpc.ec2.faults.deny({"DeleteNetworkInterface"})
    done = vpc.release("--yes")
    assert done.returncode == 4
    (line,) = done.stderr.splitlines()
    assert line.startswith("floatingip release: IAM denies ec2:DeleteNetworkInterface; allow ")


# Status, from a workstation; tests/lab/test_status.py has it on workers.


def test_status_from_elsewhere_is_ec2s_view_and_its_exit_code_says_how_that_is(vpc: Vpc) -> None:
    """An interface that is attached to nobody serves nobody."""
    done = vpc.command("status")
    assert (done.returncode, done.stderr) == (11, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cluster: DOWN, 20")
    assert lines[1].startswith(f"wrong: {ADDRESS}: no node holds it: ")
    assert lines[4].split() == [ADDRESS, "holder", "nobody", "-", "-", "not", "probed", "-", "-"]
    assert f"  wrong       no node holds it: EC2 says: {vpc.eni} is attached to nobody" in lines
    assert lines[-1].startswith("not learned: EC2's view only: ")


def test_status_as_json_is_one_document_without_a_terminals_width(vpc: Vpc) -> None:
    """For programs; its names are those of docs/status.md."""
    done = vpc.command("status", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["verdict"], document["name"]) == (11, "down", "cluster")
    assert [each["address"] for each in document["addresses"]] == [ADDRESS]


def test_status_that_ec2_denies_to_a_workstation_names_the_permission(vpc: Vpc) -> None:
    """There is nothing else to show."""
    vpc.ec2.faults.deny({"DescribeNetworkInterfaces"})
    done = vpc.command("status")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("floatingip status: IAM denies ec2:DescribeNetworkInterfaces; allow ")


def test_status_on_what_is_no_worker_says_what_to_give(run: Run) -> None:
    """Neither IMDS nor an observer is there."""
    done = run("status", document="name: cluster\nport: 9\n")
    assert (done.returncode, done.stdout) == (7, "")
    assert "outside of a worker give --region and --vpc-id" in done.stderr


def test_what_is_watched_is_one_document_a_line_or_a_table_below_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    """For whoever reads a pipe; a terminal is cleared before each."""
    seen = overview(0.0, "cluster", (ADDRESS,), ())
    for _ in range(2):
        status.show(seen, as_json=True, watched=True)
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["cluster", "cluster"]
    status.show(seen, as_json=False, watched=True)
    text = capsys.readouterr().out
    assert text.startswith("cluster: unknown, 1970-01-01 00:00:00 UTC\n")
    assert text.endswith("\n\n")


@pytest.mark.parametrize("value", ["0", "often", "nan", "1e9", "-3"])
def test_status_is_not_watched_all_the_time(run: Run, value: str) -> None:
    """Each look asks everybody."""
    done = run("status", f"--watch={value}", document="name: cluster\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument --watch: {value!r} is no number of seconds from 1 to 3600" in done.stderr


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
