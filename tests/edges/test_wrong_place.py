"""A person who names another Region, account, VPC or cluster than the deployment's is told so, not that all is gone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floatingip.cli import main
from floatingip.commands.place import check_place, stranger
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.model import Allocation
from lab.ec2 import PROFILES, Ec2, NoDevices
from lab.ec2.server import REGION
from tests.edges.command_line import ADDRESS, Vpc
from tests.edges.handed_over import ADDRESS as HELD
from tests.edges.handed_over import Vpc as Held

ELSEWHERE = "vpc-0123456789abcdef0"

COMMANDS = {"status": 11, "handover": 2, "pause": 2, "resume": 2, "release": 0}
"""Their exit codes where no interface of ours has the address."""

Told = Callable[..., tuple[int, str]]


@pytest.fixture(name="told")
def _told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Told]:
    """Another cluster's deployment in the lab's EC2: what a command of ours tells of it, with its exit code."""
    ec2 = Ec2(PROFILES["instant"], NoDevices(), lambda event: None, seed=1)
    vpc = Vpc(ec2, pytest.fail)
    ec2.client().create_tags(Resources=[vpc.eni], Tags=[{"Key": OWNER_TAG, "Value": "production"}])
    settings = tmp_path / "settings.yaml"
    settings.write_text("name: cluster\n", encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLOATING_IP", ADDRESS)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", ec2.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    def told(command: str, vpc_id: str = ec2.vpc_id) -> tuple[int, str]:
        code = main([command, "--settings", str(settings), "--region", REGION, "--vpc-id", vpc_id])
        written = capsys.readouterr()
        return code, written.out + written.err

    yield told
    ec2.stop()


def test_a_vpc_that_is_not_there_is_named(told: Told) -> None:
    """By every command: `status` called the address down, and `release` said that nothing was left."""
    for command in COMMANDS:
        assert told(command, ELSEWHERE) == (
            2,
            f"floatingip {command}: {ELSEWHERE}: these credentials show no subnet of it in us-west-2;"
            " are account, --region and --vpc-id those of the workers?\n",
        )


def test_an_address_that_another_cluster_has_is_no_address_that_nobody_has(told: Told) -> None:
    """Its interface is named, with whose it is."""
    for command, code in COMMANDS.items():
        ended, said = told(command)
        assert ended == code
        assert ADDRESS in said
        assert "has it, which has the tag floatingip=production; is `name: cluster` what the deployment has?" in said


def test_whoever_may_not_ask_is_believed() -> None:
    """A person's role need not allow what only this check asks for; nor is an allocation looked for."""
    vpc = Held()
    vpc.cloud.denied.add("DescribeSubnets")
    check_place(vpc.cloud, "us-west-2", "vpc-1")
    vpc.cloud.denied.add("DescribeNetworkInterfaces")
    assert stranger(vpc.cloud, "another", HELD) == ""
    assert stranger(Held().cloud, "another", Allocation("eipalloc-12345678")) == ""


def test_an_interface_without_our_tag_is_told_as_that() -> None:
    """As the original sample's, before it was adopted."""
    vpc = Held()
    vpc.cloud.tag_eni(vpc.enis[0], {OWNER_TAG: ""})
    assert stranger(vpc.cloud, "cluster", HELD) == (
        f"{vpc.enis[0]} has it, which has no tag floatingip; is `name: cluster` what the deployment has?"
    )
