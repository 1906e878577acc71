"""An EC2 over HTTP for find-available-ips.py, which is run in this process: a plugin of the tests of that script."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests import available_ips

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from mypy_boto3_ec2 import EC2Client

REGION = "us-west-2"

ASKED = ("IPV4", "10.0.0.0/28")
"""For the addresses of the subnet that is made unless another one is said."""


@contextmanager
def serving(application: WSGIApplication) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Run one EC2 endpoint for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        with serving(DomainDispatcherApplication(create_backend_app)) as url:
            yield url


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's AWS configuration and IMDS; give credentials, a Region, and no second attempts."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def client(moto: str) -> EC2Client:
    """Make one client for the module: to load EC2's service model takes its time."""
    return boto3.client(
        "ec2",
        REGION,
        endpoint_url=moto,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def ec2(aws: None, moto: str, client: EC2Client, monkeypatch: pytest.MonkeyPatch) -> EC2Client:
    """Empty the endpoint, which the script then uses too."""
    requests.post(f"{moto}/moto-api/reset", timeout=10).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", moto)
    return client


@pytest.fixture
def script(aws: None) -> ModuleType:
    return available_ips.script()


class Outcome:
    """What a user gets of one run."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.addresses, self.err = code, out.split(), err


class Run:
    """Runs the script's main in this process."""

    def __init__(self, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
        self.main, self.capsys = script.main, capsys

    def __call__(self, *arguments: str) -> Outcome:
        """Run, and check what holds for each run: a failure is one line on stderr and nothing on stdout."""
        code = self.main(list(arguments))
        out, err = self.capsys.readouterr()
        if code:
            assert out == ""
            assert err.count("\n") == 1
            assert err.startswith("find-available-ips.py: ")
        return Outcome(code, out, err)

    def fails(self, *arguments: str, code: int = 2) -> str:
        """What it says when it ends with this code: 2 where only the user can change it, 1 where EC2 failed."""
        outcome = self(*arguments)
        assert outcome.code == code
        return outcome.err


@pytest.fixture
def run(aws: None, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(script, capsys)


def make_subnet(ec2: EC2Client, cidr: str = "10.0.0.0/28") -> str:
    """Make a VPC 10.0.0.0/16 with one subnet; returns the subnet's id."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]


def addresses(first: int, last: int) -> list[str]:
    """Name 10.0.0.FIRST to 10.0.0.LAST."""
    return [f"10.0.0.{n}" for n in range(first, last + 1)]
