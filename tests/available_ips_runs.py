"""What tests of find-available-ips.py share: how it is run, what it is asked, and whom it asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

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


def make_subnet(ec2: EC2Client, cidr: str = "10.0.0.0/28") -> str:
    """Make a VPC 10.0.0.0/16 with one subnet; returns the subnet's id."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]


def addresses(first: int, last: int) -> list[str]:
    """Name 10.0.0.FIRST to 10.0.0.LAST."""
    return [f"10.0.0.{n}" for n in range(first, last + 1)]
