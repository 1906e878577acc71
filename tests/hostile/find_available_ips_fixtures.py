"""find-available-ips.py in this process, and an EC2 for it: a plugin of the tests that need both."""

from functools import cache
from typing import Any

import botocore.loaders
import pytest

from tests import available_ips
from tests.edges.ec2_server import Become, Server, answer
from tests.hostile.find_available_ips import AT_HOME, KEYS, SHOWN, Main

pytest_plugins = ["tests.edges.ec2_fixtures"]

_loader = cache(botocore.loaders.create_loader)


@pytest.fixture(name="odd")
def _odd(server: Server, environment: Become, monkeypatch: pytest.MonkeyPatch) -> Server:
    """EC2 with one subnet that has nothing in it; its model, of which reading takes long, is read once for all."""
    environment(AWS_ENDPOINT_URL_EC2=server.url, AWS_MAX_ATTEMPTS="1", **AT_HOME, **KEYS)
    monkeypatch.setattr("botocore.session.create_loader", _loader)
    server.replies |= {action: answer(action, body) for action, body in SHOWN.items()}
    return server


@pytest.fixture(name="odd_script")
def _odd_script() -> Any:
    return available_ips.script()


@pytest.fixture(name="main")
def _main(odd_script: Any, monkeypatch: pytest.MonkeyPatch) -> Main:
    """The script's, which asks for 20 pages at most."""
    monkeypatch.setattr(odd_script, "MOST_PAGES", 20)
    found: Main = odd_script.main
    return found
