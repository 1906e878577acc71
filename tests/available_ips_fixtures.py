"""An EC2 over HTTP for find-available-ips.py, which is run in this process: a plugin of the tests of that script."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from tests import available_ips
from tests.available_ips_runs import REGION, Run, serving

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


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
def moto_client(moto: str) -> EC2Client:
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
def ec2(aws: None, moto: str, moto_client: EC2Client, monkeypatch: pytest.MonkeyPatch) -> EC2Client:
    """Empty the endpoint, which the script then uses too."""
    requests.post(f"{moto}/moto-api/reset", timeout=10).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", moto)
    return moto_client


@pytest.fixture
def script(aws: None) -> ModuleType:
    return available_ips.script()


@pytest.fixture
def ask(aws: None, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(script, capsys)
